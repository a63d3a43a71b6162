//! `apply`: folds an event into the state. It decides nothing and reads neither clock nor settings, so the same
//! events give the same state in the daemon, at recovery and in every test.

use super::change::{Change, Observer, QueueChange};
use super::circuit::Circuit;
use super::event::{AfterFailure, Ending, Event, RowEvent};
use super::ids::{IdRange, Ids};
use super::job::{
    Alike, Attempt, Beside, Exit, Expiry, Final, Job, JobCounts, Lease, Priority, QueueName, Size,
    SpecOptions, State as JobState, StateKind, Worker,
};
use super::queued_keys::Towards;
use super::runs::Parts;
use super::state::{State, Totals};
use super::time::Time;
use smallvec::SmallVec;

impl State {
    /// Folds one event. Jobs that it names and that are not known are passed over: `decide` names none, and
    /// recovery checks before it applies.
    pub fn apply(&mut self, event: &Event) {
        self.apply_telling(event, &mut ());
    }

    /// The same, and tells of each change.
    pub fn apply_telling(&mut self, event: &Event, observer: &mut impl Observer) {
        Fold { state: self, event, observer }.fold();
    }

    /// Folds events of jobs that have arrived one after the other, all at once.
    pub(super) fn arrive_telling(&mut self, events: &[Event], observer: &mut impl Observer) {
        let mut parts = Parts::with_capacity(events.len());
        for event in events {
            let Event::Submitted { jobs, spec, at, due, expiry } = event else {
                unreachable!("only these are jobs that arrive")
            };
            let mut job = Job::fresh(spec.clone(), *at);
            job.set_expiry(*expiry);
            if let Some(due) = *due {
                job.set_state(JobState::Scheduled { due });
            }
            self.next_id = self.next_id.max(jobs.end().0);
            parts.push((*jobs, job));
        }
        let mut rest = parts.iter().zip(events).peekable();
        while let Some(((part, job), event)) = rest.next() {
            let mut jobs = *part;
            while let Some(((part, _), _)) =
                rest.next_if(|((part, other), _)| jobs.end() == part.first && job.differs_in_keys_only(other))
            {
                jobs.len += part.len;
            }
            observer.changed(&Change { jobs, job, from: None, lease: None, forgotten: false, event });
        }
        self.enter_new(parts);
    }
}

/// What becomes of a job that an event changes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Known,
    Forgotten,
    /// The same, and nobody will know how it ended, as it has not.
    Dropped,
}

/// What jobs were like before an event changed them, and what becomes of them.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Before {
    kind: StateKind,
    lease: Option<(Attempt, Lease)>,
    fate: Fate,
}

/// What a queue counts, for so many jobs at once.
struct Counter<'a> {
    totals: &'a mut Totals,
    jobs: u64,
}

impl Counter<'_> {
    fn count(&mut self, total: fn(&mut Totals) -> &mut u64) {
        *total(self.totals) += self.jobs;
    }
}

/// One event on its way into the state.
struct Fold<'a, O> {
    state: &'a mut State,
    event: &'a Event,
    observer: &'a mut O,
}

impl<O: Observer> Fold<'_, O> {
    fn fold(&mut self) {
        match self.event {
            Event::Submitted { .. } => {
                self.state.arrive_telling(std::slice::from_ref(self.event), self.observer);
            }
            Event::WaitsFor { jobs, waits } => self.each(jobs, |_, job| {
                job.set_waits(waits.clone());
                Fate::Known
            }),
            Event::EdgesChanged { jobs, on, fate, at } => self.each(jobs, |_, job| {
                job.change_edges(*on, *fate, *at);
                Fate::Known
            }),
            Event::Claimed { jobs, holder, worker, at, until } => {
                let (holder, since, until) = (*holder, *at, *until);
                self.claim(jobs, *worker, Lease { holder, since, until, cancelling: false });
            }
            Event::Extended { jobs, until } => self.lease(jobs, |lease| lease.until = *until),
            Event::Cancelling { jobs } => self.lease(jobs, |lease| lease.cancelling = true),
            Event::Completed { jobs, end } => {
                self.end(jobs, *end, JobState::Done, |totals| &mut totals.completed);
            }
            Event::Failed { job, at, error, exit, next } => self.fail(*job, (*at, error, *exit), *next),
            Event::Released { jobs, due } => self.each(jobs, |_, job| {
                job.set_state(due.map_or(JobState::Ready, |due| JobState::Scheduled { due }));
                Fate::Known
            }),
            Event::Awaits { job, signal, due } => self.change(*job, |job| job.wait_for_signal(signal, *due)),
            Event::Signalled { job, signal } => self.change(*job, |job| job.take_signal(signal)),
            Event::Interrupted { jobs } => self.each(jobs, |_, job| {
                count(job, |counts| counts.crashes += 1);
                job.set_state(JobState::Ready);
                Fate::Known
            }),
            Event::Deferred { job, at, error, exit, due } => self.each(&(*job).into(), |_, job| {
                count(job, |counts| counts.later += 1);
                job.remember(*at, error, *exit);
                job.set_state(JobState::Scheduled { due: *due });
                Fate::Known
            }),
            Event::Ripened { jobs } => self.each(jobs, |_, job| {
                job.set_state(JobState::Ready);
                Fate::Known
            }),
            Event::Expired { jobs, end } => {
                self.end(jobs, *end, JobState::Expired, |totals| &mut totals.expired);
            }
            Event::Cancelled { jobs, end } => {
                self.end(jobs, *end, JobState::Cancelled, |totals| &mut totals.cancelled);
            }
            Event::Buried { jobs, end } => self.end(jobs, *end, JobState::Dead, |totals| &mut totals.died),
            Event::Revived { jobs } => self.each(jobs, |_, job| {
                if job.kind().is_final() {
                    job.set_expiry(Expiry::default());
                }
                count(job, |counts| *counts = JobCounts { attempt: counts.attempt, ..JobCounts::default() });
                job.set_state(JobState::Ready);
                Fate::Known
            }),
            Event::Prioritized { jobs, priority } => self.prioritize(jobs, *priority),
            // Bodies are beside the state.
            Event::BodyReplaced { .. } => {}
            Event::Attached { job, what } => self.beside(&(*job).into(), *what, true),
            Event::Detached { jobs, what } => self.beside(jobs, *what, false),
            Event::Moved { jobs, to, at } => self.bring_to(jobs, to, *at),
            Event::Postponed { jobs, due } => self.each(jobs, |_, job| {
                job.postpone(*due);
                Fate::Known
            }),
            Event::Deleted { jobs } => jobs.ranges().iter().for_each(|range| self.delete(*range)),
            Event::Sized { jobs, size } => self.each(jobs, |_, job| sized(job, *size)),
            Event::Counted { jobs, what } => self.each(jobs, |_, job| {
                job.handle(*what);
                Fate::Known
            }),
            Event::Dropped { jobs } => self.drop_waiting(jobs),
            Event::Row(event) => self.fold_row(event),
        }
    }

    fn fold_row(&mut self, event: &RowEvent) {
        match event {
            RowEvent::NotTaken { queue, jobs } => self.turn_away(queue, *jobs),
            RowEvent::Paused { queue } => self.pause(queue, Some(Time::NEVER), QueueChange::Paused),
            RowEvent::PausedUntil { queue, until } => {
                self.pause(queue, Some(*until), QueueChange::Paused);
            }
            RowEvent::Resumed { queue } => self.pause(queue, None, QueueChange::Resumed),
            RowEvent::RequestDone { page, done } => self.state.requests.add(*page, (**done).clone()),
            RowEvent::RequestsForgotten { page } => self.state.requests.forget(*page),
            RowEvent::RateUsed { queue, used } => {
                self.state.queues.entry(queue.clone()).or_default().rate_used = *used;
            }
            RowEvent::OverridesSet { queue, overrides } => {
                self.state.queues.entry(queue.clone()).or_default().overrides = overrides.clone();
                self.observer.queue_changed(queue, QueueChange::Set);
            }
            RowEvent::KeysServed { queue, page, rate, keys } => {
                self.state.serve_keys(queue, *page, *rate, keys);
            }
            RowEvent::KeysForgotten { queue, page } => self.state.forget_keys(queue, *page),
            RowEvent::QueueForgotten { queue } => self.forget(queue),
            RowEvent::CircuitChanged { queue, circuit } => self.circuit(queue, *circuit),
            RowEvent::GroupChanged { group, now } => {
                self.state.set_group(*group, now.clone());
                self.observer.group_changed(*group, now, false);
            }
            RowEvent::GroupForgotten { group } => {
                let former = self.state.groups.get(*group).cloned();
                self.state.forget_group(*group);
                former.iter().for_each(|former| self.observer.group_changed(*group, former, true));
            }
            RowEvent::TopicBound { pattern, queues } => {
                self.state.topics.set(pattern.clone(), queues.clone());
            }
            RowEvent::TopicUnbound { pattern } => self.state.topics.set(pattern.clone(), [].into()),
            RowEvent::Schedule { name, change } => self.state.schedules.apply(name, change),
        }
    }

    /// Jobs change and stay known.
    fn change(&mut self, jobs: IdRange, change: impl Fn(&mut Job)) {
        self.each(&jobs.into(), |_, job| {
            change(job);
            Fate::Known
        });
    }

    /// They are leased, each with an attempt of its own.
    fn claim(&mut self, jobs: &Ids, worker: Option<Worker>, lease: Lease) {
        let mut alike = Alike::default();
        self.each_towards(Towards::Lease, jobs, |mut queue, job| {
            queue.count(|totals| &mut totals.claimed);
            alike.change(job, |job| {
                count(job, |counts| counts.attempt = counts.attempt.next());
                job.set_worker(worker);
                job.set_state(JobState::Leased(lease));
            });
            Fate::Known
        });
    }

    /// Their leases change and go on.
    fn lease(&mut self, jobs: &Ids, change: impl Fn(&mut Lease)) {
        self.each(jobs, |_, job| {
            if let Some((_, mut lease)) = job.lease() {
                change(&mut lease);
                job.set_state(JobState::Leased(lease));
            }
            Fate::Known
        });
    }

    fn prioritize(&mut self, jobs: &Ids, priority: Priority) {
        self.each(jobs, |_, job| {
            let options = SpecOptions { priority, ..(*job.spec.options).clone() };
            job.spec = job.spec.with_options(options.into()).into();
            Fate::Known
        });
    }

    fn beside(&mut self, jobs: &Ids, what: Beside, is_there: bool) {
        self.each(jobs, |_, job| {
            job.set_beside(what, is_there);
            Fate::Known
        });
    }

    /// What depends on their queue follows: they leave the one, with its indexes, and enter the other.
    fn bring_to(&mut self, jobs: &Ids, to: &QueueName, at: Time) {
        self.each(jobs, |_, job| {
            let options = SpecOptions { queue: to.clone(), ..(*job.spec.options).clone() };
            job.spec = job.spec.with_options(options.into()).into();
            Fate::Known
        });
        if let Some(queue) = self.state.queues.get_mut(to) {
            queue.used = at;
        }
    }

    /// Takes jobs out, lets `change` work on those that are alike at once and on what their queue counts, and puts them back
    /// if they are still known.
    fn each(&mut self, jobs: &Ids, change: impl FnMut(Counter<'_>, &mut Job) -> Fate) {
        self.each_towards(Towards::Anything, jobs, change);
    }

    /// The same, where it may be known what becomes of them.
    fn each_towards(
        &mut self,
        towards: Towards,
        jobs: &Ids,
        mut change: impl FnMut(Counter<'_>, &mut Job) -> Fate,
    ) {
        for range in jobs.ranges() {
            let mut parts = self.state.leave(*range, towards);
            let mut before: SmallVec<[Before; 1]> = SmallVec::with_capacity(parts.len());
            for alike in parts.chunk_by_mut(|(_, one), (_, other)| one.spec.queue == other.spec.queue) {
                let totals = &mut self.state.queue_of(&alike[0].1.spec).totals;
                before.extend(alike.iter_mut().map(|(part, job)| {
                    let (kind, lease) = (job.kind(), job.lease());
                    Before { kind, lease, fate: change(Counter { totals, jobs: part.len }, job) }
                }));
            }
            self.tell_of_all(&parts, &before);
            let mut fates = before.iter().map(|before| before.fate);
            parts.retain(|_| fates.next() == Some(Fate::Known));
            self.state.enter_all(parts, towards);
        }
    }

    /// Tells what has happened to parts, of neighbours to which the same has happened at once.
    fn tell_of_all(&mut self, parts: &[(IdRange, Job)], before: &[Before]) {
        let mut rest = parts.iter().zip(before).peekable();
        while let Some(((part, job), before)) = rest.next() {
            let mut jobs = *part;
            while let Some(((part, _), _)) = rest.next_if(|((part, other), others)| {
                jobs.end() == part.first && *others == before && job.differs_in_keys_only(other)
            }) {
                jobs.len += part.len;
            }
            self.tell(jobs, job, *before);
            if before.fate == Fate::Forgotten {
                self.state.recent.push(jobs, job);
            }
        }
    }

    /// Jobs reach a final state: they are kept in it, or forgotten.
    fn end(
        &mut self,
        jobs: &Ids,
        end: Ending,
        state: fn(Final) -> JobState,
        total: fn(&mut Totals) -> &mut u64,
    ) {
        self.each(jobs, |mut queue, job| {
            queue.count(total);
            keep(job, end, state)
        });
    }

    /// An attempt of a job failed.
    fn fail(&mut self, job: IdRange, (at, error, exit): (Time, &str, Option<Exit>), next: AfterFailure) {
        self.each(&job.into(), |mut queue, job| {
            count(job, |counts| counts.failed += 1);
            job.remember(at, error, exit);
            queue.count(|totals| &mut totals.failed);
            match next {
                AfterFailure::Retry(due) => {
                    job.set_state(JobState::Scheduled { due });
                    Fate::Known
                }
                AfterFailure::Dead(end) => {
                    queue.count(|totals| &mut totals.died);
                    keep(job, end, JobState::Dead)
                }
            }
        });
    }

    /// How those ended that had ended is still known for a while.
    fn delete(&mut self, range: IdRange) {
        for (part, job) in self.state.leave(range, Towards::Anything) {
            let kind = job.kind();
            self.tell(part, &job, Before { kind, lease: job.lease(), fate: Fate::Forgotten });
            if kind.is_final() {
                self.state.recent.push(part, &job);
            }
        }
    }

    fn drop_waiting(&mut self, jobs: &Ids) {
        self.each(jobs, |mut queue, _| {
            queue.count(|totals| &mut totals.dropped);
            Fate::Dropped
        });
    }

    /// New jobs that are not taken use up their ids.
    fn turn_away(&mut self, queue: &QueueName, jobs: IdRange) {
        self.state.next_id = self.state.next_id.max(jobs.end().0);
        self.state.queues.entry(queue.clone()).or_default().totals.dropped += jobs.len;
        self.observer.queue_changed(queue, QueueChange::NotTaken(jobs));
    }

    fn forget(&mut self, name: &QueueName) {
        let Some(queue) = self.state.queues.get_mut(name) else { return };
        if queue.counts().all() == 0 {
            self.state.set_pause(name, None);
            self.state.queues.remove(name);
            return self.observer.queue_changed(name, QueueChange::Forgotten);
        }
        // At recovery a newer one of that name is there already, with jobs: nothing else is its own yet.
        queue.overrides = Default::default();
        self.state.set_pause(name, None);
    }

    fn pause(&mut self, queue: &QueueName, until: Option<Time>, change: QueueChange) {
        self.state.set_pause(queue, until);
        self.observer.queue_changed(queue, change);
    }

    fn circuit(&mut self, name: &QueueName, circuit: Circuit) {
        let old = std::mem::replace(&mut self.state.queues.entry(name.clone()).or_default().circuit, circuit);
        match (old.open, circuit.open) {
            (None, Some(open)) => {
                let change = QueueChange::CircuitOpened { failed: circuit.failed, next: open.next };
                self.observer.queue_changed(name, change);
            }
            (Some(_), None) => self.observer.queue_changed(name, QueueChange::CircuitClosed),
            (Some(_), Some(_)) | (None, None) => {}
        }
    }

    fn tell(&mut self, jobs: IdRange, job: &Job, Before { kind, lease, fate }: Before) {
        let (from, forgotten) = (Some(kind), fate != Fate::Known);
        self.observer.changed(&Change { jobs, job, from, lease, forgotten, event: self.event });
    }
}

fn count(job: &mut Job, change: impl FnOnce(&mut JobCounts)) {
    let mut counts = job.counts();
    change(&mut counts);
    job.set_counts(counts);
}

fn sized(job: &mut Job, size: Size) -> Fate {
    job.set_size(size);
    Fate::Known
}

/// Puts a job into a final state, and says whether it is kept.
fn keep(job: &mut Job, end: Ending, state: fn(Final) -> JobState) -> Fate {
    let Some(keep_until) = end.keep_until else {
        job.end_for_good(state(Final { at: end.at, keep_until: end.at }).kind(), end.at);
        return Fate::Forgotten;
    };
    job.set_state(state(Final { at: end.at, keep_until }));
    Fate::Known
}
