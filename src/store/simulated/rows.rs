//! The rows of a simulated home, and the steps in which they are written. As in sled, what is on the disk is a prefix
//! of what was inserted; blobs share rows by the same code. Knows rows, not when they are written.

use crate::core::{JobId, RowKey};
use crate::store::blob::{Blob, ByKind};
use crate::store::codec::{
    BlockRow, MetaRow, StampedRow, blob_key, blob_key_parts, block_of, block_range, encode_packed, row_key,
};
use crate::store::home::blobs::{BlobKey, BlobTree, Blobs, checked, shrink_block, with_sums, write_block};
use crate::store::home::{BlockRows, HomeError, RowChange, RowReader, Rows, Work};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeBounds;
use std::rc::Rc;

/// One insert or remove.
#[derive(Clone, Debug)]
pub(super) enum RowStep {
    Row(RowKey, Vec<u8>),
    NoRow(RowKey),
    Blobs(Blob, BlobKey, Bytes),
    NoBlobs(Blob, BlobKey),
    Jobs(u64, Vec<u8>),
    NoJobs(u64),
    /// The row that ends a checkpoint, with the flush behind it.
    Meta(Vec<u8>),
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedRows {
    rows: BTreeMap<RowKey, Vec<u8>>,
    blobs: ByKind<BTreeMap<BlobKey, Bytes>>,
    jobs: BTreeMap<u64, Vec<u8>>,
    meta: Option<Vec<u8>>,
}

impl SimulatedRows {
    pub(super) fn apply(&mut self, step: RowStep) {
        match step {
            RowStep::Row(key, row) => drop(self.rows.insert(key, row)),
            RowStep::NoRow(key) => drop(self.rows.remove(&key)),
            RowStep::Blobs(kind, key, row) => drop(self.blobs[kind].insert(key, row)),
            RowStep::NoBlobs(kind, key) => drop(self.blobs[kind].remove(&key)),
            RowStep::Jobs(block, row) => drop(self.jobs.insert(block, row)),
            RowStep::NoJobs(block) => drop(self.jobs.remove(&block)),
            RowStep::Meta(row) => self.meta = Some(row),
        }
    }

    /// The steps of some work, in the order that the home keeps: rows before blocks, blobs before their jobs and
    /// gone before them, the meta row last.
    pub(super) fn steps(&self, work: Work) -> VecDeque<RowStep> {
        let (rows, blocks, meta) = match work {
            Work::Slice { rows, blocks, .. } => (rows, blocks, None),
            Work::Finish { rows, meta, .. } => (rows, Vec::new(), Some(meta)),
        };
        let step = |change: RowChange| match change {
            RowChange::Written(row) => RowStep::Row(row.row.key(), row.encode()),
            RowChange::Gone(key) => RowStep::NoRow(key),
        };
        let mut steps: VecDeque<RowStep> = rows.into_iter().map(step).collect();
        for change in blocks {
            self.block(change, &mut steps);
        }
        steps.extend(meta.map(|meta| RowStep::Meta(meta.encode())));
        steps
    }

    fn block(&self, rows: BlockRows, steps: &mut VecDeque<RowStep>) {
        let change = rows.read().expect("the log keeps blobs that are not home");
        let (block, before) = (change.block, self.jobs.get(&change.block));
        let done = Rc::default();
        let blobs = ByKind::of(|kind| self.blobs_of(kind, block, &done));
        let whole = "all rows were written by the same code";
        write_block(&blobs, &change).expect(whole);
        steps.extend(done.take());
        let Some((row, live)) = &change.row else {
            steps.push_back(RowStep::NoJobs(block));
            return;
        };
        let before = before.map(Vec::as_slice);
        let row = with_sums(&change, (row, *live), before).expect(whole);
        steps.push_back(RowStep::Jobs(block, row.to_vec()));
        shrink_block(&blobs, block, (&row, *live), before).expect(whole);
        steps.extend(done.take());
    }

    /// The rows of a block, to be read and changed; what is done to them is `done` to nothing else.
    fn blobs_of(&self, kind: Blob, block: u64, done: &Rc<RefCell<Vec<RowStep>>>) -> Blobs<BlockOfBlobs> {
        let range = block_range(block);
        let rows = self.blobs[kind].range(blob_key(range.first, 0)..blob_key(range.end(), 0));
        let rows = RefCell::new(rows.map(|(key, row)| (*key, row.clone())).collect());
        Blobs::new(kind, BlockOfBlobs { kind, rows, done: done.clone() })
    }

    /// The blobs of the row that a job's is in.
    pub(super) fn row_of(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        self.blobs_of(kind, block_of(id), &Rc::default()).row_of(id)
    }

    /// The same, as the row of their jobs says that they are.
    pub(super) fn checked_row_of(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        checked((kind, id), self.row_of(kind, id)?, self.jobs.get(&block_of(id)).map(Vec::as_slice))
    }

    /// A job's blob is lost.
    pub(super) fn lose(&mut self, kind: Blob, id: JobId) {
        let up_to = self.blobs[kind].range(..=blob_key(id, u16::MAX)).next_back();
        let Some((key, mut blobs)) = up_to.map(|(key, _)| *key).zip(self.row_of(kind, id).ok()) else {
            return;
        };
        blobs.retain(|(other, _)| *other != id);
        match blob_key_parts(&key) {
            Some((first, 0)) => self.blobs[kind].insert(key, encode_packed(first, &blobs).into()),
            _ => self.blobs[kind].remove(&key),
        };
    }
}

/// The rows of blobs of a kind of one block, and what was done to them, step by step.
#[derive(Debug)]
struct BlockOfBlobs {
    kind: Blob,
    rows: RefCell<BTreeMap<BlobKey, Bytes>>,
    done: Rc<RefCell<Vec<RowStep>>>,
}

impl BlobTree for BlockOfBlobs {
    type Bytes = Bytes;

    fn range(
        &self,
        keys: impl RangeBounds<BlobKey>,
    ) -> impl DoubleEndedIterator<Item = Result<(Bytes, Bytes), HomeError>> {
        let rows = self.rows.borrow();
        let row = |(key, row): (&BlobKey, &Bytes)| Ok((Bytes::copy_from_slice(key), row.clone()));
        rows.range(keys).map(row).collect::<Vec<_>>().into_iter()
    }

    fn insert(&self, key: BlobKey, row: Vec<u8>) -> Result<(), HomeError> {
        let row = Bytes::from(row);
        self.rows.borrow_mut().insert(key, row.clone());
        self.done.borrow_mut().push(RowStep::Blobs(self.kind, key, row));
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), HomeError> {
        let key = BlobKey::try_from(key).expect("it is the key of one of its rows");
        self.rows.borrow_mut().remove(&key);
        self.done.borrow_mut().push(RowStep::NoBlobs(self.kind, key));
        Ok(())
    }
}

impl Rows for SimulatedRows {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        let decode = |row: &Vec<u8>| MetaRow::decode(row).map_err(|error| damaged("meta", b"state", error));
        self.meta.as_ref().map(decode).transpose()
    }

    fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
        let decode = |(key, row): (&RowKey, &Vec<u8>)| {
            let key = row_key(key);
            StampedRow::decode(&key, row).map_err(|error| damaged("queues", &key, error))
        };
        self.rows.iter().map(decode).collect()
    }

    fn blocks(&self, mut on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError> {
        for (block, row) in &self.jobs {
            let decoded = BlockRow::decode(*block, row);
            on_block(*block, decoded.map_err(|error| damaged("jobs", &block.to_be_bytes(), error))?);
        }
        Ok(())
    }
}

/// As they were at one moment.
impl RowReader for SimulatedRows {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        Rows::meta(self)
    }

    fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
        Rows::rows(self)
    }

    fn raw_blocks(&self, from: u64, count: usize) -> Result<Vec<(u64, Bytes)>, HomeError> {
        let rows = self.jobs.range(from..).take(count);
        Ok(rows.map(|(block, row)| (*block, Bytes::copy_from_slice(row))).collect())
    }

    fn blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        self.row_of(kind, id)
    }
}

fn damaged(tree: &'static str, key: &[u8], error: impl ToString) -> HomeError {
    HomeError::damaged(tree, key, error)
}
