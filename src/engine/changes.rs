//! Requests that change jobs: settles, extends, and changes by hand.

use super::{Engine, Origin, finished};
use crate::core::{Command, Edit, JobId, LeaseId, Only, Sight, Time, Verdict};
use crate::store::Store;
use std::time::Duration;

impl<S: Store> Engine<S> {
    /// Ends leases.
    pub fn settle(&mut self, origin: Origin, items: Vec<(LeaseId, Verdict)>, sight: Sight<'_>, now: Time) {
        self.change(origin, &Command::Settle { items }, sight, now);
    }

    /// Prolongs leases.
    pub fn extend(
        &mut self,
        origin: Origin,
        items: Vec<LeaseId>,
        lease: Option<Duration>,
        sight: Sight<'_>,
        now: Time,
    ) {
        self.change(origin, &Command::Extend { items, lease }, sight, now);
    }

    /// Changes jobs by hand, those alone that are as `only` says.
    pub fn edit(
        &mut self,
        origin: Origin,
        edit: Edit,
        ids: Vec<JobId>,
        only: Only,
        sight: Sight<'_>,
        now: Time,
    ) {
        self.change(origin, &Command::Edit { edit, ids, only }, sight, now);
    }

    fn change(&mut self, origin: Origin, command: &Command, sight: Sight<'_>, now: Time) {
        let outcome = self.decide_for(sight, command, now);
        self.answer(origin, finished(outcome));
    }
}
