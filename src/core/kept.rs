//! The ended jobs of a queue that are kept and may give way to others where there are too many. One that holds its unique key
//! after its end gives way to nobody. It knows when jobs ended; how many may be kept it is told.

use super::ids::IdRange;
use super::job::{Job, State as JobState, UniqueWhile};
use super::keyed::Keyed;
use super::time::Time;

/// The jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptJobs {
    /// Those that are done, cancelled or expired, by the time at which they ended.
    ended: Keyed<Time>,
    /// How many are dead.
    dead: u64,
}

/// How a job is kept that may give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Done, cancelled or expired, since then.
    Since(Time),
    /// Dead.
    Dead,
}

impl Kept {
    /// How this job is kept, if it is and may give way.
    pub(super) fn of(job: &Job) -> Option<Kept> {
        let holds_on = job.spec.unique.is_some() && matches!(job.spec.unique_while, UniqueWhile::Kept(_));
        match job.state() {
            _ if holds_on => None,
            JobState::Done(end) | JobState::Cancelled(end) | JobState::Expired(end) => {
                Some(Kept::Since(end.at))
            }
            JobState::Dead(_) => Some(Kept::Dead),
            JobState::Ready | JobState::Scheduled { .. } | JobState::Leased(_) => None,
        }
    }
}

impl KeptJobs {
    /// These jobs came into their state.
    pub(super) fn enter(&mut self, range: IdRange, job: &Job) {
        match Kept::of(job) {
            Some(Kept::Since(at)) => self.ended.insert(at, range),
            Some(Kept::Dead) => self.dead += range.len,
            None => {}
        }
    }

    /// They leave it.
    pub(super) fn leave(&mut self, range: IdRange, job: &Job) {
        match Kept::of(job) {
            Some(Kept::Since(at)) => self.ended.remove(at, range),
            Some(Kept::Dead) => self.dead -= range.len,
            None => {}
        }
    }

    /// Those that are not dead by the time of their end, the oldest first.
    pub(super) fn oldest(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.ended.iter().map(|(_, range)| range)
    }

    /// How many of them there are.
    pub(super) fn ended(&self) -> u64 {
        self.ended.len()
    }

    /// How many are dead.
    pub(super) fn dead(&self) -> u64 {
        self.dead
    }
}
