//! Where jobs are sent, made ready once for a configuration: the URL, a client that keeps connections open, the trusted
//! certificates, and the secret, which nobody else learns.

use crate::views::{PushView, StatusRule};
use crate::web_client::{self, TrustError, WebClient};
use hyper::Uri;
use rustls::RootCertStore;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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

impl OpenError {
    fn certificates(path: &Path, why: String) -> OpenError {
        OpenError::Certificates { path: path.to_owned(), why }
    }
}

/// Where jobs are sent.
pub(in crate::worker) struct Target {
    pub(super) uri: Uri,
    /// Host and port, for people: the rest of the URL may be a secret of its own.
    pub(super) authority: String,
    pub(super) content_type: String,
    pub(super) on_status: Vec<StatusRule>,
    pub(super) secret: Option<Secret>,
    pub(super) client: WebClient,
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
        Ok(Target { uri, authority, content_type, on_status, secret, client: web_client::client(roots) })
    }
}

/// The certificates that are trusted.
fn roots(file: Option<&Path>) -> Result<RootCertStore, OpenError> {
    web_client::roots(file).map_err(|error| match (file, error) {
        (None, _) => OpenError::NoCertificates,
        (Some(path), TrustError::File(error)) => {
            OpenError::certificates(path, crate::worker::exec::plain(&error))
        }
        (Some(path), error) => OpenError::certificates(path, error.to_string()),
    })
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
