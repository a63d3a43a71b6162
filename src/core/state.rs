//! The state: every live job and every queue, as the fold of all events.

use super::*;

/// The fold of all events.
#[derive(Clone, Debug, Default)]
pub struct State {}

/// What of the state is not about single jobs; saved as one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// The id that the next job gets.
    pub next_id: JobId,
    /// Every queue that was ever used and not forgotten, in the order of their names.
    pub queues: Vec<QueueBooks>,
}

/// What is remembered of a queue beside its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueBooks {
    /// The queue.
    pub name: QueueName,
    /// Whether it is paused.
    pub paused: bool,
    /// What went through it.
    pub totals: Totals,
}

/// What went through a queue since its first job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Jobs submitted.
    pub submitted: u64,
    /// Leases given.
    pub claimed: u64,
    /// Jobs completed.
    pub completed: u64,
    /// Attempts failed, the last ones too.
    pub failed: u64,
    /// Jobs that became dead.
    pub died: u64,
    /// Jobs cancelled.
    pub cancelled: u64,
    /// Jobs expired.
    pub expired: u64,
}

impl State {
    /// Folds one event. The same sequence of events gives the same state, always.
    pub fn apply(&mut self, _event: &Event) {}

    /// Whether the job is known: live, or ended and kept.
    pub fn contains(&self, _id: JobId) -> bool {
        false
    }

    /// The jobs among `range` that are known, in order. Neighbours that are equal in all but their id come as one
    /// entry.
    pub fn runs(&self, _range: IdRange) -> Vec<(IdRange, Job)> {
        Vec::new()
    }

    /// Puts a run of equal jobs back, as `runs` gave it. For recovery; the ids must be unknown.
    pub fn restore(&mut self, _range: IdRange, _job: Job) {}

    /// What of the state is not about single jobs.
    pub fn books(&self) -> Books {
        Books::default()
    }

    /// Puts the books back. For recovery.
    pub fn restore_books(&mut self, _books: Books) {}
}
