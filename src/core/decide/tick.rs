//! Decides what time alone brings: delays that are over, leases and jobs that expire, ended jobs that were kept
//! long enough.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::Outcome;
use crate::core::event::Event;
use crate::core::ids::{IdRange, Ids, first};
use crate::core::job::{Job, State as JobState};

/// The most jobs that one tick treats, so that its commit stays small. The rest stays due, and the next tick
/// follows at once.
const JOBS_MAX: u64 = 4096;

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn tick(&mut self) -> Outcome {
        let now = self.moment.now;
        let due = self.state().due.iter().take_while(|(at, _)| *at <= now).map(|(_, range)| range);
        let due = first(due, JOBS_MAX);
        // One after the other by what becomes of them, so that those of a kind share an event.
        let (mut lost, mut ripe, mut expired, mut old) = (Ids::new(), Ids::new(), Vec::new(), Ids::new());
        for (part, job) in due.ranges().iter().flat_map(|range| self.state().iter(*range)) {
            match job.state() {
                // Others are to be told first how they ended.
                _ if job.kind().is_final()
                    && self.state().waiters.targets_in(part, false).next().is_some() => {}
                JobState::Leased(_) => lost.push_range(part),
                JobState::Scheduled { .. } | JobState::Waiting { .. } | JobState::Ready
                    if job.expires_at() <= now =>
                {
                    expired.push(self.expired(part, job));
                }
                JobState::Scheduled { .. } => ripe.push_range(part),
                JobState::Ready | JobState::Waiting { .. } => {
                    unreachable!("such a job is due only when it expires")
                }
                JobState::Dead(_) | JobState::Done(_) | JobState::Cancelled(_) | JobState::Expired(_) => {
                    old.push_range(part);
                }
            }
        }
        expired.into_iter().for_each(|event| self.emit(event));
        // Why nothing was heard of its holder, nobody knows: that is no verdict on the job.
        self.interrupt(&lost, true);
        if !ripe.is_empty() {
            self.emit(Event::Ripened { jobs: ripe });
        }
        if !old.is_empty() {
            self.emit(Event::Deleted { jobs: old });
        }
        self.end_pauses();
        self.forget_requests();
        self.forget_groups();
        self.look_at_keys();
        Outcome::Ok
    }

    /// These jobs have come back from their holders. Those whose deadline is over expire at once: nobody else gets them.
    pub(super) fn expire_what_is_over(&mut self, jobs: &Ids) {
        let all = jobs.ranges().iter().flat_map(|range| self.state().iter(*range));
        let over = all.filter(|(_, job)| job.kind().waits() && job.expires_at() <= self.moment.now);
        let over: Vec<Event> = over.map(|(part, job)| self.expired(part, job)).collect();
        over.into_iter().for_each(|event| self.emit(event));
    }

    fn expired(&self, jobs: IdRange, job: &Job) -> Event {
        Event::Expired { jobs: jobs.into(), end: self.ending(job, self.settings_of(job).keep_done) }
    }
}
