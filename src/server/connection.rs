//! One open connection as the loop sees it, whatever its protocol: its peer, its unsent bytes, its share of what all
//! connections share, and its end. Its encoder turns answers into bytes; `serve.rs` reads its requests.

use super::budget::{Account, Budget};
use super::encoder::{Answers, Encoder, Notice, Part};
use super::fault::{Fault, Kind};
use super::outbox::Outbox;
use super::peer::Peer;
use super::scheduler::Quota;
use crate::clock::Clock;
use crate::core::Time;
use crate::engine::Answer;
use crate::stream::Stream;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;
use tokio::sync::Notify;

/// While more than this waits to be written to a connection, no more of its requests are served.
const WRITE_WAITING: usize = 256 << 10;
/// A connection that lets this much wait does not read: it is closed.
const WRITE_WAITING_MAX: usize = 96 << 20;

/// An open connection. The loop holds those of all fronts alike; the front itself knows which its own is.
pub(crate) struct Connection<E: Encoder + ?Sized = dyn Encoder> {
    pub(crate) id: u64,
    pub(crate) peer: Peer,
    /// Whether something was said in this turn that is not written yet.
    pub(super) touched: Cell<bool>,
    /// Whether it has sent a request, apart from the greeting.
    pub(super) has_asked: Cell<bool>,
    opened: Time,
    /// Whether its worker comes back by another one, and keeps what it holds.
    pub(super) leaves: Cell<bool>,
    /// Whether nothing more will be read of it, now that the daemon ends.
    pub(super) is_read: Cell<bool>,
    pub(super) stream: Stream,
    out: RefCell<Outbox>,
    pub(super) account: Account,
    pub(super) quota: Quota,
    clock: Clock,
    /// Whether a task waits for the socket to take more.
    flushing: Cell<bool>,
    /// Rings when the buffer has been written or dropped, and when the connection has ended: nothing leaves after that,
    /// so nobody must wait for room any longer.
    drained: Notify,
    /// Rings when it is to end.
    pub(super) closing: Notify,
    /// Rings when it has ended.
    pub(super) closed: Notify,
    has_closed: Cell<bool>,
    /// Whether its front takes no request until it has said something, and what rings then.
    waits_for_answer: Cell<bool>,
    answered: Notify,
    this: Weak<Connection>,
    pub(crate) front: E,
}

impl<E: Encoder> Connection<E> {
    pub(super) fn new(
        (id, peer): (u64, Peer),
        stream: Stream,
        front: E,
        (budget, quota): (Rc<Budget>, Quota),
        clock: Clock,
    ) -> Rc<Connection<E>> {
        Rc::new_cyclic(|this: &Weak<Connection<E>>| Connection {
            id,
            peer,
            touched: Cell::default(),
            has_asked: Cell::default(),
            opened: clock.now(),
            is_read: Cell::default(),
            stream,
            out: RefCell::default(),
            account: Account::new(budget),
            quota,
            clock,
            flushing: Cell::default(),
            drained: Notify::new(),
            closing: Notify::new(),
            closed: Notify::new(),
            has_closed: Cell::default(),
            leaves: Cell::default(),
            waits_for_answer: Cell::default(),
            answered: Notify::new(),
            this: this.clone(),
            front,
        })
    }
}

/// What is encoded here leaves with the next flush.
impl<E: Encoder + ?Sized> Connection<E> {
    pub(super) fn say_all(&self, answers: Answers<'_>) {
        self.front.answers(answers, &self.clock, &mut self.out.borrow_mut());
    }

    pub(super) fn say_part(&self, request: u32, part: Part) {
        self.front.part(request, part, &mut self.out.borrow_mut());
    }

    pub(super) fn notify(&self, notice: Notice) {
        self.front.notice(notice, self.out.borrow_mut().buffer());
    }

    /// Says why it ends.
    pub(super) fn refuse(&self, kind: Kind, message: impl Into<String>) {
        self.front.fault(None, &Fault::new(kind, message), self.out.borrow_mut().buffer());
    }

    /// Lets its front say something while it reads.
    pub(super) fn with_outbox<T>(&self, say: impl FnOnce(&E, &mut Outbox) -> T) -> T {
        say(&self.front, &mut self.out.borrow_mut())
    }

    /// A refusal that waits for the disk as other answers do.
    pub(crate) fn refusal(&self, request: u32, fault: &Fault) -> Answer {
        let mut bytes = Vec::new();
        self.front.fault(Some(request), fault, &mut bytes);
        Answer::Ready(bytes)
    }
}

impl<E: Encoder + ?Sized> Connection<E> {
    fn unsent(&self) -> usize {
        self.out.borrow().len()
    }

    /// Writes as much as the socket takes now; a task of its own sees to the rest.
    pub(super) fn flush(&self) {
        if self.waits_for_answer.get() {
            self.answered.notify_one();
        }
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

    fn write_out(&self) -> io::Result<()> {
        self.out.borrow_mut().write_out(|parts| self.stream.try_write(parts))
    }

    /// Closes a connection that takes more than it gives way for; what it has not taken is dropped.
    pub(super) fn shed(&self) {
        if self.unsent() == 0 {
            let message = "too much is unread or unsent on all connections together (limits.buffers), and this one has \
                           held its part the longest: send whole requests, and read the answers";
            self.refuse(Kind::Busy, message);
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
            writable = self.stream.writable() => if writable.is_err() {
                self.closing.notify_one();
                return;
            },
            // To wait for a client that does not read would keep the socket open for as long as it likes.
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
    pub(super) fn must_drain(&self) -> bool {
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

    /// Returns when something has been said.
    pub(super) async fn until_answered(&self) {
        self.waits_for_answer.set(true);
        self.answered.notified().await;
        self.waits_for_answer.set(false);
    }

    /// Whether it has come so lately that its first request may still be on its way.
    pub(super) fn is_about_to_ask(&self, patience: Duration) -> bool {
        !self.has_asked.get() && self.clock.now().since(self.opened) < patience
    }

    /// Takes nothing more: what is sent from here on fails where it is sent. What has come is still read.
    pub(super) fn stop_taking(&self) {
        // A connection that has ended already takes nothing either.
        let _ = rustix::net::shutdown(&self.stream, rustix::net::Shutdown::Read);
    }

    /// It has ended; nobody waits for it any more.
    pub(super) fn end(&self) {
        self.has_closed.set(true);
        self.closed.notify_waiters();
        self.drained.notify_waiters();
        // What was said last, such as why the connection closes, still leaves if the socket takes it.
        self.flush();
    }
}
