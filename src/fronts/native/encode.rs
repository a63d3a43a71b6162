//! Encodes answers, parts of long answers, refusals and notices as frames: the one place where results of the engine
//! and the server become wire types.

use crate::clock::Clock;
use crate::core::{EditRejection, LeaseId, LeaseRejection, Receipt, Time};
use crate::engine::{Answer, Claimed, Edited, Origin};
use crate::protocol::{
    self as wire, ErrorCode, JobChange, LeaseFault, LeaseRef, Response, Version, put_head,
};
use crate::server::operators::{ends, group_ends, tags};
use crate::server::{Fault, Kind, Moved, Notice, Outbox, Part};
use crate::store::Envelope;
use crate::views::{EditView, PurgeView};
use serde::Serialize;

/// Encodes the answer to a request.
pub(super) fn answer(version: Version, request: u32, answer: Answer, clock: &Clock, out: &mut Outbox) {
    let response = match answer {
        Answer::Submitted(ids) => Response::Submitted { first: ids.first.0, count: ids.len },
        Answer::Received(receipts) => Response::Received(receipts.into_iter().map(receipt).collect()),
        Answer::Jobs(jobs) => {
            let at = (clock.now(), clock.ahead_ms());
            Response::Jobs(jobs.into_iter().map(|job| claimed(job, at)).collect())
        }
        Answer::Settled(results) => {
            Response::Settled(results.into_iter().map(|r| r.map_err(lease_fault)).collect())
        }
        Answer::Extended(results) => {
            let ahead_ms = clock.ahead_ms();
            let until = |until| Clock::shown_if_ahead(until, ahead_ms).0;
            Response::Extended(results.into_iter().map(|r| r.map(until).map_err(lease_fault)).collect())
        }
        Answer::TakenUp { within, leases } => Response::TakenUp {
            resume_within_ms: u64::try_from(within.as_millis()).unwrap_or(u64::MAX),
            leases: leases.into_iter().map(|r| r.map_err(lease_fault)).collect(),
        },
        Answer::Edited(results) => json(&results.into_iter().map(edited).collect::<Vec<_>>()),
        Answer::Purged { deleted, more } => json(&PurgeView { deleted, more }),
        Answer::Ended(ended) => json(&ends(ended)),
        Answer::GroupsEnded(ended) => json(&group_ends(ended)),
        Answer::Body(body) => Response::Body(body),
        Answer::Ready(frame) => return out.buffer().extend_from_slice(&frame),
        Answer::Ok => Response::Ok,
        Answer::Refused(refusal) => return fault(request, &Fault::from(&refusal), out.buffer()),
    };
    respond(version, request, &response, out);
}

/// Adds a response as a frame. The body in it is not copied if it is long.
fn respond(version: Version, request: u32, response: &Response, out: &mut Outbox) {
    match response {
        Response::Body(body) | Response::Piece(body) => {
            put_head(out.buffer(), response.kind(), request, body.len());
            out.push(body);
        }
        _ => version.encode_response(response, request, out.buffer()),
    }
}

/// Encodes a part of a long answer.
pub(super) fn part(version: Version, request: u32, part: Part, out: &mut Outbox) {
    let response = match part {
        Part::Output { attempt, stream, data } => Response::Output { attempt, stream, data },
        Part::Backup(piece) => Response::Piece(piece),
        Part::Changes { changes, missed } => {
            Response::Changes { missed, changes: changes.into_iter().map(job_change).collect() }
        }
        Part::End(Ok(())) => Response::Ok,
        Part::End(Err(error)) => return fault(request, &error, out.buffer()),
    };
    respond(version, request, &response, out);
}

fn job_change(Moved { jobs, queue, state, at }: Moved) -> JobChange {
    let state = state.map_or(JobChange::GONE, |state| state as u8);
    JobChange { first: jobs.first.0, count: jobs.len, queue, state, at_ms: at.0 }
}

/// Encodes a refusal. All versions encode refusals, JSON and notices alike.
pub(super) fn fault(request: u32, fault: &Fault, out: &mut Vec<u8>) {
    let message = fault.message.clone();
    Response::Error(wire::Fault { code: code_of(fault.kind), message }).encode(request, out);
}

/// Encodes a refusal with a code that only the wire has.
pub(super) fn error(request: u32, code: ErrorCode, message: String, out: &mut Outbox) {
    Response::Error(wire::Fault { code, message }).encode(request, out.buffer());
}

/// A refusal that waits for the disk as other answers do.
pub(super) fn refusal(origin: Origin, error: &Fault) -> Answer {
    let mut frame = Vec::new();
    fault(origin.request, error, &mut frame);
    Answer::Ready(frame)
}

/// The same for an answer in JSON.
pub(super) fn ready<T: Serialize>(origin: Origin, view: &T) -> Answer {
    let mut frame = Vec::new();
    json(view).encode(origin.request, &mut frame);
    Answer::Ready(frame)
}

fn json<T: Serialize>(view: &T) -> Response {
    Response::Json(serde_json::to_vec(view).expect("plain data always has a JSON form").into())
}

/// What the server sends on its own.
pub(super) fn notice(notice: Notice) -> wire::Notice {
    match notice {
        Notice::Revoked { lease, expired } => wire::Notice::Revoked {
            lease: lease_ref(lease),
            why: if expired { wire::Revocation::Expired } else { wire::Revocation::Cancelled },
        },
        Notice::Stopping(grace) => wire::Notice::Stopping { grace_ms: grace.as_millis() as u64 },
        Notice::Reconfigured => wire::Notice::Reconfigured,
    }
}

fn receipt(receipt: Receipt) -> wire::Receipt {
    let what = match receipt {
        Receipt::New(_) => wire::Received::New,
        Receipt::Existing(_) => wire::Received::Existing,
        Receipt::Changed(_) | Receipt::Replaced(_) => wire::Received::Changed,
    };
    wire::Receipt { id: receipt.id().0, what }
}

fn claimed(job: Claimed, (now, ahead_ms): (Time, i64)) -> wire::ClaimedJob {
    let Claimed { grant, body, envelope, checkpoint, signal } = job;
    let spec = &grant.spec;
    wire::ClaimedJob {
        lease: LeaseRef { id: grant.id.0, attempt: grant.attempt.0 },
        attempts: grant.attempts,
        timeout_ms: grant.timeout.map_or(0, |timeout| timeout.as_millis() as u64),
        lease_ms: grant.until.since(now).as_millis() as u64,
        until_ms: Clock::shown_if_ahead(grant.until, ahead_ms).0,
        queue: spec.queue.shared(),
        priority: spec.priority.0,
        owner: spec.owner,
        tags: envelope.as_ref().map_or_else(Vec::new, tags),
        key: envelope.and_then(Envelope::into_key).map(String::from),
        deadline_ms: (grant.deadline != Time::NEVER)
            .then(|| Clock::shown_if_ahead(grant.deadline, ahead_ms).0),
        checkpoint,
        signal: grant.signal.as_ref().zip(signal).map(|(signal, says)| (signal.name.to_string(), says)),
        body,
    }
}

fn edited(result: Result<Edited, EditRejection>) -> EditView {
    match result {
        Err(EditRejection::MovedOn { .. }) => EditView { moved_on: true, ..EditView::default() },
        Err(rejection) => EditView { error: Some(rejection.to_string()), ..EditView::default() },
        Ok(edited) => EditView { when_stopped: edited == Edited::WhenStopped, ..EditView::default() },
    }
}

fn lease_ref(lease: LeaseId) -> LeaseRef {
    LeaseRef { id: lease.id.0, attempt: lease.attempt.0 }
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

/// The wire's number of each kind of refusal.
fn code_of(kind: Kind) -> ErrorCode {
    match kind {
        Kind::Malformed => ErrorCode::Malformed,
        Kind::Invalid => ErrorCode::Invalid,
        Kind::TooLarge => ErrorCode::TooLarge,
        Kind::NotFound => ErrorCode::NotFound,
        Kind::Forbidden => ErrorCode::Forbidden,
        Kind::WrongState => ErrorCode::WrongState,
        Kind::Unsupported => ErrorCode::Unsupported,
        Kind::NotUnique => ErrorCode::NotUnique,
        Kind::Draining => ErrorCode::Draining,
        Kind::QueueFull => ErrorCode::QueueFull,
        Kind::DiskFull => ErrorCode::DiskFull,
        Kind::Busy => ErrorCode::Busy,
        Kind::Internal => ErrorCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    /// A long body goes its own way, behind its head.
    #[test]
    fn a_body_is_said_as_any_frame_whatever_its_length() {
        for len in [0, 1, 64 << 10, 300 << 10] {
            let body = Bytes::from(vec![7; len]);
            for response in [Response::Body(body.clone()), Response::Piece(body)] {
                let (mut out, mut expected) = (Outbox::default(), Vec::new());
                Response::Ok.encode(1, &mut expected);
                response.encode(2, &mut expected);
                respond(Version::NEWEST, 1, &Response::Ok, &mut out);
                respond(Version::NEWEST, 2, &response, &mut out);
                assert!(out.take_all() == expected, "{len} bytes");
            }
        }
    }
}
