//! Attempts of a job: their number, how they ended, and what is counted and remembered of them.

use super::state::Worker;
use crate::core::time::Time;
use std::fmt;

/// The number of a lease on one job, from 1. It is the fencing token: a settle names it, and only the newest one
/// is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The attempt that follows.
    pub fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this status; 0 is success.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

/// Why an attempt did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which attempt.
    pub attempt: Attempt,
    /// When it began; `None` where that was not yet remembered.
    pub since: Option<Time>,
    /// When it ended.
    pub at: Time,
    /// What the worker, or the daemon, said of it; at most [`Failure::TEXT_MAX`] bytes.
    pub error: Box<str>,
    /// How its process ended, if the worker has said so.
    pub exit: Option<Exit>,
    /// Who had it; `None` where that was not yet remembered.
    pub worker: Option<Worker>,
}

impl Failure {
    /// The longest text that is kept of an error, in bytes. What is longer is cut.
    pub const TEXT_MAX: usize = 240;
    /// How many failures are kept of one job, the newest.
    pub const KEPT: usize = 3;
}

/// What is known of the newest attempt of a job besides its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) started: Option<Time>,
    pub(crate) worker: Option<Worker>,
}

/// What is counted of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct JobCounts {
    pub(crate) attempt: Attempt,
    pub(crate) failed: u32,
    pub(crate) crashes: u32,
    pub(crate) later: u32,
}
