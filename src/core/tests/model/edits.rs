//! What changes by hand come to, the slow way.

use super::{FORGOTTEN, Model};
use crate::core::*;

impl Model {
    pub(super) fn edit(&mut self, edit: Edit, ids: &[JobId]) -> Outcome {
        use StateKind::{Cancelled, Dead, Done, Expired, Leased, Ready, Scheduled};
        let (mut changed, mut results) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(at) = self.known(*id) else {
                results.push(Err(EditRejection::NotFound { id: *id }));
                continue;
            };
            let state = self.jobs[at].1.state.kind();
            let allowed: &[StateKind] = match edit {
                Edit::Cancel | Edit::Bury => &[Scheduled, Ready, Leased],
                Edit::Retry => &[Done, Dead, Cancelled, Expired],
                Edit::Kick => &[Scheduled, Dead],
                Edit::Delete => &[Scheduled, Ready, Done, Dead, Cancelled, Expired],
            };
            if !allowed.contains(&state) {
                results.push(Err(EditRejection::WrongState { id: *id, verb: edit.name(), state, hint: "" }));
                continue;
            }
            if let (Edit::Retry | Edit::Kick, Some(by)) = (edit, self.taken(at)) {
                results.push(Err(EditRejection::NotUnique { id: *id, verb: edit.name(), by }));
                continue;
            }
            self.edit_one(edit, at);
            changed.push(at);
            results.push(Ok(()));
        }
        if edit == Edit::Cancel {
            self.trim(&changed);
        }
        Outcome::Edited(results)
    }

    fn edit_one(&mut self, edit: Edit, at: usize) {
        match edit {
            Edit::Cancel => {
                self.totals(at).cancelled += 1;
                self.end(at, JobState::Cancelled, |settings| settings.keep_done);
            }
            Edit::Bury => {
                self.totals(at).died += 1;
                self.end(at, JobState::Dead, |settings| settings.keep_dead);
            }
            Edit::Retry | Edit::Kick => {
                let job = &mut self.jobs[at].1;
                if job.state.kind() != StateKind::Scheduled {
                    job.expires_at = Time::NEVER;
                }
                (job.failed, job.crashes, job.later, job.state) = (0, 0, 0, JobState::Ready);
            }
            Edit::Delete => self.jobs[at].1.state = JobState::Dead(FORGOTTEN),
        }
    }

    pub(super) fn pause(&mut self, name: &QueueName, paused: bool) -> Result<Outcome, Rejection> {
        self.must_exist(name)?;
        if paused || self.queue(name).is_some() {
            self.row(name).paused = paused;
        }
        Ok(Outcome::Ok)
    }
}
