//! The row that says where the last whole checkpoint stands.

use super::{DecodeError, Reader, put};
use crate::core::{JobId, Time};
use crate::store::commit::{CommitNo, StreamMark};

/// The versions in which the rows are written.
const META: u8 = 2;
const SUM: u8 = 2;

/// The row `state` of the tree `meta`: written last in a checkpoint, so that all before it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetaRow {
    /// Everything up to this commit is in the rows.
    pub(crate) home: CommitNo,
    /// When that commit was decided.
    pub(crate) time: Time,
    /// The id that the next job got after it.
    pub(crate) next_id: JobId,
    /// Where that is in the replicated log, if there is one.
    pub(crate) mark: Option<StreamMark>,
}

impl MetaRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Whoever has no replicated log writes what earlier versions read.
        let mut out = vec![if self.mark.is_some() { META } else { 1 }];
        put((self.home.0, self.time.0, self.next_id.0), &mut out);
        if let Some(mark) = self.mark {
            put((mark.created, mark.seq, mark.epoch, mark.number.0), &mut out);
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<MetaRow, DecodeError> {
        let (version, mut reader) = Reader::up_to("the row of the checkpoint", META, bytes)?;
        let (home, time, next_id): (u64, u64, u64) = reader.take()?;
        let mark = if version == 1 { None } else { Some(reader.take()?) };
        reader.end()?;
        let mark = mark.map(|(created, seq, epoch, number)| StreamMark {
            created,
            seq,
            epoch,
            number: CommitNo(number),
        });
        Ok(MetaRow { home: CommitNo(home), time: Time(time), next_id: JobId(next_id), mark })
    }
}

/// The row `sum` of the tree `meta`: what all rows of jobs and queues add up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SumRow {
    /// The checkpoint that it was written with.
    pub(crate) home: CommitNo,
    pub(crate) sum: u64,
    /// Whether a checkpoint is under way, so that it says nothing.
    pub(crate) open: bool,
    /// How much lives in all trees.
    pub(crate) live: LiveBytes,
}

/// How much lives in a database, in bytes of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LiveBytes {
    /// At least this many.
    pub(crate) bytes: u64,
    /// Whether these are all.
    pub(crate) is_exact: bool,
}

impl SumRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![SUM];
        put((self.home.0, self.sum, self.open, self.live.bytes, self.live.is_exact), &mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SumRow, DecodeError> {
        let (version, mut reader) = Reader::up_to("the row of the sum", SUM, bytes)?;
        let (home, sum, open): (u64, u64, bool) = reader.take()?;
        // Version 1 does not say it.
        let (bytes, is_exact) = if version == 1 { (0, false) } else { reader.take()? };
        reader.end()?;
        Ok(SumRow { home: CommitNo(home), sum, open, live: LiveBytes { bytes, is_exact } })
    }
}
