//! Who holds which unique key of a queue. It is an index over the jobs: which of them hold a key, and until when, follows from
//! each job alone, so there is nothing that a crash could leak. It knows keys, ids and times; what a conflict comes to is
//! decided elsewhere.

use super::ids::JobId;
use super::job::Key;
use super::sorted::Sorted;
use super::time::Time;

/// The keys of a queue. Of each the last entry counts: one of a job that has not ended lasts for ever.
#[derive(Clone, Debug, Default)]
pub(super) struct UniqueKeys(Sorted<(Key, Time, JobId), ()>);

impl UniqueKeys {
    /// Whether nobody holds any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// A job holds a key, until then.
    pub(super) fn insert(&mut self, key: Key, until: Time, id: JobId) {
        self.0.insert((key, until, id), ());
    }

    /// It does not any more.
    pub(super) fn remove(&mut self, key: Key, until: Time, id: JobId) {
        let removed = self.0.remove((key, until, id));
        debug_assert!(removed.is_some(), "job {id} holds {key:?}");
    }

    /// The job that holds a key now.
    pub(super) fn holder(&self, key: Key, now: Time) -> Option<JobId> {
        let ((found, until, id), ()) = self.0.last_to((key, Time::NEVER, JobId(u64::MAX)))?;
        (found == key && until > now).then_some(id)
    }

    /// All that is known, for the check of the invariants.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Time, JobId)> {
        self.0.iter().map(|(entry, ())| entry)
    }
}
