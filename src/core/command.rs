//! What may be asked of the core, and what it answers. A front turns bytes into a [`Command`] and an [`Outcome`]
//! into bytes; everything in between is decided here.

mod actions;
mod claim;

pub use actions::{GroupAction, ScheduleAction, TopicAction};
pub use claim::{Claim, ClaimOrder};

use super::flow::Ties;
use super::groups::GroupName;
use super::ids::{IdRange, JobId};
use super::job::{
    Attempt, Exit, Grant, Handling, Holder, Job, Priority, QueueName, SignalName, Size, Spec, StateKind,
    Worker,
};
use super::overrides::{Setting, SettingKey};
use super::pattern::Pattern;
use super::rejection::{EditRejection, LeaseRejection};
use super::requests::{RequestAnswer, RequestKey};
use super::schedule::ScheduleName;
use super::time::Time;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Duration;

/// One request to the core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Enqueue jobs, all of them or none. Their ids are consecutive, in the order given.
    Submit {
        /// Runs of jobs that are alike.
        groups: Groups,
    },
    /// The same, unless it was done already: then the answer is that of the first time.
    SubmitOnce {
        /// Runs of jobs that are alike.
        groups: Groups,
        /// How it is known again.
        request: RequestKey,
    },
    /// Complete a job and enqueue what follows from it: both or neither. Who asks must be one who may end the lease;
    /// whom it lets see jobs is about what the new ones may change.
    CompleteAndSubmit {
        /// The lease under which the job runs.
        lease: LeaseId,
        /// Runs of jobs that are alike.
        groups: Groups,
        /// How it is known again, if it may be repeated.
        request: Option<RequestKey>,
    },
    /// Lease up to `max` ready jobs from the first of these queues that have any.
    Claim(Claim),
    /// Lease this job, if it is ready, scheduled or dead, whether it is its turn or not, and though its queue is paused. Its limits
    /// hold all the same.
    ClaimJob {
        /// Which.
        id: JobId,
        /// With whose connection the lease ends.
        holder: Holder,
        /// Who asks, where that is known.
        worker: Option<Worker>,
    },
    /// Something was done with jobs, which is counted of those that are there still.
    Count {
        /// Which.
        ids: Vec<JobId>,
        /// What; its number is the decision's.
        what: Handling,
    },
    /// End leases. Each is judged by itself.
    Settle {
        /// Which lease, and how it ended.
        items: Vec<(LeaseId, Verdict)>,
    },
    /// Let leases last until `lease` from now.
    Extend {
        /// Which leases.
        items: Vec<LeaseId>,
        /// How long; the queue's setting if not given.
        lease: Option<Duration>,
    },
    /// Store a checkpoint beside a leased job, in the place of the one before, and let its lease last until `extend` from
    /// now, if it would end before that.
    Checkpoint {
        /// Which lease.
        lease: LeaseId,
        /// How long; the queue's setting if not given.
        extend: Option<Duration>,
    },
    /// End a lease, and store a result beside the job if it is done by that and is kept.
    SettleWithResult {
        /// Which lease.
        lease: LeaseId,
        /// How it ended.
        verdict: Verdict,
    },
    /// A connection closed: what it held is free again. That goes a part at a time: until it holds nothing, the same is
    /// to be said again.
    Vanish {
        /// The connection.
        session: u64,
    },
    /// The daemon has just started: what connections of its former life held is free again, but for that of workers that
    /// may come back.
    Recover {
        /// Until when the leases of those last at least.
        resume_by: Time,
    },
    /// A worker has come back after a start: it has these leases of its session, and all others of it are given back.
    TakeUp {
        /// Its session.
        session: u64,
        /// What it has.
        leases: Vec<LeaseId>,
    },
    /// The daemon is stopping: what connections still hold is given back without blame.
    Evict,
    /// The daemon stood still from `since` until now, and nobody could extend a lease: those in force last longer.
    StoodStill {
        /// The last moment of which it is known that the daemon went on.
        since: Time,
    },
    /// Do what is due.
    Tick,
    /// Change jobs by hand. Each is judged by itself.
    Edit {
        /// How.
        edit: Edit,
        /// Which jobs.
        ids: Vec<JobId>,
        /// What they must be like still.
        only: Only,
    },
    /// Stop giving out a queue's jobs.
    Pause {
        /// The queue.
        queue: QueueName,
        /// For how long; `None`: until it is resumed.
        time: Option<Duration>,
        /// The user for whom it comes into being if it is not there; `None`: then it is refused.
        maker: Option<u32>,
    },
    /// Give them out again.
    Resume {
        /// The queue.
        queue: QueueName,
    },
    /// Change settings of a queue over what the configuration says.
    SetQueue {
        /// The queue.
        queue: QueueName,
        /// What to set.
        set: Vec<Setting>,
        /// What shall be again as the configuration says; done first.
        unset: Vec<SettingKey>,
        /// The user who asks.
        by: u32,
    },
    /// Let a queue whose circuit is open, or has counted failures, begin anew.
    ResetCircuit {
        /// The queue.
        queue: QueueName,
    },
    /// Forget a queue that has no jobs.
    ForgetQueue {
        /// The queue.
        queue: QueueName,
    },
    /// Delete all jobs of a queue that wait (scheduled or ready).
    Purge {
        /// The queue.
        queue: QueueName,
    },
    /// Tell a job something that it waits for, or will. What it says is stored beside the job.
    Signal {
        /// Which.
        id: JobId,
        /// The signal's name.
        signal: SignalName,
    },
    /// Do something with a group.
    Group {
        /// Its name.
        name: GroupName,
        /// What.
        action: GroupAction,
        /// Who asks, if he may do it with his own groups only.
        by: Option<u32>,
    },
    /// Bind queues to topics, or let go of them.
    Topic {
        /// The pattern of the topics.
        pattern: Pattern,
        /// What.
        action: TopicAction,
    },
    /// Do something with a schedule.
    Schedule {
        /// Its name.
        name: ScheduleName,
        /// What.
        action: ScheduleAction,
    },
}

/// The parts of a submit. Most have one.
pub type Groups = SmallVec<[Group; 1]>;

/// Jobs of one submit that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What is asked for.
    pub spec: Arc<Spec>,
    /// How many; at least one.
    pub count: u64,
    /// When they may run.
    pub start: Start,
    /// They expire if they have not begun after this time from now.
    pub ttl: Option<Duration>,
    /// They expire if they have not ended after this time from now.
    pub deadline: Option<Duration>,
    /// What happens if their unique key is held, where they have one.
    pub on_conflict: OnConflict,
    /// How many bytes each of their bodies has, where that is counted.
    pub size: Size,
    /// What they wait for, and the group that they belong to; `None` for most.
    pub ties: Option<Arc<Ties>>,
}

impl Group {
    /// So many jobs, with nothing asked for beside their spec.
    pub fn new(spec: impl Into<Arc<Spec>>, count: u64) -> Group {
        Group {
            spec: spec.into(),
            count,
            start: Start::Now,
            ttl: None,
            deadline: None,
            on_conflict: OnConflict::default(),
            size: Size::default(),
            ties: None,
        }
    }
}

/// What becomes of a job whose unique key another one holds. It is never enqueued; the other one may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Nothing: the answer says which one it is.
    #[default]
    Existing,
    /// The other one, if it has not begun, gets body, priority and start of the new one; it keeps its id and its place.
    Replace,
    /// The other one, if it waits, gets the higher priority of both.
    Raise,
    /// The other one, if it has not begun, runs as late as the new one would, but at most this time after its arrival.
    Debounce {
        /// The time, if there is a limit.
        max: Option<Duration>,
    },
    /// The whole submit is refused.
    Reject,
}

/// What became of one job of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It was enqueued, with this id.
    New(JobId),
    /// This one holds its unique key, and is as it was.
    Existing(JobId),
    /// This one holds its unique key, and has changed.
    Changed(JobId),
    /// This one holds its unique key, and has its body now.
    Replaced(JobId),
}

impl Receipt {
    /// The job that is there now.
    pub fn id(self) -> JobId {
        let (Receipt::New(id) | Receipt::Existing(id) | Receipt::Changed(id) | Receipt::Replaced(id)) = self;
        id
    }
}

/// When a job may run for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At once.
    Now,
    /// So long from now.
    After(Duration),
    /// At this time.
    At(Time),
}

/// Names one lease: a job and the attempt that is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    /// The job.
    pub id: JobId,
    /// The attempt: the fencing token.
    pub attempt: Attempt,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well.
    Complete,
    /// Badly; it counts.
    Fail {
        /// What to remember of it.
        error: Box<str>,
        /// How its process ended, if there was one.
        exit: Option<Exit>,
        /// What shall come of the job.
        then: Then,
    },
    /// Its process has ended so: the queue's settings say what that means.
    Exited {
        /// What to remember of it, unless it is done.
        error: Box<str>,
        /// How it ended.
        exit: Exit,
    },
    /// Given back: not now. The wait grows each time, and how often this may be is limited; no attempt is used up.
    Later {
        /// Why, to remember of it.
        error: Box<str>,
        /// How long, in the place of the wait that grows.
        wait: Option<Duration>,
    },
    /// Given back without blame, until a signal comes: it goes on with that, or without after this time.
    Await {
        /// Which signal; it may have come already.
        signal: SignalName,
        /// How long it waits at most.
        timeout: Duration,
    },
    /// Given back without blame.
    Release {
        /// When it may run again.
        delay: Duration,
    },
}

/// What a worker wants to come of a job that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// What the backoff says, as long as there are attempts left.
    Backoff,
    /// The same, after this time.
    RetryAfter(Duration),
    /// Nothing: it is dead.
    Bury,
}

/// A change by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Stop it for good: waiting or leased → cancelled.
    Cancel,
    /// Run it again: any final state → ready.
    Retry,
    /// Run it now: dead or scheduled → ready.
    Kick,
    /// Set it aside: waiting or leased → dead.
    Bury,
    /// Forget it: any state but leased.
    Delete,
    /// Bring it into another queue as it is: any state but leased.
    Move(QueueName),
    /// Give it another body, of this size, which is stored beside the core: any state but leased.
    ReplaceBody(Size),
    /// Give it another priority: waiting, or leased for what follows.
    Prioritize(Priority),
}

/// What jobs must be like that a change is meant for. Whoever has chosen them by that may be told of another moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Only {
    /// In this state.
    pub state: Option<StateKind>,
    /// Of this queue.
    pub queue: Option<QueueName>,
}

impl Only {
    /// Whether a job is like that.
    pub(super) fn fits(&self, job: &Job) -> bool {
        self.state.is_none_or(|kind| kind == job.kind())
            && self.queue.as_ref().is_none_or(|queue| *queue == job.spec.queue)
    }
}

impl Edit {
    /// The verb, as in protocol and command line.
    pub fn name(&self) -> &'static str {
        match self {
            Edit::Cancel => "cancel",
            Edit::Retry => "retry",
            Edit::Kick => "kick",
            Edit::Bury => "bury",
            Edit::Delete => "delete",
            Edit::Move(_) => "move",
            Edit::ReplaceBody(_) => "edit",
            Edit::Prioritize(_) => "prioritize",
        }
    }
}

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The ids of the new jobs: all of them.
    Submitted(IdRange),
    /// One receipt a job, in the order given; where some have unique keys.
    Received(Vec<Receipt>),
    /// Nothing: the same was done before, and this is what it was answered.
    Repeated(RequestAnswer),
    /// The leased jobs, in the order to run them; none if nothing is ready.
    Claimed(Vec<Grant>),
    /// One result an item, in the order given.
    Settled(Vec<Result<(), LeaseRejection>>),
    /// One result an item, in the order given: the new end of the lease.
    Extended(Vec<Result<Time, LeaseRejection>>),
    /// One result a lease, in the order given: whether it is in force.
    TakenUp(Vec<Result<(), LeaseRejection>>),
    /// One result a job, in the order given.
    Edited(Vec<Result<(), EditRejection>>),
    /// How many jobs a purge deleted, and whether it has left some for the next.
    Purged {
        /// How many.
        deleted: u64,
        /// Whether more wait.
        more: bool,
    },
    /// Done; also where there was nothing to do.
    Ok,
}
