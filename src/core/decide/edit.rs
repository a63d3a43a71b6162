//! Decides changes by hand: cancel, retry, kick, bury, delete, move, prioritize, purge. The table in the core's documentation says
//! which state allows which.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{Edit, Only, Outcome};
use crate::core::event::Event;
use crate::core::ids::{Ids, JobId};
use crate::core::job::{Job, QueueName, Size, StateKind};
use crate::core::rejection::{EditRejection, Rejection};
use std::collections::HashSet;

/// The most ranges that one purge deletes, so that its commit stays small. A purge of more is asked for again.
const PURGE_RANGES_MAX: usize = 65_536;

impl<R: Recorder> Decision<'_, R> {
    /// Each is judged by itself, after those before it.
    pub(super) fn edit(&mut self, edit: &Edit, ids: &[JobId], only: &Only) -> Outcome {
        let edited = ids.iter().map(|id| {
            if let Some(event) = self.edited(edit, *id, only)? {
                if let Edit::Move(to) = edit {
                    let no_room =
                        |why| EditRejection::NoRoom { id: *id, verb: edit.name(), why: Box::new(why) };
                    self.make_room_to_move(*id, to).map_err(no_room)?;
                }
                self.detach_before(edit, *id);
                self.emit(event);
                if let Edit::ReplaceBody(size) = edit {
                    self.count_another(*id, *size);
                }
            }
            Ok(())
        });
        Outcome::Edited(edited.collect())
    }

    /// The body of a job has another size, if that is counted.
    pub(super) fn count_another(&mut self, id: JobId, size: Size) {
        let Some(job) = self.state().job(id) else { return };
        let is_counted = job.size().is_counted() || self.core.counts_bytes_of(&job.spec.queue);
        if is_counted && job.size() != size {
            self.emit(Event::Sized { jobs: id.into(), size });
        }
    }

    /// What it comes to; `None` if it is like that already.
    fn edited(&self, edit: &Edit, id: JobId, only: &Only) -> Result<Option<Event>, EditRejection> {
        let job = self.state().job(id).filter(|job| self.visibility.sees(&job.spec));
        if *only != Only::default() && !job.is_some_and(|job| only.fits(job)) {
            return Err(EditRejection::MovedOn { id });
        }
        let job = job.ok_or(EditRejection::NotFound { id })?;
        allow(edit, id, job.kind())?;
        let (settings, jobs) = (self.settings_of(job), Ids::from(id));
        Ok(Some(match edit {
            Edit::Cancel => return Ok(self.cancelled(jobs, job)),
            Edit::Bury => Event::Buried { jobs, end: self.ending(job, settings.keep_dead) },
            Edit::Retry | Edit::Kick => {
                let runs_again = job.kind().is_final() && job.would_hold_unique();
                self.may_hold_unique(edit, (id, job), &job.spec.queue, runs_again)?;
                Event::Revived { jobs }
            }
            Edit::Delete => Event::Deleted { jobs },
            Edit::Move(to) if *to == job.spec.queue => return Ok(None),
            Edit::Move(to) => {
                let holds = job.holds_unique_until().is_some_and(|until| until > self.moment.now);
                self.may_hold_unique(edit, (id, job), to, holds)?;
                Event::Moved { jobs, to: to.clone(), at: self.moment.now.whole_second() }
            }
            Edit::ReplaceBody(size) => {
                if let Some(why) = self.core.no_room_to_grow(job, *size) {
                    return Err(EditRejection::NoRoom { id, verb: edit.name(), why: Box::new(why) });
                }
                Event::BodyReplaced { job: id.into() }
            }
            Edit::Prioritize(priority) if *priority == job.spec.priority => return Ok(None),
            Edit::Prioritize(priority) => Event::Prioritized { jobs, priority: *priority },
        }))
    }

    /// A queue that is full takes none by hand, and drops none for it.
    fn make_room_to_move(&mut self, id: JobId, to: &QueueName) -> Result<(), Rejection> {
        let Some(job) = self.state().job(id) else { return Ok(()) };
        let (waits, owner, size) = (!job.kind().is_final(), job.spec.owner, job.size());
        if let Some(rejection) = self.core.no_room_for(to, size).filter(|_| waits) {
            return Err(rejection);
        }
        let new = usize::from(self.state().queue(to).is_none());
        self.make_room_for_queues(new, owner, &HashSet::from([to]))
    }

    /// One may not hold its unique key, as it `holds` it after the change, if another one of that queue does.
    fn may_hold_unique(
        &self,
        edit: &Edit,
        (id, job): (JobId, &Job),
        queue: &QueueName,
        holds: bool,
    ) -> Result<(), EditRejection> {
        let key = job.spec.unique.filter(|_| holds);
        let holder = key.and_then(|key| self.unique_holder(queue, key));
        match holder.filter(|by| *by != id) {
            Some(by) => Err(EditRejection::NotUnique { id, verb: edit.name(), by }),
            None => Ok(()),
        }
    }

    /// Deletes what waits in a queue: at most so much that one commit stays small.
    pub(super) fn purge(&mut self, name: &QueueName) -> Result<Outcome, Rejection> {
        let Some(queue) = self.state().queue(name) else {
            self.must_be_configured(name)?;
            return Ok(Outcome::Purged { deleted: 0, more: false });
        };
        let mut jobs = Ids::new();
        let kinds = [StateKind::Ready, StateKind::Scheduled, StateKind::Waiting];
        let mut ranges = kinds.into_iter().flat_map(|kind| queue.in_state(kind));
        for range in ranges.by_ref().take(PURGE_RANGES_MAX) {
            jobs.push_range(range);
        }
        let (deleted, more) = (jobs.len(), ranges.next().is_some());
        drop(ranges);
        if deleted > 0 {
            self.emit(Event::Deleted { jobs });
        }
        Ok(Outcome::Purged { deleted, more })
    }
}

/// Whether the state allows the change, and if not, what to do instead.
fn allow(edit: &Edit, id: JobId, state: StateKind) -> Result<(), EditRejection> {
    use StateKind::{Cancelled, Dead, Done, Expired, Leased, Ready, Scheduled, Waiting};
    let hint = match (edit, state) {
        (Edit::Cancel | Edit::Bury, Scheduled | Waiting | Ready | Leased) => return Ok(()),
        (Edit::Retry, Done | Dead | Cancelled | Expired) => return Ok(()),
        (Edit::Kick, Scheduled | Waiting | Dead) => return Ok(()),
        (
            Edit::Delete | Edit::Move(_) | Edit::ReplaceBody(_),
            Scheduled | Waiting | Ready | Done | Dead | Cancelled | Expired,
        ) => {
            return Ok(());
        }
        (Edit::Prioritize(_), Scheduled | Waiting | Ready | Leased) => return Ok(()),
        (Edit::Cancel | Edit::Bury, Done | Dead | Cancelled | Expired) => {
            " and has ended; `musher delete` forgets it"
        }
        (Edit::Retry, Scheduled | Waiting) => "; `musher kick` runs it now",
        (Edit::Kick, Done | Cancelled | Expired) => "; `musher retry` runs it again",
        (Edit::Retry | Edit::Kick, Ready) => " and runs as soon as a worker is free",
        (Edit::Retry | Edit::Kick, Leased) => " and runs just now",
        (Edit::Delete, Leased) => "; `musher cancel` it first",
        (Edit::Move(_) | Edit::ReplaceBody(_), Leased) => " and runs just now",
        (Edit::Prioritize(_), Done | Dead | Cancelled | Expired) => " and has ended",
    };
    Err(EditRejection::WrongState { id, verb: edit.name(), state, hint })
}
