//! What people are shown of what was counted.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLevelView {
    /// The filter that holds.
    pub filter: String,
    /// The one of the start.
    pub at_start: String,
}

/// What was counted since the daemon's start, and how it is: a page of queues by name, the first one with what is of the whole
/// daemon. What somebody may not see is not in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MetricsView {
    /// The daemon as a whole, on the first page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daemon: Option<DaemonMetricsView>,
    /// Queues. After all others comes one that is none: `(others)`, those that have no numbers of their own.
    pub queues: Vec<QueueMetricsView>,
    /// The `after` of the next page, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What was counted of the daemon as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DaemonMetricsView {
    /// Its version.
    pub version: String,
    /// For how long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// Whether it takes and gives out no jobs.
    pub draining: bool,
    /// Whether it takes no new jobs for want of room.
    pub refusing: bool,
    /// Open connections.
    pub connections: u64,
    /// Connections since the start.
    pub connections_total: u64,
    /// Claims that wait for jobs.
    pub waiting_claims: u64,
    /// Submits that wait for room.
    pub waiting_submits: u64,
    /// Queues, whether they have numbers of their own or not.
    pub queues: u64,
    /// Schedules.
    pub schedules: u64,
    /// Schedules that have a time that has passed and was not dealt with.
    pub schedules_late: u64,
    /// How often the circuit of a queue has opened.
    pub circuits_opened: u64,
    /// How long turns with a commit took, in microseconds.
    pub commit_micros: HistogramView,
    /// How many bytes commits had.
    pub commit_bytes: HistogramView,
    /// Bytes of log that no checkpoint has freed.
    pub log_bytes: u64,
    /// From how many on no new jobs are taken.
    pub log_limit_bytes: u64,
    /// Bytes of the database.
    pub database_bytes: u64,
    /// Checkpoints that have ended.
    pub checkpoints: u64,
    /// How often which limit was met.
    pub limits_hit: Vec<(String, u64)>,
    /// Spans that were sent.
    #[serde(default)]
    pub spans_sent: u64,
    /// Spans that were lost.
    #[serde(default)]
    pub spans_lost: u64,
}

/// What was counted of a queue.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "each counts what its name says")]
pub struct QueueMetricsView {
    /// Its name.
    pub queue: String,
    pub submitted: u64,
    pub started: u64,
    pub completed: u64,
    pub failed: u64,
    pub later: u64,
    pub dead: u64,
    pub interrupted: u64,
    pub expired: u64,
    pub cancelled: u64,
    pub dropped: u64,
    /// How long jobs were ready before an attempt of theirs began, in milliseconds.
    pub wait_ms: HistogramView,
    /// How long attempts took whose workers have said how they ended.
    pub run_ms: HistogramView,
    /// Jobs by state.
    pub jobs: Vec<(String, u64)>,
    /// How it is; `None` of several that are summed up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<QueueNowView>,
}

/// How one queue is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct QueueNowView {
    /// For how long the ready job is ready that has waited longest, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ready_ms: Option<u64>,
    /// Whether it gives out nothing.
    pub paused: bool,
    /// Whether its circuit is open.
    pub circuit_open: bool,
}

/// How many values were below what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistogramView {
    /// Powers of two, and how many values were below them; all that are smaller are in all that follow.
    pub below: Vec<(u32, u64)>,
    /// How many values.
    pub count: u64,
    /// All of them together.
    pub sum: u64,
}

/// The past, step by step. What somebody may not see is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatsView {
    /// When the first step began, in milliseconds since 1970 (UTC).
    pub from_ms: u64,
    /// How long each is.
    pub step_ms: u64,
    /// The queues, by name.
    pub queues: Vec<QueueStatsView>,
    /// How many queues were left out, since the answer would have been too long: ask for each of those.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One number for each step, oldest first; none where no daemon ran, or nothing was measured.
pub type Steps = Vec<Option<u32>>;

/// The past of a queue. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueStatsView {
    /// Its name.
    pub queue: String,
    /// Jobs submitted.
    pub submitted: Steps,
    /// Attempts begun.
    pub started: Steps,
    /// Jobs completed.
    pub completed: Steps,
    /// Attempts failed, the last ones too.
    pub failed: Steps,
    /// Jobs that became dead.
    pub dead: Steps,
    /// Jobs that were ready at the end of a step.
    pub ready: Steps,
    /// How long jobs were ready before an attempt began: half of them at most so long.
    pub wait_p50_ms: Steps,
    /// The same for 99 of 100.
    pub wait_p99_ms: Steps,
    /// How long attempts took: half of them at most so long.
    pub run_p50_ms: Steps,
    /// The same for 99 of 100.
    pub run_p99_ms: Steps,
}
