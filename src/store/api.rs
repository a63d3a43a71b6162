//! The store as the rest of the daemon sees it.

use super::backup::{BackupRows, BackupTail};
use super::blob::Blob;
use super::commit::{Commit, CommitNo};
use super::error::{AppendError, BlobError};
use super::reads::BlobReads;
use super::room::{Figures, Room, Shrunk};
use crate::core::{JobId, State, Time};
use bytes::Bytes;
use std::task::Waker;
use std::time::Duration;

/// What keeps the commits.
pub trait Store {
    /// Appends a commit that must get the number `expected`. Returns how long the disk was waited for.
    ///
    /// # Errors
    /// Any error is final for the process: see [`AppendError`].
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<Duration, AppendError>;

    /// The newest commit up to which everything is on disk.
    fn durable(&self) -> CommitNo;

    /// Whether another commit may be appended now: not while as many as the log allows wait to be on disk.
    /// The bell rings when that has changed.
    fn can_append(&self) -> bool;

    /// Sets the bell that is rung, from any thread, whenever the mark has moved, or never will, after `append` has
    /// returned. The loop then calls `maintain`, which returns the error if there is one.
    fn ring(&mut self, bell: &Waker);

    /// Waits until everything that was appended is on disk.
    ///
    /// # Errors
    /// It will not be; as a failed append.
    fn wait(&mut self) -> Result<(), AppendError>;

    /// What is stored of a live job.
    ///
    /// # Errors
    /// See [`BlobError`]; the store stays usable.
    fn blob(&mut self, kind: Blob, id: JobId) -> Result<Bytes, BlobError>;

    /// The same of many jobs, to be read on another thread.
    fn blobs(&self, kind: Blob, ids: Vec<JobId>) -> BlobReads;

    /// Whether new jobs may be taken.
    fn room(&self) -> Room;

    /// A bounded slice of housekeeping (a few milliseconds at most): moving on with a checkpoint of `state`, which
    /// is that of the newest appended commit. Returns when it wants to be called again even if nothing is
    /// appended; `None` if there is nothing to do.
    ///
    /// # Errors
    /// Housekeeping that failed is final for the process, like a failed append.
    fn maintain(&mut self, state: &State, now: Time) -> Result<Option<Time>, AppendError>;

    /// Closes the store before a shutdown: waits until everything is on disk, and writes it into the home unless that
    /// would take long. What stays in the log is read at the next start.
    ///
    /// # Errors
    /// As `maintain`. Nothing is lost by an error here: recovery reads the log.
    fn close(&mut self, state: &State) -> Result<(), AppendError>;

    /// The result of giving space back, if that was tried since the last call.
    fn shrunk(&mut self) -> Option<Shrunk> {
        None
    }

    /// How many bytes commits have added to the log since the start.
    fn appended_bytes(&self) -> u64 {
        0
    }

    /// How large what it keeps is, and what it has done; for people. It may ask the system.
    fn figures(&self) -> Figures {
        Figures::default()
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
