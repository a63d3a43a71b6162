//! How attempts end, the slow way, and what that makes of the job and of its queue's circuit.

use super::{Model, Plain, is_blameless, millis};
use crate::core::*;
use std::time::Duration;

impl Model {
    /// Whether a probe has not come to an end.
    pub(super) fn runs(&self, probe: Option<LeaseId>) -> bool {
        probe.is_some_and(|lease| self.leased(lease).is_ok())
    }

    /// What the end of an attempt makes of its queue's circuit.
    pub(super) fn attempt_ended(&mut self, at: usize, lease: LeaseId, before: Totals) {
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

    pub(super) fn end_lease(&mut self, at: usize, verdict: &Verdict) {
        match verdict {
            Verdict::Complete => {
                self.totals(at).completed += 1;
                self.end(at, JobState::Done, |settings| settings.keep_done);
                self.jobs[at].1.beside.0 = false;
                self.jobs[at].1.signals = Signals::default();
            }
            Verdict::Fail { error, exit, then } => {
                let (wait, attempts) = match then {
                    Then::Bury => (None, 0),
                    // It expires at once.
                    _ if self.jobs[at].1.end_by <= Time(self.now) => (Some(Duration::ZERO), u32::MAX),
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
                    ExitMeaning::Later => self.later(at, (&error, Some(*exit)), None),
                    ExitMeaning::Dead => {
                        self.end_lease(at, &Verdict::Fail { error, exit: Some(*exit), then: Then::Bury });
                    }
                }
            }
            Verdict::Later { error, wait } => self.later(at, (error, None), *wait),
            Verdict::Await { signal, timeout } => self.wait_for_signal(at, signal, *timeout),
            Verdict::Release { delay } if delay.is_zero() => self.come_back(at),
            Verdict::Release { delay } => {
                self.jobs[at].1.state = JobState::Scheduled { due: Time(self.now + millis(*delay)) };
                self.expire_if_over(at);
            }
        }
    }

    pub(super) fn checkpoint(&mut self, lease: LeaseId, extend: Option<Duration>) -> Outcome {
        let extended = self.going_on(lease).map(|at| {
            let usual = self.settings_of(at).lease;
            let job = &mut self.jobs[at].1;
            job.beside.0 = true;
            let most = job.end_by.plus(usual);
            let JobState::Leased(held) = &mut job.state else { unreachable!() };
            held.until = held.until.max(Time(self.now + millis(extend.unwrap_or(usual))).min(most));
            held.until
        });
        Outcome::Extended(vec![extended])
    }

    fn wait_for_signal(&mut self, at: usize, name: &SignalName, timeout: Duration) {
        let (now, job) = (self.now, &mut self.jobs[at].1);
        let signals = &mut job.signals;
        match signals.kept.iter().position(|kept| kept.name == *name) {
            Some(came) => {
                signals.taken = Some(signals.kept.remove(came));
                job.state = JobState::Ready;
            }
            None => {
                (signals.taken, signals.awaited) = (None, Some(name.clone()));
                job.state = JobState::Scheduled { due: Time(now + millis(timeout)) };
            }
        }
        self.expire_if_over(at);
    }

    pub(super) fn signal(&mut self, id: JobId, name: &SignalName) -> Result<Outcome, Rejection> {
        let at = self.known(id).ok_or(SignalRejection::NotFound { id })?;
        let job = &mut self.jobs[at].1;
        if !matches!(job.state, JobState::Scheduled { .. } | JobState::Ready | JobState::Leased(_)) {
            return Err(SignalRejection::Ended { id, state: job.state.kind() }.into());
        }
        let signals = &mut job.signals;
        let signal = Signal { name: name.clone(), no: signals.count + 1 };
        if signals.awaited.as_ref() == Some(name) {
            (signals.awaited, signals.taken, job.state) = (None, Some(signal), JobState::Ready);
        } else {
            let mut kept = signals.kept.clone();
            kept.retain(|kept| kept.name != *name);
            kept.push(signal);
            if kept.len() > Signals::KEPT_MAX {
                return Err(SignalRejection::TooMany { id, limit: Signals::KEPT_MAX }.into());
            }
            signals.kept = kept;
        }
        signals.count += 1;
        Ok(Outcome::Ok)
    }

    /// Ends a job that is leased and was cancelled. Whether it was.
    pub(super) fn end_if_cancelling(&mut self, at: usize) -> bool {
        let is_cancelling = matches!(self.jobs[at].1.state, JobState::Leased(held) if held.cancelling);
        if is_cancelling {
            self.totals(at).cancelled += 1;
            self.end(at, JobState::Cancelled, |settings| settings.keep_done);
        }
        is_cancelling
    }

    fn come_back(&mut self, at: usize) {
        if self.end_if_cancelling(at) {
            return;
        }
        self.jobs[at].1.state = JobState::Ready;
        self.expire_if_over(at);
    }

    fn expire_if_over(&mut self, at: usize) {
        if self.jobs[at].1.end_by <= Time(self.now) {
            self.totals(at).expired += 1;
            self.end(at, JobState::Expired, |settings| settings.keep_done);
        }
    }

    pub(super) fn attempts(&self, at: usize) -> u32 {
        self.jobs[at].1.spec.attempts.unwrap_or(self.settings_of(at).attempts)
    }

    pub(super) fn fail(
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

    pub(super) fn later(&mut self, at: usize, (error, exit): (&str, Option<Exit>), wait: Option<Duration>) {
        let (max, later) = (self.settings_of(at).later_max, self.jobs[at].1.later + 1);
        if later > max {
            let error = format!(
                "its workers have said `again later` {later} times, more than later_max = {max}; the last time: {error}"
            );
            return self.fail(at, (&error, exit), None, 0);
        }
        let backoff = self.jobs[at].1.spec.backoff.unwrap_or(self.settings_of(at).backoff);
        let (now, job) = (self.now, &mut self.jobs[at].1);
        job.later = later;
        remember(job, now, error, exit);
        job.state = JobState::Scheduled { due: Time(now + wait.map_or(grown(backoff, later), millis)) };
    }

    pub(super) fn vanish(&mut self, gone: impl Fn(Holder) -> bool) -> Outcome {
        let mut interrupted = Vec::new();
        for at in 0..self.jobs.len() {
            let JobState::Leased(lease) = self.jobs[at].1.state else { continue };
            if gone(lease.holder) {
                self.interrupt(at);
                interrupted.push(at);
            }
        }
        self.trim(&interrupted);
        Outcome::Ok
    }

    pub(super) fn recover(&mut self, resume_by: Time) -> Outcome {
        let outcome = self.vanish(|holder| matches!(holder, Holder::Session(session) if session < 1 << 63));
        for at in 0..self.jobs.len() {
            let most = self.jobs[at].1.end_by.plus(self.settings_of(at).lease);
            if let JobState::Leased(Lease { holder: Holder::Session(_), until, .. }) =
                &mut self.jobs[at].1.state
            {
                *until = (*until).max(resume_by.min(most));
            }
        }
        outcome
    }

    pub(super) fn take_up(&mut self, session: u64, leases: &[LeaseId]) -> Outcome {
        let is_its = |model: &Model, at: usize| matches!(model.jobs[at].1.state, JobState::Leased(lease) if lease.holder == Holder::Session(session));
        let results = leases.iter().map(|lease| {
            let at = self.leased(*lease)?;
            let (LeaseId { id, attempt }, current) = (*lease, self.jobs[at].1.attempt);
            let lost = LeaseRejection::LeaseLost { id, attempt, current, state: StateKind::Leased };
            is_its(self, at).then_some(()).ok_or(lost)
        });
        let results = results.collect();
        let mut back = Vec::new();
        for at in 0..self.jobs.len() {
            let lease = LeaseId { id: JobId(self.jobs[at].0), attempt: self.jobs[at].1.attempt };
            if is_its(self, at) && !leases.contains(&lease) {
                self.come_back(at);
                back.push(at);
            }
        }
        self.trim(&back);
        Outcome::TakenUp(results)
    }

    pub(super) fn interrupt(&mut self, at: usize) {
        if self.end_if_cancelling(at) {
            return;
        }
        if matches!(self.jobs[at].1.state, JobState::Leased(lease) if is_blameless(lease.holder)) {
            return self.come_back(at);
        }
        let crashes = self.jobs[at].1.crashes + 1;
        if crashes < self.settings_of(at).crashes {
            self.jobs[at].1.crashes = crashes;
            return self.come_back(at);
        }
        let error = format!(
            "its worker vanished, or let its lease end without an answer, {crashes} times in all: the job may be the \
             cause"
        );
        self.fail(at, (&error, None), None, 0);
    }
}

pub(super) fn probe_wait(settings: CircuitSettings, probes: u32) -> u64 {
    millis(settings.probe) * [1, 2, 4, 8, 16][probes.min(4) as usize]
}

pub(super) fn grown(backoff: Backoff, nth: u32) -> u64 {
    let factor = match backoff.growth {
        Growth::Fixed => 1,
        Growth::Linear => u64::from(nth),
        Growth::Exponential => 2u64.pow(nth - 1),
    };
    (millis(backoff.base) * factor).min(millis(backoff.max))
}

pub(super) fn remember(job: &mut Plain, at: u64, error: &str, exit: Option<Exit>) {
    job.failures.push(Failure {
        attempt: job.attempt,
        since: job.started,
        at: Time(at),
        error: error.into(),
        exit,
        worker: job.worker,
    });
    if job.failures.len() > 3 {
        job.failures.remove(0);
    }
}
