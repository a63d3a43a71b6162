//! Decides what becomes of schedules: which of their times have a job, and when that is submitted. A job and the event that
//! its schedule has fired are of one decision, so neither is there without the other. What the times are, the command says.

use super::Decision;
use super::room::{Growth, Room};
use crate::core::change::Recorder;
use crate::core::command::{Group, Outcome, ScheduleAction, Start};
use crate::core::event::{Event, RowEvent};
use crate::core::ids::{IdRange, JobId};
use crate::core::job::{Size, StateKind};
use crate::core::rejection::{Bound, Rejection, ScheduleRejection};
use crate::core::schedule::{CatchUp, Overlap, Plan, Run, Schedule, ScheduleChange, ScheduleName};
use crate::core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// A time that is longer ago was missed: a daemon that is only slow is not that late.
const LATE: Duration = Duration::from_secs(60);

/// Up to where the times of a schedule are dealt with.
#[derive(Clone, Copy)]
struct Progress {
    since: Time,
    next: Time,
}

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn schedule(
        &mut self,
        name: &ScheduleName,
        action: &ScheduleAction,
    ) -> Result<Outcome, Rejection> {
        match action {
            ScheduleAction::Set { plan, since, next, replace } => {
                self.set_schedule(name, plan, Progress { since: *since, next: *next }, *replace)?;
            }
            ScheduleAction::Fire { times, next, now } => return self.fire(name, times, *next, *now),
            ScheduleAction::FireWaiting => return self.fire_waiting(name),
            ScheduleAction::Trigger { at } => return self.trigger(name, *at),
            ScheduleAction::Pause => {
                if !self.known(name)?.paused {
                    self.change(name, ScheduleChange::Paused);
                }
            }
            ScheduleAction::Resume { since, next } => {
                if self.known(name)?.paused {
                    self.change(name, ScheduleChange::Resumed { since: *since, next: *next });
                }
            }
            ScheduleAction::Move { since, next } => {
                self.known(name)?;
                self.change(name, ScheduleChange::Moved { since: *since, next: *next });
            }
            ScheduleAction::Remove { configured } => {
                if self.known(name)?.plan.configured != *configured {
                    return Err(ScheduleRejection::Configured { schedule: name.clone() }.into());
                }
                self.change(name, ScheduleChange::Removed);
            }
        }
        Ok(Outcome::Ok)
    }

    fn known(&self, name: &ScheduleName) -> Result<&Schedule, Rejection> {
        let unknown = || ScheduleRejection::NotFound { schedule: name.clone() }.into();
        self.state().schedules.get(name).ok_or_else(unknown)
    }

    fn change(&mut self, name: &ScheduleName, change: ScheduleChange) {
        self.emit(RowEvent::Schedule { name: name.clone(), change });
    }

    fn set_schedule(
        &mut self,
        name: &ScheduleName,
        plan: &Arc<Plan>,
        Progress { since, next }: Progress,
        replace: bool,
    ) -> Result<(), Rejection> {
        let limit = self.core.settings.schedules_max;
        match self.state().schedules.get(name) {
            Some(there) if there.plan.configured != plan.configured => {
                let schedule = name.clone();
                return Err(match plan.configured {
                    true => ScheduleRejection::MadeByHand { schedule }.into(),
                    false => ScheduleRejection::Configured { schedule }.into(),
                });
            }
            Some(_) if !replace => {
                return Err(ScheduleRejection::Exists { schedule: name.clone() }.into());
            }
            Some(there) if there.plan == *plan => return Ok(()),
            None if self.state().schedules.len() >= limit => {
                return Err(ScheduleRejection::TooMany { limit }.into());
            }
            Some(_) | None => {}
        }
        self.change(name, ScheduleChange::Set { plan: plan.clone(), since, next });
        Ok(())
    }

    /// The times have come: those that are to have a job get it, one after the other.
    fn fire(
        &mut self,
        name: &ScheduleName,
        times: &[Time],
        next: Time,
        now: Time,
    ) -> Result<Outcome, Rejection> {
        self.must_not_drain()?;
        let Schedule { ref plan, paused, .. } = *self.known(name)?;
        let catch_up = plan.catch_up;
        let Some(newest) = times.last().filter(|_| !paused) else { return Ok(Outcome::Ok) };
        let missed = match catch_up {
            CatchUp::All => 0,
            CatchUp::One => times.len() - 1,
            CatchUp::Skip if now.since(*newest) <= LATE => times.len() - 1,
            CatchUp::Skip => times.len(),
        };
        let following = |nth: usize| times.get(nth + 1).copied().unwrap_or(next);
        if let Some(last) = missed.checked_sub(1) {
            let waits = self.known(name)?.waits;
            let (skipped, since, next) = (missed as u64, times[last], following(last));
            self.change(name, ScheduleChange::Passed { skipped, since, next, waits });
        }
        let (first, mut count) = (self.state().next_id(), 0);
        for (nth, at) in times.iter().enumerate().skip(missed) {
            let progress = Progress { since: *at, next: following(nth) };
            count += u64::from(self.fire_one(name, *at, progress)?);
        }
        Ok(submitted(first, count))
    }

    /// One time of a schedule: its job is submitted, waits, or is none. Whether it was submitted.
    fn fire_one(&mut self, name: &ScheduleName, at: Time, progress: Progress) -> Result<bool, Rejection> {
        let schedule = self.known(name)?;
        let (plan, waits) = (schedule.plan.clone(), schedule.waits);
        let last = self.unfinished(schedule);
        let Progress { since, next } = progress;
        match (plan.overlap, last) {
            (Overlap::Skip, Some(_)) => {
                self.change(name, ScheduleChange::Passed { skipped: 1, since, next, waits });
                return Ok(false);
            }
            (Overlap::Queue, Some(_)) => {
                let skipped = u64::from(waits);
                self.change(name, ScheduleChange::Passed { skipped, since, next, waits: true });
                return Ok(false);
            }
            (Overlap::Replace, Some((job, kind))) if kind.waits() => {
                let waits = self.state().job(job).expect("a job that waits is there");
                self.emit(self.end_cancelled(job.into(), waits));
            }
            (Overlap::Allow | Overlap::Replace, _) | (_, None) => {}
        }
        // The one that waits goes first, and there is no room for it.
        let Some(room) = (if waits { None } else { self.room_for(&plan).ok() }) else {
            let skipped = u64::from(waits);
            self.change(name, ScheduleChange::Passed { skipped, since, next, waits: true });
            return Ok(false);
        };
        self.submit_for(name, &plan, at, progress, false);
        self.let_old_go(room);
        Ok(true)
    }

    /// The job that waits is submitted, if it need not wait any more.
    fn fire_waiting(&mut self, name: &ScheduleName) -> Result<Outcome, Rejection> {
        self.must_not_drain()?;
        let schedule = self.known(name)?;
        let Schedule { since, next, waits, .. } = *schedule;
        let (plan, last) = (schedule.plan.clone(), self.unfinished(schedule));
        let must_wait = plan.overlap == Overlap::Queue && last.is_some();
        if !waits || must_wait {
            return Ok(Outcome::Ok);
        }
        let Ok(room) = self.room_for(&plan) else { return Ok(Outcome::Ok) };
        let first = self.state().next_id();
        self.submit_for(name, &plan, since, Progress { since, next }, false);
        self.let_old_go(room);
        Ok(submitted(first, 1))
    }

    /// A job by hand, whatever else there is of it.
    fn trigger(&mut self, name: &ScheduleName, at: Time) -> Result<Outcome, Rejection> {
        self.must_not_drain()?;
        let Schedule { since, next, waits, .. } = *self.known(name)?;
        let plan = self.known(name)?.plan.clone();
        let room = self.room_for(&plan)?;
        let first = self.state().next_id();
        self.submit_for(name, &plan, at, Progress { since, next }, waits);
        self.let_old_go(room);
        Ok(submitted(first, 1))
    }

    fn must_not_drain(&self) -> Result<(), Rejection> {
        if self.core.draining { Err(Rejection::Draining) } else { Ok(()) }
    }

    /// The newest job of a schedule, unless it has ended.
    fn unfinished(&self, schedule: &Schedule) -> Option<(JobId, StateKind)> {
        let id = schedule.runs.last()?.job;
        let kind = self.state().job(id)?.kind();
        (!kind.is_final()).then_some((id, kind))
    }

    /// Whether a job can be submitted; queues give way to its own. None is dropped that is new.
    fn room_for(&mut self, plan: &Plan) -> Result<Room, Rejection> {
        if self.state().next_id().0 == u64::MAX {
            return Err(Rejection::OutOfIds);
        }
        let room = self.make_room(&[self.group_of(plan)], &Growth::default())?;
        let (queue, limit) = (plan.spec.queue.clone(), self.core.settings.of(&plan.spec.queue).backlog);
        match room.takes_all() {
            true => Ok(room),
            false => Err(Rejection::QueueFull { queue, bound: Bound::Jobs, len: limit, limit, fits: true }),
        }
    }

    fn group_of(&self, plan: &Plan) -> Group {
        let spec = match self.core.settings.of(&plan.spec.queue).priority {
            priority if plan.usual_priority && priority != plan.spec.priority => {
                let mut spec = (*plan.spec).clone();
                spec.options_mut().priority = priority;
                Arc::new(spec)
            }
            _ => plan.spec.clone(),
        };
        let size = match self.core.counts_bytes_of(&spec.queue) {
            true => Size::of(plan.payload.body.len() as u64),
            false => Size::default(),
        };
        Group { ttl: plan.ttl, deadline: plan.deadline, size, ..Group::new(spec, 1) }
    }

    /// Both events of one job; there is room for it.
    fn submit_for(
        &mut self,
        name: &ScheduleName,
        plan: &Plan,
        at: Time,
        Progress { since, next }: Progress,
        waits: bool,
    ) {
        let job = self.state().next_id();
        let most = u64::try_from(plan.jitter.as_millis()).unwrap_or(u64::MAX);
        let late = self.moment.luck_for(job) % most.saturating_add(1);
        let start = if late == 0 { Start::Now } else { Start::After(Duration::from_millis(late)) };
        let group = Group { start, ..self.group_of(plan) };
        self.emit(self.submitted(&group, job));
        if group.size.is_counted() {
            self.emit(Event::Sized { jobs: job.into(), size: group.size });
        }
        self.change(name, ScheduleChange::Fired { run: Run { at, job }, since, next, waits });
    }
}

fn submitted(first: JobId, count: u64) -> Outcome {
    if count == 0 { Outcome::Ok } else { Outcome::Submitted(IdRange::new(first, count)) }
}
