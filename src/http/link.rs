//! The way to the loop: a connection inside the process for each user who asks, opened with the first request and kept. The loop
//! is told whose it is, as the kernel tells it of those who come by the socket.

use crate::access::Caller;
use crate::client::{Client, ClientError};
use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc};

/// A new connection, and who is at its other end.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) stream: UnixStream,
    pub(crate) caller: Caller,
}

/// What the loop takes connections from.
pub(crate) type Calls = mpsc::Receiver<Call>;

/// The connections.
#[derive(Clone, Debug)]
pub(super) struct Link {
    calls: mpsc::Sender<Call>,
    clients: Arc<Mutex<HashMap<Caller, Client>>>,
}

impl Link {
    pub(super) fn new() -> (Link, Calls) {
        // One at a time: whoever opens the next one waits.
        let (calls, taken) = mpsc::channel(1);
        (Link { calls, clients: Arc::default() }, taken)
    }

    /// The connection of a user.
    ///
    /// # Errors
    /// The daemon ends, or has too many connections.
    pub(super) async fn client(&self, caller: &Caller) -> Result<Client, ClientError> {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(caller).filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let client = self.call(caller.clone()).await?;
        clients.insert(caller.clone(), client.clone());
        Ok(client)
    }

    /// A connection of its own.
    ///
    /// # Errors
    /// As for [`Link::client`].
    pub(super) async fn call(&self, caller: Caller) -> Result<Client, ClientError> {
        let failed = |source| ClientError::Connect { path: PathBuf::from("(inside the daemon)"), source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        for end in [&ours, &theirs] {
            end.set_nonblocking(true).map_err(failed)?;
        }
        let ours = tokio::net::UnixStream::from_std(ours).map_err(failed)?;
        let call = Call { stream: theirs, caller };
        self.calls.send(call).await.map_err(|_| ClientError::Closed(": it ends".into()))?;
        Client::greet(ours).await
    }
}
