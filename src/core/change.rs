//! What an event does to jobs, told where it happens: `apply.rs` is the only place in which a job changes its state.
//! Everything that depends on that (claims and requests that wait, connections that must learn of a lost lease, counters)
//! listens here and does not read it off commands or events.

use super::event::Event;
use super::groups::{GroupNo, JobGroup};
use super::ids::IdRange;
use super::job::{Attempt, Job, Lease, QueueName, StateKind};
use super::time::Time;
use std::sync::Arc;

/// Jobs that are alike, or differ in their keys only, have come into a state, or are in it in another way (a lease that lasts longer).
#[derive(Debug)]
pub struct Change<'a> {
    /// Which jobs.
    pub jobs: IdRange,
    /// As the first of them is now; as it was at last, if they are forgotten.
    pub job: &'a Job,
    /// The state that they were in; `None` for new ones.
    pub from: Option<StateKind>,
    /// The lease under which they were, with its attempt.
    pub lease: Option<(Attempt, Lease)>,
    /// Whether nothing of them is known any more.
    pub forgotten: bool,
    /// What has happened.
    pub event: &'a Event,
}

/// What has happened to a queue as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// It gives out no more jobs.
    Paused,
    /// It gives out jobs again.
    Resumed,
    /// Something was set for it at run time, or is not set any more.
    Set,
    /// It has taken none of these new jobs.
    NotTaken(IdRange),
    /// It is not there any more.
    Forgotten,
    /// Too many attempts in a row have failed: it gives out probes only.
    CircuitOpened {
        /// How many.
        failed: u32,
        /// When the first probe may go.
        next: Time,
    },
    /// It gives out jobs again.
    CircuitClosed,
}

/// Somebody who is told of changes, in the middle of them: the state is not to be looked at.
pub trait Observer {
    /// Is called for each change of jobs.
    fn changed(&mut self, change: &Change<'_>);

    /// Is called for each change of a queue.
    fn queue_changed(&mut self, queue: &QueueName, change: QueueChange);

    /// Is called for each change of a group, with all that is known of it now; if it `is_gone`, that was all that was known of it.
    fn group_changed(&mut self, _group: GroupNo, _now: &Arc<JobGroup>, _is_gone: bool) {}
}

/// Somebody who keeps what was decided, in order.
pub trait Recorder: Observer {
    /// Is called once for each event, after it was applied and its changes were told.
    fn record(&mut self, event: Event);
}

/// Nobody.
impl Observer for () {
    fn changed(&mut self, _: &Change<'_>) {}

    fn queue_changed(&mut self, _: &QueueName, _: QueueChange) {}
}
