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
        let is_ready =
            |job: &Plain, name: &QueueName| job.spec.queue == *name && job.state == JobState::Ready;
        let has_work = |name: &&QueueName| {
            let is_paused = self.queue(name).is_some_and(|at| self.queues[at].paused);
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
        if self.queue(name).is_none_or(|at| self.queues[at].paused) {
            return false;
        }
        let Some(at) = self.next(name) else { return false };
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
        let until = Time(self.now + millis(claim.lease.unwrap_or(settings.lease)));
        let until = until.min(self.jobs[at].1.end_by.plus(settings.lease));
        self.row(name).totals.claimed += 1;
        let leases = self.row(name).totals.claimed;
        let (id, now, job) = (self.jobs[at].0, self.now, &mut self.jobs[at].1);
        job.attempt.0 += 1;
        job.started = Some(Time(now));
        job.worker = claim.worker;
        job.state =
            JobState::Leased(Lease { holder: claim.holder, since: Time(now), until, cancelling: false });
        if let Some((circuit, mut open)) = circuit {
            open.probe = Some(LeaseId { id: JobId(id), attempt: job.attempt });
            open.next = Time(now + probe_wait(circuit, open.probes));
            self.row(name).circuit.open = Some(open);
        }
        self.serve_key(name, self.jobs[at].1.spec.key, leases);
        let job = &mut self.jobs[at].1;
        grants.push(Grant {
            has_checkpoint: job.beside.0,
            signal: job.signals.taken.clone(),
            id: JobId(id),
            spec: job.spec.clone(),
            attempt: job.attempt,
            attempts: job.spec.attempts.unwrap_or(settings.attempts),
            timeout: match job.spec.timeout {
                Some(Duration::ZERO) => None,
                Some(timeout) => Some(timeout),
                None => settings.timeout,
            },
            deadline: job.end_by,
            until,
        });
        true
    }
}
