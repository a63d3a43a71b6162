//! Connections by TCP. The kernel does not say who is at the other end of one, so whoever it is stands for one user, whom the
//! configuration names.

use super::front::Front;
use super::hub::Hub;
use super::peer::Peer;
use super::serve;
use crate::access::Caller;
use crate::store::Store;
use crate::stream::Stream;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// How long to wait before a connection is accepted after one could not be.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections, all of them of this caller, until the task is aborted.
///
/// # Errors
/// The loop cannot use the listener.
pub(crate) fn accept_tcp<F: Front, S: Store + 'static>(
    hub: &Rc<Hub<S>>,
    listener: StdListener,
    caller: Caller,
    make: impl Fn() -> F + 'static,
) -> io::Result<JoinHandle<()>> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let hub = hub.clone();
    Ok(tokio::task::spawn_local(async move {
        loop {
            hub.admit_arrival().await;
            match accept(&listener).await {
                Ok(stream) => {
                    let peer = Peer { caller: caller.clone(), pid: 0, pool: false };
                    hub.arrive(|| serve::open(&hub, stream, peer, make()));
                }
                // Out of file descriptors, say: others are served, and this is tried again.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(PAUSE).await;
                }
            }
        }
    }))
}

async fn accept(listener: &TcpListener) -> io::Result<Stream> {
    let (stream, _) = listener.accept().await?;
    // Answers leave when they are there. One that has closed already is served to its end.
    let _ = stream.set_nodelay(true);
    stream.try_into()
}
