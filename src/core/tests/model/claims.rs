//! Claims, the slow way: one job after the other, each time the first that may go.

use super::attempts::probe_wait;
use super::{Model, Plain, millis};
use crate::core::weights::pick;
use crate::core::*;
use std::time::Duration;

impl Model {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Outcome, Rejection> {
        if self.draining {
            return Err(Rejection::Draining);
        }
        let mut grants = Vec::new();
        if claim.order == ClaimOrder::ByPriority {
            self.claim_by_priority(claim, &mut grants);
            return Ok(Outcome::Claimed(grants));
        }
        let is_ready =
            |job: &Plain, name: &QueueName| job.spec.queue == *name && job.state == JobState::Ready;
        let has_work = |name: &&QueueName| {
            let is_paused = self.queue(name).is_some_and(|at| self.queues[at].paused_until.is_some());
            !is_paused && self.jobs.iter().any(|(_, job)| is_ready(job, name))
        };
        let mut queues: Vec<_> = claim.queues.iter().filter(has_work).collect();
        let weight = |model: &Model, name: &QueueName| model.settings.of(name).weight;
        let is_weighted = claim.queues.iter().any(|name| weight(self, name).is_some());
        let given = |name| self.queue(name).map_or(0, |at| self.queues[at].totals.claimed);
        let first: u64 = claim.queues.iter().map(given).sum();
        while grants.len() < claim.max as usize && !queues.is_empty() {
            let turn = first + grants.len() as u64;
            let weights: Vec<_> = queues.iter().map(|name| weight(self, name).unwrap_or(1)).collect();
            let at = if is_weighted { pick(turn, weights.into_iter()).unwrap() } else { 0 };
            if !self.lease_one(queues[at], claim, &mut grants) {
                queues.remove(at);
            }
        }
        Ok(Outcome::Claimed(grants))
    }

    /// Leases the next job of a queue, if it gives one.
    pub(super) fn lease_one(&mut self, name: &QueueName, claim: &Claim, grants: &mut Vec<Grant>) -> bool {
        if self.queue(name).is_none_or(|at| self.queues[at].paused_until.is_some()) {
            return false;
        }
        let Some(at) = self.next(name) else { return false };
        let usual = self.settings_of(at).lease;
        let lease = match claim.order {
            ClaimOrder::AsNamed => usual,
            ClaimOrder::ByPriority => self.timeout(at).unwrap_or(usual),
        };
        self.lease_at(at, claim.lease.unwrap_or(lease), (claim.holder, claim.worker), grants)
    }

    /// The first of all, again and again.
    fn claim_by_priority(&mut self, claim: &Claim, grants: &mut Vec<Grant>) {
        let mut queues = claim.queues.clone();
        while grants.len() < claim.max as usize {
            let gives = |name: &&QueueName| {
                self.queues.iter().any(|it| it.name == **name && it.paused_until.is_none())
            };
            let next = queues.iter().filter(gives).filter_map(|name| self.next(name));
            let Some(at) = next.min_by_key(|at| (self.jobs[*at].1.spec.priority, self.jobs[*at].0)) else {
                break;
            };
            let name = self.jobs[at].1.spec.queue.clone();
            if !self.lease_one(&name, claim, grants) {
                queues.retain(|queue| *queue != name);
            }
        }
    }

    /// Leases this one, out of its turn.
    pub(super) fn claim_job(
        &mut self,
        id: JobId,
        holder: Holder,
        worker: Option<Worker>,
    ) -> Result<Outcome, Rejection> {
        if self.draining {
            return Err(Rejection::Draining);
        }
        let mut grants = Vec::new();
        let Some(at) = self.known(id) else { return Ok(Outcome::Claimed(grants)) };
        let before = self.jobs[at].1.clone();
        let is_taken = before.state.kind() == StateKind::Dead && self.taken(at).is_some();
        match before.state.kind() {
            StateKind::Ready | StateKind::Scheduled => {}
            StateKind::Dead if !is_taken => self.edit_one(&Edit::Kick, at),
            _ => return Ok(Outcome::Claimed(grants)),
        }
        let lease = self.timeout(at).unwrap_or(self.settings_of(at).lease);
        if !self.key_allows(at) || !self.lease_at(at, lease, (holder, worker), &mut grants) {
            self.jobs[at].1 = before;
        }
        Ok(Outcome::Claimed(grants))
    }

    fn timeout(&self, at: usize) -> Option<Duration> {
        match self.jobs[at].1.spec.timeout {
            Some(Duration::ZERO) => None,
            Some(timeout) => Some(timeout),
            None => self.settings_of(at).timeout,
        }
    }

    /// Something was done with these.
    pub(super) fn count(&mut self, ids: &[JobId], what: Handling) -> Outcome {
        let mut counted = Vec::new();
        for id in ids {
            let Some(at) = self.known(*id) else { continue };
            counted.push(at);
            self.counted += 1;
            let (no, handled) = (self.counted, &mut self.jobs[at].1.handled);
            match what {
                Handling::Delayed { seconds, .. } => (handled.delay, handled.no) = (seconds, no),
                Handling::Released => handled.releases += 1,
                Handling::TimedOut => handled.timeouts += 1,
                Handling::Buried { .. } => (handled.buries, handled.no) = (handled.buries + 1, no),
                Handling::Kicked => handled.kicks += 1,
            }
        }
        // It is a change of those that are kept, if they are.
        self.trim(&counted);
        Outcome::Ok
    }

    /// Leases a job, if the limits of its queue allow it.
    fn lease_at(
        &mut self,
        at: usize,
        lease: Duration,
        (holder, worker): (Holder, Option<Worker>),
        grants: &mut Vec<Grant>,
    ) -> bool {
        let name = &self.jobs[at].1.spec.queue.clone();
        let settings = self.settings_of(at).clone();
        let leased = self
            .jobs
            .iter()
            .filter(|(_, job)| job.spec.queue == *name && job.state.kind() == StateKind::Leased);
        if settings.concurrency.is_some_and(|limit| leased.count() >= limit as usize) {
            return false;
        }
        let circuit = settings.circuit().zip(self.row(name).circuit.open);
        if circuit.is_some_and(|(_, open)| self.runs(open.probe) || open.next.0 > self.now) {
            return false;
        }
        if let Some(rate) = settings.rate {
            let (now, row) = (Time(self.now), self.row(name));
            if rate.allows(row.rate_used, now) == 0 {
                return false;
            }
            row.rate_used = rate.use_up(row.rate_used, now, 1);
        }
        let until = Time(self.now + millis(lease));
        let until = until.min(self.jobs[at].1.end_by.plus(settings.lease));
        self.row(name).totals.claimed += 1;
        let leases = self.row(name).totals.claimed;
        let (id, now, job) = (self.jobs[at].0, self.now, &mut self.jobs[at].1);
        job.attempt.0 += 1;
        job.started = Some(Time(now));
        job.worker = worker;
        job.state = JobState::Leased(Lease { holder, since: Time(now), until, cancelling: false });
        if let Some((circuit, mut open)) = circuit {
            open.probe = Some(LeaseId { id: JobId(id), attempt: job.attempt });
            open.next = Time(now + probe_wait(circuit, open.probes));
            self.row(name).circuit.open = Some(open);
        }
        let timeout = self.timeout(at);
        self.serve_key(name, self.jobs[at].1.spec.key, leases);
        let job = &mut self.jobs[at].1;
        grants.push(Grant {
            has_checkpoint: job.beside.0,
            signal: job.signals.taken.clone(),
            id: JobId(id),
            spec: job.spec.clone(),
            attempt: job.attempt,
            attempts: job.spec.attempts.unwrap_or(settings.attempts),
            timeout,
            deadline: job.end_by,
            until,
        });
        true
    }
}
