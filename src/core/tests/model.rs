//! The naive model: a plain list of jobs, searched from the front each time, with no ranges, no indexes and no
//! events. It knows the commands and outcomes of the core and the words for a job, and nothing else of it.

mod attempts;
mod claims;
mod edits;
mod follow;
mod kept;
mod overrides;
mod room;
mod submits;
mod topics;
mod unique;

use crate::core::*;
use kept::{FORGOTTEN, is_dead};
use std::sync::Arc;
use std::time::Duration;

/// What the core promises to be, written the slow way.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) jobs: Vec<(u64, Plain)>,
    pub(super) queues: Vec<QueueRow>,
    /// What the leases of a key have used, and of which rate; and when it had its turn.
    pub(super) keys: Vec<(QueueName, Key, Option<Rate>, RateUsed, Turn)>,
    /// What was bound to topics by command.
    pub(super) bound: Vec<(Pattern, QueueName)>,
    pub(super) submitted: u64,
    /// How many times something was counted of jobs.
    pub(super) counted: u64,
    /// What the configuration says; and with what was set at run time.
    pub(super) configured: Settings,
    pub(super) settings: Settings,
    pub(super) draining: bool,
    pub(super) accept: bool,
    pub(super) now: u64,
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

impl Model {
    pub(super) fn run(&mut self, command: &Command) -> Result<Outcome, Rejection> {
        let dead: Vec<u64> = self.jobs.iter().filter(|(_, job)| is_dead(job)).map(|(id, _)| *id).collect();
        match command {
            Command::Submit { groups } => self.submit(groups),
            Command::CompleteAndSubmit { lease, groups, request: None } => self.follow(*lease, groups),
            Command::Claim(claim) => self.claim(claim),
            Command::ClaimJob { id, holder, worker } => self.claim_job(*id, *holder, *worker),
            Command::Count { ids, what } => Ok(self.count(ids, *what)),
            Command::Settle { items } => {
                // Each is judged by itself; a lease that an earlier item ended is lost.
                let mut settled = Vec::new();
                let results = items.iter().map(|(lease, verdict)| {
                    let job = self.leased(*lease)?;
                    settled.push(job);
                    if self.end_if_cancelling(job) {
                        let released = matches!(verdict, Verdict::Release { .. });
                        return if released { Ok(()) } else { Err(unwanted(*lease)) };
                    }
                    let before = *self.totals(job);
                    self.end_lease(job, verdict);
                    self.attempt_ended(job, *lease, before);
                    Ok(())
                });
                let results = results.collect();
                self.trim(&settled);
                Ok(Outcome::Settled(results))
            }
            Command::Extend { items, lease } => {
                let results = items.iter().map(|item| {
                    let at = self.going_on(*item)?;
                    let lease = lease.unwrap_or(self.settings_of(at).lease);
                    let usual = self.settings_of(at).lease;
                    let end = Time(self.now + millis(lease)).min(self.jobs[at].1.end_by.plus(usual));
                    let JobState::Leased(held) = &mut self.jobs[at].1.state else { unreachable!() };
                    held.until = end;
                    Ok(end)
                });
                Ok(Outcome::Extended(results.collect()))
            }
            Command::Checkpoint { lease, extend } => Ok(self.checkpoint(*lease, *extend)),
            Command::SettleWithResult { lease, verdict } => self.settle_with_result(*lease, verdict),
            Command::Signal { id, signal } => self.signal(*id, signal),
            Command::Topic { pattern, action } => self.topic(pattern, action),
            Command::Vanish { session } => Ok(self.vanish(|holder| holder == Holder::Session(*session))),
            Command::Recover { resume_by } => Ok(self.recover(*resume_by)),
            Command::TakeUp { session, leases } => Ok(self.take_up(*session, leases)),
            Command::Tick => Ok(self.tick()),
            Command::Edit { edit, ids, .. } => Ok(self.edit(edit, ids)),
            Command::Pause { queue, time, .. } => {
                let until = time.map_or(Time::NEVER, |time| Time(self.now + millis(time)));
                self.pause(queue, Some(until))
            }
            Command::Resume { queue } => self.pause(queue, None),
            Command::SetQueue { queue, set, unset, by } => self.set_queue(queue, set, unset, *by),
            Command::ResetCircuit { queue } => {
                self.must_exist(queue)?;
                if let Some(at) = self.queue(queue) {
                    self.queues[at].circuit = Circuit::default();
                }
                Ok(Outcome::Ok)
            }
            Command::Purge { queue } => {
                self.must_exist(queue)?;
                let before = self.jobs.len();
                self.jobs.retain(|(_, job)| job.spec.queue != *queue || !waits(job));
                Ok(Outcome::Purged { deleted: (before - self.jobs.len()) as u64, more: false })
            }
            #[allow(unreachable_patterns, reason = "commands that came later have tests of their own")]
            other => panic!("the model does not know {other:?}"),
        }
        .inspect(|_| {
            self.trim_dead(&dead);
            self.bury_the_forgotten();
            for (_, job) in &mut self.jobs {
                if job.state.kind() != StateKind::Scheduled {
                    job.signals.awaited = None;
                }
            }
            let queues = &self.queues;
            self.keys.retain(|(name, ..)| queues.iter().any(|queue| queue.name == *name));
        })
    }

    fn settle_with_result(&mut self, lease: LeaseId, verdict: &Verdict) -> Result<Outcome, Rejection> {
        let before = self.jobs.iter().position(|(id, _)| *id == lease.id.0);
        let settled = self.run(&Command::Settle { items: vec![(lease, verdict.clone())] })?;
        if settled == Outcome::Settled(vec![Ok(())])
            && let Some(job) = before.and_then(|_| self.known(lease.id)).map(|at| &mut self.jobs[at].1)
        {
            job.beside.1 = job.state.kind() == StateKind::Done;
        }
        Ok(settled)
    }

    fn tick(&mut self) -> Outcome {
        let mut ended = Vec::new();
        for at in 0..self.jobs.len() {
            let (now, job) = (Time(self.now), &mut self.jobs[at].1);
            match job.state {
                JobState::Leased(lease) if lease.until <= now => {
                    let timed_out = is_blameless(lease.holder) && !lease.cancelling;
                    job.handled.timeouts += u32::from(timed_out);
                    self.interrupt(at);
                    ended.push(at);
                }
                JobState::Scheduled { .. } | JobState::Ready if job.expires_at() <= now => {
                    self.totals(at).expired += 1;
                    self.end(at, JobState::Expired, |settings| settings.keep_done);
                    ended.push(at);
                }
                JobState::Scheduled { due } if due <= now => job.state = JobState::Ready,
                // A mark: what was kept long enough is forgotten when the command is over.
                JobState::Done(end)
                | JobState::Dead(end)
                | JobState::Cancelled(end)
                | JobState::Expired(end)
                    if end.keep_until <= now =>
                {
                    job.state = JobState::Dead(FORGOTTEN);
                }
                _ => {}
            }
        }
        self.trim(&ended);
        for queue in &mut self.queues {
            queue.paused_until = queue.paused_until.filter(|until| until.0 > self.now);
        }
        Outcome::Ok
    }

    /// Where a job is that is known and was not forgotten just now.
    fn known(&self, id: JobId) -> Option<usize> {
        self.jobs.iter().position(|(known, job)| *known == id.0 && job.state != JobState::Dead(FORGOTTEN))
    }

    fn must_exist(&self, name: &QueueName) -> Result<(), Rejection> {
        match self.queue(name).is_some() || self.settings.queues.contains_key(name) {
            true => Ok(()),
            false => Err(Rejection::NoSuchQueue { queue: name.clone() }),
        }
    }

    fn leased(&self, lease: LeaseId) -> Result<usize, LeaseRejection> {
        let LeaseId { id, attempt } = lease;
        let at = self.known(id).ok_or(LeaseRejection::NotFound { id })?;
        let job = &self.jobs[at].1;
        if job.state.kind() == StateKind::Leased && job.attempt == attempt {
            return Ok(at);
        }
        Err(LeaseRejection::LeaseLost { id, attempt, current: job.attempt, state: job.state.kind() })
    }

    fn going_on(&self, lease: LeaseId) -> Result<usize, LeaseRejection> {
        let at = self.leased(lease)?;
        let is_cancelling = matches!(self.jobs[at].1.state, JobState::Leased(held) if held.cancelling);
        if is_cancelling { Err(unwanted(lease)) } else { Ok(at) }
    }

    fn settings_of(&self, at: usize) -> &QueueSettings {
        self.settings.of(&self.jobs[at].1.spec.queue)
    }

    pub(super) fn queue(&self, name: &QueueName) -> Option<usize> {
        self.queues.iter().position(|queue| queue.name == *name)
    }

    fn row(&mut self, name: &QueueName) -> &mut QueueRow {
        let at = self.queue(name).unwrap_or_else(|| {
            let (totals, used) = (Totals::default(), Time(0));
            let (rate_used, overrides) = (RateUsed::default(), Overrides::default());
            let (name, maker, paused_until, circuit) = (name.clone(), None, None, Circuit::default());
            self.queues.push(QueueRow {
                name,
                paused_until,
                totals,
                maker,
                used,
                rate_used,
                overrides,
                circuit,
            });
            self.queues.len() - 1
        });
        &mut self.queues[at]
    }

    fn totals(&mut self, at: usize) -> &mut Totals {
        let name = self.jobs[at].1.spec.queue.clone();
        &mut self.row(&name).totals
    }
}

/// A job as the model has it: every part by itself.
#[derive(Clone, Debug)]
pub(super) struct Plain {
    pub(super) spec: Arc<Spec>,
    pub(super) submitted_at: Time,
    pub(super) begin_by: Time,
    pub(super) end_by: Time,
    pub(super) size: Size,
    pub(super) state: JobState,
    pub(super) attempt: Attempt,
    pub(super) started: Option<Time>,
    pub(super) worker: Option<Worker>,
    pub(super) failed: u32,
    pub(super) crashes: u32,
    pub(super) later: u32,
    pub(super) failures: Vec<Failure>,
    /// Whether it has a checkpoint, and a result.
    pub(super) beside: (bool, bool),
    pub(super) signals: Signals,
    pub(super) handled: HandlingCounts,
}

impl PartialEq<Plain> for Job {
    fn eq(&self, plain: &Plain) -> bool {
        let expiry = self.expiry();
        (&self.spec, self.submitted_at(), (expiry.begin_by, expiry.end_by), self.size())
            == (&plain.spec, plain.submitted_at, (plain.begin_by, plain.end_by), plain.size)
            && (self.state(), self.attempt()) == (plain.state, plain.attempt)
            && (self.started(), self.worker()) == (plain.started, plain.worker)
            && (self.failed(), self.crashes(), self.later()) == (plain.failed, plain.crashes, plain.later)
            && *self.failures() == *plain.failures
            && (self.has(Beside::Checkpoint), self.has(Beside::Result)) == plain.beside
            && self.handled() == plain.handled
            && (self.has(Beside::Signals), self.signals()) == (plain.signals.count > 0, plain.signals())
    }
}

impl Plain {
    /// When it expires if it waits until then.
    pub(super) fn expires_at(&self) -> Time {
        if self.has_begun() { self.end_by } else { self.begin_by.min(self.end_by) }
    }

    fn signals(&self) -> Option<&Signals> {
        (self.signals != Signals::default()).then_some(&self.signals)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.attempt.0 > 0
    }
}

/// Whether the leases of a holder end without blame.
pub(super) fn is_blameless(holder: Holder) -> bool {
    matches!(holder, Holder::Session(session) if session >> 61 == 1)
}

fn unwanted(LeaseId { id, attempt }: LeaseId) -> LeaseRejection {
    LeaseRejection::LeaseLost { id, attempt, current: attempt, state: StateKind::Cancelled }
}

fn waits(job: &Plain) -> bool {
    matches!(job.state, JobState::Scheduled { .. } | JobState::Ready)
}
