//! What the front reads from files when it starts and at each reload: the tokens, and who the daemon is.

use super::tls::{Identity, IdentityError};
use super::tokens::{Tokens, TokensError};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The file of tokens.
    #[error("daemon.http_tokens: {0}")]
    Tokens(#[from] TokensError),
    /// The files of the certificate.
    #[error("daemon.http_certificate: {0}")]
    Identity(#[from] IdentityError),
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Secrets {
    pub(crate) tokens: Tokens,
    /// With it TLS is spoken.
    pub(crate) identity: Option<Identity>,
}

impl Secrets {
    /// Reads the file of tokens, and those of a certificate and its key, where there are any.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub(crate) fn read(
        tokens: Option<&Path>,
        identity: Option<(&Path, &Path)>,
    ) -> Result<Secrets, SecretsError> {
        let tokens = tokens.map(Tokens::read).transpose()?.unwrap_or_default();
        let identity = identity.map(|(certificate, key)| Identity::read(certificate, key)).transpose()?;
        Ok(Secrets { tokens, identity })
    }
}

/// Those that hold now.
#[derive(Clone, Debug)]
pub(super) struct Current(Arc<RwLock<Arc<Secrets>>>);

impl Current {
    pub(super) fn new(secrets: Secrets) -> Current {
        Current(Arc::new(RwLock::new(Arc::new(secrets))))
    }

    // Nobody panics while it is locked.

    pub(super) fn get(&self) -> Arc<Secrets> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, secrets: Secrets) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(secrets);
    }
}
