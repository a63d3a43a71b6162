//! What people are shown of jobs that wait for others, and of groups.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that a job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WaitView {
    /// The job, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The name of the group, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How it must end: `done`, `ended` or `failed`.
    pub when: String,
    /// Whether it has ended otherwise, and the job waits on.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub held: bool,
}

/// A topic, or a pattern of topics, with what the configuration or commands have bound to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopicView {
    /// Its name; `*` stands for anything.
    pub topic: String,
    /// The queues that get a job of each that is submitted to it.
    pub queues: Vec<String>,
    /// Who has bound them: `configuration` or `command`.
    #[serde(default = "TopicView::of_an_older_daemon")]
    pub from: String,
}

impl TopicView {
    /// They are in the daemon's configuration.
    pub const CONFIGURATION: &str = "configuration";
    /// They were bound by command.
    pub const COMMAND: &str = "command";

    /// It knows no other ones.
    fn of_an_older_daemon() -> String {
        TopicView::CONFIGURATION.to_owned()
    }
}

/// How many jobs of a group are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupCountsView {
    /// All jobs that ever belonged to it.
    pub total: u64,
    /// How many of them have not ended.
    pub live: u64,
    /// How many are done.
    pub done: u64,
    /// How many are dead.
    pub dead: u64,
    /// How many were cancelled.
    pub cancelled: u64,
    /// How many have expired.
    pub expired: u64,
    /// How many were deleted, or dropped, before they ended.
    pub gone: u64,
}

/// How a group that was waited for is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupEndView {
    /// Its name.
    pub group: String,
    /// What it has come to: `done`, all of its jobs; `failed`, one is dead or expired; `cancelled`, one was; `gone`, one was deleted
    /// before its end, or the whole group was. Or, if what was waited for has not come: `sealed`, or `open`: it takes jobs.
    pub state: String,
    /// Its jobs.
    #[serde(flatten)]
    pub counts: GroupCountsView,
}

impl GroupEndView {
    /// All of its jobs are done.
    pub const DONE: &str = "done";
    /// One of its jobs is dead or expired.
    pub const FAILED: &str = "failed";
    /// One was cancelled.
    pub const CANCELLED: &str = "cancelled";
    /// One was deleted before its end, or the whole group was.
    pub const GONE: &str = "gone";
    /// It has not ended, and takes no more jobs.
    pub const SEALED: &str = "sealed";
    /// It takes jobs.
    pub const OPEN: &str = "open";

    /// Whether what was waited for has come, and not the end of the time.
    pub fn is_over(&self) -> bool {
        self.state != GroupEndView::SEALED && self.state != GroupEndView::OPEN
    }
}

/// A group. Times are in milliseconds since 1970 (UTC).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GroupView {
    /// Its name.
    pub group: String,
    /// The user who made it.
    pub owner: u32,
    /// When it was made.
    pub made_at: u64,
    /// Whether it takes no more jobs.
    pub sealed: bool,
    /// Its jobs.
    #[serde(flatten)]
    pub counts: GroupCountsView,
    /// When it ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<u64>,
    /// When it is forgotten, if it has ended and nothing waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<u64>,
}
