//! The loop's heart: owns core and store, collects what arrives into a commit, makes it durable with one sync,
//! and lets nobody learn of anything before that. It is synchronous and is told the time; it must not know of
//! sockets, tasks or clocks.
//!
//! One turn: any number of requests ([`Engine::submit`], [`Engine::claim`], …), each decided and applied at once
//! in memory; then [`Engine::turn`], which does what is due, serves claims that wait, appends one commit, and
//! hands out the answers that the durable mark allows. Refusals wait too: what they were decided on may be not
//! yet on disk.

mod answer;
mod beside;
mod blobs;
mod bounds;
mod changes;
mod closing;
mod contents;
mod drain;
mod followed;
mod group_waits;
mod handling;
mod held_back;
mod limited;
mod listener;
mod numbers;
mod parked;
mod pause;
mod progress;
mod queues;
mod resuming;
mod schedules;
mod submit;
#[cfg(test)]
mod tests;
mod traces;
mod turn;
mod waiting;
mod watching;
mod woken;

pub use answer::{Answer, Claimed, Delivery, Edited, End, Fact, GroupEnd, Origin, Refusal, WaitStage};
pub use bounds::Bounds;
pub use contents::Contents;
use contents::LateBlobs;
pub use drain::{Drain, KILL_GRACE, Step};
pub use followed::{Changed, ChangedJobs};
pub use progress::Progress;
pub use submit::SubmitOptions;
pub use turn::Turned;

use crate::core::{
    Claim, Command, Core, IdRange, Ids, JobId, Moment, Outcome, QueueName, RecentEnd, Rejection,
    RequestAnswer, Settings, State, Time,
};
use crate::spans::Spans;
use crate::store::{AppendError, CommitNo, Room, Shrunk, Store};
use bytes::Bytes;
use held_back::HeldBack;
use listener::Notes;
use numbers::Numbers;
use parked::{Parked, ParkedSubmits};
use pause::Rest;
use resuming::Resuming;
use schedules::Calendars;
use std::time::Duration;
use waiting::{Waiter, Waiting};

/// How many queues and jobs the waiting requests of a connection may name however many those of others do.
const WAITING_FREE: usize = 64;

/// Core, store, and what lies between two commits.
#[derive(Debug)]
pub struct Engine<S> {
    core: Core,
    store: S,
    bounds: Bounds,
    /// The newest commit that was appended.
    last: CommitNo,
    /// The time of the newest decision.
    now: Time,
    random: u64,
    drain: Drain,
    waiting: Waiting,
    parked: ParkedSubmits,
    notes: Notes,
    /// The bodies of the jobs that are new in this turn, and the envelopes of those that have one, as in a commit.
    bodies: Vec<Bytes>,
    /// Whose bodies these are: not all ids have got a job.
    new_ids: Ids,
    /// The bodies that take the place of others in this turn.
    replaced: LateBlobs,
    /// The checkpoints, results and signals that jobs get in this turn.
    attached: LateBlobs,
    envelopes: Vec<(IdRange, Bytes)>,
    content_bytes: usize,
    held_back: HeldBack,
    rest: Rest,
    /// When to look for queues that are idle.
    sweep_at: Option<Time>,
    calendars: Calendars,
    resuming: Resuming,
    numbers: Numbers,
    /// What happens to jobs that belong to traces, if that is wanted.
    traces: Option<Box<Spans>>,
}

impl<S: Store> Engine<S> {
    /// An engine over what recovery found. Leases of connections of the former life are ended by its first
    /// commit, with the first [`Engine::turn`]; workers that may come back have `resume_within` for it.
    pub fn new(
        state: State,
        last: CommitNo,
        store: S,
        settings: Settings,
        bounds: Bounds,
        random: u64,
        now: Time,
    ) -> Engine<S> {
        let core = Core::new(state, settings);
        let mut engine = Engine {
            core,
            store,
            bounds,
            last,
            now,
            random,
            drain: Drain::Running,
            waiting: Waiting::default(),
            parked: ParkedSubmits::default(),
            notes: Notes::default(),
            bodies: Vec::new(),
            new_ids: Ids::new(),
            replaced: LateBlobs::default(),
            attached: LateBlobs::default(),
            envelopes: Vec::new(),
            content_bytes: 0,
            held_back: HeldBack::default(),
            rest: Rest::new(now),
            sweep_at: Some(now),
            calendars: Calendars::default(),
            resuming: Resuming::default(),
            numbers: Numbers::new(bounds.metrics_queues, now),
            traces: None,
        };
        engine.know_queues();
        engine.recover(now);
        engine
    }

    /// The core, to look at.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The newest commit.
    pub fn last_commit(&self) -> CommitNo {
        self.last
    }

    /// Whether all that was decided is appended: then the state is that of the newest commit.
    pub fn is_at_rest(&self) -> bool {
        self.notes.events.is_empty()
    }

    /// Whether there is room for new jobs.
    pub fn room(&self) -> Room {
        self.store.room()
    }

    /// What became of giving space back, if that was tried since the last call.
    pub fn shrunk(&mut self) -> Option<Shrunk> {
        self.store.shrunk()
    }

    /// The store, for a backup: what the engine decides does not depend on one.
    pub fn store_for_backup(&mut self) -> &mut S {
        &mut self.store
    }

    /// How far down the daemon is.
    pub fn drain(&self) -> Drain {
        self.drain
    }

    /// How many claims wait: all, or those that wait for one queue.
    pub fn waiting_claims(&self, queue: Option<&QueueName>) -> usize {
        queue.map_or_else(|| self.waiting.len(), |queue| self.waiting.len_for(queue))
    }

    /// How many submits wait for room.
    pub fn waiting_submits(&self) -> usize {
        self.parked.len()
    }

    /// Changes the settings. What was decided stays; what is decided from now on follows the new ones.
    pub fn configure(&mut self, settings: Settings, bounds: Bounds) {
        self.core.configure(settings);
        self.bounds = bounds;
        self.numbers.tally.set_most(bounds.metrics_queues);
        self.know_queues();
        // Queues may be idle for less long now.
        self.sweep_at = Some(self.now);
        self.notes.room_made = true;
        self.wake_all();
    }

    /// Whether so much waits for the next commit that it should be made before more is taken.
    pub fn is_full(&self) -> bool {
        self.holds_a_commits(1)
    }

    /// Whether half of that waits.
    pub fn is_half_full(&self) -> bool {
        self.holds_a_commits(2)
    }

    /// About how many bytes of answers wait for the turn to end.
    pub fn said_bytes(&self) -> usize {
        self.notes.said_bytes
    }

    /// Whether one `part`th of what a commit may hold has been collected.
    fn holds_a_commits(&self, part: usize) -> bool {
        let bytes = self.bounds.commit_bytes / part;
        self.content_bytes >= bytes
            || self.notes.said_bytes + self.held_back.bytes() >= bytes
            || self.notes.events.len() + self.bodies.len() >= self.bounds.commit_events / part
    }

    /// Says something once all that was decided so far is durable.
    pub fn answer(&mut self, origin: Origin, answer: Answer) {
        self.notes.answer(origin, answer);
    }

    /// Leases jobs; where there are none, the request waits until `until`.
    pub fn claim(&mut self, origin: Origin, claim: Claim, until: Time, now: Time) {
        let stopping = matches!(self.drain, Drain::Stopping { .. });
        if !(self.core.draining && !stopping && until > now) {
            self.catch_up(now);
            match self.grant(&claim, now) {
                Ok(jobs) if !jobs.is_empty() || until <= now => {
                    return self.answer(origin, Answer::Jobs(jobs));
                }
                Ok(_) => {}
                Err(refusal) => return self.answer(origin, Answer::Refused(refusal)),
            }
        }
        if self.too_many_wait(origin, claim.queues.len()) {
            return;
        }
        for queue in &claim.queues {
            self.note_limited(queue, now);
        }
        self.waiting.add(Waiter { origin, claim, until });
    }

    /// Waits until jobs have ended, at most until `until`. Hidden ones are gone, as jobs that are not kept are.
    pub fn wait(
        &mut self,
        origin: Origin,
        ids: Vec<JobId>,
        is_hidden: impl Fn(&State, JobId) -> bool,
        until: Time,
        now: Time,
    ) {
        let next = self.core.state.next_id();
        if let Some(unknown) = ids.iter().find(|id| **id >= next || id.0 == 0) {
            return self.answer(origin, Answer::Refused(Refusal::NotFound(*unknown)));
        }
        let gone = |id| End { id, state: None, error: None, exit: None };
        let end = |id| if is_hidden(&self.core.state, id) { Some(gone(id)) } else { self.end_of(id) };
        let ends: Vec<_> = ids.into_iter().map(|id| (id, end(id))).collect();
        if until <= now || ends.iter().all(|(_, end)| end.is_some()) {
            return self.end_wait(origin, ends);
        }
        if !self.too_many_wait(origin, ends.len()) {
            self.notes.watching.add(origin, until, ends);
        }
    }

    /// Answers a waiting request at once, with what there is.
    pub fn unwait(&mut self, origin: Origin) {
        if self.waiting.of_request(origin).is_some() {
            self.answer(origin, Answer::Jobs(Vec::new()));
        } else if let Some((origin, answer)) = self.parked.of_request(origin).map(Parked::refused) {
            // Others may be next in line now.
            self.notes.room_made = true;
            self.answer(origin, answer);
        } else if let Some((origin, ends)) = self.notes.watching.of_request(origin) {
            self.end_wait(origin, ends);
        } else if let Some(ended) = self.notes.watching_groups.of_request(origin) {
            self.end_group_wait(ended);
        }
    }

    /// Answers those claims that wait which `refuse` has an answer for.
    pub fn withdraw_claims(&mut self, refuse: impl Fn(Origin, &Claim) -> Option<Answer>) {
        for (waiter, answer) in self.waiting.take(|waiter| refuse(waiter.origin, &waiter.claim)) {
            self.answer(waiter.origin, answer);
        }
    }

    /// Refuses those waits for the end of jobs that name one which `is_hidden` says.
    pub fn withdraw_waits(&mut self, is_hidden: impl Fn(&State, Origin, JobId) -> bool) {
        let hidden = |origin, id| is_hidden(&self.core.state, origin, id);
        for (origin, id) in self.notes.watching.take(hidden) {
            self.answer(origin, Answer::Refused(Refusal::NotFound(id)));
        }
    }

    /// Takes and gives out nothing any more, or does so again. Not while stopping.
    pub fn drain_by_hand(&mut self, drain: bool, now: Time) {
        if !matches!(self.drain, Drain::Stopping { .. }) {
            let since = self.drain.since().unwrap_or(self.now.max(now));
            self.drain = if drain { Drain::ByHand { since } } else { Drain::Running };
            self.core.draining = drain;
            self.notes.room_made = true;
            self.wake_all();
        }
    }

    /// Begins to stop, or cuts that short. Returns whether it has begun only now.
    pub fn stop(&mut self, grace: Duration, accept_submits: bool, now: Time) -> bool {
        let begun = self.drain.stop(self.now.max(now), grace);
        self.core.draining = true;
        self.core.accept_while_draining = accept_submits;
        for waiter in self.waiting.all() {
            self.answer(waiter.origin, Answer::Refused(Rejection::Draining.into()));
        }
        for (submit, ()) in self.parked.take(|_| Some(())) {
            self.answer(submit.origin, Answer::Refused(Rejection::Draining.into()));
        }
        begun
    }

    /// What to do next while stopping; `None` while the daemon is not stopping.
    pub fn stop_step(&mut self, now: Time) -> Option<Step> {
        let step = self.drain.step(self.now.max(now), self.core.state.held());
        match step {
            Some(Step::Evict) => self.command(&Command::Evict, now),
            // What is still owed is waited for, but not for ever.
            Some(Step::Finish)
                if self.owes_answers() && self.drain.over_at().is_some_and(|over| now < over) =>
            {
                return self.drain.over_at().map(Step::Wait);
            }
            _ => {}
        }
        step
    }

    /// Ends in order: what was decided since the last turn is on disk too, and what has changed at home, unless it is
    /// much.
    ///
    /// # Errors
    /// The disk failed. Nothing is lost: recovery reads the log.
    pub fn close(mut self) -> Result<(), AppendError> {
        if self.awaits_log() {
            self.store.wait()?;
        }
        self.commit()?;
        self.store.close(&self.core.state)
    }

    /// Refuses a request that would wait for so many queues and jobs, if that is too much.
    fn too_many_wait(&mut self, origin: Origin, more: usize) -> bool {
        let own = more + self.waiting_of(origin.session);
        let ends = self.notes.watching.size() + self.notes.watching_groups.size();
        let all = more + self.waiting.size() + ends + self.parked.len();
        let Bounds { waiting, waiting_all, .. } = self.bounds;
        let refusal = if own > waiting {
            Refusal::TooManyWaiting { limit: waiting }
        } else if all > waiting_all && own > WAITING_FREE {
            Refusal::CrowdWaiting { limit: waiting_all }
        } else {
            return false;
        };
        self.answer(origin, Answer::Refused(refusal));
        true
    }

    /// How a job ended; `None` if it has not.
    fn end_of(&self, id: JobId) -> Option<End> {
        match (self.core.state.job(id), self.core.state.recent_end(id)) {
            (Some(job), _) => job.kind().is_final().then(|| End::of(id, job)),
            (None, Some(RecentEnd { kind, error, exit, .. })) => {
                Some(End { id, state: Some(kind), error, exit })
            }
            (None, None) => Some(End { id, state: None, error: None, exit: None }),
        }
    }

    fn end_wait(&mut self, origin: Origin, ends: Vec<(JobId, Option<End>)>) {
        let state = &self.core.state;
        let now = |id| End { id, state: state.job(id).map(|job| job.kind()), error: None, exit: None };
        let ends = ends.into_iter().map(|(id, end)| end.unwrap_or_else(|| now(id))).collect();
        self.answer(origin, Answer::Ended(ends));
    }

    fn moment(&mut self, now: Time) -> Moment {
        self.now = self.now.max(now);
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        Moment { now: self.now, random: self.random }
    }

    /// A command of the daemon's own, which the core never refuses as a whole.
    fn command(&mut self, command: &Command, now: Time) {
        let outcome = self.decide(command, now);
        debug_assert!(outcome.is_ok(), "{command:?} was refused: {outcome:?}");
    }
}

/// The answer that an outcome is.
fn finished(outcome: Result<Outcome, Rejection>) -> Answer {
    match outcome {
        Ok(Outcome::Submitted(ids)) => Answer::Submitted(ids),
        Ok(Outcome::Received(receipts)) => Answer::Received(receipts),
        Ok(Outcome::Repeated(RequestAnswer::Submitted(ids))) => Answer::Submitted(ids),
        Ok(Outcome::Repeated(RequestAnswer::Received(receipts))) => Answer::Received(receipts.into_vec()),
        Ok(Outcome::Settled(results)) => Answer::Settled(results),
        Ok(Outcome::Extended(results)) => Answer::Extended(results),
        Ok(Outcome::Edited(results)) => {
            Answer::Edited(results.into_iter().map(|result| result.map(|()| Edited::Done)).collect())
        }
        Ok(Outcome::Purged { deleted, more }) => Answer::Purged { deleted, more },
        Ok(Outcome::TakenUp(_)) => unreachable!("it is answered with more, by `take_up`"),
        Ok(Outcome::Claimed(_)) => unreachable!("claims are granted with their bodies, by `grant`"),
        Ok(Outcome::Ok) => Answer::Ok,
        Err(rejection) => Answer::Refused(rejection.into()),
    }
}
