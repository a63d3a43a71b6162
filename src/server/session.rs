//! One connection: its buffers, its back pressure, its end. It cuts the stream into frames; what they mean is
//! `native.rs`'s.

use super::hub::Hub;
use super::native;
use crate::protocol::{ErrorCode, Fault, FrameError, Response, split_frame};
use crate::store::Store;
use crate::telemetry::events;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// How long a connection may take to greet.
const GREETING_TIME: Duration = Duration::from_secs(10);
/// How much room there is at least for the next read.
const READ_LEAST: usize = 4 << 10;
/// How much room is made when there is less.
const READ_ROOM: usize = 64 << 10;
/// While more than this waits to be written to a connection, nothing more is read from it.
const WRITE_WAITING: usize = 1 << 20;
/// A connection that lets this much wait does not read: it is closed.
const WRITE_WAITING_MAX: usize = 96 << 20;
/// How much buffer a connection keeps when it has nothing to say.
const WRITE_KEEP: usize = 64 << 10;

/// Who is on the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// The user.
    pub(super) uid: u32,
    /// Whether it is the daemon's own pool of workers.
    pub(super) pool: bool,
}

/// What the loop knows of an open connection.
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) peer: Peer,
    /// Whether something was said in this turn that is not written yet.
    pub(super) touched: Cell<bool>,
    greeted: Cell<bool>,
    write: OwnedWriteHalf,
    out: RefCell<Vec<u8>>,
    /// Whether a task waits for the socket to take more.
    flushing: Cell<bool>,
    /// Rings when the buffer has been written, or the connection is to close.
    drained: Notify,
    closing: Notify,
    /// Rings when the connection has ended.
    pub(super) closed: Notify,
    this: std::rc::Weak<Session>,
}

impl Session {
    /// Says something; it leaves with the next flush.
    pub(super) fn say(&self, request: u32, response: &Response) {
        response.encode(request, &mut self.out.borrow_mut());
    }

    /// The buffer that leaves with the next flush, to encode into.
    pub(super) fn out(&self) -> std::cell::RefMut<'_, Vec<u8>> {
        self.out.borrow_mut()
    }

    pub(super) fn refuse(&self, request: u32, code: ErrorCode, message: impl Into<String>) {
        self.say(request, &Response::Error(Fault { code, message: message.into() }));
    }

    /// Writes as much as the socket takes now; a task of its own sees to the rest.
    pub(super) fn flush(&self) {
        if self.flushing.get() {
            if self.out.borrow().len() > WRITE_WAITING_MAX {
                self.closing.notify_one();
            }
            return;
        }
        let mut out = self.out.borrow_mut();
        let mut written = 0;
        while written < out.len() {
            match self.write.try_write(&out[written..]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    // The reading side sees the end as well, and cleans up.
                    out.clear();
                    self.closing.notify_one();
                    return;
                }
            }
        }
        out.drain(..written);
        if out.is_empty() {
            out.shrink_to(WRITE_KEEP);
        } else if let Some(this) = self.this.upgrade() {
            self.flushing.set(true);
            tokio::task::spawn_local(async move { this.flush_rest().await });
        }
    }

    async fn flush_rest(&self) {
        if self.write.writable().await.is_err() {
            self.closing.notify_one();
            return;
        }
        self.flushing.set(false);
        // Starts the next of these tasks if something is left.
        self.flush();
        if !self.flushing.get() {
            self.drained.notify_waiters();
        }
    }

    pub(super) async fn until_drained(&self) {
        while self.flushing.get() && self.out.borrow().len() > WRITE_WAITING {
            self.drained.notified().await;
        }
    }
}

/// Serves one connection until it ends.
pub(super) async fn serve<S: Store + 'static>(hub: Rc<Hub<S>>, stream: UnixStream, peer: Peer) {
    let (read, write) = stream.into_split();
    let session = Rc::new_cyclic(|this| Session {
        id: hub.new_session_id(),
        peer,
        touched: Cell::default(),
        greeted: Cell::default(),
        write,
        out: RefCell::default(),
        flushing: Cell::default(),
        drained: Notify::new(),
        closing: Notify::new(),
        closed: Notify::new(),
        this: this.clone(),
    });
    let limit = hub.service.borrow().limits.connections;
    if hub.sessions.borrow().len() >= limit && !peer.pool {
        if !hub.is_crowded.replace(true) {
            events::connections_full(limit);
        }
        let message = format!("{limit} connections are open already (limits.connections): try again later");
        session.refuse(0, ErrorCode::Busy, message);
        return session.flush();
    }
    hub.is_crowded.set(false);
    hub.sessions.borrow_mut().insert(session.id, session.clone());
    tokio::select! {
        () = session.closing.notified() => {}
        () = read_all(&hub, &session, read) => {}
    }
    hub.sessions.borrow_mut().remove(&session.id);
    hub.engine.borrow_mut().close_session(session.id, hub.clock.now());
    hub.wake.notify_one();
    session.closed.notify_waiters();
    // What was said last, such as why the connection closes, still leaves if the socket takes it.
    session.flush();
}

async fn read_all<S: Store + 'static>(hub: &Rc<Hub<S>>, session: &Rc<Session>, mut read: OwnedReadHalf) {
    let mut buffer = BytesMut::new();
    loop {
        if handle_frames(hub, session, &mut buffer).await.is_err() {
            return;
        }
        if buffer.capacity() - buffer.len() < READ_LEAST {
            buffer.reserve(READ_ROOM);
        }
        let more = read.read_buf(&mut buffer);
        let read = if session.greeted.get() {
            more.await
        } else {
            match tokio::time::timeout(GREETING_TIME, more).await {
                Ok(read) => read,
                Err(_) => return,
            }
        };
        if !matches!(read, Ok(1..)) {
            return;
        }
    }
}

/// The connection cannot go on.
struct Close;

async fn handle_frames<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    session: &Rc<Session>,
    buffer: &mut BytesMut,
) -> Result<(), Close> {
    let max = hub.service.borrow().limits.frame;
    loop {
        let (header, payload) = match split_frame(buffer, max) {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(error) => {
                let code = match error {
                    FrameError::TooShort(_) => ErrorCode::Malformed,
                    FrameError::TooLong { .. } => ErrorCode::TooLarge,
                };
                session.refuse(0, code, error.to_string());
                return Err(Close);
            }
        };
        if !session.greeted.get() {
            let greeted = native::greet(hub, session, header, payload);
            session.flush();
            greeted.map_err(|()| Close)?;
            session.greeted.set(true);
            continue;
        }
        native::handle(hub, session, header, payload).await;
        hub.wake.notify_one();
        while hub.engine.borrow().is_full() {
            hub.turned.notified().await;
        }
        session.until_drained().await;
    }
}
