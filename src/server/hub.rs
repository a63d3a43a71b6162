//! What the tasks of the loop share: the engine, the open sessions, and how to wake the driver. One thread, so
//! cells and no locks; no borrow is held across an await.

use super::beside::Beside;
use super::budget::{Budget, PATIENCE};
use super::gate::Gate;
use super::holds::Holds;
use super::native;
use super::output::OutputStore;
use super::session::Session;
use super::turns::{Fill, Share, Turns};
use crate::access::{Access, Right};
use crate::clock::{Clock, monotonic};
use crate::core::{JobId, Settings, StateKind, Time};
use crate::engine::{Answer, Bounds, Delivery, Drain, Engine, Fact, Origin, Refusal, Turned};
use crate::protocol::admin::HandlerView;
use crate::protocol::{LeaseRef, Notice, Response, Revocation};
use crate::store::{Room, Shrunk, Store};
use crate::telemetry::events;
use crate::telemetry::flood::{Flood, Line};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;

/// About what it costs to accept a connection, and its first and last task.
const DOOR_LEAST: Duration = Duration::from_micros(30);

/// The limits of connections and requests. `docs/` names the key of each.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Open connections at a time.
    pub connections: usize,
    /// The longest frame, in bytes.
    pub frame: usize,
    /// The longest body, in bytes.
    pub body: usize,
    /// The most jobs of one request.
    pub batch: usize,
    /// The bytes of output kept of one job.
    pub output: u64,
    /// What all connections together may have unread and unsent, in bytes.
    pub buffers: usize,
    /// The engine's own bounds.
    pub bounds: Bounds,
}

/// What a configuration says that may change while the daemon runs.
#[derive(Clone, Debug)]
pub struct Service {
    /// Of queues, and for decisions.
    pub settings: Settings,
    /// Of connections and requests.
    pub limits: Limits,
    /// Who may do what.
    pub access: Rc<Access>,
    /// What the daemon's own workers run.
    pub handlers: Vec<HandlerView>,
    /// How long a stop waits for running attempts.
    pub drain_timeout: Duration,
    /// Whether jobs are taken while the daemon stops.
    pub accept_while_draining: bool,
}

/// What the loop is built from.
pub struct Wiring<S> {
    /// Core and store.
    pub engine: Engine<S>,
    /// What the configuration says.
    pub service: Service,
    /// The time.
    pub clock: Clock,
    /// What jobs print.
    pub outputs: OutputStore,
    /// Where the data is; for people.
    pub data: String,
    /// Whether the socket stays when the daemon ends, for the next one.
    pub socket_stays: bool,
}

/// What the tasks of the loop share.
pub struct Hub<S> {
    pub(super) engine: RefCell<Engine<S>>,
    pub(super) service: RefCell<Service>,
    /// How many times the configuration has changed.
    epoch: Cell<u64>,
    pub(super) clock: Clock,
    pub(super) outputs: OutputStore,
    pub(super) data: String,
    socket_stays: bool,
    pub(super) started: Time,
    pub(super) sessions: RefCell<HashMap<u64, Rc<Session>>>,
    pub(super) followers: RefCell<HashMap<JobId, Vec<Rc<Follower>>>>,
    /// Rings when something waits for the next turn.
    pub(super) wake: Notify,
    pub(super) turns: Turns,
    /// What those who come and go have of a turn, all together.
    door: Share,
    /// Workers that cannot start jobs.
    pub(super) holds: Holds,
    /// Where long requests are read.
    pub(super) beside: Beside,
    pub(super) budget: Rc<Budget>,
    /// Whether this is the last call: see `last_call.rs`.
    pub(super) is_ending: Cell<bool>,
    /// Failures in the log.
    failures: RefCell<Flood>,
    next_session: Cell<u64>,
    /// Whether the log was told that no jobs are taken for want of room.
    room_is_short: Cell<bool>,
    /// Whether the log was told that connections are refused.
    pub(super) is_crowded: Cell<bool>,
}

/// Somebody who reads a job's output as it comes.
pub(super) struct Follower {
    pub(super) origin: Origin,
    /// Rings when there is more, or the job has ended.
    pub(super) more: Notify,
    pub(super) ended: Cell<bool>,
}

impl<S: Store + 'static> Hub<S> {
    /// Puts the parts together.
    pub fn new(wiring: Wiring<S>) -> Rc<Hub<S>> {
        let Wiring { engine, service, clock, outputs, data, socket_stays } = wiring;
        let started = clock.now();
        let budget = Budget::new(service.limits.buffers);
        Rc::new(Hub {
            engine: RefCell::new(engine),
            service: RefCell::new(service),
            epoch: Cell::default(),
            clock,
            outputs,
            data,
            socket_stays,
            started,
            sessions: RefCell::default(),
            followers: RefCell::default(),
            wake: Notify::new(),
            turns: Turns::default(),
            door: Share::default(),
            holds: Holds::default(),
            beside: Beside::default(),
            budget,
            is_ending: Cell::new(false),
            failures: RefCell::default(),
            next_session: Cell::new(1),
            room_is_short: Cell::new(false),
            is_crowded: Cell::new(false),
        })
    }

    /// Takes a new configuration into force, and tells the workers.
    pub fn configure(&self, service: Service) {
        self.engine.borrow_mut().configure(service.settings.clone(), service.limits.bounds);
        self.budget.set_max(service.limits.buffers);
        *self.service.borrow_mut() = service;
        self.epoch.set(self.epoch.get() + 1);
        self.withdraw();
        self.tell_all(Notice::Reconfigured);
    }

    /// Names the configuration that is in force.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Takes back what waits and is not allowed any more.
    fn withdraw(&self) {
        let sessions = self.sessions.borrow();
        let mut engine = self.engine.borrow_mut();
        engine.withdraw_claims(|origin, claim| {
            let gate = Gate::of(self, sessions.get(&origin.session)?);
            let denied = claim.queues.iter().find_map(|queue| gate.queue(Right::Work, queue).err());
            denied.map(|denied| native::refusal(origin.request, denied))
        });
        engine.withdraw_waits(|state, origin, id| {
            sessions.get(&origin.session).is_some_and(|session| Gate::of(self, session).hides(state, id))
        });
        self.wake.notify_one();
    }

    /// Begins to stop, or cuts that short. Returns whether it has begun only now.
    pub fn stop(&self) -> bool {
        let (grace, accept) = {
            let service = self.service.borrow();
            // Where the next daemon is called by the socket itself, nobody needs to be sent away.
            (service.drain_timeout, service.accept_while_draining || self.socket_stays)
        };
        let begun = self.engine.borrow_mut().stop(grace, accept, self.clock.now());
        let grace_ms = if begun { grace.as_millis() as u64 } else { 0 };
        self.tell_all(Notice::Stopping { grace_ms });
        self.wake.notify_one();
        begun
    }

    /// The engine, once nobody shares the hub any more.
    pub fn into_engine(hub: Rc<Hub<S>>) -> Option<Engine<S>> {
        // Sessions hold nothing of the hub, and are of no use any more.
        Rc::into_inner(hub).map(|hub| hub.engine.into_inner())
    }

    /// The state in lines, for the log.
    pub fn dump(&self) -> Vec<String> {
        let engine = self.engine.borrow();
        let state = &engine.core().state;
        let (mode, commit) = (engine.drain().name(), engine.last_commit().0);
        let (sessions, waiting) = (self.sessions.borrow().len(), engine.waiting_claims(None));
        let mut lines =
            vec![format!("{mode}: commit {commit}, {sessions} connections, {waiting} claims wait")];
        for (name, queue) in state.queues() {
            let counts = StateKind::ALL.map(|kind| format!("{} {kind}", queue.counts().of(kind))).join(", ");
            let paused = if queue.is_paused() { " (paused)" } else { "" };
            lines.push(format!("queue {name}{paused}: {counts}"));
        }
        lines
    }

    /// Whether the way down has begun.
    pub fn is_stopping(&self) -> bool {
        matches!(self.engine.borrow().drain(), Drain::Stopping { .. })
    }

    /// How many jobs connections hold.
    pub fn held(&self) -> usize {
        self.engine.borrow().core().state.held()
    }

    /// Tells the operators, once each, that there is no room for new jobs, and that there is again.
    pub(super) fn watch_room(&self) {
        let room = self.engine.borrow().room();
        let short = room != Room::Enough;
        if self.room_is_short.replace(short) != short {
            match short {
                true => events::room_short(&Refusal::NoRoom(room).to_string()),
                false => events::room_again(),
            }
        }
    }

    /// Tells the operators what became of giving space back.
    pub(super) fn watch_size(&self) {
        match self.engine.borrow_mut().shrunk() {
            None => {}
            Some(Shrunk::Done { before, after }) => events::shrunk(before, after),
            Some(Shrunk::Failed(why)) => events::not_shrunk(&why),
        }
    }

    pub(super) fn new_session_id(&self) -> u64 {
        let id = self.next_session.get();
        self.next_session.set(id + 1);
        id
    }

    /// Waits until somebody may come or go: a crowd stands in line for that, as for requests.
    pub(super) async fn wait_at_door(&self) {
        self.turns.admit(&self.door, || self.fill(), || self.wake.notify_one()).await;
    }

    /// Lets somebody come or go who has waited for it.
    pub(super) fn pass_door<T>(&self, pass: impl FnOnce() -> T) -> T {
        let begun = monotonic();
        let passed = pass();
        self.turns.charge(&self.door, DOOR_LEAST + (monotonic() - begun));
        passed
    }

    /// How much has been collected for the next commit.
    pub(super) fn fill(&self) -> Fill {
        let engine = self.engine.borrow();
        match (engine.is_full(), engine.is_half_full()) {
            (true, _) => Fill::Full,
            (false, true) => Fill::Half,
            (false, false) => Fill::Low,
        }
    }

    /// Somebody has waited long for room: whoever has held some for longer than anybody else, and not only just
    /// now, is closed.
    pub(super) fn give_way(&self) {
        let late = |session: &Session| self.clock.now().since(session.account.since()) >= PATIENCE;
        self.shed(|session| late(session));
    }

    /// Closes those who hold room the longest, until no more is taken than there is.
    pub(super) fn enforce_budget(&self) {
        while self.budget.is_over() && self.shed(|_| true) {}
    }

    fn shed(&self, may_go: impl Fn(&Session) -> bool) -> bool {
        let sessions = self.sessions.borrow();
        let holders = sessions.values().filter(|session| session.account.held() > 0);
        let victim = holders.filter(|session| may_go(session)).min_by_key(|session| session.account.since());
        if let Some(session) = victim {
            events::connection_shed(session.account.held());
            session.shed();
        }
        victim.is_some()
    }

    fn tell_all(&self, notice: Notice) {
        for session in self.sessions.borrow().values() {
            session.say(0, &Response::Notice(notice));
            session.flush();
        }
    }

    /// Hands out what a turn brought: encodes each answer into its connection's buffer, then writes each
    /// connection once.
    pub(super) fn deliver(&self, turned: Turned) {
        self.tell_operators(&turned.facts);
        let mut touched: Vec<Rc<Session>> = Vec::new();
        let sessions = self.sessions.borrow();
        let mut touch = |session: &Rc<Session>| {
            if !session.touched.replace(true) {
                touched.push(session.clone());
            }
        };
        // Many answers in a row are for one connection.
        let mut last: Option<&Rc<Session>> = None;
        for delivery in turned.deliveries {
            match delivery {
                Delivery::Answer(origin, answer) => {
                    last = last
                        .filter(|last| last.id == origin.session)
                        .or_else(|| sessions.get(&origin.session).inspect(|session| touch(session)));
                    match last {
                        Some(session) => self.answer(session, origin, answer),
                        None => self.undeliverable(&answer),
                    }
                }
                Delivery::Revoked { session, lease, expired } => {
                    if let Some(session) = sessions.get(&session) {
                        let why = if expired { Revocation::Expired } else { Revocation::Cancelled };
                        let lease = LeaseRef { id: lease.id.0, attempt: lease.attempt.0 };
                        session.say(0, &Response::Notice(Notice::Revoked { lease, why }));
                        touch(session);
                    }
                }
                Delivery::Forgotten(range) => {
                    self.outputs.forget(range, |id| self.followers.borrow().contains_key(&id));
                }
            }
        }
        drop(sessions);
        // Backwards: what had waited for new jobs was served last, and begins with them while producers learn that they
        // are kept.
        for session in touched.into_iter().rev() {
            session.touched.set(false);
            session.flush();
        }
        self.enforce_budget();
    }

    /// Puts into the log what happened, failures only so far as somebody can read them all.
    fn tell_operators(&self, facts: &[Fact]) {
        let mut flood = self.failures.borrow_mut();
        for fact in facts {
            let now = self.clock.now();
            flood.over(now).into_iter().for_each(events::failures_not_named);
            match fact {
                Fact::Failed { .. } => match flood.line(now) {
                    Line::Say => events::fact(fact),
                    Line::HoldBackFirst => events::failures_counted(),
                    Line::HoldBack => {}
                },
                Fact::Interrupted { .. } | Fact::Lapsed { .. } | Fact::StoodStill { .. } => {
                    events::fact(fact)
                }
            }
        }
        if flood.is_holding_back() {
            flood.over(self.clock.now()).into_iter().for_each(events::failures_not_named);
        }
    }

    fn answer(&self, session: &Session, origin: Origin, answer: Answer) {
        let about = match &answer {
            Answer::Ended(ends) => ends.first().map(|end| end.id),
            Answer::Refused(Refusal::NotFound(id)) => Some(*id),
            _ => None,
        };
        if let Some(follower) = about.and_then(|id| self.follower(id, origin)) {
            follower.ended.set(true);
            follower.more.notify_one();
            return;
        }
        native::encode(answer, origin.request, self.clock.now(), session);
    }

    fn follower(&self, id: JobId, origin: Origin) -> Option<Rc<Follower>> {
        self.followers.borrow().get(&id)?.iter().find(|follower| follower.origin == origin).cloned()
    }

    /// An answer to a connection that has closed. Jobs leased for it are given back; leases that are bound to it
    /// were ended when it closed.
    fn undeliverable(&self, answer: &Answer) {
        if let Answer::Jobs(jobs) = answer
            && !jobs.is_empty()
        {
            self.engine.borrow_mut().undo_claim(jobs, self.clock.now());
            self.wake.notify_one();
        }
    }
}
