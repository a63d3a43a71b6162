//! HTTP at other places than an address of this machine's own: a Unix socket, where the kernel says who asks, and by TLS.

use super::site::{OTHER, OTHER_USER, Reply, exchange, served_at, started};
use crate::helper::{Home, block_on, until};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A file that only we may read.
fn secret(path: &Path, text: &[u8]) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A daemon that does not start.
fn refused(home: &Home) -> String {
    let Output { status, stderr, .. } = home.serve_command().output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert!(!status.success(), "{said}");
    said
}

async fn by_socket(path: &Path, what: &str, lines: &str, body: &[u8]) -> Reply {
    exchange(UnixStream::connect(path).await.unwrap(), what, &format!("Host: any\r\n{lines}"), body).await
}

#[test]
fn by_a_unix_socket_the_kernel_says_who_asks() {
    block_on(async {
        let home = Home::new("");
        let (socket, tokens) = (home.path("made/http.sock"), home.path("tokens"));
        secret(&tokens, format!("{OTHER_USER} {OTHER}\n").as_bytes());
        home.configure(&format!("[daemon]\nhttp = {socket:?}\nhttp_tokens = {tokens:?}\n"));
        let (daemon, place) = started(&home).await;
        assert_eq!(place, socket.to_str().unwrap());
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);

        let job = br#"{"queue": "q", "body": "x"}"#;
        assert_eq!(by_socket(&socket, "POST /api/v1/jobs", "", job).await.status, 201);
        let token = |token: &str| format!("Authorization: Bearer {token}\r\n");
        assert_eq!(by_socket(&socket, "POST /api/v1/jobs", &token(OTHER), job).await.status, 201);
        // Who shows a wrong token is not somebody else instead.
        let wrong = token(&"x".repeat(40));
        assert_eq!(by_socket(&socket, "POST /api/v1/jobs", &wrong, job).await.status, 401);
        let from = |origin: &str| format!("Origin: {origin}\r\n");
        for (origin, status) in [("https://any", 201), ("https://evil.example", 403), ("null", 403)] {
            let reply = by_socket(&socket, "POST /api/v1/jobs", &from(origin), job).await;
            assert_eq!(reply.status, status, "{origin}");
        }
        let own = rustix::process::geteuid().as_raw();
        for (id, owner) in [(1, own), (2, OTHER_USER), (3, own)] {
            let job = by_socket(&socket, &format!("GET /api/v1/jobs/{id}"), "", b"").await.json();
            assert_eq!(job["owner"], owner, "{job}");
        }

        // A reload that names another place is for the next start: until then all is as before.
        let others = home.path("others");
        secret(&others, format!("{OTHER_USER} {}\n", "y".repeat(40)).as_bytes());
        let before = fs::read_to_string(home.path("musher.toml")).unwrap();
        home.configure(&format!("[daemon]\nhttp = \"127.0.0.1:0\"\nhttp_tokens = {others:?}\n"));
        daemon.signal(Signal::HUP);
        home.until_logged("a restart is needed for daemon.http").await;
        assert_eq!(by_socket(&socket, "GET /api/v1/jobs/2", &token(OTHER), b"").await.status, 200);
        fs::write(home.path("musher.toml"), before).unwrap();

        // What a killed daemon has left is no obstacle, and one that stops leaves nothing.
        daemon.kill().await;
        assert!(socket.exists());
        let (daemon, _) = started(&home).await;
        assert_eq!(by_socket(&socket, "GET /api/v1/jobs/3", "", b"").await.status, 200);
        daemon.stop().await;
        assert!(!socket.exists());
    });
}

/// What is sent after the answer to it was made is taken, so that a client which sends first and reads then learns why it was refused.
#[test]
fn who_is_refused_before_all_was_sent_can_send_the_rest() {
    block_on(async {
        let home = Home::new("");
        let (socket, tokens) = (home.path("http.sock"), home.path("tokens"));
        secret(&tokens, b"");
        home.configure(&format!("[daemon]\nhttp = {socket:?}\nhttp_tokens = {tokens:?}\n"));
        let (_daemon, _) = started(&home).await;
        let mut stream = UnixStream::connect(&socket).await.unwrap();
        let head =
            "POST /api/v1/jobs HTTP/1.1\r\nHost: any\r\nAuthorization: Bearer x\r\nContent-Length: 8\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // To the end of what the daemon says, after which it still listens for a while.
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer));
        // By the time that another has got an answer, the daemon would have closed this connection.
        assert_eq!(by_socket(&socket, "GET /readyz", "", b"").await.status, 200);
        stream.write_all(b"12345678").await.unwrap();
    });
}

#[test]
fn a_unix_socket_that_is_not_free_is_left_alone() {
    block_on(async {
        let home = Home::new("");
        let socket = home.path("http.sock");
        home.configure(&format!("[daemon]\nhttp = {socket:?}\n"));
        let other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let said = refused(&home);
        assert!(said.contains("answers at") && said.contains("daemon.http"), "{said}");
        drop(other);
        fs::remove_file(&socket).unwrap();
        fs::write(&socket, "mine").unwrap();
        let said = refused(&home);
        assert!(said.contains("is not a socket") && said.contains("daemon.http"), "{said}");
        assert_eq!(fs::read(&socket).unwrap(), b"mine");
    });
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)).unwrap()
}

/// A home whose daemon speaks TLS, and the files of its certificate.
struct Secure {
    home: Home,
    certificate: PathBuf,
    key: PathBuf,
}

impl Secure {
    fn new() -> Secure {
        let home = Home::new("");
        let path = |name| home.path(name);
        let (certificate, key, tokens) = (path("certificate.pem"), path("key.pem"), path("tokens"));
        secret(&tokens, format!("{OTHER_USER} {OTHER}\n").as_bytes());
        home.configure(&format!(
            "[daemon]\nhttp = \"0.0.0.0:0\"\nhttp_tokens = {tokens:?}\nhttp_certificate = {certificate:?}\nhttp_key = {key:?}\n"
        ));
        let secure = Secure { home, certificate, key };
        secure.set("certificate.pem", "key.pem");
        secure
    }

    fn set(&self, certificate: &str, key: &str) {
        fs::write(&self.certificate, fixture(certificate)).unwrap();
        secret(&self.key, &fixture(key));
    }
}

/// Whose certificate is trusted, which is one of the fixtures.
async fn by_tls(port: u16, trusted: &str) -> Result<TlsStream<TcpStream>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&fixture(trusted)).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(config).connect(name, stream).await.map_err(|error| error.to_string())
}

#[test]
fn by_tls_others_may_come_by_the_network() {
    block_on(async {
        let secure = Secure::new();
        let daemon = secure.home.serve().await;
        let address = served_at(&secure.home, "serving HTTPS at ", 0).await;
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        let token = format!("Authorization: Bearer {OTHER}\r\n");
        let host = "Host: jobs.example.org\r\n";
        for (lines, status) in [
            (format!("{host}{token}"), 200),
            (host.into(), 401),
            (format!("{host}{token}Origin: https://jobs.example.org\r\n"), 200),
            (format!("{host}{token}Origin: http://jobs.example.org\r\n"), 403),
            (format!("{host}{token}Origin: https://evil.example\r\n"), 403),
        ] {
            let stream = by_tls(port, "certificate.pem").await.unwrap();
            assert_eq!(exchange(stream, "GET /api/v1/status", &lines, b"").await.status, status, "{lines}");
        }
        // The dashboard comes by it too, and what is large comes whole.
        let stream = by_tls(port, "certificate.pem").await.unwrap();
        let page = exchange(stream, "GET /dashboard.js", host, b"").await;
        assert_eq!((page.status, page.body.len() > 50_000), (200, true));

        // Whoever does not speak TLS gets nothing but an alert, and keeps nobody out.
        let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        plain
            .write_all(format!("GET /api/v1/status HTTP/1.1\r\n{host}{token}\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(answer.len() < 10 && !answer.starts_with(b"HTTP"), "{answer:?}");

        // A new certificate holds from a reload on; one that is no pair changes nothing.
        secure.set("next-certificate.pem", "key.pem");
        daemon.signal(Signal::HUP);
        secure.home.until_logged("HTTP goes on with the tokens and the certificate of before").await;
        assert!(by_tls(port, "certificate.pem").await.is_ok());
        secure.set("next-certificate.pem", "next-key.pem");
        daemon.signal(Signal::HUP);
        until("the new certificate is shown", async || by_tls(port, "next-certificate.pem").await.ok()).await;
        assert!(by_tls(port, "certificate.pem").await.is_err());
        daemon.stop().await;
    });
}

#[test]
fn what_tls_cannot_be_spoken_with_is_told_at_the_start() {
    block_on(async {
        let secure = Secure::new();
        for (certificate, key, told) in [
            ("next-certificate.pem", "key.pem", "cannot be used"),
            ("key.pem", "key.pem", "has no certificate in PEM"),
            ("certificate.pem", "certificate.pem", "has no private key in PEM"),
        ] {
            secure.set(certificate, key);
            let said = refused(&secure.home);
            assert!(
                said.contains("daemon.http_certificate: ") && said.contains(told),
                "{certificate} {key}: {said}"
            );
        }
        secure.set("certificate.pem", "key.pem");
        fs::set_permissions(&secure.key, Permissions::from_mode(0o644)).unwrap();
        let said = refused(&secure.home);
        assert!(said.contains("may be read by everybody"), "{said}");
        fs::remove_file(&secure.key).unwrap();
        let said = refused(&secure.home);
        assert!(said.contains("key.pem cannot be read: No such file"), "{said}");
    });
}
