//! The rows of a simulated home, and the steps in which they are written. As in sled, what is on the disk is a prefix
//! of what was inserted. Knows rows, not when they are written.

use crate::core::{JobId, RowKey};
use crate::store::blob::{Blob, ByKind};
use crate::store::codec::{BlockRow, MetaRow, StampedRow, block_range, row_key};
use crate::store::home::{BlockRows, HomeError, RowChange, RowReader, Rows, Work};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One insert or remove.
#[derive(Clone, Debug)]
pub(super) enum RowStep {
    Row(RowKey, Vec<u8>),
    NoRow(RowKey),
    Blob(Blob, JobId, Bytes),
    NoBlob(Blob, JobId),
    Jobs(u64, Vec<u8>),
    NoJobs(u64),
    /// The row that ends a checkpoint, with the flush behind it.
    Meta(Vec<u8>),
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedRows {
    rows: BTreeMap<RowKey, Vec<u8>>,
    pub(super) blobs: ByKind<BTreeMap<JobId, Bytes>>,
    jobs: BTreeMap<u64, Vec<u8>>,
    meta: Option<Vec<u8>>,
}

impl SimulatedRows {
    pub(super) fn apply(&mut self, step: RowStep) {
        match step {
            RowStep::Row(key, row) => drop(self.rows.insert(key, row)),
            RowStep::NoRow(key) => drop(self.rows.remove(&key)),
            RowStep::Blob(kind, id, blob) => drop(self.blobs[kind].insert(id, blob)),
            RowStep::NoBlob(kind, id) => drop(self.blobs[kind].remove(&id)),
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
        let mut change = rows.read().expect("the log keeps blobs that are not home");
        let range = block_range(change.block);
        let known = self
            .blobs
            .iter()
            .flat_map(|(kind, blobs)| blobs.range(range.first..range.end()).map(move |(id, _)| (kind, *id)));
        let Some((row, live)) = change.row else {
            steps.extend(known.map(|(kind, id)| RowStep::NoBlob(kind, id)));
            steps.push_back(RowStep::NoJobs(change.block));
            return;
        };
        for kind in Blob::ALL {
            let blobs = std::mem::take(&mut change.blobs[kind]);
            steps.extend(blobs.into_iter().map(|(id, blob)| RowStep::Blob(kind, id, blob)));
        }
        steps.push_back(RowStep::Jobs(change.block, row));
        let dead = known.filter(|(_, id)| live >> (id.0 - range.first.0) & 1 == 0);
        steps.extend(dead.map(|(kind, id)| RowStep::NoBlob(kind, id)));
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
        Ok(self.blobs[kind].get(&id).map(|blob| (id, blob.clone())).into_iter().collect())
    }
}

fn damaged(tree: &'static str, key: &[u8], error: impl ToString) -> HomeError {
    HomeError::damaged(tree, key, error)
}
