//! The loop: waits until something has arrived or is due, lets every connection that has sent something be read, and
//! ends the turn for all of them together. Group commit is nothing more than this.

use super::changes;
use super::clock_set::ClockSet;
use super::connection::Connection;
use super::encoder::{Answers, Notice};
use super::hub::Hub;
use super::looks;
use super::timer::Timer;
use crate::clock::{monotonic, thread_work};
use crate::core::Time;
use crate::engine::{Answer, Delivery, Step, Turned};
use crate::store::{AppendError, Store};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Why the loop failed.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] AppendError),
    /// The system has no timer for it.
    #[error("the daemon cannot create its timer: {0}")]
    Timer(#[from] io::Error),
}

/// The waker for a log that confirms later than it appends.
struct Bell(Arc<Notify>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// How old what is known of the thread's work may be when a turn begins.
const WORK_KNOWN: Duration = Duration::from_millis(100);

/// How long the loop's thread has had a processor, for telling a turn that was held up from one that had much to do. To
/// ask for it is a system call: it is asked for now and then, and after a long turn.
pub(super) struct Work {
    /// When it was asked for, and what it was then.
    asked: Duration,
    had: Duration,
}

impl Work {
    pub(super) fn now() -> Work {
        Work { asked: monotonic(), had: thread_work() }
    }

    /// A turn begins.
    fn note(&mut self, begun: Duration) {
        if begun - self.asked > WORK_KNOWN {
            *self = Work::now();
        }
    }

    /// How long it has had one since that was noted: since up to [`WORK_KNOWN`] before the turn.
    fn since(&self) -> Duration {
        thread_work().saturating_sub(self.had)
    }
}

/// Drives the engine until the daemon has stopped. The caller then closes the engine.
///
/// # Errors
/// The disk failed; nothing was acknowledged after that, and the process must end.
pub async fn run<S: Store + 'static>(hub: &Rc<Hub<S>>) -> Result<(), Fatal> {
    // A task like those of the connections: what wakes it stands in one line with what wakes them.
    let mut task = JoinSet::new();
    task.spawn_local(make_turns(hub.clone()));
    tokio::select! {
        // It is aborted with this future only, so an error is its panic.
        Some(ended) = task.join_next() => ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
        () = hub.looks.keep() => Ok(()), // it never returns
    }
}

async fn make_turns<S: Store + 'static>(hub: Rc<Hub<S>>) -> Result<(), Fatal> {
    let hub = &hub;
    let (mut timer, clock_set) = (Timer::new(hub.clock.clone())?, ClockSet::new()?);
    let mut work = Work::now();
    hub.engine.borrow_mut().ring(&Arc::new(Bell(hub.wake.clone())).into());
    // The first turn ends the leases of the former life, before anybody can ask.
    hub.wake.notify_one();
    loop {
        tokio::select! {
            biased;
            () = hub.wake.notified() => {}
            () = timer.rings() => {}
            () = clock_set.happens() => {}
        }
        // This task goes on only after all whose bytes have come were read: they share the commit.
        looks::let_others_run().await;
        // To serve a line takes a while, in which others may have sent something, and they are not to wait for another turn.
        if hub.looks.is_due() || hub.scheduler.line_was_served() {
            hub.looks.look().await;
        }
        hub.looks.note_turn();
        let now = hub.clock.now();
        note_wall_clock(hub, now);
        // A log that takes no more for now rings when it does.
        let is_stalled = hub.engine.borrow_mut().is_stalled(now);
        let mut next = if is_stalled { None } else { turn(hub, &mut work, now)? };
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

/// Tells the engine what the wall clock shows, if that is of use to it.
fn note_wall_clock<S: Store + 'static>(hub: &Hub<S>, now: Time) {
    let mut engine = hub.engine.borrow_mut();
    if engine.follows_wall_clock() {
        engine.wall_clock_is(hub.clock.ahead_ms(), now);
    }
}

/// One turn: everything asked is decided, on disk, and answered. Returns when the next one is due.
pub(super) fn turn<S: Store + 'static>(
    hub: &Hub<S>,
    work: &mut Work,
    now: Time,
) -> Result<Option<Time>, Fatal> {
    let begun = monotonic();
    work.note(begun);
    let turned = hub.engine.borrow_mut().turn(now)?;
    let took = monotonic() - begun;
    hub.rest();
    let disk = turned.waited;
    deliver(hub, turned);
    hub.look_after_former_pools();
    let next = {
        let mut engine = hub.engine.borrow_mut();
        let next = engine.housekeep(now)?;
        engine.turn_took(now, took, || work.since());
        engine.commit_took(took);
        hub.journal.room(engine.room());
        hub.journal.shrunk(engine.shrunk());
        next
    };
    hub.scheduler.next(disk);
    Ok(next)
}

/// Hands out what a turn brought: encodes each answer into its connection's buffer, then writes each connection once.
fn deliver<S: Store + 'static>(hub: &Hub<S>, turned: Turned) {
    hub.journal.facts(&turned.facts, &hub.clock);
    let (mut touched, mut changed) = (Vec::<Rc<Connection>>::new(), Vec::new());
    let mut touch = |connection: &Rc<Connection>| {
        if !connection.touched.replace(true) {
            touched.push(connection.clone());
        }
    };
    let connections = hub.connections.open();
    let mut deliveries = turned.deliveries.into_iter();
    while let Some(delivery) = deliveries.next() {
        match delivery {
            Delivery::Answer(origin, answer) => {
                if hub.followers.take(origin, &answer) {
                    continue;
                }
                match connections.get(&origin.session) {
                    Some(connection) => {
                        touch(connection);
                        connection.say_all(Answers::new(origin, answer, &mut deliveries));
                    }
                    None => undeliverable(hub, &answer),
                }
            }
            Delivery::Revoked { session, lease, expired } => {
                let connection = hub.sessions.connection(session).and_then(|id| connections.get(&id));
                if let Some(connection) = connection {
                    connection.notify(Notice::Revoked { lease, expired });
                    touch(connection);
                }
            }
            Delivery::Changed(jobs) => changed.push(jobs),
            Delivery::Forgotten(range) => hub.outputs.forget(range, |id| hub.followers.has(id)),
        }
    }
    drop(connections);
    // Backwards: what had waited for new jobs was served last, and begins with them while producers learn that they
    // are kept.
    for connection in touched.into_iter().rev() {
        connection.touched.set(false);
        connection.flush();
    }
    // Who looks on is told last: nobody waits for it.
    changed.iter().for_each(|jobs| changes::note(hub, jobs));
    hub.connections.enforce_budget();
}

/// An answer to a connection that has closed. Jobs leased for it are given back; leases that are bound to it
/// were ended when it closed.
fn undeliverable<S: Store + 'static>(hub: &Hub<S>, answer: &Answer) {
    if let Answer::Jobs(jobs) = answer
        && !jobs.is_empty()
    {
        hub.engine.borrow_mut().undo_claim(jobs, hub.clock.now());
        hub.wake.notify_one();
    }
}
