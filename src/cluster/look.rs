//! A cluster as it looks from outside: what its servers have, and which nodes give a sign of life. No node is asked, so it works
//! whatever is wrong with them.

use super::beat::{Beat, Role};
use super::peers::BEAT;
use super::sight::{sight, stream_view};
use super::{stream, subject};
use crate::clock::monotonic;
use crate::config::Cluster;
use crate::store::{Connection, StreamError};
use crate::views::ClusterView;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Each node has given several signs in this time.
const LISTEN: Duration = BEAT.saturating_mul(8);

/// Looks at a cluster: at the nodes of the configuration, and at those that it does not name.
///
/// # Errors
/// No server can be reached.
pub(crate) async fn look(cluster: &Cluster) -> Result<ClusterView, StreamError> {
    let config = stream(cluster);
    let client = config.connect().await?;
    let unusable = |detail: String| StreamError::Unusable { stream: cluster.stream_name(), detail };
    let subscribed = client.subscribe(subject(&cluster.subject(), "alive")).await;
    let mut beats = subscribed.map_err(|error| unusable(error.to_string()))?;
    let mut heard = BTreeMap::new();
    let listen = async {
        while let Some(message) = beats.next().await {
            if let Some(beat) = Beat::decode(&message.payload) {
                heard.insert(beat.node.clone(), (beat, monotonic()));
            }
        }
    };
    let find = async { Connection::find(&config).await?.look().await };
    // It listens for as long as it says.
    let ((), found) = tokio::join!(async { drop(timeout(LISTEN, listen).await) }, find);
    // The servers may have taken longer, in which nobody was listened to.
    let end = heard.values().map(|(_, at)| *at).max().unwrap_or_default();
    heard.retain(|_, (beat, _)| beat.role != Role::Gone);
    let heard = heard.into_iter().map(|(name, (beat, at))| (name, (beat, end.saturating_sub(at))));
    let mut heard: BTreeMap<_, _> = heard.collect();
    let mut nodes: Vec<_> = cluster.nodes.iter().map(|name| (name.clone(), heard.remove(name))).collect();
    nodes.extend(heard.into_iter().map(|(name, heard)| (name, Some(heard))));
    let found = found.map_err(|error| error.to_string());
    let shards = cluster.shard.map(|_| cluster.shards as u32);
    let seen = sight(nodes, stream_view(&cluster.stream_name(), found));
    Ok(ClusterView { shard: cluster.shard.map(|shard| shard as u32), shards, ..seen })
}
