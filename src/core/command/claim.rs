//! A claim: who asks for which jobs, and which go first.

use crate::core::job::{Holder, QueueName, Worker};
use std::time::Duration;

/// A request for work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Where to look.
    pub queues: Vec<QueueName>,
    /// Which goes first.
    pub order: ClaimOrder,
    /// The most jobs to lease.
    pub max: u32,
    /// How long the lease lasts; if not given, what the order says.
    pub lease: Option<Duration>,
    /// With whose connection the leases end.
    pub holder: Holder,
    /// Who asks, where that is known.
    pub worker: Option<Worker>,
}

/// Which job of several queues goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimOrder {
    /// The first of the first queue that gives any, or of the one whose turn it is by weight. A lease lasts as long as its queue's
    /// setting says.
    AsNamed,
    /// The first of all of them by priority and id. A lease lasts as long as the job may run, and as its queue's setting says where
    /// that has no end.
    ByPriority,
}
