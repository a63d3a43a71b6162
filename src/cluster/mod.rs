//! One node of a cluster: several machines that have the same jobs in the same order, as a stream on NATS servers has them
//! (`store/log/replicated`). One of them, the owner, runs the queue. The others stand by: they take in what the owner commits, pass
//! on to it whoever connects to them, and take over when it is silent.
//!
//! - `node`: the thread that speaks to the servers, and what a node is in turn: connected, a follower, the owner
//! - `shared`: what its tasks share
//! - `records`: the stream as it is read
//! - `peers`: who is there, who is silent, and whose turn it is to take over; it decides, and knows no servers
//! - `beat`: the signs of life
//! - `servers`: by which server a node is connected; `leader`: and that this one leads the stream
//! - `handover`: giving the queue to another node; `verify`: whether all have the same state
//! - `trim`: what no node needs of the stream any more
//! - `sight`: how all of that looks, to a node and (`look`) from outside
//! - `tunnel`: connections that are passed on
//!
//! It knows commits as bytes with numbers. What becomes of them, and what is said in the connections, it does not know.

mod beat;
mod handover;
mod leader;
mod look;
mod node;
mod peers;
mod records;
mod servers;
mod shared;
mod sight;
#[cfg(test)]
mod tests;
mod trim;
mod tunnel;
mod verify;

pub(crate) use handover::{AskError, hand_over};
pub(crate) use look::look;
pub(crate) use node::{Begin, Followed, Node};
pub(crate) use shared::OwnSight;
pub(crate) use tunnel::{Call, Wire};
pub(crate) use verify::{Rest, Verified, verify};

use crate::config::Cluster;
use crate::store::{StreamConfig, Tls};

/// Where the stream of a cluster is.
pub(crate) fn stream(cluster: &Cluster) -> StreamConfig {
    StreamConfig {
        servers: cluster.nats.clone(),
        credentials: cluster.credentials.clone(),
        tls: cluster.tls.as_ref().map(|tls| Tls { ca: tls.ca.clone(), identity: tls.identity.clone() }),
        stream: cluster.stream_name(),
        subject: cluster.subject(),
        shards: cluster.shard.map(|_| cluster.shards),
        replicas: cluster.replicas,
    }
}

/// The subject of something that nodes say to each other: behind that of the stream, so that a server's rule for who may do what
/// needs only one pattern.
fn subject(root: &str, what: &str) -> String {
    format!("{root}.{what}")
}
