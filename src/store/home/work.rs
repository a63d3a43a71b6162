//! What a checkpoint hands over to a home, part by part, and what the home reports back.

use crate::core::{JobId, RowKey};
use crate::store::blob::ByKind;
use crate::store::codec::{MetaRow, StampedRow};
use crate::store::recent::{Neighbours, ReadBackError};
use bytes::Bytes;

/// How many slices may wait to be written. More would only be memory.
pub(crate) const SLICES_WAITING: usize = 4;

/// What becomes of a row that is not of jobs.
#[derive(Clone, Debug)]
pub(crate) enum RowChange {
    /// It is written.
    Written(StampedRow),
    /// Its subject is forgotten, and the row with it.
    Gone(RowKey),
}

/// A part of a checkpoint.
#[derive(Debug)]
pub(crate) enum Work {
    /// Rows. Those of queues go first: no block may reflect a commit that its queue's row does not.
    Slice { round: u64, rows: Vec<RowChange>, blocks: Vec<BlockRows> },
    /// The end of a checkpoint.
    Finish { round: u64, rows: Vec<RowChange>, meta: MetaRow },
}

/// What a checkpoint writes of one block. Its blobs may still be in the log: the thread that writes them reads them.
#[derive(Debug)]
pub(crate) struct BlockRows {
    pub(crate) block: u64,
    /// Its row, and which of its jobs live; `None` if none does.
    pub(crate) row: Option<(Vec<u8>, u64)>,
    /// Those of its blobs that are not in the home yet, in order.
    pub(crate) blobs: ByKind<Vec<Neighbours>>,
    /// Whose blobs take the place of others, which may be in the home: one bit a job. With such a body, what else the job has may
    /// come again.
    pub(crate) late: ByKind<u64>,
}

impl BlockRows {
    /// Reads the blobs.
    pub(crate) fn read(self) -> Result<BlockChange, ReadBackError> {
        let replaces = replaces_any(&self.late);
        let blobs = ByKind::try_of(|kind| {
            let mut blobs = Vec::new();
            for neighbours in &self.blobs[kind] {
                blobs.append(&mut neighbours.read()?);
            }
            if replaces {
                blobs.sort_by_key(|(id, _)| *id);
            }
            Ok(blobs)
        })?;
        let BlockRows { block, row, late, .. } = self;
        Ok(BlockChange { block, row, blobs, late })
    }
}

fn replaces_any(late: &ByKind<u64>) -> bool {
    late.iter().any(|(_, jobs)| *jobs != 0)
}

/// How a checkpoint ended.
#[derive(Debug)]
pub(crate) enum Report {
    /// All of it is on disk.
    Done,
    /// The disk is full: it may be tried again as a whole.
    Full,
    /// The database failed, finally, or blobs could not be read.
    Failed(std::io::Error),
}

/// The same with its blobs read.
#[derive(Debug)]
pub(crate) struct BlockChange {
    pub(crate) block: u64,
    /// Its row, and which of its jobs live; `None` if none does.
    pub(crate) row: Option<(Vec<u8>, u64)>,
    /// Blobs of its jobs that are not in the home yet, in order.
    pub(crate) blobs: ByKind<Vec<(JobId, Bytes)>>,
    /// Whose blobs take the place of others: one bit a job.
    pub(crate) late: ByKind<u64>,
}

impl BlockChange {
    /// Whether any blobs take the place of others, and others of their jobs may come again.
    pub(crate) fn replaces(&self) -> bool {
        replaces_any(&self.late)
    }
}
