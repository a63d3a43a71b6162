//! The native wire (`docs/protocol.md`, `crate::protocol`): frames into requests, answers into frames. It checks what a
//! client may say, and decides nothing. Nothing outside this folder knows its types but clients.
//!
//! The arrows: this file → `submit`, `requests` → `admin` → `say`; `submit` → `last_submit`, `say`.

mod admin;
mod last_submit;
mod requests;
mod say;
mod submit;

use crate::clock::Clock;
use crate::core::Time;
use crate::engine::{Answer, Origin};
use crate::protocol::{
    self as wire, ErrorCode, FrameError, Header, Request, Response, SUBMIT, frame_len, split_frame,
};
use crate::server::requests::Asked;
use crate::server::{Close, Connection, Encoder, FREE, Fault, Front, Hub, Limits, Notice, Outbox, Part};
use crate::store::Store;
use bytes::{Bytes, BytesMut};
use last_submit::LastSubmit;
use std::cell::Cell;
use std::rc::Rc;

/// One connection that speaks it.
#[derive(Default)]
pub(crate) struct Native {
    is_greeted: Cell<bool>,
    last_submit: LastSubmit,
}

impl Encoder for Native {
    fn answer(&self, request: u32, answer: Answer, clock: &Clock, out: &mut Outbox) {
        say::answer(request, answer, clock, out);
    }

    fn part(&self, request: u32, part: Part, out: &mut Outbox) {
        say::part(request, part, out);
    }

    fn fault(&self, request: Option<u32>, fault: &Fault, out: &mut Vec<u8>) {
        say::fault(request.unwrap_or(UNASKED), fault, out);
    }

    fn notice(&self, notice: Notice, out: &mut Vec<u8>) {
        Response::Notice(say::notice(notice)).encode(UNASKED, out);
    }
}

/// The number of what is said unasked.
const UNASKED: u32 = 0;

impl Front for Native {
    type Request = (Header, Bytes);

    fn is_greeted(&self) -> bool {
        self.is_greeted.get()
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
                say::error(UNASKED, code, error.to_string(), out);
                Close
            })?;
            let Some((header, payload)) = frame else { return Ok(None) };
            if self.is_greeted.get() {
                return Ok(Some((header, payload)));
            }
            greet(limits, header, payload, out)?;
            self.is_greeted.set(true);
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
        let last = &connection.front.last_submit;
        let origin = Origin { session: connection.id, request: header.request };
        let asked = Asked { peer: &connection.peer, origin, now };
        let done = match header.kind {
            SUBMIT if submit::handle_again(hub, last, asked, &payload, buffer) => return,
            SUBMIT => submit::handle(hub, last, asked, (alone(payload), None)).await,
            wire::SUBMIT_AND_WAIT => submit::handle_and_wait(hub, last, asked, alone(payload)).await,
            kind => requests::handle(hub, connection.clone(), asked, kind, alone(payload)).await,
        };
        if let Err(fault) = done {
            hub.engine.borrow_mut().answer(origin, say::refusal(origin, &fault));
        }
    }
}

/// A short payload gets memory of its own: a body in it may stay for long, and must not keep all that was read with
/// it.
fn alone(payload: Bytes) -> Bytes {
    if payload.len() <= FREE { Bytes::copy_from_slice(&payload) } else { payload }
}

/// Answers the greeting.
fn greet(limits: &Limits, header: Header, payload: Bytes, out: &mut Outbox) -> Result<(), Close> {
    let request = header.request;
    match Request::decode(header.kind, payload, limits.batch) {
        Ok(Request::Hello { version: wire::VERSION, .. }) => {
            let welcome = Response::Welcome {
                version: wire::VERSION,
                frame_max: limits.frame as u32,
                body_max: limits.body as u32,
                batch_max: limits.batch as u32,
                name: format!("musher {}", env!("CARGO_PKG_VERSION")),
            };
            welcome.encode(request, out.buffer());
            return Ok(());
        }
        Ok(Request::Hello { version, .. }) => {
            let own = wire::VERSION;
            let message =
                format!("protocol version {version} is not spoken here, only {own}: update the older side");
            say::error(request, ErrorCode::Version, message, out);
        }
        Ok(_) => {
            let message = "the first request must be the greeting".to_owned();
            say::error(request, ErrorCode::Malformed, message, out);
        }
        Err(fault) => Response::Error(fault).encode(request, out.buffer()),
    }
    Err(Close)
}
