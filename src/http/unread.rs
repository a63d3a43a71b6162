//! How a connection ends on which a request was answered before all of it had come, as those are that are refused. Closed at once, with
//! bytes of the client's on their way, it would be reset, and the answer lost with it; so what still comes is read and thrown away for a
//! while (RFC 9112, section 9.6). It knows no requests.

use super::places::Held;
use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Sleep, sleep};

/// For how long what comes is thrown away.
const LINGER_TIME: Duration = Duration::from_secs(2);
/// And how much of it.
const LINGER_MAX: usize = 16 << 20;

/// The body of a request. Its connection learns whether it was read to its end.
pub(super) struct Read {
    body: Incoming,
    is_ended: bool,
    place: Arc<Held>,
}

impl Read {
    pub(super) fn new(body: Incoming, place: Arc<Held>) -> Read {
        Read { is_ended: body.is_end_stream(), body, place }
    }
}

impl HttpBody for Read {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.is_ended = frame.is_none() || self.body.is_end_stream();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Read {
    fn drop(&mut self) {
        self.place.note_unread(!self.is_ended);
    }
}

/// Throws away what a client still sends.
#[derive(Debug)]
pub(super) struct Lingering {
    end: Pin<Box<Sleep>>,
    left: usize,
}

impl Lingering {
    pub(super) fn new() -> Lingering {
        Lingering { end: Box::pin(sleep(LINGER_TIME)), left: LINGER_MAX }
    }

    /// Ready when the client has closed its side, or had its time.
    pub(super) fn poll<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let mut space = [0; 8 << 10];
        while self.left > 0 {
            let mut buffer = ReadBuf::new(&mut space);
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    self.left = self.left.saturating_sub(buffer.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.end.as_mut().poll(context),
            }
        }
        Poll::Ready(())
    }
}
