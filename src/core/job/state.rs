//! The states of a job.

use crate::core::time::Time;
use std::fmt;

/// Who holds a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A connection of this run of the daemon, or a worker's over several ([`Holder::RESUMABLE`]): the lease ends with
    /// it.
    Session(u64),
    /// Whoever knows the attempt number: the lease ends by a settle or by its time.
    Anyone,
}

impl Holder {
    /// Sessions from this number on are of workers that may come back after a restart of the daemon: the number follows
    /// from a secret of the worker's, and from nothing that the daemon must remember. Those below are connections of one
    /// life of the daemon, numbered from 1.
    pub const RESUMABLE: u64 = 1 << 63;

    /// Set in the numbers of connections whose protocol knows no failure: what they hold when they close, and what they let run out
    /// of its time, is free again without blame.
    pub const BLAMELESS: u64 = 1 << 61;

    /// Set besides in the numbers of the daemon's own pools of workers: so these are the highest.
    pub const POOL: u64 = 1 << 62;

    /// From this number on they are of pools.
    pub const POOLS: u64 = Holder::RESUMABLE | Holder::POOL;

    /// Whether a session is of a pool of workers of the daemon, or of one before it.
    pub fn is_pool(session: u64) -> bool {
        session >= Holder::POOLS
    }

    /// Whether leases of a session end without blame, whatever ends them.
    pub fn is_blameless(session: u64) -> bool {
        session < Holder::RESUMABLE && session & Holder::BLAMELESS != 0
    }

    /// Whether the leases of a session outlive the daemon.
    pub fn is_resumable(session: u64) -> bool {
        session >= Holder::RESUMABLE
    }
}

/// The process that claimed a job, as the kernel has told it of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Worker {
    /// Its user.
    pub uid: u32,
    /// Its number at that time; 0 where it cannot be seen.
    pub pid: u32,
}

/// A claim with an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who claimed the job.
    pub holder: Holder,
    /// When it was claimed.
    pub since: Time,
    /// When it ends unless it is extended.
    pub until: Time,
    /// Whether the job was cancelled meanwhile: it ends as soon as its holder is known to have stopped.
    pub cancelling: bool,
}

/// Where a job is in its life. `ready`, `scheduled` and `waiting` jobs wait, `leased` ones are worked on, the others are
/// final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits until `due`: submitted with a delay, or between two attempts.
    Scheduled {
        /// When it becomes ready.
        due: Time,
    },
    /// May be claimed now.
    Ready,
    /// A worker has it.
    Leased(Lease),
    /// Completed.
    Done(Final),
    /// Out of attempts, or buried by hand.
    Dead(Final),
    /// Cancelled by hand.
    Cancelled(Final),
    /// Its time to live ran out before it was done.
    Expired(Final),
    /// Waits for other jobs: see [`Job::waits_for`](super::Job::waits_for).
    Waiting {
        /// When it may run at the earliest, after that; 0 for at once.
        due: Time,
    },
}

/// When a job ended and how long it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Final {
    /// When it ended.
    pub at: Time,
    /// When it is forgotten; [`Time::NEVER`] to keep it.
    pub keep_until: Time,
}

/// A state without its data: for counting, filtering and naming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "each is documented at `State`")]
pub enum StateKind {
    Scheduled,
    Ready,
    Leased,
    Done,
    Dead,
    Cancelled,
    Expired,
    Waiting,
}

impl StateKind {
    /// Every state, in the order of their numbers, which clients know.
    pub const ALL: [StateKind; 8] = [
        StateKind::Scheduled,
        StateKind::Ready,
        StateKind::Leased,
        StateKind::Done,
        StateKind::Dead,
        StateKind::Cancelled,
        StateKind::Expired,
        StateKind::Waiting,
    ];

    /// The state's name, as in protocol and command line.
    pub fn name(self) -> &'static str {
        match self {
            StateKind::Scheduled => "scheduled",
            StateKind::Ready => "ready",
            StateKind::Leased => "leased",
            StateKind::Done => "done",
            StateKind::Dead => "dead",
            StateKind::Cancelled => "cancelled",
            StateKind::Expired => "expired",
            StateKind::Waiting => "waiting",
        }
    }

    /// Whether a job in this state waits to be claimed, now or later.
    pub fn waits(self) -> bool {
        matches!(self, StateKind::Scheduled | StateKind::Ready | StateKind::Waiting)
    }

    /// Whether a job in this state has ended.
    pub fn is_final(self) -> bool {
        !self.waits() && self != StateKind::Leased
    }
}

impl fmt::Display for StateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl State {
    /// The state without its data.
    pub fn kind(&self) -> StateKind {
        match self {
            State::Scheduled { .. } => StateKind::Scheduled,
            State::Ready => StateKind::Ready,
            State::Leased(_) => StateKind::Leased,
            State::Done(_) => StateKind::Done,
            State::Dead(_) => StateKind::Dead,
            State::Cancelled(_) => StateKind::Cancelled,
            State::Expired(_) => StateKind::Expired,
            State::Waiting { .. } => StateKind::Waiting,
        }
    }

    /// When a final state was reached and how long it is kept.
    pub fn ended(&self) -> Option<Final> {
        match self {
            State::Done(end) | State::Dead(end) | State::Cancelled(end) | State::Expired(end) => Some(*end),
            State::Scheduled { .. } | State::Waiting { .. } | State::Ready | State::Leased(_) => None,
        }
    }
}
