//! Why the core says no: one variant a fact, with the data that its message needs. What a message says is what
//! the user reads, so it tells what to do.

mod rows;

pub use rows::{ScheduleRejection, TopicRejection};

use super::groups::GroupName;
use super::ids::JobId;
use super::job::{Attempt, QueueName, StateKind};

/// A command was refused as a whole; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The daemon is draining.
    #[error(
        "draining: no new jobs are taken and none given out; try again after the restart, or `musher undrain`"
    )]
    Draining,
    /// A queue is at its limit.
    #[error("{}", bound.words(queue, (*len, *limit), *fits))]
    QueueFull {
        /// The queue.
        queue: QueueName,
        /// Which limit.
        bound: Bound,
        /// How many jobs wait, or bytes.
        len: u64,
        /// The limit.
        limit: u64,
        /// Whether the jobs would fit if the queue were empty.
        fits: bool,
    },
    /// There are more queues than the limit allows.
    #[error("there are {limit} queues already (limits.queues): use one of them, or raise the limit")]
    TooManyQueues {
        /// The limit.
        limit: usize,
    },
    /// One user has made as many queues as he may.
    #[error(
        "you have made {limit} queues already that have jobs or are in use (limits.queues_per_user): use one of them"
    )]
    TooManyOwnQueues {
        /// The limit.
        limit: usize,
    },
    /// There is no such queue, and none is configured.
    #[error(
        "no such queue: `{queue}` (a queue comes into being with its first job, or in the configuration)"
    )]
    NoSuchQueue {
        /// Its name.
        queue: QueueName,
    },
    /// A queue that has jobs is not forgotten.
    #[error("queue `{queue}` has {jobs} jobs: `musher purge` it, and cancel or delete the others first")]
    QueueHasJobs {
        /// The queue.
        queue: QueueName,
        /// How many jobs are in it.
        jobs: u64,
    },
    /// A job's unique key is held.
    #[error(
        "a job with this unique key is there already: job {id} of queue `{queue}`; nothing was submitted"
    )]
    NotUnique {
        /// The queue.
        queue: QueueName,
        /// Who holds it.
        id: JobId,
    },
    /// Two jobs of one submit have the same unique key.
    #[error("two jobs of this submit have the same unique key in queue `{queue}`; nothing was submitted")]
    NotUniqueAmongThem {
        /// The queue.
        queue: QueueName,
    },
    /// Something else was submitted with this idempotency key.
    #[error("other jobs were submitted with this idempotency key before: use another key for other jobs")]
    OtherRequest,
    /// As many submits are remembered as the limit allows.
    #[error(
        "as many submits are remembered by their idempotency keys as there may be (limits.idempotency_keys = {limit}): try again \
         later, raise the limit, or remember them for a shorter time (limits.idempotency)"
    )]
    TooManyRequests {
        /// The limit.
        limit: usize,
    },
    /// As many submits of one user are remembered as there may be.
    #[error(
        "as many of your submits are remembered by their idempotency keys as there may be of one user (limits.idempotency_keys_per_user = {limit}): \
         try again later"
    )]
    TooManyOwnRequests {
        /// The limit.
        limit: usize,
    },
    /// A submit without jobs.
    #[error("a submit of no jobs: send at least one")]
    NothingToSubmit,
    /// All ids are used up.
    #[error("no job ids are left")]
    OutOfIds,
    /// It is about a schedule.
    #[error(transparent)]
    Schedule(#[from] ScheduleRejection),
    /// It is about what jobs wait for, or the group that they belong to.
    #[error(transparent)]
    Flow(#[from] FlowRejection),
    /// It is about a signal.
    #[error(transparent)]
    Signal(#[from] SignalRejection),
    /// It is about queues that are bound to topics.
    #[error(transparent)]
    Topic(#[from] TopicRejection),
    /// The job from which others were to follow is not under this lease.
    #[error("{0}; nothing was submitted")]
    Lease(LeaseRejection),
}

/// A job does not get a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignalRejection {
    /// There is no such job.
    #[error("job {id} not found: it was never submitted, or has ended and is not kept")]
    NotFound {
        /// The job.
        id: JobId,
    },
    /// It waits for nothing any more.
    #[error(
        "job {id} is {state}: nobody waits for its signals any more; `musher retry` it first if it is to run again"
    )]
    Ended {
        /// The job.
        id: JobId,
        /// Its state.
        state: StateKind,
    },
    /// As many are kept for it as there may be.
    #[error(
        "job {id} has {limit} signals of other names that it has not waited for yet, the most that are kept: send this one again when \
         it has"
    )]
    TooMany {
        /// The job.
        id: JobId,
        /// How many that is.
        limit: usize,
    },
}

/// What is bounded of the jobs that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The jobs of a queue.
    Jobs,
    /// The bytes of a queue.
    Bytes,
    /// All jobs.
    TotalJobs,
    /// All bytes.
    TotalBytes,
}

impl Bound {
    fn name(self) -> &'static str {
        match self {
            Bound::Jobs => "backlog",
            Bound::Bytes => "backlog_bytes",
            Bound::TotalJobs => "total_backlog",
            Bound::TotalBytes => "total_backlog_bytes",
        }
    }

    fn words(self, queue: &QueueName, (len, limit): (u64, u64), fits: bool) -> String {
        if !fits {
            let name = self.name();
            return format!(
                "these jobs do not fit into queue `{queue}`, even if no others wait (limits.{name} = {limit}): submit fewer \
                 at a time, or raise the limit"
            );
        }
        let full = match self {
            Bound::Jobs => format!("queue `{queue}` is full ({len} jobs, limits.backlog = {limit})"),
            Bound::Bytes => format!("queue `{queue}` is full ({len} bytes, limits.backlog_bytes = {limit})"),
            Bound::TotalJobs => {
                format!(
                    "there is no room in queue `{queue}` ({len} jobs wait in all, limits.total_backlog = {limit})"
                )
            }
            Bound::TotalBytes => format!(
                "there is no room in queue `{queue}` ({len} bytes wait in all, limits.total_backlog_bytes = {limit})"
            ),
        };
        full + ": submit later, or raise the limit"
    }
}

/// What a job was to wait for, or its group, was refused; nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlowRejection {
    /// A job that is waited for is not known.
    #[error(
        "job {id}, which is to be waited for, is not there: it was never submitted, or ended so long ago that nobody knows how; nothing was submitted"
    )]
    NoSuchJob {
        /// The job.
        id: JobId,
    },
    /// A place in the submit that does not come before.
    #[error(
        "job {at} of this submit is to wait for job {place} of it, which does not come before it (counted from 0): a job waits for earlier ones only; nothing was submitted"
    )]
    NotBefore {
        /// The first job that is to wait.
        at: u64,
        /// The place.
        place: u32,
    },
    /// A job waits for too much.
    #[error(
        "a job is to wait for {count} jobs and groups, at most {limit} are allowed: put those that it waits for into a group, and let it wait for that; nothing was submitted"
    )]
    TooManyEdges {
        /// How many it is.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A group takes no more jobs.
    #[error("group `{group}` is sealed and takes no more jobs: use another name; nothing was submitted")]
    Sealed {
        /// Its name.
        group: GroupName,
    },
    /// A group would wait for its own end.
    #[error(
        "a job of group `{group}` is to wait for that group, which would never end; nothing was submitted"
    )]
    WaitsForItself {
        /// Its name.
        group: GroupName,
    },
    /// A group is another user's.
    #[error("group `{group}` belongs to another user: use another name")]
    NotYours {
        /// Its name.
        group: GroupName,
    },
    /// There is no group of that name.
    #[error(
        "no such group: `{group}` (it comes into being with its first job, and is forgotten some time after its end)"
    )]
    NoSuchGroup {
        /// Its name.
        group: GroupName,
    },
    /// A group has jobs that have not ended.
    #[error("group `{group}` has {jobs} jobs that have not ended: `musher cancel --group {group}` first")]
    HasJobs {
        /// Its name.
        group: GroupName,
        /// How many.
        jobs: u64,
    },
    /// Jobs wait for a group.
    #[error(
        "jobs wait for group `{group}`: cancel or kick them first, or `musher group seal` it and let them go on"
    )]
    IsWaitedFor {
        /// Its name.
        group: GroupName,
    },
    /// There are as many groups as the limit allows.
    #[error(
        "there are {limit} groups already (limits.groups): seal those that are complete, or raise the limit"
    )]
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
    /// One user has made as many as he may.
    #[error("you have made {limit} groups already (limits.groups_per_user): seal those that are complete")]
    TooManyOwnGroups {
        /// The limit.
        limit: usize,
    },
}

/// One settle or extend was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRejection {
    /// No such job, or no longer.
    #[error("job {id} not found: it was never submitted, or has ended and is not kept")]
    NotFound {
        /// The id.
        id: JobId,
    },
    /// The lease is not in force: it expired, was settled, or somebody else has the job now.
    #[error(
        "lease lost: attempt {attempt} of job {id} is not in force (the job is {state}, attempt {current}); drop its result"
    )]
    LeaseLost {
        /// The job.
        id: JobId,
        /// The attempt that was named.
        attempt: Attempt,
        /// The job's newest attempt.
        current: Attempt,
        /// The job's state.
        state: StateKind,
    },
}

/// One change by hand was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditRejection {
    /// No such job, or no longer.
    #[error("job {id} not found: it was never submitted, or has ended and is not kept")]
    NotFound {
        /// The id.
        id: JobId,
    },
    /// The change was asked for jobs in a certain state or queue, and this one is not in it any more.
    #[error("job {id} has changed since it was chosen, and is left as it is; list the jobs again")]
    MovedOn {
        /// The job.
        id: JobId,
    },
    /// Another job has its unique key now.
    #[error("cannot {verb} job {id}: job {by} holds its unique key now")]
    NotUnique {
        /// The job.
        id: JobId,
        /// What was asked.
        verb: &'static str,
        /// Who holds it.
        by: JobId,
    },
    /// There is no room for it where it is to go, or for its longer body.
    #[error("cannot {verb} job {id}: {why}")]
    NoRoom {
        /// The job.
        id: JobId,
        /// What was asked.
        verb: &'static str,
        /// Why.
        why: Box<Rejection>,
    },
    /// The job's state does not allow it.
    #[error("cannot {verb} job {id}: it is {state}{hint}")]
    WrongState {
        /// The job.
        id: JobId,
        /// What was asked.
        verb: &'static str,
        /// The job's state.
        state: StateKind,
        /// What to do instead.
        hint: &'static str,
    },
}
