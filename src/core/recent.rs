//! Jobs that ended lately and are not kept: how each of them ended, for requests that come just after its end. A table
//! of fixed size in which newer ends take the place of older ones; it costs one store an end.

use super::ids::{IdRange, JobId};
use super::job::{Exit, Job, StateKind};
use std::collections::HashMap;

/// How many ends are remembered: those of so many consecutive jobs at least.
const ENDS_MAX: usize = 1 << 17;
/// The most texts of errors that are remembered with them. Most jobs that fail for good are kept anyway.
const ERRORS_MAX: usize = 10_000;

/// The ends that are remembered.
#[derive(Clone, Debug, Default)]
pub(super) struct Recent {
    /// By the id's last digits; empty before the first end.
    slots: Vec<Option<Slot>>,
    errors: HashMap<JobId, Box<str>>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: JobId,
    owner: u32,
    kind: StateKind,
    exit: Option<Exit>,
}

/// How a job ended of which nothing else is left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentEnd {
    /// Its last state.
    pub kind: StateKind,
    /// The user who had submitted it.
    pub owner: u32,
    /// The newest failure.
    pub error: Option<Box<str>>,
    /// How its process ended.
    pub exit: Option<Exit>,
}

impl Recent {
    /// Jobs have ended, all alike, and are forgotten in the state that they are in.
    pub(super) fn push(&mut self, jobs: IdRange, job: &Job) {
        // Of very many the last ones are remembered.
        let len = jobs.len.min(ENDS_MAX as u64);
        let last = IdRange::new(jobs.first.plus(jobs.len - len), len);
        last.iter().for_each(|id| self.push_one(id, job));
    }

    fn push_one(&mut self, id: JobId, job: &Job) {
        let kind = job.kind();
        if self.slots.is_empty() {
            self.slots = vec![None; ENDS_MAX];
        }
        let slot = &mut self.slots[id.0 as usize % ENDS_MAX];
        let old = slot.replace(Slot { id, owner: job.spec.owner, kind, exit: job.exit() });
        if !self.errors.is_empty()
            && let Some(old) = old
        {
            self.errors.remove(&old.id);
        }
        if let Some(failure) = job.failures().last()
            && kind != StateKind::Done
            && self.errors.len() < ERRORS_MAX
        {
            self.errors.insert(id, failure.error.clone());
        }
    }

    pub(super) fn end_of(&self, id: JobId) -> Option<RecentEnd> {
        let slot = self.slots.get(id.0 as usize % ENDS_MAX)?.filter(|slot| slot.id == id)?;
        let Slot { owner, kind, exit, .. } = slot;
        Some(RecentEnd { kind, owner, error: self.errors.get(&id).cloned(), exit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Failure, Final, JobState as State, QueueName, SpecOptions, Time};

    fn ended(state: fn(Final) -> State, failures: Vec<Failure>) -> Job {
        let spec = SpecOptions { owner: 7, ..SpecOptions::plain(QueueName::new("q").unwrap()) };
        let state = state(Final { at: Time(1), keep_until: Time(1) });
        Job::remembered(
            Job::fresh(spec.into(), Time(0)),
            state,
            Default::default(),
            Default::default(),
            failures,
        )
    }

    #[test]
    fn newer_ends_take_the_place_of_older_ones() {
        let (mut recent, ends) = (Recent::default(), ENDS_MAX as u64);
        assert_eq!(recent.end_of(JobId(1)), None);
        let failure = Failure {
            attempt: Default::default(),
            since: None,
            at: Time(1),
            error: "no".into(),
            exit: None,
            worker: None,
        };
        recent.push_one(JobId(1), &ended(State::Dead, vec![failure]));
        let end = RecentEnd { kind: StateKind::Dead, owner: 7, error: Some("no".into()), exit: None };
        assert_eq!(recent.end_of(JobId(1)), Some(end));
        assert_eq!(recent.end_of(JobId(1 + ends)), None, "its last digits are another's");
        (2..=ends).for_each(|id| recent.push_one(JobId(id), &ended(State::Done, Vec::new())));
        assert!((1..=ends).all(|id| recent.end_of(JobId(id)).is_some()), "so many are remembered");
        recent.push_one(JobId(1 + ends), &ended(State::Cancelled, Vec::new()));
        assert_eq!((recent.end_of(JobId(1)), recent.errors.len()), (None, 0));
        assert_eq!(recent.end_of(JobId(1 + ends)).unwrap().kind, StateKind::Cancelled);
    }
}
