//! What a front is: how a protocol cuts a stream into requests, what it asks of the server for each (`requests.rs`),
//! and how it encodes the results (`encoder.rs`). Reading, fairness and bounds are the same for all (`serve.rs`).

use super::connection::Connection;
use super::encoder::Encoder;
use super::hub::Hub;
use super::outbox::Outbox;
use super::service::Limits;
use crate::core::Time;
use crate::store::Store;
use bytes::BytesMut;
use std::future::Future;
use std::rc::Rc;

/// The stream cannot be read any further; the front has sent the reason.
#[derive(Debug)]
pub(crate) struct Close;

/// What one connection speaks. There is one for each, so that it can remember what it must; the loop's task calls it
/// through `&self`, since answers are encoded while it reads.
pub(crate) trait Front: Encoder + Sized {
    /// Whether its protocol knows no failure: see [`Holder::BLAMELESS`](crate::core::Holder::BLAMELESS).
    const IS_BLAMELESS: bool = false;

    /// A request as it is cut off the stream.
    type Request;

    /// Whether the other side has introduced itself, as its protocol wants it. It has a bounded time for that.
    fn is_greeted(&self) -> bool {
        true
    }

    /// Whether it takes another request now. A protocol without numbers takes none before it has answered the last one.
    fn is_ready(&self) -> bool {
        true
    }

    /// Whether it will be told an answer before long, so that a client that has said all can have that before the connection ends.
    fn is_about_to_answer(&self) -> bool {
        false
    }

    /// The other side has said all. What of it is not handled yet is handled after this.
    fn has_said_all<S: Store + 'static>(_: &Rc<Hub<S>>, _: &Rc<Connection<Self>>) {}

    /// How many bytes the request at the front of `buffer` takes in all, as far as that is known.
    fn request_len(&self, buffer: &[u8]) -> Option<usize>;

    /// Takes the next whole request off the front of `buffer`; `None` if it has not come in full. What needs nothing but
    /// an answer of the front's own, as a greeting does, is answered at once.
    ///
    /// # Errors
    /// The connection must end.
    fn take(
        &self,
        limits: &Limits,
        buffer: &mut BytesMut,
        out: &mut Outbox,
    ) -> Result<Option<Self::Request>, Close>;

    /// Whether it may take long, so that it stands in line: it is long, or looks at much.
    fn is_long(request: &Self::Request) -> bool;

    /// Asks for what a request asks for, which came at `now`. Further requests may be taken off `buffer` with it, if one
    /// decision does for all of them.
    fn handle<S: Store + 'static>(
        hub: &Rc<Hub<S>>,
        connection: &Rc<Connection<Self>>,
        request: Self::Request,
        buffer: &mut BytesMut,
        now: Time,
    ) -> impl Future<Output = ()>;
}
