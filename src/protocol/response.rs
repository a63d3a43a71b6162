//! What the server answers, and what it sends on its own (request number 0). Each version has its own encoding (`v1`,
//! `v2`).

use super::request::{LeaseRef, SUBMIT_AND_WAIT};
use super::tagged;
use super::unique::Receipt;
use super::wire::Malformed;
use bytes::Bytes;
use std::sync::Arc;

pub(super) const WELCOME: u8 = 0x81;
pub(super) const SUBMITTED: u8 = 0x90;
pub(super) const JOBS: u8 = 0x91;
pub(super) const SETTLED: u8 = 0x92;
pub(super) const EXTENDED: u8 = 0x93;
pub(super) const OK: u8 = 0x94;
pub(super) const BODY: u8 = 0x95;
pub(super) const OUTPUT: u8 = 0x96;
pub(super) const PIECE: u8 = 0x97;
pub(super) const RECEIVED: u8 = 0x98;
pub(super) const CHANGES: u8 = 0x99;
pub(super) const JSON: u8 = 0xa0;
pub(super) const TAKEN_UP: u8 = 0xa8;
pub(super) const REVOKED: u8 = 0xc0;
pub(super) const STOPPING: u8 = 0xc1;
pub(super) const RECONFIGURED: u8 = 0xc2;
pub(super) const ERROR: u8 = 0xf0;

/// Whether an answer of this kind is the last one to a request of that kind.
pub fn is_last(request: u8, answer: u8) -> bool {
    match answer {
        OUTPUT | PIECE | CHANGES => false,
        SUBMITTED | RECEIVED => request != SUBMIT_AND_WAIT,
        _ => true,
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Response {
    /// To the greeting.
    Welcome {
        /// The version of the protocol that the server takes.
        version: u16,
        /// The longest frame, the longest body (in bytes), and the most jobs of one request.
        frame_max: u32,
        /// See `frame_max`.
        body_max: u32,
        /// See `frame_max`.
        batch_max: u32,
        /// What the server calls itself; for people.
        name: String,
    },
    /// The ids of new jobs: `count` of them from `first` on.
    Submitted {
        /// The first id.
        first: u64,
        /// How many.
        count: u64,
    },
    /// One receipt a job, in the order given; where some have unique keys.
    Received(Vec<Receipt>),
    /// Leased jobs; none if none was ready in time.
    Jobs(Vec<ClaimedJob>),
    /// One result a settle.
    Settled(Vec<Result<(), LeaseFault>>),
    /// One result an extend: the new end, in milliseconds since 1970.
    Extended(Vec<Result<u64, LeaseFault>>),
    /// To a worker that has said who it is. Since version 2.
    TakenUp {
        /// How long it may take to come back after a start of the daemon, in milliseconds.
        resume_within_ms: u64,
        /// One result a lease that it has: whether that is in force.
        leases: Vec<Result<(), LeaseFault>>,
    },
    /// Done.
    Ok,
    /// A body.
    Body(Bytes),
    /// A piece of a job's output; more answers to the same request follow, `Ok` last.
    Output {
        /// Which attempt said it.
        attempt: u32,
        /// 1 for standard output, 2 for standard error.
        stream: u8,
        /// The piece.
        data: Bytes,
    },
    /// What has become of jobs; more answers to the same request follow, `Ok` last. The first one says only that it has begun. Since
    /// version 2.
    Changes {
        /// How many changes were left out since the last answer, because the reader is slow or too much happens; if that is not known, 1.
        missed: u64,
        /// The others, in order.
        changes: Vec<JobChange>,
    },
    /// A piece of a backup; more answers to the same request follow, `Ok` last.
    Piece(Bytes),
    /// An answer in JSON.
    Json(Bytes),
    /// Refused or failed.
    Error(Fault),
    /// Unasked.
    Notice(Notice),
}

/// Jobs of consecutive ids, alike or different in their keys only, have come into a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobChange {
    /// The first of them.
    pub first: u64,
    /// How many they are.
    pub count: u64,
    /// Their queue; changes of one answer share its name.
    pub queue: Arc<str>,
    /// That state, as an index of [`WIRE_STATES`], or [`JobChange::GONE`].
    pub state: u8,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl JobChange {
    /// Nothing is known of them any more.
    pub const GONE: u8 = u8::MAX;

    /// The state's name; `gone` if nothing is known of them any more.
    pub fn state_name(&self) -> &'static str {
        if self.state == JobChange::GONE { "gone" } else { state_name(self.state) }
    }
}

/// What the server sends on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A lease of this connection has ended under its holder: stop working on it.
    Revoked {
        /// Which.
        lease: LeaseRef,
        /// Why.
        why: Revocation,
    },
    /// The daemon is stopping: settle within this time; then it releases what is left.
    Stopping {
        /// In milliseconds.
        grace_ms: u64,
    },
    /// The configuration has changed.
    Reconfigured,
}

/// Why a lease ended under its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Its time was over.
    Expired,
    /// Somebody cancelled, buried or deleted the job.
    Cancelled,
}

/// A job as a worker gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedJob {
    /// The lease.
    pub lease: LeaseRef,
    /// How many attempts it has in all.
    pub attempts: u32,
    /// How long one attempt may run, in milliseconds; 0 for no limit.
    pub timeout_ms: u64,
    /// How long the lease lasts from now, in milliseconds.
    pub lease_ms: u64,
    /// When the lease ends, in milliseconds since 1970.
    pub until_ms: u64,
    /// The queue it came from; jobs of one answer share its name.
    pub queue: Arc<str>,
    /// Its priority.
    pub priority: u32,
    /// The user who submitted it.
    pub owner: u32,
    /// Names and values.
    pub tags: Vec<(String, String)>,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// By when it must have ended, in milliseconds since 1970; `None` for most.
    pub deadline_ms: Option<u64>,
    /// The newest checkpoint that an earlier attempt has left; `None` for most.
    pub checkpoint: Option<Bytes>,
    /// The signal that it has waited for, if that came: its name and what it says.
    pub signal: Option<(String, Bytes)>,
    /// The body.
    pub body: Bytes,
}

/// Why one settle or extend was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseFault {
    /// No such job, or no longer.
    #[error("job {id} not found: it was never submitted, or has ended and is not kept")]
    NotFound {
        /// The job.
        id: u64,
    },
    /// The attempt is not in force any more.
    #[error(
        "lease lost: attempt {} of job {} is not in force (the job is {}, attempt {current}); drop its result",
        lease.attempt, lease.id, state_name(*state)
    )]
    Lost {
        /// What was named.
        lease: LeaseRef,
        /// The job's newest attempt.
        current: u32,
        /// The job's state, as an index of [`WIRE_STATES`].
        state: u8,
    },
    /// A newer daemon has a reason of its own.
    #[error(
        "job {id}: refused for a reason that this program does not know ({code}); update the program, and drop the \
         job's result"
    )]
    Unknown {
        /// The job.
        id: u64,
        /// The reason's number.
        code: u8,
    },
}

impl LeaseFault {
    /// Whether the job is cancelled, and this attempt is the one that is to stop: whoever has it says so by giving it back.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, LeaseFault::Lost { lease, current, state }
            if lease.attempt == *current && state_name(*state) == "cancelled")
    }
}

impl LeaseFault {
    /// The job that was named.
    pub fn job(&self) -> u64 {
        match self {
            LeaseFault::NotFound { id } | LeaseFault::Unknown { id, .. } => *id,
            LeaseFault::Lost { lease, .. } => lease.id,
        }
    }
}

/// The states by their number on the wire.
pub const WIRE_STATES: [&str; 8] =
    ["scheduled", "ready", "leased", "done", "dead", "cancelled", "expired", "waiting"];

fn state_name(state: u8) -> &'static str {
    WIRE_STATES.get(usize::from(state)).copied().unwrap_or("in a state that this program does not know")
}

/// What kind of fault an error is: for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum ErrorCode {
    /// The request does not have the form that the protocol says.
    Malformed = 1,
    /// No version of the protocol is spoken by both sides.
    Version = 2,
    /// A value is not allowed.
    Invalid = 3,
    /// Something is larger than a limit.
    TooLarge = 4,
    /// No such job or queue.
    NotFound = 5,
    /// The caller may not do this.
    Forbidden = 6,
    /// The job's state does not allow it.
    WrongState = 7,
    /// The daemon does not know this request, or an option that must be understood: it is older than the client.
    Unsupported = 8,
    /// Another job has the unique key.
    NotUnique = 9,
    /// The daemon is draining; try again after its restart.
    Draining = 20,
    /// The queue is full; try again later.
    QueueFull = 21,
    /// The disk, or the log, is nearly full; try again later.
    DiskFull = 22,
    /// There are too many of something (queues, connections, waiting requests), or the disk does not answer.
    Busy = 23,
    /// The daemon failed; its log says more.
    Internal = 40,
}

impl ErrorCode {
    const ALL: [ErrorCode; 14] = [
        ErrorCode::Malformed,
        ErrorCode::Version,
        ErrorCode::Invalid,
        ErrorCode::TooLarge,
        ErrorCode::NotFound,
        ErrorCode::Forbidden,
        ErrorCode::WrongState,
        ErrorCode::Unsupported,
        ErrorCode::NotUnique,
        ErrorCode::Draining,
        ErrorCode::QueueFull,
        ErrorCode::DiskFull,
        ErrorCode::Busy,
        ErrorCode::Internal,
    ];

    /// The one with this number; what a newer daemon calls by another number is its failure.
    pub(super) fn of(number: u16) -> ErrorCode {
        ErrorCode::ALL.into_iter().find(|known| *known as u16 == number).unwrap_or(ErrorCode::Internal)
    }

    /// Whether the same request may succeed later.
    pub fn try_again(self) -> bool {
        matches!(self, ErrorCode::Draining | ErrorCode::QueueFull | ErrorCode::DiskFull | ErrorCode::Busy)
    }
}

/// A refusal or failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what, where, what to do.
    pub message: String,
}

impl From<Malformed> for Fault {
    fn from(error: Malformed) -> Fault {
        Fault { code: ErrorCode::Malformed, message: error.to_string() }
    }
}

impl From<tagged::Error> for Fault {
    fn from(error: tagged::Error) -> Fault {
        match error {
            tagged::Error::Malformed(error) => error.into(),
            tagged::Error::Unknown { .. } => {
                let version = env!("CARGO_PKG_VERSION");
                let message = format!(
                    "{error}: the client is newer than this daemon (musher {version}), update the daemon"
                );
                Fault { code: ErrorCode::Unsupported, message }
            }
        }
    }
}

impl Response {
    /// The kind of a refusal, in all versions.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) const ERROR: u8 = ERROR;
    /// That of the notice that a daemon stops.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) const STOPPING: u8 = STOPPING;

    pub(crate) fn kind(&self) -> u8 {
        match self {
            Response::Welcome { .. } => WELCOME,
            Response::Submitted { .. } => SUBMITTED,
            Response::Received(_) => RECEIVED,
            Response::Jobs(_) => JOBS,
            Response::Settled(_) => SETTLED,
            Response::Extended(_) => EXTENDED,
            Response::TakenUp { .. } => TAKEN_UP,
            Response::Ok => OK,
            Response::Body(_) => BODY,
            Response::Output { .. } => OUTPUT,
            Response::Changes { .. } => CHANGES,
            Response::Piece(_) => PIECE,
            Response::Json(_) => JSON,
            Response::Error(_) => ERROR,
            Response::Notice(Notice::Revoked { .. }) => REVOKED,
            Response::Notice(Notice::Stopping { .. }) => STOPPING,
            Response::Notice(Notice::Reconfigured) => RECONFIGURED,
        }
    }
}
