//! Decides what time alone brings: delays that are over, leases and jobs that expire, ended jobs that were kept
//! long enough.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::Outcome;
use crate::core::event::Event;
use crate::core::ids::{Ids, JobId};
use crate::core::job::State as JobState;

/// The most jobs that one tick treats, so that its commit stays small. The rest stays due, and the next tick
/// follows at once.
const JOBS_MAX: usize = 4096;

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn tick(&mut self) -> Outcome {
        let now = self.moment.now;
        let due = self.state().due.range(..=(now, JobId(u64::MAX))).take(JOBS_MAX);
        let due: Vec<JobId> = due.map(|(_, id)| *id).collect();
        // One after the other by what becomes of them, so that those of a kind share an event.
        let (mut lost, mut ripe, mut expired, mut old) = (Vec::new(), Ids::new(), Vec::new(), Ids::new());
        for id in due {
            let job = self.state().jobs.get(&id).expect("a due id names a job that is not plain");
            match job.state {
                JobState::Leased(_) => lost.push(id),
                JobState::Scheduled { .. } | JobState::Ready if job.expires_at <= now => expired.push(id),
                JobState::Scheduled { .. } => ripe.push(id),
                JobState::Ready => unreachable!("a ready job is due only when it expires"),
                JobState::Dead(_) | JobState::Done(_) | JobState::Cancelled(_) | JobState::Expired(_) => {
                    old.push(id);
                }
            }
        }
        for id in expired {
            if let Some(job) = self.state().jobs.get(&id) {
                let end = self.ending(self.settings_of(job).keep_done);
                self.emit(Event::Expired { jobs: id.into(), end });
            }
        }
        // Why nothing was heard of its holder, nobody knows: that is no verdict on the job.
        self.interrupt(lost);
        if !ripe.is_empty() {
            self.emit(Event::Ripened { jobs: ripe });
        }
        if !old.is_empty() {
            self.emit(Event::Deleted { jobs: old });
        }
        Outcome::Ok
    }
}
