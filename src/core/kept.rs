//! The ended jobs of a queue that are kept and may give way to others where there are too many. One that holds its unique key
//! after its end gives way to nobody until that is free. It knows when jobs ended, and until when they hold their keys; how many
//! may be kept it is told, and what time it is.

use super::ids::IdRange;
use super::job::{Job, State as JobState};
use super::keyed::Keyed;
use super::time::Time;

/// The jobs.
#[derive(Clone, Debug, Default)]
pub(super) struct KeptJobs {
    /// Those that are done, cancelled or expired, by the time at which they ended.
    ended: Keyed<Time>,
    /// Those that are dead.
    dead: Keyed<()>,
    /// Of both, those that hold their unique key longer than up to `freed`, by that time.
    holding: Keyed<(Time, Kept)>,
    /// Up to when it was looked whose key is free. It is no part of the state: an index is brought up to it when it is asked.
    freed: Time,
}

/// How a job is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kept {
    /// Done, cancelled or expired, since then.
    Since(Time),
    /// Dead.
    Dead,
}

impl Kept {
    /// How this job is kept, if it is.
    pub(super) fn of(job: &Job) -> Option<Kept> {
        match job.state() {
            JobState::Done(end) | JobState::Cancelled(end) | JobState::Expired(end) => {
                Some(Kept::Since(end.at))
            }
            JobState::Dead(_) => Some(Kept::Dead),
            JobState::Ready | JobState::Scheduled { .. } | JobState::Waiting { .. } | JobState::Leased(_) => {
                None
            }
        }
    }
}

impl KeptJobs {
    /// These jobs came into their state.
    pub(super) fn enter(&mut self, range: IdRange, job: &Job) {
        let Some(kept) = Kept::of(job) else { return };
        match self.holds_until(job) {
            Some(until) => self.holding.insert((until, kept), range),
            None => self.give(range, kept),
        }
    }

    /// They leave it.
    pub(super) fn leave(&mut self, range: IdRange, job: &Job) {
        let Some(kept) = Kept::of(job) else { return };
        match (self.holds_until(job), kept) {
            (Some(until), _) => self.holding.remove((until, kept), range),
            (None, Kept::Since(at)) => self.ended.remove(at, range),
            (None, Kept::Dead) => self.dead.remove((), range),
        }
    }

    /// Until when it holds its unique key, if that is not known to be free.
    fn holds_until(&self, job: &Job) -> Option<Time> {
        job.holds_unique_until().filter(|until| *until > self.freed)
    }

    /// They may give way.
    fn give(&mut self, range: IdRange, kept: Kept) {
        match kept {
            Kept::Since(at) => self.ended.insert(at, range),
            Kept::Dead => self.dead.insert((), range),
        }
    }

    /// Those whose key is free by now may give way like all others. Each is looked at once.
    pub(super) fn free(&mut self, now: Time) {
        self.freed = self.freed.max(now);
        while let Some((until, kept)) = self.holding.first_key().filter(|(until, _)| *until <= self.freed) {
            let free: Vec<IdRange> = self.holding.of((until, kept)).collect();
            for range in free {
                self.holding.remove((until, kept), range);
                self.give(range, kept);
            }
        }
    }

    /// Those that may give way and are not dead, by the time of their end, the oldest first.
    pub(super) fn oldest(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.ended.iter().map(|(_, range)| range)
    }

    /// How many of them there are.
    pub(super) fn ended(&self) -> u64 {
        self.ended.len()
    }

    /// Those that may give way and are dead, in the order of their ids.
    pub(super) fn first_dead(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.dead.iter().map(|(_, range)| range)
    }

    /// How many of them there are.
    pub(super) fn dead(&self) -> u64 {
        self.dead.len()
    }

    /// Panics if these are not the jobs that are kept.
    pub(super) fn check(&self, kept: impl Iterator<Item = (IdRange, Job)>) {
        let mut wanted = KeptJobs { freed: self.freed, ..KeptJobs::default() };
        kept.for_each(|(range, job)| wanted.enter(range, &job));
        assert_eq!(self.ended, wanted.ended, "those that have ended, by the time of their end");
        assert_eq!(self.dead, wanted.dead, "those that are dead");
        assert_eq!(self.holding, wanted.holding, "those that hold their keys");
        assert!(self.holding.first_key().is_none_or(|(until, _)| until > self.freed));
    }
}
