//! Decides what time alone brings: delays that are over, leases and jobs that expire, ended jobs that were kept
//! long enough.

use super::kept::KeptChange;
use super::{Core, Moment, ending, newest};
use crate::core::command::Outcome;
use crate::core::event::{Ending, Event};
use crate::core::ids::{Ids, JobId};
use crate::core::job::State as JobState;

/// The most jobs that one tick treats, so that its commit stays small. The rest stays due, and the next tick
/// follows at once.
const JOBS_MAX: usize = 4096;

impl Core {
    pub(super) fn tick(&self, moment: Moment, events: &mut Vec<Event>) -> Outcome {
        let (from, mut kept) = (events.len(), KeptChange::default());
        let (mut lost, mut ripe) = (Ids::new(), Ids::new());
        let mut old = Ids::new();
        let mut expired: Vec<(JobId, Ending)> = Vec::new();
        let due = self.state.due.range(..=(moment.now, JobId(u64::MAX)));
        for (_, id) in due.take(JOBS_MAX) {
            let job = self.state.jobs.get(id).expect("a due id names a job that is not plain");
            match job.state {
                // Why nothing was heard of its holder, nobody knows: that is no verdict on the job.
                JobState::Leased(_) => match self.interrupted_too_often(*id, job, moment) {
                    Some(death) => events.push(death),
                    None => lost.push(*id),
                },
                JobState::Scheduled { .. } | JobState::Ready if job.expires_at <= moment.now => {
                    let end = ending(self.settings_of(job).keep_done, moment.now);
                    kept.ended(&job.spec.queue, *id, end);
                    expired.push((*id, end));
                }
                JobState::Scheduled { .. } => ripe.push(*id),
                JobState::Ready => unreachable!("a ready job is due only when it expires"),
                JobState::Dead(_) => old.push(*id),
                JobState::Done(_) | JobState::Cancelled(_) | JobState::Expired(_) => {
                    kept.forgotten(&job.spec.queue, *id);
                    old.push(*id);
                }
            }
        }
        for (id, end) in expired {
            match newest(events, from) {
                Some(Event::Expired { jobs, end: same }) if *same == end => jobs.push(id),
                _ => events.push(Event::Expired { jobs: id.into(), end }),
            }
        }
        if !lost.is_empty() {
            events.push(Event::Interrupted { jobs: lost });
        }
        if !ripe.is_empty() {
            events.push(Event::Ripened { jobs: ripe });
        }
        if !old.is_empty() {
            events.push(Event::Deleted { jobs: old });
        }
        self.make_room_for_kept(kept, moment.now, events);
        Outcome::Ok
    }
}
