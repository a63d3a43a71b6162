//! Why the core says no to what is asked for schedules and topics.

use crate::core::job::{QueueName, for_shell};
use crate::core::pattern::Pattern;
use crate::core::schedule::ScheduleName;

/// What was asked for a schedule was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleRejection {
    /// There is none of that name.
    #[error("no such schedule: `{schedule}` (`musher schedule list` has all of them)")]
    NotFound {
        /// Its name.
        schedule: ScheduleName,
    },
    /// There is one of that name.
    #[error("there is a schedule `{schedule}` already: --replace gives it what is new, or use another name")]
    Exists {
        /// Its name.
        schedule: ScheduleName,
    },
    /// There is one of that name in the configuration.
    #[error(
        "schedule `{schedule}` is in the daemon's configuration ([schedules.{schedule}]): change or remove it there and \
         reload, or use another name"
    )]
    Configured {
        /// Its name.
        schedule: ScheduleName,
    },
    /// The configuration has one of a name that somebody has used already.
    #[error(
        "there is a schedule `{schedule}` that was made by command, so [schedules.{schedule}] is not used: rename one of \
         them, or `musher schedule remove {}` and reload",
        for_shell(schedule.as_str())
    )]
    MadeByHand {
        /// Its name.
        schedule: ScheduleName,
    },
    /// There are as many as the limit allows.
    #[error("there are {limit} schedules already (limits.schedules): remove one, or raise the limit")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

/// What was asked for topics was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicRejection {
    /// Nothing was bound like that by command.
    #[error("{} by command (`musher topic list` has all that are)", not_bound(pattern, queue.as_ref()))]
    NotBound {
        /// The pattern.
        pattern: Pattern,
        /// The queue, if one was named.
        queue: Option<QueueName>,
    },
    /// The configuration has bound it.
    #[error(
        "{} by command, but in the daemon's configuration ([topics]): change it there and reload",
        not_bound(pattern, queue.as_ref())
    )]
    Configured {
        /// The pattern.
        pattern: Pattern,
        /// The queue, if one was named.
        queue: Option<QueueName>,
    },
    /// As many queues are bound to a pattern as may be.
    #[error("{limit} queues are bound to topic `{}` by command, the most that may be: unbind one", pattern.as_str())]
    TooManyQueues {
        /// The pattern.
        pattern: Pattern,
        /// The limit.
        limit: usize,
    },
    /// Queues are bound to as many patterns as may be.
    #[error("queues are bound to {limit} patterns of topics by command, the most that may be: unbind some")]
    TooManyPatterns {
        /// The limit.
        limit: usize,
    },
}

fn not_bound(pattern: &Pattern, queue: Option<&QueueName>) -> String {
    let pattern = pattern.as_str();
    match queue {
        Some(queue) => format!("queue `{queue}` is not bound to topic `{pattern}`"),
        None => format!("no queue is bound to topic `{pattern}`"),
    }
}
