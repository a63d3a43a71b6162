//! What may be asked for groups, topics and schedules.

use crate::core::job::QueueName;
use crate::core::schedule::Plan;
use crate::core::time::Time;
use std::sync::Arc;

/// What can be done with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupAction {
    /// Let it take no more jobs: it ends with the last one that it has.
    Seal,
    /// Forget it; its jobs stay. None may be left to run.
    Forget,
}

/// What can be done with the topics of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicAction {
    /// Bind queues to them, beside those that are.
    Bind {
        /// Which; they need not be there yet.
        queues: Vec<QueueName>,
    },
    /// Let go of queues that were bound by command.
    Unbind {
        /// Which; all of the pattern if none is named.
        queues: Vec<QueueName>,
    },
}

/// What can be done with a schedule. Times are on its clock, and follow from its rhythm; the core believes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScheduleAction {
    /// Make one, or give it another plan.
    Set {
        /// The plan.
        plan: Arc<Plan>,
        /// Up to where its times are dealt with.
        since: Time,
        /// Its next time.
        next: Time,
        /// Whether there may be one already.
        replace: bool,
    },
    /// Its time has come.
    Fire {
        /// The times that have come, in order; the newest ones if they are very many.
        times: Vec<Time>,
        /// The one that follows.
        next: Time,
        /// What its clock shows.
        now: Time,
    },
    /// Submit the job that waits, if it need not wait any more.
    FireWaiting,
    /// Submit a job now.
    Trigger {
        /// What its clock shows.
        at: Time,
    },
    /// Submit nothing any more.
    Pause,
    /// Submit again, from here on.
    Resume {
        /// Up to where its times are dealt with.
        since: Time,
        /// Its next time.
        next: Time,
    },
    /// Go on from here.
    Move {
        /// Up to where its times are dealt with.
        since: Time,
        /// Its next time.
        next: Time,
    },
    /// Forget it.
    Remove {
        /// Whether it must be one of the configuration; else it must not.
        configured: bool,
    },
}
