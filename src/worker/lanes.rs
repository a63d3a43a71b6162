//! The lanes of a pool: one for each plan, with its slots and its claim under way. Plain bookkeeping: no requests
//! are sent here.

use super::Plan;
use crate::protocol::Claim;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first wait after a claim that was refused or came back empty; it doubles from one to the next.
const RETRY_WAIT: Duration = Duration::from_millis(100);
/// The longest.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(5);

/// Names a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneId(u64);

/// All lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lanes: BTreeMap<LaneId, Lane>,
    last: u64,
}

#[derive(Debug)]
struct Lane {
    plan: Arc<Plan>,
    /// Slots in use; more than the plan has, for a while, after the plan has changed.
    busy: u32,
    /// The number of the claim under way.
    claim: Option<u32>,
    /// Claims in a row that brought nothing.
    in_vain: u32,
    /// Not to be claimed for before this time.
    not_before: Option<Instant>,
    /// Without a plan any more: goes when nothing runs in it.
    retired: bool,
}

impl Lane {
    fn free(&self) -> u32 {
        if self.retired { 0 } else { self.plan.slots.saturating_sub(self.busy) }
    }
}

impl Lanes {
    /// Takes on new plans. What runs goes on as it was started; the claims returned were made for the old plans
    /// and must not wait any longer.
    pub(super) fn replace(&mut self, mut plans: Vec<Plan>) -> Vec<u32> {
        let mut outdated = Vec::new();
        for lane in self.lanes.values_mut() {
            let new = plans.iter().position(|plan| plan.queues == lane.plan.queues);
            match new.map(|at| plans.swap_remove(at)) {
                Some(plan) if !lane.retired && *lane.plan == plan => continue,
                Some(plan) => (lane.plan, lane.retired) = (Arc::new(plan), false),
                None => lane.retired = true,
            }
            outdated.extend(lane.claim);
        }
        for plan in plans {
            self.last += 1;
            let plan = Arc::new(plan);
            let lane = Lane { plan, busy: 0, claim: None, in_vain: 0, not_before: None, retired: false };
            self.lanes.insert(LaneId(self.last), lane);
        }
        self.sweep();
        outdated
    }

    /// What to claim now: one claim for each lane that has slots free and none under way.
    pub(super) fn wishes(&mut self, max: usize, now: Instant) -> Vec<(LaneId, Claim)> {
        let mut wishes = Vec::new();
        for (id, lane) in &mut self.lanes {
            let free = lane.free();
            if free == 0 || lane.claim.is_some() || lane.not_before.is_some_and(|at| now < at) {
                continue;
            }
            lane.not_before = None;
            let wish = Claim {
                queues: lane.plan.queues.clone(),
                max: free.min(u32::try_from(max).unwrap_or(u32::MAX)),
                lease_ms: lane.plan.lease_ms,
                wait_ms: u64::MAX,
                bound: true,
            };
            wishes.push((*id, wish));
        }
        wishes
    }

    /// When a lane that waits may claim again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.lanes
            .values()
            .filter(|lane| lane.free() > 0 && lane.claim.is_none())
            .filter_map(|l| l.not_before)
            .min()
    }

    /// A claim has been sent for this lane.
    pub(super) fn claiming(&mut self, id: LaneId, number: u32) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.claim = Some(number);
        }
    }

    /// The lane's claim has been answered with so many jobs; returns how many of them may start. A claim that
    /// waits for ever comes back empty only when the daemon has a reason: then it is not asked again at once.
    pub(super) fn claimed(&mut self, id: LaneId, jobs: usize, now: Instant) -> usize {
        if jobs == 0 {
            self.claim_again_later(id, now);
        }
        let Some(lane) = self.lanes.get_mut(&id) else { return 0 };
        lane.claim = None;
        if jobs > 0 {
            lane.in_vain = 0;
        }
        let free = lane.free() as usize;
        self.sweep();
        free
    }

    /// The lane's claim was refused; returns how long it waits now.
    pub(super) fn claim_again_later(&mut self, id: LaneId, now: Instant) -> Duration {
        let Some(lane) = self.lanes.get_mut(&id) else { return RETRY_WAIT_MAX };
        let wait = RETRY_WAIT.saturating_mul(1 << lane.in_vain.min(10)).min(RETRY_WAIT_MAX);
        (lane.claim, lane.not_before) = (None, Some(now + wait));
        lane.in_vain = lane.in_vain.saturating_add(1);
        wait
    }

    /// Takes a slot for a job, which runs by the plan returned.
    pub(super) fn occupy(&mut self, id: LaneId) -> Option<Arc<Plan>> {
        let lane = self.lanes.get_mut(&id)?;
        lane.busy += 1;
        Some(lane.plan.clone())
    }

    /// A job of this lane has ended.
    pub(super) fn free(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.busy -= 1;
            if lane.retired {
                self.sweep();
            }
        }
    }

    /// Whether any claim is under way.
    pub(super) fn is_claiming(&self) -> bool {
        self.lanes.values().any(|lane| lane.claim.is_some())
    }

    /// The numbers of all claims under way.
    pub(super) fn claims_under_way(&self) -> Vec<u32> {
        self.lanes.values().filter_map(|lane| lane.claim).collect()
    }

    fn sweep(&mut self) {
        self.lanes.retain(|_, lane| !lane.retired || lane.busy > 0 || lane.claim.is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Handler;

    fn plan(queue: &str, slots: u32) -> Plan {
        let queues = vec![queue.to_owned()];
        Plan { queues, slots, handler: Handler::Command, lease_ms: None, output_max: 0, echo: false }
    }

    fn wishes(lanes: &mut Lanes) -> Vec<(LaneId, u32)> {
        lanes.wishes(100, Instant::now()).into_iter().map(|(id, wish)| (id, wish.max)).collect()
    }

    #[tokio::test]
    async fn a_lane_claims_once_and_for_its_free_slots_only() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 3)]);
        let [(id, 3)] = wishes(&mut lanes)[..] else { panic!("one claim for three slots") };
        lanes.claiming(id, 1);
        assert_eq!(wishes(&mut lanes), []);
        assert_eq!(lanes.claimed(id, 1, Instant::now()), 3);
        lanes.occupy(id);
        assert_eq!(wishes(&mut lanes), [(id, 2)]);
    }

    #[tokio::test]
    async fn a_smaller_plan_ends_the_claim_and_lets_the_jobs_run() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 3), plan("b", 1)]);
        let claims = wishes(&mut lanes);
        lanes.claiming(claims[0].0, 7);
        lanes.occupy(claims[0].0);
        lanes.occupy(claims[0].0);
        assert_eq!(lanes.replace(vec![plan("a", 1), plan("b", 1)]), [7]);
        assert_eq!(lanes.claimed(claims[0].0, 1, Instant::now()), 0);
        lanes.free(claims[0].0);
        lanes.free(claims[0].0);
        assert_eq!(wishes(&mut lanes).len(), 2);
    }

    #[tokio::test]
    async fn a_lane_without_a_plan_goes_when_its_last_job_ends() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 1)]);
        let id = wishes(&mut lanes)[0].0;
        lanes.occupy(id);
        lanes.replace(Vec::new());
        assert_eq!(lanes.lanes.len(), 1);
        lanes.free(id);
        assert_eq!(lanes.lanes.len(), 0);
    }

    #[tokio::test]
    async fn a_refused_claim_waits_longer_each_time() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 1)]);
        let (id, now) = (wishes(&mut lanes)[0].0, Instant::now());
        assert_eq!(lanes.claim_again_later(id, now), RETRY_WAIT);
        assert_eq!(lanes.claim_again_later(id, now), RETRY_WAIT * 2);
        assert_eq!(lanes.wishes(9, now), []);
        assert_eq!(lanes.next_retry(), Some(now + RETRY_WAIT * 2));
        assert_eq!(lanes.wishes(9, now + RETRY_WAIT * 2).len(), 1);
    }
}
