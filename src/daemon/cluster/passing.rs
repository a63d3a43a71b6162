//! Connections that a node which stands by passes on to the owner: where they come in, and how many there may be.

use crate::access::Caller;
use crate::cluster::{Call, Wire};
use crate::server::{Peer, Taker};
use crate::stream::Stream;
use std::cell::Cell;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Passes connections on to the owner, wherever that is: so many at a time.
#[derive(Clone)]
pub(in crate::daemon) struct Passing {
    calls: mpsc::UnboundedSender<Call>,
    places: Arc<Semaphore>,
}

impl Passing {
    pub(super) fn new(calls: mpsc::UnboundedSender<Call>, most: usize) -> Passing {
        Passing { calls, places: Arc::new(Semaphore::new(most)) }
    }

    /// One that has waited already. If there is no room it is closed.
    pub(super) fn pass_at_once(&self, stream: OwnedFd, wire: Wire, caller: Caller) {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            // If the node is ending, so is the connection.
            let _ = self.calls.send(Call { stream, wire, caller, place });
        }
    }

    /// For those who speak this.
    pub(in crate::daemon) fn of(&self, wire: Wire) -> PassOn {
        PassOn { passing: self.clone(), wire, place: Cell::default() }
    }
}

/// Takes connections for the owner.
pub(in crate::daemon) struct PassOn {
    passing: Passing,
    wire: Wire,
    /// The place for whoever comes next.
    place: Cell<Option<OwnedSemaphorePermit>>,
}

impl PassOn {
    fn pass(&self, stream: Stream, caller: Caller) {
        if let (Some(place), Ok(stream)) = (self.place.take(), OwnedFd::try_from(stream)) {
            let _ = self.passing.calls.send(Call { stream, wire: self.wire, caller, place });
        }
    }

    /// The same for connections by TCP, all of one user.
    pub(in crate::daemon) fn accept_tcp(
        self,
        listener: &TcpListener,
        caller: Caller,
    ) -> io::Result<JoinHandle<()>> {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        Ok(tokio::task::spawn_local(async move {
            loop {
                self.admit().await;
                match listener.accept().await.and_then(|(stream, _)| Stream::try_from(stream)) {
                    Ok(stream) => self.pass(stream, caller.clone()),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        }))
    }
}

impl Taker for PassOn {
    async fn admit(&self) {
        let kept = self.place.take();
        let place = match kept {
            Some(place) => Some(place),
            // It is never closed.
            None => self.passing.places.clone().acquire_owned().await.ok(),
        };
        self.place.set(place);
    }

    fn take(&self, stream: Stream, peer: Peer) {
        self.pass(stream, peer.caller);
    }
}
