//! Decides changes by hand: cancel, retry, kick, bury, delete, purge. The table in the core's documentation says
//! which state allows which.

use super::kept::KeptChange;
use super::{Core, Moment, ending, newest};
use crate::core::command::{Edit, Outcome};
use crate::core::event::{Ending, Event};
use crate::core::ids::{IdRange, Ids, JobId};
use crate::core::job::{Job, QueueName, StateKind};
use crate::core::rejection::{EditRejection, Rejection};
use std::collections::HashSet;

/// The most ranges that one purge deletes, so that its commit stays small. A purge of more is asked for again.
const PURGE_RANGES_MAX: usize = 65_536;

impl Core {
    pub(super) fn edit(&self, edit: Edit, ids: &[JobId], moment: Moment, events: &mut Vec<Event>) -> Outcome {
        let (from, mut kept) = (events.len(), KeptChange::default());
        let mut seen = HashSet::new();
        let results = ids
            .iter()
            .map(|id| {
                let job = self.state.job(*id).ok_or(EditRejection::NotFound { id: *id })?;
                allow(edit, *id, job.state.kind())?;
                // Named twice in one request: the first time does it.
                if seen.insert(*id) {
                    if edit == Edit::Cancel {
                        let end = ending(self.settings_of(&job).keep_done, moment.now);
                        kept.ended(&job.spec.queue, *id, end);
                    }
                    self.edited(edit, *id, &job, moment, (events, from));
                }
                Ok(())
            })
            .collect();
        self.make_room_for_kept(kept, moment.now, events);
        Outcome::Edited(results)
    }

    fn edited(
        &self,
        edit: Edit,
        id: JobId,
        job: &Job,
        moment: Moment,
        (events, from): (&mut Vec<Event>, usize),
    ) {
        let settings = self.settings_of(job);
        let done = ending(settings.keep_done, moment.now);
        let dead = ending(settings.keep_dead, moment.now);
        match (edit, newest(events, from)) {
            (Edit::Cancel, Some(Event::Cancelled { jobs, end })) if *end == done => jobs.push(id),
            (Edit::Bury, Some(Event::Buried { jobs, end })) if *end == dead => jobs.push(id),
            (Edit::Retry | Edit::Kick, Some(Event::Revived { jobs })) => jobs.push(id),
            (Edit::Delete, Some(Event::Deleted { jobs })) => jobs.push(id),
            (edit, _) => events.push(event(edit, id.into(), done, dead)),
        }
    }

    /// Deletes what waits in a queue: at most so much that one commit stays small.
    pub(super) fn purge(&self, name: &QueueName, events: &mut Vec<Event>) -> Result<Outcome, Rejection> {
        let Some(queue) = self.state.queue(name) else {
            self.must_be_configured(name)?;
            return Ok(Outcome::Purged { deleted: 0, more: false });
        };
        let scheduled = queue.counts().of(StateKind::Scheduled) > 0;
        let delayed = self
            .state
            .jobs
            .iter()
            .filter(|(_, job)| {
                scheduled && job.spec.queue == *name && job.state.kind() == StateKind::Scheduled
            })
            .map(|(id, _)| IdRange::from(*id));
        let mut jobs = Ids::new();
        let mut ranges = queue.ready().chain(delayed);
        for range in ranges.by_ref().take(PURGE_RANGES_MAX) {
            jobs.push_range(range);
        }
        let (deleted, more) = (jobs.len(), ranges.next().is_some());
        drop(ranges);
        if deleted > 0 {
            events.push(Event::Deleted { jobs });
        }
        Ok(Outcome::Purged { deleted, more })
    }
}

fn event(edit: Edit, jobs: Ids, done: Ending, dead: Ending) -> Event {
    match edit {
        Edit::Cancel => Event::Cancelled { jobs, end: done },
        Edit::Bury => Event::Buried { jobs, end: dead },
        Edit::Retry | Edit::Kick => Event::Revived { jobs },
        Edit::Delete => Event::Deleted { jobs },
    }
}

/// Whether the state allows the change, and if not, what to do instead.
fn allow(edit: Edit, id: JobId, state: StateKind) -> Result<(), EditRejection> {
    use StateKind::{Cancelled, Dead, Done, Expired, Leased, Ready, Scheduled};
    let hint = match (edit, state) {
        (Edit::Cancel | Edit::Bury, Scheduled | Ready | Leased) => return Ok(()),
        (Edit::Retry, Done | Dead | Cancelled | Expired) => return Ok(()),
        (Edit::Kick, Scheduled | Dead) => return Ok(()),
        (Edit::Delete, Scheduled | Ready | Done | Dead | Cancelled | Expired) => return Ok(()),
        (Edit::Cancel | Edit::Bury, Done | Dead | Cancelled | Expired) => {
            " and has ended; `musher delete` forgets it"
        }
        (Edit::Retry, Scheduled) => "; `musher kick` runs it now",
        (Edit::Kick, Done | Cancelled | Expired) => "; `musher retry` runs it again",
        (Edit::Retry | Edit::Kick, Ready) => " and runs as soon as a worker is free",
        (Edit::Retry | Edit::Kick, Leased) => " and runs just now",
        (Edit::Delete, Leased) => "; `musher cancel` it first",
    };
    Err(EditRejection::WrongState { id, verb: edit.name(), state, hint })
}
