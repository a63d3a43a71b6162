//! `apply`: folds an event into the state. It decides nothing and reads neither clock nor settings, so the same
//! events give the same state in the daemon, at recovery and in every test.

use super::event::{AfterFailure, Ending, Event};
use super::ids::{IdRange, Ids, JobId};
use super::job::{Exit, Final, Holder, Job, Lease, State as JobState};
use super::state::{State, Totals};
use super::time::Time;

impl State {
    /// Folds one event. Jobs that it names and that are not known are passed over: `decide` names none, and
    /// recovery checks before it applies.
    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Submitted { jobs, spec, at, due, expires_at } => {
                let mut job = Job::fresh(spec.clone(), *at);
                job.expires_at = *expires_at;
                if let Some(due) = *due {
                    job.state = JobState::Scheduled { due };
                }
                self.next_id = self.next_id.max(jobs.end().0);
                self.enter(*jobs, job);
                let queue = self.queue_of(spec);
                queue.totals.submitted += jobs.len;
                queue.used = *at;
            }
            Event::Claimed { jobs, holder, at, until } => self.claim(jobs, *holder, *at, *until),
            Event::Extended { jobs, until } => self.each(jobs, |job| {
                if let JobState::Leased(lease) = &mut job.state {
                    lease.until = *until;
                }
            }),
            Event::Completed { jobs, end } => {
                self.end(jobs, *end, JobState::Done, |totals| &mut totals.completed);
            }
            Event::Failed { job, at, error, exit, next } => {
                self.fail(job.first, (*at, error, *exit), *next);
            }
            Event::Released { jobs, due } => self.each(jobs, |job| {
                job.state = due.map_or(JobState::Ready, |due| JobState::Scheduled { due });
            }),
            Event::Interrupted { jobs } => self.each(jobs, |job| {
                job.crashes += 1;
                job.state = JobState::Ready;
            }),
            Event::Deferred { job, at, error, due } => self.each(&(*job).into(), |job| {
                job.later += 1;
                job.remember(*at, error, None);
                job.state = JobState::Scheduled { due: *due };
            }),
            Event::Ripened { jobs } => self.each(jobs, |job| job.state = JobState::Ready),
            Event::Expired { jobs, end } => {
                self.end(jobs, *end, JobState::Expired, |totals| &mut totals.expired);
            }
            Event::Cancelled { jobs, end } => {
                self.end(jobs, *end, JobState::Cancelled, |totals| &mut totals.cancelled);
            }
            Event::Buried { jobs, end } => self.end(jobs, *end, JobState::Dead, |totals| &mut totals.died),
            Event::Revived { jobs } => self.each(jobs, |job| {
                if job.state.kind().is_final() {
                    job.expires_at = Time::NEVER;
                }
                (job.failed, job.crashes, job.later, job.state) = (0, 0, 0, JobState::Ready);
            }),
            Event::Deleted { jobs } => jobs.ranges().iter().for_each(|range| self.leave_range(*range)),
            Event::Paused { queue } => self.queues.entry(queue.clone()).or_default().paused = true,
            Event::Resumed { queue } => self.queues.entry(queue.clone()).or_default().paused = false,
            // At recovery a newer one of that name may be there already, with jobs.
            Event::QueueForgotten { queue } => {
                if self.queues.get(queue).is_some_and(|queue| queue.counts().all() == 0) {
                    self.queues.remove(queue);
                }
            }
        }
    }

    /// Takes each job out, lets `change` work on it, and puts it back.
    fn each(&mut self, jobs: &Ids, mut change: impl FnMut(&mut Job)) {
        for id in jobs.iter() {
            if let Some(mut job) = self.leave(id) {
                change(&mut job);
                self.enter(id.into(), job);
            }
        }
    }

    fn claim(&mut self, jobs: &Ids, holder: Holder, at: Time, until: Time) {
        for id in jobs.iter() {
            if let Some(mut job) = self.leave(id) {
                self.queue_of(&job.spec).totals.claimed += 1;
                (job.attempt, job.started) = (job.attempt.next(), Some(at));
                job.state = JobState::Leased(Lease { holder, since: at, until });
                self.enter(id.into(), job);
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
        for id in jobs.iter() {
            if let Some(job) = self.leave(id) {
                *total(&mut self.queue_of(&job.spec).totals) += 1;
                self.keep(id, job, end, state);
            }
        }
    }

    fn keep(&mut self, id: JobId, mut job: Job, end: Ending, state: fn(Final) -> JobState) {
        job.state = state(Final { at: end.at, keep_until: end.keep_until.unwrap_or(end.at) });
        match end.keep_until {
            Some(_) => self.enter(IdRange::from(id), job),
            None => self.recent.push(id, &job),
        }
    }

    fn fail(&mut self, id: JobId, (at, error, exit): (Time, &str, Option<Exit>), next: AfterFailure) {
        let Some(mut job) = self.leave(id) else { return };
        job.failed += 1;
        job.remember(at, error, exit);
        let totals = &mut self.queue_of(&job.spec).totals;
        totals.failed += 1;
        match next {
            AfterFailure::Retry(due) => {
                job.state = JobState::Scheduled { due };
                self.enter(id.into(), job);
            }
            AfterFailure::Dead(end) => {
                totals.died += 1;
                self.keep(id, job, end, JobState::Dead);
            }
        }
    }
}
