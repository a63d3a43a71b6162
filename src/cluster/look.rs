//! A cluster as it looks from outside: what its servers have, and which nodes give a sign of life. No node is asked, so it works
//! whatever is wrong with them.

use super::beat::{Beat, Role};
use super::peers::BEAT;
use super::{stream, subject};
use crate::config::Cluster;
use crate::store::{Connection, StreamError, StreamState};
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Each node has given several signs in this time.
const LISTEN: Duration = BEAT.saturating_mul(8);

/// What was found.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The stream, if the servers say what it is.
    pub(crate) stream: Result<StreamState, StreamError>,
    /// The nodes of the configuration in its order, and those that it does not name, each with its newest sign of life.
    pub(crate) nodes: Vec<(String, Option<Beat>)>,
}

impl Seen {
    /// The node that runs the queue: the one with the newest ownership, should another one not know yet that it is over.
    pub(crate) fn owner(&self) -> Option<&Beat> {
        let beats = self.nodes.iter().filter_map(|(_, beat)| beat.as_ref());
        beats.filter(|beat| beat.role == Role::Owner).max_by_key(|beat| beat.epoch)
    }
}

/// Looks at a cluster.
///
/// # Errors
/// No server can be reached.
pub(crate) async fn look(cluster: &Cluster) -> Result<Seen, StreamError> {
    let config = stream(cluster);
    let client = config.connect().await?;
    let unusable = |detail: String| StreamError::Unusable { stream: cluster.stream.clone(), detail };
    let subscribed = client.subscribe(subject(&cluster.stream, "alive")).await;
    let mut beats = subscribed.map_err(|error| unusable(error.to_string()))?;
    let mut heard = BTreeMap::new();
    let listen = async {
        while let Some(message) = beats.next().await {
            if let Some(beat) = Beat::decode(&message.payload) {
                heard.insert(beat.node.clone(), beat);
            }
        }
    };
    let find = async { Connection::find(&config).await?.look().await };
    // It listens for as long as it says; the servers may take longer.
    let (_, stream) = tokio::join!(timeout(LISTEN, listen), find);
    heard.retain(|_, beat| beat.role != Role::Gone);
    let mut nodes: Vec<_> = cluster.nodes.iter().map(|name| (name.clone(), heard.remove(name))).collect();
    nodes.extend(heard.into_iter().map(|(name, beat)| (name, Some(beat))));
    Ok(Seen { stream, nodes })
}
