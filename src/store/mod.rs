//! The memory: commits in a write-ahead log, jobs that live on in sled. The rest of the daemon sees the trait
//! [`Store`] only. It knows events and bodies, and must not know connections, requests or settings of queues.
//!
//! A commit number names every state. `append` hands a commit over and names the number that it must get; a
//! mark, [`Store::durable`], says up to which commit everything is on disk, and answers wait for the mark. The
//! local store syncs inside `append`; one that replicates may confirm later, with further appends under way.

mod backup;
mod checkpoint;
mod codec;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod damage_tests;
mod directory;
mod disk;
#[cfg(test)]
mod fixture_tests;
mod fresh;
#[cfg(test)]
mod full_tests;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod home;
mod log;
#[doc(hidden)]
pub mod measured;
mod options;
mod recovery;
#[cfg(test)]
mod shrink_tests;
pub mod simulated;
mod space;
mod verify;
#[cfg(test)]
mod workload;

pub use backup::{
    BackupError, Defect, Restored, Rows as BackupRows, Summary, Tail as BackupTail, restore, verify_backup,
};
pub use codec::DecodeError;
pub use directory::{DirectoryError, migrate};
pub use disk::DiskStore;
pub use home::HomeError;
pub use log::LogError;
pub use options::Options;
pub use recovery::{OpenError, Recovered, Report};
pub use verify::{Scratch, Verified, VerifyError, verify_directory};

use crate::core::{Event, JobId, State, Time};
use bytes::Bytes;

/// The number of a commit, from 1. 0 is the state before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo(pub u64);

impl CommitNo {
    /// The number that follows.
    pub fn next(self) -> CommitNo {
        CommitNo(self.0 + 1)
    }
}

/// The events of many commands, made durable together: all of them or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// When it was decided. Never earlier than the commit before it.
    pub time: Time,
    /// What happened, in order.
    pub events: Vec<Event>,
    /// The bodies of all jobs submitted in it, in the order of their ids (which are consecutive in a commit).
    pub bodies: Vec<Bytes>,
}

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else has appended: this process is not the owner any more. Nothing was written.
    #[error(
        "commit {expected:?} was expected next, but {actual:?} is: another process has written to this store"
    )]
    Fenced {
        /// The number that the caller expected.
        expected: CommitNo,
        /// The number that would be next.
        actual: CommitNo,
    },
    /// The disk failed. What is on it is not known; the process must end, and recovery decides.
    #[error("the log cannot be written, so nothing more can be acknowledged: {0}")]
    Disk(#[from] std::io::Error),
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The store holds none for this job: the job is unknown, or the store is damaged.
    #[error("the body of job {0} is not in the store")]
    Missing(JobId),
    /// The stored bytes are not what was written.
    #[error("the body of job {id} is damaged: {detail}")]
    Damaged {
        /// The job.
        id: JobId,
        /// What is wrong.
        detail: String,
    },
    /// The disk or the database failed.
    #[error("the body of job {id} cannot be read: {detail}")]
    Failed {
        /// The job.
        id: JobId,
        /// What is wrong.
        detail: String,
    },
}

/// Whether new jobs may be taken. Settles always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// There is room.
    Enough,
    /// The file system is nearly full.
    DiskLow {
        /// Bytes free.
        free: u64,
        /// Bytes that must stay free (`limits.disk_reserve`).
        reserve: u64,
    },
    /// The log is at its limit because checkpoints do not keep up.
    LogFull {
        /// Bytes of log that no checkpoint has freed.
        bytes: u64,
        /// The limit (`storage.log_max`).
        limit: u64,
    },
}

/// What became of giving space back to the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shrunk {
    /// The database's file has another size now.
    Done {
        /// Its bytes before.
        before: u64,
        /// And after.
        after: u64,
    },
    /// It is as it was, for this reason.
    Failed(String),
}

/// What keeps the commits.
pub trait Store {
    /// Appends a commit that must get the number `expected`.
    ///
    /// # Errors
    /// Any error is final for the process: see [`AppendError`].
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<(), AppendError>;

    /// The newest commit up to which everything is on disk.
    fn durable(&self) -> CommitNo;

    /// The body of a live job.
    ///
    /// # Errors
    /// See [`BodyError`]; the store stays usable.
    fn body(&mut self, id: JobId) -> Result<Bytes, BodyError>;

    /// Whether new jobs may be taken.
    fn room(&self) -> Room;

    /// A bounded slice of housekeeping (a few milliseconds at most): moving on with a checkpoint of `state`, which
    /// is that of the newest appended commit. Returns when it wants to be called again even if nothing is
    /// appended; `None` if there is nothing to do.
    ///
    /// # Errors
    /// Housekeeping that failed is final for the process, like a failed append.
    fn maintain(&mut self, state: &State, now: Time) -> Result<Option<Time>, AppendError>;

    /// Ends in order, before a shutdown: brings everything home, unless that would take long. What stays in the log is
    /// read at the next start.
    ///
    /// # Errors
    /// As `maintain`. Nothing is lost by an error here: recovery reads the log.
    fn close(&mut self, state: &State) -> Result<(), AppendError>;

    /// What became of giving space back, if that was tried since the last call.
    fn shrunk(&mut self) -> Option<Shrunk> {
        None
    }

    /// Begins a backup: from now until [`Store::end_backup`] the log keeps what came after the rows. `None` if there is
    /// one under way already, or the store has nothing that could be backed up.
    fn begin_backup(&mut self) -> Option<BackupRows> {
        None
    }

    /// The commits up to now, for the backup under way; `None` if it has taken so long that the log could not be kept.
    fn backup_tail(&self) -> Option<BackupTail> {
        None
    }

    /// Ends the backup under way.
    fn end_backup(&mut self) {}
}
