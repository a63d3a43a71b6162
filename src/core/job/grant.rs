//! What a worker gets.

use super::{Attempt, Signal, Spec};
use crate::core::ids::JobId;
use crate::core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// What a claim hands to a worker, beside the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The job.
    pub id: JobId,
    /// What was asked for.
    pub spec: Arc<Spec>,
    /// The lease's number; a settle must name it.
    pub attempt: Attempt,
    /// How many attempts the job has in all.
    pub attempts: u32,
    /// How long one attempt may run; `None` for without end.
    pub timeout: Option<Duration>,
    /// By when the job must have ended; [`Time::NEVER`] for most.
    pub deadline: Time,
    /// When the lease ends unless it is extended.
    pub until: Time,
    /// Whether an earlier attempt has left a checkpoint.
    pub has_checkpoint: bool,
    /// The signal that it has waited for, if that came.
    pub signal: Option<Signal>,
}
