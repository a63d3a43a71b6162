//! Schedules: their times are counted here once more, simply, and each change of one must be what its rules make of these:
//! which times have a job, which have none, and none has two. What is found at a start is what was there at some moment
//! before, not older than what was told.

use crate::calendar::{Overdue, Times};
use crate::clients::{Asked, Clients};
use crate::oracle::Oracle;
use crate::queues::named;
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{
    CatchUp, Command, IdRange, JobId, Overlap, Payload, Plan, QueueName, Rhythm, Run, Schedule,
    ScheduleClock, ScheduleName, Spec, SpecOptions, State, StateKind, Time,
};
use musher::engine::{Answer, Engine};
use musher::store::{Room, Store};
use std::collections::BTreeMap;
use std::time::Duration;

/// A time that is longer ago was missed.
const LATE: Duration = Duration::from_secs(60);
/// A clock that was put back by more has left times behind that are wrong.
const CORRECTED: Duration = Duration::from_secs(3 * 3600);
/// More jobs of schedules make a run slow.
const JOBS_MAX: u64 = 60;
/// The one that is in the configuration.
const CONFIGURED: &str = "configured";

/// The queue of all their jobs.
pub(crate) fn nightly() -> QueueName {
    named("nightly")
}

/// A schedule, and how its last job is.
#[derive(Clone, Debug)]
struct Before {
    schedule: Schedule,
    last: Option<(StateKind, Time)>,
}

/// What all of them were like before a turn.
#[derive(Debug)]
pub(crate) struct Snapshot {
    all: BTreeMap<ScheduleName, Before>,
    next_id: JobId,
    may_fire: bool,
}

/// What a schedule was like, one after the other, since the daemon has started.
#[derive(Debug, Default)]
struct History {
    was: Vec<Option<Schedule>>,
    /// The place of the newest that somebody was told of.
    told: usize,
}

/// What is known of all of them.
#[derive(Debug, Default)]
pub(crate) struct Schedules {
    all: BTreeMap<ScheduleName, History>,
    /// The jobs of times, not those by hand.
    runs: BTreeMap<JobId, (ScheduleName, Time)>,
    overdue: Overdue,
}

fn body(name: &ScheduleName) -> Box<[u8]> {
    format!("of {name}").into_bytes().into()
}

/// What a clock shows.
fn here(clock: ScheduleClock, now: Time, ahead: i64) -> Time {
    match clock {
        ScheduleClock::Core => now,
        ScheduleClock::Wall => Time(now.0.saturating_add_signed(-ahead)),
    }
}

fn state_of<S: Store>(engine: &Engine<S>) -> &State {
    &engine.core().state
}

/// A run without its job, which may have any new id.
fn run(at: Time) -> Run {
    Run { at, job: JobId(0) }
}

fn fired(schedule: &mut Schedule, at: Time) {
    schedule.fired += 1;
    schedule.runs.push(run(at));
    let extra = schedule.runs.len().saturating_sub(Schedule::RUNS);
    schedule.runs.drain(..extra);
}

impl Before {
    /// What it may be after a turn at this time: unchanged, with the job that has waited, and with all that was due besides.
    fn after(&self, now: Time, ahead: i64) -> Vec<Schedule> {
        let mut schedule = self.schedule.clone();
        let mut all = vec![schedule.clone()];
        let mut last = self.last.map(|(kind, _)| kind).filter(|kind| !kind.is_final());
        if schedule.waits && !(schedule.plan.overlap == Overlap::Queue && last.is_some()) {
            let at = schedule.since;
            fired(&mut schedule, at);
            schedule.waits = false;
            last = Some(StateKind::Ready);
            all.push(schedule.clone());
        }
        let here = here(schedule.clock(), now, ahead);
        if !schedule.paused && schedule.next <= here {
            let times = Times::of(&schedule.plan.rhythm);
            let (due, next) = times.passed(schedule.since, schedule.next, here);
            (schedule.since, schedule.next) = (due.last().copied().unwrap_or(schedule.since), next);
            let missed = match (schedule.plan.catch_up, due.last()) {
                (CatchUp::All, _) | (_, None) => 0,
                (CatchUp::Skip, Some(newest)) if here.since(*newest) > LATE => due.len(),
                (CatchUp::One | CatchUp::Skip, _) => due.len() - 1,
            };
            schedule.skipped += missed as u64;
            due.iter().skip(missed).for_each(|at| fire(&mut schedule, &mut last, *at));
            all.push(schedule);
        }
        all
    }

    /// Whether its last job may have ended in the turn itself, before its schedule was looked at.
    fn is_unsure(&self, now: Time) -> bool {
        self.last.is_some_and(|(kind, due)| !kind.is_final() && due <= now)
    }
}

/// One time of a schedule has come.
fn fire(schedule: &mut Schedule, last: &mut Option<StateKind>, at: Time) {
    match (schedule.plan.overlap, &last) {
        (Overlap::Skip, Some(_)) => schedule.skipped += 1,
        (Overlap::Queue, Some(_)) => {
            schedule.skipped += u64::from(schedule.waits);
            schedule.waits = true;
        }
        // The one that waits goes first.
        _ if schedule.waits => schedule.skipped += 1,
        _ => {
            fired(schedule, at);
            *last = Some(StateKind::Ready);
        }
    }
}

/// The same, whatever its jobs are.
fn is_like(one: &Schedule, other: &Schedule) -> bool {
    let without = |schedule: &Schedule| {
        let runs = schedule.runs.iter().map(|made| run(made.at)).collect();
        Schedule { runs, ..schedule.clone() }
    };
    without(one) == without(other)
}

impl Schedules {
    /// All of them, before a turn.
    pub(crate) fn snapshot(life: &mut Life) -> Snapshot {
        let may_fire = !life.engine.is_stalled(life.now);
        let core = life.engine.core();
        let state = &core.state;
        let last = |schedule: &Schedule| {
            let job = state.job(schedule.runs.last()?.job)?;
            Some((job.kind(), job.next_due()))
        };
        let before = |schedule: &Schedule| Before { last: last(schedule), schedule: schedule.clone() };
        let all = state.schedules().iter();
        let all = all.map(|(name, schedule)| (name.clone(), before(schedule))).collect();
        let may_fire = may_fire && !core.draining && life.engine.room() == Room::Enough;
        Snapshot { all, next_id: state.next_id(), may_fire }
    }

    /// A turn has ended, well or not. `all_home`: nothing that was decided before waits for the log.
    pub(crate) fn turned(&mut self, before: &Snapshot, life: &Life, all_home: bool) {
        let (state, mut made, mut replaced) = (state_of(&life.engine), 0, 0);
        for (name, old) in &before.all {
            let new = state.schedules().get(name).expect("no turn removes a schedule");
            let mut may_be = old.after(life.now, life.ahead);
            if !before.may_fire {
                may_be.truncate(1);
            }
            let is_one = may_be.iter().any(|one| is_like(one, new));
            assert!(is_one || old.is_unsure(life.now), "{name} was {old:?} and is {new:?}, not {may_be:?}");
            let is_late = before.may_fire && all_home && may_be.len() > 1 && *new == old.schedule;
            self.overdue.note(name, is_late);
            let count = new.fired - old.schedule.fired;
            made += count;
            replaced += if new.plan.overlap == Overlap::Replace { count } else { 0 };
            self.learn(name, &old.schedule, new, before.next_id, state);
            self.note(name, Some(new));
        }
        let new = match state.next_id().0 - before.next_id.0 {
            0 => 0,
            more => {
                let new = state.iter(IdRange::new(before.next_id, more));
                new.filter(|(_, job)| job.spec.queue == nightly()).map(|(range, _)| range.len).sum::<u64>()
            }
        };
        let all_there = made - replaced <= new && new <= made;
        assert!(all_there, "{new} jobs are new, and schedules say {made}");
    }

    /// Each new job of a time is there, and no other one has that time.
    fn learn(&mut self, name: &ScheduleName, old: &Schedule, new: &Schedule, next_id: JobId, state: &State) {
        let count = (new.fired - old.fired).min(Schedule::RUNS as u64) as usize;
        for made in &new.runs[new.runs.len() - count..] {
            assert!(made.job >= next_id && made.job < state.next_id(), "{name} has a job that is not new");
            let same = self.runs.values().find(|(other, at)| other == name && *at == made.at);
            assert!(same.is_none(), "{name} has two jobs for {}", made.at);
            self.runs.insert(made.job, (name.clone(), made.at));
        }
    }

    fn note(&mut self, name: &ScheduleName, new: Option<&Schedule>) {
        let was = &mut self.all.entry(name.clone()).or_default().was;
        if was.last().and_then(Option::as_ref) != new || was.is_empty() {
            was.push(new.cloned());
        }
    }

    /// It has changed by request, and must be so now. Returns its place in the history.
    fn changed<S: Store>(
        &mut self,
        name: &ScheduleName,
        wanted: Option<&Schedule>,
        engine: &Engine<S>,
    ) -> usize {
        let new = state_of(engine).schedules().get(name);
        let is_so = match (wanted, new) {
            (None, None) => true,
            (Some(wanted), Some(new)) => is_like(wanted, new),
            _ => false,
        };
        assert!(is_so, "{name} is {new:?}, not {wanted:?}");
        if self.all.get(name).is_none_or(|history| history.was.is_empty()) {
            self.all.entry(name.clone()).or_default().was.push(None);
        }
        let was = &mut self.all.entry(name.clone()).or_default().was;
        was.push(new.cloned());
        was.len() - 1
    }

    /// Somebody was told of a change.
    pub(crate) fn told(&mut self, name: &ScheduleName, place: usize) {
        let history = self.all.entry(name.clone()).or_default();
        history.told = history.told.max(place);
    }

    /// After a start.
    pub(crate) fn found(&mut self, state: &State) {
        let names: Vec<_> = state.schedules().iter().map(|(name, _)| name.clone()).collect();
        assert!(names.iter().all(|name| self.all.contains_key(name)), "a schedule that nobody has made");
        for (name, History { was, told }) in &mut self.all {
            let found = state.schedules().get(name).cloned();
            let known = was[*told..].contains(&found) || (was.is_empty() && found.is_none());
            assert!(known, "{name} is {found:?} after a start, not one of {:?}", &was[*told..]);
            (*was, *told) = (vec![found], 0);
        }
        self.runs.retain(|id, _| *id < state.next_id());
        self.overdue = Overdue::default();
    }

    /// What is stored of a job, or given out.
    pub(crate) fn check_body(state: &State, found: &[u8]) {
        let mut known = state.schedules().iter().map(|(name, _)| body(name));
        let is_one = found.starts_with(b"of ") && (found.len() < 20 || known.any(|one| *one == *found));
        assert!(is_one, "a schedule has submitted {found:?}");
    }

    /// The clock is set, or is said for the first time.
    pub(crate) fn set_clock(&mut self, life: &mut Life, ahead: i64) {
        let before = Schedules::snapshot(life);
        life.ahead = ahead;
        life.engine.wall_clock_is(ahead, life.now);
        for (name, Before { mut schedule, .. }) in before.all {
            let wall = here(schedule.clock(), life.now, ahead);
            if schedule.clock() == ScheduleClock::Wall && schedule.since.since(wall) > CORRECTED {
                let next = Times::of(&schedule.plan.rhythm).after(wall);
                let is_moved =
                    state_of(&life.engine).schedules().get(&name).is_some_and(|new| new.since == wall);
                if is_moved {
                    (schedule.since, schedule.next) = (wall, next);
                    // What has run in a time that never was may run again.
                    self.runs.retain(|_, (other, at)| *other != name || *at <= wall);
                }
            }
            self.changed(&name, Some(&schedule), &life.engine);
        }
    }

    /// Makes one, or changes it; as it must be then. Returns its place in the history.
    fn set(&mut self, life: &mut Life, name: &ScheduleName, plan: Plan, replace: bool) -> usize {
        let there = state_of(&life.engine).schedules().get(name).cloned();
        let there_rhythm = there.as_ref().map(|there| there.plan.rhythm.clone());
        let (times, here) = (Times::of(&plan.rhythm), here(plan.rhythm.clock(), life.now, life.ahead));
        let fresh = (here, times.after(here));
        let made = plan.clone();
        let wanted = match there {
            None => {
                let (since, next) = fresh;
                let (paused, waits) = (false, false);
                let plan = made.into();
                Some(Schedule { plan, paused, since, next, waits, fired: 0, skipped: 0, runs: Vec::new() })
            }
            Some(there) if !replace => Some(there),
            Some(there) => {
                let (since, next) = match (&there.plan.rhythm, &plan.rhythm) {
                    (one, other) if one == other => (there.since, there.next),
                    (Rhythm::Every(_), Rhythm::Every(time)) => {
                        (there.since, there.since.plus(*time).max(here))
                    }
                    _ => fresh,
                };
                Some(Schedule { plan: made.into(), since, next, ..there })
            }
        };
        if there_rhythm.as_ref() != Some(&plan.rhythm) {
            // Its times may be on another clock, or that clock was put back.
            self.runs.retain(|_, (other, _)| other != name);
        }
        let _ = life.engine.set_schedule(name, plan, replace, life.now);
        self.changed(name, wanted.as_ref(), &life.engine)
    }

    /// What a start does: the one of the configuration is there, and goes on where it was.
    pub(crate) fn configure(&mut self, life: &mut Life) {
        let name = ScheduleName::new(CONFIGURED).expect("a good name");
        let rhythm = Rhythm::Every(Duration::from_secs(600));
        let plan = Plan { configured: true, ..plan(&name, rhythm) };
        self.set(life, &name, plan.clone(), true);
        assert!(life.engine.configure_schedules(&[(name, plan)], life.now).is_empty(), "it is there already");
    }
}

fn plan(name: &ScheduleName, rhythm: Rhythm) -> Plan {
    Plan {
        rhythm,
        catch_up: CatchUp::One,
        overlap: Overlap::Allow,
        jitter: Duration::ZERO,
        spec: Spec::from(SpecOptions::plain(nightly())).into(),
        usual_priority: true,
        ttl: Some(Duration::from_secs(40)),
        deadline: None,
        payload: Payload { body: body(name), envelope: None },
        configured: false,
    }
}

fn any_plan(rng: &mut Rng, name: &ScheduleName) -> Plan {
    let rhythm = match rng.usize(..4) {
        0 => Times::cron(rng.usize(..3)),
        nth => Rhythm::Every(Duration::from_secs([20, 60, 600][nth - 1])),
    };
    Plan {
        catch_up: CatchUp::ALL[rng.usize(..3)].1,
        overlap: Overlap::ALL[rng.usize(..4)].1,
        jitter: Duration::from_millis(if rng.bool() { 0 } else { rng.u64(..20_000) }),
        ttl: rng.bool().then(|| Duration::from_millis(rng.u64(1..100_000))),
        ..plan(name, rhythm)
    }
}

impl Clients {
    /// Does something with a schedule.
    pub(crate) fn change_schedule(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let name = ["a", "b", "c", CONFIGURED][rng.usize(..4)];
        let (is_own, name) = (name != CONFIGURED, ScheduleName::new(name).expect("a good name"));
        let known = &mut oracle.schedules;
        let action = rng.u32(..10);
        if action < 4 && is_own {
            let (plan, replace) = (any_plan(rng, &name), rng.bool());
            let place = known.set(life, &name, plan, replace);
            let origin = self.ask(rng, Asked::Schedule { name, place });
            return life.engine.answer(origin, Answer::Ok);
        }
        let Some(mut schedule) = state_of(&life.engine).schedules().get(&name).cloned() else { return };
        let here = here(schedule.clock(), life.now, life.ahead);
        let place = known.all.get(&name).map_or(0, |history| history.was.len());
        let origin = self.ask(rng, Asked::Schedule { name: name.clone(), place });
        match action {
            4 => {
                schedule.skipped += u64::from(schedule.waits);
                (schedule.paused, schedule.waits) = (true, false);
                life.engine.pause_schedule(origin, &name, true, life.now);
            }
            5 if is_own => {
                life.engine.remove_schedule(origin, &name, life.now);
                known.changed(&name, None, &life.engine);
                return;
            }
            6 => {
                if life.engine.trigger_schedule(&name, life.now).is_ok() {
                    fired(&mut schedule, here);
                }
                life.engine.answer(origin, Answer::Ok);
            }
            _ => {
                if schedule.paused && schedule.next <= here {
                    let times = Times::of(&schedule.plan.rhythm);
                    let (due, next) = times.passed(Time(schedule.next.0 - 1), schedule.next, here);
                    (schedule.since, schedule.next) = (due.last().copied().unwrap_or(schedule.since), next);
                }
                schedule.paused = false;
                life.engine.pause_schedule(origin, &name, false, life.now);
            }
        }
        known.changed(&name, Some(&schedule), &life.engine);
        let waiting = state_of(&life.engine).queue(&nightly()).map_or(0, |queue| queue.counts().all());
        if waiting > JOBS_MAX {
            let origin = self.ask(rng, Asked::Other);
            life.engine.change_queue(origin, &Command::Purge { queue: nightly() }, life.now);
        }
    }

    /// Pauses all of them, so that there is an end to what is due.
    pub(crate) fn pause_schedules(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let names: Vec<_> = state_of(&life.engine).schedules().iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            let origin = self.ask(rng, Asked::Other);
            life.engine.pause_schedule(origin, &name, true, life.now);
            let new = state_of(&life.engine).schedules().get(&name).cloned();
            oracle.schedules.changed(&name, new.as_ref(), &life.engine);
        }
    }
}
