//! The trait of logs: every commit goes there first, and the log says when it is safe. [`files`] is the log of local
//! files; another may confirm later than it has appended. A log knows bytes and numbers, not what a commit is, nor what
//! becomes of it later.

mod error;
pub(in crate::store) mod files;
pub(in crate::store) mod record;
#[cfg(any(test, feature = "cluster"))]
pub(in crate::store) mod replicated;

pub use error::LogError;

use super::commit::{CommitNo, StreamMark};
use super::error::AppendError;
use crate::core::Time;
use std::fmt::Debug;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

/// What a log promises. `contract/log.rs` checks it of each.
///
/// Commits are confirmed in order. One that is not confirmed may be lost by a crash, with all that follow it.
pub(crate) trait Log {
    /// The newest commit that was appended.
    fn last(&self) -> CommitNo;

    /// The newest commit up to which everything is confirmed: no crash loses it any more.
    fn confirmed(&self) -> CommitNo;

    /// Whether another may be appended now. If not, as many are unconfirmed as the log allows; its bell
    /// rings when that has changed. A log that has failed says yes, and tells the error with the append.
    fn can_append(&self) -> bool;

    /// Appends the next commit, which must get the number `expected`; `encode` adds its bytes to a buffer that may have
    /// others before it. It can be read back when this returns, confirmed or not.
    ///
    /// # Errors
    /// Final: nothing is appended after it, and what has become of the commit is not known, unless it was fenced.
    fn append(
        &mut self,
        expected: CommitNo,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Appended<'_>, AppendError>;

    /// Housekeeping, after each turn of the loop. Returns when it is to be done again at the latest, if that is known.
    ///
    /// # Errors
    /// What was appended will not be confirmed. Final, like a failed append.
    fn maintain(&mut self, now: Time) -> Result<Option<Time>, AppendError>;

    /// Waits until everything that was appended is confirmed.
    ///
    /// # Errors
    /// It will not be, or not in the time that the log allows itself. Final.
    fn wait(&mut self) -> Result<(), AppendError>;

    /// Sets the bell that is rung, from any thread, whenever something was confirmed, or never will be, after the
    /// append has returned.
    fn ring(&mut self, bell: &Waker);

    /// Everything up to `home` is safe elsewhere, and nothing of it is read any more: it may go.
    fn free(&mut self, home: CommitNo);

    /// From where a node reads on that has the confirmed commits at home, if it is a replicated log.
    fn mark(&self) -> Option<StreamMark> {
        None
    }

    /// By what is at home, a replicated log has to be read from here: before that it may be trimmed, if all nodes say so.
    fn note_home(&mut self, _mark: StreamMark) {}

    /// Whether what it has is there at the next start by itself.
    fn outlives(&self) -> bool {
        true
    }

    /// How much of it is not free.
    fn size(&self) -> Size;

    /// The confirmed commits that are not free, to be read while others are appended. They stay until they are free.
    fn tail(&self) -> Box<dyn Tail>;
}

/// How much a log holds that no checkpoint has freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// In bytes.
    pub(crate) bytes: u64,
    /// From how many bytes on no new jobs are taken.
    pub(crate) limit: u64,
}

/// A commit that was appended.
#[derive(Debug)]
pub(crate) struct Appended<'a> {
    /// The buffer that it was encoded into.
    pub(crate) record: &'a [u8],
    /// Where that can be read back.
    pub(crate) segment: &'a Arc<dyn Segment>,
    /// Where the buffer begins there.
    pub(crate) at: u64,
    /// How long the disk was waited for.
    pub(crate) waited: Duration,
}

/// A part of a log that bodies are read back from, by any thread, until it is free.
pub(crate) trait Segment: Debug + Send + Sync {
    /// Reads as many bytes as there is room for.
    ///
    /// # Errors
    /// They are not all there, or cannot be read.
    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl Segment for File {
    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }
}

/// Commits of a log, as a backup reads them on a thread of its own.
pub(crate) trait Tail: Debug + Send {
    /// The newest of them.
    fn last(&self) -> CommitNo;

    /// Hands over every commit after `home`, in order.
    ///
    /// # Errors
    /// One is missing or cannot be read, or `on_commit` has failed.
    fn read(
        &self,
        home: CommitNo,
        on_commit: &mut dyn FnMut(CommitNo, &[u8]) -> io::Result<()>,
    ) -> io::Result<()>;
}

/// Where a record stands, for errors and to read it again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) path: &'a Path,
    pub(crate) offset: u64,
    pub(crate) number: CommitNo,
    /// Where the commit's bytes begin in what they can be read back from; `None` if they are in no log that is open.
    pub(crate) payload: Option<(&'a Arc<dyn Segment>, u64)>,
}

impl Place<'_> {
    /// The error for a record that is whole but makes no sense.
    pub(crate) fn damaged(&self, detail: String) -> LogError {
        let (path, offset, commit) = (self.path.to_owned(), self.offset, self.number);
        LogError::Damaged { path, offset, commit, detail }
    }

    /// The error for a record that a newer version of this program has written.
    pub(crate) fn of_newer_version(&self, detail: String) -> LogError {
        let (path, offset, commit) = (self.path.to_owned(), self.offset, self.number);
        LogError::Newer { path, offset, commit, detail }
    }
}
