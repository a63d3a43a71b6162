//! The slots of each queue of a worker: what is free may be claimed for. They are the worker's, not the connection's: what still
//! runs when a connection has ended keeps its slot. Plain bookkeeping: no requests are sent here.

use super::handler::Handle;
use super::outcome::millis;
use super::{QueueOptions, Served};
use crate::client::Again;
use crate::protocol::Claim;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A place in the list of queues.
pub(super) type LaneId = usize;

/// All of a worker's queues.
pub(super) struct Lanes(Vec<Lane>);

struct Lane {
    queue: String,
    handler: Arc<dyn Handle>,
    slots: u32,
    lease_ms: Option<u64>,
    running: u32,
    /// The claim under way, by its number.
    claim: Option<u32>,
    /// How long to wait after the next claim that brings nothing.
    again: Again,
    /// Not to be claimed for before this time.
    not_before: Option<Instant>,
}

impl Lane {
    fn free(&self) -> u32 {
        self.slots.saturating_sub(self.running)
    }

    fn may_claim(&self) -> bool {
        self.free() > 0 && self.claim.is_none()
    }
}

impl Lanes {
    /// `concurrency` is for the queues that have none of their own.
    pub(super) fn new(served: Vec<Served>, concurrency: u32) -> Lanes {
        let lane = |Served { options: QueueOptions { queue, concurrency: own, lease }, handler }| Lane {
            queue,
            handler,
            slots: own.unwrap_or(concurrency),
            lease_ms: lease.map(millis),
            running: 0,
            claim: None,
            again: Again::default(),
            not_before: None,
        };
        Lanes(served.into_iter().map(lane).collect())
    }

    /// What to claim now: one claim for each queue that has slots free and none under way.
    pub(super) fn claims(&mut self, max: usize, now: Instant) -> Vec<(LaneId, Claim)> {
        let max = u32::try_from(max).unwrap_or(u32::MAX).max(1);
        let due = |lane: &Lane| lane.may_claim() && lane.not_before.is_none_or(|at| at <= now);
        let lanes = self.0.iter().enumerate().filter(|(_, lane)| due(lane));
        let claim = |lane: &Lane| Claim {
            queues: vec![lane.queue.clone()],
            max: lane.free().min(max),
            lease_ms: lane.lease_ms,
            wait_ms: u64::MAX,
            bound: true,
        };
        lanes.map(|(id, lane)| (id, claim(lane))).collect()
    }

    /// When a queue that waits may be claimed for again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.0.iter().filter(|lane| lane.may_claim()).filter_map(|lane| lane.not_before).min()
    }

    pub(super) fn claiming(&mut self, id: LaneId, number: u32) {
        (self.0[id].claim, self.0[id].not_before) = (Some(number), None);
    }

    /// A claim has been answered with so many jobs; returns how many of them may begin.
    pub(super) fn claimed(&mut self, id: LaneId, jobs: usize, now: Instant) -> usize {
        if jobs == 0 {
            // A claim that waits for ever comes back empty only when the daemon has a reason.
            self.claim_again_later(id, now);
        } else {
            (self.0[id].claim, self.0[id].again) = (None, Again::default());
        }
        self.0[id].free() as usize
    }

    /// A claim went with its connection.
    pub(super) fn unanswered(&mut self, id: LaneId) {
        self.0[id].claim = None;
    }

    /// A claim was refused; returns how long the queue waits now.
    pub(super) fn claim_again_later(&mut self, id: LaneId, now: Instant) -> Duration {
        let lane = &mut self.0[id];
        let wait = lane.again.wait();
        (lane.claim, lane.not_before) = (None, Some(now + wait));
        wait
    }

    /// Takes a slot for a job; its handler, and the length of its lease that is to be asked for.
    pub(super) fn occupy(&mut self, id: LaneId) -> (Arc<dyn Handle>, Option<u64>) {
        let lane = &mut self.0[id];
        lane.running += 1;
        (lane.handler.clone(), lane.lease_ms)
    }

    /// A handler has ended.
    pub(super) fn ended(&mut self, id: LaneId) {
        self.0[id].running -= 1;
    }

    /// How many handlers run.
    pub(super) fn running(&self) -> u32 {
        self.0.iter().map(|lane| lane.running).sum()
    }

    pub(super) fn is_claiming(&self) -> bool {
        self.0.iter().any(|lane| lane.claim.is_some())
    }

    /// The numbers of all claims under way.
    pub(super) fn claims_under_way(&self) -> Vec<u32> {
        self.0.iter().filter_map(|lane| lane.claim).collect()
    }

    /// The connection has ended, and its claims with it.
    pub(super) fn disconnected(&mut self) {
        for lane in &mut self.0 {
            (lane.claim, lane.not_before, lane.again) = (None, None, Again::default());
        }
    }
}
