//! What a client may request: hot requests in binary, all others as JSON (`admin.rs`). Each version has its own
//! encoding (`v1`, `v2`).

use super::admin::AdminRequest;
use super::greeting::Versions;
use super::submit::SubmitGroup;
use super::wire::{Malformed, Reader};
use bytes::{BufMut, Bytes};

pub(super) const HELLO: u8 = 0x01;
/// The kind of a frame that submits jobs.
pub const SUBMIT: u8 = 0x10;
pub(super) const CLAIM: u8 = 0x11;
pub(super) const SETTLE: u8 = 0x12;
pub(super) const EXTEND: u8 = 0x13;
pub(super) const OUTPUT: u8 = 0x14;
pub(super) const UNWAIT: u8 = 0x15;
/// The kind of a frame that submits jobs and waits for their ends.
pub const SUBMIT_AND_WAIT: u8 = 0x16;
pub(super) const PROGRESS: u8 = 0x17;
pub(super) const CHECKPOINT: u8 = 0x18;
pub(super) const ADMIN: u8 = 0x20;
pub(super) const BODY: u8 = 0x21;
pub(super) const LOGS: u8 = 0x22;
pub(super) const BACKUP: u8 = 0x23;
pub(super) const BESIDE: u8 = 0x24;
pub(super) const SIGNAL: u8 = 0x25;
pub(super) const TAKE_UP: u8 = 0x28;
pub(super) const LEAVE: u8 = 0x2a;
pub(super) const CHANGES: u8 = 0x29;
pub(super) const REPLACE_BODY: u8 = 0x50;

/// Whether a short request of this kind may take long to answer: one that looks at many jobs, or fetches what is long.
pub fn is_long(kind: u8) -> bool {
    matches!(kind, ADMIN | BODY | BESIDE | LOGS | BACKUP)
}

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The first of every connection.
    Hello {
        /// The versions of the protocol that the client speaks.
        versions: Versions,
        /// What the client calls itself; for people.
        name: String,
    },
    /// Enqueue jobs: all or none.
    Submit(Vec<SubmitGroup>),
    /// The same, unless the same was done before under this idempotency key: then the answer is that of the first time.
    /// Since version 2.
    SubmitOnce {
        /// The jobs.
        groups: Vec<SubmitGroup>,
        /// The key, one of its user.
        key: String,
    },
    /// Complete a job and enqueue what follows from it: both or neither. Since version 2.
    CompleteAndSubmit {
        /// The lease under which the job runs.
        lease: LeaseRef,
        /// The jobs that follow.
        groups: Vec<SubmitGroup>,
        /// An idempotency key: whoever sends the same again under it gets the answer of the first time.
        key: Option<String>,
    },
    /// Enqueue jobs, and wait for their ends: answered twice, with the new jobs and then with a list of
    /// [`EndView`](super::admin::EndView).
    SubmitAndWait {
        /// The jobs.
        groups: Vec<SubmitGroup>,
        /// Wait at most so long; without it, as long as it takes.
        timeout_ms: Option<u64>,
    },
    /// Lease jobs.
    Claim(Claim),
    /// End leases.
    Settle(Vec<Settle>),
    /// Prolong leases.
    Extend {
        /// Which.
        leases: Vec<LeaseRef>,
        /// To how many milliseconds from now; the queue's setting if not given.
        lease_ms: Option<u64>,
    },
    /// Keep a piece of a job's output.
    Output {
        /// The lease under which it runs.
        lease: LeaseRef,
        /// 1 for standard output, 2 for standard error.
        stream: u8,
        /// The piece.
        data: Bytes,
        /// How many bytes of that stream of the attempt come before it: said if it may be there already, since it was sent
        /// before on a connection that has ended. Since version 2.
        again_at: Option<u64>,
    },
    /// Say who this worker is, before its first claim: its leases then outlive the daemon, and it may come back after a
    /// restart and say the same again. Answered with [`Response::TakenUp`](super::Response::TakenUp). Since version 2.
    TakeUp {
        /// What it calls itself.
        name: String,
        /// What nobody else knows.
        token: [u8; 16],
        /// The leases that it has; all others that it had are given back.
        leases: Vec<LeaseRef>,
    },
    /// Say that this worker, which has said who it is, leaves and comes back: the end of this connection does not end its leases, for as
    /// long as a start of the daemon would not. Since version 2.
    Leave,
    /// Say how far a job is, for people who look. It is gone with the lease, and prolongs none. Since version 2.
    Progress {
        /// The lease under which it runs.
        lease: LeaseRef,
        /// How much of it is done, of a hundred.
        percent: u8,
        /// Anything besides; may be empty.
        text: String,
    },
    /// Store how far a job is, in the place of what was stored before: the next attempt gets it. The lease lasts longer by that.
    /// Since version 2.
    Checkpoint {
        /// The lease under which it runs.
        lease: LeaseRef,
        /// To how many milliseconds from now, if it would end before that; the queue's setting if not given.
        lease_ms: Option<u64>,
        /// The checkpoint.
        data: Bytes,
    },
    /// Answer a waiting request of this connection at once, with what there is.
    Unwait {
        /// The waiting request's number.
        request: u32,
    },
    /// A question or change in JSON.
    Admin(AdminRequest),
    /// A job's body.
    Body {
        /// The job.
        id: u64,
    },
    /// What a job's workers have stored beside it. Since version 2.
    Beside {
        /// The job.
        id: u64,
        /// What of it.
        what: Beside,
    },
    /// Tell a job something that it waits for, or will. Since version 2.
    Signal {
        /// The job.
        id: u64,
        /// The signal's name.
        name: String,
        /// What it says.
        body: Bytes,
    },
    /// Give a job that does not run another body. Version 1 has no such request.
    ReplaceBody {
        /// The job.
        id: u64,
        /// The body.
        body: Bytes,
    },
    /// A job's output.
    Logs {
        /// The job.
        id: u64,
        /// Whether to go on until the job has ended.
        follow: bool,
    },
    /// What becomes of jobs, as it happens: each change of a state, of those that the sender may see, until the request is taken back
    /// with [`Request::Unwait`] or the daemon stops. Since version 2.
    Changes {
        /// Only of this queue.
        queue: Option<String>,
        /// Only of this job.
        job: Option<u64>,
    },
    /// A backup of everything; or of one shard, where there are several.
    Backup {
        /// Which. Since version 2.
        shard: Option<u32>,
    },
}

/// What workers store beside a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Beside {
    /// How far it is, for its next attempt.
    Checkpoint = 1,
    /// What it has come to, if it is done.
    Result = 2,
}

impl Beside {
    pub(super) fn of(number: u8) -> Result<Beside, Malformed> {
        match number {
            1 => Ok(Beside::Checkpoint),
            2 => Ok(Beside::Result),
            _ => Err(Malformed(format!("number {number}: 1 is a checkpoint, 2 a result"))),
        }
    }
}

/// A request for work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Where to look, in this order.
    pub queues: Vec<String>,
    /// The most jobs.
    pub max: u32,
    /// How long the lease lasts, in milliseconds; the queue's setting if not given.
    pub lease_ms: Option<u64>,
    /// How long to wait for the first job, in milliseconds; 0 for not at all, `u64::MAX` for as long as it takes.
    pub wait_ms: u64,
    /// Whether the leases end when this connection does.
    pub bound: bool,
}

/// Names a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseRef {
    /// The job.
    pub id: u64,
    /// The attempt.
    pub attempt: u32,
}

/// The end of one lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Which.
    pub lease: LeaseRef,
    /// How it ended.
    pub verdict: Verdict,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Well.
    Complete,
    /// Well, and with this result, which is kept as long as the job. Since version 2.
    CompleteWith(Bytes),
    /// Badly: what the backoff says.
    Fail {
        /// What to remember of it.
        error: String,
        /// How its process ended, if there was one.
        exit: Option<Exit>,
    },
    /// Badly: again after this time, if attempts are left.
    FailRetryAfter {
        /// What to remember of it.
        error: String,
        /// How its process ended, if there was one.
        exit: Option<Exit>,
        /// In milliseconds.
        wait_ms: u64,
    },
    /// Badly, and never again.
    FailDead {
        /// What to remember of it.
        error: String,
        /// How its process ended, if there was one.
        exit: Option<Exit>,
    },
    /// Its process has ended so: the queue's settings (`on_exit`) say what that means.
    Exited {
        /// What to remember of it, unless it is done.
        error: String,
        /// How it ended.
        exit: Exit,
    },
    /// Not now: again after a wait, within the queue's `later_max`. No attempt is used up.
    Later {
        /// Why, to remember of it.
        error: String,
        /// The wait, in milliseconds, if it is not to be the queue's, which grows each time.
        wait_ms: Option<u64>,
    },
    /// Given back without blame, until a signal comes, which it may have already; or without one after a time. Since version 2.
    Await {
        /// The signal's name.
        signal: String,
        /// Wait at most so long, in milliseconds.
        timeout_ms: u64,
    },
    /// Given back without blame.
    Release {
        /// When it may run again, in milliseconds from now.
        delay_ms: u64,
    },
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this status; 0 is success.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

impl Exit {
    /// The status that a shell has for it: that of the process, or 128 and the signal's number.
    pub fn shell(self) -> u8 {
        match self {
            Exit::Status(status) => status,
            Exit::Signal(signal) => signal.saturating_add(128),
        }
    }
}

impl Request {
    /// The greeting of a client that calls itself so.
    pub fn hello(name: impl Into<String>) -> Request {
        Request::Hello { versions: Versions::OWN, name: name.into() }
    }

    pub(super) fn kind(&self) -> u8 {
        match self {
            Request::Hello { .. } => HELLO,
            Request::Submit(_) | Request::SubmitOnce { .. } | Request::CompleteAndSubmit { .. } => SUBMIT,
            Request::SubmitAndWait { .. } => SUBMIT_AND_WAIT,
            Request::Claim(_) => CLAIM,
            Request::Settle(_) => SETTLE,
            Request::Extend { .. } => EXTEND,
            Request::Output { .. } => OUTPUT,
            Request::TakeUp { .. } => TAKE_UP,
            Request::Leave => LEAVE,
            Request::Progress { .. } => PROGRESS,
            Request::Checkpoint { .. } => CHECKPOINT,
            Request::Unwait { .. } => UNWAIT,
            Request::Admin(_) => ADMIN,
            Request::Body { .. } => BODY,
            Request::Beside { .. } => BESIDE,
            Request::Signal { .. } => SIGNAL,
            Request::ReplaceBody { .. } => REPLACE_BODY,
            Request::Logs { .. } => LOGS,
            Request::Changes { .. } => CHANGES,
            Request::Backup { .. } => BACKUP,
        }
    }
}

impl LeaseRef {
    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.id);
        out.put_u32_le(self.attempt);
    }

    pub(super) fn get(reader: &mut Reader) -> Result<LeaseRef, Malformed> {
        Ok(LeaseRef { id: reader.u64("a job's id")?, attempt: reader.u32("an attempt")? })
    }
}

/// Checks the number of a job's output stream.
pub(super) fn stream(number: u8) -> Result<u8, Malformed> {
    match number {
        1 | 2 => Ok(number),
        _ => Err(Malformed(format!("stream {number}: only 1 and 2 exist"))),
    }
}
