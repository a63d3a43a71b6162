//! Decides what happens with leases: settle, extend, and their end when the holder vanishes. How they begin is in `claim`.

use super::cancel::answer_to;
use super::{Decision, cut};
use crate::core::change::Recorder;
use crate::core::circuit::CircuitSettings;
use crate::core::command::{LeaseId, Outcome, Then, Verdict};
use crate::core::event::{AfterFailure, Event, RowEvent};
use crate::core::exits::ExitMeaning;
use crate::core::ids::{IdRange, Ids, JobId, first};
use crate::core::job::{Beside, Exit, Handling, Holder, Job, State as JobState};
use crate::core::rejection::LeaseRejection;
use crate::core::settings::QueueSettings;
use smallvec::SmallVec;
use std::time::Duration;

/// How many leases of a connection that has closed end in one step.
const VANISHED_AT_ONCE: u64 = 200;

/// What the end of leases comes to.
struct Judged {
    /// For so many items.
    together: usize,
    event: Event,
    /// What it makes of their queue's circuit.
    circuit: Option<RowEvent>,
    /// What was stored beside the jobs and is of no more use.
    outlived: SmallVec<[Beside; 2]>,
}

impl Judged {
    /// Whether nothing comes of it but the event.
    fn is_all(&self) -> bool {
        self.circuit.is_none() && self.outlived.is_empty()
    }
}

impl<R: Recorder> Decision<'_, R> {
    /// The job under a lease, if the lease is in force; and the jobs behind it whose leases are the same.
    pub(super) fn leased(&self, lease: LeaseId) -> Result<(IdRange, &Job), LeaseRejection> {
        self.in_force(lease, self.state().jobs.from(lease.id))
    }

    /// The same where the job was looked up, and those behind it that are like it.
    fn in_force<'a>(
        &self,
        lease: LeaseId,
        found: Option<(IdRange, &'a Job)>,
    ) -> Result<(IdRange, &'a Job), LeaseRejection> {
        let LeaseId { id, attempt } = lease;
        let found = found.filter(|(_, job)| self.visibility.sees(&job.spec));
        let (range, job) = found.ok_or(LeaseRejection::NotFound { id })?;
        if job.attempt() == attempt && matches!(job.state(), JobState::Leased(_)) {
            return Ok((range, job));
        }
        Err(LeaseRejection::LeaseLost { id, attempt, current: job.attempt(), state: job.kind() })
    }

    /// Each is judged by itself, after those before it.
    pub(super) fn settle(&mut self, items: &[(LeaseId, Verdict)]) -> Outcome {
        let (mut results, mut rest) = (Vec::with_capacity(items.len()), items);
        let mut next = None;
        while let Some((first, verdict)) = rest.first() {
            let judged = next.take().unwrap_or_else(|| self.judged(rest, self.state().jobs.from(first.id)));
            let judged = judged.map(|mut judged| {
                next = self.take_those_behind(&mut judged, rest);
                judged
            });
            let together = match judged {
                Ok(Judged { together, event, circuit, outlived }) => {
                    for what in outlived {
                        let jobs = IdRange::new(first.id, together as u64).into();
                        self.emit(Event::Detached { jobs, what });
                    }
                    let is_cancelled = matches!(event, Event::Cancelled { .. });
                    self.emit(event);
                    if matches!(verdict, Verdict::Release { .. } | Verdict::Await { .. }) {
                        self.expire_what_is_over(&first.id.into());
                    }
                    if let Some(circuit) = circuit {
                        self.emit(circuit);
                    }
                    let these = rest[..together].iter();
                    results.extend(these.map(|(lease, verdict)| match is_cancelled {
                        true => answer_to(*lease, verdict),
                        false => Ok(()),
                    }));
                    together
                }
                Err(rejection) => {
                    results.push(Err(rejection));
                    1
                }
            };
            rest = &rest[together..];
        }
        Outcome::Settled(results)
    }

    /// What the first of these items comes to, whose job was looked up, with those behind it that are of jobs which are alike.
    fn judged(
        &self,
        items: &[(LeaseId, Verdict)],
        found: Option<(IdRange, &Job)>,
    ) -> Result<Judged, LeaseRejection> {
        let (first, verdict) = &items[0];
        let (range, job) = self.in_force(*first, found)?;
        let together = match verdict {
            Verdict::Complete => completed_together(items, range),
            Verdict::Fail { .. }
            | Verdict::Exited { .. }
            | Verdict::Later { .. }
            | Verdict::Await { .. }
            | Verdict::Release { .. } => 1,
        };
        let (settings, jobs) = (self.settings_of(job), IdRange::new(first.id, together as u64));
        let event = self.settled(jobs, job, settings, verdict);
        let outlived = Self::outlived(job, &event).collect();
        let circuit = settings.circuit().and_then(|circuit| self.circuit_after(circuit, job, jobs, &event));
        Ok(Judged { together, event, circuit, outlived })
    }

    /// Jobs that are completed in the order of their ids are completed at once, be they alike or not, where each comes to the same and
    /// to nothing else: so none of them may be there twice. Returns what the first one comes to that is not one of them, if it was
    /// looked at: what has happened till then does not touch it.
    fn take_those_behind(
        &self,
        judged: &mut Judged,
        items: &[(LeaseId, Verdict)],
    ) -> Option<Result<Judged, LeaseRejection>> {
        let mut following = None;
        while judged.is_all()
            && let Some((next, Verdict::Complete)) = items.get(judged.together)
            && let before = items[judged.together - 1].0.id
            && before < next.id
        {
            let look_up = following.get_or_insert_with(|| self.state().jobs.following(before));
            match self.judged(&items[judged.together..], look_up(next.id)) {
                Ok(more) if more.is_all() && judged.event.join(&more.event) => {
                    judged.together += more.together
                }
                other => return Some(other),
            }
        }
        None
    }

    /// What a verdict comes to for jobs whose leases are the same; for one of them, unless they are completed.
    pub(super) fn settled(
        &self,
        jobs: IdRange,
        job: &Job,
        settings: &QueueSettings,
        verdict: &Verdict,
    ) -> Event {
        if job.is_being_cancelled() {
            return self.end_cancelled(jobs.into(), job);
        }
        let id = jobs.first;
        let done = |keep| Event::Completed { jobs: jobs.into(), end: self.ending(job, keep) };
        match verdict {
            Verdict::Complete => done(settings.keep_done),
            Verdict::Fail { error, exit, then } => self.failed(id, job, (error, *exit), *then),
            Verdict::Exited { error, exit } => {
                let why = (&**error, Some(*exit));
                match settings.on_exit.of(*exit) {
                    ExitMeaning::Done => done(settings.keep_done),
                    ExitMeaning::Failed => self.failed(id, job, why, Then::Backoff),
                    ExitMeaning::Later => self.later(id, job, why, None),
                    ExitMeaning::Dead => self.failed(id, job, why, Then::Bury),
                }
            }
            Verdict::Later { error, wait } => self.later(id, job, (error, None), *wait),
            Verdict::Await { signal, timeout } => {
                let due = self.moment.now.plus(*timeout);
                Event::Awaits { job: id.into(), signal: signal.clone(), due }
            }
            Verdict::Release { delay } => {
                let due = (!delay.is_zero()).then(|| self.moment.now.plus(*delay));
                Event::Released { jobs: id.into(), due }
            }
        }
    }

    /// What the end of these attempts makes of their queue's circuit, if anything.
    fn circuit_after(
        &self,
        settings: CircuitSettings,
        job: &Job,
        jobs: IdRange,
        event: &Event,
    ) -> Option<RowEvent> {
        let name = &job.spec.queue;
        let known = self.state().queue(name)?.circuit();
        let lease = LeaseId { id: jobs.first, attempt: job.attempt() };
        let circuit = match event {
            Event::Completed { .. } => settings.succeeded(known, jobs, lease.attempt),
            Event::Failed { .. } => settings.failed(known, lease, self.moment.now),
            _ => known,
        };
        (circuit != known).then(|| RowEvent::CircuitChanged { queue: name.clone(), circuit })
    }

    fn failed(&self, id: JobId, job: &Job, (error, exit): (&str, Option<Exit>), then: Then) -> Event {
        let next = match then {
            Then::Backoff => self.after_failure(id, job, None),
            Then::RetryAfter(wait) => self.after_failure(id, job, Some(wait)),
            Then::Bury => AfterFailure::Dead(self.ending(job, self.settings_of(job).keep_dead)),
        };
        Event::Failed { job: id.into(), at: self.moment.now, error: cut(error), exit, next }
    }

    /// Not now: again after a wait, which grows with each such answer unless it is given, but not without end.
    fn later(
        &self,
        id: JobId,
        job: &Job,
        (error, exit): (&str, Option<Exit>),
        wait: Option<Duration>,
    ) -> Event {
        let (settings, at) = (self.settings_of(job), self.moment.now);
        let later = job.later().saturating_add(1);
        if later > settings.later_max {
            let error = format!(
                "its workers have said `again later` {later} times, more than later_max = {}; the last time: {error}",
                settings.later_max
            );
            return self.failed(id, job, (&error, exit), Then::Bury);
        }
        let backoff = job.spec.backoff.unwrap_or(settings.backoff);
        let due = at.plus(wait.unwrap_or_else(|| backoff.wait(later, self.moment.luck_for(id))));
        Event::Deferred { job: id.into(), at, error: cut(error), exit, due }
    }

    pub(super) fn extend(&mut self, items: &[LeaseId], lease: Option<Duration>) -> Outcome {
        let extended = items.iter().map(|item| {
            let (_, job) = self.going_on(*item)?;
            let usual = self.settings_of(job).lease;
            let until = self.moment.now.plus(lease.unwrap_or(usual)).min(job.expiry().end_by.plus(usual));
            self.emit(Event::Extended { jobs: item.id.into(), until });
            Ok(until)
        });
        Outcome::Extended(extended.collect())
    }

    /// A connection is gone, and with it the holder of the first of its jobs.
    pub(super) fn vanish(&mut self, session: u64) -> Outcome {
        let jobs = first(self.state().held.of(session), VANISHED_AT_ONCE);
        self.interrupt(&jobs, false);
        Outcome::Ok
    }

    fn held(&self) -> Ids {
        let mut jobs = Ids::new();
        self.state().held.iter().for_each(|(_, range)| jobs.push_range(range));
        jobs
    }

    /// The holder of these jobs is gone, or does not say a word (`by_time`). They are ready again at once; one under which holders
    /// vanish again and again may be the cause, and is dead in the end.
    pub(super) fn interrupt(&mut self, jobs: &Ids, by_time: bool) {
        let jobs = &self.end_all_cancelled(jobs);
        let (mut back, mut deaths, mut blameless) = (Ids::new(), Vec::new(), Ids::new());
        for (part, job) in jobs.ranges().iter().flat_map(|range| self.state().iter(*range)) {
            if job.session().is_some_and(Holder::is_blameless) {
                blameless.push_range(part);
                continue;
            }
            let crashes = job.crashes().saturating_add(1);
            if crashes < self.settings_of(job).crashes {
                back.push_range(part);
                continue;
            }
            let error = format!(
                "its worker vanished, or let its lease end without an answer, {crashes} times in all: the job may be \
                 the cause"
            );
            deaths.extend(part.iter().map(|id| self.failed(id, job, (&error, None), Then::Bury)));
        }
        deaths.into_iter().for_each(|death| self.emit(death));
        if !back.is_empty() {
            self.emit(Event::Interrupted { jobs: back.clone() });
            self.expire_what_is_over(&back);
        }
        if !blameless.is_empty() {
            self.emit(Event::Released { jobs: blameless.clone(), due: None });
            if by_time {
                self.emit(Event::Counted { jobs: blameless.clone(), what: Handling::TimedOut });
            }
            self.expire_what_is_over(&blameless);
        }
    }

    /// Something was done with jobs.
    pub(super) fn count(&mut self, ids: &[JobId], what: Handling) -> Outcome {
        for id in ids {
            if !self.state().contains(*id) {
                continue;
            }
            // As many as none of them has: within a moment they are told apart by that.
            let no = self.core.counted + 1;
            let what = match what {
                Handling::Delayed { seconds, .. } => Handling::Delayed { seconds, no },
                Handling::Buried { .. } => Handling::Buried { no },
                other => other,
            };
            self.core.counted = no;
            self.emit(Event::Counted { jobs: (*id).into(), what });
        }
        Outcome::Ok
    }

    /// Gives back what connections hold, without blame.
    pub(super) fn evict(&mut self) -> Outcome {
        let jobs = self.end_all_cancelled(&self.held());
        if !jobs.is_empty() {
            self.emit(Event::Released { jobs, due: None });
        }
        Outcome::Ok
    }
}

/// How many of these items, from the first on, complete one job after the other of a range whose leases are the same.
fn completed_together(items: &[(LeaseId, Verdict)], range: IdRange) -> usize {
    let attempt = items[0].0.attempt;
    let fits = |(nth, (lease, verdict)): (u64, &(LeaseId, Verdict))| {
        nth < range.len
            && *lease == LeaseId { id: range.first.plus(nth), attempt }
            && *verdict == Verdict::Complete
    };
    (0..).zip(items).take_while(|item| fits(*item)).count()
}
