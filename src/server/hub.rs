//! What the tasks of the loop share: the engine, the open connections, and how to wake the loop. One thread, so cells
//! and no locks; no borrow is held across an await.

use super::background::Background;
use super::connections::Connections;
use super::encoder::Notice;
use super::fault::Fault;
use super::followers::Followers;
use super::holds::Holds;
use super::journal::Journal;
use super::looks::Looks;
use super::output::OutputStore;
use super::peer::Peer;
use super::permissions::Permissions;
use super::scheduler::{Fill, Quota, Scheduler};
use super::service::Service;
use super::sessions::Sessions;
use super::viewers::Viewers;
use crate::access::Right;
use crate::clock::{Clock, monotonic};
use crate::core::{Holder, Plan, ScheduleName, State, Time};
use crate::engine::{Drain, Engine, Refusal};
use crate::store::{CommitNo, Store};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// About what it costs to accept a connection, and its first and last task.
const ARRIVAL_LEAST: Duration = Duration::from_micros(30);

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
    /// Which node of a cluster this is; for people.
    pub node: Option<String>,
    /// Whether the socket stays when the daemon ends, for the next one.
    pub socket_stays: bool,
}

/// Something that is done with a state and the newest commit, with which all that is in it has been appended.
type AtRest = Box<dyn FnOnce(&State, CommitNo)>;

/// What the tasks of the loop share.
pub struct Hub<S> {
    pub(crate) engine: RefCell<Engine<S>>,
    pub(crate) service: RefCell<Service>,
    /// How many times the configuration has changed.
    epoch: Cell<u64>,
    pub(crate) clock: Clock,
    pub(crate) outputs: OutputStore,
    pub(super) followers: Followers,
    /// Who follows what becomes of jobs.
    pub(super) viewers: Viewers,
    pub(super) data: String,
    pub(super) node: Option<String>,
    socket_stays: bool,
    pub(super) started: Time,
    pub(super) connections: Connections,
    /// Those of workers whose leases outlive the daemon.
    pub(super) sessions: Sessions,
    /// How many jobs pools of former daemons run, if there were any at the start.
    pub(super) former_pools: Cell<Option<u64>>,
    /// Rings when something waits for the next turn; the log rings it too, from a thread of its own.
    pub(crate) wake: Arc<Notify>,
    pub(super) looks: Looks,
    pub(super) scheduler: Scheduler,
    /// What those who come and go have of a turn, all together.
    arrivals: Quota,
    /// Workers that cannot start jobs.
    pub(super) holds: Holds,
    /// Where long requests are read.
    pub(crate) background: Background,
    /// Where the disk is read for lists, which keeps no submit waiting.
    pub(crate) reading: Background,
    pub(super) journal: Journal,
    /// What is to be done between two turns.
    at_rest: RefCell<Vec<AtRest>>,
    /// Whether all connections are being closed: see `shutdown.rs`.
    pub(super) is_ending: Cell<bool>,
}

impl<S: Store + 'static> Hub<S> {
    /// Puts the parts together.
    pub fn new(wiring: Wiring<S>) -> Rc<Hub<S>> {
        let Wiring { engine, service, clock, outputs, data, node, socket_stays } = wiring;
        let (started, state) = (clock.now(), &engine.core().state);
        let former =
            state.sessions_from(Holder::POOLS).map(|session| state.held_by(session).count() as u64).sum();
        let former_pools = Some(former).filter(|jobs| *jobs > 0);
        let connections = Connections::new(service.limits.buffers);
        Rc::new(Hub {
            engine: RefCell::new(engine),
            service: RefCell::new(service),
            epoch: Cell::default(),
            clock,
            outputs,
            followers: Followers::default(),
            viewers: Viewers::default(),
            data,
            node,
            socket_stays,
            started,
            connections,
            sessions: Sessions::default(),
            former_pools: Cell::new(former_pools),
            wake: Arc::default(),
            looks: Looks::default(),
            scheduler: Scheduler::default(),
            arrivals: Quota::default(),
            holds: Holds::default(),
            background: Background::default(),
            reading: Background::default(),
            journal: Journal::default(),
            at_rest: RefCell::default(),
            is_ending: Cell::new(false),
        })
    }

    /// Takes a new configuration into force, and tells the workers.
    pub fn configure(&self, service: Service) {
        self.engine.borrow_mut().configure(service.settings.clone(), service.limits.bounds);
        self.connections.budget.set_max(service.limits.buffers);
        *self.service.borrow_mut() = service;
        self.settings_changed();
        self.withdraw();
        self.connections.tell_all(Notice::Reconfigured);
    }

    /// Takes the schedules of a configuration into force. Returns those that are not used, and why.
    pub fn configure_schedules(&self, plans: &[(ScheduleName, Plan)]) -> Vec<(ScheduleName, Refusal)> {
        let (mut engine, now) = (self.engine.borrow_mut(), self.clock.now());
        engine.wall_clock_is(self.clock.ahead_ms(), now);
        self.wake.notify_one();
        engine.configure_schedules(plans, now)
    }

    /// Takes back what waits and is not allowed any more.
    fn withdraw(&self) {
        let connections = self.connections.open();
        let mut engine = self.engine.borrow_mut();
        engine.withdraw_claims(|origin, claim| {
            let connection = connections.get(&origin.session)?;
            let permissions = self.permissions(&connection.peer);
            let denied = claim.queues.iter().find_map(|queue| permissions.queue(Right::Work, queue).err());
            denied.map(|denied| connection.refusal(origin.request, &denied))
        });
        engine.withdraw_submits(|origin, spec| {
            let connection = connections.get(&origin.session)?;
            let denied = self.permissions(&connection.peer).queue(Right::Submit, &spec.queue).err()?;
            Some(connection.refusal(origin.request, &denied))
        });
        engine.withdraw_waits(|state, origin, id| {
            let connection = connections.get(&origin.session);
            connection.is_some_and(|connection| self.permissions(&connection.peer).hides(state, id))
        });
        engine.withdraw_group_waits(|origin, group| {
            let connection = connections.get(&origin.session);
            connection.is_some_and(|connection| !self.permissions(&connection.peer).reads_group(group))
        });
        self.wake.notify_one();
    }

    /// How long it has been there.
    pub(crate) fn uptime(&self) -> Duration {
        self.clock.now().since(self.started)
    }

    /// Does something once all that was decided is appended. Nothing else happens meanwhile.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn at_rest(&self, what: impl FnOnce(&State, CommitNo) + 'static) {
        self.at_rest.borrow_mut().push(Box::new(what));
        self.wake.notify_one();
    }

    /// Does what is to be done between two turns, once the log has taken all that was decided: it may take no more for now.
    pub(super) fn rest(&self) {
        let engine = self.engine.borrow();
        if engine.is_at_rest() {
            let what = self.at_rest.take();
            what.into_iter().for_each(|what| what(&engine.core().state, engine.last_commit()));
        }
    }

    /// Begins to stop, or cuts that short. Returns whether it has begun only now.
    pub fn stop(&self) -> bool {
        let (grace, accept) = {
            let service = self.service.borrow();
            // Where the next daemon is called by the socket itself, nobody needs to be sent away.
            (service.drain_timeout, service.accept_while_draining || self.socket_stays)
        };
        let begun = self.engine.borrow_mut().stop(grace, accept, self.clock.now());
        self.connections.tell_all(Notice::Stopping(if begun { grace } else { Duration::ZERO }));
        self.viewers.end_all();
        self.wake.notify_one();
        begun
    }

    /// The engine, once nobody shares the hub any more.
    pub fn into_engine(hub: Rc<Hub<S>>) -> Option<Engine<S>> {
        // Connections hold nothing of the hub, and are of no use any more.
        Rc::into_inner(hub).map(|hub| hub.engine.into_inner())
    }

    /// Whether the way down has begun.
    pub fn is_stopping(&self) -> bool {
        matches!(self.engine.borrow().drain(), Drain::Stopping { .. })
    }

    /// How many jobs connections hold.
    pub fn held(&self) -> usize {
        self.engine.borrow().core().state.held()
    }
}

impl<S: Store + 'static> Hub<S> {
    /// Settings of queues have changed: nothing that was remembered with them holds.
    pub(super) fn settings_changed(&self) {
        self.epoch.set(self.epoch.get() + 1);
    }

    /// Names the settings that are in force.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// What somebody may do, by the rules of this moment.
    pub(super) fn permissions<'a>(&self, peer: &'a Peer) -> Permissions<'a> {
        Permissions::new(self.service.borrow().access.clone(), peer)
    }

    /// Refuses a request of more jobs than one may be about.
    pub(crate) fn check_batch(&self, len: usize) -> Result<(), Fault> {
        self.service.borrow().limits.check_batch(len)
    }

    /// How much has been collected for the next commit.
    fn fill(&self) -> Fill {
        let engine = self.engine.borrow();
        match (engine.is_full(), engine.is_half_full()) {
            (true, _) => Fill::Full,
            (false, true) => Fill::Half,
            (false, false) => Fill::Low,
        }
    }

    /// Waits until the connection with this quota may go on; returns whether it had to.
    pub(super) async fn admit(&self, quota: &Quota) -> bool {
        self.scheduler.admit(quota, || self.fill(), || self.wake.notify_one()).await
    }

    /// Waits until somebody may come or go: a crowd stands in line for that, as for requests.
    pub(super) async fn admit_arrival(&self) {
        self.admit(&self.arrivals).await;
    }

    /// Lets somebody come or go who has waited for it.
    pub(super) fn arrive<T>(&self, arrive: impl FnOnce() -> T) -> T {
        let begun = monotonic();
        let arrived = arrive();
        self.scheduler.charge(&self.arrivals, ARRIVAL_LEAST + (monotonic() - begun));
        arrived
    }
}
