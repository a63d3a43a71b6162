//! What has happened. Events are the only truth: the state is the fold of them, in the daemon, at recovery and in
//! the tests. An event holds every outcome of a decision (times, waits, what is kept), so that folding it needs
//! neither clock nor settings.
//!
//! **The law of locality**: folding an event changes only the jobs that it names, and what becomes of each follows from
//! the event and that job alone, whatever other jobs there are. Recovery depends on it: a checkpoint is no moment, so an
//! event is folded into those jobs whose rows do not have it yet, beside others that are already further. What is to be
//! decided by looking at several jobs is decided before, and is in the event. `tests/locality.rs` holds every event to
//! it.

mod joined;
mod row;

pub use row::RowEvent;

use super::flow::{EdgeFate, Target, Waits};
use super::ids::{IdRange, Ids};
use super::job::{
    Beside, Exit, Expiry, Handling, Holder, Priority, QueueName, SignalName, Size, Spec, Worker,
};
use super::rows::RowKey;
use super::time::Time;
use std::sync::Arc;

/// One fact. Those that name many jobs treat each of them alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Jobs arrived, all alike.
    Submitted {
        /// Their ids.
        jobs: IdRange,
        /// What was asked for.
        spec: Arc<Spec>,
        /// The second in which they arrived.
        at: Time,
        /// When they may run; `None` for at once.
        due: Option<Time>,
        /// Until when they are of use.
        expiry: Expiry,
    },
    /// Jobs that have just arrived wait for others.
    WaitsFor {
        /// Which.
        jobs: Ids,
        /// For what.
        waits: Arc<Waits>,
    },
    /// Something has become of what jobs wait for. Those for which nothing is left go on.
    EdgesChanged {
        /// Which.
        jobs: Ids,
        /// What they wait for.
        on: Target,
        /// What has become of it for them.
        fate: EdgeFate,
        /// When.
        at: Time,
    },
    /// Ready jobs were leased; each one's attempt number rises by one.
    Claimed {
        /// Which.
        jobs: Ids,
        /// With whose connection the leases end.
        holder: Holder,
        /// Who has them, where that is known.
        worker: Option<Worker>,
        /// When.
        at: Time,
        /// Until when.
        until: Time,
    },
    /// The leases of these jobs last longer (or shorter).
    Extended {
        /// Which.
        jobs: Ids,
        /// Until when.
        until: Time,
    },
    /// Leased jobs were completed.
    Completed {
        /// Which.
        jobs: Ids,
        /// When, and how long they are kept.
        end: Ending,
    },
    /// An attempt failed.
    Failed {
        /// Whose; a range of one.
        job: IdRange,
        /// When.
        at: Time,
        /// The error's text, cut to what is kept.
        error: Box<str>,
        /// How its process ended, if the worker has said so.
        exit: Option<Exit>,
        /// What comes of the job.
        next: AfterFailure,
    },
    /// Leases ended without a result and without blame: released by the worker or a drain.
    Released {
        /// Which.
        jobs: Ids,
        /// When they may run again; `None` for at once.
        due: Option<Time>,
    },
    /// A lease ended without blame: the job goes on when a signal comes, which it may have already, or when it is due.
    Awaits {
        /// Which; a range of one.
        job: IdRange,
        /// For which signal.
        signal: SignalName,
        /// When it goes on without.
        due: Time,
    },
    /// A signal has come for a job, with what the commit has: the job goes on with it if it waits for it, else it is kept.
    Signalled {
        /// For which; a range of one.
        job: IdRange,
        /// Which.
        signal: SignalName,
    },
    /// A worker has said that the job should come again later; it does not count as failed.
    Deferred {
        /// Whose attempt; a range of one.
        job: IdRange,
        /// When.
        at: Time,
        /// Why, cut to what is kept.
        error: Box<str>,
        /// How its process ended, if there was one and the worker has said so.
        exit: Option<Exit>,
        /// When it may run again.
        due: Time,
    },
    /// The worker, or the daemon under it, vanished in the middle of these jobs, or their leases ended without a word;
    /// they are ready again.
    Interrupted {
        /// Which.
        jobs: Ids,
    },
    /// The time of scheduled jobs has come.
    Ripened {
        /// Which.
        jobs: Ids,
    },
    /// Jobs ended unfinished: their time to live ran out.
    Expired {
        /// Which.
        jobs: Ids,
        /// When, and how long they are kept.
        end: Ending,
    },
    /// Jobs that are leased were cancelled: they end when their holders have stopped, or their leases end.
    Cancelling {
        /// Which.
        jobs: Ids,
    },
    /// Jobs were cancelled.
    Cancelled {
        /// Which.
        jobs: Ids,
        /// When, and how long they are kept.
        end: Ending,
    },
    /// Jobs were set aside as dead by hand.
    Buried {
        /// Which.
        jobs: Ids,
        /// When, and how long they are kept.
        end: Ending,
    },
    /// Jobs were made ready by hand, with all their attempts before them again.
    Revived {
        /// Which.
        jobs: Ids,
    },
    /// Waiting jobs got another priority.
    Prioritized {
        /// Which.
        jobs: Ids,
        /// Theirs now.
        priority: Priority,
    },
    /// A job got another body, which the commit has.
    BodyReplaced {
        /// Whose; a range of one.
        job: IdRange,
    },
    /// Something of its worker's is stored beside a job, which the commit has; what was there before gives way.
    Attached {
        /// Whose; a range of one.
        job: IdRange,
        /// What.
        what: Beside,
    },
    /// That is there no more.
    Detached {
        /// Whose.
        jobs: Ids,
        /// What.
        what: Beside,
    },
    /// Jobs came into another queue.
    Moved {
        /// Which.
        jobs: Ids,
        /// That queue.
        to: QueueName,
        /// The second in which they came.
        at: Time,
    },
    /// Waiting jobs run at another time than before.
    Postponed {
        /// Which.
        jobs: Ids,
        /// When they may run.
        due: Time,
    },
    /// Jobs are forgotten: by hand, by a purge, or because they were kept long enough.
    Deleted {
        /// Which.
        jobs: Ids,
    },
    /// It is said how many bytes their bodies have.
    Sized {
        /// Which.
        jobs: Ids,
        /// So many, each of them.
        size: Size,
    },
    /// Something was done with jobs that is counted for those who count it: see [`HandlingCounts`](super::HandlingCounts).
    Counted {
        /// Which.
        jobs: Ids,
        /// What.
        what: Handling,
    },
    /// Jobs that waited are forgotten: there is no room for them beside newer ones.
    Dropped {
        /// Which.
        jobs: Ids,
    },
    /// Something has happened to what is known beside jobs: it changes none.
    Row(RowEvent),
}

/// When jobs reached a final state, and until when they are kept. `None` forgets them at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When they ended.
    pub at: Time,
    /// Until when they are kept.
    pub keep_until: Option<Time>,
}

/// What comes of a job whose attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It runs again at this time.
    Retry(Time),
    /// It is dead.
    Dead(Ending),
}

impl Event {
    /// The jobs that the event changes, in the order in which it names them.
    pub fn jobs(&self) -> &[IdRange] {
        match self {
            Event::Submitted { jobs: range, .. }
            | Event::Failed { job: range, .. }
            | Event::BodyReplaced { job: range }
            | Event::Attached { job: range, .. }
            | Event::Awaits { job: range, .. }
            | Event::Signalled { job: range, .. }
            | Event::Deferred { job: range, .. } => std::slice::from_ref(range),
            Event::Claimed { jobs, .. }
            | Event::Extended { jobs, .. }
            | Event::Completed { jobs, .. }
            | Event::Released { jobs, .. }
            | Event::Interrupted { jobs }
            | Event::Ripened { jobs }
            | Event::Expired { jobs, .. }
            | Event::Cancelled { jobs, .. }
            | Event::Cancelling { jobs }
            | Event::Buried { jobs, .. }
            | Event::Revived { jobs }
            | Event::Prioritized { jobs, .. }
            | Event::Postponed { jobs, .. }
            | Event::Moved { jobs, .. }
            | Event::Detached { jobs, .. }
            | Event::Deleted { jobs }
            | Event::Sized { jobs, .. }
            | Event::Counted { jobs, .. }
            | Event::WaitsFor { jobs, .. }
            | Event::EdgesChanged { jobs, .. }
            | Event::Dropped { jobs } => jobs.ranges(),
            Event::Row(_) => &[],
        }
    }

    /// The row that is not of jobs and that the event changes or removes, but for changes of one of a queue, which most events
    /// are. Besides, one that keys leave for another: see [`State::left_rows`](super::State::left_rows).
    pub fn changed_row(&self) -> Option<RowKey> {
        if let Event::Row(event) = self { event.changed() } else { None }
    }

    /// The jobs of which nothing is left after the event, their bodies included.
    pub fn forgotten(&self) -> &[IdRange] {
        let end = match self {
            Event::Deleted { .. } | Event::Dropped { .. } => return self.jobs(),
            Event::Completed { end, .. }
            | Event::Expired { end, .. }
            | Event::Cancelled { end, .. }
            | Event::Buried { end, .. }
            | Event::Failed { next: AfterFailure::Dead(end), .. } => end,
            Event::Failed { next: AfterFailure::Retry(_), .. }
            | Event::Submitted { .. }
            | Event::Claimed { .. }
            | Event::Cancelling { .. }
            | Event::Extended { .. }
            | Event::Released { .. }
            | Event::Deferred { .. }
            | Event::Interrupted { .. }
            | Event::Ripened { .. }
            | Event::Revived { .. }
            | Event::Prioritized { .. }
            | Event::Postponed { .. }
            | Event::Sized { .. }
            | Event::Counted { .. }
            | Event::WaitsFor { .. }
            | Event::EdgesChanged { .. }
            | Event::Row(_)
            | Event::Moved { .. }
            | Event::Attached { .. }
            | Event::Awaits { .. }
            | Event::Signalled { .. }
            | Event::Detached { .. }
            | Event::BodyReplaced { .. } => return &[],
        };
        if end.keep_until.is_none() { self.jobs() } else { &[] }
    }
}
