//! Decides what happens with leases: claim, settle, extend, and their end when the holder vanishes.

use super::{Decision, cut};
use crate::core::change::Recorder;
use crate::core::command::{Claim, LeaseId, Outcome, Then, Verdict};
use crate::core::event::{AfterFailure, Event};
use crate::core::ids::{Ids, JobId};
use crate::core::job::{Exit, Grant, Job, State as JobState};
use crate::core::rejection::{LeaseRejection, Rejection};
use std::time::Duration;

/// How many leases of a connection that has closed end in one step.
const VANISHED_AT_ONCE: usize = 200;

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Outcome, Rejection> {
        if self.core.draining {
            return Err(Rejection::Draining);
        }
        let mut grants = Vec::new();
        for name in &claim.queues {
            let Some(queue) = self.state().queue(name).filter(|queue| queue.has_work()) else { continue };
            let settings = self.core.settings.of(name);
            let (retries, usual, at) = (settings.retries, settings.lease, self.moment.now);
            let jobs = queue.first(u64::from(claim.max) - grants.len() as u64, retries);
            if !jobs.is_empty() {
                let until = at.plus(claim.lease.unwrap_or(usual));
                self.emit(Event::Claimed { jobs: jobs.clone(), holder: claim.holder, at, until });
            }
            grants.extend(jobs.iter().filter_map(|id| self.grant(id)));
            if grants.len() >= claim.max as usize {
                break;
            }
        }
        Ok(Outcome::Claimed(grants))
    }

    /// What its holder gets of a job that is leased.
    fn grant(&self, id: JobId) -> Option<Grant> {
        let job = self.state().jobs.get(&id)?;
        let (settings, (attempt, lease)) = (self.settings_of(job), job.lease()?);
        Some(Grant {
            id,
            attempt,
            attempts: job.spec.attempts.unwrap_or(settings.attempts),
            timeout: settings.timeout_of(&job.spec),
            until: lease.until,
            spec: job.spec.clone(),
        })
    }

    /// The job under a lease, if the lease is in force.
    fn leased(&self, lease: LeaseId) -> Result<&Job, LeaseRejection> {
        let LeaseId { id, attempt } = lease;
        let lost = |job: &Job| LeaseRejection::LeaseLost {
            id,
            attempt,
            current: job.attempt,
            state: job.state.kind(),
        };
        match self.state().jobs.get(&id) {
            Some(job) if job.attempt == attempt && matches!(job.state, JobState::Leased(_)) => Ok(job),
            Some(job) => Err(lost(job)),
            None => Err(self.state().job(id).map_or(LeaseRejection::NotFound { id }, |job| lost(&job))),
        }
    }

    /// Each is judged by itself, after those before it.
    pub(super) fn settle(&mut self, items: &[(LeaseId, Verdict)]) -> Outcome {
        let settled = items.iter().map(|(lease, verdict)| {
            let event = self.settled(lease.id, self.leased(*lease)?, verdict);
            self.emit(event);
            Ok(())
        });
        Outcome::Settled(settled.collect())
    }

    fn settled(&self, id: JobId, job: &Job, verdict: &Verdict) -> Event {
        match verdict {
            Verdict::Complete => {
                Event::Completed { jobs: id.into(), end: self.ending(self.settings_of(job).keep_done) }
            }
            Verdict::Fail { error, exit, then } => self.failed(id, job, (error, *exit), *then),
            Verdict::Later { error } => self.later(id, job, error),
            Verdict::Release { delay } => {
                let due = (!delay.is_zero()).then(|| self.moment.now.plus(*delay));
                Event::Released { jobs: id.into(), due }
            }
        }
    }

    fn failed(&self, id: JobId, job: &Job, (error, exit): (&str, Option<Exit>), then: Then) -> Event {
        let next = match then {
            Then::Backoff => self.after_failure(id, job, None),
            Then::RetryAfter(wait) => self.after_failure(id, job, Some(wait)),
            Then::Bury => AfterFailure::Dead(self.ending(self.settings_of(job).keep_dead)),
        };
        Event::Failed { job: id.into(), at: self.moment.now, error: cut(error), exit, next }
    }

    /// Not now: again after a wait that grows with each such answer, but not without end.
    fn later(&self, id: JobId, job: &Job, error: &str) -> Event {
        let (settings, at) = (self.settings_of(job), self.moment.now);
        let later = job.later.saturating_add(1);
        if later > settings.later_max {
            let error = format!(
                "its workers have said `again later` {later} times, more than later_max = {}; the last time: {error}",
                settings.later_max
            );
            return self.failed(id, job, (&error, None), Then::Bury);
        }
        let backoff = job.spec.backoff.unwrap_or(settings.backoff);
        let due = at.plus(backoff.wait(later, self.moment.luck_for(id)));
        Event::Deferred { job: id.into(), at, error: cut(error), due }
    }

    pub(super) fn extend(&mut self, items: &[LeaseId], lease: Option<Duration>) -> Outcome {
        let extended = items.iter().map(|item| {
            let usual = self.settings_of(self.leased(*item)?).lease;
            let until = self.moment.now.plus(lease.unwrap_or(usual));
            self.emit(Event::Extended { jobs: item.id.into(), until });
            Ok(until)
        });
        Outcome::Extended(extended.collect())
    }

    /// A connection is gone, and with it the holder of the first of its jobs.
    pub(super) fn vanish(&mut self, session: u64) -> Outcome {
        let jobs = self.state().held_by(session).take(VANISHED_AT_ONCE).collect();
        self.interrupt(jobs);
        Outcome::Ok
    }

    /// All connections are gone.
    pub(super) fn recover(&mut self) -> Outcome {
        let jobs = self.state().held.values().flatten().copied().collect();
        self.interrupt(jobs);
        Outcome::Ok
    }

    /// The holder of these jobs is gone, or does not say a word. They are ready again at once; one under which holders
    /// vanish again and again may be the cause, and is dead in the end.
    pub(super) fn interrupt(&mut self, jobs: Vec<JobId>) {
        let mut back = Ids::new();
        for id in jobs {
            let Some(job) = self.state().jobs.get(&id) else { continue };
            let crashes = job.crashes.saturating_add(1);
            if crashes < self.settings_of(job).crashes {
                back.push(id);
                continue;
            }
            let error = format!(
                "whoever ran it vanished, or let its lease end without a word, {crashes} times in all: the job may be \
                 the cause"
            );
            let death = self.failed(id, job, (&error, None), Then::Bury);
            self.emit(death);
        }
        if !back.is_empty() {
            self.emit(Event::Interrupted { jobs: back });
        }
    }

    /// Gives back what connections hold, without blame.
    pub(super) fn evict(&mut self) -> Outcome {
        let jobs: Ids = self.state().held.values().flatten().copied().collect();
        if !jobs.is_empty() {
            self.emit(Event::Released { jobs, due: None });
        }
        Outcome::Ok
    }
}
