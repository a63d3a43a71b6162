//! What becomes of jobs, for whoever follows it: each change of a state, told once it is on disk. It costs nothing while nobody does,
//! and what is kept for one commit is bounded. Who may see what, it does not know.

use super::Engine;
use crate::core::{Change, IdRange, Spec, StateKind, Time};
use crate::store::Store;
use std::sync::Arc;

/// How many changes one commit tells of; of the others it tells how many they were.
const CHANGES_MAX: usize = 4_096;

/// Jobs that are alike, or differ in their keys only, have come into a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub jobs: IdRange,
    /// What was asked for with the first of them.
    pub spec: Arc<Spec>,
    /// That state; `None` if nothing is known of them any more.
    pub state: Option<StateKind>,
}

impl Changed {
    fn goes_on_with(&self, jobs: IdRange, spec: &Arc<Spec>, state: Option<StateKind>) -> bool {
        self.jobs.end() == jobs.first && self.state == state && Arc::ptr_eq(&self.spec, spec)
    }
}

/// What a commit has changed.
#[derive(Debug, Default)]
pub struct ChangedJobs {
    /// The changes, in order.
    pub changes: Vec<Changed>,
    /// Of how many jobs changes are left out at the end.
    pub left_out: u64,
    /// When it was decided.
    pub at: Time,
}

/// What was noted since the last commit.
#[derive(Debug, Default)]
pub(super) struct Followed {
    is_on: bool,
    noted: ChangedJobs,
}

impl Followed {
    /// Somebody follows jobs, or nobody does any more.
    pub(super) fn switch(&mut self, on: bool) {
        self.is_on = on;
        if !on {
            self.noted = ChangedJobs::default();
        }
    }

    /// Notes a change.
    pub(super) fn note(&mut self, change: &Change<'_>) {
        if self.is_on {
            self.add(change);
        }
    }

    fn add(&mut self, change: &Change<'_>) {
        let Change { jobs, job, from, forgotten, .. } = *change;
        let is_same = from == Some(job.kind());
        if is_same && !forgotten {
            return;
        }
        // What is not kept comes to its end and is forgotten at once: the end is what counts.
        let state = Some(job.kind()).filter(|_| !is_same);
        let ChangedJobs { changes, left_out, .. } = &mut self.noted;
        let is_full = changes.len() >= CHANGES_MAX;
        match changes.last_mut() {
            Some(last) if last.goes_on_with(jobs, &job.spec, state) => last.jobs.len += jobs.len,
            _ if is_full => *left_out += jobs.len,
            _ => changes.push(Changed { jobs, spec: job.spec.clone(), state }),
        }
    }

    /// What there is to tell, if there is anything.
    pub(super) fn take(&mut self, at: Time) -> Option<ChangedJobs> {
        let noted = std::mem::take(&mut self.noted);
        (!noted.changes.is_empty()).then_some(ChangedJobs { at, ..noted })
    }
}

impl<S: Store> Engine<S> {
    /// Whether somebody follows what becomes of jobs: what a commit has changed is told then
    /// ([`Delivery::Changed`](super::Delivery::Changed)).
    pub fn follow_changes(&mut self, on: bool) {
        self.notes.followed.switch(on);
    }
}
