//! The state of the daemon and its queues.

use super::numbers::oldest_ready_ms;
use crate::clock::Clock;
use crate::core::{Core, Limit, Queue, QueueName, StateKind, Time};
use crate::engine::Refusal;
use crate::server::fault::{Fault, Kind};
use crate::server::hub::Hub;
use crate::server::peer::Peer;
use crate::server::requests::RequestContext;
use crate::store::{Room, Store};
use crate::telemetry;
use crate::views::{CircuitView, DrainView, HandlerView, LogLevelView, QueueView, StatusView, TotalsView};

/// How the daemon is.
pub(crate) fn status<S: Store + 'static>(hub: &Hub<S>, peer: &Peer, now: Time) -> StatusView {
    let engine = hub.engine.borrow();
    StatusView {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        data: hub.data.clone(),
        node: hub.node.clone(),
        uptime_ms: now.since(hub.started).as_millis() as u64,
        clock_ahead_ms: hub.clock.ahead_ms(),
        mode: engine.drain().name().into(),
        draining_ms: engine.drain().since().map(|since| now.since(since).as_millis() as u64),
        connections: hub.connections.len() as u64,
        waiting_claims: engine.waiting_claims(None) as u64,
        waiting_submits: engine.waiting_submits() as u64,
        commit: engine.last_commit().0,
        next_id: engine.core().state.next_id().0,
        refusing: match engine.room() {
            Room::Enough => None,
            room => Some(Refusal::NoRoom(room).to_string()),
        },
        memory: memory(),
        schedules: schedules(hub, peer),
        shards: Vec::new(),
        queues: queues(hub, peer, now),
    }
}

/// How many schedules somebody may see.
fn schedules<S: Store + 'static>(hub: &Hub<S>, peer: &Peer) -> u64 {
    let (permissions, engine) = (hub.permissions(peer), hub.engine.borrow());
    let all = engine.core().state.schedules().iter();
    all.filter(|(_, schedule)| permissions.reads(&schedule.plan.spec)).count() as u64
}

/// The resident memory of this process, in bytes; 0 where the system does not say.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// Its queues, by name.
pub(crate) fn queues<S: Store + 'static>(hub: &Hub<S>, peer: &Peer, now: Time) -> Vec<QueueView> {
    let permissions = hub.permissions(peer);
    let engine = hub.engine.borrow();
    let handlers = &hub.service.borrow().handlers;
    let workers =
        |name: &QueueName| handlers.iter().find(|h| h.queue == name.as_str()).map_or(0, |h| h.workers);
    let mut views: Vec<_> = engine
        .core()
        .state
        .queues()
        .map(|(name, queue)| queue_view(name, queue, workers(name), engine.waiting_claims(Some(name)) as u64))
        .collect();
    for handler in handlers.iter().filter(|handler| handler.workers > 0) {
        if let Ok(name) = QueueName::new(&handler.queue)
            && engine.core().state.queue(&name).is_none()
        {
            let waiting = engine.waiting_claims(Some(&name)) as u64;
            views.push(queue_view(&name, &Queue::default(), handler.workers, waiting));
        }
    }
    views.retain(|view| permissions.knows(&view.queue));
    for view in &mut views {
        view.held = hub.holds.of(&view.queue, now);
        let Ok(name) = QueueName::new(&view.queue) else { continue };
        let until = engine.core().state.queue(&name).and_then(Queue::paused_until);
        view.paused_until = until.filter(|until| *until != Time::NEVER).map(|until| hub.clock.shown(until).0);
        view.oldest_ready_ms = oldest_ready_ms(&engine, &name, now);
        view.circuit = circuit(engine.core(), &name, &hub.clock, now);
    }
    views.sort_by(|a, b| a.queue.cmp(&b.queue));
    views
}

/// The circuit of a queue that has one, if there is anything to say of it.
fn circuit(core: &Core, name: &QueueName, clock: &Clock, now: Time) -> Option<CircuitView> {
    let settings = core.settings.of(name);
    let (queue, failures) = (core.state.queue(name)?, settings.circuit_failures?);
    let circuit = queue.circuit();
    let probe = settings.reached(&core.state, queue, now).find_map(|limit| match limit {
        Limit::Circuit { probe, .. } => probe,
        Limit::Concurrency { .. } | Limit::PerKey { .. } | Limit::Rate { .. } | Limit::PerKeyRate { .. } => {
            None
        }
    });
    (circuit.failed > 0).then(|| CircuitView {
        failed: circuit.failed.into(),
        failures: failures.into(),
        open_since: circuit.open.map(|open| clock.shown(open.since).0),
        probe: probe.map(|lease| lease.id.0),
        next_probe_at: circuit.open.filter(|_| probe.is_none()).map(|open| clock.shown(open.next).0),
    })
}

fn queue_view(name: &QueueName, queue: &Queue, workers: u32, waiting_claims: u64) -> QueueView {
    let (counts, totals) = (queue.counts(), queue.totals());
    QueueView {
        queue: name.as_str().into(),
        paused: queue.is_paused(),
        paused_until: None,
        workers,
        waiting_claims,
        held: None,
        circuit: None,
        oldest_ready_ms: None,
        ready: counts.of(StateKind::Ready),
        scheduled: counts.of(StateKind::Scheduled),
        waiting: counts.of(StateKind::Waiting),
        leased: counts.of(StateKind::Leased),
        done: counts.of(StateKind::Done),
        dead: counts.of(StateKind::Dead),
        cancelled: counts.of(StateKind::Cancelled),
        expired: counts.of(StateKind::Expired),
        waiting_bytes: queue.waiting_bytes(),
        totals: TotalsView {
            submitted: totals.submitted,
            claimed: totals.claimed,
            completed: totals.completed,
            failed: totals.failed,
            died: totals.died,
            cancelled: totals.cancelled,
            expired: totals.expired,
            dropped: totals.dropped,
        },
    }
}

/// Takes no more jobs and gives none out, or does again.
pub(crate) fn drain<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    drain: bool,
) -> Result<DrainView, Fault> {
    hub.permissions(context.peer).daemon()?;
    let mut engine = hub.engine.borrow_mut();
    engine.drain_by_hand(drain, context.now);
    let leased = engine.core().state.queues().map(|(_, queue)| queue.counts().of(StateKind::Leased)).sum();
    Ok(DrainView { draining: engine.core().draining, leased })
}

/// What is logged, or from now on.
pub(crate) fn log_level<S: Store + 'static>(
    hub: &Hub<S>,
    peer: &Peer,
    filter: Option<&str>,
) -> Result<LogLevelView, Fault> {
    hub.permissions(peer).daemon()?;
    let level = match filter {
        Some(filter) => telemetry::set_log_level(filter).inspect(|level| {
            telemetry::events::log_level_set(&level.filter, peer.caller.uid);
        }),
        None => telemetry::log_level(),
    };
    let level = level.map_err(|error| Fault::new(Kind::Invalid, error.to_string()))?;
    Ok(LogLevelView { filter: level.filter, at_start: level.at_start })
}

/// What the daemon's own workers run; for these only.
pub(crate) fn handlers<S: Store + 'static>(hub: &Hub<S>, peer: &Peer) -> Result<Vec<HandlerView>, Fault> {
    if !peer.pool {
        let message = "only the daemon's own workers ask for handlers; `musher config show` tells people";
        return Err(Fault::new(Kind::Forbidden, message));
    }
    let (mut handlers, others) = (hub.service.borrow().handlers.clone(), hub.jobs_of_former_pools());
    for handler in handlers.iter_mut().filter(|_| !others.is_empty()) {
        let taken = others.iter().find(|(queue, _)| queue.as_str() == handler.queue);
        handler.workers = handler.workers.saturating_sub(taken.map_or(0, |(_, jobs)| *jobs));
    }
    Ok(handlers)
}

/// The state in lines, for the log.
pub(crate) fn dump<S: Store + 'static>(hub: &Hub<S>) -> Vec<String> {
    let engine = hub.engine.borrow();
    let state = &engine.core().state;
    let (mode, commit) = (engine.drain().name(), engine.last_commit().0);
    let (open, waiting) = (hub.connections.len(), engine.waiting_claims(None));
    let mut lines = vec![format!("{mode}: commit {commit}, {open} connections, {waiting} claims wait")];
    for (name, queue) in state.queues() {
        let counts = StateKind::ALL.map(|kind| format!("{} {kind}", queue.counts().of(kind))).join(", ");
        let paused = if queue.is_paused() { " (paused)" } else { "" };
        lines.push(format!("queue {name}{paused}: {counts}"));
    }
    lines
}
