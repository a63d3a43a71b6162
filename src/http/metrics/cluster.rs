//! The cluster, as the node sees it that is asked.

use super::text::Text;
use crate::protocol::admin::{ClusterView, NodeView};

/// All of it.
pub(super) fn write(text: &mut Text, seen: &ClusterView) {
    let ClusterView { epoch, nodes, stream, unanswered_ms, .. } = seen;
    let whole = |number: Option<u64>| number.map(|number| number as f64);
    let gauges = [
        (
            "musher_cluster_epoch",
            "Number of the newest ownership: it grows with each takeover.",
            Some(*epoch as f64),
        ),
        ("musher_cluster_is_owner", "Whether this node runs the queue: 1 or 0.", {
            Some(f64::from(u8::from(seen.is_of_owner())))
        }),
        (
            "musher_cluster_unanswered_seconds",
            "For how long the servers have said nothing of the stream to this node, the owner.",
            { unanswered_ms.map(|ms| ms as f64 / 1e3) },
        ),
        ("musher_cluster_stream_records", "Records of the stream.", whole(stream.records())),
        ("musher_cluster_stream_bytes", "Bytes of the stream.", whole(stream.bytes)),
    ];
    for (name, help, value) in gauges {
        text.gauge(name, help);
        if let Some(value) = value {
            text.sample(name, &[], value);
        }
    }
    let name = "musher_cluster_nodes";
    text.gauge(name, "Nodes of the configuration by what they are.");
    for role in ["owner", "standby", "starting", "absent"] {
        let count = nodes.iter().filter(|node| node.role == role).count();
        text.sample(name, &[("role", role)], count);
    }
    let name = "musher_cluster_node_behind_commits";
    text.gauge(name, "How many commits the owner has more than a node, by its last sign of life.");
    for NodeView { node, behind, .. } in nodes {
        if let Some(behind) = behind {
            text.sample(name, &[("node", node)], behind);
        }
    }
}
