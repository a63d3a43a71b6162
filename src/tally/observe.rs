//! What each event counts: the one place that says it, so that a new event does not compile before that is decided. Jobs that
//! are alike come as one, and are counted by one addition.

use super::{Count, Counts, Tally};
use crate::core::{AfterFailure, Change, Event, Handling, JobState, QueueChange, QueueName, StateKind, Time};

impl Tally {
    /// Jobs of a queue have changed.
    #[inline]
    pub fn changed(&mut self, change: &Change<'_>, now: Time) {
        let Change { jobs, job, from, .. } = *change;
        let (queue, many) = (&job.spec.queue, jobs.len);
        match change.event {
            Event::Submitted { .. } => {
                self.ready.arrived(jobs.first, now);
                self.of(queue).add(Count::Submitted, many);
                return;
            }
            Event::Claimed { .. } => {
                let place = self.place_of(queue);
                let counts = &mut self.slots[place].now;
                counts.add(Count::Started, many);
                self.ready.began(jobs, job, |many, since| {
                    counts.wait.add(now.0.saturating_sub(since.0), many);
                });
                return;
            }
            Event::Completed { .. } => return self.ended(change, Count::Completed, now),
            Event::Failed { next, .. } => {
                self.ended(change, Count::Failed, now);
                if let AfterFailure::Dead(_) = next {
                    self.of(queue).add(Count::Dead, many);
                }
            }
            Event::Deferred { .. } => self.ended(change, Count::Later, now),
            Event::Awaits { .. } => ran(self.of(queue), change, now),
            Event::Interrupted { .. } => self.of(queue).add(Count::Interrupted, many),
            Event::Counted { what: Handling::TimedOut, .. } => {
                self.timed_out += many;
                self.of(queue).add(Count::Interrupted, many);
            }
            Event::Counted { .. } => {}
            Event::Expired { .. } => self.of(queue).add(Count::Expired, many),
            Event::Cancelled { .. } => self.of(queue).add(Count::Cancelled, many),
            Event::Buried { .. } => self.of(queue).add(Count::Dead, many),
            Event::Dropped { .. } => self.of(queue).add(Count::Dropped, many),
            // It may be the first job of its queue.
            Event::Moved { .. } => self.know(queue),
            // They change what is waiting or running, which the state says, or nothing of either.
            Event::Extended { .. }
            | Event::Released { .. }
            | Event::Ripened { .. }
            | Event::Cancelling { .. }
            | Event::Revived { .. }
            | Event::Prioritized { .. }
            | Event::Postponed { .. }
            | Event::BodyReplaced { .. }
            | Event::Attached { .. }
            | Event::Detached { .. }
            | Event::Signalled { .. }
            | Event::Deleted { .. }
            | Event::Sized { .. }
            | Event::WaitsFor { .. }
            | Event::EdgesChanged { .. }
            | Event::Row(_) => {}
        }
        let was_ready = from == Some(StateKind::Ready);
        let is_ready = !change.forgotten && job.state() == JobState::Ready;
        match (was_ready, is_ready) {
            (false, true) => self.ready.became_ready(jobs, now),
            (true, false) => self.ready.left(jobs),
            (true, true) | (false, false) => {}
        }
    }

    /// A queue as such has changed.
    pub fn queue_changed(&mut self, queue: &QueueName, change: QueueChange) {
        match change {
            QueueChange::NotTaken(jobs) => self.of(queue).add(Count::Dropped, jobs.len),
            QueueChange::Forgotten => self.forget(queue),
            QueueChange::CircuitOpened { .. } => self.circuits_opened += 1,
            // It may be a new one.
            QueueChange::Paused | QueueChange::Resumed | QueueChange::Set | QueueChange::CircuitClosed => {
                self.place_of(queue);
            }
        }
    }

    /// Attempts have ended by the word of their workers.
    #[inline]
    fn ended(&mut self, change: &Change<'_>, count: Count, now: Time) {
        let counts = self.of(&change.job.spec.queue);
        counts.add(count, change.jobs.len);
        ran(counts, change, now);
    }
}

/// They have run so long.
#[inline]
fn ran(counts: &mut Counts, change: &Change<'_>, now: Time) {
    if let Some((_, lease)) = change.lease {
        counts.run.add(now.0.saturating_sub(lease.since.0), change.jobs.len);
    }
}
