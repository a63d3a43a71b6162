//! Sends a job's output to a client that asked for it, until the job has ended. The front encodes the pieces.

use super::connection::Connection;
use super::encoder::Part;
use super::fault::Fault;
use super::followers::Follower;
use super::hub::Hub;
use super::output::pieces;
use super::requests::{RequestContext, not_found};
use crate::core::{JobId, Time};
use crate::store::Store;
use std::rc::Rc;

/// Begins to send it; with `follow` all that comes until the job has ended.
pub(crate) fn start<S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    connection: &Rc<Connection>,
    context: RequestContext<'_>,
    id: JobId,
    follow: bool,
) -> Result<(), Fault> {
    let (known, hidden) = {
        let (permissions, engine) = (hub.permissions(context.peer), hub.engine.borrow());
        let (state, known) = (&engine.core().state, engine.core().state.contains(id));
        // Whose a job was that is gone, nobody knows any more.
        (known, if known { permissions.hides(state, id) } else { !permissions.reads_everything() })
    };
    if hidden || (!known && !hub.outputs.has(id)) {
        return Err(not_found(id));
    }
    let follower = hub.followers.add(id, context.origin, !known || !follow);
    if known && follow {
        hub.engine.borrow_mut().wait(context.origin, vec![id], |_, _| false, Time::NEVER, context.now);
    }
    tokio::task::spawn_local(send(hub.clone(), connection.clone(), follower, id));
    Ok(())
}

async fn send<S: Store + 'static>(
    hub: Rc<Hub<S>>,
    connection: Rc<Connection>,
    follower: Rc<Follower>,
    id: JobId,
) {
    let request = follower.origin.request;
    let (mut offset, mut generation) = (0, hub.outputs.generation(id));
    let end = loop {
        if hub.permissions(&connection.peer).hides(&hub.engine.borrow().core().state, id) {
            // The rules have changed meanwhile.
            break Err(not_found(id));
        }
        // Asked before the read: what came before the end is in the file by then.
        let ended = follower.ended.get();
        if generation != hub.outputs.generation(id) {
            (offset, generation) = (0, hub.outputs.generation(id));
        }
        let data = hub.outputs.read(id, offset).await;
        let whole = pieces(data.into(), |attempt, stream, data| {
            connection.say_part(request, Part::Output { attempt, stream, data });
        });
        offset += whole;
        if whole > 0 {
            connection.flush();
            hub.connections.enforce_budget();
            connection.until_drained().await;
        } else if ended || !hub.connections.has(connection.id) {
            break Ok(());
        } else {
            tokio::select! {
                () = follower.more.notified() => {}
                () = connection.closed.notified() => {}
            }
        }
    };
    connection.say_part(request, Part::End(end));
    connection.flush();
    let is_last = hub.followers.remove(id, &follower);
    if is_last && !hub.engine.borrow().core().state.contains(id) {
        hub.outputs.remove(id);
    }
}
