//! The lanes of a pool: one for each plan, with its slots, its claim under way and what was claimed ahead
//! (`ahead.rs`). Plain bookkeeping: no requests are sent here.

use super::Plan;
use super::ahead::Ahead;
use crate::client::Again;
use crate::protocol::{Claim, LeaseRef};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first wait after a job could not be begun; it doubles from one to the next.
const HOLD_WAIT: Duration = Duration::from_millis(250);
/// The longest.
const HOLD_WAIT_MAX: Duration = Duration::from_secs(15);

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
    /// What runs, and since when; more than the plan has slots, for a while, after the plan has changed.
    running: HashMap<LeaseRef, Instant>,
    ahead: Ahead,
    claim: Option<UnderWay>,
    /// How long to wait after the next claim that brings nothing.
    again: Again,
    /// Not to be claimed for before this time.
    not_before: Option<Instant>,
    /// Without a plan any more: goes when nothing runs in it.
    retired: bool,
    /// Times in a row that a job could not be begun; while there are any, one job at a time is claimed.
    held: u32,
}

/// A claim under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    number: u32,
    since: Instant,
    /// Whether it waits for jobs, since slots are free.
    waits: bool,
}

/// What must not go on since the plans have changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outdated {
    /// Claims under way, by number.
    pub(super) claims: Vec<u32>,
    /// Jobs that were claimed ahead.
    pub(super) ahead: Vec<LeaseRef>,
    /// Queues whose jobs could not be begun, and may be now.
    pub(super) lifted: Vec<String>,
}

/// How many jobs a lane takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// These may start.
    pub(super) free: usize,
    /// So many more may wait for a slot.
    pub(super) ahead: usize,
}

impl Lane {
    fn new(plan: Plan) -> Lane {
        Lane {
            plan: Arc::new(plan),
            running: HashMap::new(),
            ahead: Ahead::default(),
            claim: None,
            again: Again::default(),
            not_before: None,
            retired: false,
            held: 0,
        }
    }

    fn free(&self) -> u32 {
        let running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        if self.retired { 0 } else { self.plan.slots.saturating_sub(running) }
    }

    /// How many jobs to claim now, and for how long to wait for them. A claim ahead does not wait: a job that comes
    /// later is for a worker that has a slot free.
    fn claim(&self) -> (u32, u64) {
        match self.free() {
            0 if self.retired => (0, 0),
            0 if self.held > 0 => (0, 0),
            _ if self.held > 0 => (1, u64::MAX),
            0 => (self.ahead.claim(self.plan.slots), 0),
            free => (free, u64::MAX),
        }
    }
}

impl Lanes {
    /// Takes on new plans. What runs goes on as it was started; what is returned was claimed, or is waited for, by
    /// the old plans.
    pub(super) fn replace(&mut self, mut plans: Vec<Plan>) -> Outdated {
        let mut outdated = Outdated::default();
        for lane in self.lanes.values_mut() {
            let new = plans.iter().position(|plan| plan.queues == lane.plan.queues);
            match new.map(|at| plans.swap_remove(at)) {
                Some(plan) if !lane.retired && *lane.plan == plan => continue,
                Some(plan) => {
                    (lane.plan, lane.retired) = (Arc::new(plan), false);
                    if lane.held > 0 {
                        // Another handler, another try.
                        (lane.held, lane.not_before) = (0, None);
                        outdated.lifted.extend_from_slice(&lane.plan.queues);
                    }
                }
                None => {
                    lane.retired = true;
                    if std::mem::take(&mut lane.held) > 0 {
                        outdated.lifted.extend_from_slice(&lane.plan.queues);
                    }
                }
            }
            outdated.claims.extend(lane.claim.map(|claim| claim.number));
            outdated.ahead.extend(lane.ahead.take_all());
        }
        for plan in plans {
            self.last += 1;
            self.lanes.insert(LaneId(self.last), Lane::new(plan));
        }
        self.sweep();
        outdated
    }

    /// What to claim now: one claim for each lane that has slots free, or may claim ahead, and has none under way.
    pub(super) fn claims(&mut self, max: usize, now: Instant) -> Vec<(LaneId, Claim)> {
        let mut claims = Vec::new();
        for (id, lane) in &mut self.lanes {
            let (jobs, wait_ms) = lane.claim();
            if jobs == 0 || lane.claim.is_some() || lane.not_before.is_some_and(|at| now < at) {
                continue;
            }
            lane.not_before = None;
            let claim = Claim {
                queues: lane.plan.queues.clone(),
                max: jobs.min(u32::try_from(max).unwrap_or(u32::MAX)),
                lease_ms: lane.plan.lease_ms,
                wait_ms,
                bound: true,
            };
            claims.push((*id, claim));
        }
        claims
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
    pub(super) fn claiming(&mut self, id: LaneId, number: u32, now: Instant) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.claim = Some(UnderWay { number, since: now, waits: lane.free() > 0 });
        }
    }

    /// The lane's claim has been answered with so many jobs; returns how many of them it takes.
    pub(super) fn claimed(&mut self, id: LaneId, jobs: usize, now: Instant) -> Room {
        let Some(lane) = self.lanes.get_mut(&id) else { return Room::default() };
        let was_for_slots = lane.claim.is_some_and(|claim| claim.waits);
        lane.ahead.claimed(jobs, lane.claim.map_or(Duration::ZERO, |claim| now - claim.since));
        lane.claim = None;
        let free = lane.free() as usize;
        let ahead = if lane.retired { 0 } else { lane.ahead.room(lane.plan.slots) as usize };
        let room = Room { free, ahead };
        if jobs > 0 {
            lane.again = Again::default();
        } else if was_for_slots {
            // A claim that waits for ever comes back empty only when the daemon has a reason: then it is not asked
            // again at once.
            self.claim_again_later(id, now);
        }
        self.sweep();
        room
    }

    /// The lane's claim went with its connection.
    pub(super) fn unanswered(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.claim = None;
        }
        self.sweep();
    }

    /// The lane's claim was refused; returns how long it waits now.
    pub(super) fn claim_again_later(&mut self, id: LaneId, now: Instant) -> Duration {
        let Some(lane) = self.lanes.get_mut(&id) else { return Duration::ZERO };
        let wait = lane.again.wait();
        // It may hold for longer than that.
        (lane.claim, lane.not_before) = (None, lane.not_before.max(Some(now + wait)));
        wait
    }

    /// A job of this lane could not be begun, or will not be; returns how long the lane holds now, if it does not yet.
    pub(super) fn hold(&mut self, id: LaneId, now: Instant) -> Option<Duration> {
        let lane = self.lanes.get_mut(&id).filter(|lane| !lane.retired)?;
        if lane.held > 0 && lane.not_before.is_some_and(|at| now < at) {
            return None;
        }
        let wait = HOLD_WAIT.saturating_mul(1 << lane.held.min(10)).min(HOLD_WAIT_MAX);
        lane.held = lane.held.saturating_add(1);
        lane.not_before = Some(now + wait);
        Some(wait)
    }

    /// A job of this lane has begun; the queues, if that was in doubt.
    pub(super) fn lift(&mut self, id: LaneId) -> Option<Vec<String>> {
        let lane = self.lanes.get_mut(&id).filter(|lane| lane.held > 0)?;
        lane.held = 0;
        Some(lane.plan.queues.clone())
    }

    /// Whether it is in doubt that jobs of this lane can begin.
    pub(super) fn is_held(&self, id: LaneId) -> bool {
        self.lanes.get(&id).is_some_and(|lane| lane.held > 0)
    }

    /// The lanes that hold and are to be tried again now.
    pub(super) fn to_try(&self, now: Instant) -> Vec<(LaneId, Arc<Plan>)> {
        let due =
            |lane: &Lane| lane.held > 0 && lane.free() > 0 && lane.not_before.is_some_and(|at| at <= now);
        self.lanes.iter().filter(|(_, lane)| due(lane)).map(|(id, lane)| (*id, lane.plan.clone())).collect()
    }

    /// One job of a lane that holds is to be tried.
    pub(super) fn try_one(&mut self, id: LaneId) {
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.not_before = None;
        }
    }

    /// The plan of a lane that holds, and what it must not go on with.
    pub(super) fn held(&mut self, id: LaneId) -> Option<(Arc<Plan>, Outdated)> {
        let lane = self.lanes.get_mut(&id)?;
        let (claims, ahead) = (lane.claim.map(|claim| claim.number), lane.ahead.take_all());
        Some((
            lane.plan.clone(),
            Outdated { claims: claims.into_iter().collect(), ahead, ..Outdated::default() },
        ))
    }

    /// Takes a slot for a job, which runs by the plan returned.
    pub(super) fn occupy(&mut self, id: LaneId, lease: LeaseRef, now: Instant) -> Option<Arc<Plan>> {
        let lane = self.lanes.get_mut(&id)?;
        lane.running.insert(lease, now);
        Some(lane.plan.clone())
    }

    /// Has a job wait for a slot; it will run by the plan returned.
    pub(super) fn queue_up(&mut self, id: LaneId, lease: LeaseRef, now: Instant) -> Option<Arc<Plan>> {
        let lane = self.lanes.get_mut(&id)?;
        lane.ahead.push(lease, now);
        Some(lane.plan.clone())
    }

    /// Gives free slots to jobs that were claimed ahead; those are to begin.
    pub(super) fn begin_next(&mut self, now: Instant) -> Vec<LeaseRef> {
        let mut begun = Vec::new();
        for lane in self.lanes.values_mut() {
            while lane.free() > 0
                && let Some(lease) = lane.ahead.pop()
            {
                lane.running.insert(lease, now);
                begun.push(lease);
            }
        }
        begun
    }

    /// When [`Lanes::overdue`] is to be asked.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        self.lanes.values().filter_map(|lane| lane.ahead.next_overdue()).min()
    }

    /// The jobs that have waited too long for a slot, to be given back.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<LeaseRef> {
        self.lanes.values_mut().flat_map(|lane| lane.ahead.take_overdue(now)).collect()
    }

    /// All jobs that wait for a slot, to be given back.
    pub(super) fn give_all_back(&mut self) -> Vec<LeaseRef> {
        self.lanes.values_mut().flat_map(|lane| lane.ahead.take_all()).collect()
    }

    /// A job of this lane has ended, or does not wait for a slot any more.
    pub(super) fn ended(&mut self, id: LaneId, lease: LeaseRef, now: Instant) {
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        match lane.running.remove(&lease) {
            Some(since) => lane.ahead.ran(now - since),
            None => drop(lane.ahead.remove(lease)),
        }
        if lane.retired {
            self.sweep();
        }
    }

    /// Whether any claim is under way.
    pub(super) fn is_claiming(&self) -> bool {
        self.lanes.values().any(|lane| lane.claim.is_some())
    }

    /// The numbers of all claims under way.
    pub(super) fn claims_under_way(&self) -> Vec<u32> {
        self.lanes.values().filter_map(|lane| lane.claim).map(|claim| claim.number).collect()
    }

    fn sweep(&mut self) {
        self.lanes.retain(|_, lane| {
            !lane.retired || !lane.running.is_empty() || !lane.ahead.is_empty() || lane.claim.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Handler;

    fn plan(queue: &str, slots: u32) -> Plan {
        let queues = vec![queue.to_owned()];
        Plan {
            queues,
            slots,
            handler: Handler::Command,
            lease_ms: None,
            output_max: 0,
            echo: false,
            result_max: 0,
        }
    }

    fn lease(id: u64) -> LeaseRef {
        LeaseRef { id, attempt: 1 }
    }

    fn made(lanes: &mut Lanes) -> Vec<(LaneId, u32)> {
        lanes.claims(100, Instant::now()).into_iter().map(|(id, claim)| (id, claim.max)).collect()
    }

    #[tokio::test]
    async fn a_lane_claims_once_and_for_its_free_slots_only() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 3)]);
        let [(id, 3)] = made(&mut lanes)[..] else { panic!("one claim for three slots") };
        lanes.claiming(id, 1, Instant::now());
        assert_eq!(made(&mut lanes), []);
        assert_eq!(lanes.claimed(id, 1, Instant::now()).free, 3);
        lanes.occupy(id, lease(1), Instant::now());
        assert_eq!(made(&mut lanes), [(id, 2)]);
    }

    #[tokio::test]
    async fn a_smaller_plan_ends_the_claim_and_lets_the_jobs_run() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 3), plan("b", 1)]);
        let claims = made(&mut lanes);
        let (id, now) = (claims[0].0, Instant::now());
        lanes.claiming(id, 7, now);
        lanes.occupy(id, lease(1), now);
        lanes.occupy(id, lease(2), now);
        assert_eq!(lanes.replace(vec![plan("a", 1), plan("b", 1)]).claims, [7]);
        assert_eq!(lanes.claimed(id, 1, now).free, 0);
        lanes.ended(id, lease(1), now);
        lanes.ended(id, lease(2), now);
        assert_eq!(made(&mut lanes).len(), 2);
    }

    #[tokio::test]
    async fn a_lane_without_a_plan_goes_when_its_last_job_ends() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 1)]);
        let id = made(&mut lanes)[0].0;
        lanes.occupy(id, lease(1), Instant::now());
        lanes.replace(Vec::new());
        assert_eq!(lanes.lanes.len(), 1);
        lanes.ended(id, lease(1), Instant::now());
        assert_eq!(lanes.lanes.len(), 0);
    }

    #[tokio::test]
    async fn a_lane_whose_jobs_cannot_begin_waits_longer_each_time_and_tries_one() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 3)]);
        let (id, now) = (made(&mut lanes)[0].0, Instant::now());
        assert_eq!(lanes.hold(id, now), Some(HOLD_WAIT));
        assert_eq!(lanes.hold(id, now), None, "the others that were claimed with it");
        assert_eq!((lanes.claims(9, now).len(), lanes.to_try(now).len()), (0, 0));
        let now = now + HOLD_WAIT;
        assert_eq!(lanes.to_try(now).len(), 1);
        assert_eq!(lanes.hold(id, now), Some(HOLD_WAIT * 2));
        let now = now + HOLD_WAIT * 2;
        assert_eq!(lanes.claims(9, now)[0].1.max, 1);
        assert_eq!((lanes.lift(id), lanes.lift(id)), (Some(vec!["a".to_owned()]), None));
        assert_eq!(lanes.claims(9, now)[0].1.max, 3);
    }

    #[tokio::test]
    async fn another_handler_is_tried_at_once() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 1)]);
        let (id, now) = (made(&mut lanes)[0].0, Instant::now());
        lanes.hold(id, now);
        let other = Plan { handler: Handler::Exec(vec!["/bin/true".into()]), ..plan("a", 1) };
        assert_eq!(lanes.replace(vec![other]).lifted, ["a"]);
        assert_eq!(lanes.claims(9, now).len(), 1);
    }

    #[tokio::test]
    async fn a_refused_claim_waits_longer_each_time() {
        let mut lanes = Lanes::default();
        lanes.replace(vec![plan("a", 1)]);
        let (id, now) = (made(&mut lanes)[0].0, Instant::now());
        let first = lanes.claim_again_later(id, now);
        assert_eq!(lanes.claim_again_later(id, now), first * 2);
        assert_eq!(lanes.claims(9, now), []);
        assert_eq!(lanes.next_retry(), Some(now + first * 2));
        assert_eq!(lanes.claims(9, now + first * 2).len(), 1);
    }
}
