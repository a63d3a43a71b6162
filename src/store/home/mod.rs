//! The trait of homes: where jobs live that outlast a checkpoint, as rows. [`sled`] is the one on disk. A home knows
//! what a row means and in which order rows must be written; not when, and nothing of the log. What survives a crash is
//! a prefix of what was written, so a row is never safe without those before it.

pub(in crate::store) mod blobs;
mod error;
pub(in crate::store) mod sled;
mod work;

pub use error::HomeError;
pub(crate) use error::ahead_of_log;
pub(crate) use work::{BlockChange, BlockRows, Report, RowChange, SLICES_WAITING, Work};

use super::blob::Blob;
use super::codec::{BlockRow, MetaRow, StampedRow};
use super::error::AppendError;
use super::room::{Room, Shrunk};
use crate::core::{JobId, Time};
use bytes::Bytes;
use std::fmt::Debug;

/// What a recovery reads of the home.
pub(crate) trait Rows {
    /// Where the last whole checkpoint stands; `None` before the first.
    fn meta(&self) -> Result<Option<MetaRow>, HomeError>;

    /// Every row that is not of jobs.
    fn rows(&self) -> Result<Vec<StampedRow>, HomeError>;

    /// Every row of jobs, in order. Reads no blobs.
    fn blocks(&self, on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError>;
}

/// How checkpoints reach a home: part by part, each handed over when there is room for it, and one report at the end.
pub(crate) trait RowWriter {
    /// Hands over a part of a checkpoint; gives it back if there is no room for it now.
    fn offer(&mut self, work: Work) -> Result<Option<Work>, AppendError>;

    /// Hands it over, and waits until there is room for it.
    fn hand_over(&mut self, work: Work) -> Result<(), AppendError>;

    /// How the checkpoint under way ended, if it has.
    fn report(&mut self) -> Result<Option<Report>, AppendError>;

    /// Waits for its end.
    fn wait(&mut self) -> Result<Report, AppendError>;
}

/// What a home promises. `contract/home.rs` checks it of each. While it writes it is read.
pub(crate) trait Home: Rows + RowWriter {
    /// The blobs of a kind of the row that holds a job's, in order: its neighbours are likely to be asked for next.
    /// Without the job's if it has none. Those that took the place of others are checked: one that is not what its job has is an
    /// error if it is the job's, and left out if it is a neighbour's.
    fn blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError>;

    /// The log has failed: nothing more is written, not even when this is closed.
    fn give_up(&mut self);

    /// Housekeeping. Returns whether no checkpoint may begin now for lack of space.
    fn maintain(&mut self, now: Time) -> bool;

    /// When `maintain` is to be called again, even if nothing happens.
    fn look_again(&self, now: Time) -> Option<Time>;

    /// How many bytes it takes, about; for people.
    fn bytes(&self) -> u64 {
        0
    }

    /// Whether there is room for new jobs.
    fn room(&self) -> Room;

    /// The result of giving space back, if that was tried since the last call.
    fn shrunk(&mut self) -> Option<Shrunk>;

    /// The same rows for another thread (a backup, a list): as they are when they are read, or as they were at any
    /// moment after this.
    fn reader(&self) -> Box<dyn RowReader>;
}

/// Rows as another thread reads them.
pub(crate) trait RowReader: Debug + Send {
    /// See [`Rows::meta`].
    fn meta(&self) -> Result<Option<MetaRow>, HomeError>;

    /// See [`Rows::rows`].
    fn rows(&self) -> Result<Vec<StampedRow>, HomeError>;

    /// The next rows of jobs from a block on, as they are stored; at most `count`.
    fn raw_blocks(&self, from: u64, count: usize) -> Result<Vec<(u64, Bytes)>, HomeError>;

    /// See [`Home::blobs`]. As they are found: those that took the place of others may be newer than the row of their jobs.
    fn blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError>;
}
