//! Requests and answers that all versions encode alike, except for options that later versions may append. A change
//! here changes version 1 as well: a new form belongs in a new version.

use super::admin::AdminRequest;
use super::greeting::{get_hello, put_hello};
use super::request::{ADMIN, BACKUP, HELLO, LeaseRef, Request, UNWAIT};
use super::response::{
    ClaimedJob, ERROR, ErrorCode, Fault, JSON, Notice, OK, PIECE, RECONFIGURED, REVOKED, Response,
    Revocation, STOPPING, SUBMITTED, WELCOME,
};
use super::wire::{Malformed, Reader, put_text};
use super::{request, response};
use bytes::BufMut;
use std::sync::Arc;

/// The longest question in JSON. Its form in memory takes up to thirty times as much.
const JSON_MAX: usize = 4 << 20;

/// How many things one request may be about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) batch: usize,
}

impl Limit {
    /// Refuses more, before they take memory.
    pub(super) fn check(self, count: usize) -> Result<usize, Fault> {
        let Limit { batch } = self;
        if count <= batch {
            return Ok(count);
        }
        let message = format!("{count} of one request: at most {batch} (limits.batch)");
        Err(Fault { code: ErrorCode::TooLarge, message })
    }
}

pub(super) fn put_request(request: &Request, out: &mut Vec<u8>) {
    match request {
        Request::Hello { versions, name } => put_hello(out, *versions, name),
        Request::Unwait { request } => out.put_u32_le(*request),
        Request::Admin(request) => {
            let json = serde_json::to_vec(request).expect("plain data always has a JSON form");
            out.extend_from_slice(&json);
        }
        Request::Body { id } => out.put_u64_le(*id),
        Request::Backup { .. } => {}
        // The client refuses them in version 1.
        Request::ReplaceBody { id, .. } => out.put_u64_le(*id),
        Request::Changes { .. } => {}
        Request::Submit(_)
        | Request::SubmitOnce { .. }
        | Request::CompleteAndSubmit { .. }
        | Request::SubmitAndWait { .. }
        | Request::Claim(_)
        | Request::Settle(_)
        | Request::Extend { .. }
        | Request::Output { .. }
        | Request::TakeUp { .. }
        | Request::Leave
        | Request::Progress { .. }
        | Request::Checkpoint { .. }
        | Request::Beside { .. }
        | Request::Signal { .. }
        | Request::Logs { .. } => unreachable!("each version has its own form of it"),
    }
}

/// Reads one of them; `None` for a kind that is not among them.
pub(super) fn get_request(kind: u8, reader: &mut Reader) -> Result<Option<Request>, Fault> {
    Ok(Some(match kind {
        HELLO => {
            let (versions, name) = get_hello(reader)?;
            Request::Hello { versions, name }
        }
        UNWAIT => Request::Unwait { request: reader.u32("the request number")? },
        ADMIN => Request::Admin(get_admin(&reader.rest())?),
        request::BODY => Request::Body { id: reader.u64("the id")? },
        BACKUP => Request::Backup { shard: None },
        _ => return Ok(None),
    }))
}

fn get_admin(json: &[u8]) -> Result<AdminRequest, Fault> {
    if json.len() > JSON_MAX {
        let message = format!("{} bytes of JSON: at most {JSON_MAX}; ask in parts", json.len());
        return Err(Fault { code: ErrorCode::TooLarge, message });
    }
    let read = serde_json::from_slice(json).or_else(|error| without_hints(json).ok_or(error));
    Ok(read.map_err(|error| {
        let error = error.to_string();
        let what_to_do = match error.starts_with("unknown ") {
            true => "; if the client is newer than this daemon, update the daemon",
            false => "",
        };
        Malformed(format!("its JSON: {error}{what_to_do}"))
    })?)
}

/// The question without the keys that begin with `_`: a reader that does not know these may skip them. `None` where
/// there are none, or it is no question without them either.
fn without_hints(json: &[u8]) -> Option<AdminRequest> {
    let mut keys: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
    let all = keys.len();
    keys.retain(|key, _| !key.starts_with('_'));
    if keys.len() < all { serde_json::from_value(keys.into()).ok() } else { None }
}

pub(super) fn put_response(response: &Response, out: &mut Vec<u8>) {
    match response {
        Response::Welcome { version, frame_max, body_max, batch_max, name } => {
            out.put_u16_le(*version);
            out.put_u32_le(*frame_max);
            out.put_u32_le(*body_max);
            out.put_u32_le(*batch_max);
            put_text(out, name);
        }
        Response::Submitted { first, count } => {
            out.put_u64_le(*first);
            out.put_u64_le(*count);
        }
        Response::Ok => {}
        Response::Body(data) | Response::Piece(data) | Response::Json(data) => out.extend_from_slice(data),
        Response::Error(fault) => {
            out.put_u16_le(fault.code as u16);
            put_text(out, &fault.message);
        }
        Response::Notice(Notice::Revoked { lease, why }) => {
            lease.put(out);
            out.put_u8(match why {
                Revocation::Expired => 1,
                Revocation::Cancelled => 2,
            });
        }
        Response::Notice(Notice::Stopping { grace_ms }) => out.put_u64_le(*grace_ms),
        Response::Notice(Notice::Reconfigured) => {}
        Response::Received(_)
        | Response::Jobs(_)
        | Response::Settled(_)
        | Response::Extended(_)
        | Response::TakenUp { .. }
        | Response::Changes { .. }
        | Response::Output { .. } => {
            unreachable!("each version that has it has its own form of it")
        }
    }
}

/// The jobs of a claim, each read as its version does. Those of one queue, as nearly all are, share its name.
pub(super) fn get_jobs(
    reader: &mut Reader,
    count: usize,
    get_job: impl Fn(&mut Reader, Option<Arc<str>>) -> Result<ClaimedJob, Malformed>,
) -> Result<Vec<ClaimedJob>, Malformed> {
    let mut jobs: Vec<ClaimedJob> = Vec::with_capacity(count);
    for _ in 0..count {
        let last_queue = jobs.last().map(|job| job.queue.clone());
        jobs.push(get_job(reader, last_queue)?);
    }
    Ok(jobs)
}

/// Reads one of them.
pub(super) fn get_response(kind: u8, reader: &mut Reader) -> Result<Response, Malformed> {
    Ok(match kind {
        WELCOME => Response::Welcome {
            version: reader.u16("the version")?,
            frame_max: reader.u32("a limit")?,
            body_max: reader.u32("a limit")?,
            batch_max: reader.u32("a limit")?,
            name: reader.text("the server's name")?,
        },
        SUBMITTED => Response::Submitted { first: reader.u64("an id")?, count: reader.u64("a count")? },
        OK => Response::Ok,
        response::BODY => Response::Body(reader.rest()),
        PIECE => Response::Piece(reader.rest()),
        JSON => Response::Json(reader.rest()),
        ERROR => {
            let code = ErrorCode::of(reader.u16("the code")?);
            Response::Error(Fault { code, message: reader.text("the message")? })
        }
        REVOKED => {
            let lease = LeaseRef::get(reader)?;
            let why = if reader.u8("the reason")? == 1 { Revocation::Expired } else { Revocation::Cancelled };
            Response::Notice(Notice::Revoked { lease, why })
        }
        STOPPING => Response::Notice(Notice::Stopping { grace_ms: reader.u64("the time")? }),
        RECONFIGURED => Response::Notice(Notice::Reconfigured),
        kind => {
            let message = format!("answers of kind {kind:#04x} are not known here: update this program");
            return Err(Malformed(message));
        }
    })
}
