//! The native protocol: frames into calls of the engine, answers into frames. It checks what a client may say, and
//! decides nothing.

use super::gate::Gate;
use super::hub::{Follower, Hub, Limits};
use super::session::Session;
use super::{admin, output, submit};
use crate::access::Right;
use crate::core::{
    Attempt, Claim, Edit, Exit, Holder, JobId, LeaseId, LeaseRejection, QueueName, Rejection, Then, Time,
    Verdict,
};
use crate::engine::{Answer, Batch, Origin, Refusal};
use crate::protocol::{self as wire, ErrorCode, Header, LeaseFault, LeaseRef, Request, Response};
use crate::store::{BodyError, Store};
use bytes::Bytes;
use std::rc::Rc;
use std::time::Duration;

/// The longest time that a lease, delay, timeout or time to live may name: a hundred years. Longer ones are cut.
const TIME_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
/// The most queues that one claim may name.
const CLAIM_QUEUES_MAX: usize = 1_000;

/// What is wrong with a request, and what kind of wrong that is.
pub(super) type Invalid = (ErrorCode, String);

/// Answers the greeting. An error says that the connection must close; why has been said.
pub(super) fn greet<S: Store + 'static>(
    hub: &Hub<S>,
    session: &Session,
    header: Header,
    payload: Bytes,
) -> Result<(), ()> {
    let limits = hub.service.borrow().limits;
    match Request::decode(header.kind, payload, limits.batch) {
        Ok(Request::Hello { version: wire::VERSION, .. }) => {
            session.say(
                header.request,
                &Response::Welcome {
                    version: wire::VERSION,
                    frame_max: limits.frame as u32,
                    body_max: limits.body as u32,
                    batch_max: limits.batch as u32,
                    name: format!("musher {}", env!("CARGO_PKG_VERSION")),
                },
            );
            return Ok(());
        }
        Ok(Request::Hello { version, .. }) => session.refuse(
            header.request,
            ErrorCode::Version,
            format!(
                "protocol version {version} is not spoken here, only {}: update the older side",
                wire::VERSION
            ),
        ),
        Ok(_) => {
            session.refuse(header.request, ErrorCode::Malformed, "the first request must be the greeting")
        }
        Err(fault) => session.say(header.request, &Response::Error(fault)),
    }
    Err(())
}

/// Hands one request, which came at `now`, to the engine.
pub(super) async fn handle<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    session: &Rc<Session>,
    header: Header,
    payload: Bytes,
    now: Time,
) {
    let origin = Origin { session: session.id, request: header.request };
    let result = if header.kind == wire::SUBMIT {
        submit::handle(hub, session, origin, (payload, None), now).await
    } else if header.kind == wire::SUBMIT_AND_WAIT {
        submit::handle_and_wait(hub, session, origin, payload, now).await
    } else {
        let batch = hub.service.borrow().limits.batch;
        match Request::decode(header.kind, payload, batch) {
            // The only one that waits for anything.
            Ok(Request::Output { lease, stream, data }) => {
                take_output(hub, session, origin, lease, stream, data).await
            }
            Ok(request) => dispatch(hub, session, origin, request, now),
            Err(fault) => Err((fault.code, fault.message)),
        }
    };
    if let Err(invalid) = result {
        hub.engine.borrow_mut().answer(origin, refusal(header.request, invalid));
    }
}

pub(super) fn refusal(request: u32, (code, message): Invalid) -> Answer {
    let mut frame = Vec::new();
    Response::Error(wire::Fault { code, message }).encode(request, &mut frame);
    Answer::Ready(frame)
}

fn dispatch<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    session: &Rc<Session>,
    origin: Origin,
    request: Request,
    now: Time,
) -> Result<(), Invalid> {
    match request {
        Request::Hello { .. } => {
            return Err((ErrorCode::Malformed, "this connection has greeted already".into()));
        }
        Request::Output { .. } | Request::Submit(_) | Request::SubmitAndWait { .. } => {
            unreachable!("`handle` has taken it")
        }
        Request::Claim(claim) => {
            let until = if claim.wait_ms == u64::MAX { Time::NEVER } else { now.plus(millis(claim.wait_ms)) };
            let claim = self::claim(hub, session, claim)?;
            hub.engine.borrow_mut().claim(origin, claim, until, now);
        }
        Request::Settle(items) => {
            check_batch(&hub.service.borrow().limits, items.len())?;
            let (gate, mut engine) = (Gate::of(hub, session), hub.engine.borrow_mut());
            let state = &engine.core().state;
            gate.work(state, items.iter().map(|item| JobId(item.lease.id)))?;
            let items = items.into_iter().map(|item| (lease_id(item.lease), verdict(item.verdict)));
            let items = Batch::from(items.collect::<Vec<_>>());
            let items = items.hide(|(lease, _)| lease.id, |id| gate.hides_from_work(state, id));
            engine.settle(origin, items, now);
        }
        Request::Extend { leases, lease_ms } => {
            check_batch(&hub.service.borrow().limits, leases.len())?;
            let (gate, mut engine) = (Gate::of(hub, session), hub.engine.borrow_mut());
            let state = &engine.core().state;
            gate.work(state, leases.iter().map(|lease| JobId(lease.id)))?;
            let items = Batch::from(leases.into_iter().map(lease_id).collect::<Vec<_>>());
            let items = items.hide(|lease| lease.id, |id| gate.hides_from_work(state, id));
            engine.extend(origin, items, lease_ms.map(millis), now);
        }
        Request::Unwait { request } => {
            let mut engine = hub.engine.borrow_mut();
            engine.unwait(Origin { request, ..origin });
            engine.answer(origin, Answer::Ok);
        }
        Request::Admin(request) => admin::handle(hub, session, origin, request, now)?,
        Request::Body { id } => {
            let (gate, mut engine) = (Gate::of(hub, session), hub.engine.borrow_mut());
            if gate.hides(&engine.core().state, JobId(id)) {
                return Err(admin::not_found(JobId(id)));
            }
            engine.body(origin, JobId(id));
        }
        Request::Backup => super::backup::start(hub, session, origin)?,
        Request::Logs { id, follow } => start_logs(hub, session, origin, JobId(id), follow, now)?,
    }
    Ok(())
}

pub(super) fn check_batch(limits: &Limits, len: usize) -> Result<(), Invalid> {
    let max = limits.batch;
    if len > max {
        return Err((
            ErrorCode::TooLarge,
            format!("{len} jobs in one request: at most {max} (limits.batch)"),
        ));
    }
    Ok(())
}

pub(super) fn queue_name(name: &str) -> Result<QueueName, Invalid> {
    QueueName::new(name).map_err(|error| (ErrorCode::Invalid, error.to_string()))
}

fn claim<S: Store + 'static>(hub: &Hub<S>, session: &Session, claim: wire::Claim) -> Result<Claim, Invalid> {
    if claim.queues.is_empty() || claim.queues.len() > CLAIM_QUEUES_MAX || claim.max == 0 {
        let message = format!("a claim names 1 to {CLAIM_QUEUES_MAX} queues and at least one job");
        return Err((ErrorCode::Invalid, message));
    }
    let gate = Gate::of(hub, session);
    let queue = |name: &String| {
        let name = queue_name(name)?;
        gate.queue(Right::Work, &name).map(|()| name)
    };
    Ok(Claim {
        queues: claim.queues.iter().map(queue).collect::<Result<_, _>>()?,
        max: claim.max.min(hub.service.borrow().limits.batch as u32),
        lease: claim.lease_ms.map(millis),
        holder: if claim.bound { Holder::Session(session.id) } else { Holder::Anyone },
    })
}

pub(super) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms).min(TIME_MAX)
}

fn lease_id(lease: LeaseRef) -> LeaseId {
    LeaseId { id: JobId(lease.id), attempt: Attempt(lease.attempt) }
}

fn verdict(verdict: wire::Verdict) -> Verdict {
    let fail = |error: String, exit: Option<wire::Exit>, then| Verdict::Fail {
        error: error.into(),
        exit: exit.map(exit_of),
        then,
    };
    match verdict {
        wire::Verdict::Complete => Verdict::Complete,
        wire::Verdict::Fail { error, exit } => fail(error, exit, Then::Backoff),
        wire::Verdict::FailRetryAfter { error, exit, wait_ms } => {
            fail(error, exit, Then::RetryAfter(millis(wait_ms)))
        }
        wire::Verdict::FailDead { error, exit } => fail(error, exit, Then::Bury),
        wire::Verdict::Later { error } => Verdict::Later { error: error.into() },
        wire::Verdict::Release { delay_ms } => Verdict::Release { delay: millis(delay_ms) },
    }
}

fn exit_of(exit: wire::Exit) -> Exit {
    match exit {
        wire::Exit::Status(status) => Exit::Status(status),
        wire::Exit::Signal(signal) => Exit::Signal(signal),
    }
}

async fn take_output<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    session: &Session,
    origin: Origin,
    lease: LeaseRef,
    stream: u8,
    data: Bytes,
) -> Result<(), Invalid> {
    let id = JobId(lease.id);
    let (in_force, hidden) = {
        let (gate, engine) = (Gate::of(hub, session), hub.engine.borrow());
        let state = &engine.core().state;
        gate.work(state, [id].into_iter())?;
        (state.lease(id).map(|(attempt, _)| attempt.0), gate.hides_from_work(state, id))
    };
    if in_force != Some(lease.attempt) || hidden {
        let message =
            format!("lease lost: attempt {} of job {id} is not in force; drop its result", lease.attempt);
        return Err((ErrorCode::WrongState, message));
    }
    let max = hub.service.borrow().limits.output;
    for at in (0..data.len()).step_by(output::PIECE_MAX) {
        let piece = data.slice(at..data.len().min(at + output::PIECE_MAX));
        hub.outputs.append(id, lease.attempt, stream, piece, max).await;
    }
    for follower in hub.followers.borrow().get(&id).into_iter().flatten() {
        follower.more.notify_one();
    }
    hub.engine.borrow_mut().answer(origin, Answer::Ok);
    Ok(())
}

fn start_logs<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    session: &Rc<Session>,
    origin: Origin,
    id: JobId,
    follow: bool,
    now: Time,
) -> Result<(), Invalid> {
    let (known, hidden) = {
        let (gate, engine) = (Gate::of(hub, session), hub.engine.borrow());
        let (state, known) = (&engine.core().state, engine.core().state.contains(id));
        // Whose a job was that is gone, nobody knows any more.
        (known, if known { gate.hides(state, id) } else { !gate.reads_everything() })
    };
    if hidden || (!known && !hub.outputs.has(id)) {
        return Err(admin::not_found(id));
    }
    let follower = Rc::new(Follower { origin, more: Default::default(), ended: (!known || !follow).into() });
    hub.followers.borrow_mut().entry(id).or_default().push(follower.clone());
    if known && follow {
        hub.engine.borrow_mut().wait(origin, vec![id], Time::NEVER, now);
    }
    tokio::task::spawn_local(output::follow(hub.clone(), session.clone(), follower, id));
    Ok(())
}

/// Writes an answer to its connection's buffer.
pub(super) fn encode(answer: Answer, request: u32, now: Time, session: &Session) {
    let response = match answer {
        Answer::Submitted(ids) => Response::Submitted { first: ids.first.0, count: ids.len },
        Answer::Jobs(jobs) => {
            Response::Jobs(jobs.into_iter().map(|(grant, body)| claimed(&grant, body, now)).collect())
        }
        Answer::Settled(results) => {
            Response::Settled(results.into_iter().map(|r| r.map_err(lease_fault)).collect())
        }
        Answer::Extended(results) => Response::Extended(
            results.into_iter().map(|r| r.map(|until| until.0).map_err(lease_fault)).collect(),
        ),
        Answer::Edited(results) => admin::edited(results),
        Answer::Purged { deleted, more } => admin::json(&wire::admin::PurgeView { deleted, more }),
        Answer::Ended(ends) => admin::ended(ends),
        Answer::Body(body) => Response::Body(body),
        Answer::Ready(frame) => return session.add(&frame),
        Answer::Ok => Response::Ok,
        Answer::Refused(refusal) => {
            Response::Error(wire::Fault { code: code_of(&refusal), message: refusal.to_string() })
        }
    };
    session.say(request, &response);
}

fn claimed(grant: &crate::core::Grant, body: Bytes, now: Time) -> wire::ClaimedJob {
    let spec = &grant.spec;
    wire::ClaimedJob {
        lease: LeaseRef { id: grant.id.0, attempt: grant.attempt.0 },
        attempts: grant.attempts,
        timeout_ms: grant.timeout.map_or(0, |timeout| timeout.as_millis() as u64),
        lease_ms: grant.until.since(now).as_millis() as u64,
        until_ms: grant.until.0,
        queue: spec.queue.as_str().to_owned(),
        priority: spec.priority.0,
        owner: spec.owner,
        tags: admin::tags(spec),
        body,
    }
}

fn lease_fault(rejection: LeaseRejection) -> LeaseFault {
    match rejection {
        LeaseRejection::NotFound { id } => LeaseFault::NotFound { id: id.0 },
        LeaseRejection::LeaseLost { id, attempt, current, state } => LeaseFault::Lost {
            lease: LeaseRef { id: id.0, attempt: attempt.0 },
            current: current.0,
            state: state as u8,
        },
    }
}

/// The one table from refusals to what programs see.
fn code_of(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::Core(Rejection::Draining) => ErrorCode::Draining,
        Refusal::Core(Rejection::QueueFull { .. }) => ErrorCode::QueueFull,
        Refusal::Core(Rejection::TooManyQueues { .. } | Rejection::TooManyOwnQueues { .. })
        | Refusal::TooManyWaiting { .. }
        | Refusal::CrowdWaiting { .. }
        | Refusal::Body(BodyError::Failed { .. }) => ErrorCode::Busy,
        Refusal::Core(Rejection::NoSuchQueue { .. }) => ErrorCode::NotFound,
        Refusal::Core(Rejection::QueueHasJobs { .. }) => ErrorCode::WrongState,
        Refusal::Core(Rejection::NothingToSubmit) => ErrorCode::Invalid,
        Refusal::Core(Rejection::TagsTooLong { .. } | Rejection::TooManyTags { .. }) => ErrorCode::TooLarge,
        Refusal::Core(Rejection::OutOfIds) | Refusal::Body(_) => ErrorCode::Internal,
        Refusal::NoRoom(_) => ErrorCode::DiskFull,
        Refusal::NotFound(_) => ErrorCode::NotFound,
    }
}

/// The change that a verb names.
pub(super) fn edit(verb: &str) -> Result<Edit, Invalid> {
    [Edit::Cancel, Edit::Retry, Edit::Kick, Edit::Bury, Edit::Delete]
        .into_iter()
        .find(|edit| edit.name() == verb)
        .ok_or_else(|| {
            (ErrorCode::Invalid, format!("`{verb}` is no change: use cancel, retry, kick, bury or delete"))
        })
}
