//! Schedules: asks the calendar for their times, has the core decide what becomes of these, and sets the contents of the jobs
//! aside for the commit. Times of cron are on the wall clock: by how much the engine's own clock is ahead of it, the loop says.

use super::{Answer, Contents, Engine, Fact, Origin, Refusal, finished};
use crate::calendar::{BadRhythm, Calendar, Passed};
use crate::core::{
    Command, IdRange, Outcome, Plan, Rejection, Rhythm, Schedule, ScheduleAction, ScheduleClock,
    ScheduleName, ScheduleRejection, Time,
};
use crate::store::{Room, Store};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The most schedules that one turn fires.
const AT_ONCE: usize = 64;
/// When to look again whether there is room for new jobs.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// When a rhythm that cannot be read just now is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(3600);
/// A wall clock that was set back by less has its times behind it: none of them comes twice. One that was set back by more was
/// wrong before.
const CORRECTED: Duration = Duration::from_secs(3 * 3600);

/// What is known of rhythms and clocks.
#[derive(Debug, Default)]
pub(super) struct Calendars {
    /// Each as it was last read.
    known: HashMap<ScheduleName, (Arc<Plan>, Calendar)>,
    /// By how many milliseconds the engine's clock is ahead of the wall clock; `None` before that was said.
    ahead_ms: Option<i64>,
}

impl Calendars {
    fn of(&mut self, name: &ScheduleName, plan: &Arc<Plan>) -> Result<&Calendar, BadRhythm> {
        if !self.known.get(name).is_some_and(|(of, _)| Arc::ptr_eq(of, plan)) {
            self.known.insert(name.clone(), (plan.clone(), Calendar::new(&plan.rhythm)?));
        }
        Ok(&self.known[name].1)
    }

    /// What a clock shows at a time of the engine's.
    fn shown(&self, clock: ScheduleClock, now: Time) -> Time {
        match clock {
            ScheduleClock::Core => now,
            ScheduleClock::Wall => Time(now.0.saturating_add_signed(-self.ahead_ms.unwrap_or(0))),
        }
    }

    /// When the engine's clock shows what a clock shows then.
    fn own(&self, clock: ScheduleClock, time: Time) -> Time {
        match clock {
            ScheduleClock::Core => time,
            ScheduleClock::Wall => Time(time.0.saturating_add_signed(self.ahead_ms.unwrap_or(0))),
        }
    }
}

impl<S: Store> Engine<S> {
    /// What a clock of schedules shows at a time of the engine's.
    pub(super) fn wall_or_own(&self, clock: ScheduleClock, now: Time) -> Time {
        self.calendars.shown(clock, now)
    }

    /// Whether anything depends on the wall clock.
    pub fn follows_wall_clock(&self) -> bool {
        self.core.state.schedules().first(ScheduleClock::Wall).is_some()
    }

    /// By how many milliseconds the engine's clock is ahead of the wall clock now.
    pub fn wall_clock_is(&mut self, ahead_ms: i64, now: Time) {
        let before = self.calendars.ahead_ms.replace(ahead_ms);
        // Less than a second is what the wall clock is corrected by all the time.
        if before.is_none_or(|before| before.abs_diff(ahead_ms) >= 1_000) {
            self.take_back_what_is_too_late(now);
        }
    }

    /// A wall clock that was far ahead has left times behind that are far away now.
    fn take_back_what_is_too_late(&mut self, now: Time) {
        let wall = self.calendars.shown(ScheduleClock::Wall, self.now.max(now));
        let is_late = |schedule: &Schedule| {
            schedule.clock() == ScheduleClock::Wall && schedule.since.since(wall) > CORRECTED
        };
        let late: Vec<(ScheduleName, Arc<Plan>)> = (self.core.state.schedules().iter())
            .filter(|(_, schedule)| is_late(schedule))
            .map(|(name, schedule)| (name.clone(), schedule.plan.clone()))
            .collect();
        for (name, plan) in late {
            if let Ok(next) = self.calendars.of(&name, &plan).map(|calendar| calendar.next(wall)) {
                self.act(&name, ScheduleAction::Move { since: wall, next }, now);
            }
        }
    }

    /// Makes a schedule, or gives it another plan. A rhythm that stays goes on where it is.
    ///
    /// # Errors
    /// The rhythm cannot be read, or the core refuses it.
    pub fn set_schedule(
        &mut self,
        name: &ScheduleName,
        plan: Plan,
        replace: bool,
        now: Time,
    ) -> Result<(), Refusal> {
        let (clock, plan) = (plan.rhythm.clock(), Arc::new(plan));
        let here = self.calendars.shown(clock, self.now.max(now));
        let there = self.core.state.schedules().get(name);
        let next = Calendar::new(&plan.rhythm)?;
        let (since, next) = match (there, &plan.rhythm) {
            (Some(there), rhythm) if there.plan.rhythm == *rhythm => (there.since, there.next),
            // It counts from the last time, whatever it counted before.
            (Some(there), Rhythm::Every(_)) if there.clock() == clock => {
                (there.since, next.next(there.since).max(here))
            }
            _ => (here, next.next(here)),
        };
        self.act_or_refuse(name, ScheduleAction::Set { plan, since, next, replace }, now)?;
        Ok(())
    }

    /// Makes those schedules that the configuration has, and removes those that it has no more. Returns those that are not
    /// used, and why.
    pub fn configure_schedules(
        &mut self,
        plans: &[(ScheduleName, Plan)],
        now: Time,
    ) -> Vec<(ScheduleName, Refusal)> {
        let is_gone = |name: &ScheduleName| !plans.iter().any(|(known, _)| known == name);
        let gone: Vec<ScheduleName> = (self.core.state.schedules().iter())
            .filter(|(name, schedule)| schedule.plan.configured && is_gone(name))
            .map(|(name, _)| name.clone())
            .collect();
        gone.iter().for_each(|name| self.act(name, ScheduleAction::Remove { configured: true }, now));
        let set = plans.iter().filter_map(|(name, plan)| {
            Some((name.clone(), self.set_schedule(name, plan.clone(), true, now).err()?))
        });
        set.collect()
    }

    /// Submits a job of a schedule now, whatever its times are. Returns its id, not to be told before it is on disk.
    ///
    /// # Errors
    /// There is no such schedule, or no room for the job.
    pub fn trigger_schedule(&mut self, name: &ScheduleName, now: Time) -> Result<IdRange, Refusal> {
        let schedule = self.schedule(name)?;
        let clock = schedule.clock();
        match self.store.room() {
            Room::Enough => {}
            room => return Err(Refusal::NoRoom(room)),
        }
        let at = self.calendars.shown(clock, self.now.max(now));
        match self.act_or_refuse(name, ScheduleAction::Trigger { at }, now)? {
            Outcome::Submitted(ids) => Ok(ids),
            other => unreachable!("a trigger submits or is refused, not {other:?}"),
        }
    }

    /// Lets a schedule submit nothing, or submit again from now on; what would have come meanwhile is not made up for.
    pub fn pause_schedule(&mut self, origin: Origin, name: &ScheduleName, pause: bool, now: Time) {
        let action = match pause {
            true => Ok(ScheduleAction::Pause),
            false => self.resumed(name, now),
        };
        let done = action.and_then(|action| self.act_or_refuse(name, action, now));
        self.answer(origin, done.map_or_else(Answer::Refused, |outcome| finished(Ok(outcome))));
    }

    fn resumed(&mut self, name: &ScheduleName, now: Time) -> Result<ScheduleAction, Refusal> {
        let (plan, since, next) = {
            let schedule = self.schedule(name)?;
            (schedule.plan.clone(), schedule.since, schedule.next)
        };
        let here = self.calendars.shown(plan.rhythm.clock(), self.now.max(now));
        // One that is still to come stays.
        if next > here {
            return Ok(ScheduleAction::Resume { since, next });
        }
        let Passed { times, next } = self.calendars.of(name, &plan)?.passed(next, here);
        Ok(ScheduleAction::Resume { since: times.last().copied().unwrap_or(since), next })
    }

    /// Forgets a schedule that was made by command. Its jobs stay.
    pub fn remove_schedule(&mut self, origin: Origin, name: &ScheduleName, now: Time) {
        let done = self.act_or_refuse(name, ScheduleAction::Remove { configured: false }, now);
        self.answer(origin, done.map_or_else(Answer::Refused, |outcome| finished(Ok(outcome))));
    }

    /// The next times of a schedule, as the wall clock will show them.
    ///
    /// # Errors
    /// There is no such schedule, or its rhythm cannot be read just now.
    pub fn next_times(&mut self, name: &ScheduleName, count: usize) -> Result<Vec<Time>, Refusal> {
        let (plan, mut next) = {
            let schedule = self.schedule(name)?;
            (schedule.plan.clone(), schedule.next)
        };
        let mut times = Vec::new();
        while times.len() < count && next != Time::NEVER {
            times.push(self.wall_time(plan.rhythm.clock(), next));
            next = self.calendars.of(name, &plan)?.next(next);
        }
        Ok(times)
    }

    /// What the wall clock shows at a time of a schedule's clock.
    pub fn wall_time(&self, clock: ScheduleClock, time: Time) -> Time {
        let own = if time == Time::NEVER { return time } else { self.calendars.own(clock, time) };
        self.calendars.shown(ScheduleClock::Wall, own)
    }

    fn schedule(&self, name: &ScheduleName) -> Result<&Schedule, Refusal> {
        let unknown = || Rejection::from(ScheduleRejection::NotFound { schedule: name.clone() });
        Ok(self.core.state.schedules().get(name).ok_or_else(unknown)?)
    }

    /// Whether schedules may fire: what comes due meanwhile is made up for as after a stop.
    fn schedules_rest(&self) -> bool {
        self.core.draining || self.store.room() != Room::Enough
    }

    /// Fires those schedules whose time has come, some of them at a time.
    pub(super) fn fire_schedules(&mut self, now: Time) {
        let schedules = self.core.state.schedules();
        if schedules.is_empty() || self.schedules_rest() {
            return;
        }
        let waiting: Vec<ScheduleName> = schedules.waiting().cloned().collect();
        waiting.iter().for_each(|name| self.act(name, ScheduleAction::FireWaiting, now));
        for _ in 0..AT_ONCE {
            if self.is_full() {
                return;
            }
            let due = [ScheduleClock::Core, ScheduleClock::Wall].into_iter().find_map(|clock| {
                let (due, name) = self.core.state.schedules().first(clock)?;
                let here = self.calendars.shown(clock, now);
                (due <= here).then(|| (name.clone(), due, here))
            });
            let Some((name, due, here)) = due else { return };
            self.fire(&name, due, here, now);
        }
    }

    fn fire(&mut self, name: &ScheduleName, due: Time, here: Time, now: Time) {
        let Ok(schedule) = self.schedule(name) else { return };
        let (plan, since) = (schedule.plan.clone(), schedule.since);
        // What is known of its zone may have changed since.
        let passed = self.calendars.of(name, &plan).map(|calendar| match plan.rhythm {
            Rhythm::Cron { .. } => calendar.passed(calendar.next(since), here),
            Rhythm::Every(_) => calendar.passed(due, here),
        });
        match passed {
            Ok(Passed { times, next }) if times.is_empty() => {
                self.act(name, ScheduleAction::Move { since, next }, now);
            }
            Ok(Passed { times, next }) => {
                self.act(name, ScheduleAction::Fire { times, next, now: here }, now);
            }
            Err(error) => {
                self.notes
                    .facts
                    .push(Fact::ScheduleStuck { schedule: name.clone(), error: error.to_string() });
                self.act(name, ScheduleAction::Move { since, next: here.plus(TRY_AGAIN) }, now);
            }
        }
    }

    /// When the next schedule is due.
    pub(super) fn next_schedule(&self, now: Time) -> Option<Time> {
        let schedules = self.core.state.schedules();
        let first = |clock| {
            let (due, _) = schedules.first(clock)?;
            Some(self.calendars.own(clock, due))
        };
        let due = [first(ScheduleClock::Core), first(ScheduleClock::Wall)].into_iter().flatten().min()?;
        match self.schedules_rest() {
            // A drain ends with a request.
            true if self.core.draining => None,
            true => Some(due.max(now.plus(LOOK_AGAIN))),
            false => Some(due),
        }
    }

    /// Does something that the core does not refuse, unless the daemon is draining.
    fn act(&mut self, name: &ScheduleName, action: ScheduleAction, now: Time) {
        // What is refused stays as it is, and is tried again.
        let _ = self.act_or_refuse(name, action, now);
    }

    /// Has the core decide, and sets aside what comes with the jobs that it submits.
    fn act_or_refuse(
        &mut self,
        name: &ScheduleName,
        action: ScheduleAction,
        now: Time,
    ) -> Result<Outcome, Refusal> {
        let command = Command::Schedule { name: name.clone(), action };
        let outcome = self.decide(&command, now)?;
        if let Outcome::Submitted(ids) = &outcome {
            let plan = &self.schedule(name)?.plan;
            let envelope = plan.payload.envelope.as_deref().map(Bytes::copy_from_slice);
            let body = Bytes::copy_from_slice(&plan.payload.body);
            let mut contents = Contents::of(envelope.clone(), std::iter::repeat_n(body, ids.len as usize));
            self.keep(ids.first, &mut contents);
        }
        if self.core.state.schedules().get(name).is_none() {
            self.calendars.known.remove(name);
        }
        Ok(outcome)
    }
}
