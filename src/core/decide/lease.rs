//! Decides what happens with leases: claim, settle, extend, and their end when the holder vanishes.

use super::kept::KeptChange;
use super::{Core, Moment, cut, ending, newest};
use crate::core::command::{Claim, LeaseId, Outcome, Then, Verdict};
use crate::core::event::{AfterFailure, Event};
use crate::core::ids::{Ids, JobId};
use crate::core::job::{Exit, Grant, Job, QueueName, State as JobState};
use crate::core::rejection::{LeaseRejection, Rejection};
use std::collections::HashSet;
use std::time::Duration;

/// How many leases of a connection that has closed end in one step.
const VANISHED_AT_ONCE: usize = 200;

impl Core {
    pub(super) fn claim(
        &self,
        claim: &Claim,
        moment: Moment,
        events: &mut Vec<Event>,
    ) -> Result<Outcome, Rejection> {
        if self.draining {
            return Err(Rejection::Draining);
        }
        let mut grants = Vec::new();
        let mut taken_from: HashSet<&QueueName> = HashSet::new();
        for name in &claim.queues {
            let Some(queue) = self.state.queue(name).filter(|queue| queue.has_work()) else { continue };
            if !taken_from.insert(name) {
                continue;
            }
            let settings = self.settings.of(name);
            let until = moment.now.plus(claim.lease.unwrap_or(settings.lease));
            let left = u64::from(claim.max) - grants.len() as u64;
            let jobs = queue.first(left, settings.retries);
            for id in jobs.iter() {
                let job = self.state.job(id).expect("a ready id names a known job");
                grants.push(Grant {
                    id,
                    attempt: job.attempt.next(),
                    attempts: job.spec.attempts.unwrap_or(settings.attempts),
                    timeout: settings.timeout_of(&job.spec),
                    until,
                    spec: job.spec,
                });
            }
            if !jobs.is_empty() {
                events.push(Event::Claimed { jobs, holder: claim.holder, at: moment.now, until });
            }
            if grants.len() >= claim.max as usize {
                break;
            }
        }
        Ok(Outcome::Claimed(grants))
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
        match self.state.jobs.get(&id) {
            Some(job) if job.attempt == attempt && matches!(job.state, JobState::Leased(_)) => Ok(job),
            Some(job) => Err(lost(job)),
            None => Err(self.state.job(id).map_or(LeaseRejection::NotFound { id }, |job| lost(&job))),
        }
    }

    pub(super) fn settle(
        &self,
        items: &[(LeaseId, Verdict)],
        moment: Moment,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let mut once = Once::default();
        let (from, mut kept) = (events.len(), KeptChange::default());
        let results = items
            .iter()
            .map(|(lease, verdict)| {
                let job = self.leased(*lease)?;
                if !once.first_time(lease.id) {
                    return Err(LeaseRejection::NamedTwice { id: lease.id });
                }
                match verdict {
                    Verdict::Complete => {
                        let end = ending(self.settings_of(job).keep_done, moment.now);
                        kept.ended(&job.spec.queue, lease.id, end);
                        match newest(events, from) {
                            Some(Event::Completed { jobs, end: same }) if *same == end => jobs.push(lease.id),
                            _ => events.push(Event::Completed { jobs: lease.id.into(), end }),
                        }
                    }
                    Verdict::Fail { error, exit, then } => {
                        events.push(self.failed(lease.id, job, (error, *exit), *then, moment))
                    }
                    Verdict::Later { error } => events.push(self.later(lease.id, job, error, moment)),
                    Verdict::Release { delay } => {
                        let due = (!delay.is_zero()).then(|| moment.now.plus(*delay));
                        events.push(Event::Released { jobs: lease.id.into(), due });
                    }
                }
                Ok(())
            })
            .collect();
        self.make_room_for_kept(kept, moment.now, events);
        Outcome::Settled(results)
    }

    pub(super) fn failed(
        &self,
        id: JobId,
        job: &Job,
        (error, exit): (&str, Option<Exit>),
        then: Then,
        moment: Moment,
    ) -> Event {
        let next = match then {
            Then::Backoff => self.after_failure(id, job, None, moment),
            Then::RetryAfter(wait) => self.after_failure(id, job, Some(wait), moment),
            Then::Bury => AfterFailure::Dead(ending(self.settings_of(job).keep_dead, moment.now)),
        };
        Event::Failed { job: id.into(), at: moment.now, error: cut(error), exit, next }
    }

    /// Not now: again after a wait that grows with each such answer, but not without end.
    fn later(&self, id: JobId, job: &Job, error: &str, moment: Moment) -> Event {
        let settings = self.settings_of(job);
        let later = job.later.saturating_add(1);
        if later > settings.later_max {
            let error = format!(
                "put off too often: it was to come again later {later} times (later_max = {}), at last because: {error}",
                settings.later_max
            );
            return self.failed(id, job, (&error, None), Then::Bury, moment);
        }
        let backoff = job.spec.backoff.unwrap_or(settings.backoff);
        let due = moment.now.plus(backoff.wait(later, moment.luck_for(id)));
        Event::Deferred { job: id.into(), at: moment.now, error: cut(error), due }
    }

    pub(super) fn extend(
        &self,
        items: &[LeaseId],
        lease: Option<Duration>,
        moment: Moment,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let from = events.len();
        let results = items
            .iter()
            .map(|item| {
                let job = self.leased(*item)?;
                let until = moment.now.plus(lease.unwrap_or(self.settings_of(job).lease));
                match newest(events, from) {
                    Some(Event::Extended { jobs, until: same }) if *same == until => jobs.push(item.id),
                    _ => events.push(Event::Extended { jobs: item.id.into(), until }),
                }
                Ok(until)
            })
            .collect();
        Outcome::Extended(results)
    }

    /// A connection is gone, and with it the holder of the first of its jobs.
    pub(super) fn vanish_some(&self, session: u64, moment: Moment, events: &mut Vec<Event>) -> Outcome {
        self.vanish(self.state.held_by(session).take(VANISHED_AT_ONCE), moment, events)
    }

    /// The holder of these jobs is gone. They are ready again at once; one under which holders vanish again and
    /// again may be the cause, and is dead in the end.
    pub(super) fn vanish(
        &self,
        jobs: impl Iterator<Item = JobId>,
        moment: Moment,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let mut back = Ids::new();
        for id in jobs {
            let job = self.state.jobs.get(&id).expect("a held id names a leased job");
            match self.interrupted_too_often(id, job, moment) {
                Some(death) => events.push(death),
                None => back.push(id),
            }
        }
        if !back.is_empty() {
            events.push(Event::Interrupted { jobs: back });
        }
        Outcome::Ok
    }

    /// The death of a job whose holder was lost once more than is allowed.
    pub(super) fn interrupted_too_often(&self, id: JobId, job: &Job, moment: Moment) -> Option<Event> {
        let crashes = job.crashes.saturating_add(1);
        if crashes < self.settings_of(job).crashes {
            return None;
        }
        let error = format!(
            "whoever ran it vanished, or let its lease end without a word, {crashes} times in all: the job may be \
             the cause"
        );
        Some(self.failed(id, job, (&error, None), Then::Bury, moment))
    }

    /// Gives back what connections hold, without blame.
    pub(super) fn evict(&self, events: &mut Vec<Event>) -> Outcome {
        let jobs: Ids = self.state.held.values().flatten().copied().collect();
        if !jobs.is_empty() {
            events.push(Event::Released { jobs, due: None });
        }
        Outcome::Ok
    }
}

/// Tells whether an id comes for the first time. Free for ids that rise, as those of one claim mostly do.
#[derive(Default)]
struct Once {
    highest: JobId,
    seen: HashSet<JobId>,
    in_order: Vec<JobId>,
}

impl Once {
    fn first_time(&mut self, id: JobId) -> bool {
        if id > self.highest && self.seen.is_empty() {
            self.highest = id;
            self.in_order.push(id);
            return true;
        }
        self.seen.extend(self.in_order.drain(..));
        self.seen.insert(id)
    }
}
