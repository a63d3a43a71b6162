//! Errors about commits and blobs, wherever they are kept, and how a reader reports damage.

use super::blob::Blob;
use super::commit::CommitNo;
use crate::core::JobId;
use std::fmt;

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else has appended: this process is not the owner any more. Nothing was written.
    #[error(
        "commit {} was expected next, but the next one is {}: another process has written to this store; end it and \
         start again", expected.0, actual.0
    )]
    Fenced {
        /// The number that the caller expected.
        expected: CommitNo,
        /// The number that would be next.
        actual: CommitNo,
    },
    /// Somebody else owns the replicated log now, or it cannot be read. Whether the newest commits are in it is not known.
    #[error("this node cannot go on with the log: {0}")]
    Lost(String),
    /// The disk failed. What is on it is not known; the process must end, and recovery decides.
    #[error("the log cannot be written, so nothing more can be acknowledged: {0}")]
    Disk(#[from] std::io::Error),
}

/// Why a blob could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// The store holds none for this job: the job is unknown, or the store is damaged.
    #[error("the {kind} of job {id} is not in the store")]
    Missing {
        /// What is missing.
        kind: Blob,
        /// The job.
        id: JobId,
    },
    /// The stored bytes are not what was written.
    #[error("the {kind} of job {id} is damaged: {detail}")]
    Damaged {
        /// What is damaged.
        kind: Blob,
        /// The job.
        id: JobId,
        /// What is wrong.
        detail: String,
    },
    /// The disk or the database failed.
    #[error("the {kind} of job {id} cannot be read: {detail}")]
    Failed {
        /// What cannot be read.
        kind: Blob,
        /// The job.
        id: JobId,
        /// What is wrong.
        detail: String,
    },
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// In which part, at which byte, or under which key.
    pub place: String,
    /// What is wrong.
    pub detail: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.detail)
    }
}
