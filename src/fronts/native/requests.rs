//! Turns requests of the native wire into calls of the server. Submits are in `submit.rs`, queries in JSON in
//! `admin.rs`.

use super::admin;
use crate::core::{Attempt, Beside, Exit, JobId, LeaseId, SignalName, Then, Verdict};
use crate::protocol::{self as wire, ErrorCode, LeaseRef, Request, Version};
use crate::server::requests::{self, ClaimRequest, RequestContext, millis};
use crate::server::{
    Connection, Fault, Hub, Kind, Piece, Wanted, beside, leave, operators, start_changes, start_logs, take_up,
};
use crate::store::Store;
use bytes::Bytes;
use std::rc::Rc;
use std::time::Duration;

/// Calls the server for one request.
pub(super) async fn handle<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    connection: Rc<Connection>,
    context: RequestContext<'_>,
    version: Version,
    (kind, payload): (u8, Bytes),
) -> Result<(), Fault> {
    let batch = hub.service.borrow().limits.batch;
    match version.decode_request(kind, payload, batch).map_err(unreadable)? {
        Request::Hello { .. } => Err(Fault::new(Kind::Malformed, "this connection has greeted already")),
        Request::Submit(_)
        | Request::SubmitOnce { .. }
        | Request::SubmitAndWait { .. }
        | Request::CompleteAndSubmit { .. } => {
            unreachable!("it is of another kind")
        }
        Request::Claim(claim) => requests::claim(hub, context, asked_for(claim)),
        Request::Settle(items) => {
            let mut results = Vec::new();
            let items = items.into_iter().enumerate().map(|(nth, item)| {
                if let wire::Verdict::CompleteWith(result) = &item.verdict {
                    results.push((nth, result.clone()));
                }
                Ok((lease_id(item.lease), verdict(item.verdict)?))
            });
            let items = items.collect::<Result<_, Fault>>()?;
            beside::settle(hub, context, items, results)
        }
        Request::Extend { leases, lease_ms } => {
            let leases = leases.into_iter().map(lease_id).collect();
            requests::extend(hub, context, leases, lease_ms.map(millis))
        }
        Request::Unwait { request } => {
            requests::unwait(hub, context, request);
            Ok(())
        }
        Request::Output { lease, stream, data, again_at } => {
            requests::output(hub, context, lease_id(lease), Piece { stream, data, again_at }).await
        }
        Request::TakeUp { name, token, leases } => {
            let leases = leases.into_iter().map(lease_id).collect();
            take_up(hub, &connection, context, (&name, token), leases)
        }
        Request::Leave => leave(hub, &connection, context),
        Request::Progress { lease, percent, text } => {
            requests::progress(hub, context, lease_id(lease), (percent, text))
        }
        Request::Checkpoint { lease, lease_ms, data } => {
            beside::checkpoint(hub, context, lease_id(lease), (data, lease_ms.map(millis)))
        }
        Request::Beside { id, what } => {
            let what = match what {
                wire::Beside::Checkpoint => Beside::Checkpoint,
                wire::Beside::Result => Beside::Result,
            };
            beside::read(hub, context, JobId(id), what)
        }
        Request::Signal { id, name, body } => beside::signal(hub, context, JobId(id), (&name, body)),
        Request::Admin(request) => admin::handle(hub, context, request).await,
        Request::Body { id } => requests::body(hub, context, JobId(id)),
        Request::ReplaceBody { id, body } => requests::replace_body(hub, context, JobId(id), body),
        Request::Backup { shard: None } => operators::start_backup(hub, &connection, context),
        // Where there are several, a router has taken the number off.
        Request::Backup { shard: Some(shard) } => {
            let message = format!("there is no shard {shard}: this daemon has no shards; ask for all of it");
            Err(Fault::new(Kind::Invalid, message))
        }
        Request::Changes { queue, job } => {
            let queue = queue.as_deref().map(requests::queue_name).transpose()?;
            start_changes(hub, &connection, context, Wanted { queue, job: job.map(JobId) })
        }
        Request::Logs { id, follow } => start_logs(hub, &connection, context, JobId(id), follow),
    }
}

/// A request that is not what the protocol requires.
pub(super) fn unreadable(fault: wire::Fault) -> Fault {
    let kind = match fault.code {
        ErrorCode::Malformed | ErrorCode::Version => Kind::Malformed,
        ErrorCode::Invalid => Kind::Invalid,
        ErrorCode::TooLarge => Kind::TooLarge,
        ErrorCode::NotFound => Kind::NotFound,
        ErrorCode::Forbidden => Kind::Forbidden,
        ErrorCode::WrongState => Kind::WrongState,
        ErrorCode::Unsupported => Kind::Unsupported,
        ErrorCode::NotUnique => Kind::NotUnique,
        ErrorCode::Draining => Kind::Draining,
        ErrorCode::QueueFull => Kind::QueueFull,
        ErrorCode::DiskFull => Kind::DiskFull,
        ErrorCode::Busy => Kind::Busy,
        ErrorCode::Internal => Kind::Internal,
    };
    Fault::new(kind, fault.message)
}

/// A wait that a claim names.
fn wait(ms: u64) -> Option<Duration> {
    (ms != u64::MAX).then(|| millis(ms))
}

fn asked_for(claim: wire::Claim) -> ClaimRequest {
    ClaimRequest {
        queues: claim.queues,
        max: claim.max,
        lease: claim.lease_ms.map(millis),
        wait: wait(claim.wait_ms),
        bound: claim.bound,
    }
}

pub(super) fn lease_id(lease: LeaseRef) -> LeaseId {
    LeaseId { id: JobId(lease.id), attempt: Attempt(lease.attempt) }
}

fn verdict(verdict: wire::Verdict) -> Result<Verdict, Fault> {
    let fail = |error: String, exit: Option<wire::Exit>, then| Verdict::Fail {
        error: error.into(),
        exit: exit.map(exit_of),
        then,
    };
    Ok(match verdict {
        wire::Verdict::Await { signal, timeout_ms } => {
            let signal =
                SignalName::new(&signal).map_err(|error| Fault::new(Kind::Invalid, error.to_string()))?;
            Verdict::Await { signal, timeout: millis(timeout_ms) }
        }
        wire::Verdict::Complete | wire::Verdict::CompleteWith(_) => Verdict::Complete,
        wire::Verdict::Fail { error, exit } => fail(error, exit, Then::Backoff),
        wire::Verdict::FailRetryAfter { error, exit, wait_ms } => {
            fail(error, exit, Then::RetryAfter(millis(wait_ms)))
        }
        wire::Verdict::FailDead { error, exit } => fail(error, exit, Then::Bury),
        wire::Verdict::Exited { error, exit } => Verdict::Exited { error: error.into(), exit: exit_of(exit) },
        wire::Verdict::Later { error, wait_ms } => {
            Verdict::Later { error: error.into(), wait: wait_ms.map(millis) }
        }
        wire::Verdict::Release { delay_ms } => Verdict::Release { delay: millis(delay_ms) },
    })
}

fn exit_of(exit: wire::Exit) -> Exit {
    match exit {
        wire::Exit::Status(status) => Exit::Status(status),
        wire::Exit::Signal(signal) => Exit::Signal(signal),
    }
}
