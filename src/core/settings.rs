//! What decisions depend on beside the state: the settings of queues and the limits. They come from the
//! configuration, may change while the daemon runs, and are never part of the state, so that the past folds the
//! same whatever the settings are today.

use super::circuit::CircuitSettings;
use super::exits::OnExit;
use super::job::{Priority, QueueName, Spec};
use super::rate::Rate;
use super::retry::Backoff;
use super::topics::Topics;
use rustc_hash::FxHashMap;
use std::time::Duration;

/// How long jobs in a final state are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Forgotten at once.
    No,
    /// For this long.
    For(Duration),
    /// Until somebody deletes them.
    Forever,
}

/// Where jobs that have come back (after a failure, an interruption, or as "again later") are among the fresh ones of
/// their priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retries {
    /// Both take turns, so that neither keeps the other from running.
    #[default]
    Alternate,
    /// Behind them.
    Behind,
    /// In their old place, by arrival.
    Place,
}

/// What becomes of jobs for which a queue has no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Full {
    /// Their submit is refused.
    #[default]
    Reject,
    /// They get ids, but nothing else comes of them.
    DropNew,
    /// The oldest ones that wait go, those of the lowest priority first.
    DropOld,
    /// Their submit waits for room, at most so long; then it is refused.
    Wait(Duration),
}

/// What holds for the jobs of one queue.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueSettings {
    /// The priority of jobs that ask for none.
    pub priority: Priority,
    /// How long a lease lasts that asks for no other time.
    pub lease: Duration,
    /// How long one attempt may run; `None` for without end.
    pub timeout: Option<Duration>,
    /// After how many failed attempts a job is dead.
    pub attempts: u32,
    /// How jobs wait between attempts.
    pub backoff: Backoff,
    /// Where jobs stand that come back.
    pub retries: Retries,
    /// How many vanished workers (or daemons) under one job make it dead; leases that end without a word count too.
    pub crashes: u32,
    /// How many times a job may be given back as "again later" before it is dead.
    pub later_max: u32,
    /// What the exit statuses and signals of its jobs' processes mean.
    pub on_exit: OnExit,
    /// How long done, cancelled and expired jobs are kept.
    pub keep_done: Keep,
    /// The most done, cancelled and expired jobs kept; the oldest give way.
    pub keep_done_max: u64,
    /// How long dead jobs are kept.
    pub keep_dead: Keep,
    /// The most dead jobs kept; those that were submitted first give way. `None` for no limit.
    pub keep_dead_max: Option<u32>,
    /// The most jobs that may wait; 0 for no limit.
    pub backlog: u64,
    /// The most bytes that their bodies may have; 0 for no limit.
    pub backlog_bytes: u64,
    /// What becomes of those for which there is no room.
    pub full: Full,
    /// The most of its jobs that may be leased at a time, over all workers; `None` for no limit.
    pub concurrency: Option<u32>,
    /// The most jobs with the same key that may be leased at a time; `None` for no limit.
    pub per_key: Option<u32>,
    /// Its share of the leases of a claim that names other queues as well; `None`: the order in which they are named decides,
    /// or 1 where another one has a weight.
    pub weight: Option<u32>,
    /// How fast its jobs may be leased, over all workers; `None` for no limit.
    pub rate: Option<Rate>,
    /// How fast those with the same key may be leased, over all workers; `None` for no limit.
    pub per_key_rate: Option<Rate>,
    /// Whether its keys take turns.
    pub fair: bool,
    /// After how many failed attempts in a row only one job at a time is given out, as a probe; `None` for never.
    pub circuit_failures: Option<u32>,
    /// How long it waits then for the first one.
    pub circuit_probe: Duration,
}

impl QueueSettings {
    /// When its circuit opens, if it has one.
    pub fn circuit(&self) -> Option<CircuitSettings> {
        self.circuit_failures.map(|failures| CircuitSettings { failures, probe: self.circuit_probe })
    }

    /// How long one attempt of a job may run; `None` for without end.
    pub fn timeout_of(&self, spec: &Spec) -> Option<Duration> {
        spec.timeout.map_or(self.timeout, |timeout| Some(timeout).filter(|it| !it.is_zero()))
    }
}

impl Default for QueueSettings {
    fn default() -> QueueSettings {
        QueueSettings {
            priority: Priority::default(),
            lease: Duration::from_secs(60),
            timeout: Some(Duration::from_secs(600)),
            attempts: 25,
            backoff: Backoff::default(),
            retries: Retries::default(),
            crashes: 20,
            later_max: 1000,
            on_exit: OnExit::default(),
            keep_done: Keep::No,
            keep_done_max: 100_000,
            keep_dead: Keep::Forever,
            keep_dead_max: None,
            backlog: 0,
            backlog_bytes: 0,
            full: Full::Reject,
            concurrency: None,
            per_key: None,
            weight: None,
            rate: None,
            per_key_rate: None,
            fair: false,
            circuit_failures: None,
            circuit_probe: Duration::from_secs(30),
        }
    }
}

/// All settings that decisions depend on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What holds for queues that have no entry of their own.
    pub default: QueueSettings,
    /// What holds for each queue that has one.
    pub queues: FxHashMap<QueueName, QueueSettings>,
    /// The queues that the configuration binds to topics.
    pub topics: Topics,
    /// The most jobs that may wait in all queues together; 0 for no limit.
    pub total_backlog: u64,
    /// The most bytes that their bodies may have; 0 for no limit.
    pub total_backlog_bytes: u64,
    /// The most queues that there may be.
    pub queues_max: usize,
    /// The most that may have come into being with jobs of one user; root and `own_user` are free of it.
    pub queues_per_user: usize,
    /// The most schedules that there may be.
    pub schedules_max: usize,
    /// The most submits that are remembered by their idempotency keys.
    pub requests_max: usize,
    /// The most of one user; the daemon's own user and root are free of it.
    pub requests_per_user: usize,
    /// How long each is remembered.
    pub requests_kept: Duration,
    /// The most groups that there may be.
    pub groups_max: usize,
    /// The most of one user; the daemon's own user and root are free of it.
    pub groups_per_user: usize,
    /// How long each is remembered after its end.
    pub groups_kept: Duration,
    /// The daemon's own user.
    pub own_user: u32,
    /// After what time without a submit a queue that is empty, and has no settings of its own, is forgotten.
    pub queue_idle: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            default: QueueSettings::default(),
            queues: FxHashMap::default(),
            topics: Topics::default(),
            total_backlog: 0,
            total_backlog_bytes: 0,
            queues_max: 10_000,
            queues_per_user: 1_000,
            schedules_max: 1_000,
            requests_max: 1_000_000,
            requests_per_user: 500_000,
            requests_kept: Duration::from_secs(86_400),
            groups_max: 100_000,
            groups_per_user: 50_000,
            groups_kept: Duration::from_secs(86_400),
            own_user: 0,
            queue_idle: Duration::from_secs(86_400),
        }
    }
}

impl Settings {
    /// The settings of one queue.
    pub fn of(&self, queue: &QueueName) -> &QueueSettings {
        self.queues.get(queue).unwrap_or(&self.default)
    }
}
