//! What changes by hand come to, the slow way.

use super::{FORGOTTEN, Model, waits};
use crate::core::*;
use std::sync::Arc;

impl Model {
    pub(super) fn edit(&mut self, edit: &Edit, ids: &[JobId]) -> Outcome {
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
                Edit::Delete | Edit::Move(_) | Edit::ReplaceBody(_) => {
                    &[Scheduled, Ready, Done, Dead, Cancelled, Expired]
                }
                Edit::Prioritize(_) => &[Scheduled, Ready, Leased],
            };
            if !allowed.contains(&state) {
                results.push(Err(EditRejection::WrongState { id: *id, verb: edit.name(), state, hint: "" }));
                continue;
            }
            if let (Edit::Retry | Edit::Kick, Some(by)) = (edit, self.taken(at)) {
                results.push(Err(EditRejection::NotUnique { id: *id, verb: edit.name(), by }));
                continue;
            }
            if let Edit::Move(to) = edit {
                let came = self.jobs[at].1.spec.queue != *to;
                let moved = self.bring_to(at, to);
                changed.extend((came && moved.is_ok()).then_some(at));
                results.push(moved);
                continue;
            }
            if let Edit::ReplaceBody(size) = edit
                && let Some(why) = self.grows_too_much(at, *size)
            {
                results.push(Err(EditRejection::NoRoom { id: *id, verb: edit.name(), why: Box::new(why) }));
                continue;
            }
            // Another size is a change that is seen, like those that the job itself goes through.
            let size = self.jobs[at].1.size;
            self.edit_one(edit, at);
            let is_same = matches!(edit, Edit::ReplaceBody(_)) && self.jobs[at].1.size == size;
            changed.extend((!is_same).then_some(at));
            results.push(Ok(()));
        }
        if matches!(edit, Edit::Cancel | Edit::Move(_) | Edit::ReplaceBody(_)) {
            self.trim(&changed);
        }
        Outcome::Edited(results)
    }

    fn bring_to(&mut self, at: usize, to: &QueueName) -> Result<(), EditRejection> {
        let (id, job) = (JobId(self.jobs[at].0), &self.jobs[at].1);
        if job.spec.queue == *to {
            return Ok(());
        }
        let mut spec = (*job.spec).clone();
        let group = |spec: &Spec| Group::new(spec.clone(), 1);
        // Whoever holds a key holds it there, too.
        let holds = self.holder(&group(&spec)) == Some(at);
        spec.options_mut().queue = to.clone();
        if let Some(by) = self.holder(&group(&spec)).filter(|_| holds) {
            return Err(EditRejection::NotUnique { id, verb: "move", by: JobId(self.jobs[by].0) });
        }
        let job = &self.jobs[at].1;
        let exceeded = self.exceeded(to, (1, job.size.bytes()), (0, 0)).into_iter();
        let mut exceeded =
            exceeded.filter(|(bound, ..)| waits(job) && matches!(bound, Bound::Jobs | Bound::Bytes));
        let no_room = |why| EditRejection::NoRoom { id, verb: "move", why: Box::new(why) };
        if let Some((bound, len, _, _, limit)) = exceeded.next() {
            return Err(no_room(Rejection::QueueFull { queue: to.clone(), bound, len, limit, fits: true }));
        }
        self.make_room(&[to]).map_err(no_room)?;
        let is_new = self.queue(to).is_none();
        let second = Time(self.now / 1000 * 1000);
        let row = self.row(to);
        row.used = second;
        if is_new {
            row.maker = Some(0);
        }
        self.jobs[at].1.spec = Arc::new(spec);
        Ok(())
    }

    pub(super) fn edit_one(&mut self, edit: &Edit, at: usize) {
        match edit {
            Edit::Cancel if matches!(self.jobs[at].1.state, JobState::Leased(_)) => {
                let JobState::Leased(lease) = &mut self.jobs[at].1.state else { unreachable!() };
                lease.cancelling = true;
            }
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
                    (job.begin_by, job.end_by) = (Time::NEVER, Time::NEVER);
                }
                job.beside.1 &= matches!(edit, Edit::Kick);
                (job.failed, job.crashes, job.later, job.state) = (0, 0, 0, JobState::Ready);
            }
            Edit::Delete => self.jobs[at].1.state = JobState::Dead(FORGOTTEN),
            Edit::Prioritize(priority) => {
                let mut spec = (*self.jobs[at].1.spec).clone();
                spec.options_mut().priority = *priority;
                self.jobs[at].1.spec = Arc::new(spec);
            }
            Edit::ReplaceBody(size) => {
                self.jobs[at].1.beside.0 = false;
                self.count_another(at, *size);
            }
            Edit::Move(_) => unreachable!("it is done before"),
        }
    }

    /// Why a job may not get a body of this size.
    pub(super) fn grows_too_much(&self, at: usize, size: Size) -> Option<Rejection> {
        let (job, queue) = (&self.jobs[at].1, &self.jobs[at].1.spec.queue);
        let counted = self.settings.total_backlog_bytes > 0 || self.settings_of(at).backlog_bytes > 0;
        if !counted || !waits(job) || size.bytes() <= job.size.bytes() {
            return None;
        }
        let more = (0, size.bytes() - job.size.bytes());
        let exceeded = self.exceeded(queue, more, more).into_iter();
        let mut exceeded = exceeded.filter(|(bound, ..)| matches!(bound, Bound::Bytes | Bound::TotalBytes));
        let (bound, len, _, more, limit) = exceeded.next()?;
        Some(Rejection::QueueFull { queue: queue.clone(), bound, len, limit, fits: more <= limit })
    }

    /// A job has another body: its size counts where sizes do, or did when it came.
    pub(super) fn count_another(&mut self, at: usize, size: Size) {
        let all = self.settings.total_backlog_bytes > 0 || self.settings_of(at).backlog_bytes > 0;
        let job = &mut self.jobs[at].1;
        if all || job.size != Size::default() {
            job.size = size;
        }
    }

    pub(super) fn pause(&mut self, name: &QueueName, until: Option<Time>) -> Result<Outcome, Rejection> {
        self.must_exist(name)?;
        if until.is_some() || self.queue(name).is_some() {
            self.row(name).paused_until = until;
        }
        Ok(Outcome::Ok)
    }
}
