//! Queries and changes in JSON: every request that is not on the hot path. The key `do` of the object names the
//! request; the answers are the `*View` types of `views`. Unknown keys are refused, so that a mistyped filter does not
//! match more than was meant.

use super::WireBackoff;
use super::command::Word;
pub use crate::views::*;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum AdminRequest {
    /// How the daemon is. Answer: [`StatusView`].
    Status {},
    /// What was counted since its start: a page of queues. Answer: [`MetricsView`].
    Metrics {
        /// Only queues that come after this name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// Only of these shards, in a cluster that has several; of all if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        shards: Vec<u32>,
    },
    /// The past, step by step: of ten seconds each up to an hour ago, else of a minute. Answer: [`StatsView`].
    Stats {
        /// From so long ago on.
        since_ms: u64,
        /// Only this queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
    },
    /// What is logged, or from now on. It holds until the daemon's next start. Answer: [`LogLevelView`].
    LogLevel {
        /// The new filter; an empty one for that of the start. Without it nothing changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filter: Option<String>,
    },
    /// Its queues. Answer: a list of [`QueueView`], by name.
    Queues {},
    /// Jobs, by id. Answer: [`JobsView`].
    List(ListQuery),
    /// One job. Answer: [`JobView`].
    Show {
        /// The job.
        id: u64,
    },
    /// Why a job is not running. Answer: [`ExplainView`].
    Explain {
        /// The job.
        id: u64,
    },
    /// Wait until these jobs have ended. Answer: a list of [`EndView`], in the order of the ids.
    Wait {
        /// The jobs.
        ids: Vec<u64>,
        /// At most so long; without it, as long as it takes. When it is over, the answer says how they are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_ms: Option<u64>,
    },
    /// Wait until these groups have ended: sealed, and with no job left to run. Answer: a list of [`GroupEndView`], in the order of
    /// the groups.
    WaitForGroups(WaitForGroups),
    /// Change jobs: `cancel`, `retry`, `kick`, `bury`, `delete`, `move`, `prioritize`. Answer: a list of [`EditView`].
    Edit {
        /// The change.
        edit: String,
        /// The jobs.
        ids: Vec<u64>,
        /// Only those that are still in this state when it is done; the others are left alone and have moved on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        state: Option<String>,
        /// Only those of this queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        queue: Option<String>,
        /// Of a move: the queue that they go to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<String>,
        /// To prioritize: the new priority.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        priority: Option<u32>,
    },
    /// Stop giving out a queue's jobs. Answer: `Ok`.
    Pause {
        /// The queue.
        queue: String,
        /// For so long; without it until it is resumed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        for_ms: Option<u64>,
    },
    /// Give them out again. Answer: `Ok`.
    Resume {
        /// The queue.
        queue: String,
    },
    /// Let a queue whose circuit is open give out jobs again. Answer: `Ok`.
    ResetCircuit {
        /// The queue.
        queue: String,
    },
    /// Forget a queue that has no jobs, and what it has counted. Answer: `Ok`.
    DeleteQueue {
        /// The queue.
        queue: String,
    },
    /// Change settings of a queue over what the configuration says, until they are unset. Answer: `Ok`.
    QueueSet {
        /// The queue, which need not be there yet.
        queue: String,
        /// Keys and values, as the configuration has them; texts without quotes.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        set: Vec<(String, String)>,
        /// Keys that shall be as the configuration says; done first.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        unset: Vec<String>,
    },
    /// The settings of a queue. Answer: [`QueueSettingsView`].
    QueueShow {
        /// The queue.
        queue: String,
    },
    /// Delete what waits in a queue, a bounded part of it. Answer: [`PurgeView`]; ask again while there are `more`.
    Purge {
        /// The queue.
        queue: String,
    },
    /// Take no more jobs and give none out, until `undrain` or a restart. Answer: [`DrainView`].
    Drain {},
    /// Take them and give them out again. Answer: [`DrainView`].
    Undrain {},
    /// Say that a worker cannot start jobs of these queues just now, or that it can again. For people to see; it holds
    /// until the connection ends. Answer: `Ok`.
    Hold {
        /// The queues.
        queues: Vec<String>,
        /// What it cannot do, and why: "cannot start `/bin/x`: …". Without it: it can again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// When it tries again, in milliseconds from now.
        #[serde(default)]
        retry_ms: u64,
    },
    /// Submit jobs by the clock. Answer: [`ScheduleView`].
    ScheduleAdd(Box<ScheduleAdd>),
    /// The schedules. Answer: a list of [`ScheduleView`], by name.
    Schedules {},
    /// One schedule. Answer: [`ScheduleView`].
    ScheduleShow {
        /// Its name.
        name: String,
    },
    /// The next times of a schedule. Answer: a list of times, in milliseconds since 1970 (UTC).
    ScheduleNext {
        /// Its name.
        name: String,
        /// How many; at most 1000.
        count: u32,
    },
    /// Submit a job of a schedule now. Answer: `{"id": 42}`.
    ScheduleTrigger {
        /// Its name.
        name: String,
    },
    /// Let a schedule submit nothing. Answer: `Ok`.
    SchedulePause {
        /// Its name.
        name: String,
    },
    /// Let it submit again, from now on. Answer: `Ok`.
    ScheduleResume {
        /// Its name.
        name: String,
    },
    /// Forget a schedule; its jobs stay. Answer: `Ok`.
    ScheduleRemove {
        /// Its name.
        name: String,
    },
    /// The topics. Answer: a list of [`TopicView`].
    Topics {},
    /// Bind queues to a topic, or to those of a pattern, beside those of the configuration. Answer: `Ok`, also where they are.
    TopicBind {
        /// The topic; `*` stands for anything.
        topic: String,
        /// The queues, which need not be there yet.
        queues: Vec<String>,
    },
    /// Let go of queues that were bound by command. Answer: `Ok`.
    TopicUnbind {
        /// The topic, or pattern, to which they were bound.
        topic: String,
        /// The queues; all that were bound to it by command if there are none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        queues: Vec<String>,
    },
    /// The groups. Answer: a list of [`GroupView`], oldest first.
    Groups {},
    /// One group. Answer: [`GroupView`].
    GroupShow {
        /// Its name.
        name: String,
    },
    /// Let a group take no more jobs. Answer: `Ok`.
    GroupSeal {
        /// Its name.
        name: String,
    },
    /// Forget a group of which all jobs have ended; they stay. Answer: `Ok`.
    GroupDelete {
        /// Its name.
        name: String,
    },
    /// What the daemon's own workers run. Only its pool may ask. Answer: a list of [`HandlerView`].
    Handlers {},
}

/// Which groups to wait for, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitForGroups {
    /// Their names.
    pub groups: Vec<String>,
    /// Whether a group is waited for no longer once one of its jobs has ended otherwise than done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub first_error: bool,
    /// At most so long; without it, as long as it takes. When it is over, the answer says how they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// What to submit by the clock, and when: `cron` or `every_ms`. Times are in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleAdd {
    /// Its name: the rule is that of queues.
    pub name: String,
    /// Whether there may be one of that name already, whose plan this is then.
    #[serde(default)]
    pub replace: bool,
    /// The fields of cron.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Their time zone; the daemon's system's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Once in so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_ms: Option<u64>,
    /// `skip`, `one` (if not given) or `all`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<String>,
    /// `allow` (if not given), `skip`, `queue` or `replace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<String>,
    /// By how much its jobs are put off at most, each by chance.
    #[serde(default)]
    pub jitter_ms: u64,
    /// The queue of its jobs.
    pub queue: String,
    /// Their body: a text, or bytes as `{"base64": "…"}`.
    pub body: Word,
    /// Their priority; the queue's if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// After what time they expire, if they have not begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
    /// After what time they expire, if they have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// After how many failed attempts they are dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// How they wait between attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffView>,
    /// How long one attempt may run, 0 for without end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Their key: of jobs of a queue with the same one, only so many run at a time (`per_key`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
}

impl TryFrom<BackoffView> for WireBackoff {
    type Error = String;

    fn try_from(view: BackoffView) -> Result<WireBackoff, String> {
        let growth = BACKOFF_KINDS.iter().position(|kind| *kind == view.kind);
        let growth = growth.ok_or_else(|| {
            format!("`{}` is not a kind of backoff: use fixed, linear or exponential", view.kind)
        })? as u8;
        let BackoffView { base_ms, max_ms, jitter_permille, .. } = view;
        Ok(WireBackoff { growth, base_ms, max_ms, jitter_permille })
    }
}
