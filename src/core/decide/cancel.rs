//! Decides cancels. A job that somebody is at ends when its holder is known to have stopped, or its lease is over: until then its
//! place under the limits and its keys are its own, so that nothing of the same key runs beside it. Whatever its holder says of
//! it after the cancel, it ends as cancelled.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{LeaseId, Verdict};
use crate::core::event::Event;
use crate::core::ids::{IdRange, Ids};
use crate::core::job::{Job, State as JobState, StateKind};
use crate::core::rejection::LeaseRejection;

impl<R: Recorder> Decision<'_, R> {
    /// What cancelling jobs that are alike comes to; `None` if they are being cancelled already.
    pub(super) fn cancelled(&self, jobs: Ids, job: &Job) -> Option<Event> {
        match job.state() {
            JobState::Leased(lease) => (!lease.cancelling).then_some(Event::Cancelling { jobs }),
            _ => Some(self.end_cancelled(jobs, job)),
        }
    }

    /// Jobs that are alike have ended by being cancelled.
    pub(super) fn end_cancelled(&self, jobs: Ids, job: &Job) -> Event {
        Event::Cancelled { jobs, end: self.ending(job, self.settings_of(job).keep_done) }
    }

    /// The holders of these jobs have no part in them any more: those that are being cancelled end. Returns the others.
    pub(super) fn end_all_cancelled(&mut self, jobs: &Ids) -> Ids {
        let (mut others, mut ends) = (Ids::new(), Vec::new());
        for (part, job) in jobs.ranges().iter().flat_map(|range| self.state().iter(*range)) {
            match job.is_being_cancelled() {
                true => ends.push(self.end_cancelled(part.into(), job)),
                false => others.push_range(part),
            }
        }
        ends.into_iter().for_each(|event| self.emit(event));
        others
    }

    /// The job under a lease that is in force and goes on: it is not being cancelled.
    pub(super) fn going_on(&self, lease: LeaseId) -> Result<(IdRange, &Job), LeaseRejection> {
        let (range, job) = self.leased(lease)?;
        if job.is_being_cancelled() { Err(no_longer_wanted(lease)) } else { Ok((range, job)) }
    }
}

/// What the holder of a job that is being cancelled is answered.
pub(super) fn no_longer_wanted(LeaseId { id, attempt }: LeaseId) -> LeaseRejection {
    LeaseRejection::LeaseLost { id, attempt, current: attempt, state: StateKind::Cancelled }
}

/// The answer to a verdict on such a job. That it has stopped is what it was to say; a result does not count.
pub(super) fn answer_to(lease: LeaseId, verdict: &Verdict) -> Result<(), LeaseRejection> {
    match verdict {
        Verdict::Release { .. } => Ok(()),
        Verdict::Complete
        | Verdict::Fail { .. }
        | Verdict::Exited { .. }
        | Verdict::Later { .. }
        | Verdict::Await { .. } => Err(no_longer_wanted(lease)),
    }
}
