//! Sees to it that the stream is led by the server by which this node is connected, if it is the owner: each commit goes to the leader and
//! back. That the two of them die together is no loss: if the leader dies nobody goes on before there is another one, wherever the owner is.

use super::beat::Role;
use super::shared::{Shared, lock};
use crate::store::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How often an owner looks which server leads. Twice in turn it must be another one: after an election or a takeover there is enough to do.
const LOOK: Duration = Duration::from_secs(5);
/// How long nothing more is asked for: appends wait while another server begins to lead, and perhaps it was no use.
const AGAIN: Duration = Duration::from_secs(60);

/// Does that until the node ends.
pub(super) async fn keep_near(connection: Connection, shared: Arc<Shared>) {
    let mut wanted = None;
    loop {
        sleep(LOOK).await;
        let is_owner = lock(&shared.beat).role == Role::Owner;
        // Where no server answers there is nothing to be done now.
        let found = if is_owner { connection.could_lead().await.ok().flatten() } else { None };
        let before = std::mem::replace(&mut wanted, found);
        let Some(server) = wanted.take_if(|server| before.as_ref() == Some(server)) else { continue };
        match connection.let_lead(&server).await {
            Ok(()) => tracing::info!(
                "server `{server}` leads the stream from now on, as this node is connected to it"
            ),
            Err(error) => tracing::info!(
                "server `{server}`, to which this node is connected, does not lead the stream: {error}"
            ),
        }
        sleep(AGAIN).await;
    }
}
