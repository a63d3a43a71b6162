//! Who this daemon is for those who come by TLS: a certificate and its key, from files. It knows no requests.

use super::files::{self, Contents};
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS cannot be spoken.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others may read the key.
    #[error("{} may be read by everybody: `chmod o-rwx` it, and have a new key and certificate made if others use this machine", .0.display())]
    Open(PathBuf),
    /// What is in a file is something else.
    #[error("{} has no {what} in PEM, which begins with `{begins}`: {error}", path.display())]
    Strange {
        /// The file.
        path: PathBuf,
        /// What it should have.
        what: &'static str,
        /// The first line of that.
        begins: &'static str,
        /// What is wrong.
        error: pem::Error,
    },
    /// They are no pair, or of a kind that is not known.
    #[error("the certificate in {} and the key in {} cannot be used: {error}", certificate.display(), key.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

/// A certificate with its key, ready to be shown to those who come.
#[derive(Clone, Debug)]
pub(crate) struct Identity(Arc<ServerConfig>);

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, the key may be read by others, or they do not belong together.
    pub(crate) fn read(certificate: &Path, key: &Path) -> Result<Identity, IdentityError> {
        let strange = |path: &Path, what, begins, error| IdentityError::Strange {
            path: path.to_owned(),
            what,
            begins,
            error,
        };
        let read = |path: &Path| {
            files::read(path).map_err(|error| IdentityError::Unread { path: path.to_owned(), error })
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(certificate)?.bytes).collect();
        let chain = chain
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|error| strange(certificate, "certificate", "-----BEGIN CERTIFICATE-----", error))?;
        let Contents { bytes: secret, is_open } = read(key)?;
        if is_open {
            return Err(IdentityError::Open(key.to_owned()));
        }
        let secret = PrivateKeyDer::from_pem_slice(&secret)
            .map_err(|error| strange(key, "private key", "-----BEGIN PRIVATE KEY-----", error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret));
        let mut config = config.map_err(|error| IdentityError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            error,
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Identity(Arc::new(config)))
    }

    /// What greets those who come.
    pub(super) fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.0.clone().into()
    }
}
