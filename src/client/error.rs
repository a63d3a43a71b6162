//! What may go wrong between a program and its daemon, in words that say what to do.

use crate::protocol::{ErrorCode, Fault, Malformed};
use std::path::PathBuf;

/// Why a request did not get the answer that it asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no daemon to talk to.
    #[error("no daemon answers at {}: {source}; start one with `musher serve`, or name its socket with --socket", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The connection ended; whether the daemon did what was asked is not known.
    #[error("the daemon closed the connection before it answered{0}")]
    Closed(String),
    /// The daemon refused.
    #[error(transparent)]
    Refused(#[from] Fault),
    /// Client and server do not understand each other.
    #[error("the daemon's answer cannot be read: {0}")]
    Malformed(#[from] Malformed),
    /// An answer of the wrong kind.
    #[error("the daemon answered this request with a message of the wrong kind; report this as a bug")]
    Unexpected,
    /// The daemon is older than what was asked for.
    #[error("the daemon is older than this program and knows no {0}: update it")]
    OldDaemon(&'static str),
    /// The request is longer than a frame may be.
    #[error(
        "the request has {len} bytes, at most {max} are allowed (limits.frame); send the jobs in smaller batches"
    )]
    TooLarge {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
}

impl ClientError {
    /// What came of a question in JSON that older daemons do not know. They find it malformed, which nothing is that this program
    /// asks.
    pub(super) fn of_new(self, what: &'static str) -> ClientError {
        match self {
            ClientError::Refused(Fault { code: ErrorCode::Malformed, .. }) => ClientError::OldDaemon(what),
            error => error,
        }
    }

    /// Whether the connection is gone, so that another one is needed.
    pub fn is_disconnect(&self) -> bool {
        matches!(self, ClientError::Connect { .. } | ClientError::Closed(_))
    }

    /// Whether the same may succeed later.
    pub(crate) fn heals(&self) -> bool {
        match self {
            ClientError::Refused(fault) => fault.code.try_again() || fault.code == ErrorCode::Internal,
            error => error.is_disconnect(),
        }
    }
}
