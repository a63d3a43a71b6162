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
        let of_new_jobs = std::mem::replace(&mut self.visibility, Visibility::ALL);
        let (_, job) = self.leased(lease).map_err(Rejection::Lease)?;
        // A job may be followed by one of its own key.
        let lets_go = !matches!(job.spec.unique_while, UniqueWhile::Kept(_));
        self.leaves = lets_go.then_some(lease.id);
        let prepared = self.prepare(groups)?;
        // What waits is bounded, and a leased job does not: so completing it takes no room away, and gives none.
        self.settle(&[(lease, Verdict::Complete)]);
        self.visibility = of_new_jobs;
        Ok(self.enqueue(groups, prepared))
    }
}
