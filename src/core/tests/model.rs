//! The naive model: a plain list of jobs, searched from the front each time, with no ranges, no indexes and no
//! events. It knows the commands and outcomes of the core and the words for a job, and nothing else of it.

mod edits;
mod overrides;
mod room;
mod unique;

use crate::core::weights::pick;
use crate::core::*;
use std::sync::Arc;
use std::time::Duration;

/// What the core promises to be, written the slow way.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) jobs: Vec<(u64, Plain)>,
    pub(super) queues: Vec<QueueRow>,
    pub(super) submitted: u64,
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

fn probe_wait(settings: CircuitSettings, probes: u32) -> u64 {
    millis(settings.probe) * [1, 2, 4, 8, 16][probes.min(4) as usize]
}

impl Model {
    pub(super) fn run(&mut self, command: &Command) -> Result<Outcome, Rejection> {
        let dead: Vec<u64> = self.jobs.iter().filter(|(_, job)| is_dead(job)).map(|(id, _)| *id).collect();
        match command {
            Command::Submit { groups } => self.submit(groups),
            Command::Claim(claim) => self.claim(claim),
            Command::Settle { items } => {
                // Each is judged by itself; a lease that an earlier item ended is lost.
                let mut settled = Vec::new();
                let results = items.iter().map(|(lease, verdict)| {
                    let job = self.leased(*lease)?;
                    settled.push(job);
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
                    let at = self.leased(*item)?;
                    let lease = lease.unwrap_or(self.settings_of(at).lease);
                    let end = Time(self.now + millis(lease));
                    let JobState::Leased(held) = &mut self.jobs[at].1.state else { unreachable!() };
                    held.until = end;
                    Ok(end)
                });
                Ok(Outcome::Extended(results.collect()))
            }
            Command::Vanish { session } => Ok(self.vanish(|holder| holder == Holder::Session(*session))),
            Command::Recover => Ok(self.vanish(|holder| holder != Holder::Anyone)),
            Command::Tick => Ok(self.tick()),
            Command::Edit { edit, ids, .. } => Ok(self.edit(edit, ids)),
            Command::Pause { queue } => self.pause(queue, true),
            Command::Resume { queue } => self.pause(queue, false),
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
        })
    }

    fn submit(&mut self, groups: &[Group]) -> Result<Outcome, Rejection> {
        if self.draining && !self.accept {
            return Err(Rejection::Draining);
        }
        let groups: Vec<_> = groups.iter().filter(|group| group.count > 0).collect();
        let count: u64 = groups.iter().map(|group| group.count).sum();
        if count == 0 {
            return Err(Rejection::NothingToSubmit);
        }
        let unique = groups.iter().any(|group| group.spec.unique.is_some());
        let new = self.new_ones(&groups)?;
        let mut names: Vec<_> =
            new.iter().filter(|(_, count)| *count > 0).map(|(group, _)| &group.spec.queue).collect();
        names.sort();
        names.dedup();
        let mut left = self.room(&names, &new)?;
        self.make_room(&names)?;
        let first = self.submitted + 1;
        let mut receipts = Vec::new();
        for group in &groups {
            for _ in 0..group.count {
                receipts.push(match self.holder(group) {
                    Some(at) => self.conflict(group, at),
                    None if self.take(group, &mut left) => self.arrive(group),
                    None => Receipt::New(JobId(self.submitted)),
                });
            }
        }
        let over = std::mem::take(&mut left.over);
        over.iter().for_each(|name| self.let_old_go(name));
        if unique {
            return Ok(Outcome::Received(receipts));
        }
        Ok(Outcome::Submitted(IdRange { first: JobId(first), len: count }))
    }

    /// Makes room for those of these queues that are new.
    fn make_room(&mut self, names: &[&QueueName]) -> Result<(), Rejection> {
        let new = names.iter().filter(|name| self.queue(name).is_none()).count();
        let limit = self.settings.queues_max;
        let over = if new > 0 { (self.queues.len() + new).saturating_sub(limit) } else { 0 };
        let empty = |row: &&QueueRow| {
            let has_jobs = self.jobs.iter().any(|(_, job)| job.spec.queue == row.name);
            let spared = row.paused || self.settings.queues.contains_key(&row.name);
            !has_jobs && !spared && !names.contains(&&row.name)
        };
        let mut idle: Vec<_> =
            self.queues.iter().filter(empty).map(|row| (row.used, row.name.clone())).collect();
        idle.sort();
        if idle.len() < over {
            return Err(Rejection::TooManyQueues { limit });
        }
        self.queues.retain(|row| idle[..over].iter().all(|(_, name)| *name != row.name));
        Ok(())
    }

    fn arrive(&mut self, group: &Group) -> Receipt {
        let due = self.starts(group);
        self.submitted += 1;
        let second = Time(self.now / 1000 * 1000);
        let is_new = self.queue(&group.spec.queue).is_none();
        let row = self.row(&group.spec.queue);
        row.totals.submitted += 1;
        row.used = second;
        if is_new {
            row.maker = Some(0);
        }
        let state = if due > self.now { JobState::Scheduled { due: Time(due) } } else { JobState::Ready };
        let job = Plain {
            spec: group.spec.clone(),
            submitted_at: Time(self.now / 1000 * 1000),
            expires_at: group.ttl.map_or(Time::NEVER, |ttl| Time(self.now + millis(ttl))),
            size: group.size,
            state,
            attempt: Attempt(0),
            started: None,
            failed: 0,
            crashes: 0,
            later: 0,
            failures: Vec::new(),
        };
        self.jobs.push((self.submitted, job));
        Receipt::New(JobId(self.submitted))
    }

    fn starts(&self, group: &Group) -> u64 {
        match group.start {
            Start::Now => 0,
            Start::After(delay) => self.now + millis(delay),
            Start::At(time) => time.0,
        }
    }

    fn claim(&mut self, claim: &Claim) -> Result<Outcome, Rejection> {
        if self.draining {
            return Err(Rejection::Draining);
        }
        let mut grants = Vec::new();
        let mut queues: Vec<_> = claim.queues.iter().collect();
        let weight = |model: &Model, name: &QueueName| model.settings.of(name).weight;
        let is_weighted = queues.iter().any(|name| weight(self, name).is_some());
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
    fn lease_one(&mut self, name: &QueueName, claim: &Claim, grants: &mut Vec<Grant>) -> bool {
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
        self.row(name).totals.claimed += 1;
        let (id, now, job) = (self.jobs[at].0, self.now, &mut self.jobs[at].1);
        job.attempt.0 += 1;
        job.started = Some(Time(now));
        job.state = JobState::Leased(Lease { holder: claim.holder, since: Time(now), until });
        if let Some((circuit, mut open)) = circuit {
            open.probe = Some(LeaseId { id: JobId(id), attempt: job.attempt });
            open.next = Time(now + probe_wait(circuit, open.probes));
            self.row(name).circuit.open = Some(open);
        }
        let job = &mut self.jobs[at].1;
        grants.push(Grant {
            id: JobId(id),
            spec: job.spec.clone(),
            attempt: job.attempt,
            attempts: job.spec.attempts.unwrap_or(settings.attempts),
            timeout: match job.spec.timeout {
                Some(Duration::ZERO) => None,
                Some(timeout) => Some(timeout),
                None => settings.timeout,
            },
            until,
        });
        true
    }

    /// Whether a probe has not come to an end.
    fn runs(&self, probe: Option<LeaseId>) -> bool {
        probe.is_some_and(|lease| self.leased(lease).is_ok())
    }

    /// What the end of an attempt makes of its queue's circuit.
    fn attempt_ended(&mut self, at: usize, lease: LeaseId, before: Totals) {
        let Some(settings) = self.settings_of(at).circuit() else { return };
        let (now, after) = (self.now, *self.totals(at));
        let queue = self.jobs[at].1.spec.queue.clone();
        let circuit = &mut self.row(&queue).circuit;
        let counts = circuit.open.is_none_or(|open| open.probe == Some(lease));
        if after.completed > before.completed && counts {
            *circuit = Circuit::default();
        }
        if after.failed > before.failed && counts {
            circuit.failed += 1;
            let probes = circuit.open.map(|open| open.probes + 1);
            if probes.is_some() || circuit.failed >= settings.failures {
                let since = circuit.open.map_or(Time(now), |open| open.since);
                let probes = probes.unwrap_or(0);
                let next = Time(now + probe_wait(settings, probes));
                circuit.open = Some(OpenCircuit { since, probes, next, probe: None });
            }
        }
    }

    fn end_lease(&mut self, at: usize, verdict: &Verdict) {
        match verdict {
            Verdict::Complete => {
                self.totals(at).completed += 1;
                self.end(at, JobState::Done, |settings| settings.keep_done);
            }
            Verdict::Fail { error, exit, then } => {
                let (wait, attempts) = match then {
                    Then::Bury => (None, 0),
                    Then::Backoff => (None, self.attempts(at)),
                    Then::RetryAfter(wait) => (Some(*wait), self.attempts(at)),
                };
                self.fail(at, (error, *exit), wait, attempts);
            }
            Verdict::Exited { error, exit } => {
                let error = error.clone();
                match self.settings_of(at).on_exit.of(*exit) {
                    ExitMeaning::Done => self.end_lease(at, &Verdict::Complete),
                    ExitMeaning::Failed => {
                        self.end_lease(at, &Verdict::Fail { error, exit: Some(*exit), then: Then::Backoff });
                    }
                    ExitMeaning::Later => self.later(at, (&error, Some(*exit))),
                    ExitMeaning::Dead => {
                        self.end_lease(at, &Verdict::Fail { error, exit: Some(*exit), then: Then::Bury });
                    }
                }
            }
            Verdict::Later { error } => self.later(at, (error, None)),
            Verdict::Release { delay } if delay.is_zero() => self.jobs[at].1.state = JobState::Ready,
            Verdict::Release { delay } => {
                self.jobs[at].1.state = JobState::Scheduled { due: Time(self.now + millis(*delay)) };
            }
        }
    }

    fn attempts(&self, at: usize) -> u32 {
        self.jobs[at].1.spec.attempts.unwrap_or(self.settings_of(at).attempts)
    }

    fn fail(
        &mut self,
        at: usize,
        (error, exit): (&str, Option<Exit>),
        wait: Option<Duration>,
        attempts: u32,
    ) {
        self.totals(at).failed += 1;
        let backoff = self.jobs[at].1.spec.backoff.unwrap_or(self.settings_of(at).backoff);
        let (now, job) = (self.now, &mut self.jobs[at].1);
        job.failed += 1;
        remember(job, now, error, exit);
        if job.failed >= attempts {
            self.totals(at).died += 1;
            return self.end(at, JobState::Dead, |settings| settings.keep_dead);
        }
        let grown = grown(backoff, job.failed);
        job.state = JobState::Scheduled { due: Time(now + wait.map_or(grown, millis)) };
    }

    fn later(&mut self, at: usize, (error, exit): (&str, Option<Exit>)) {
        let (max, later) = (self.settings_of(at).later_max, self.jobs[at].1.later + 1);
        if later > max {
            let error = format!(
                "put off too often: it was to come again later {later} times (later_max = {max}), at last because: {error}"
            );
            return self.fail(at, (&error, exit), None, 0);
        }
        let backoff = self.jobs[at].1.spec.backoff.unwrap_or(self.settings_of(at).backoff);
        let (now, job) = (self.now, &mut self.jobs[at].1);
        job.later = later;
        remember(job, now, error, exit);
        job.state = JobState::Scheduled { due: Time(now + grown(backoff, later)) };
    }

    fn vanish(&mut self, gone: impl Fn(Holder) -> bool) -> Outcome {
        for at in 0..self.jobs.len() {
            let JobState::Leased(lease) = self.jobs[at].1.state else { continue };
            if gone(lease.holder) {
                self.interrupt(at);
            }
        }
        Outcome::Ok
    }

    fn interrupt(&mut self, at: usize) {
        let crashes = self.jobs[at].1.crashes + 1;
        if crashes < self.settings_of(at).crashes {
            return (self.jobs[at].1.crashes, self.jobs[at].1.state) = (crashes, JobState::Ready);
        }
        let error = format!(
            "its worker vanished, or let its lease end without an answer, {crashes} times in all: the job may be the \
             cause"
        );
        self.fail(at, (&error, None), None, 0);
    }

    fn tick(&mut self) -> Outcome {
        let mut expired = Vec::new();
        for at in 0..self.jobs.len() {
            let (now, job) = (Time(self.now), &mut self.jobs[at].1);
            match job.state {
                JobState::Leased(lease) if lease.until <= now => self.interrupt(at),
                JobState::Scheduled { .. } | JobState::Ready if job.expires_at <= now => {
                    self.totals(at).expired += 1;
                    self.end(at, JobState::Expired, |settings| settings.keep_done);
                    expired.push(at);
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
        self.trim(&expired);
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

    /// The job at this place has ended. A forgotten one keeps its place until the command is over.
    fn end(&mut self, at: usize, state: fn(Final) -> JobState, keep: fn(&QueueSettings) -> Keep) {
        let own = unique::kept_for(&self.jobs[at].1).map(|time| Time(self.now + millis(time)));
        let keep_until = match (keep(self.settings_of(at)), own) {
            (Keep::No, None) => return self.jobs[at].1.state = JobState::Dead(FORGOTTEN),
            (Keep::No, Some(own)) => own,
            (Keep::For(time), own) => own.unwrap_or(Time(0)).max(Time(self.now + millis(time))),
            (Keep::Forever, _) => Time::NEVER,
        };
        self.jobs[at].1.state = state(Final { at: Time(self.now), keep_until });
    }

    /// Where one of these jobs has come to be kept, the oldest kept ones of its queue give way.
    fn trim(&mut self, ended: &[usize]) {
        for at in ended {
            let is_kept = |job: &Plain| {
                unique::kept_for(job).is_none()
                    && matches!(job.state, JobState::Done(_) | JobState::Cancelled(_) | JobState::Expired(_))
            };
            let name = self.jobs[*at].1.spec.queue.clone();
            let max = self.settings.of(&name).keep_done_max as usize;
            let mut kept: Vec<_> = (0..self.jobs.len())
                .filter(|at| self.jobs[*at].1.spec.queue == name && is_kept(&self.jobs[*at].1))
                .collect();
            kept.sort_by_key(|at| (self.jobs[*at].1.state.ended().unwrap().at, self.jobs[*at].0));
            if is_kept(&self.jobs[*at].1) && kept.len() > max {
                for at in &kept[..kept.len() - max] {
                    self.jobs[*at].1.state = JobState::Dead(FORGOTTEN);
                }
            }
        }
    }

    /// In each queue in which jobs are dead that were not before, those that were submitted first give way.
    fn trim_dead(&mut self, before: &[u64]) {
        let new = self.jobs.iter().filter(|(id, job)| is_dead(job) && !holds_on(job) && !before.contains(id));
        let names: Vec<QueueName> = new.map(|(_, job)| job.spec.queue.clone()).collect();
        for name in names {
            let Some(most) = self.settings.of(&name).keep_dead_max else { continue };
            let dead = self.jobs.iter_mut().filter(|(_, job)| job.spec.queue == name && is_dead(job));
            let dead: Vec<_> = dead.collect();
            let over = dead.len().saturating_sub(most as usize);
            let go = dead.into_iter().filter(|(_, job)| !holds_on(job)).take(over);
            go.for_each(|(_, job)| job.state = JobState::Dead(FORGOTTEN));
        }
    }

    fn bury_the_forgotten(&mut self) {
        self.jobs.retain(|(_, job)| job.state != JobState::Dead(FORGOTTEN));
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
            let (name, maker, paused, circuit) = (name.clone(), None, false, Circuit::default());
            self.queues.push(QueueRow { name, paused, totals, maker, used, rate_used, overrides, circuit });
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
    pub(super) expires_at: Time,
    pub(super) size: Size,
    pub(super) state: JobState,
    pub(super) attempt: Attempt,
    pub(super) started: Option<Time>,
    pub(super) failed: u32,
    pub(super) crashes: u32,
    pub(super) later: u32,
    pub(super) failures: Vec<Failure>,
}

impl PartialEq<Plain> for Job {
    fn eq(&self, plain: &Plain) -> bool {
        (&self.spec, self.submitted_at(), self.expires_at(), self.size())
            == (&plain.spec, plain.submitted_at, plain.expires_at, plain.size)
            && (self.state(), self.attempt(), self.started()) == (plain.state, plain.attempt, plain.started)
            && (self.failed(), self.crashes(), self.later()) == (plain.failed, plain.crashes, plain.later)
            && *self.failures() == *plain.failures
    }
}

/// Marks a job that is gone when the command is over.
const FORGOTTEN: Final = Final { at: Time(0), keep_until: Time(0) };

fn grown(backoff: Backoff, nth: u32) -> u64 {
    let factor = match backoff.growth {
        Growth::Fixed => 1,
        Growth::Linear => u64::from(nth),
        Growth::Exponential => 2u64.pow(nth - 1),
    };
    (millis(backoff.base) * factor).min(millis(backoff.max))
}

fn remember(job: &mut Plain, at: u64, error: &str, exit: Option<Exit>) {
    job.failures.push(Failure {
        attempt: job.attempt,
        since: job.started,
        at: Time(at),
        error: error.into(),
        exit,
    });
    if job.failures.len() > 3 {
        job.failures.remove(0);
    }
}

fn is_dead(job: &Plain) -> bool {
    job.state.kind() == StateKind::Dead && job.state != JobState::Dead(FORGOTTEN)
}

fn holds_on(job: &Plain) -> bool {
    job.spec.unique.is_some() && matches!(job.spec.unique_while, UniqueWhile::Kept(_))
}

fn waits(job: &Plain) -> bool {
    matches!(job.state, JobState::Scheduled { .. } | JobState::Ready)
}
