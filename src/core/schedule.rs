//! Schedules: what submits jobs by the clock. Here is what one is, what has become of it, and which comes next, as the fold of
//! events. When its times are is in the events; how times follow from a rhythm is not known here, nor what time it is.

use super::ids::JobId;
use super::job::{QueueName, Spec};
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of a schedule: the rule is that of [`QueueName`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScheduleName(QueueName);

/// A name of a schedule that breaks the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a name for a schedule: use 1 to {max} of the characters A-Z a-z 0-9 . _ - / : + ; $ ( ), not beginning with -",
    max = QueueName::MAX
)]
pub struct BadScheduleName(String);

impl ScheduleName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`BadScheduleName`], with the name cut to a length that can be shown.
    pub fn new(name: &str) -> Result<ScheduleName, BadScheduleName> {
        QueueName::new(name).map(ScheduleName).map_err(|bad| BadScheduleName(bad.0))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the times of a schedule follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rhythm {
    /// The fields of cron, in a time zone.
    Cron {
        /// The fields.
        fields: Box<str>,
        /// The zone's name, as the tz database has it.
        zone: Box<str>,
    },
    /// Once in so long.
    Every(Duration),
}

/// The clock that the times of a schedule are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleClock {
    /// The wall clock, which may be set.
    Wall,
    /// The core's own, which only goes on.
    Core,
}

impl Rhythm {
    /// The shortest time between two jobs.
    pub const LEAST: Duration = Duration::from_secs(1);
    /// The longest fields of cron, and the longest name of a zone, in bytes.
    pub const TEXT_MAX: usize = 250;

    /// The clock that it goes by.
    pub fn clock(&self) -> ScheduleClock {
        match self {
            Rhythm::Cron { .. } => ScheduleClock::Wall,
            Rhythm::Every(_) => ScheduleClock::Core,
        }
    }
}

/// What becomes of times that have passed without anybody there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CatchUp {
    /// Nothing.
    Skip,
    /// One job for all of them.
    #[default]
    One,
    /// A job for each.
    All,
}

/// What becomes of a time at which the schedule's last job has not ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// Its job is submitted all the same.
    #[default]
    Allow,
    /// It has no job.
    Skip,
    /// Its job is submitted when the last one has ended; one waits at most.
    Queue,
    /// Its job is submitted; the last one is cancelled, unless it runs.
    Replace,
}

impl CatchUp {
    /// Each with its name.
    pub const ALL: [(&'static str, CatchUp); 3] =
        [("skip", CatchUp::Skip), ("one", CatchUp::One), ("all", CatchUp::All)];
}

impl Overlap {
    /// Each with its name.
    pub const ALL: [(&'static str, Overlap); 4] = [
        ("allow", Overlap::Allow),
        ("skip", Overlap::Skip),
        ("queue", Overlap::Queue),
        ("replace", Overlap::Replace),
    ];
}

/// What a schedule submits, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What its times follow.
    pub rhythm: Rhythm,
    /// What becomes of times that have passed.
    pub catch_up: CatchUp,
    /// What becomes of times at which its last job has not ended.
    pub overlap: Overlap,
    /// By how much jobs are put off at most, each by chance.
    pub jitter: Duration,
    /// What its jobs ask for.
    pub spec: Arc<Spec>,
    /// Whether they ask for no priority: theirs is the queue's at that time.
    pub usual_priority: bool,
    /// Its jobs expire if they have not begun after this time.
    pub ttl: Option<Duration>,
    /// Its jobs expire if they have not ended after this time.
    pub deadline: Option<Duration>,
    /// What is stored beside each job; nobody looks at it here.
    pub payload: Payload,
    /// Whether it is from the configuration, and goes with that.
    pub configured: bool,
}

/// Bytes that are handed on with each job of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Its body.
    pub body: Box<[u8]>,
    /// Its envelope, if it has one.
    pub envelope: Option<Box<[u8]>>,
}

impl Payload {
    /// The longest body, in bytes: that of each schedule is in memory.
    pub const BODY_MAX: usize = 64 << 10;
}

/// One job of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The time that it is for, on the schedule's clock.
    pub at: Time,
    /// The job.
    pub job: JobId,
}

/// A schedule, and what has become of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// What it submits, and when.
    pub plan: Arc<Plan>,
    /// Whether it does not.
    pub paused: bool,
    /// The newest time that was dealt with, on its clock; before the first when it came to be.
    pub since: Time,
    /// Its next time, on its clock; [`Time::NEVER`] if there is none.
    pub next: Time,
    /// Whether a job of it waits to be submitted: for the end of the last one, or for room in its queue.
    pub waits: bool,
    /// How many jobs it has submitted.
    pub fired: u64,
    /// How many of its times have had no job.
    pub skipped: u64,
    /// Its newest jobs, oldest first.
    pub runs: Vec<Run>,
}

impl Schedule {
    /// How many of its newest jobs are remembered.
    pub const RUNS: usize = 5;

    /// The clock that its times are on.
    pub fn clock(&self) -> ScheduleClock {
        self.plan.rhythm.clock()
    }
}

/// What has happened to a schedule. Times are on its clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleChange {
    /// It has come to be, or has another plan.
    Set {
        /// The plan.
        plan: Arc<Plan>,
        /// See [`Schedule::since`].
        since: Time,
        /// Its next time.
        next: Time,
    },
    /// It has submitted a job; that itself is another event, of the same commit.
    Fired {
        /// The job.
        run: Run,
        /// See [`Schedule::since`].
        since: Time,
        /// Its next time.
        next: Time,
        /// Whether another one waits.
        waits: bool,
    },
    /// Times have passed that have no job, or none yet.
    Passed {
        /// How many have none.
        skipped: u64,
        /// See [`Schedule::since`].
        since: Time,
        /// Its next time.
        next: Time,
        /// Whether a job waits.
        waits: bool,
    },
    /// It submits nothing any more. A job that has waited to be submitted is none.
    Paused,
    /// It does again.
    Resumed {
        /// See [`Schedule::since`].
        since: Time,
        /// Its next time.
        next: Time,
    },
    /// Its times are others now: the clock was set, or its zone is not known just now.
    Moved {
        /// See [`Schedule::since`].
        since: Time,
        /// Its next time.
        next: Time,
    },
    /// It is not there any more.
    Removed,
}

/// All schedules, and which is next.
#[derive(Clone, Debug, Default)]
pub struct Schedules {
    all: BTreeMap<ScheduleName, Schedule>,
    /// What is due, on each clock; not what is paused, nor what has no next time.
    wall: BTreeSet<(Time, ScheduleName)>,
    core: BTreeSet<(Time, ScheduleName)>,
    /// Those of which a job waits.
    waiting: BTreeSet<ScheduleName>,
}

impl Schedules {
    /// One of them.
    pub fn get(&self, name: &ScheduleName) -> Option<&Schedule> {
        self.all.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ScheduleName, &Schedule)> {
        self.all.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The next one on a clock, and its time.
    pub fn first(&self, clock: ScheduleClock) -> Option<(Time, &ScheduleName)> {
        let due = match clock {
            ScheduleClock::Wall => &self.wall,
            ScheduleClock::Core => &self.core,
        };
        due.first().map(|(time, name)| (*time, name))
    }

    /// Those of which a job waits to be submitted.
    pub fn waiting(&self) -> impl ExactSizeIterator<Item = &ScheduleName> {
        self.waiting.iter()
    }

    /// Folds what has happened to one. At recovery it may not be there yet, and its row comes with all of it.
    pub(super) fn apply(&mut self, name: &ScheduleName, change: &ScheduleChange) {
        let former = self.take(name);
        let changed = match (former, change) {
            (_, ScheduleChange::Removed) => None,
            (former, ScheduleChange::Set { plan, since, next }) => {
                let plan = plan.clone();
                Some(match former {
                    Some(former) => Schedule { plan, since: *since, next: *next, ..former },
                    None => Schedule::new(plan, *since, *next),
                })
            }
            (former, change) => former.map(|schedule| schedule.after(change)),
        };
        if let Some(schedule) = changed {
            self.put(name.clone(), schedule);
        }
    }

    /// Puts one back, in place of what there is. For recovery.
    pub(super) fn restore(&mut self, name: ScheduleName, schedule: Schedule) {
        self.take(&name);
        self.put(name, schedule);
    }

    fn take(&mut self, name: &ScheduleName) -> Option<Schedule> {
        let schedule = self.all.remove(name)?;
        self.due(schedule.clock()).remove(&(schedule.next, name.clone()));
        self.waiting.remove(name);
        Some(schedule)
    }

    fn put(&mut self, name: ScheduleName, schedule: Schedule) {
        if !schedule.paused && schedule.next != Time::NEVER {
            self.due(schedule.clock()).insert((schedule.next, name.clone()));
        }
        if schedule.waits {
            self.waiting.insert(name.clone());
        }
        self.all.insert(name, schedule);
    }

    fn due(&mut self, clock: ScheduleClock) -> &mut BTreeSet<(Time, ScheduleName)> {
        match clock {
            ScheduleClock::Wall => &mut self.wall,
            ScheduleClock::Core => &mut self.core,
        }
    }

    /// Panics if an index contradicts the schedules.
    pub(super) fn check(&self) {
        let mut anew = Schedules::default();
        self.all.iter().for_each(|(name, schedule)| anew.put(name.clone(), schedule.clone()));
        assert_eq!((&self.wall, &self.core), (&anew.wall, &anew.core), "which schedules are due");
        assert_eq!(self.waiting, anew.waiting, "which schedules wait");
        let whole = |schedule: &Schedule| {
            !(schedule.paused && schedule.waits) && schedule.runs.len() <= Schedule::RUNS
        };
        assert!(self.all.values().all(whole), "a schedule contradicts itself");
    }
}

impl Schedule {
    fn new(plan: Arc<Plan>, since: Time, next: Time) -> Schedule {
        Schedule { plan, paused: false, since, next, waits: false, fired: 0, skipped: 0, runs: Vec::new() }
    }

    fn after(mut self, change: &ScheduleChange) -> Schedule {
        match *change {
            ScheduleChange::Fired { run, since, next, waits } => {
                (self.since, self.next, self.waits) = (since, next, waits);
                self.fired += 1;
                if self.runs.len() == Schedule::RUNS {
                    self.runs.remove(0);
                }
                self.runs.push(run);
            }
            ScheduleChange::Passed { skipped, since, next, waits } => {
                (self.since, self.next, self.waits) = (since, next, waits);
                self.skipped += skipped;
            }
            ScheduleChange::Paused => {
                self.skipped += u64::from(self.waits);
                (self.paused, self.waits) = (true, false);
            }
            ScheduleChange::Resumed { since, next } => {
                (self.paused, self.since, self.next) = (false, since, next);
            }
            ScheduleChange::Moved { since, next } => (self.since, self.next) = (since, next),
            ScheduleChange::Set { .. } | ScheduleChange::Removed => {}
        }
        self
    }
}
