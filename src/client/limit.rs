//! How long an attempt of a job may run, and why no longer. It reads no clock.

use crate::protocol::ClaimedJob;
use std::time::Duration;

/// How long an attempt may run, in milliseconds, and why no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeLimit {
    None,
    Timeout(u64),
    Deadline(u64),
}

impl TimeLimit {
    /// Its timeout, or what is left until the job's deadline if that is less. `now` is in milliseconds since 1970.
    pub(crate) fn of(job: &ClaimedJob, now: u64) -> TimeLimit {
        let timeout = (job.timeout_ms > 0).then_some(job.timeout_ms);
        let left = job.deadline_ms.map(|deadline| deadline.saturating_sub(now));
        match (timeout, left) {
            (timeout, Some(left)) if timeout.is_none_or(|timeout| left < timeout) => {
                TimeLimit::Deadline(left)
            }
            (Some(timeout), _) => TimeLimit::Timeout(timeout),
            (None, _) => TimeLimit::None,
        }
    }

    pub(crate) fn is_over(self) -> bool {
        matches!(self, TimeLimit::Deadline(0))
    }

    pub(crate) fn time(self) -> Option<Duration> {
        match self {
            TimeLimit::None => None,
            TimeLimit::Timeout(ms) | TimeLimit::Deadline(ms) => Some(Duration::from_millis(ms)),
        }
    }

    pub(crate) fn why_over(self) -> String {
        match self {
            TimeLimit::Deadline(_) => "the job's deadline was over".into(),
            TimeLimit::Timeout(ms) => format!("timed out after {}", duration(ms)),
            TimeLimit::None => "stopped".into(),
        }
    }
}

/// Milliseconds as people say them.
fn duration(ms: u64) -> String {
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}
