//! A queue of events inside the process, with room for a few. Who publishes is never stopped by who reads, unless the
//! configuration says so: what finds no room is dropped, or drops the oldest, and either is counted. For what must not be lost there
//! is the other queue, which is on disk.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What becomes of an event for which there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    DropNew,
    DropOld,
    /// Its publisher waits.
    Wait,
}

impl FromStr for WhenFull {
    type Err = String;

    fn from_str(word: &str) -> Result<WhenFull, String> {
        match word {
            "drop-new" => Ok(WhenFull::DropNew),
            "drop-old" => Ok(WhenFull::DropOld),
            "wait" => Ok(WhenFull::Wait),
            _ => Err(format!("`{word}` for a full queue: it can be drop-new, drop-old or wait")),
        }
    }
}

/// How many events went which way; `published` is the sum of the others and of those that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
}

struct Inner<T> {
    state: Mutex<State<T>>,
    room: usize,
    when_full: WhenFull,
    came: Notify,
    went: Notify,
}

struct State<T> {
    waiting: VecDeque<T>,
    counts: Counts,
    is_closed: bool,
}

/// Its publishers' and its reader's side. Clones are of the same queue.
pub(crate) struct Events<T>(Arc<Inner<T>>);

impl<T> Clone for Events<T> {
    fn clone(&self) -> Events<T> {
        Events(self.0.clone())
    }
}

impl<T> Events<T> {
    pub(crate) fn new(room: usize, when_full: WhenFull) -> Events<T> {
        let state = State { waiting: VecDeque::new(), counts: Counts::default(), is_closed: false };
        Events(Arc::new(Inner {
            state: state.into(),
            room,
            when_full,
            came: Notify::new(),
            went: Notify::new(),
        }))
    }

    /// Held for a few lines without an `await` in them, so nobody waits for it who has it.
    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an event without waiting. `Err` gives it back: it is full, and who publishes is to wait.
    fn offer(&self, event: T) -> Result<(), T> {
        let mut state = self.state();
        let is_full = state.waiting.len() >= self.0.room;
        if is_full && self.0.when_full == WhenFull::Wait && !state.is_closed {
            return Err(event);
        }
        state.counts.published += 1;
        if state.is_closed || (is_full && self.0.when_full == WhenFull::DropNew) {
            state.counts.dropped += 1;
            return Ok(());
        }
        if is_full {
            state.waiting.pop_front();
            state.counts.dropped += 1;
        }
        state.waiting.push_back(event);
        drop(state);
        self.0.came.notify_one();
        Ok(())
    }

    /// Publishes an event; waits only if the queue is full and the configuration says so.
    pub(crate) async fn publish(&self, mut event: T) {
        loop {
            let went = self.0.went.notified();
            match self.offer(event) {
                Ok(()) => return,
                Err(back) => event = back,
            }
            went.await;
        }
    }

    /// The next event; `None` when the queue is closed and empty. For one reader.
    pub(crate) async fn next(&self) -> Option<T> {
        loop {
            {
                let mut state = self.state();
                if let Some(event) = state.waiting.pop_front() {
                    state.counts.delivered += 1;
                    drop(state);
                    self.0.went.notify_one();
                    return Some(event);
                }
                if state.is_closed {
                    return None;
                }
            }
            self.0.came.notified().await;
        }
    }

    /// What comes from now on is dropped; what is there is still delivered.
    pub(crate) fn close(&self) {
        self.state().is_closed = true;
        self.0.came.notify_one();
        self.0.went.notify_waiters();
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Publishes 1 to 5 where there is room for 3; what is read.
    fn through(when_full: WhenFull) -> (Vec<u32>, Counts) {
        let events = Events::new(3, when_full);
        for event in 1..=5 {
            assert!(poll(pin!(events.publish(event))).is_ready(), "it does not wait");
        }
        events.close();
        assert!(poll(pin!(events.publish(6))).is_ready());
        let mut read = Vec::new();
        while let Poll::Ready(Some(event)) = poll(pin!(events.next())) {
            read.push(event);
        }
        (read, events.counts())
    }

    #[test]
    fn who_publishes_does_not_wait_and_what_is_dropped_is_counted() {
        let counts = Counts { published: 6, delivered: 3, dropped: 3 };
        assert_eq!(through(WhenFull::DropNew), (vec![1, 2, 3], counts));
        assert_eq!(through(WhenFull::DropOld), (vec![3, 4, 5], counts));
    }

    #[test]
    fn where_nothing_may_be_dropped_the_publisher_waits() {
        let events = Events::new(1, WhenFull::Wait);
        assert!(poll(pin!(events.publish(1))).is_ready());
        let mut second = pin!(events.publish(2));
        assert!(poll(second.as_mut()).is_pending());
        assert_eq!(poll(pin!(events.next())), Poll::Ready(Some(1)));
        assert!(poll(second.as_mut()).is_ready());
        let mut third = pin!(events.publish(3));
        assert!(poll(third.as_mut()).is_pending());
        events.close();
        assert!(poll(third.as_mut()).is_ready(), "nobody is left waiting at a closed queue");
        assert_eq!(events.counts(), Counts { published: 3, delivered: 1, dropped: 1 });
    }
}
