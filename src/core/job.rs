//! What a job is: what the producer asked for ([`Spec`]), what has become of it ([`Job`], [`State`]). The body is
//! not here; the core never sees one.

use super::ids::JobId;
use super::retry::Backoff;
use super::time::Time;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where a job stands among those of its queue: 0 goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u32);

impl Default for Priority {
    /// Such that there is room on both sides: for what is urgent, and for what can wait.
    fn default() -> Priority {
        Priority(1024)
    }
}

/// The number of a lease on one job, from 1. It is the fencing token: a settle names it, and only the newest one
/// is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The attempt that follows.
    pub fn next(self) -> Attempt {
        Attempt(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a queue: 1 to [`QueueName::MAX`] characters of `A-Z a-z 0-9 . _ - / : +`, not beginning with `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Arc<str>);

/// A queue name that breaks the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a queue name: use 1 to {max} of the characters A-Z a-z 0-9 . _ - / : +, not beginning with -",
    max = QueueName::MAX
)]
pub struct BadQueueName(pub String);

impl QueueName {
    /// The longest name, in bytes.
    pub const MAX: usize = 100;

    /// Checks a name.
    ///
    /// # Errors
    /// [`BadQueueName`], with the name cut to a length that can be shown.
    ///
    /// ```
    /// use musher::core::QueueName;
    /// assert!(QueueName::new("mails/eu-1").is_ok());
    /// assert!(QueueName::new("two words").is_err());
    /// ```
    pub fn new(name: &str) -> Result<QueueName, BadQueueName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-/:+".contains(&b);
        if name.is_empty() || name.len() > Self::MAX || name.starts_with('-') || !name.bytes().all(allowed) {
            return Err(BadQueueName(name.chars().take(40).collect::<String>().escape_debug().to_string()));
        }
        Ok(QueueName(name.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the producer asked for. Equal neighbours share one `Spec`, so it costs by the batch and not by the job.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spec {
    /// The queue that the job waits in.
    pub queue: QueueName,
    /// Its place among the others.
    pub priority: Priority,
    /// After how many failed attempts it is dead; the queue's setting if not given.
    pub attempts: Option<u32>,
    /// How it waits between attempts; the queue's setting if not given.
    pub backoff: Option<Backoff>,
    /// How long one attempt may run, zero for without end; the queue's setting if not given. Enforced by the worker.
    pub timeout: Option<Duration>,
    /// Whether something for people and workers (tags, for instance) is stored beside its body: jobs that differ
    /// only in what that is are alike.
    pub has_envelope: bool,
    /// The user who submitted it.
    pub owner: u32,
}

impl Spec {
    /// A job for `queue` with no wishes.
    pub fn plain(queue: QueueName) -> Spec {
        Spec {
            queue,
            priority: Priority::default(),
            attempts: None,
            backoff: None,
            timeout: None,
            has_envelope: false,
            owner: 0,
        }
    }
}

/// Who holds a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// A connection of this run of the daemon: the lease ends with it.
    Session(u64),
    /// Whoever knows the attempt number: the lease ends by a settle or by its time.
    Anyone,
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
}

/// Where a job is in its life. `ready` and `scheduled` jobs wait, `leased` ones are worked on, the others are
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
}

impl StateKind {
    /// Every state, in the order of a job's life.
    pub const ALL: [StateKind; 7] = [
        StateKind::Scheduled,
        StateKind::Ready,
        StateKind::Leased,
        StateKind::Done,
        StateKind::Dead,
        StateKind::Cancelled,
        StateKind::Expired,
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
        }
    }

    /// Whether a job in this state has ended.
    pub fn is_final(self) -> bool {
        !matches!(self, StateKind::Scheduled | StateKind::Ready | StateKind::Leased)
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
        }
    }

    /// When a final state was reached and how long it is kept.
    pub fn ended(&self) -> Option<Final> {
        match self {
            State::Done(end) | State::Dead(end) | State::Cancelled(end) | State::Expired(end) => Some(*end),
            State::Scheduled { .. } | State::Ready | State::Leased(_) => None,
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exit {
    /// By itself, with this status; 0 is success.
    Status(u8),
    /// By this signal.
    Signal(u8),
}

/// Why an attempt did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which attempt.
    pub attempt: Attempt,
    /// When it began; `None` where that was not yet remembered.
    pub since: Option<Time>,
    /// When it ended.
    pub at: Time,
    /// What the worker, or the daemon, said of it; at most [`Failure::TEXT_MAX`] bytes.
    pub error: Box<str>,
    /// How its process ended, if the worker has said so.
    pub exit: Option<Exit>,
}

impl Failure {
    /// The longest text that is kept of an error, in bytes. What is longer is cut.
    pub const TEXT_MAX: usize = 240;
    /// How many failures are kept of one job, the newest.
    pub const KEPT: usize = 3;
}

/// One job, all but its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// What was asked for.
    pub spec: Arc<Spec>,
    /// The second in which it arrived.
    pub submitted_at: Time,
    /// When it is of no use any more; [`Time::NEVER`] for most.
    pub expires_at: Time,
    /// Where it is in its life.
    pub state: State,
    /// The newest attempt; 0 before the first.
    pub attempt: Attempt,
    /// When the newest attempt began; `None` before the first, or where that was not yet remembered.
    pub started: Option<Time>,
    /// How many attempts count as failed.
    pub failed: u32,
    /// How many times its worker, or the daemon under it, vanished, or its lease ended without a word.
    pub crashes: u32,
    /// How many times a worker has said: again later.
    pub later: u32,
    /// Why the newest attempts did not end well, oldest first; also those that are to come again later.
    pub failures: Vec<Failure>,
}

impl Job {
    /// A job that has just arrived and may be claimed.
    pub fn fresh(spec: Arc<Spec>, submitted_at: Time) -> Job {
        Job {
            spec,
            submitted_at,
            expires_at: Time::NEVER,
            state: State::Ready,
            attempt: Attempt(0),
            started: None,
            failed: 0,
            crashes: 0,
            later: 0,
            failures: Vec::new(),
        }
    }

    /// The lease on it and its attempt, if it is leased.
    pub fn lease(&self) -> Option<(Attempt, Lease)> {
        if let State::Leased(lease) = self.state { Some((self.attempt, lease)) } else { None }
    }

    /// The connection with which its lease ends, if it is leased so.
    pub(super) fn session(&self) -> Option<u64> {
        match self.state {
            State::Leased(Lease { holder: Holder::Session(session), .. }) => Some(session),
            _ => None,
        }
    }

    /// When its last attempt began, if it has come back: it has failed, was interrupted, or was to come later.
    pub(super) fn returned(&self) -> Option<Time> {
        let back = self.failed > 0 || self.crashes > 0 || self.later > 0;
        back.then(|| self.started.unwrap_or_default())
    }

    /// How the process of its newest attempt ended, if it has come to an end of its own: well if it is done.
    pub fn exit(&self) -> Option<Exit> {
        let newest = self.failures.last().filter(|failure| failure.attempt == self.attempt);
        match self.state {
            State::Done(_) => Some(Exit::Status(0)),
            State::Cancelled(_) | State::Expired(_) => None,
            State::Scheduled { .. } | State::Ready | State::Leased(_) | State::Dead(_) => newest?.exit,
        }
    }

    /// The one moment at which time alone changes this job.
    pub fn next_due(&self) -> Time {
        match self.state {
            State::Scheduled { due } => due.min(self.expires_at),
            State::Ready => self.expires_at,
            State::Leased(lease) => lease.until,
            State::Done(end) | State::Dead(end) | State::Cancelled(end) | State::Expired(end) => {
                end.keep_until
            }
        }
    }

    /// Remembers how the newest attempt ended, the oldest memory giving way.
    pub fn remember(&mut self, at: Time, error: &str, exit: Option<Exit>) {
        if self.failures.len() == Failure::KEPT {
            self.failures.remove(0);
        }
        let (attempt, since) = (self.attempt, self.started);
        self.failures.push(Failure { attempt, since, at, error: error.into(), exit });
    }
}

/// What a claim hands to a worker, beside the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The job.
    pub id: JobId,
    /// What was asked for.
    pub spec: Arc<Spec>,
    /// The lease's number; a settle must name it.
    pub attempt: Attempt,
    /// How many attempts the job has in all.
    pub attempts: u32,
    /// How long one attempt may run; `None` for without end.
    pub timeout: Option<Duration>,
    /// When the lease ends unless it is extended.
    pub until: Time,
}
