//! How far the jobs that run are, as their workers say. It is for people who look: it is not on disk, and gone with the
//! lease.

use super::Engine;
use crate::core::{IdRange, JobId, Time};
use crate::store::Store;
use std::collections::HashMap;

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// How much of it is done, of a hundred.
    pub percent: u8,
    /// What its worker says of it; may be empty.
    pub text: Box<str>,
    /// When it was said.
    pub at: Time,
}

/// Of all jobs of which something was said under the lease that is in force.
#[derive(Debug, Default)]
pub(super) struct ProgressOfJobs(HashMap<JobId, Progress>);

impl ProgressOfJobs {
    /// The leases of these jobs have ended.
    pub(super) fn ended(&mut self, jobs: IdRange) {
        if (jobs.len as usize) < self.0.len() {
            jobs.iter().for_each(|id| drop(self.0.remove(&id)));
        } else {
            self.0.retain(|id, _| !jobs.contains(*id));
        }
    }
}

impl<S: Store> Engine<S> {
    /// Takes note of how far a job is that is leased.
    pub fn note_progress(&mut self, id: JobId, progress: Progress) {
        debug_assert!(self.core.state.lease(id).is_some(), "it would never be forgotten");
        self.notes.progress.0.insert(id, progress);
    }

    /// How far a job is, if it runs and its worker has said so.
    pub fn progress(&self, id: JobId) -> Option<&Progress> {
        self.notes.progress.0.get(&id)
    }
}
