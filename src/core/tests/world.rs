//! A core with a clock that the test moves: every command is decided and followed by the check of all invariants.

use crate::core::*;
use std::time::Duration;

/// What can be seen of a state: two that are equal in this answer every question alike.
pub(super) type View = (Vec<(IdRange, Job)>, Vec<Row>, JobId, Option<Time>);

/// All jobs, the books, and when time changes something.
pub(super) fn view(state: &State) -> View {
    (state.runs(IdRange::new(JobId(0), u64::MAX)), state.rows(), state.next_id(), state.next_due())
}

/// The events of one command, joined where they say the same, behind those of others.
struct Log<'a> {
    events: &'a mut Vec<Event>,
    mark: usize,
}

impl Observer for Log<'_> {
    fn changed(&mut self, _: &Change<'_>) {}

    fn queue_changed(&mut self, _: &QueueName, _: QueueChange) {}
}

impl Recorder for Log<'_> {
    fn record(&mut self, event: Event) {
        if !self.events[self.mark..].last_mut().is_some_and(|last| last.join(&event)) {
            self.events.push(event);
        }
    }
}

/// A core, its clock, and all that has happened in it. Jitter is off.
pub(super) struct World {
    pub(super) core: Core,
    pub(super) now: Time,
    pub(super) random: u64,
    /// Every event from the beginning. All commands push to this one list, as a batch would.
    pub(super) log: Vec<Event>,
    /// Where the newest command's events begin.
    pub(super) mark: usize,
    /// Whether all invariants are checked after each command; too slow for millions of jobs.
    pub(super) checks: bool,
}

pub(super) fn name(queue: &str) -> QueueName {
    QueueName::new(queue).unwrap()
}

pub(super) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `count` jobs for `queue` with nothing else asked for.
pub(super) fn group(queue: &str, count: u64) -> Group {
    Group::new(Spec::plain(name(queue)), count)
}

impl World {
    pub(super) fn new() -> World {
        let mut core = Core::default();
        core.settings.default.backoff.jitter_permille = 0;
        World { core, now: Time(1_000_000), random: 0, log: Vec::new(), mark: 0, checks: true }
    }

    /// Decides.
    pub(super) fn run(&mut self, command: Command) -> Result<Outcome, Rejection> {
        self.mark = self.log.len();
        let moment = Moment { now: self.now, random: self.random };
        let mut log = Log { events: &mut self.log, mark: self.mark };
        let outcome = self.core.decide(&command, Visibility::ALL, moment, &mut log);
        assert!(outcome.is_ok() || self.fresh().is_empty(), "a refusal with events: {:?}", self.fresh());
        if self.checks {
            check::check(&self.core.state);
        }
        outcome
    }

    /// What the newest command made happen.
    pub(super) fn fresh(&self) -> &[Event] {
        &self.log[self.mark..]
    }

    pub(super) fn submit(&mut self, groups: Vec<Group>) -> IdRange {
        let Ok(Outcome::Submitted(ids)) = self.run(Command::Submit { groups: groups.into() }) else {
            panic!("refused")
        };
        ids
    }

    /// Claims as session 7; returns the leases.
    pub(super) fn claim(&mut self, queue: &str, max: u32) -> Vec<LeaseId> {
        self.claim_for(queue, max, Holder::Session(7))
    }

    pub(super) fn claim_for(&mut self, queue: &str, max: u32, holder: Holder) -> Vec<LeaseId> {
        let claim = Claim {
            queues: vec![name(queue)],
            max,
            lease: None,
            holder,
            worker: None,
            order: ClaimOrder::AsNamed,
        };
        let Ok(Outcome::Claimed(grants)) = self.run(Command::Claim(claim)) else { panic!("refused") };
        grants.iter().map(|grant| LeaseId { id: grant.id, attempt: grant.attempt }).collect()
    }

    /// Settles each lease alike.
    pub(super) fn settle(&mut self, leases: &[LeaseId], verdict: Verdict) -> Vec<Result<(), LeaseRejection>> {
        let items = leases.iter().map(|lease| (*lease, verdict.clone())).collect();
        let Ok(Outcome::Settled(results)) = self.run(Command::Settle { items }) else { panic!("refused") };
        results
    }

    pub(super) fn fail(&mut self, leases: &[LeaseId], error: &str) {
        let verdict = Verdict::Fail { error: error.into(), exit: None, then: Then::Backoff };
        assert!(self.settle(leases, verdict).iter().all(Result::is_ok));
    }

    pub(super) fn edit(&mut self, edit: Edit, ids: &[u64]) -> Vec<Result<(), EditRejection>> {
        let ids = ids.iter().map(|id| JobId(*id)).collect();
        let Ok(Outcome::Edited(results)) = self.run(Command::Edit { edit, ids, only: Only::default() })
        else {
            panic!("refused")
        };
        results
    }

    /// Lets time pass and does what is then due.
    pub(super) fn wait(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        assert_eq!(self.run(Command::Tick), Ok(Outcome::Ok));
    }

    /// The state as a restart finds it: folded from all events, or put together from its parts.
    pub(super) fn restarts(&self) -> [State; 2] {
        [self.folded(), self.restored()]
    }

    pub(super) fn folded(&self) -> State {
        let mut state = State::default();
        self.log.iter().for_each(|event| state.apply(event));
        state
    }

    pub(super) fn restored(&self) -> State {
        let (mut state, now) = (State::default(), &self.core.state);
        for (range, job) in now.runs(IdRange::new(JobId(0), u64::MAX)) {
            state.restore(range, job);
        }
        now.rows().into_iter().for_each(|row| state.restore_row(row));
        state.raise_next_id(now.next_id());
        state
    }

    pub(super) fn job(&self, id: u64) -> Job {
        self.core.state.job(JobId(id)).unwrap_or_else(|| panic!("job {id} is unknown")).clone()
    }

    pub(super) fn kind(&self, id: u64) -> Option<StateKind> {
        self.core.state.job(JobId(id)).map(|job| job.kind())
    }

    pub(super) fn settings(&mut self) -> &mut QueueSettings {
        &mut self.core.settings.default
    }
}

/// Forgets what it is told.
pub(super) struct Unheard;

impl Observer for Unheard {
    fn changed(&mut self, _: &Change<'_>) {}

    fn queue_changed(&mut self, _: &QueueName, _: QueueChange) {}
}

impl Recorder for Unheard {
    fn record(&mut self, _: Event) {}
}
