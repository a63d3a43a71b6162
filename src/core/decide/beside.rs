//! Decides what is stored beside jobs: checkpoints, results and signals. The bytes are not known here.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{Edit, LeaseId, Outcome, Verdict};
use crate::core::event::{Ending, Event};
use crate::core::ids::{IdRange, Ids, JobId};
use crate::core::job::{Beside, Job, SignalName, Signals};
use crate::core::rejection::{Rejection, SignalRejection};
use std::time::Duration;

impl<R: Recorder> Decision<'_, R> {
    /// A worker that has something to lose is alive: its lease lasts longer, and never shorter.
    pub(super) fn checkpoint(&mut self, lease: LeaseId, extend: Option<Duration>) -> Outcome {
        let extended = self.going_on(lease).map(|(_, job)| {
            let (usual, until) = (self.settings_of(job).lease, job.lease().map(|(_, lease)| lease.until));
            let end = self.moment.now.plus(extend.unwrap_or(usual)).min(job.expiry().end_by.plus(usual));
            (until.unwrap_or_default(), end)
        });
        let extended = extended.map(|(until, end)| {
            self.emit(Event::Attached { job: lease.id.into(), what: Beside::Checkpoint });
            if end > until {
                self.emit(Event::Extended { jobs: lease.id.into(), until: end });
            }
            end.max(until)
        });
        Outcome::Extended(vec![extended])
    }

    /// The result is there before the job is done: with it, it is seen to be complete.
    pub(super) fn settle_with_result(&mut self, lease: LeaseId, verdict: &Verdict) -> Outcome {
        let is_kept = self.leased(lease).is_ok_and(|(_, job)| {
            let event = self.settled(IdRange::from(lease.id), job, self.settings_of(job), verdict);
            keeps_done(&event)
        });
        if is_kept {
            self.emit(Event::Attached { job: lease.id.into(), what: Beside::Result });
        }
        self.settle(&[(lease, verdict.clone())])
    }

    /// A job that is done has no use for its checkpoint, nor for signals.
    pub(super) fn outlived(job: &Job, event: &Event) -> impl Iterator<Item = Beside> + use<R> {
        let is_done = keeps_done(event);
        let has =
            [Beside::Checkpoint, Beside::Signals].map(|what| (is_done && job.has(what)).then_some(what));
        has.into_iter().flatten()
    }

    /// A signal comes for a job that has not ended.
    pub(super) fn signal(&mut self, id: JobId, signal: &SignalName) -> Result<Outcome, Rejection> {
        let found = self.state().job(id).filter(|job| self.visibility.sees(&job.spec));
        let job = found.ok_or(SignalRejection::NotFound { id })?;
        if job.kind().is_final() {
            return Err(SignalRejection::Ended { id, state: job.kind() }.into());
        }
        if job.signals().is_some_and(|signals| !signals.has_room_for(signal)) {
            return Err(SignalRejection::TooMany { id, limit: Signals::KEPT_MAX }.into());
        }
        self.emit(Event::Attached { job: id.into(), what: Beside::Signals });
        self.emit(Event::Signalled { job: id.into(), signal: signal.clone() });
        Ok(Outcome::Ok)
    }

    /// What a change by hand makes meaningless: a checkpoint is of the body that it was made with, a result of the attempt that
    /// was done.
    pub(super) fn detach_before(&mut self, edit: &Edit, id: JobId) {
        let what = match edit {
            Edit::ReplaceBody(_) => Beside::Checkpoint,
            Edit::Retry => Beside::Result,
            _ => return,
        };
        if self.state().job(id).is_some_and(|job| job.has(what)) {
            self.emit(Event::Detached { jobs: Ids::from(id), what });
        }
    }
}

fn keeps_done(event: &Event) -> bool {
    matches!(event, Event::Completed { end: Ending { keep_until: Some(_), .. }, .. })
}
