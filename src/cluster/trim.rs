//! Lets go what no node needs of the stream any more, if this node is the owner.

use super::beat::Role;
use super::shared::{Shared, lock};
use crate::clock::monotonic;
use crate::store::{Connection, Seq};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::sleep;

/// How often, and by how many records it must be worth it.
const PAUSE: Duration = Duration::from_secs(5);
const LEAST: u64 = 1_000;

/// Does that until the node ends. `keep`: up to how many bytes the stream is kept for nodes that are not there.
pub(super) async fn trim(connection: Connection, shared: Arc<Shared>, keep: u64) {
    loop {
        sleep(PAUSE).await;
        if let Some(up_to) = needs_nothing_before(&shared, keep)
            && let Err(error) = connection.trim(up_to).await
        {
            tracing::warn!("the stream was not trimmed: {error}");
        }
    }
}

fn needs_nothing_before(shared: &Shared, keep: u64) -> Option<Seq> {
    if lock(&shared.beat).role != Role::Owner {
        return None;
    }
    // Where no server answers there is nothing to be done now.
    let (first, bytes) = {
        let stream = lock(&shared.stream);
        (stream.first?, stream.bytes?)
    };
    let home = lock(&shared.home).as_ref().map_or(0, |home| home.load(Ordering::Relaxed));
    let up_to = lock(&shared.peers).needs_nothing_before(home, bytes < keep, monotonic())?;
    (up_to >= first + LEAST).then_some(Seq(up_to))
}
