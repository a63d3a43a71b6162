//! The requests that any front can make: limits and rights are checked here, in one place for all fronts, and the
//! engine is called. It decides nothing, and knows no protocol. Submits are in `submit.rs`.

use super::fault::{Fault, Kind};
use super::hub::Hub;
use super::output::Piece;
use super::peer::Peer;
use super::permissions::can_run_as;
use crate::access::Right;
use crate::core::{
    Claim, ClaimOrder, Command, Edit, Holder, JobId, LeaseId, Only, Priority, QueueName, State, StateKind,
    Time, Verdict, Visibility, Worker,
};
use crate::engine::{Answer, Origin, Progress, Refusal};
use crate::store::Store;
use bytes::Bytes;
use std::time::Duration;

/// The longest time that a lease, delay, timeout or time to live may name: a hundred years. Longer ones are cut.
const TIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// The most queues that one claim may name.
const CLAIM_QUEUES_MAX: usize = 1_000;
/// The longest text, in bytes, that is kept of a job's progress.
const PROGRESS_TEXT_MAX: usize = 200;

/// One request: who asks, where the answer goes, and when it came.
#[derive(Clone, Copy)]
pub(crate) struct RequestContext<'a> {
    pub(crate) peer: &'a Peer,
    pub(crate) origin: Origin,
    pub(crate) now: Time,
}

impl RequestContext<'_> {
    /// When a wait that begins now is over; never, without an end.
    pub(crate) fn until(&self, wait: Option<Duration>) -> Time {
        wait.map_or(Time::NEVER, |wait| self.now.plus(wait))
    }
}

/// What a claim asks for.
pub(crate) struct ClaimRequest {
    pub(crate) queues: Vec<String>,
    /// At most so many.
    pub(crate) max: u32,
    /// How long the lease lasts; the queue's setting if not given.
    pub(crate) lease: Option<Duration>,
    /// How long to wait for the first one.
    pub(crate) wait: Option<Duration>,
    /// Whether the leases end with the connection.
    pub(crate) bound: bool,
}

/// Which change to which jobs.
pub(crate) struct EditRequest {
    /// Its name.
    pub(crate) edit: String,
    pub(crate) ids: Vec<u64>,
    /// Only those that are in this state, and of this queue.
    pub(crate) state: Option<String>,
    pub(crate) queue: Option<String>,
    /// Of a move: the queue that they go to.
    pub(crate) to: Option<String>,
    /// Of a change of the priority: the new one.
    pub(crate) priority: Option<u32>,
}

/// A time that a request names.
pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms).min(TIME_MAX)
}

pub(crate) fn queue_name(name: &str) -> Result<QueueName, Fault> {
    QueueName::new(name).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))
}

pub(super) fn state_name(name: &str) -> Result<StateKind, Fault> {
    let all = || StateKind::ALL.map(StateKind::name).join(", ");
    let found = StateKind::ALL.into_iter().find(|kind| kind.name() == name);
    found.ok_or_else(|| Fault::new(Kind::Invalid, format!("`{name}` is not a state: use one of {}", all())))
}

/// The change that a verb names.
fn change_of(verb: &str, to: Option<&str>, priority: Option<u32>) -> Result<Edit, Fault> {
    let plain = [Edit::Cancel, Edit::Retry, Edit::Kick, Edit::Bury, Edit::Delete];
    let plain = plain.into_iter().find(|edit| edit.name() == verb);
    let invalid = |message: String| Err(Fault::new(Kind::Invalid, message));
    match (verb, plain, to, priority) {
        (_, Some(edit), None, None) => Ok(edit),
        ("move", _, Some(to), None) => queue_name(to).map(Edit::Move),
        ("move", _, None, _) => invalid("a move needs `to`: the queue that the jobs go to".to_owned()),
        ("prioritize", _, None, Some(priority)) => Ok(Edit::Prioritize(Priority(priority))),
        ("prioritize", _, _, None) => invalid("to prioritize needs a `priority`".to_owned()),
        (_, Some(_), ..) | ("move" | "prioritize", ..) => {
            invalid(format!("`{verb}` has no use for both of `to` and `priority`"))
        }
        _ => invalid(format!(
            "`{verb}` is not a change: use cancel, retry, kick, bury, delete, move or prioritize"
        )),
    }
}

pub(crate) fn not_found(id: JobId) -> Fault {
    Fault::from(&Refusal::NotFound(id))
}

pub(crate) fn claim<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    claim: ClaimRequest,
) -> Result<(), Fault> {
    if claim.queues.is_empty() || claim.queues.len() > CLAIM_QUEUES_MAX || claim.max == 0 {
        let message = format!("a claim names 1 to {CLAIM_QUEUES_MAX} queues and at least one job");
        return Err(Fault::new(Kind::Invalid, message));
    }
    let permissions = hub.permissions(context.peer);
    let queue = |name: &String| {
        let name = queue_name(name)?;
        permissions.queue(Right::Work, &name).map(|()| name)
    };
    let until = context.until(claim.wait);
    let claim = Claim {
        queues: claim.queues.iter().map(queue).collect::<Result<_, _>>()?,
        max: claim.max.min(hub.service.borrow().limits.batch as u32),
        lease: claim.lease,
        holder: if claim.bound { holder(hub, context) } else { Holder::Anyone },
        worker: Some(Worker { uid: context.peer.caller.uid, pid: context.peer.pid }),
        order: ClaimOrder::AsNamed,
    };
    hub.engine.borrow_mut().claim(context.origin, claim, until, context.now);
    Ok(())
}

/// With what leases end that are bound to this connection.
fn holder<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>) -> Holder {
    let connection = context.origin.session;
    Holder::Session(hub.sessions.of(connection).unwrap_or(connection))
}

pub(crate) fn settle<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    items: Vec<(LeaseId, Verdict)>,
) -> Result<(), Fault> {
    hub.check_batch(items.len())?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    permissions.work(&engine.core().state, items.iter().map(|(lease, _)| lease.id))?;
    engine.settle(context.origin, items, Visibility::of(&|spec| permissions.works(spec)), context.now);
    Ok(())
}

pub(crate) fn extend<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    leases: Vec<LeaseId>,
    lease: Option<Duration>,
) -> Result<(), Fault> {
    hub.check_batch(leases.len())?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    permissions.work(&engine.core().state, leases.iter().map(|lease| lease.id))?;
    engine.extend(
        context.origin,
        leases,
        lease,
        Visibility::of(&|spec| permissions.works(spec)),
        context.now,
    );
    Ok(())
}

/// Has another request of the same connection, which waits, answered at once.
pub(crate) fn unwait<S: Store + 'static>(hub: &Hub<S>, context: RequestContext<'_>, request: u32) {
    let mut engine = hub.engine.borrow_mut();
    engine.unwait(Origin { request, ..context.origin });
    hub.viewers.end(Origin { request, ..context.origin });
    engine.answer(context.origin, Answer::Ok);
}

pub(crate) fn body<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
) -> Result<(), Fault> {
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    if permissions.hides(&engine.core().state, id) {
        return Err(not_found(id));
    }
    engine.body(context.origin, id);
    Ok(())
}

/// Gives a job another body. Its owner answers for what is in it, so nobody else may, whatever the rules say.
pub(crate) fn replace_body<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    id: JobId,
    body: Bytes,
) -> Result<(), Fault> {
    hub.service.borrow().limits.check_body(body.len())?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    permissions.write(&engine.core().state, id)?;
    engine.replace_body(
        context.origin,
        id,
        body,
        Visibility::of(&|spec| permissions.reads(spec)),
        context.now,
    );
    Ok(())
}

/// Waits for the ends of jobs.
pub(crate) fn wait<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    ids: Vec<u64>,
    wait: Option<Duration>,
) -> Result<(), Fault> {
    hub.check_batch(ids.len())?;
    let (permissions, mut engine) = (hub.permissions(context.peer), hub.engine.borrow_mut());
    let ids = ids.into_iter().map(JobId).collect();
    let is_hidden = |state: &State, id| permissions.hides(state, id) || permissions.hides_end(state, id);
    engine.wait(context.origin, ids, is_hidden, context.until(wait), context.now);
    Ok(())
}

pub(crate) fn edit<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    change: EditRequest,
) -> Result<(), Fault> {
    let EditRequest { edit, ids, state, queue, to, priority } = change;
    hub.check_batch(ids.len())?;
    let queue = queue.as_deref().map(queue_name).transpose()?;
    let only = Only { state: state.as_deref().map(state_name).transpose()?, queue };
    let (edit, permissions, mut engine) =
        (change_of(&edit, to.as_deref(), priority)?, hub.permissions(context.peer), hub.engine.borrow_mut());
    let ids: Vec<JobId> = ids.into_iter().map(JobId).collect();
    permissions.edit(&engine.core().state, ids.iter().copied(), &edit)?;
    if let Edit::Move(to) = &edit {
        // They are for that queue what new ones of their owners are.
        permissions.queue(Right::Submit, to)?;
        let (state, handlers) = (&engine.core().state, &hub.service.borrow().handlers);
        let moved = ids.iter().filter_map(|id| state.spec_of(*id)).filter(|spec| permissions.reads(spec));
        moved.map(|spec| spec.owner).try_for_each(|owner| {
            can_run_as(handlers, to, owner)?;
            permissions.makes_command(handlers, to, owner)
        })?;
    }
    engine.edit(
        context.origin,
        edit,
        ids,
        only,
        Visibility::of(&|spec| permissions.reads(spec)),
        context.now,
    );
    Ok(())
}

/// Changes a queue as a whole.
pub(crate) fn change_queue<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queue: &str,
    command: impl FnOnce(QueueName) -> Command,
) -> Result<(), Fault> {
    let queue = queue_name(queue)?;
    hub.permissions(context.peer).queue(Right::Admin, &queue)?;
    hub.engine.borrow_mut().change_queue(context.origin, &command(queue), context.now);
    // What was set for a queue goes with it, and connections remember the priority that jobs had by that.
    hub.settings_changed();
    Ok(())
}

/// Takes the report of a worker that it cannot start jobs of these queues, or can again.
pub(crate) fn hold<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    queues: &[String],
    (error, retry): (Option<&str>, Duration),
) -> Result<(), Fault> {
    hub.check_batch(queues.len())?;
    let permissions = hub.permissions(context.peer);
    for queue in queues {
        let name = queue_name(queue)?;
        permissions.queue(Right::Work, &name)?;
        hub.holds.set(name.as_str(), context.origin.session, error, context.now.plus(retry))?;
    }
    hub.engine.borrow_mut().answer(context.origin, Answer::Ok);
    Ok(())
}

/// Refuses a lease that is not in force, or is none of the caller's business.
fn check_lease<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    LeaseId { id, attempt }: LeaseId,
) -> Result<(), Fault> {
    let (permissions, engine) = (hub.permissions(context.peer), hub.engine.borrow());
    let state = &engine.core().state;
    permissions.work(state, std::iter::once(id))?;
    let in_force = state.lease(id).map(|(attempt, _)| attempt);
    if in_force != Some(attempt) || permissions.hides_from_work(state, id) {
        let attempt = attempt.0;
        let message = format!("lease lost: attempt {attempt} of job {id} is not in force; drop its result");
        return Err(Fault::new(Kind::WrongState, message));
    }
    Ok(())
}

/// Notes how far a leased job is.
pub(crate) fn progress<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    lease: LeaseId,
    (percent, text): (u8, String),
) -> Result<(), Fault> {
    if percent > 100 {
        return Err(Fault::new(
            Kind::Invalid,
            format!("{percent} percent: at most 100 of a job can be done"),
        ));
    }
    if text.len() > PROGRESS_TEXT_MAX {
        let message = format!(
            "the text has {} bytes, at most {PROGRESS_TEXT_MAX} are kept of what is said of a job's progress",
            text.len()
        );
        return Err(Fault::new(Kind::TooLarge, message));
    }
    check_lease(hub, context, lease)?;
    let mut engine = hub.engine.borrow_mut();
    engine.note_progress(lease.id, Progress { percent, text: text.into(), at: context.now });
    engine.answer(context.origin, Answer::Ok);
    Ok(())
}

/// Keeps what a leased job has printed.
pub(crate) async fn output<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    lease: LeaseId,
    piece: Piece,
) -> Result<(), Fault> {
    let id = lease.id;
    check_lease(hub, context, lease)?;
    let max = hub.service.borrow().limits.output;
    let written = hub.outputs.keep((id, lease.attempt.0), piece, max).await;
    if hub.sessions.of(context.origin.session).is_some() {
        // Such a worker sends what a crash of the daemon has taken again, and learns by the answer what that cannot be any
        // more. Its next request, which may be the end of the job, waits as well.
        written.await;
    }
    hub.followers.ring(id);
    hub.engine.borrow_mut().answer(context.origin, Answer::Ok);
    Ok(())
}
