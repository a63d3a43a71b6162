//! A worker says who it is, so that its leases outlive the daemon, and which of them it has, when it has come back; or that it leaves and
//! comes back. It decides nothing: what is in force the core knows.

use super::connection::Connection;
use super::encoder::Notice;
use super::fault::{Fault, Kind};
use super::hub::Hub;
use super::requests::RequestContext;
use super::sessions::Sessions;
use crate::core::{LeaseId, Visibility};
use crate::engine::{Answer, Drain};
use crate::store::Store;

/// The longest name of a worker, in bytes.
const NAME_MAX: usize = 200;

/// Begins a session, or goes on with one.
pub(crate) fn take_up<S: Store + 'static>(
    hub: &Hub<S>,
    connection: &Connection,
    context: RequestContext<'_>,
    (name, token): (&str, [u8; 16]),
    leases: Vec<LeaseId>,
) -> Result<(), Fault> {
    if name.len() > NAME_MAX {
        let message = format!("a worker's name has at most {NAME_MAX} bytes, this one {}", name.len());
        return Err(Fault::new(Kind::TooLarge, message));
    }
    if hub.sessions.of(connection.id).is_some() {
        return Err(Fault::new(Kind::Invalid, "this connection has said already which worker it is"));
    }
    let number = |is_pool| Sessions::number(context.peer.caller.uid, (name, token), is_pool);
    // The pool of a former daemon comes by the socket, as others do; what it holds says what it is.
    let is_pool = |session| hub.engine.borrow().core().state.held_by(session).next().is_some();
    let session = number(context.peer.pool || is_pool(number(true)));
    if !hub.sessions.begin(connection.id, session) {
        let message = "another connection of this worker is open still, or is just being closed: try again";
        return Err(Fault::new(Kind::Busy, message));
    }
    let permissions = hub.permissions(context.peer);
    let visibility = |spec: &_| permissions.works(spec);
    let mut engine = hub.engine.borrow_mut();
    engine.take_up(context.origin, (session, leases), Visibility::of(&visibility), context.now);
    if let Drain::Stopping { deadline, .. } = engine.drain() {
        // All others were told when that began.
        connection.notify(Notice::Stopping(deadline.since(context.now)));
    }
    Ok(())
}

/// The worker of a connection leaves, and comes back by another one: what it holds stays its own for a while.
pub(crate) fn leave<S: Store + 'static>(
    hub: &Hub<S>,
    connection: &Connection,
    context: RequestContext<'_>,
) -> Result<(), Fault> {
    if hub.sessions.of(connection.id).is_none() {
        return Err(Fault::new(Kind::Invalid, "a worker that has not said who it is cannot come back"));
    }
    connection.leaves.set(true);
    hub.engine.borrow_mut().answer(context.origin, Answer::Ok);
    Ok(())
}
