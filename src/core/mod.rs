//! The domain: what a job queue decides. A pure state machine without IO, clock, randomness, async or logging;
//! time and luck are passed in. `decide` says what shall happen, `apply` makes it so, and everything that this
//! module knows is the fold of its events. It must not know of sockets, files, threads or settings' origin.

mod command;
mod event;
mod ids;
mod job;
mod rejection;
mod retry;
mod settings;
mod state;
mod time;

pub use command::{Claim, Command, Edit, Group, LeaseId, Outcome, Start, Then, Verdict};
pub use event::{AfterFailure, Ending, Event};
pub use ids::{IdRange, Ids, JobId, RangeSet};
pub use job::{
    Attempt, BadQueueName, Failure, Final, Grant, Holder, Job, Lease, Priority, QueueName, Spec,
    State as JobState, StateKind,
};
pub use rejection::{EditRejection, LeaseRejection, Rejection};
pub use retry::{BACKOFF_MAX, Backoff, Growth};
pub use settings::{Keep, QueueSettings, Settings};
pub use state::{Books, QueueBooks, State, Totals};
pub use time::Time;
