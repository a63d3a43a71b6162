//! A daemon that serves HTTP, and requests to it as a client without a library sends them.

use crate::helper::{Daemon, Home, until};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Of the daemon's own user.
pub(crate) const OWN: &str = "0123456789abcdef0123456789abcdef-own";
/// Of somebody with no rights but those that everybody has.
pub(crate) const OTHER: &str = "0123456789abcdef0123456789abcdef-other";
pub(crate) const OTHER_USER: u32 = 4_242;

pub(crate) struct Site {
    pub(crate) home: Home,
    pub(crate) daemon: Daemon,
    pub(crate) address: String,
}

/// What came back: the status, what stands above the body, and that.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(super) head: String,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// The word for programs of an error.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

pub(super) async fn started(home: &Home) -> (Daemon, String) {
    let words = "serving HTTP at ";
    let lives = home.log().matches(words).count();
    let daemon = home.serve().await;
    (daemon, served_at(home, words, lives).await)
}

/// The place that the log names after these words, which it had so often before.
pub(crate) async fn served_at(home: &Home, words: &str, before: usize) -> String {
    until("HTTP is served", async || {
        let log = home.log();
        let (line, _) = log.split(words).nth(before + 1)?.split_once('\n')?;
        line.split(',').next().map(str::to_owned)
    })
    .await
}

/// Sends a request with these lines above its body, and waits for the answer.
pub(crate) async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    what: &str,
    lines: &str,
    body: &[u8],
) -> Reply {
    let length = body.len();
    let head = format!("{what} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{lines}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream.flush().await.unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = (head.to_lowercase(), all[end + 4..].to_vec());
    let body = if head.contains("transfer-encoding: chunked") { joined(&body) } else { body };
    Reply { status, head, body }
}

/// A body that came in chunks.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n").expect("a length");
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            return body;
        }
        body.extend_from_slice(&chunks[end + 2..end + 2 + length]);
        chunks = &chunks[end + 2 + length + 2..];
    }
}

impl Site {
    pub(crate) async fn new(more: &str) -> Site {
        Site::with(more, "").await
    }

    /// With more keys of `[daemon]`, too.
    pub(crate) async fn with(more: &str, of_daemon: &str) -> Site {
        let home = Home::new("");
        let tokens = home.path("tokens");
        let own = rustix::process::geteuid().as_raw();
        std::fs::write(&tokens, format!("{own} {OWN}\n{OTHER_USER} {OTHER}\n")).unwrap();
        std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
        home.configure(&format!(
            "{more}[daemon]\nhttp = \"127.0.0.1:0\"\nhttp_tokens = {tokens:?}\n{of_daemon}"
        ));
        let (daemon, address) = started(&home).await;
        Site { home, daemon, address }
    }

    /// Sends a request with these lines above its body.
    pub(crate) async fn send(&self, what: &str, lines: &str, body: &[u8]) -> Reply {
        exchange(TcpStream::connect(&self.address).await.unwrap(), what, lines, body).await
    }

    pub(crate) async fn ask_as(&self, token: &str, what: &str, body: &[u8]) -> Reply {
        let (method, path) = what.split_once(' ').unwrap();
        let lines = format!("Host: {}\r\nAuthorization: Bearer {token}\r\n", self.address);
        self.send(&format!("{method} /api/v1{path}"), &lines, body).await
    }

    /// A request that is sent and of which the answer is not waited for.
    pub(super) async fn begin(&self, token: &str, what: &str, body: &Value) -> TcpStream {
        let (method, path) = what.split_once(' ').unwrap();
        let body = body.to_string();
        let head = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// Asks as the daemon's own user.
    pub(crate) async fn ask(&self, what: &str, body: &Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.ask_as(OWN, what, &body).await
    }

    /// What Prometheus gets.
    pub(crate) async fn metrics(&self, token: &str) -> String {
        let lines = format!("Host: {}\r\nAuthorization: Bearer {token}\r\n", self.address);
        let reply = self.send("GET /metrics", &lines, b"").await;
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
        String::from_utf8(reply.body).unwrap()
    }

    /// The same of what is expected to be answered with JSON.
    pub(crate) async fn json(&self, what: &str, body: Value) -> Value {
        let reply = self.ask(what, &body).await;
        assert!((200..300).contains(&reply.status), "{what}: {} {}", reply.status, reply.json());
        reply.json()
    }

    /// The same of what has no more to say than that it is done.
    pub(super) async fn done(&self, what: &str, body: Value) {
        let reply = self.ask(what, &body).await;
        assert_eq!((reply.status, &*reply.body), (204, &b""[..]), "{what}");
    }
}
