//! Decides who gets which jobs: claims of what is next in queues, and of one job by its id. What limits them is in `limits`, who is
//! next in `next`.

use super::{Core, Decision};
use crate::core::change::Recorder;
use crate::core::command::{Claim, ClaimOrder, LeaseId, Outcome};
use crate::core::event::{Event, RowEvent};
use crate::core::ids::{Ids, JobId};
use crate::core::job::{Beside, Grant, Holder, Job, Priority, QueueName, StateKind, Worker};
use crate::core::queue::Queue;
use crate::core::rejection::Rejection;
use crate::core::settings::QueueSettings;
use crate::core::time::Time;
use crate::core::weights::pick;
use std::collections::BTreeSet;
use std::time::Duration;

/// With what jobs are leased.
#[derive(Clone, Copy)]
struct Terms {
    holder: Holder,
    worker: Option<Worker>,
    until: Time,
}

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Outcome, Rejection> {
        if self.core.draining {
            return Err(Rejection::Draining);
        }
        let mut grants = Vec::new();
        if claim.order == ClaimOrder::ByPriority {
            self.claim_by_priority(claim, &mut grants);
            return Ok(Outcome::Claimed(grants));
        }
        if self.core.has_weights && claim.queues.len() > 1 {
            self.claim_by_weight(claim, &mut grants);
            return Ok(Outcome::Claimed(grants));
        }
        for name in &claim.queues {
            self.claim_from(name, claim, claim.max, &mut grants);
            if grants.len() >= claim.max as usize {
                break;
            }
        }
        Ok(Outcome::Claimed(grants))
    }

    /// Leases one job after the other, each the first of all by priority and id.
    fn claim_by_priority(&mut self, claim: &Claim, grants: &mut Vec<Grant>) {
        // One that is named twice is there once.
        let mut firsts: BTreeSet<_> =
            claim.queues.iter().filter_map(|name| Some((self.first_of(name)?, name))).collect();
        while grants.len() < claim.max as usize
            && let Some((_, name)) = firsts.pop_first()
        {
            let before = grants.len();
            self.claim_from(name, claim, before as u32 + 1, grants);
            if grants.len() == before {
                debug_assert!(false, "a queue gives what is next in it");
                break;
            }
            // What a queue gives does not depend on the others: only this one has another first now.
            if grants.len() < claim.max as usize {
                firsts.extend(self.first_of(name).map(|first| (first, name)));
            }
        }
    }

    /// The job that a queue gives next, if it gives any now.
    fn first_of(&mut self, name: &QueueName) -> Option<(Priority, JobId)> {
        // Most of those that are named have none, and are not to cost anything.
        self.state().queue(name).filter(|queue| queue.has_work())?;
        let at = self.moment.now;
        let (state, queue, settings) = self.core.arranged(name, at)?;
        let id = queue.next(settings.key_rules()).filter(|_| settings.allowance(state, queue, at) > 0)?;
        Some((state.job(id)?.spec.priority, id))
    }

    /// Leases one job after the other, each from the queue whose turn it is; in the order in which they are named if none of
    /// them has a weight. What a queue gives does not depend on the others, so one that gives nothing gives nothing to this claim
    /// any more; those without work are not even asked, however many are named.
    fn claim_by_weight(&mut self, claim: &Claim, grants: &mut Vec<Grant>) {
        let weight = |name: &QueueName| self.core.settings.of(name).weight;
        let is_weighted = claim.queues.iter().any(|name| weight(name).is_some());
        let has_work = |name: &&QueueName| self.state().queue(name).is_some_and(Queue::has_work);
        let with_work = claim.queues.iter().filter(has_work);
        let mut queues: Vec<(&QueueName, u32)> =
            with_work.map(|name| (name, weight(name).unwrap_or(1))).collect();
        let given = |name| self.state().queue(name).map_or(0, |queue| queue.totals().claimed);
        let mut turn = claim.queues.iter().map(given).fold(0, u64::wrapping_add);
        while grants.len() < claim.max as usize {
            let weights = queues.iter().map(|(_, weight)| *weight);
            let next = if is_weighted { pick(turn, weights) } else { (!queues.is_empty()).then_some(0) };
            let Some(at) = next else { break };
            let before = grants.len();
            let most = if is_weighted { before as u32 + 1 } else { claim.max };
            self.claim_from(queues[at].0, claim, most, grants);
            if grants.len() == before || !is_weighted {
                queues.remove(at);
            } else {
                turn = turn.wrapping_add(1);
            }
        }
    }

    /// Leases what is next in one queue, as far as its limits allow, until there are `most` in all.
    fn claim_from(&mut self, name: &QueueName, claim: &Claim, most: u32, grants: &mut Vec<Grant>) {
        let at = self.moment.now;
        let Some((state, queue, settings)) = self.core.arranged(name, at) else { return };
        if !queue.has_work() {
            return;
        }
        let (rules, retries) = (settings.key_rules(), settings.retries);
        let (before, has_keys) = (grants.len(), queue.has_keys());
        let mut left = (u64::from(most) - before as u64).min(settings.allowance(state, queue, at));
        grants.reserve(left.min(queue.counts().of(StateKind::Ready)) as usize);
        let next = |queue: &Queue, left| match queue.has_keys() {
            true => queue.next_few(rules, left),
            false => queue.first(left, retries),
        };
        let mut jobs = next(queue, left);
        let first = jobs.ranges().first().and_then(|range| state.job(range.first));
        let usual = match claim.order {
            ClaimOrder::AsNamed => settings.lease,
            // It is one job: those of a claim by priority are leased one by one.
            ClaimOrder::ByPriority => first.map_or(settings.lease, |job| lease_of(job, settings)),
        };
        let Claim { holder, worker, .. } = *claim;
        let terms = Terms { holder, worker, until: at.plus(claim.lease.unwrap_or(usual)) };
        let mut served = Vec::new();
        while !jobs.is_empty() {
            left -= jobs.len();
            self.lease(name, jobs, terms, (grants, &mut served));
            // With keys, who is next depends on those that are given out.
            let queue = if has_keys && left > 0 { self.state().queue(name) } else { None };
            jobs = queue.map_or_else(Ids::new, |queue| next(queue, left));
        }
        self.use_up(name, &grants[before..], served);
    }

    /// Leases these jobs of a queue. What that says of their keys is added to `served`.
    fn lease(
        &mut self,
        name: &QueueName,
        jobs: Ids,
        Terms { holder, worker, until }: Terms,
        (grants, served): (&mut Vec<Grant>, &mut Vec<RowEvent>),
    ) {
        let (at, from) = (self.moment.now, grants.len());
        self.emit(Event::Claimed { jobs: jobs.clone(), holder, worker, at, until });
        let settings = self.core.settings.of(name);
        let (rules, usual) = (settings.key_rules(), settings.lease);
        for (part, job) in jobs.ranges().iter().flat_map(|range| self.state().iter(*range)) {
            grants.extend(part.iter().filter_map(|id| grant(id, job, settings)));
        }
        self.end_by_deadlines(&mut grants[from..], usual);
        if rules.remember() {
            self.serve(name, rules, &jobs, served);
        }
    }

    /// These leases of a queue were given, and use something of what it may give.
    fn use_up(&mut self, name: &QueueName, grants: &[Grant], served: Vec<RowEvent>) {
        served.into_iter().for_each(|event: RowEvent| self.recorder.record(event.into()));
        let Some(first) = grants.first() else { return };
        let (settings, at) = (self.core.settings.of(name), self.moment.now);
        let (rate, circuit) = (settings.rate, settings.circuit());
        if let Some(rate) = rate {
            let used = self.state().queue(name).map(Queue::rate_used).unwrap_or_default();
            let used = rate.use_up(used, at, grants.len() as u64);
            self.emit(RowEvent::RateUsed { queue: name.clone(), used });
        }
        if let Some(circuit) = circuit {
            let lease = LeaseId { id: first.id, attempt: first.attempt };
            let known = self.state().queue(name).map(Queue::circuit).unwrap_or_default();
            if let Some(circuit) = circuit.probed(known, lease, at) {
                self.emit(RowEvent::CircuitChanged { queue: name.clone(), circuit });
            }
        }
    }

    /// Leases end at the latest one `lease` after the job's deadline, in which its worker is to stop it: freed at the deadline, its
    /// place and its key would be somebody else's while it is being stopped.
    fn end_by_deadlines(&mut self, grants: &mut [Grant], lease: Duration) {
        for grant in grants.iter_mut().filter(|grant| grant.until > grant.deadline.plus(lease)) {
            grant.until = grant.deadline.plus(lease);
            self.emit(Event::Extended { jobs: grant.id.into(), until: grant.until });
        }
    }

    /// Leases one job by its id, out of its turn. It waits for nothing but its time, if for anything; and the limits of its queue and
    /// of its key hold.
    pub(super) fn claim_job(
        &mut self,
        id: JobId,
        holder: Holder,
        worker: Option<Worker>,
    ) -> Result<Outcome, Rejection> {
        if self.core.draining {
            return Err(Rejection::Draining);
        }
        let at = self.moment.now;
        let nothing = Ok(Outcome::Claimed(Vec::new()));
        let Some(job) = self.state().job(id).filter(|job| self.visibility.sees(&job.spec)) else {
            return nothing;
        };
        let (kind, name) = (job.kind(), job.spec.queue.clone());
        let runs_again = kind == StateKind::Dead && job.would_hold_unique();
        let is_held = |key| self.unique_holder(&name, key).is_some_and(|holder| holder != id);
        if job.spec.unique.filter(|_| runs_again).is_some_and(is_held) {
            return nothing;
        }
        let settings = self.settings_of(job);
        let until = at.plus(lease_of(job, settings));
        let gives = self.state().queue(&name).is_some_and(|queue| {
            settings.allowance(self.state(), queue, at) > 0
                && settings.reached_by_key(self.state(), queue, job, at).next().is_none()
        });
        match kind {
            _ if !gives => return nothing,
            StateKind::Ready => {}
            StateKind::Scheduled => self.emit(Event::Ripened { jobs: id.into() }),
            StateKind::Dead => self.emit(Event::Revived { jobs: id.into() }),
            StateKind::Leased
            | StateKind::Done
            | StateKind::Cancelled
            | StateKind::Expired
            | StateKind::Waiting => return nothing,
        }
        let (mut grants, mut served) = (Vec::new(), Vec::new());
        self.lease(&name, id.into(), Terms { holder, worker, until }, (&mut grants, &mut served));
        self.use_up(&name, &grants, served);
        Ok(Outcome::Claimed(grants))
    }
}

/// What its holder gets of a job that is leased.
fn grant(id: JobId, job: &Job, settings: &QueueSettings) -> Option<Grant> {
    let (attempt, lease) = job.lease()?;
    Some(Grant {
        id,
        attempt,
        attempts: job.spec.attempts.unwrap_or(settings.attempts),
        timeout: settings.timeout_of(&job.spec),
        deadline: job.expiry().end_by,
        until: lease.until,
        has_checkpoint: job.has(Beside::Checkpoint),
        signal: job.signals().and_then(|signals| signals.taken.clone()),
        spec: job.spec.clone(),
    })
}

/// How long a lease of a job lasts for whoever has as long as it may run.
fn lease_of(job: &Job, settings: &QueueSettings) -> Duration {
    settings.timeout_of(&job.spec).unwrap_or(settings.lease)
}

impl Core {
    /// How long a lease of a job lasts that was claimed by priority or by its id, unless it is extended.
    pub fn run_time(&self, job: &Job) -> Duration {
        lease_of(job, self.settings.of(&job.spec.queue))
    }

    /// The ready job that goes next of a queue, whether the queue gives any now or not.
    pub fn next_ready(&mut self, name: &QueueName, now: Time) -> Option<JobId> {
        let (_, queue, settings) = self.arranged(name, now)?;
        queue.next(settings.key_rules())
    }
}
