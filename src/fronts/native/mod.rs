//! The native wire (`docs/protocol.md`, `crate::protocol`): frames into requests, answers into frames. It checks what a
//! client may say, and decides nothing. Outside this folder, only clients use its types.
//!
//! The arrows: this file → `submit`, `requests` → `admin` → `schedules` → `encode`; `submit` → `last_submit`, `encode`; `backoff` is plain.

mod admin;
mod backoff;
mod encode;
mod last_submit;
mod requests;
mod schedules;
mod submit;

use crate::clock::Clock;
use crate::core::Time;
use crate::engine::{Answer, Origin};
use crate::protocol::{
    self as wire, ErrorCode, FrameError, Header, Request, Response, SUBMIT, SUBMIT_AND_WAIT, Version,
    frame_len, split_frame,
};
use crate::server::requests::RequestContext;
use crate::server::{Close, Connection, Encoder, FREE, Fault, Front, Hub, Limits, Notice, Outbox, Part};
use crate::store::Store;
use bytes::{Bytes, BytesMut};
use last_submit::LastSubmit;
use std::cell::Cell;
use std::rc::Rc;

/// One connection that speaks it.
#[derive(Default)]
pub(crate) struct Native {
    /// The version that it has been greeted in.
    version: Cell<Option<Version>>,
    last_submit: LastSubmit,
}

impl Encoder for Native {
    fn answer(&self, request: u32, answer: Answer, clock: &Clock, out: &mut Outbox) {
        encode::answer(self.version(), request, answer, clock, out);
    }

    fn part(&self, request: u32, part: Part, out: &mut Outbox) {
        encode::part(self.version(), request, part, out);
    }

    fn fault(&self, request: Option<u32>, fault: &Fault, out: &mut Vec<u8>) {
        encode::fault(request.unwrap_or(UNASKED), fault, out);
    }

    fn notice(&self, notice: Notice, out: &mut Vec<u8>) {
        Response::Notice(encode::notice(notice)).encode(UNASKED, out);
    }
}

impl Native {
    /// What is sent before the greeting is encoded alike in all versions.
    fn version(&self) -> Version {
        self.version.get().unwrap_or(Version::NEWEST)
    }
}

/// The request number of notices.
const UNASKED: u32 = 0;

impl Front for Native {
    type Request = (Header, Bytes);

    fn is_greeted(&self) -> bool {
        self.version.get().is_some()
    }

    fn request_len(&self, buffer: &[u8]) -> Option<usize> {
        frame_len(buffer)
    }

    fn take(
        &self,
        limits: &Limits,
        buffer: &mut BytesMut,
        out: &mut Outbox,
    ) -> Result<Option<(Header, Bytes)>, Close> {
        loop {
            let frame = split_frame(buffer, limits.frame).map_err(|error| {
                let code = match error {
                    FrameError::TooShort(_) => ErrorCode::Malformed,
                    FrameError::TooLong { .. } => ErrorCode::TooLarge,
                };
                encode::error(UNASKED, code, error.to_string(), out);
                Close
            })?;
            let Some((header, payload)) = frame else { return Ok(None) };
            if self.is_greeted() {
                return Ok(Some((header, payload)));
            }
            self.version.set(Some(greet(limits, header, payload, out)?));
        }
    }

    fn is_long((header, payload): &(Header, Bytes)) -> bool {
        payload.len() > FREE || wire::is_long(header.kind)
    }

    async fn handle<S: Store + 'static>(
        hub: &Rc<Hub<S>>,
        connection: &Rc<Connection<Native>>,
        (header, payload): (Header, Bytes),
        buffer: &mut BytesMut,
        now: Time,
    ) {
        let (last, version) = (&connection.front.last_submit, connection.front.version());
        let origin = Origin { session: connection.id, request: header.request };
        let context = RequestContext { peer: &connection.peer, origin, now };
        let done = match header.kind {
            SUBMIT if submit::handle_again(hub, last, context, &payload, buffer) => return,
            kind @ (SUBMIT | SUBMIT_AND_WAIT) => {
                submit::handle(hub, last, context, version, (kind, alone(payload))).await
            }
            kind => requests::handle(hub, connection.clone(), context, version, (kind, alone(payload))).await,
        };
        if let Err(fault) = done {
            hub.engine.borrow_mut().answer(origin, encode::refusal(origin, &fault));
        }
    }
}

/// A short payload gets memory of its own: a body in it may stay for long, and must not keep all that was read with
/// it.
fn alone(payload: Bytes) -> Bytes {
    if payload.len() <= FREE { Bytes::copy_from_slice(&payload) } else { payload }
}

/// Answers the greeting: with the highest version that both sides speak.
fn greet(limits: &Limits, header: Header, payload: Bytes, out: &mut Outbox) -> Result<Version, Close> {
    let request = header.request;
    let fault = match Version::greeted(Request::decode(header.kind, payload, limits.batch)) {
        Ok(version) => {
            let welcome = Response::welcome(version, limits.frame, limits.body, limits.batch);
            version.encode_response(&welcome, request, out.buffer());
            return Ok(version);
        }
        Err(fault) => fault,
    };
    encode::error(request, fault.code, fault.message, out);
    Err(Close)
}
