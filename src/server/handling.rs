//! Requests of fronts whose clients name a job by its id alone, and hold what they have claimed by their connection: limits and
//! rights are checked here, as in `requests`, and the engine is called. It decides nothing, and knows no protocol. What is done is
//! told at once, so the front has its answer wait for the disk.

use super::fault::{Fault, Kind};
use super::hub::Hub;
use super::permissions::Permissions;
use super::requests::RequestContext;
use crate::access::Right;
use crate::core::{
    Claim, ClaimOrder, Edit, Group, Holder, Ids, Job, JobId, Key, Priority, Queue, QueueName, Start, State,
    StateKind, Time, Visibility, Worker,
};
use crate::engine::{Origin, SubmitOptions};
use crate::server::submit::{Submission, allow, submit};
use crate::store::Store;
use bytes::Bytes;
use std::time::Duration;

/// How many jobs are kicked before others are served.
const KICKED_AT_ONCE: u64 = 500;
/// A claim that would wait is answered so long before the first lease of its connection ends, for its worker to see to that job.
const MARGIN: Duration = Duration::from_secs(1);

/// What an answer to a claim without jobs means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    /// Nothing was ready in its time.
    Over,
    /// A lease of its connection ends soon.
    LeaseEndsSoon,
}

fn worker(context: RequestContext<'_>) -> Option<Worker> {
    Some(Worker { uid: context.peer.caller.uid, pid: context.peer.pid })
}

fn holder(context: RequestContext<'_>) -> Holder {
    Holder::Session(context.origin.session)
}

/// Submits one job, which may begin after so many seconds.
pub(crate) fn put<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    group: Group,
    (delay, envelope, body): (u32, Option<&Bytes>, Bytes),
) -> Result<(), Fault> {
    hub.service.borrow().limits.check_body(body.len())?;
    let start = if delay == 0 { Start::Now } else { Start::After(Duration::from_secs(delay.into())) };
    let mut submission = Submission::default();
    submission.add(Group { start, ..group }, true, envelope.cloned(), [body]);
    allow(hub, context.peer, &mut submission)?;
    let id = hub.engine.borrow().core().state.next_id();
    submit(hub, context, submission, SubmitOptions::default());
    if delay > 0 {
        hub.engine.borrow_mut().count_delay(id, delay, context.now);
    }
    Ok(())
}

/// A connection will ask for nothing more: what one of its requests waits for is answered with what there is.
pub(crate) fn wait_no_more<S: Store + 'static>(hub: &Hub<S>, session: u64, request: u32) {
    hub.engine.borrow_mut().unwait(Origin { session, request });
    hub.wake.notify_one();
}

/// Until when a connection may wait for a job of these queues that waits so many seconds, or without end; and what it means if none
/// came by then.
pub(crate) fn reserve_until<S: Store + 'static>(
    hub: &Hub<S>,
    session: u64,
    queues: &[QueueName],
    seconds: Option<u32>,
    now: Time,
) -> (Time, Nothing) {
    let until = seconds.map_or(Time::NEVER, |seconds| now.plus(Duration::from_secs(seconds.into())));
    let mut engine = hub.engine.borrow_mut();
    // What is there is given at once; only one that waits may have to be called back.
    if !queues.iter().any(|queue| engine.gives(queue, now))
        && let Some(end) = engine.first_lease_end(session)
    {
        let soon = Time(end.0.saturating_sub(MARGIN.as_millis() as u64)).max(now);
        if soon <= until {
            return (soon, Nothing::LeaseEndsSoon);
        }
    }
    (until, Nothing::Over)
}

/// Leases the first jobs of these queues by priority and id, so many at most. The answer comes when there is one, or at that time without
/// one.
pub(crate) fn reserve<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    (queues, most): (Vec<QueueName>, u32),
    until: Time,
) -> Result<(), Fault> {
    let permissions = hub.permissions(context.peer);
    queues.iter().try_for_each(|queue| permissions.queue(Right::Work, queue))?;
    let claim = Claim {
        queues,
        order: ClaimOrder::ByPriority,
        max: most.min(hub.service.borrow().limits.batch as u32),
        lease: None,
        holder: holder(context),
        worker: worker(context),
    };
    hub.engine.borrow_mut().claim(context.origin, claim, until, context.now);
    Ok(())
}

/// Leases one job by its id.
pub(crate) fn reserve_job<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>, id: JobId) {
    let permissions = hub.permissions(context.peer);
    let works = |spec: &crate::core::Spec| permissions.works(spec);
    let who = (holder(context), worker(context));
    hub.engine.borrow_mut().claim_job(context.origin, id, who, Visibility::of(&works), context.now);
}

/// Ends the lease of a job that the connection has, or forgets one that nobody has. Returns the queue that it was in.
pub(crate) fn delete<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
) -> Result<Option<QueueName>, Fault> {
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    let state = &engine.core().state;
    let Some(queue) = live(state, id).map(|job| job.spec.queue.clone()) else { return Ok(None) };
    let is_deleted = match engine.lease_of(context.origin.session, id) {
        Some(lease) => engine.complete(lease, context.now),
        None => {
            permissions.edit(state, std::iter::once(id), &Edit::Delete)?;
            engine.delete(id, Visibility::of(&|spec| permissions.reads(spec)), context.now)
        }
    };
    Ok(is_deleted.then_some(queue))
}

/// What a worker does with a job that it has.
#[derive(Clone, Copy)]
pub(crate) enum OfHolder {
    /// Gives it back, for after so many seconds.
    Release(Priority, u32),
    /// Sets it aside.
    Bury(Priority),
    /// Goes on with it.
    Touch,
}

/// Does that, if the connection has the job; returns whether it was done.
pub(crate) fn of_holder<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
    what: OfHolder,
) -> bool {
    let mut engine = hub.engine.borrow_mut();
    let Some(lease) = engine.lease_of(context.origin.session, id) else { return false };
    let now = context.now;
    match what {
        OfHolder::Release(priority, seconds) => engine.release(lease, priority, seconds, now),
        OfHolder::Bury(priority) => engine.bury(lease, priority, now),
        OfHolder::Touch => engine.touch(lease, now),
    }
}

/// Makes one job ready; returns whether it was done.
pub(crate) fn kick_job<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
) -> Result<bool, Fault> {
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    let kind = live(&engine.core().state, id).map(Job::kind);
    if !matches!(kind, Some(StateKind::Dead | StateKind::Scheduled | StateKind::Waiting)) {
        return Ok(false);
    }
    kick_some(&permissions, &mut engine, &id.into(), context.now).map(|kicked| kicked == 1)
}

/// Makes so many jobs of a queue ready: those that died first, or if none is dead those that are due first. Others are served in
/// between. Returns how many.
pub(crate) async fn kick<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queue: &QueueName,
    most: u64,
) -> Result<u64, Fault> {
    let dead = StateKind::Dead;
    let count = |kind| of_kind(&hub.engine.borrow().core().state, queue, kind);
    let kind = if count(dead) > 0 { dead } else { StateKind::Scheduled };
    let (most, mut kicked) = (most.min(count(kind)), 0);
    while kicked < most {
        {
            let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
            let ids = engine.first_to_kick(queue, kind, KICKED_AT_ONCE.min(most - kicked));
            match kick_some(&permissions, &mut engine, &ids, context.now)? {
                0 => break,
                some => kicked += some,
            }
        }
        if kicked < most {
            hub.wake.notify_one();
            tokio::task::yield_now().await;
        }
    }
    Ok(kicked)
}

fn kick_some<S: Store>(
    permissions: &Permissions<'_>,
    engine: &mut crate::engine::Engine<S>,
    ids: &Ids,
    now: Time,
) -> Result<u64, Fault> {
    permissions.edit(&engine.core().state, ids.iter(), &Edit::Kick)?;
    Ok(engine.kick(ids, Visibility::of(&|spec| permissions.reads(spec)), now))
}

/// Which job somebody wants to look at.
pub(crate) enum Which<'a> {
    /// This one.
    Id(JobId),
    /// The next that is ready of a queue.
    Ready(&'a QueueName),
    /// The first of a queue that is due.
    Scheduled(&'a QueueName),
    /// The first of a queue that died.
    Dead(&'a QueueName),
}

/// Its body.
pub(crate) fn peek<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    which: &Which<'_>,
) -> Result<Option<(JobId, Bytes)>, Fault> {
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    let mut first = |queue, kind| engine.first_to_kick(queue, kind, 1).iter().next();
    let id = match which {
        Which::Id(id) => Some(*id),
        Which::Scheduled(queue) => first(queue, StateKind::Scheduled),
        Which::Dead(queue) => first(queue, StateKind::Dead),
        Which::Ready(queue) => engine.next_ready(queue, context.now),
    };
    let is_shown = |id: &JobId| {
        let state = &engine.core().state;
        live(state, *id).is_some() && !permissions.hides(state, *id)
    };
    let Some(id) = id.filter(is_shown) else { return Ok(None) };
    let body = engine.stored_body(id).map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
    Ok(Some((id, body)))
}

/// Stops giving out the jobs of a queue for so many seconds.
pub(crate) fn pause<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queue: &QueueName,
    seconds: u32,
) -> Result<(), Fault> {
    hub.permissions(context.peer).queue(Right::Admin, queue)?;
    let (time, maker) = (Duration::from_secs(seconds.into()), context.peer.caller.uid);
    let paused = hub.engine.borrow_mut().pause_for(queue, time, maker, context.now);
    hub.settings_changed();
    paused.map_err(|refusal| Fault::from(&refusal))
}

/// Whether the sender may know of a queue.
pub(crate) fn knows<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queue: &QueueName,
) -> bool {
    hub.permissions(context.peer).knows(queue.as_str())
}

/// A job that has not ended for good, if the sender may see it.
pub(crate) fn look<S: Store + 'static, T>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
    look: impl FnOnce(&Job, Duration) -> T,
) -> Option<T> {
    let (permissions, engine) = (hub.permissions(context.peer), hub.engine.borrow());
    let core = engine.core();
    let job = live(&core.state, id).filter(|_| !permissions.hides(&core.state, id))?;
    Some(look(job, core.run_time(job)))
}

/// In which state the job is that has a unique key of a queue, if one has it.
pub(crate) fn holder_of<S: Store + 'static>(
    hub: &Hub<S>,
    queue: &QueueName,
    key: Key,
    now: Time,
) -> Option<StateKind> {
    let engine = hub.engine.borrow();
    let state = &engine.core().state;
    Some(state.job(state.unique_holder(queue, key, now)?)?.kind())
}

/// A job that has not ended for good: it may run, now or once it is kicked.
fn live(state: &State, id: JobId) -> Option<&Job> {
    state.job(id).filter(|job| !job.kind().is_final() || job.kind() == StateKind::Dead)
}

/// How many jobs of a queue are in a state.
fn of_kind(state: &State, queue: &QueueName, kind: StateKind) -> u64 {
    state.queue(queue).map_or(0, |queue| queue.counts().of(kind))
}

/// How many jobs a queue has that have not ended for good.
pub(crate) fn live_jobs(queue: &Queue) -> u64 {
    let counts = queue.counts();
    counts.waiting() + counts.of(StateKind::Leased) + counts.of(StateKind::Dead)
}

/// Says in the log why a request was refused, for a protocol that has no words for it.
pub(crate) fn log_refusal(context: RequestContext<'_>, what: &str, fault: &Fault) {
    crate::telemetry::events::request_refused(what, context.peer.caller.uid, &fault.message);
}
