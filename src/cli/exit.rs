//! Exit codes: the one table from the kind of failure to the number that a script sees.

use crate::client::ClientError;
use crate::protocol::ErrorCode;
use std::fmt::Display;
use std::process::ExitCode;

/// The operation failed: the job failed, was not found, lost its lease.
pub(super) const FAILED: u8 = 1;
/// Wrong usage.
pub(super) const USAGE: u8 = 2;
/// A job has ended and nothing is kept of it, so how it ended is not known.
pub(super) const GONE: u8 = 4;
/// The daemon is not reachable (`EX_UNAVAILABLE`).
pub(super) const UNREACHABLE: u8 = 69;
/// Try again later (`EX_TEMPFAIL`).
pub(super) const TRY_AGAIN: u8 = 75;

/// How a verb ends.
pub(super) type End = Result<ExitCode, Failure>;

/// A verb that did not do what it should. An empty message says that everything was said already.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    /// The operation failed.
    pub(super) fn failed(message: impl Display) -> Failure {
        Failure { code: FAILED, message: message.to_string() }
    }

    /// The arguments are wrong.
    pub(super) fn usage(message: impl Display) -> Failure {
        Failure { code: USAGE, message: message.to_string() }
    }

    /// The same, but everything was said already.
    pub(super) fn silent(code: u8) -> Failure {
        Failure { code, message: String::new() }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        let code = match &error {
            ClientError::Connect { .. } | ClientError::Closed(_) => UNREACHABLE,
            ClientError::TooLarge { .. } => USAGE,
            ClientError::Malformed(_) | ClientError::Unexpected | ClientError::OldDaemon(_) => FAILED,
            ClientError::Refused(fault) => code_of(fault.code),
        };
        Failure { code, message: error.to_string() }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            // The reader of our output has enough of it: `musher list | head`.
            std::io::ErrorKind::BrokenPipe => Failure::silent(0),
            _ => Failure::failed(error),
        }
    }
}

fn code_of(code: ErrorCode) -> u8 {
    match code {
        ErrorCode::Draining | ErrorCode::QueueFull | ErrorCode::DiskFull | ErrorCode::Busy => TRY_AGAIN,
        ErrorCode::Invalid | ErrorCode::TooLarge => USAGE,
        ErrorCode::Malformed
        | ErrorCode::Version
        | ErrorCode::NotFound
        | ErrorCode::Forbidden
        | ErrorCode::WrongState
        | ErrorCode::Unsupported
        | ErrorCode::NotUnique
        | ErrorCode::Internal => FAILED,
    }
}
