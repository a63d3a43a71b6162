//! The loop: waits until something has come or is due, lets every connection that has sent something be read, and
//! ends the turn for all of them together. Group commit is nothing more than this.

use super::hub::Hub;
use super::timer::Timer;
use crate::clock::{monotonic, thread_work};
use crate::core::Time;
use crate::engine::Step;
use crate::store::{AppendError, Store};
use std::io;
use std::rc::Rc;

/// Why the loop ended against its will.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] AppendError),
    /// The system has no timer for it.
    #[error("the loop has no timer: {0}")]
    Timer(#[from] io::Error),
}

/// Drives the engine until the daemon has stopped. The caller then closes the engine.
///
/// # Errors
/// The disk failed; nothing was acknowledged after that, and the process must end.
pub async fn run<S: Store + 'static>(hub: &Rc<Hub<S>>) -> Result<(), Fatal> {
    let mut timer = Timer::new(hub.clock.clone())?;
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
            next => timer.set(next, now)?,
        }
    }
}

/// One turn: everything asked is decided, on disk, and answered. Returns when the next one is due.
pub(super) fn turn<S: Store + 'static>(hub: &Hub<S>, now: Time) -> Result<Option<Time>, Fatal> {
    let (begun, worked) = (monotonic(), thread_work());
    let turned = hub.engine.borrow_mut().turn(now)?;
    let took = monotonic() - begun;
    let disk = took.saturating_sub(thread_work() - worked);
    hub.deliver(turned);
    let next = {
        let mut engine = hub.engine.borrow_mut();
        let next = engine.housekeep(now)?;
        engine.turn_took(now, took, disk);
        next
    };
    hub.turns.next(disk);
    hub.watch_room();
    hub.watch_size();
    Ok(next)
}
