//! Decides what follows from a job: it is completed, and other jobs arrive, in one commit. So each step of a chain is done
//! once as far as the queue goes, whatever crashes.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{Group, LeaseId, Outcome, Verdict};
use crate::core::job::UniqueWhile;
use crate::core::rejection::Rejection;
use crate::core::requests::RequestKey;
use crate::core::visibility::Visibility;

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn complete_and_submit(
        &mut self,
        lease: LeaseId,
        groups: &[Group],
        request: Option<RequestKey>,
    ) -> Result<Outcome, Rejection> {
        match request {
            Some(request) => self.once(groups, request, |decision| decision.follow(lease, groups)),
            None => self.follow(lease, groups),
        }
    }

    /// Also while draining: it is the end of an attempt, and a refusal would have the job run again.
    fn follow(&mut self, lease: LeaseId, groups: &[Group]) -> Result<Outcome, Rejection> {
        // That the lease may be ended by who asks was looked at before.
        let held = self.seeing_all(|decision| decision.going_on(lease).map(|(_, job)| job.spec.unique_while));
        let held = held.map_err(Rejection::Lease)?;
        // A job may be followed by one of its own key.
        let lets_go = !matches!(held, UniqueWhile::Kept(time) if !time.is_zero());
        self.leaves = lets_go.then_some(lease.id);
        self.completes = Some(lease.id);
        let prepared = self.prepare(groups)?;
        // What waits is bounded, and a leased job does not: so completing it takes no room away, and gives none.
        let settled = self.seeing_all(|decision| decision.settle(&[(lease, Verdict::Complete)]));
        debug_assert_eq!(settled, Outcome::Settled(vec![Ok(())]), "the lease is in force");
        Ok(self.enqueue(groups, prepared))
    }

    fn seeing_all<T>(&mut self, decide: impl FnOnce(&mut Self) -> T) -> T {
        let visibility = std::mem::replace(&mut self.visibility, Visibility::ALL);
        let decided = decide(self);
        self.visibility = visibility;
        decided
    }
}
