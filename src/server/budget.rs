//! The memory that all connections share for requests that are not read completely, and for answers that are not sent
//! yet (`limits.buffers`). Each connection has a little of its own besides ([`FREE`]), so short requests never wait for
//! it. It only counts; `connections` decides which connection is closed when too much is held.

use crate::core::Time;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

/// What each connection may have unread, and again unsent, without a share of the room.
pub(crate) const FREE: usize = 16 << 10;
/// Who has held room for this long gives way to others who wait for it.
pub(super) const HOLD_TIME_MAX: Duration = Duration::from_secs(5);

/// The room, and what is taken of it.
#[derive(Debug, Default)]
pub(super) struct Budget {
    max: Cell<usize>,
    used: Cell<usize>,
    /// Rings when some of it is free again.
    freed: Notify,
    /// Hands itself on in the order in which it was asked for, so that long requests get their turn too.
    line: Mutex<()>,
}

impl Budget {
    pub(super) fn new(max: usize) -> Rc<Budget> {
        Rc::new(Budget { max: Cell::new(max), ..Budget::default() })
    }

    pub(super) fn set_max(&self, max: usize) {
        self.max.set(max);
        self.freed.notify_waiters();
    }

    /// Whether more is taken than there is.
    pub(super) fn is_over(&self) -> bool {
        self.used.get() > self.max.get()
    }

    fn fits(&self, bytes: usize) -> bool {
        // What is longer than all of it, since the limit was lowered, goes alone.
        self.used.get() == 0 || self.used.get().saturating_add(bytes) <= self.max.get()
    }

    fn change(&self, from: usize, to: usize) {
        self.used.set(self.used.get() - from + to);
        if to < from {
            self.freed.notify_waiters();
        }
    }
}

/// What one connection holds of the room. All of it is free again when the account goes.
#[derive(Debug)]
pub(super) struct Account {
    budget: Rc<Budget>,
    unread: Cell<usize>,
    unsent: Cell<usize>,
    /// Since when it has held something without a break.
    since: Cell<Time>,
    closed: Cell<bool>,
}

impl Account {
    pub(super) fn new(budget: Rc<Budget>) -> Account {
        let (unread, unsent) = (Cell::default(), Cell::default());
        Account { budget, unread, unsent, since: Cell::new(Time::NEVER), closed: Cell::default() }
    }

    /// How much it holds.
    pub(super) fn held(&self) -> usize {
        self.unread.get() + self.unsent.get()
    }

    /// Since when it has held something.
    pub(super) fn since(&self) -> Time {
        self.since.get()
    }

    /// Sets room aside for a request of `len` bytes; waits for its place in line and for the room. `impatient` is
    /// called when that takes long.
    pub(super) async fn reserve(&self, len: usize, now: impl Fn() -> Time, impatient: impl Fn()) {
        if len <= FREE || len <= self.unread.get() {
            return;
        }
        let _place = self.budget.line.lock().await;
        let mut deadline = tokio::time::Instant::now() + HOLD_TIME_MAX;
        while !self.budget.fits(len) {
            if tokio::time::timeout_at(deadline, self.budget.freed.notified()).await.is_err() {
                impatient();
                deadline += HOLD_TIME_MAX;
            }
        }
        self.set(&self.unread, len, now());
    }

    /// The request has been taken.
    pub(super) fn release(&self) {
        self.set(&self.unread, 0, Time::NEVER);
    }

    /// So much is still to be sent.
    pub(super) fn owe(&self, bytes: usize, now: impl Fn() -> Time) {
        let over = bytes.saturating_sub(FREE);
        if over != self.unsent.get() {
            self.set(&self.unsent, over, now());
        }
    }

    /// Gives everything back; from here on nothing is counted.
    pub(super) fn close(&self) {
        self.set(&self.unread, 0, Time::NEVER);
        self.set(&self.unsent, 0, Time::NEVER);
        self.closed.set(true);
    }

    fn set(&self, part: &Cell<usize>, bytes: usize, now: Time) {
        if self.closed.get() {
            return;
        }
        if self.held() == 0 {
            self.since.set(now);
        }
        self.budget.change(part.replace(bytes), bytes);
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    const MIB: usize = 1 << 20;

    fn is_there(room: Pin<&mut impl Future>) -> bool {
        room.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn reserve(account: &Account, len: usize, at: u64) -> impl Future<Output = ()> + '_ {
        account.reserve(len, move || Time(at), || ())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn room_is_had_in_the_order_in_which_it_was_asked_for() {
        let budget = Budget::new(4 * MIB);
        let [first, second, third] = std::array::from_fn(|_| Account::new(budget.clone()));
        assert!(is_there(pin!(reserve(&first, 3 * MIB, 1))));
        let (mut long, mut short) = (pin!(reserve(&second, 3 * MIB, 2)), pin!(reserve(&third, MIB, 3)));
        assert!(!is_there(long.as_mut()));
        assert!(!is_there(short.as_mut()), "it fits, but the other was first");
        assert!(is_there(pin!(reserve(&third, FREE, 3))), "what each has of its own is always there");
        assert_eq!((first.since(), first.held(), second.held()), (Time(1), 3 * MIB, 0));
        first.release();
        assert!(is_there(long.as_mut()) && is_there(short.as_mut()));
        assert!(!budget.is_over());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_owed_counts_and_all_of_it_is_free_again_at_the_end() {
        let budget = Budget::new(MIB);
        let [first, second] = std::array::from_fn(|_| Account::new(budget.clone()));
        first.owe(FREE, || Time(1));
        assert_eq!(first.held(), 0);
        first.owe(MIB + FREE + 1, || Time(2));
        first.owe(MIB + FREE, || Time(3));
        assert_eq!((first.held(), first.since()), (MIB, Time(2)), "since it began, without a break");
        second.owe(FREE + 1, || Time(4));
        assert!(budget.is_over());
        first.close();
        first.owe(9 * MIB, || Time(5));
        assert_eq!((first.held(), budget.used.get()), (0, 1), "a closed account holds nothing any more");
        drop(second);
        assert_eq!(budget.used.get(), 0);
    }
}
