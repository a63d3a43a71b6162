//! The core's tests: the table of states walked cell by cell, promises one by one, and long random sequences with
//! crashes in between.

mod promises;
mod random;
mod table;

use super::*;
use std::time::Duration;

/// A core with a clock to turn, whose every step is checked.
pub(super) struct Bench {
    pub(super) core: Core,
    pub(super) now: Time,
    /// Everything that ever happened.
    pub(super) events: Vec<Event>,
}

pub(super) fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

impl Bench {
    /// Two attempts, two crashes, everything kept, no jitter.
    pub(super) fn new() -> Bench {
        let mut core = Core::default();
        let defaults = &mut core.settings.default;
        (defaults.attempts, defaults.crashes) = (2, 2);
        defaults.keep_done = Keep::For(Duration::from_secs(3600));
        defaults.keep_dead = Keep::For(Duration::from_secs(7200));
        defaults.backoff.jitter_permille = 0;
        Bench { core, now: Time(1_000_000), events: Vec::new() }
    }

    /// Decides, applies, and checks every invariant.
    pub(super) fn run(&mut self, command: &Command) -> Result<Outcome, Rejection> {
        let mut events = Vec::new();
        let outcome = self.core.decide(command, Moment { now: self.now, luck: 7 }, &mut events);
        assert!(outcome.is_ok() || events.is_empty(), "a refusal changes nothing");
        events.iter().for_each(|event| self.core.state.apply(event));
        self.events.extend(events);
        check::check(&self.core.state);
        outcome
    }

    pub(super) fn submit(&mut self, count: u64, start: Start, ttl: Option<Duration>) -> JobId {
        let group = Group { spec: Spec::plain(queue()), count, start, ttl };
        match self.run(&Command::Submit { groups: vec![group] }) {
            Ok(Outcome::Submitted(ids)) => ids.first,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn claim(&mut self, max: u32, session: u64) -> Vec<Grant> {
        let claim = Claim { queues: vec![queue()], max, lease: None, holder: Holder::Session(session) };
        match self.run(&Command::Claim(claim)) {
            Ok(Outcome::Claimed(grants)) => grants,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn settle(&mut self, id: JobId, attempt: u32, verdict: Verdict) -> Result<(), LeaseRejection> {
        let items = vec![(LeaseId { id, attempt: Attempt(attempt) }, verdict)];
        match self.run(&Command::Settle { items }) {
            Ok(Outcome::Settled(results)) => results[0],
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn fail(&mut self, id: JobId, attempt: u32) -> Result<(), LeaseRejection> {
        self.settle(id, attempt, Verdict::Fail { error: "no luck".into(), then: Then::Backoff })
    }

    pub(super) fn edit(&mut self, edit: Edit, id: JobId) -> Result<(), EditRejection> {
        match self.run(&Command::Edit { edit, ids: vec![id] }) {
            Ok(Outcome::Edited(results)) => results[0],
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn tick_after(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.run(&Command::Tick).unwrap();
    }

    pub(super) fn state(&self, id: JobId) -> String {
        self.core.state.job(id).map_or("forgotten".into(), |job| job.state.kind().to_string())
    }
}
