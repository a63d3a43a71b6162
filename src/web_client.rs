//! A client for HTTP/1.1, with and without TLS, that keeps connections open: what jobs are sent by, and spans. It looks at no proxy of the
//! environment, and follows no redirect. It knows nothing of what is sent.

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long an idle connection is kept. Common servers close theirs after 5 s, and of a request that meets that nobody knows whether it
/// was taken.
const IDLE: Duration = Duration::from_secs(4);

/// What this program calls itself.
pub(crate) const AGENT: &str = concat!("musher/", env!("CARGO_PKG_VERSION"));

/// The client.
pub(crate) type WebClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why no server can be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TrustError {
    /// The file cannot be read.
    #[error("{0}")]
    File(#[from] io::Error),
    /// It has something else.
    #[error("{0}")]
    Certificate(String),
    /// There are none in it.
    #[error("it has none (PEM)")]
    NoneInFile,
    /// The system has none.
    #[error("this system has no certificates; install them (ca-certificates)")]
    NoneInSystem,
}

/// A client that trusts these. It needs a runtime of tokio where it is used.
pub(crate) fn client(roots: RootCertStore) -> WebClient {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the ciphers of both versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .build(connector)
}

/// The certificates of a file, or else of the system: an administrator who trusts or distrusts one does so there, for
/// all programs, and needs no new release of ours.
///
/// # Errors
/// There are none, or they cannot be read.
pub(crate) fn roots(file: Option<&Path>) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(TrustError::NoneInSystem) } else { Ok(roots) };
    };
    let text = std::fs::read(path)?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| TrustError::Certificate(error.to_string()))?;
        roots.add(certificate).map_err(|error| TrustError::Certificate(error.to_string()))?;
    }
    if roots.is_empty() { Err(TrustError::NoneInFile) } else { Ok(roots) }
}
