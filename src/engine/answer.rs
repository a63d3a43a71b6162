//! What the engine says: answers to requests, and what holders of leases must be told unasked.

use super::followed::ChangedJobs;
use crate::calendar::BadRhythm;
use crate::core::{
    Beside, EditRejection, Exit, Grant, IdRange, Job, JobGroup, JobId, LeaseId, LeaseRejection, QueueName,
    Receipt, Rejection, ScheduleName, StateKind, Time,
};
use crate::store::{BlobError, Envelope, Room};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// What a change to one job has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    /// It is done.
    Done,
    /// The job is cancelled as soon as its worker has stopped.
    WhenStopped,
}

/// Who asked: a connection, and the number of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The connection.
    pub session: u64,
    /// Its request.
    pub request: u32,
}

/// What a request came to.
#[derive(Debug)]
pub enum Answer {
    /// The ids of the new jobs.
    Submitted(IdRange),
    /// One receipt a job, in the order given; where some have unique keys.
    Received(Vec<Receipt>),
    /// Leased jobs.
    Jobs(Vec<Claimed>),
    /// One result a settle.
    Settled(Vec<Result<(), LeaseRejection>>),
    /// One result an extend.
    Extended(Vec<Result<Time, LeaseRejection>>),
    /// How long a worker may take to come back after a start, and one result a lease that it has.
    TakenUp {
        /// So long.
        within: Duration,
        /// The results.
        leases: Vec<Result<(), LeaseRejection>>,
    },
    /// One result a job.
    Edited(Vec<Result<Edited, EditRejection>>),
    /// How many jobs were deleted, and whether more wait.
    Purged {
        /// How many.
        deleted: u64,
        /// Whether there are more to delete.
        more: bool,
    },
    /// How the jobs ended that were waited for.
    Ended(Vec<End>),
    /// How the groups are that were waited for.
    GroupsEnded(Vec<GroupEnd>),
    /// A body.
    Body(Bytes),
    /// Something that the front has prepared, and that must not leave before what it tells of is on disk.
    Ready(Vec<u8>),
    /// Done.
    Ok,
    /// Refused.
    Refused(Refusal),
}

impl Answer {
    /// About how much memory it takes until it has left.
    pub(super) fn weight(&self) -> usize {
        const EACH: usize = 64;
        match self {
            Answer::Jobs(jobs) => jobs.iter().map(|job| 4 * EACH + job.bytes()).sum(),
            Answer::Received(receipts) => receipts.len() * EACH,
            Answer::Settled(results) => results.len() * EACH,
            Answer::Extended(results) => results.len() * EACH,
            Answer::TakenUp { leases, .. } => (leases.len() + 1) * EACH,
            Answer::Edited(results) => results.len() * EACH,
            Answer::Ended(ends) => ends.len() * EACH,
            Answer::GroupsEnded(ends) => ends.len() * EACH,
            Answer::Body(body) => body.len(),
            Answer::Ready(frame) => frame.len(),
            Answer::Submitted(_) | Answer::Purged { .. } | Answer::Ok | Answer::Refused(_) => EACH,
        }
    }
}

/// A job that was leased, with what is stored of it.
#[derive(Debug)]
pub struct Claimed {
    /// The lease, and what the core knows of the job.
    pub grant: Grant,
    /// What its producer sent.
    pub body: Bytes,
    /// What is written on it, if anything is.
    pub envelope: Option<Envelope>,
    /// The newest checkpoint of its earlier attempts, if any has left one.
    pub checkpoint: Option<Bytes>,
    /// What the signal says that it has waited for, if that came: see [`Grant::signal`].
    pub signal: Option<Bytes>,
}

impl Claimed {
    /// About how much memory body, envelope, checkpoint and signal take.
    pub(super) fn bytes(&self) -> usize {
        let envelope = self.envelope.as_ref().map_or(0, |_| Envelope::TAGS_MAX);
        let len = |blob: &Option<Bytes>| blob.as_ref().map_or(0, Bytes::len);
        self.body.len() + envelope + len(&self.checkpoint) + len(&self.signal)
    }
}

/// How a job that was waited for is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The job.
    pub id: JobId,
    /// Its state; `None` if it ended earlier and was not kept.
    pub state: Option<StateKind>,
    /// The newest failure.
    pub error: Option<Box<str>>,
    /// How the process of its last attempt ended, as far as that is known.
    pub exit: Option<Exit>,
}

/// How a group that was waited for is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEnd {
    /// All that is known of it; at last, if it is gone.
    pub group: Arc<JobGroup>,
    /// What has become of the wait.
    pub stage: WaitStage,
}

/// What has become of a wait for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitStage {
    /// What was waited for has not come.
    Open,
    /// It has.
    Over,
    /// It can't come any more: the group was deleted before it ended.
    Gone,
}

impl End {
    /// The end that a job has come to; one that was deleted before it came to one has none.
    pub(super) fn of(id: JobId, job: &Job) -> End {
        let state = Some(job.kind()).filter(|kind: &StateKind| kind.is_final());
        let error = job.failures().last().map(|failure| failure.error.clone());
        End { id, state, error, exit: job.exit() }
    }
}

/// Why the engine refused a request. Nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The core did.
    #[error(transparent)]
    Core(#[from] Rejection),
    /// There is no room for new jobs.
    #[error("{}", no_room(.0))]
    NoRoom(Room),
    /// Requests of one connection wait for too much.
    #[error(
        "the requests of one connection may wait for {limit} queues, jobs and groups at most (limits.waiting), and this one would \
         exceed that: wait for fewer, or use another connection"
    )]
    TooManyWaiting {
        /// The limit.
        limit: usize,
    },
    /// Requests of all connections wait for too much.
    #[error(
        "the requests of all connections may wait for {limit} queues, jobs and groups at most (from limits.buffers), and this one \
         would exceed that: try again later"
    )]
    CrowdWaiting {
        /// The limit.
        limit: usize,
    },
    /// No such job.
    #[error("job {0} not found: it was never submitted, or has ended and is not kept")]
    NotFound(JobId),
    /// The job cannot be changed like that.
    #[error(transparent)]
    Edit(#[from] EditRejection),
    /// The job has no such thing beside it.
    #[error("{}", nothing_beside(*.id, *.what, *.state))]
    NothingBeside {
        /// The job.
        id: JobId,
        /// What was asked for.
        what: Beside,
        /// The job's state.
        state: StateKind,
    },
    /// The times of a schedule cannot be read.
    #[error(transparent)]
    Rhythm(#[from] BadRhythm),
    /// What is stored of the job cannot be read.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

fn nothing_beside(id: JobId, what: Beside, state: StateKind) -> String {
    match (what, state) {
        (Beside::Result, StateKind::Done) => {
            format!("job {id} has no result: its worker has completed it without one")
        }
        (Beside::Result, _) => {
            format!("job {id} has no result: it is {state}, and only a job that is done has one")
        }
        (Beside::Checkpoint, StateKind::Done) => {
            format!("job {id} has no checkpoint: it is done, and its checkpoints are gone with that")
        }
        (Beside::Signals, _) => format!("job {id} has no signals"),
        (Beside::Checkpoint, _) => format!("job {id} has no checkpoint: none of its attempts has made one"),
    }
}

fn no_room(room: &Room) -> String {
    const MIB: u64 = 1 << 20;
    match room {
        Room::Enough => "there is room again".to_owned(),
        Room::DiskLow { free, reserve } => format!(
            "the disk is nearly full ({} MiB free, {} MiB are reserved by limits.disk_reserve): no new jobs are taken \
             until there is space; jobs already here go on",
            free / MIB,
            reserve / MIB
        ),
        Room::LogFull { bytes, limit } => format!(
            "the log has grown to {} MiB (storage.log_max = {} MiB) because its jobs cannot be moved into the \
             database: no new jobs are taken; see the daemon's log",
            bytes / MIB,
            limit / MIB
        ),
    }
}

/// What leaves the engine, in this order, once what it tells of is on disk.
#[derive(Debug)]
pub enum Delivery {
    /// To whoever asked.
    Answer(Origin, Answer),
    /// To the connection that held a lease: it has ended without its doing.
    Revoked {
        /// The connection.
        session: u64,
        /// The lease.
        lease: LeaseId,
        /// Whether its time was over; else somebody ended the job by hand.
        expired: bool,
    },
    /// To whoever follows jobs: what a commit has changed.
    Changed(ChangedJobs),
    /// Jobs are gone, and what is kept of them elsewhere (their output) can go too.
    Forgotten(IdRange),
}

/// What the log should say of a turn, for the operators. Nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// An attempt failed; the job runs again then.
    Failed {
        /// Which lease.
        lease: LeaseId,
        /// The job's queue.
        queue: QueueName,
        /// Why.
        error: Box<str>,
        /// When it runs again; `None` if it is dead.
        retry: Option<Time>,
    },
    /// Too many attempts of a queue have failed in a row: it gives out probes only.
    CircuitOpened {
        /// Which queue.
        queue: QueueName,
        /// How many.
        failed: u32,
        /// When the first probe may go.
        next: Time,
    },
    /// It gives out jobs again.
    CircuitClosed {
        /// Which queue.
        queue: QueueName,
        /// Whether somebody has closed it by hand; else a probe has succeeded.
        by_hand: bool,
    },
    /// The loop stood still, and leases last longer for it.
    StoodStill {
        /// For how long at most.
        time: Duration,
    },
    /// The times of a schedule cannot be read just now: its zone is not known any more.
    ScheduleStuck {
        /// Which.
        schedule: ScheduleName,
        /// Why.
        error: String,
    },
    /// Workers, or the daemon under them, vanished.
    Interrupted {
        /// How many jobs they held.
        jobs: u64,
    },
    /// After a start: workers may come back to their jobs.
    WorkersAwaited {
        /// How many.
        workers: u64,
        /// To how many jobs.
        jobs: u64,
        /// How long they may take.
        within: Duration,
    },
    /// One has come back.
    WorkerBack {
        /// How many of its jobs go on.
        jobs: u64,
        /// How many leases were lost.
        lost: u64,
    },
    /// Jobs were dropped for want of room in their queue.
    Dropped {
        /// The queue.
        queue: QueueName,
        /// How many.
        jobs: u64,
        /// Whether they are new ones; else they had waited.
        new: bool,
    },
    /// Leases ended without a word from their holders.
    Lapsed {
        /// How many.
        jobs: u64,
    },
}
