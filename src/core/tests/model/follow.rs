//! What follows from a job, the slow way: it is completed, then others arrive; if they do not, all is as it was.

use super::Model;
use crate::core::*;

impl Model {
    pub(super) fn follow(&mut self, lease: LeaseId, groups: &[Group]) -> Result<Outcome, Rejection> {
        let before = self.clone();
        let at = self.going_on(lease).map_err(Rejection::Lease)?;
        let totals = *self.totals(at);
        self.end_lease(at, &Verdict::Complete);
        self.attempt_ended(at, lease, totals);
        self.trim(&[at]);
        let accept = std::mem::replace(&mut self.accept, true);
        let outcome = self.submit(groups);
        self.accept = accept;
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }
}
