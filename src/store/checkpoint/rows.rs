//! The rows of a checkpoint that are not of jobs: which of them have changed, and the next of them. Rows of queues change
//! with every commit and are few: they are compared with what was written last. Others are named by the events that change
//! them; so however many there are, a checkpoint costs what has changed. Each is true by itself as of the commit that it names, so
//! they need not be written together.

use super::View;
use crate::core::{Event, QueueName, QueueRow, Row, RowKey};
use crate::store::codec::StampedRow;
use crate::store::home::RowChange;
use std::collections::{BTreeSet, HashMap};

/// The most bytes of rows in a slice, give or take a row. The rows of queues are all in one: they are bounded by
/// `limits.queues`.
const BYTES: usize = 256 << 10;

/// What is to be written, and what was.
#[derive(Debug, Default)]
pub(super) struct ChangedRows {
    /// Those of queues, as they were last written.
    queues: HashMap<QueueName, QueueRow>,
    /// Others, and queues that were forgotten: those that have changed and are not of the checkpoint under way.
    changed: BTreeSet<RowKey>,
    /// Those of the checkpoint under way that must still be written.
    todo: BTreeSet<RowKey>,
    /// All that it has handed over, for another try.
    going: BTreeSet<RowKey>,
    /// The pages that have lost keys to other ones, and how many they had when they were looked at last: no event names them.
    left: HashMap<RowKey, usize>,
}

impl ChangedRows {
    /// What a start has found.
    pub(super) fn new(changed: BTreeSet<RowKey>) -> ChangedRows {
        ChangedRows { changed, ..ChangedRows::default() }
    }

    /// Takes note of what an event changes.
    pub(super) fn note(&mut self, event: &Event) {
        let Some(key) = event.changed_row() else { return };
        if let RowKey::Queue(name) = &key {
            // One of that name that comes after it has nothing to be compared with.
            self.queues.remove(name);
        }
        self.changed.insert(key);
    }

    /// A checkpoint begins.
    pub(super) fn begin(&mut self, view: View<'_>) {
        self.todo = std::mem::take(&mut self.changed);
        let mut left = HashMap::new();
        for (key, keys) in view.state.left_rows() {
            if self.left.get(&key) != Some(&keys) {
                self.todo.insert(key.clone());
            }
            left.insert(key, keys);
        }
        self.left = left;
    }

    /// Whether it has all but those of queues.
    pub(super) fn is_done(&self) -> bool {
        self.todo.is_empty()
    }

    /// The next of them, as they are now.
    pub(super) fn next(&mut self, View { state, last, .. }: View<'_>) -> Vec<RowChange> {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while bytes < BYTES
            && let Some(key) = self.todo.pop_first()
        {
            // What it is now is written now.
            self.changed.remove(&key);
            let change = match state.row(&key) {
                // It goes before blocks, with all others of its kind.
                Some(Row::Queue(_)) => continue,
                Some(row) => {
                    let row = StampedRow { commit: last, row };
                    bytes += row.about_bytes();
                    RowChange::Written(row)
                }
                None => {
                    bytes += ROW_KEY_BYTES;
                    RowChange::Gone(key.clone())
                }
            };
            self.going.insert(key);
            changes.push(change);
        }
        changes
    }

    /// The rows of queues that have changed. No block may reflect a commit that the row of its queue does not.
    pub(super) fn queues(&mut self, View { state, last, .. }: View<'_>) -> Vec<RowChange> {
        let mut changes = Vec::new();
        for row in state.queue_rows() {
            match self.queues.get_mut(&row.name) {
                Some(written) if *written == row => continue,
                Some(written) => written.clone_from(&row),
                None => drop(self.queues.insert(row.name.clone(), row.clone())),
            }
            changes.push(RowChange::Written(StampedRow { commit: last, row: Row::Queue(row) }));
        }
        changes
    }

    /// The checkpoint is whole.
    pub(super) fn end(&mut self) {
        self.going.clear();
    }

    /// It is not, and nothing of it may be on the disk.
    pub(super) fn again(&mut self) {
        self.queues.clear();
        self.changed.append(&mut self.todo);
        self.changed.append(&mut self.going);
    }
}

/// About what a removal takes in a slice.
const ROW_KEY_BYTES: usize = 64;

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
