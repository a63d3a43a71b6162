//! Frames as they come and go, and the greeting.

use super::RouterLimits;
use crate::protocol::{FrameError, HEADER, Header, Response, Version, split_whole_frame};
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use std::cell::Cell;
use std::io;
use std::rc::Rc;
use tokio::sync::{Notify, mpsc};

/// What is read at a time, in bytes.
const READ: usize = 64 << 10;

/// What a queue holds before whoever fills it has to wait, in bytes.
pub(super) const QUEUE_MAX: usize = 1 << 20;

/// Frames on their way to a socket. They count by their bytes: there may be very many, and very long ones.
pub(super) struct Queue {
    to: mpsc::UnboundedSender<Bytes>,
    held: Rc<Held>,
}

/// The other end of it.
pub(super) struct Queued {
    frames: mpsc::UnboundedReceiver<Bytes>,
    held: Rc<Held>,
}

#[derive(Default)]
struct Held {
    bytes: Cell<usize>,
    /// Rings when there is less.
    room: Notify,
}

pub(super) fn queue() -> (Queue, Queued) {
    let ((to, frames), held) = (mpsc::unbounded_channel(), Rc::<Held>::default());
    (Queue { to, held: held.clone() }, Queued { frames, held })
}

impl Queue {
    /// Whether it holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.held.bytes.get() > QUEUE_MAX
    }

    pub(super) fn push(&self, frame: Bytes) {
        self.held.bytes.set(self.held.bytes.get() + frame.len());
        // If nobody writes any more, the connection ends.
        let _ = self.to.send(frame);
    }

    /// The same, once it is not full.
    pub(super) async fn push_in_turn(&self, frame: Bytes) {
        while self.is_full() && !self.to.is_closed() {
            self.held.room.notified().await;
        }
        self.push(frame);
    }
}

impl Queued {
    /// Writes the next frame, and with it what has come meanwhile. `None` if there is none and it is over.
    pub(super) async fn write_next(
        &mut self,
        stream: &Stream,
        over: impl Future<Output = ()>,
    ) -> Option<io::Result<()>> {
        let first = tokio::select! {
            biased;
            first = self.frames.recv() => first?,
            () = over => return None,
        };
        let mut len = first.len();
        let written = match self.frames.try_recv() {
            Err(_) => stream.write_all(&first).await,
            Ok(second) => {
                let mut together = BytesMut::from(&first[..]);
                together.extend_from_slice(&second);
                while together.len() < READ
                    && let Ok(next) = self.frames.try_recv()
                {
                    together.extend_from_slice(&next);
                }
                len = together.len();
                stream.write_all(&together).await
            }
        };
        self.held.bytes.set(self.held.bytes.get() - len);
        self.held.room.notify_waiters();
        Some(written)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.frames.close();
        self.held.room.notify_waiters();
    }
}

/// A frame as it came.
pub(super) struct Frame {
    pub(super) header: Header,
    /// All of it.
    bytes: BytesMut,
}

impl Frame {
    /// The same under another number.
    pub(super) fn renumbered(mut self, number: u32) -> Bytes {
        self.bytes[HEADER - 4..HEADER].copy_from_slice(&number.to_le_bytes());
        self.bytes.freeze()
    }

    pub(super) fn unchanged(self) -> Bytes {
        self.bytes.freeze()
    }

    pub(super) fn payload(self) -> Bytes {
        self.bytes.freeze().slice(HEADER..)
    }
}

/// The next one; `None` at the end.
///
/// # Errors
/// Its length cannot be.
pub(super) async fn next_frame(
    stream: &Stream,
    buffer: &mut BytesMut,
    most: usize,
) -> Result<Option<Frame>, FrameError> {
    loop {
        if let Some((header, bytes)) = split_whole_frame(buffer, most)? {
            return Ok(Some(Frame { header, bytes }));
        }
        buffer.reserve(READ);
        if !matches!(stream.read(buffer).await, Ok(1..)) {
            return Ok(None);
        }
    }
}

/// The client's greeting, and the answer. `None` if it is none, or none that this program understands.
pub(super) async fn greet(limits: &RouterLimits, stream: &Stream, buffer: &mut BytesMut) -> Option<Version> {
    let frame = next_frame(stream, buffer, limits.frame).await.ok()??;
    let header = frame.header;
    let asked = Version::NEWEST.decode_request(header.kind, frame.payload(), limits.batch);
    let mut out = Vec::new();
    match Version::greeted(asked) {
        Ok(version) => {
            let welcome = Response::welcome(version, limits.frame, limits.body, limits.batch);
            version.encode_response(&welcome, header.request, &mut out);
            stream.write_all(&out).await.ok()?;
            Some(version)
        }
        Err(fault) => {
            Response::Error(fault).encode(header.request, &mut out);
            let _ = stream.write_all(&out).await;
            None
        }
    }
}
