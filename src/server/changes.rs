//! Tells clients what becomes of jobs, as it happens: of those that they may see. A client that reads slowly, or not at all, holds up
//! nobody: what it misses is counted, and it is told that.

use super::connection::Connection;
use super::encoder::{Moved, Part};
use super::fault::{Fault, Kind};
use super::hub::Hub;
use super::requests::{RequestContext, not_found};
use super::viewers::{Noted, Viewer, Wanted};
use crate::clock::Clock;
use crate::core::Spec;
use crate::engine::{ChangedJobs, Origin};
use crate::store::Store;
use std::rc::Rc;
use std::time::Duration;

/// While more than this waits to be written, nothing is added.
const UNSENT_MAX: usize = 16 << 10;
/// What happens within this time is told at once.
const PACE: Duration = Duration::from_millis(100);

/// Begins to tell, until the request is taken back (as a wait is), the connection ends, or the daemon.
pub(crate) fn start<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    connection: &Rc<Connection>,
    context: RequestContext<'_>,
    wanted: Wanted,
) -> Result<(), Fault> {
    if let Some(id) = wanted.job {
        let (permissions, engine) = (hub.permissions(context.peer), hub.engine.borrow());
        let state = &engine.core().state;
        if !state.contains(id) || permissions.hides(state, id) {
            return Err(not_found(id));
        }
    }
    let Some(viewer) = hub.viewers.add(context.origin, context.peer.caller.uid, wanted) else {
        return Err(Fault::new(Kind::Busy, "too many requests follow what becomes of jobs: try again later"));
    };
    hub.engine.borrow_mut().follow_changes(true);
    tokio::task::spawn_local(send(hub.clone(), connection.clone(), viewer));
    Ok(())
}

/// Notes what a commit has changed, for all who follow that.
pub(super) fn note<S: Store + 'static>(hub: &Hub<S>, changed: &ChangedJobs) {
    let connections = hub.connections.open();
    hub.viewers.note(changed, |origin: Origin| {
        let permissions = hub.permissions(&connections.get(&origin.session)?.peer);
        Some(move |spec: &Spec| permissions.reads(spec))
    });
}

async fn send<S: Store + 'static>(hub: Rc<Hub<S>>, connection: Rc<Connection>, viewer: Rc<Viewer>) {
    let request = viewer.origin.request;
    // That it has begun is told at once: what happens from here on is.
    tell(&hub, &connection, request, Noted::default());
    while hub.connections.has(connection.id) {
        let noted = viewer.take();
        if !noted.is_empty() {
            tell(&hub, &connection, request, noted);
            tokio::time::sleep(PACE).await;
            connection.until_unsent(UNSENT_MAX).await;
            continue;
        }
        if viewer.is_over.get() || hub.is_stopping() {
            break;
        }
        tokio::select! {
            () = viewer.more.notified() => {}
            () = connection.closed.notified() => {}
        }
    }
    if hub.viewers.remove(&viewer) {
        hub.engine.borrow_mut().follow_changes(false);
    }
    connection.say_part(request, Part::End(Ok(())));
    connection.flush();
}

fn tell<S: Store + 'static>(hub: &Hub<S>, connection: &Connection, request: u32, noted: Noted) {
    let ahead_ms = hub.clock.ahead_ms();
    let moved = noted.changes.into_iter().map(|(at, changed)| Moved {
        jobs: changed.jobs,
        queue: changed.spec.queue.shared(),
        state: changed.state,
        at: Clock::shown_if_ahead(at, ahead_ms),
    });
    // More than is known, and at least this.
    let missed = noted.missed.max(u64::from(noted.is_unsure));
    connection.say_part(request, Part::Changes { changes: moved.collect(), missed });
    connection.flush();
    hub.connections.enforce_budget();
}
