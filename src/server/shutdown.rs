//! How a daemon that has stopped ends its connections. Requests may be on their way to it at any moment, so there is a
//! cut: what was sent before it is answered, and what is sent after it fails at the sender. Clients that are not
//! connected yet stay in the socket's queue, for the next daemon if the socket belongs to the service manager.

use super::connection::Connection;
use super::event_loop::{Fatal, Work, turn};
use super::hub::Hub;
use crate::store::Store;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

/// How long a connection that has just come may take for its first request, and how long the reading and the
/// writing of what is left may take. A healthy client needs less than a hundredth of it.
const STEP_TIME_MAX: Duration = Duration::from_secs(1);

/// Ends all connections without losing what they have sent. The caller then closes the engine.
///
/// # Errors
/// The disk failed, as for [`run`](super::run).
pub async fn close_connections<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    accepting: Vec<JoinHandle<()>>,
) -> Result<(), Fatal> {
    for accepting in accepting {
        accepting.abort();
        // An error says that it was aborted, which is what is waited for.
        let _ = accepting.await;
    }
    turns_until(hub, |connection| !connection.is_about_to_ask(STEP_TIME_MAX)).await?;
    hub.is_ending.set(true);
    let connections: Vec<_> = hub.connections.open().values().cloned().collect();
    connections.iter().for_each(|connection| connection.stop_taking());
    turns_until(hub, |connection| connection.is_read.get()).await?;
    let deadline = Instant::now() + STEP_TIME_MAX;
    for connection in connections {
        // Who does not read its answers has to do without them.
        let _ = timeout_at(deadline, connection.until_unsent(0)).await;
    }
    Ok(())
}

/// Makes turns until that holds for all connections and all are answered, or patience ends.
async fn turns_until<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    holds: impl Fn(&Connection) -> bool,
) -> Result<(), Fatal> {
    let (mut work, deadline) = (Work::now(), Instant::now() + STEP_TIME_MAX);
    loop {
        // Looked at before the turn, so that the last turn answers whatever was read.
        let is_late = Instant::now() >= deadline;
        let over = is_late || hub.connections.open().values().all(|connection| holds(connection));
        turn(hub, &mut work, hub.clock.now())?;
        if over && (is_late || !hub.engine.borrow().owes_answers()) {
            return Ok(());
        }
        tokio::select! {
            () = hub.wake.notified() => tokio::task::yield_now().await,
            () = sleep_until(deadline) => {}
        }
    }
}
