//! The loop: waits until something has come or is due, lets every connection that has sent something be read, and
//! ends the turn for all of them together. Group commit is nothing more than this.

use super::hub::Hub;
use crate::clock::{monotonic, thread_work};
use crate::core::Time;
use crate::engine::Step;
use crate::store::{AppendError, Store};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Why the loop ended against its will.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Fatal(#[from] AppendError);

/// Drives the engine until the daemon has stopped. The caller then closes the engine.
///
/// # Errors
/// The disk failed; nothing was acknowledged after that, and the process must end.
pub async fn run<S: Store + 'static>(hub: &Rc<Hub<S>>) -> Result<(), Fatal> {
    let mut timer = Timer::default();
    // The first turn ends the leases of the former life, before anybody can ask.
    hub.wake.notify_one();
    loop {
        tokio::select! {
            biased;
            () = hub.wake.notified() => {}
            () = timer.rings() => {}
        }
        // This task goes on only after the sockets were asked once more and all whose bytes have come were read:
        // they share the commit.
        tokio::task::yield_now().await;
        if hub.turns.line_was_served() {
            // That took a while, in which others may have sent something, and they are not to wait for another turn.
            tokio::task::yield_now().await;
        }
        let now = hub.clock.now();
        let mut next = turn(hub, now)?;
        match hub.engine.borrow_mut().stop_step(now) {
            None => {}
            Some(Step::Wait(until)) => next = Some(next.map_or(until, |next| next.min(until))),
            Some(Step::Evict) => hub.wake.notify_one(),
            Some(Step::Finish) => return Ok(()),
        }
        match next {
            Some(next) if next <= now => hub.wake.notify_one(),
            next => timer.set(next, now),
        }
    }
}

/// One turn: everything asked is decided, on disk, and answered. Returns when the next one is due.
pub(super) fn turn<S: Store + 'static>(hub: &Hub<S>, now: Time) -> Result<Option<Time>, Fatal> {
    let (begun, worked) = (monotonic(), thread_work());
    let turned = hub.engine.borrow_mut().turn(now)?;
    let disk = (monotonic() - begun).saturating_sub(thread_work() - worked);
    hub.deliver(turned);
    let next = hub.engine.borrow_mut().housekeep(now)?;
    hub.turns.next(disk);
    hub.watch_room();
    hub.watch_size();
    Ok(next)
}

/// One timer, moved only when it must ring earlier: an early ring is harmless, and moving it for every lease is
/// not free.
#[derive(Default)]
struct Timer {
    sleep: Option<(Time, Pin<Box<Sleep>>)>,
}

impl Timer {
    fn set(&mut self, next: Option<Time>, now: Time) {
        let Some(next) = next else { return };
        if self.sleep.as_ref().is_some_and(|(at, _)| *at <= next && *at > now) {
            return;
        }
        // A millisecond more, since time is counted in whole ones and an early ring would only ring again.
        let at = Instant::now() + next.since(now) + Duration::from_millis(1);
        match &mut self.sleep {
            Some((set, sleep)) => {
                *set = next;
                sleep.as_mut().reset(at);
            }
            None => self.sleep = Some((next, Box::pin(tokio::time::sleep_until(at)))),
        }
    }

    /// Returns when the time has come; never, if none is set.
    async fn rings(&mut self) {
        match &mut self.sleep {
            Some((_, sleep)) => {
                sleep.as_mut().await;
                self.sleep = None;
            }
            None => std::future::pending().await,
        }
    }
}
