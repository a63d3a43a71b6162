//! What a job is: what the producer asked for ([`Spec`]), what has become of it ([`Job`], [`State`]). The body is
//! not here; the core never sees one.

mod alike;
mod attempt;
mod beside;
mod expiry;
mod grant;
mod handling;
mod lease;
mod signals;
mod size;
mod spec;
mod state;
mod waits;

pub(super) use alike::Alike;
pub use attempt::{Attempt, Exit, Failure};
pub(crate) use attempt::{JobCounts, Newest};
pub use beside::Beside;
pub use expiry::Expiry;
pub use grant::Grant;
pub use handling::{Handling, HandlingCounts};
pub use signals::{BadSignalName, Signal, SignalName, Signals};
pub use size::Size;
pub use spec::{BadQueueName, Key, Priority, QueueName, Spec, SpecOptions, UniqueWhile, for_shell};
pub use state::{Final, Holder, Lease, State, StateKind, Worker};

use super::flow::Waits;
use super::time::Time;
use std::sync::Arc;

/// One job, all but what is stored beside it. Small, since there may be millions that are like no other: what most of them
/// do not have yet is behind a pointer.
#[derive(Clone, Debug)]
pub struct Job {
    /// What was asked for.
    pub spec: Arc<Spec>,
    /// When it is due, when its lease ends, or when it ended, as its state has it.
    when: Time,
    /// What has become of it, once anything has.
    history: Option<Arc<History>>,
    /// The second in which it arrived, since 1970.
    submitted: u32,
    kind: StateKind,
    /// How many bytes its body has, if that is counted.
    size: Size,
}

// A million scheduled jobs that are like no other take as many of these.
const _: () = assert!(size_of::<Job>() <= 32);

/// What has become of a job, or few have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct History {
    attempt: Attempt,
    failed: u32,
    crashes: u32,
    later: u32,
    /// Until when it is of use.
    expiry: Expiry,
    /// When the newest attempt began; [`Time::NEVER`] before the first, or where that was not yet remembered.
    started: Time,
    /// Whose that was; `None` before the first, or where it was not yet remembered.
    worker: Option<Worker>,
    /// Who has it, or until when it is kept.
    hold: Hold,
    /// What is stored beside it.
    has_checkpoint: bool,
    has_result: bool,
    has_signals: bool,
    /// Which those are, and which one it waits for.
    signals: Option<Box<Signals>>,
    /// What was done with it, as far as that is counted.
    handled: Option<Box<HandlingCounts>>,
    /// The newest ones, oldest first.
    failures: Box<[Failure]>,
    /// What it waits for.
    waits: Option<Arc<Waits>>,
}

/// What else is to be known of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Nothing,
    By(Holder),
    /// The same, and it is being cancelled.
    Cancelling(Holder),
    Until(Time),
}

impl Default for History {
    fn default() -> History {
        History {
            attempt: Attempt(0),
            failed: 0,
            crashes: 0,
            later: 0,
            expiry: Expiry::default(),
            started: Time::NEVER,
            worker: None,
            hold: Hold::Nothing,
            has_checkpoint: false,
            has_result: false,
            has_signals: false,
            signals: None,
            handled: None,
            failures: Box::default(),
            waits: None,
        }
    }
}

impl PartialEq for Job {
    /// Whether they differ in nothing. What differs most often, and is told apart soonest, comes first.
    fn eq(&self, other: &Job) -> bool {
        (self.when, self.kind) == (other.when, other.kind)
            && (self.submitted, self.size) == (other.submitted, other.size)
            && (Arc::ptr_eq(&self.spec, &other.spec) || self.spec == other.spec)
            && match (&self.history, &other.history) {
                (Some(history), Some(others)) => Arc::ptr_eq(history, others) || history == others,
                (Some(history), None) | (None, Some(history)) => **history == History::default(),
                (None, None) => true,
            }
    }
}

impl Eq for Job {}

impl Job {
    /// A job that has just arrived, in this second, and may be claimed.
    pub fn fresh(spec: Arc<Spec>, submitted_at: Time) -> Job {
        // There are seconds until 2106.
        let submitted = u32::try_from(submitted_at.0 / 1_000).unwrap_or(u32::MAX);
        let (when, kind) = (Time(0), StateKind::Ready);
        Job { spec, when, history: None, submitted, kind, size: Size::default() }
    }

    /// A job as it was remembered: in a state, with what was counted of it, what is known of its newest attempt, and why
    /// earlier ones did not end well. When a lease began is when its attempt did.
    pub(crate) fn remembered(
        fresh: Job,
        state: State,
        counts: JobCounts,
        newest: Newest,
        failures: Vec<Failure>,
    ) -> Job {
        let mut job = fresh;
        job.set_counts(counts);
        let Newest { started, worker } = newest;
        if started.is_some() || worker.is_some() || !failures.is_empty() {
            let history = job.history_mut();
            (history.started, history.worker) = (started.unwrap_or(Time::NEVER), worker);
            history.failures = failures.into();
        }
        job.set_state(state);
        job
    }

    /// Whether another one is known to differ in nothing but its keys.
    pub(super) fn differs_in_keys_only(&self, other: &Job) -> bool {
        let same_history = match (&self.history, &other.history) {
            (Some(history), Some(others)) => Arc::ptr_eq(history, others),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        (self.when, self.kind) == (other.when, other.kind)
            && (self.submitted, self.size) == (other.submitted, other.size)
            && Arc::ptr_eq(&self.spec.options, &other.spec.options)
            && same_history
    }

    /// The second in which it arrived.
    pub fn submitted_at(&self) -> Time {
        Time(u64::from(self.submitted) * 1_000)
    }

    /// How many bytes its body has, if that is counted.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Says how many bytes its body has.
    pub(crate) fn set_size(&mut self, size: Size) {
        self.size = size;
    }

    /// Whether this is stored beside it.
    pub fn has(&self, what: Beside) -> bool {
        let has = self.of_history(|history| match what {
            Beside::Checkpoint => history.has_checkpoint,
            Beside::Result => history.has_result,
            Beside::Signals => history.has_signals,
        });
        has.unwrap_or(false)
    }

    /// Says whether this is stored beside it.
    pub(crate) fn set_beside(&mut self, what: Beside, is_there: bool) {
        if self.has(what) != is_there {
            let history = self.history_mut();
            match what {
                Beside::Checkpoint => history.has_checkpoint = is_there,
                Beside::Result => history.has_result = is_there,
                Beside::Signals => history.has_signals = is_there,
            }
        }
        if what == Beside::Signals && !is_there {
            self.set_signals(Signals::default());
        }
    }

    /// Until when it is of use.
    pub fn expiry(&self) -> Expiry {
        self.of_history(|history| history.expiry).unwrap_or_default()
    }

    /// Says until when it is of use.
    pub(crate) fn set_expiry(&mut self, expiry: Expiry) {
        if self.expiry() != expiry {
            self.history_mut().expiry = expiry;
        }
    }

    /// When it expires if it waits until then; [`Time::NEVER`] for most.
    pub fn expires_at(&self) -> Time {
        self.of_history(|history| history.expiry.of_waiting(self.has_begun())).unwrap_or(Time::NEVER)
    }

    /// Whether it was ever leased: its worker may have worked on it, whatever came of that.
    pub fn has_begun(&self) -> bool {
        self.attempt() > Attempt(0)
    }

    /// Where it is in its life.
    pub fn state(&self) -> State {
        let end = || {
            let keep_until = match self.history.as_deref() {
                Some(History { hold: Hold::Until(time), .. }) => *time,
                _ => Time::NEVER,
            };
            Final { at: self.when, keep_until }
        };
        match self.kind {
            StateKind::Scheduled => State::Scheduled { due: self.when },
            StateKind::Ready => State::Ready,
            StateKind::Leased => State::Leased(self.lease_of(self.history.as_deref())),
            StateKind::Done => State::Done(end()),
            StateKind::Dead => State::Dead(end()),
            StateKind::Cancelled => State::Cancelled(end()),
            StateKind::Expired => State::Expired(end()),
            StateKind::Waiting => State::Waiting { due: self.when },
        }
    }

    /// The state without its data.
    pub fn kind(&self) -> StateKind {
        self.kind
    }

    /// Puts it into a state. A lease begins with the newest attempt.
    pub(super) fn set_state(&mut self, state: State) {
        self.kind = state.kind();
        let (when, hold) = match state {
            State::Ready => (Time(0), Hold::Nothing),
            State::Scheduled { due } | State::Waiting { due } => (due, Hold::Nothing),
            State::Leased(lease) => {
                if self.started() != Some(lease.since) {
                    self.history_mut().started = lease.since;
                }
                let hold = if lease.cancelling { Hold::Cancelling } else { Hold::By };
                (lease.until, hold(lease.holder))
            }
            State::Done(end) | State::Dead(end) | State::Cancelled(end) | State::Expired(end) => {
                let forever = end.keep_until == Time::NEVER;
                (end.at, if forever { Hold::Nothing } else { Hold::Until(end.keep_until) })
            }
        };
        self.when = when;
        if self.kind != StateKind::Scheduled {
            self.await_no_signal();
        }
        if self.kind != StateKind::Waiting && self.waits_for().is_some() {
            self.history_mut().waits = None;
        }
        if self.history.as_ref().map_or(Hold::Nothing, |history| history.hold) != hold {
            self.history_mut().hold = hold;
        }
    }

    /// Puts it into a final state in which it is not kept: nobody asks until when, so its history, which others may share,
    /// stays as it is.
    pub(super) fn end_for_good(&mut self, kind: StateKind, at: Time) {
        (self.kind, self.when) = (kind, at);
    }

    fn history_mut(&mut self) -> &mut History {
        Arc::make_mut(self.history.get_or_insert_default())
    }

    fn of_history<T>(&self, of: impl FnOnce(&History) -> T) -> Option<T> {
        self.history.as_deref().map(of)
    }

    /// The newest attempt; 0 before the first.
    pub fn attempt(&self) -> Attempt {
        self.of_history(|history| history.attempt).unwrap_or_default()
    }

    /// When the newest attempt began; `None` before the first, or where that was not yet remembered.
    pub fn started(&self) -> Option<Time> {
        self.of_history(|history| history.started).filter(|started| *started != Time::NEVER)
    }

    /// Who had, or has, the newest attempt; `None` before the first, or where that was not yet remembered.
    pub fn worker(&self) -> Option<Worker> {
        self.of_history(|history| history.worker).flatten()
    }

    /// Says who has it.
    pub(super) fn set_worker(&mut self, worker: Option<Worker>) {
        if self.worker() != worker {
            self.history_mut().worker = worker;
        }
    }

    /// How many attempts count as failed.
    pub fn failed(&self) -> u32 {
        self.of_history(|history| history.failed).unwrap_or(0)
    }

    /// How many times its worker, or the daemon under it, vanished, or its lease ended without a word.
    pub fn crashes(&self) -> u32 {
        self.of_history(|history| history.crashes).unwrap_or(0)
    }

    /// How many times a worker has said: again later.
    pub fn later(&self) -> u32 {
        self.of_history(|history| history.later).unwrap_or(0)
    }

    /// Why the newest attempts did not end well, oldest first; also those that are to come again later.
    pub fn failures(&self) -> &[Failure] {
        self.history.as_deref().map_or(&[], |history| &history.failures)
    }

    /// Counts what has become of it.
    pub(crate) fn set_counts(&mut self, counts: JobCounts) {
        if self.counts() != counts {
            let history = self.history_mut();
            let JobCounts { attempt, failed, crashes, later } = counts;
            (history.attempt, history.failed) = (attempt, failed);
            (history.crashes, history.later) = (crashes, later);
        }
    }

    /// What was counted of it.
    pub(super) fn counts(&self) -> JobCounts {
        let (attempt, failed) = (self.attempt(), self.failed());
        JobCounts { attempt, failed, crashes: self.crashes(), later: self.later() }
    }

    /// When its last attempt began, if it has come back: it has failed, was interrupted, or was to come later.
    pub(super) fn returned(&self) -> Option<Time> {
        let history = self.history.as_deref()?;
        let back = history.failed > 0 || history.crashes > 0 || history.later > 0;
        back.then(|| self.started().unwrap_or_default())
    }

    /// How the process of its newest attempt ended, if it has come to an end of its own: well if it is done.
    pub fn exit(&self) -> Option<Exit> {
        let newest = self.failures().last().filter(|failure| failure.attempt == self.attempt());
        match self.kind {
            StateKind::Done => Some(Exit::Status(0)),
            StateKind::Cancelled | StateKind::Expired => None,
            StateKind::Scheduled
            | StateKind::Waiting
            | StateKind::Ready
            | StateKind::Leased
            | StateKind::Dead => newest?.exit,
        }
    }

    /// Until when it holds its unique key: [`Time::NEVER`] while nobody knows when that ends; `None` if it does not.
    pub(super) fn holds_unique_until(&self) -> Option<Time> {
        self.spec.unique?;
        match (self.state(), self.spec.unique_while) {
            (State::Scheduled { .. } | State::Waiting { .. } | State::Ready, UniqueWhile::Waiting) => {
                (self.attempt() == Attempt(0)).then_some(Time::NEVER)
            }
            (_, UniqueWhile::Waiting) => None,
            (State::Scheduled { .. } | State::Waiting { .. } | State::Ready | State::Leased(_), _) => {
                Some(Time::NEVER)
            }
            (_, UniqueWhile::Unfinished) => None,
            (
                State::Done(end) | State::Dead(end) | State::Cancelled(end) | State::Expired(end),
                UniqueWhile::Kept(time),
            ) => Some(end.at.plus(time)),
        }
    }

    /// Whether it would hold its unique key if it were made ready by hand.
    pub(super) fn would_hold_unique(&self) -> bool {
        let has_begun = self.attempt() > Attempt(0);
        self.spec.unique.is_some() && !(has_begun && self.spec.unique_while == UniqueWhile::Waiting)
    }

    /// It may run later than now: at this time.
    pub(super) fn postpone(&mut self, due: Time) {
        match self.kind {
            StateKind::Waiting => self.when = due,
            _ => self.set_state(State::Scheduled { due }),
        }
    }

    /// Before when it does not run, if it is scheduled, or waits for others besides.
    pub(crate) fn not_before(&self) -> Option<Time> {
        matches!(self.state(), State::Scheduled { .. } | State::Waiting { .. }).then_some(self.when)
    }

    /// When it may run, if it is scheduled.
    pub(super) fn due(&self) -> Option<Time> {
        (self.kind == StateKind::Scheduled).then_some(self.when)
    }

    /// The one moment at which time alone changes this job.
    pub fn next_due(&self) -> Time {
        match self.state() {
            State::Scheduled { due } => due.min(self.expires_at()),
            State::Ready | State::Waiting { .. } => self.expires_at(),
            State::Leased(lease) => lease.until,
            State::Done(end) | State::Dead(end) | State::Cancelled(end) | State::Expired(end) => {
                end.keep_until
            }
        }
    }

    /// Remembers how the newest attempt ended, the oldest memory giving way.
    pub(super) fn remember(&mut self, at: Time, error: &str, exit: Option<Exit>) {
        let (attempt, since, worker) = (self.attempt(), self.started(), self.worker());
        let forgotten = (self.failures().len() + 1).saturating_sub(Failure::KEPT);
        let history = self.history_mut();
        let mut failures = std::mem::take(&mut history.failures).into_vec();
        failures.drain(..forgotten);
        failures.push(Failure { attempt, since, at, error: error.into(), exit, worker });
        history.failures = failures.into();
    }
}
