//! Where jobs are sent, made ready once for a configuration: the URL, a client that keeps connections open, the trusted
//! certificates, and the secret, which nobody else learns.

use crate::views::{PushView, StatusRule};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long an idle connection is kept. Common servers close theirs after 5 s, and a request that meets that is a failed
/// attempt: whether it was taken nobody knows.
const IDLE: Duration = Duration::from_secs(4);
/// The longest secret.
const SECRET_MAX: u64 = 4 << 10;

/// Why jobs cannot be sent there at all.
#[derive(Debug, thiserror::Error)]
pub(in crate::worker) enum OpenError {
    /// The secret cannot be read.
    #[error("cannot read the secret in {}: {}", path.display(), crate::worker::exec::plain(source))]
    Secret { path: PathBuf, source: io::Error },
    /// Who can log in here can sign.
    #[error("cannot use the secret in {0}: the file is open to every user of this machine; chmod o= {0}", path.display())]
    SecretIsOpen { path: PathBuf },
    /// Nothing, or too much.
    #[error("cannot use the secret in {}: it must have 1 to {SECRET_MAX} bytes", path.display())]
    SecretLength { path: PathBuf },
    /// There is no such list of certificates, or it cannot be read.
    #[error("cannot read the certificates in {}: {why}", path.display())]
    Certificates { path: PathBuf, why: String },
    /// The system has none.
    #[error(
        "cannot trust any server: this system has no certificates; install them (ca-certificates), or set ca_file"
    )]
    NoCertificates,
    /// The daemon has checked it, so this is another version's.
    #[error("cannot use the URL of the handler: {0}")]
    Url(String),
}

/// Where jobs are sent.
pub(in crate::worker) struct Target {
    pub(super) uri: Uri,
    /// Host and port, for people: the rest of the URL may be a secret of its own.
    pub(super) authority: String,
    pub(super) content_type: String,
    pub(super) on_status: Vec<StatusRule>,
    pub(super) secret: Option<Secret>,
    pub(super) client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What signs requests. It has no form for people.
pub(super) struct Secret(Vec<u8>);

impl Target {
    pub(super) fn open(push: &PushView) -> Result<Target, OpenError> {
        let uri: Uri = push.url.parse().map_err(|error| OpenError::Url(format!("{error}")))?;
        let authority = uri.authority().ok_or_else(|| OpenError::Url("it names no host".into()))?.to_string();
        let roots = match uri.scheme_str() {
            Some("https") => roots(push.ca_file.as_deref())?,
            _ => RootCertStore::empty(),
        };
        let secret = push.secret_file.as_deref().map(Secret::read).transpose()?;
        let (content_type, on_status) = (push.content_type.clone(), push.on_status.clone());
        Ok(Target { uri, authority, content_type, on_status, secret, client: client(roots) })
    }
}

/// It looks at no proxy of the environment.
fn client(roots: RootCertStore) -> Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
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
fn roots(file: Option<&Path>) -> Result<RootCertStore, OpenError> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return if roots.is_empty() { Err(OpenError::NoCertificates) } else { Ok(roots) };
    };
    let failed = |why: String| OpenError::Certificates { path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|error| failed(crate::worker::exec::plain(&error)))?;
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|error| failed(error.to_string()))?;
        roots.add(certificate).map_err(|error| failed(error.to_string()))?;
    }
    if roots.is_empty() { Err(failed("it has none (PEM)".into())) } else { Ok(roots) }
}

impl Secret {
    /// Who may read the file is asked of the file that is read.
    fn read(path: &Path) -> Result<Secret, OpenError> {
        let path = || path.to_owned();
        let failed = |source| OpenError::Secret { path: path(), source };
        let file = File::open(path()).map_err(failed)?;
        if file.metadata().map_err(failed)?.mode() & 0o007 != 0 {
            return Err(OpenError::SecretIsOpen { path: path() });
        }
        let mut secret = Vec::new();
        // With a line's end, and one byte more to see that it is too long.
        file.take(SECRET_MAX + 3).read_to_end(&mut secret).map_err(failed)?;
        Secret::of(secret).ok_or_else(|| OpenError::SecretLength { path: path() })
    }

    /// A line's end at the end is the editor's.
    pub(super) fn of(mut bytes: Vec<u8>) -> Option<Secret> {
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        (!bytes.is_empty() && bytes.len() as u64 <= SECRET_MAX).then_some(Secret(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
