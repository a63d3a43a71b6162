//! What people are shown, and the filter of lists: plain data with a form in JSON, which the server makes, every front
//! can encode, and clients read. `docs/protocol.md` describes it key by key. It knows no other module of this crate,
//! and changes only on purpose.

mod cluster;
mod flow;
mod numbers;
mod push;
mod queues;
mod schedules;

pub use cluster::{ClusterView, NodeView, ShardView, StreamView};
pub use flow::{GroupCountsView, GroupEndView, GroupView, TopicView, WaitView};
pub use numbers::{
    DaemonMetricsView, HistogramView, LogLevelView, MetricsView, QueueMetricsView, QueueNowView,
    QueueStatsView, StatsView, Steps,
};
pub use push::{PushView, StatusMeaning, StatusRule};
pub use queues::{CircuitView, QueueSettingsView, QueueView, SettingView, TotalsView};
pub use schedules::{ScheduleRunView, ScheduleView};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which jobs to list, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only of this queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only with all of these tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// Only with this key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only of this group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only if they were submitted longer ago than so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub older_ms: Option<u64>,
    /// Only if the error of their newest failure has this text in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Only with a higher id than this.
    #[serde(default)]
    pub after: u64,
    /// Only with a lower id than this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The highest ids first, else the lowest.
    #[serde(default, skip_serializing_if = "is_false")]
    pub newest: bool,
    /// Say what commands are ([`JobView::command`]), of so many as can be read quickly; the page may be shorter for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub commands: bool,
    /// At most so many.
    pub limit: u32,
}

/// How the daemon is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StatusView {
    /// Its version.
    pub version: String,
    /// Its process id.
    pub pid: u32,
    /// Where its data is.
    pub data: String,
    /// Which node of a cluster it is, if it is one: the one that runs the queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// For how long it has run, in milliseconds.
    pub uptime_ms: u64,
    /// By how many milliseconds its clock is ahead of the wall clock, negative if behind, where both have diverged.
    /// Times in answers are those of the wall clock all the same.
    #[serde(default, skip_serializing_if = "is_none")]
    pub clock_ahead_ms: i64,
    /// `running`, `draining` (by hand) or `stopping`.
    pub mode: String,
    /// For how long it has been draining or stopping, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_ms: Option<u64>,
    /// Open connections.
    pub connections: u64,
    /// Claims that wait for work.
    pub waiting_claims: u64,
    /// Submits that wait for room in their queue.
    #[serde(default)]
    pub waiting_submits: u64,
    /// The newest commit.
    pub commit: u64,
    /// The id that the next job gets.
    pub next_id: u64,
    /// Why no jobs are taken, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusing: Option<String>,
    /// The daemon's memory, in bytes.
    pub memory: u64,
    /// How many schedules there are, of those that the caller may see.
    #[serde(default)]
    pub schedules: u64,
    /// The shards of a cluster that has several: then what is said above is all of theirs together.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardView>,
    /// All queues.
    pub queues: Vec<QueueView>,
}

/// A page of jobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobsView {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// If there may be more: ask again with this as `after`, or as `before` if the newest were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// One job. Times are in milliseconds since 1970 (UTC).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: u64,
    /// Its queue.
    pub queue: String,
    /// Its state.
    pub state: String,
    /// What it runs, if it is a command: as a line for a shell, cut if it is long. In a list only if it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Its priority.
    pub priority: u32,
    /// The newest attempt; 0 before the first.
    pub attempt: u32,
    /// How many attempts count as failed.
    pub failed: u32,
    /// How many it has in all.
    pub attempts: u32,
    /// How many times its worker vanished, or its lease ended without a word.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub crashes: u32,
    /// How many times a worker has said: again later.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub later: u32,
    /// How long one attempt may run, in milliseconds; `null` for no limit.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// How it waits between attempts, if that is not as the queue says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<BackoffView>,
    /// The second in which it arrived.
    pub submitted_at: u64,
    /// When it becomes ready, if it is scheduled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<u64>,
    /// When its newest attempt began, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<u64>,
    /// Until when its attempt may run, if it is leased and that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_until: Option<u64>,
    /// When it was leased, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased_at: Option<u64>,
    /// When its lease ends, if it is leased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leased_until: Option<u64>,
    /// Whether it is leased and was cancelled: it ends when its worker has stopped, or its lease is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cancelling: bool,
    /// Who has, or had, its newest attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerView>,
    /// How far it is, if it runs and its worker has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    /// When it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// The exit status of its newest attempt that has one: 0 if it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// The signal that ended its newest attempt, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<u8>,
    /// Until when it is kept, if it has ended and is not kept for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<u64>,
    /// When it expires, if it waits and has not begun by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// When it expires, if it has not ended by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// The user who submitted it.
    pub owner: u32,
    /// What it waits for still.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<WaitView>,
    /// What becomes of it if that ends otherwise: `cancel`, `run` or `hold`; if it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_unmet: Option<String>,
    /// The group that it belongs to, if that is known still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Its key, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its unique key, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique: Option<String>,
    /// How long it holds that: while it is `waiting`, or `unfinished`; missing if for a time after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_while: Option<String>,
    /// For how long after its end it holds that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unique_for_ms: Option<u64>,
    /// Whether an attempt has left a checkpoint for the next.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_checkpoint: bool,
    /// Whether it is done, and a result is kept with it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub has_result: bool,
    /// The signal with which it goes on, if it waits for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_signal: Option<String>,
    /// The one that it goes on with: its attempts get it until the job waits for the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Those that have come before it waited for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals_kept: Vec<String>,
    /// Names and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<(String, String)>,
    /// It has tags that cannot be read.
    #[serde(default, skip_serializing_if = "is_false")]
    pub tags_unread: bool,
    /// The newest failures, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<FailureView>,
    /// The last lines that its newest failed attempt has printed on standard error; when it is shown alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_tail: Option<String>,
}

impl JobView {
    /// Its state in words.
    pub fn state_in_words(&self) -> String {
        if self.cancelling { format!("{}, cancelling", self.state) } else { self.state.clone() }
    }
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProgressView {
    /// How much of it is done, of a hundred.
    pub percent: u8,
    /// What its worker says of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// When it was said.
    pub at: u64,
}

/// How a job waits between attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackoffView {
    /// `fixed`, `linear` or `exponential`.
    pub kind: String,
    /// The first wait, in milliseconds.
    pub base_ms: u64,
    /// The longest wait, in milliseconds.
    pub max_ms: u64,
    /// The reach of jitter, in thousandths.
    pub jitter_permille: u16,
}

/// The kinds of backoff, by their number on the wire.
pub const BACKOFF_KINDS: [&str; 3] = ["fixed", "linear", "exponential"];

/// Whether a job in this state has ended.
pub fn has_ended(state: &str) -> bool {
    matches!(state, "done" | "dead" | "cancelled" | "expired")
}

fn is_none(ms: &i64) -> bool {
    *ms == 0
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A process that has, or had, a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WorkerView {
    /// Its user.
    pub uid: u32,
    /// Its number, where it can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailureView {
    /// Which attempt.
    pub attempt: u32,
    /// When it began, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// When it ended.
    pub at: u64,
    /// What was said of it.
    pub error: String,
    /// The exit status of its process, if it ended by itself and the worker has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// The signal that ended its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<u8>,
    /// Who had it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerView>,
}

/// Why a job is not running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExplainView {
    /// The job.
    pub id: u64,
    /// Its state.
    pub state: String,
    /// The reasons, for people, the first to mend first.
    pub reasons: Vec<String>,
}

/// How a job that was waited for is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EndView {
    /// The job.
    pub id: u64,
    /// Its state; `gone` if it has ended and is not kept, and that was too long ago to know how.
    pub state: String,
    /// The newest failure, if it is dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The exit status of the attempt that ended it, 0 if it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// The signal that ended that attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_signal: Option<u8>,
}

/// What became of a change to one job; in the order of the ids asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EditView {
    /// Why it was refused, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Whether it was left alone because it is not in the state or queue any more that was asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved_on: bool,
    /// Whether it is cancelled only when its worker has stopped, or its lease is over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub when_stopped: bool,
}

/// What a purge deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeView {
    /// How many jobs.
    pub deleted: u64,
    /// Whether more wait: ask again.
    pub more: bool,
}

/// How far a drain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainView {
    /// Whether the daemon drains.
    pub draining: bool,
    /// Jobs that are still leased.
    pub leased: u64,
}

/// What the daemon's own workers run for one queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandlerView {
    /// The queue.
    pub queue: String,
    /// How many at a time.
    pub workers: u32,
    /// The command that runs each job, its body on standard input.
    pub exec: Option<Vec<String>>,
    /// Where each job is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<PushView>,
    /// The bytes of output kept of one job.
    pub output_max: u64,
    /// The bytes of the longest result of a job.
    pub result_max: usize,
}

impl HandlerView {
    /// Whether the body of each job is the command that is run ([`CommandJob`](crate::protocol::CommandJob)).
    pub fn runs_commands(&self) -> bool {
        self.exec.is_none() && self.http.is_none()
    }
}
