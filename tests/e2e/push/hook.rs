//! A small web server for tests: remembers requests and answers as it is told. All of it goes when it is dropped.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Which connection it came on.
    pub(crate) connection: usize,
    pub(crate) line: String,
    /// The names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| &**value)
    }
}

/// What is answered.
pub(crate) enum Say {
    /// This, to the letter.
    Text(String),
    /// The same, and then the connection ends.
    Last(String),
    /// Nothing, until the other side ends the connection.
    Nothing,
}

/// An answer with a body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Say {
    Say::Text(format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Says what to answer to the how manieth request.
type Answers = Box<dyn Fn(usize, &Request) -> Say + Send + Sync>;

struct Shared {
    answers: Answers,
    requests: Mutex<Vec<Request>>,
    /// Connections whose other side ended them while it waited for an answer.
    dropped: AtomicUsize,
    ends: AtomicBool,
    tls: Option<Arc<ServerConfig>>,
}

pub(crate) struct Hook {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

impl Hook {
    pub(crate) fn new(answers: impl Fn(usize, &Request) -> Say + Send + Sync + 'static) -> Hook {
        Hook::start(Box::new(answers), None)
    }

    /// By TLS, with the certificate in tests/fixtures/tls, which is nobody's: it is for `localhost`, and made by
    /// `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj /CN=localhost
    /// -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE`.
    pub(crate) fn with_tls(answers: impl Fn(usize, &Request) -> Say + Send + Sync + 'static) -> Hook {
        let certificate =
            CertificateDer::from_pem_slice(include_bytes!("../../fixtures/tls/certificate.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("../../fixtures/tls/key.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        Hook::start(Box::new(answers), Some(Arc::new(config)))
    }

    fn start(answers: Answers, tls: Option<Arc<ServerConfig>>) -> Hook {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            answers,
            requests: Mutex::default(),
            dropped: AtomicUsize::new(0),
            ends: AtomicBool::new(false),
            tls,
        });
        let of_thread = shared.clone();
        let listening = Some(thread::spawn(move || listen(&listener, &of_thread)));
        Hook { port, shared, listening }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://localhost:{}/hook?a=b", self.port)
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    pub(crate) fn dropped(&self) -> usize {
        self.shared.dropped.load(Ordering::SeqCst)
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.listening.take().unwrap().join();
    }
}

fn listen(listener: &TcpListener, shared: &Arc<Shared>) {
    for connection in 0.. {
        let Ok((stream, _)) = listener.accept() else { return };
        if shared.ends.load(Ordering::SeqCst) {
            return;
        }
        let shared = shared.clone();
        // It ends with its connection, the last of which end with the daemon.
        thread::spawn(move || match &shared.tls {
            None => drop(serve(connection, stream, &shared)),
            Some(tls) => {
                let session = ServerConnection::new(tls.clone()).unwrap();
                drop(serve(connection, StreamOwned::new(session, stream), &shared));
            }
        });
    }
}

fn serve(connection: usize, stream: impl Read + Write, shared: &Shared) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(connection, &mut stream)? {
        let nth = {
            let mut requests = shared.requests.lock().unwrap();
            requests.push(request.clone());
            requests.len() - 1
        };
        match (shared.answers)(nth, &request) {
            Say::Text(text) => stream.get_mut().write_all(text.as_bytes())?,
            Say::Last(text) => return stream.get_mut().write_all(text.as_bytes()),
            Say::Nothing => {
                let _ = stream.read(&mut [0]);
                shared.dropped.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
        }
        stream.get_mut().flush()?;
    }
    Ok(())
}

fn read(connection: usize, stream: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let request = Request { connection, line: line.trim_end().to_owned(), headers, body: Vec::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Request { body, ..request }))
}
