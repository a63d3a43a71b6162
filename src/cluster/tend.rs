//! Looks at the stream now and then, so that this node can say how it is; and if it is the owner, lets go what no node needs any more.

use super::beat::Role;
use super::shared::{Shared, lock};
use super::sight::stream_view;
use crate::clock::monotonic;
use crate::store::{Connection, Seq, StreamError, StreamState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// How often, and by how many records it must be worth it to trim the stream.
const PAUSE: Duration = Duration::from_secs(5);
const TRIM_LEAST: u64 = 1_000;

/// Does that until the node ends. `keep`: up to how many bytes the stream is kept for nodes that are not there.
pub(super) async fn tend(connection: Connection, shared: Arc<Shared>, keep: u64) {
    loop {
        sleep(PAUSE).await;
        // Where no server answers there is nothing to be done now.
        if let Ok(state) = look(&connection, &shared).await
            && lock(&shared.beat).role == Role::Owner
        {
            trim(&connection, &shared, &state, keep).await;
        }
    }
}

/// Asks what the stream has, and notes it.
pub(super) async fn look(connection: &Connection, shared: &Shared) -> Result<StreamState, StreamError> {
    let found = connection.look().await;
    let said = found.as_ref().map_err(StreamError::to_string);
    let mut known = lock(&shared.stream);
    *known = stream_view(&known.name, said);
    found
}

async fn trim(connection: &Connection, shared: &Shared, state: &StreamState, keep: u64) {
    let home = lock(&shared.home).as_ref().map_or(0, |home| home.load(Ordering::Relaxed));
    let up_to = lock(&shared.peers).needs_nothing_before(home, state.bytes < keep, monotonic());
    let Some(up_to) = up_to.filter(|up_to| *up_to >= state.first.0 + TRIM_LEAST) else { return };
    if let Err(error) = connection.trim(Seq(up_to)).await {
        tracing::warn!("the stream was not trimmed: {error}");
    }
}
