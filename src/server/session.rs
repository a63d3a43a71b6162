//! One connection: its buffers, its back pressure, its end. It cuts the stream into frames; what they mean is
//! `native.rs`'s.

use super::budget::{Account, FREE};
use super::hub::Hub;
use super::native;
use super::outbox::Outbox;
use super::peer::Peer;
use super::submit::{self, LastSubmit};
use super::turns::Share;
use crate::clock::{Clock, monotonic};
use crate::core::Time;
use crate::protocol::{ErrorCode, Fault, FrameError, Response, SUBMIT, frame_len, is_long, split_frame};
use crate::store::Store;
use crate::telemetry::events;
use bytes::{Bytes, BytesMut};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

/// How long a connection may take to greet.
const GREETING_TIME: Duration = Duration::from_secs(10);
/// How much room there is for the next read of a connection that has said little.
const READ_LEAST: usize = 4 << 10;
/// About what it costs to send a byte of an answer later.
const ANSWER_BYTE: Duration = Duration::from_nanos(1);
/// While more than this waits to be written to a connection, no more of its requests are served.
const WRITE_WAITING: usize = 256 << 10;
/// A connection that lets this much wait does not read: it is closed.
const WRITE_WAITING_MAX: usize = 96 << 20;

/// What the loop knows of an open connection.
pub(super) struct Session {
    pub(super) id: u64,
    pub(super) peer: Peer,
    /// Whether something was said in this turn that is not written yet.
    pub(super) touched: Cell<bool>,
    greeted: Cell<bool>,
    /// Whether it has sent a request after the greeting.
    asked: Cell<bool>,
    opened: Time,
    /// Whether nothing more will be read of it, now that the daemon ends.
    is_read: Cell<bool>,
    write: OwnedWriteHalf,
    out: RefCell<Outbox>,
    pub(super) account: Account,
    pub(super) share: Share,
    pub(super) last_submit: LastSubmit,
    clock: Clock,
    /// Whether a task waits for the socket to take more.
    flushing: Cell<bool>,
    /// Rings when the buffer has been written or dropped, and when the connection has ended: nothing leaves after that,
    /// so whoever waits for room must not wait on.
    drained: Notify,
    closing: Notify,
    /// Rings when the connection has ended.
    pub(super) closed: Notify,
    has_closed: Cell<bool>,
    this: std::rc::Weak<Session>,
}

impl Session {
    /// Says something; it leaves with the next flush.
    pub(super) fn say(&self, request: u32, response: &Response) {
        self.out.borrow_mut().say(request, response);
    }

    /// Says what has been encoded already.
    pub(super) fn add(&self, frame: &[u8]) {
        self.out.borrow_mut().add(frame);
    }

    pub(super) fn refuse(&self, request: u32, code: ErrorCode, message: impl Into<String>) {
        self.say(request, &Response::Error(Fault { code, message: message.into() }));
    }

    fn unsent(&self) -> usize {
        self.out.borrow().len()
    }

    /// Writes as much as the socket takes now; a task of its own sees to the rest.
    pub(super) fn flush(&self) {
        if !self.flushing.get() && self.write_out().is_err() {
            // The reading side sees the end as well, and cleans up.
            return self.shed();
        }
        let unsent = self.unsent();
        self.account.owe(unsent, || self.clock.now());
        if unsent > WRITE_WAITING_MAX {
            self.shed();
        } else if unsent > 0
            && !self.has_closed.get()
            && let Some(this) = self.this.upgrade()
            && !self.flushing.replace(true)
        {
            tokio::task::spawn_local(async move { this.flush_rest().await });
        }
    }

    fn write_out(&self) -> std::io::Result<()> {
        self.out.borrow_mut().write_out(|parts| match parts {
            [only] => self.write.try_write(only),
            parts => self.write.try_write_vectored(parts),
        })
    }

    /// Closes a connection that takes more than it gives way for; what it has not taken is dropped.
    pub(super) fn shed(&self) {
        if self.unsent() == 0 {
            let message = "too much is unread or unsent on all connections together (limits.buffers), and this one has \
                           held its part the longest: send whole requests, and read the answers";
            self.refuse(0, ErrorCode::Busy, message);
            // The connection ends whether it takes that or not.
            let _ = self.write_out();
        }
        *self.out.borrow_mut() = Outbox::default();
        self.account.close();
        self.drained.notify_waiters();
        self.closing.notify_one();
    }

    async fn flush_rest(&self) {
        tokio::select! {
            writable = self.write.writable() => if writable.is_err() {
                self.closing.notify_one();
                return;
            },
            // To wait on for somebody who does not read would keep the socket open for as long as he likes.
            () = self.closed.notified() => return,
        }
        self.flushing.set(false);
        // Starts the next of these tasks if something is left.
        self.flush();
        if !self.flushing.get() {
            self.drained.notify_waiters();
        }
    }

    /// Whether so much waits to be written that no more should be served.
    fn must_drain(&self) -> bool {
        self.flushing.get() && self.unsent() > WRITE_WAITING
    }

    /// Returns when little enough waits to be written that more may be served.
    pub(super) async fn until_drained(&self) {
        self.until_unsent(WRITE_WAITING).await;
    }

    /// Returns when no more than that waits to be written, or the connection has ended.
    pub(super) async fn until_unsent(&self, most: usize) {
        while self.flushing.get() && self.unsent() > most && !self.has_closed.get() {
            self.drained.notified().await;
        }
    }

    /// Whether it has come so lately that its first request may still be on its way.
    pub(super) fn is_about_to_ask(&self, patience: Duration) -> bool {
        !self.asked.get() && self.clock.now().since(self.opened) < patience
    }

    /// Takes nothing more: what is sent from here on fails where it is sent. What has come is still read.
    pub(super) fn stop_taking(&self) {
        // A connection that has ended already takes nothing either.
        let _ = rustix::net::shutdown(self.write.as_ref(), rustix::net::Shutdown::Read);
    }

    /// Whether all that came has been handed to the engine.
    pub(super) fn is_read(&self) -> bool {
        self.is_read.get()
    }
}

/// Takes a new connection on, and serves it until it ends.
pub(super) fn open<S: Store + 'static>(hub: &Rc<Hub<S>>, stream: UnixStream, peer: Peer) {
    let (read, write) = stream.into_split();
    let session = Rc::new_cyclic(|this| Session {
        id: hub.new_session_id(),
        peer,
        touched: Cell::default(),
        greeted: Cell::default(),
        asked: Cell::default(),
        opened: hub.clock.now(),
        is_read: Cell::default(),
        write,
        out: RefCell::default(),
        account: Account::new(hub.budget.clone()),
        share: hub.turns.newcomer(),
        last_submit: LastSubmit::default(),
        clock: hub.clock.clone(),
        flushing: Cell::default(),
        drained: Notify::new(),
        closing: Notify::new(),
        closed: Notify::new(),
        has_closed: Cell::default(),
        this: this.clone(),
    });
    let limit = hub.service.borrow().limits.connections;
    if hub.sessions.borrow().len() >= limit && !session.peer.pool {
        if !hub.is_crowded.replace(true) {
            events::connections_full(limit);
        }
        let message = format!("{limit} connections are open already (limits.connections): try again later");
        session.refuse(0, ErrorCode::Busy, message);
        return session.flush();
    }
    hub.is_crowded.set(false);
    hub.sessions.borrow_mut().insert(session.id, session.clone());
    tokio::task::spawn_local(serve(hub.clone(), session, read));
}

async fn serve<S: Store + 'static>(hub: Rc<Hub<S>>, session: Rc<Session>, read: OwnedReadHalf) {
    tokio::select! {
        () = session.closing.notified() => {}
        () = read_all(&hub, &session, read) => {}
    }
    if hub.is_ending.get() {
        // It was we who ended it, and it waits for its answers.
        session.is_read.set(true);
        hub.wake.notify_one();
        return;
    }
    hub.sessions.borrow_mut().remove(&session.id);
    hub.holds.forget(session.id);
    let close = || hub.engine.borrow_mut().close_session(session.id, hub.clock.now());
    hub.wait_at_door().await;
    while !hub.pass_door(close) {
        hub.wait_at_door().await;
    }
    hub.wake.notify_one();
    session.has_closed.set(true);
    session.closed.notify_waiters();
    session.drained.notify_waiters();
    // What was said last, such as why the connection closes, still leaves if the socket takes it.
    session.flush();
}

async fn read_all<S: Store + 'static>(hub: &Rc<Hub<S>>, session: &Rc<Session>, mut read: OwnedReadHalf) {
    let mut buffer = BytesMut::new();
    let greeting_deadline = tokio::time::Instant::now() + GREETING_TIME;
    let mut has_much_to_say = false;
    loop {
        if handle_frames(hub, session, &mut buffer).await.is_err() {
            return;
        }
        let next = async {
            // What is set aside for a long frame is its length and no more. One that is short, or whose length has
            // not come yet, has room in what every connection may have.
            let room = match frame_len(&buffer) {
                Some(len) if len > FREE => {
                    session.account.reserve(len, || hub.clock.now(), || hub.give_way()).await;
                    len
                }
                _ if has_much_to_say => FREE,
                _ => READ_LEAST,
            };
            buffer.reserve(room.max(READ_LEAST).saturating_sub(buffer.len()).max(1));
            let read = read_some(hub, session, &mut read, &mut buffer).await;
            has_much_to_say = buffer.len() == buffer.capacity();
            read
        };
        let read = if session.greeted.get() {
            next.await
        } else {
            match tokio::time::timeout_at(greeting_deadline, next).await {
                Ok(read) => read,
                Err(_) => return refuse_late_greeting(session),
            }
        };
        if !matches!(read, Ok(1..)) {
            return;
        }
    }
}

/// Reads what has come. That counts too: what was sent in very many small pieces takes long to read, even if it is
/// nonsense.
async fn read_some<S: Store + 'static>(
    hub: &Hub<S>,
    session: &Session,
    read: &mut OwnedReadHalf,
    buffer: &mut BytesMut,
) -> std::io::Result<usize> {
    read.readable().await?;
    hub.turns.admit(&session.share, || hub.fill(), || hub.wake.notify_one()).await;
    let (mut reads, mut cost) = (pin!(read.read_buf(buffer)), Duration::ZERO);
    let got = poll_fn(|context| {
        let begun = monotonic();
        let got = reads.as_mut().poll(context);
        cost += monotonic() - begun;
        got
    });
    let got = got.await;
    hub.turns.charge(&session.share, cost);
    got
}

fn refuse_late_greeting(session: &Session) {
    let message = format!("no greeting came within {} seconds", GREETING_TIME.as_secs());
    session.refuse(0, ErrorCode::Malformed, message);
}

/// The connection cannot go on.
struct Close;

async fn handle_frames<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    session: &Rc<Session>,
    buffer: &mut BytesMut,
) -> Result<(), Close> {
    let (mut now, mut begun) = (hub.clock.now(), monotonic());
    loop {
        let max = hub.service.borrow().limits.frame;
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
        session.asked.set(true);
        if payload.len() > FREE || is_long(header.kind) {
            hub.turns.spend(&session.share);
        }
        let mut waited = hub.turns.admit(&session.share, || hub.fill(), || hub.wake.notify_one()).await;
        // What it was answered while it stood in line counts.
        while session.must_drain() {
            session.until_drained().await;
            hub.turns.admit(&session.share, || hub.fill(), || hub.wake.notify_one()).await;
            waited = true;
        }
        if waited {
            (now, begun) = (hub.clock.now(), monotonic());
        }
        let said = hub.engine.borrow().said_bytes();
        let first = (header.request, &payload);
        if header.kind != SUBMIT || !submit::handle_again(hub, session, first, buffer, now) {
            native::handle(hub, session, header, alone(payload), now).await;
        }
        let ended = monotonic();
        let said = hub.engine.borrow().said_bytes().saturating_sub(said);
        hub.turns.charge(&session.share, ended - begun + ANSWER_BYTE * said as u32);
        begun = ended;
        session.account.release();
        hub.wake.notify_one();
    }
}

/// A short payload gets memory of its own: a body in it may stay for long, and must not keep all that was read with
/// it.
fn alone(payload: Bytes) -> Bytes {
    if payload.len() <= FREE { Bytes::copy_from_slice(&payload) } else { payload }
}
