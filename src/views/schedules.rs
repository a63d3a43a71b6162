//! What people are shown of schedules.

use super::BackoffView;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// When it runs, as the fields of cron; or `every_ms` is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of `cron`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Once in so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// The queue of its jobs.
    pub queue: String,
    /// The user whose jobs they are.
    pub owner: u32,
    /// Whether it is from the configuration.
    pub configured: bool,
    /// Whether it submits nothing.
    pub paused: bool,
    /// Whether a job waits to be submitted: for the end of the last one, or for room in the queue.
    pub waits: bool,
    /// Its next time; `None` if it is paused, or if there is none.
    pub next_at: Option<u64>,
    /// How many jobs it has submitted.
    pub fired: u64,
    /// How many of its times have had no job.
    pub skipped: u64,
    /// What becomes of times that have passed: `skip`, `one` or `all`.
    pub catch_up: String,
    /// What becomes of times at which the last job has not ended: `allow`, `skip`, `queue` or `replace`.
    pub overlap: String,
    /// By how many milliseconds its jobs are put off at most.
    pub jitter_ms: u64,
    /// The priority of its jobs; the queue's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// After how many failed attempts they are dead; the queue's setting if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How they wait between attempts; the queue's setting if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffView>,
    /// After how many milliseconds they expire, if they have not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// After how many milliseconds they expire, if they have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// How long one attempt may run, 0 for without end; the queue's setting if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Their key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Their tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// How many bytes their body has.
    pub body_bytes: u64,
    /// Its newest jobs, the newest first.
    pub runs: Vec<ScheduleRunView>,
}

/// A job of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleRunView {
    /// The time that it is for.
    pub at: u64,
    /// The job.
    pub job: u64,
    /// Its state; `None` if it is not there any more.
    pub state: Option<String>,
}
