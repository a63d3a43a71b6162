//! A cluster, as one of its nodes sees it, or somebody who listens to them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterView {
    /// Which shard of several this is, from 0 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u32>,
    /// How many there are, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<u32>,
    /// The node that says this. Nothing if it was said by none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The node that runs the queue, if it has given a sign of life within the last second.
    pub owner: Option<String>,
    /// The number of the newest ownership. It grows with each takeover.
    pub epoch: u64,
    /// The nodes of the configuration, in the order in which they take over.
    pub nodes: Vec<NodeView>,
    /// The log on the servers.
    pub stream: StreamView,
    /// For how long the servers have said nothing of the stream to the owner, in milliseconds; only the owner says that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered_ms: Option<u64>,
}

impl ClusterView {
    /// Whether the node that says it is the owner.
    pub fn is_of_owner(&self) -> bool {
        self.node.is_some() && self.node == self.owner
    }
}

/// One of several shards of a cluster, as its owner has answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ShardView {
    /// Its number, from 0 on.
    pub shard: u32,
    /// The node that runs its queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its newest commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// `running`, `draining` (by hand) or `stopping`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Why nothing is known of it, and the rest is without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A node of a cluster, by its newest sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// `owner`, `standby`, `starting` (it reads what it does not have yet), or `absent`: no sign of life for a second.
    pub role: String,
    /// The version of its program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The newest commit that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<u64>,
    /// How many commits the owner has more, if the node is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<u64>,
    /// The first record of the stream that it still needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<u64>,
    /// How long ago the sign came, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
}

/// The stream of a cluster, when the servers have last said how it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamView {
    /// Its name.
    pub name: String,
    /// Its oldest record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<u64>,
    /// Its newest record; before the oldest if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<u64>,
    /// How many bytes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The server that leads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Why the servers do not say how it is, if they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl StreamView {
    /// How many records it has, if that is known.
    pub fn records(&self) -> Option<u64> {
        // Records are numbered from 1 on; a stream that never had one says 0.
        Some((self.last? + 1).saturating_sub(self.first?.max(1)))
    }
}
