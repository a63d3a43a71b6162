//! Who has a job, for how long, and whether it is being cancelled. It knows nothing of who may claim it.

use super::{Attempt, History, Hold, Holder, Job, Lease, StateKind, Time};

impl Job {
    /// The lease on it and its attempt, if it is leased.
    pub fn lease(&self) -> Option<(Attempt, Lease)> {
        let history = self.history.as_deref();
        (self.kind == StateKind::Leased).then(|| (self.attempt(), self.lease_of(history)))
    }

    /// The connection with which its lease ends, if it is leased so.
    pub(in crate::core) fn session(&self) -> Option<u64> {
        match self.history.as_deref()?.hold {
            Hold::By(Holder::Session(session)) | Hold::Cancelling(Holder::Session(session)) => Some(session),
            _ => None,
        }
    }

    /// Whether it was cancelled, and somebody is at it still.
    pub fn is_being_cancelled(&self) -> bool {
        // The history of one that ended for good may say so still.
        self.kind == StateKind::Leased
            && self.history.as_deref().is_some_and(|history| matches!(history.hold, Hold::Cancelling(_)))
    }

    /// The lease on it, if it is leased.
    pub(super) fn lease_of(&self, history: Option<&History>) -> Lease {
        let (holder, cancelling) = match history.map(|history| history.hold) {
            Some(Hold::By(holder)) => (holder, false),
            Some(Hold::Cancelling(holder)) => (holder, true),
            _ => (Holder::Anyone, false),
        };
        let since = history.map_or(Time::NEVER, |history| history.started);
        Lease { holder, since, until: self.when, cancelling }
    }
}
