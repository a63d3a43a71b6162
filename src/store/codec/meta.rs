//! What is on disk beside the jobs: where the last whole checkpoint stands, and what went through each queue.

use super::{DecodeError, Reader, put};
use crate::core::{JobId, QueueBooks, QueueName, Time, Totals};
use crate::store::CommitNo;

/// The versions in which the rows are written.
const META: u8 = 1;
const SUM: u8 = 1;
const QUEUE: u8 = 2;

/// The row `state` of the tree `meta`: written last in a checkpoint, so that all before it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetaRow {
    /// Everything up to this commit is in the rows.
    pub(crate) home: CommitNo,
    /// When that commit was decided.
    pub(crate) time: Time,
    /// The id that the next job got after it.
    pub(crate) next_id: JobId,
}

impl MetaRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![META];
        put((self.home.0, self.time.0, self.next_id.0), &mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<MetaRow, DecodeError> {
        let mut reader = Reader::of("the row of the checkpoint", META, bytes)?;
        let (home, time, next_id): (u64, u64, u64) = reader.take()?;
        reader.end()?;
        Ok(MetaRow { home: CommitNo(home), time: Time(time), next_id: JobId(next_id) })
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
}

impl SumRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![SUM];
        put((self.home.0, self.sum, self.open), &mut out);
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<SumRow, DecodeError> {
        let mut reader = Reader::of("the row of the sum", SUM, bytes)?;
        let (home, sum, open): (u64, u64, bool) = reader.take()?;
        reader.end()?;
        Ok(SumRow { home: CommitNo(home), sum, open })
    }
}

/// A row of the tree `queues`; its key is the queue's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueRow {
    /// The newest commit whose events are in it.
    pub(crate) commit: CommitNo,
    /// What is remembered of the queue.
    pub(crate) books: QueueBooks,
}

impl QueueRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![QUEUE];
        let t = self.books.totals;
        put((self.commit.0, self.books.paused), &mut out);
        put([t.submitted, t.claimed, t.completed, t.failed, t.died, t.cancelled, t.expired], &mut out);
        put((self.books.maker, self.books.used.0), &mut out);
        out
    }

    pub(crate) fn decode(name: &[u8], bytes: &[u8]) -> Result<QueueRow, DecodeError> {
        let name = std::str::from_utf8(name).map_err(|_| DecodeError::Value("a queue's name"))?;
        let (version, mut reader) = Reader::up_to("a row of a queue", QUEUE, bytes)?;
        let (commit, paused): (u64, bool) = reader.take()?;
        let [submitted, claimed, completed, failed, died, cancelled, expired] = reader.take::<[u64; 7]>()?;
        let (maker, used) = if version == 1 { (None, 0) } else { reader.take()? };
        reader.end()?;
        let totals = Totals { submitted, claimed, completed, failed, died, cancelled, expired };
        let books = QueueBooks { name: QueueName::new(name)?, paused, totals, maker, used: Time(used) };
        Ok(QueueRow { commit: CommitNo(commit), books })
    }
}
