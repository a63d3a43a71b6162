//! What is counted of a queue.

use super::histogram::Histogram;

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Jobs submitted.
    Submitted,
    /// Attempts begun.
    Started,
    /// Jobs completed.
    Completed,
    /// Attempts failed, the last ones too.
    Failed,
    /// Attempts of which the worker said that the job should come again later.
    Later,
    /// Jobs that became dead.
    Dead,
    /// Attempts whose worker vanished.
    Interrupted,
    /// Jobs that expired.
    Expired,
    /// Jobs cancelled.
    Cancelled,
    /// Jobs dropped for want of room: new ones that were not taken, and old ones that were forgotten.
    Dropped,
}

impl Count {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Count; 10] = [
        Count::Submitted,
        Count::Started,
        Count::Completed,
        Count::Failed,
        Count::Later,
        Count::Dead,
        Count::Interrupted,
        Count::Expired,
        Count::Cancelled,
        Count::Dropped,
    ];
}

/// What was counted in some time. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    counts: [u64; Count::ALL.len()],
    /// How long jobs were ready before an attempt of theirs began.
    pub wait: Histogram,
    /// How long attempts took whose workers have said how they ended.
    pub run: Histogram,
}

impl Counts {
    /// One of them.
    pub fn of(&self, count: Count) -> u64 {
        self.counts[count as usize]
    }

    /// So many more.
    #[inline]
    pub(super) fn add(&mut self, count: Count, more: u64) {
        self.counts[count as usize] += more;
    }

    pub(super) fn add_all(&mut self, other: &Counts) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, more)| *own += more);
        self.wait.add_all(&other.wait);
        self.run.add_all(&other.run);
    }

    /// Whether nothing was counted.
    pub(super) fn are_none(&self) -> bool {
        // Nothing is measured that is not counted as well, but for what the word of a worker has ended without an outcome.
        self.counts.iter().all(|count| *count == 0) && self.run.count() == 0
    }
}
