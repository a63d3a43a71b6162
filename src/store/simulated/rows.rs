//! The rows of a simulated home, and the steps in which they are written. As in sled, what is on the disk is a prefix
//! of what was inserted. Knows rows, not when they are written.

use crate::core::JobId;
use crate::store::codec::{BlockRow, MetaRow, QueueRow, block_range};
use crate::store::home::{BlockRows, HomeError, QueueStep, RowReader, Rows, Work};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// One insert or remove.
#[derive(Clone, Debug)]
pub(super) enum RowStep {
    Queue(String, Vec<u8>),
    NoQueue(String),
    Body(JobId, Bytes),
    NoBody(JobId),
    Jobs(u64, Vec<u8>),
    NoJobs(u64),
    /// The row that ends a checkpoint, with the flush behind it.
    Meta(Vec<u8>),
}

/// All rows.
#[derive(Clone, Debug, Default)]
pub(super) struct SimulatedRows {
    queues: BTreeMap<String, Vec<u8>>,
    pub(super) bodies: BTreeMap<JobId, Bytes>,
    jobs: BTreeMap<u64, Vec<u8>>,
    meta: Option<Vec<u8>>,
}

impl SimulatedRows {
    pub(super) fn apply(&mut self, step: RowStep) {
        match step {
            RowStep::Queue(name, row) => drop(self.queues.insert(name, row)),
            RowStep::NoQueue(name) => drop(self.queues.remove(&name)),
            RowStep::Body(id, body) => drop(self.bodies.insert(id, body)),
            RowStep::NoBody(id) => drop(self.bodies.remove(&id)),
            RowStep::Jobs(block, row) => drop(self.jobs.insert(block, row)),
            RowStep::NoJobs(block) => drop(self.jobs.remove(&block)),
            RowStep::Meta(row) => self.meta = Some(row),
        }
    }

    /// The steps of some work, in the order that the home keeps: queues before blocks, bodies before their jobs and
    /// gone before them, the meta row last.
    pub(super) fn steps(&self, work: Work) -> VecDeque<RowStep> {
        let (queues, blocks, meta) = match work {
            Work::Slice { queues, blocks, .. } => (queues, blocks, None),
            Work::Finish { queues, meta, .. } => (queues, Vec::new(), Some(meta)),
        };
        let queue = |step: &QueueStep| match step {
            QueueStep::Row(row) => RowStep::Queue(row.books.name.to_string(), row.encode()),
            QueueStep::Gone(name) => RowStep::NoQueue(name.to_string()),
        };
        let mut steps: VecDeque<RowStep> = queues.iter().map(queue).collect();
        for change in blocks {
            self.block(change, &mut steps);
        }
        steps.extend(meta.map(|meta| RowStep::Meta(meta.encode())));
        steps
    }

    fn block(&self, rows: BlockRows, steps: &mut VecDeque<RowStep>) {
        let change = rows.read().expect("the log keeps bodies that are not home");
        let range = block_range(change.block);
        let known = self.bodies.range(range.first..range.end()).map(|(id, _)| *id);
        let Some((row, live)) = change.row else {
            steps.extend(known.map(RowStep::NoBody));
            steps.push_back(RowStep::NoJobs(change.block));
            return;
        };
        steps.extend(change.bodies.into_iter().map(|(id, body)| RowStep::Body(id, body)));
        steps.push_back(RowStep::Jobs(change.block, row));
        let dead = |id: &JobId| live >> (id.0 - range.first.0) & 1 == 0;
        steps.extend(known.filter(dead).map(RowStep::NoBody));
    }
}

impl Rows for SimulatedRows {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        let decode = |row: &Vec<u8>| MetaRow::decode(row).map_err(|error| damaged("meta", b"state", error));
        self.meta.as_ref().map(decode).transpose()
    }

    fn queues(&self) -> Result<Vec<QueueRow>, HomeError> {
        let decode = |(name, row): (&String, &Vec<u8>)| {
            let name = name.as_bytes();
            QueueRow::decode(name, row).map_err(|error| damaged("queues", name, error))
        };
        self.queues.iter().map(decode).collect()
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

    fn queues(&self) -> Result<Vec<QueueRow>, HomeError> {
        Rows::queues(self)
    }

    fn raw_blocks(&self, from: u64, count: usize) -> Result<Vec<(u64, Bytes)>, HomeError> {
        let rows = self.jobs.range(from..).take(count);
        Ok(rows.map(|(block, row)| (*block, Bytes::copy_from_slice(row))).collect())
    }

    fn bodies(&self, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        Ok(self.bodies.get(&id).map(|body| (id, body.clone())).into_iter().collect())
    }
}

fn damaged(tree: &'static str, key: &[u8], error: impl ToString) -> HomeError {
    HomeError::damaged(tree, key, error)
}
