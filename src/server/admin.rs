//! The questions in JSON: how the daemon, its queues and its jobs are, and the changes that people make. Turns
//! what the core knows into the views of the protocol.

use super::gate::Gate;
use super::hub::Hub;
use super::list::Filter;
use super::native::{self, Invalid};
use super::session::Session;
use super::{commands, explain, list};
use crate::access::Right;
use crate::clock::Clock;
use crate::core::{
    Command, EditRejection, Exit, Failure, Job, JobId, JobState, Queue, QueueName, Spec, StateKind, Time,
};
use crate::engine::{Answer, Batch, End, Engine, Only, Origin, Refusal};
use crate::protocol::admin::{
    self as wire, AdminRequest, BackoffView, DrainView, EditView, EndView, FailureView, HandlerView, JobView,
    QueueView, StatusView, TotalsView,
};
use crate::protocol::{ErrorCode, Response};
use crate::store::{Room, Store};
use serde::Serialize;
use std::rc::Rc;

pub(super) fn handle<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    session: &Session,
    origin: Origin,
    request: AdminRequest,
    now: Time,
) -> Result<(), Invalid> {
    let gate = Gate::of(hub, session);
    let mut engine = hub.engine.borrow_mut();
    match request {
        AdminRequest::Status {} => {
            drop(engine);
            ready(hub, origin, &status(hub, &gate, now));
        }
        AdminRequest::Queues {} => {
            drop(engine);
            ready(hub, origin, &queues(hub, &gate, now));
        }
        AdminRequest::List(query) => {
            drop(engine);
            ready(hub, origin, &list::list(hub, &gate, query)?);
        }
        AdminRequest::Show { id } => {
            let id = JobId(id);
            let job = engine.core().state.job(id).filter(|job| gate.reads(&job.spec));
            drop(engine);
            let job = job.ok_or_else(|| not_found(id))?;
            let command = commands::of(hub, id, &job).map(|(text, _)| text);
            show(hub, origin, JobView { command, ..view(hub, id, &job) });
        }
        AdminRequest::Explain { id } => {
            drop(engine);
            ready(hub, origin, &explain::view(hub, &gate, JobId(id), now)?);
        }
        AdminRequest::Wait { ids, timeout_ms } => {
            native::check_batch(&hub.service.borrow().limits, ids.len())?;
            let until = timeout_ms.map_or(Time::NEVER, |ms| now.plus(native::millis(ms)));
            let ids = Batch::from(ids.into_iter().map(JobId).collect::<Vec<_>>());
            let state = &engine.core().state;
            let ids = ids.hide(|id| *id, |id| gate.hides(state, id) || gate.hides_end(state, id));
            engine.wait(origin, ids, until, now);
        }
        AdminRequest::Edit { edit, ids, state, queue } => {
            native::check_batch(&hub.service.borrow().limits, ids.len())?;
            let only = Filter::new(queue.as_deref(), state.as_deref(), Vec::new())?;
            let only = Only { state: only.state, queue: only.queue };
            self::edit(&gate, &mut engine, origin, (&edit, ids, &only), now)?;
        }
        AdminRequest::Pause { queue } => {
            engine.change_queue(origin, &Command::Pause { queue: changeable(&gate, &queue)? }, now);
        }
        AdminRequest::Resume { queue } => {
            engine.change_queue(origin, &Command::Resume { queue: changeable(&gate, &queue)? }, now);
        }
        AdminRequest::DeleteQueue { queue } => {
            engine.change_queue(origin, &Command::ForgetQueue { queue: changeable(&gate, &queue)? }, now);
        }
        AdminRequest::Purge { queue } => {
            engine.change_queue(origin, &Command::Purge { queue: changeable(&gate, &queue)? }, now);
        }
        AdminRequest::Drain {} | AdminRequest::Undrain {} => {
            gate.daemon()?;
            engine.drain_by_hand(matches!(request, AdminRequest::Drain {}), now);
            let draining = engine.core().draining;
            let leased = engine.core().state.queues().map(|(_, q)| q.counts().of(StateKind::Leased)).sum();
            drop(engine);
            ready(hub, origin, &DrainView { draining, leased });
        }
        AdminRequest::Hold { queues, error, retry_ms } => {
            let retry_at = now.plus(native::millis(retry_ms));
            super::holds::take(hub, session, &queues, error.as_deref(), retry_at)?;
            engine.answer(origin, Answer::Ok);
        }
        AdminRequest::Handlers {} => {
            drop(engine);
            if !session.peer.pool {
                let message =
                    "only the daemon's own workers ask for handlers; `musher config show` tells people";
                return Err((ErrorCode::Forbidden, message.into()));
            }
            let handlers: Vec<HandlerView> = hub.service.borrow().handlers.clone();
            ready(hub, origin, &handlers);
        }
    }
    Ok(())
}

fn edit<S: Store>(
    gate: &Gate<'_>,
    engine: &mut Engine<S>,
    origin: Origin,
    (edit, ids, only): (&str, Vec<u64>, &Only),
    now: Time,
) -> Result<(), Invalid> {
    let (edit, state) = (native::edit(edit)?, &engine.core().state);
    gate.edit(state, ids.iter().copied().map(JobId), edit)?;
    let ids = Batch::from(ids.into_iter().map(JobId).collect::<Vec<_>>());
    let ids = ids.hide(|id| *id, |id| gate.hides(state, id));
    engine.edit(origin, edit, ids, only, now);
    Ok(())
}

fn changeable(gate: &Gate<'_>, queue: &str) -> Result<QueueName, Invalid> {
    let queue = native::queue_name(queue)?;
    gate.queue(Right::Admin, &queue).map(|()| queue)
}

/// Says an answer in JSON, once all that it tells of is on disk.
fn ready<S: Store + 'static, T: Serialize>(hub: &Hub<S>, origin: Origin, view: &T) {
    let mut frame = Vec::new();
    json(view).encode(origin.request, &mut frame);
    hub.engine.borrow_mut().answer(origin, Answer::Ready(frame));
}

pub(super) fn json<T: Serialize>(view: &T) -> Response {
    Response::Json(serde_json::to_vec(view).expect("plain data always has a JSON form").into())
}

/// Answers with a job, and with the last words of its newest failure if it printed anything.
fn show<S: Store + 'static>(hub: &Rc<Hub<S>>, origin: Origin, mut view: JobView) {
    let failed = view.failures.last().map(|failure| failure.attempt);
    let Some(attempt) = failed.filter(|_| hub.outputs.has(JobId(view.id))) else {
        return ready(hub, origin, &view);
    };
    let hub = hub.clone();
    tokio::task::spawn_local(async move {
        view.stderr_tail = hub.outputs.last_words(JobId(view.id), attempt).await;
        ready(&hub, origin, &view);
        hub.wake.notify_one();
    });
}

pub(super) fn not_found(id: JobId) -> Invalid {
    (ErrorCode::NotFound, Refusal::NotFound(id).to_string())
}

pub(super) fn edited(results: Vec<Result<(), EditRejection>>) -> Response {
    let view = |result: Result<(), EditRejection>| match result {
        Err(EditRejection::MovedOn { .. }) => EditView { error: None, moved_on: true },
        result => EditView { error: result.err().map(|error| error.to_string()), moved_on: false },
    };
    json(&results.into_iter().map(view).collect::<Vec<_>>())
}

pub(super) fn ended(ends: Vec<End>) -> Response {
    let name = |state: Option<StateKind>| state.map_or("gone", StateKind::name).to_owned();
    let view = |end: End| {
        let (exit_status, exit_signal) = exits(end.exit);
        let error = end.error.map(Into::into);
        EndView { id: end.id.0, state: name(end.state), error, exit_status, exit_signal }
    };
    json(&ends.into_iter().map(view).collect::<Vec<_>>())
}

fn status<S: Store + 'static>(hub: &Hub<S>, gate: &Gate<'_>, now: Time) -> StatusView {
    let engine = hub.engine.borrow();
    StatusView {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        data: hub.data.clone(),
        uptime_ms: now.since(hub.started).as_millis() as u64,
        clock_ahead_ms: hub.clock.ahead_ms(),
        mode: engine.drain().name().into(),
        draining_ms: engine.drain().since().map(|since| now.since(since).as_millis() as u64),
        connections: hub.sessions.borrow().len() as u64,
        waiting_claims: engine.waiting_claims(None) as u64,
        commit: engine.last_commit().0,
        next_id: engine.core().state.next_id().0,
        refusing: match engine.room() {
            Room::Enough => None,
            room => Some(Refusal::NoRoom(room).to_string()),
        },
        memory: memory(),
        queues: queues(hub, gate, now),
    }
}

/// The resident memory of this process, in bytes; 0 where the system does not say.
fn memory() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

fn queues<S: Store + 'static>(hub: &Hub<S>, gate: &Gate<'_>, now: Time) -> Vec<QueueView> {
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
    views.retain(|view| gate.knows(&view.queue));
    views.iter_mut().for_each(|view| view.held = hub.holds.of(&view.queue, now));
    views.sort_by(|a, b| a.queue.cmp(&b.queue));
    views
}

fn queue_view(name: &QueueName, queue: &Queue, workers: u32, waiting_claims: u64) -> QueueView {
    let (counts, totals) = (queue.counts(), queue.totals());
    QueueView {
        queue: name.as_str().into(),
        paused: queue.is_paused(),
        workers,
        waiting_claims,
        held: None,
        ready: counts.of(StateKind::Ready),
        scheduled: counts.of(StateKind::Scheduled),
        leased: counts.of(StateKind::Leased),
        done: counts.of(StateKind::Done),
        dead: counts.of(StateKind::Dead),
        cancelled: counts.of(StateKind::Cancelled),
        expired: counts.of(StateKind::Expired),
        totals: TotalsView {
            submitted: totals.submitted,
            claimed: totals.claimed,
            completed: totals.completed,
            failed: totals.failed,
            died: totals.died,
            cancelled: totals.cancelled,
            expired: totals.expired,
        },
    }
}

pub(super) fn tags(spec: &Spec) -> Vec<(String, String)> {
    spec.tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

pub(super) fn view<S: Store + 'static>(hub: &Hub<S>, id: JobId, job: &Job) -> JobView {
    let service = hub.service.borrow();
    let settings = service.settings.of(&job.spec.queue);
    let at = |time: Time| hub.clock.shown(time).0;
    let some = |time: Time| (time != Time::NEVER).then(|| at(time));
    let lease = if let JobState::Leased(lease) = job.state { Some(lease) } else { None };
    let timeout = settings.timeout_of(&job.spec);
    let (exit_status, exit_signal) = exits(job.exit());
    JobView {
        id: id.0,
        queue: job.spec.queue.as_str().into(),
        state: job.state.kind().to_string(),
        command: None,
        priority: job.spec.priority.0,
        attempt: job.attempt.0,
        failed: job.failed,
        attempts: job.spec.attempts.unwrap_or(settings.attempts),
        crashes: job.crashes,
        later: job.later,
        timeout_ms: timeout.map(|timeout| timeout.as_millis() as u64),
        backoff: job.spec.backoff.map(|backoff| BackoffView {
            kind: wire::BACKOFF_KINDS[backoff.growth as usize].into(),
            base_ms: backoff.base.as_millis() as u64,
            max_ms: backoff.max.as_millis() as u64,
            jitter_permille: backoff.jitter_permille,
        }),
        submitted_at: at(job.submitted_at),
        due_at: if let JobState::Scheduled { due } = job.state { Some(at(due)) } else { None },
        started_at: job.started.map(at),
        runs_until: lease.and_then(|lease| Some(at(lease.since.plus(timeout?)))),
        leased_at: lease.map(|lease| at(lease.since)),
        leased_until: lease.map(|lease| at(lease.until)),
        ended_at: job.state.ended().map(|end| at(end.at)),
        exit_status,
        exit_signal,
        kept_until: job.state.ended().and_then(|end| some(end.keep_until)),
        expires_at: some(job.expires_at),
        owner: job.spec.owner,
        tags: tags(&job.spec),
        failures: job.failures.iter().map(|failure| self::failure(failure, &hub.clock)).collect(),
        stderr_tail: None,
    }
}

fn failure(failure: &Failure, clock: &Clock) -> FailureView {
    let (exit_status, exit_signal) = exits(failure.exit);
    FailureView {
        attempt: failure.attempt.0,
        since: failure.since.map(|since| clock.shown(since).0),
        at: clock.shown(failure.at).0,
        error: failure.error.to_string(),
        exit_status,
        exit_signal,
    }
}

/// An exit as status and signal, of which it has one.
fn exits(exit: Option<Exit>) -> (Option<u8>, Option<u8>) {
    match exit {
        None => (None, None),
        Some(Exit::Status(status)) => (Some(status), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
    }
}
