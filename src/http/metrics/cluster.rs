//! The cluster, as the node sees it that is asked.

use super::text::Text;
use crate::protocol::admin::{ClusterView, NodeView};

/// What is told of a shard: its name, what it is, and its value, if that is known.
type Gauge = (&'static str, &'static str, fn(&ClusterView) -> Option<f64>);

/// All of it: of each shard, with its number where there are several.
pub(super) fn write(text: &mut Text, seen: &[ClusterView]) {
    let numbers: Vec<_> = seen.iter().map(|view| view.shard.map(|shard| shard.to_string())).collect();
    let shards =
        || seen.iter().zip(numbers.iter().map(|number| number.as_deref().map(|number| ("shard", number))));
    let gauges: [Gauge; 5] = [
        ("musher_cluster_epoch", "Number of the newest ownership: it grows with each takeover.", |view| {
            Some(view.epoch as f64)
        }),
        ("musher_cluster_is_owner", "Whether this node runs the queue: 1 or 0.", |view| {
            Some(f64::from(u8::from(view.is_of_owner())))
        }),
        (
            "musher_cluster_unanswered_seconds",
            "For how long the servers have said nothing of the stream to this node, the owner.",
            |view| view.unanswered_ms.map(|ms| ms as f64 / 1e3),
        ),
        ("musher_cluster_stream_records", "Records of the stream.", |view| {
            view.stream.records().map(|records| records as f64)
        }),
        ("musher_cluster_stream_bytes", "Bytes of the stream.", |view| {
            view.stream.bytes.map(|bytes| bytes as f64)
        }),
    ];
    for (name, help, of) in gauges {
        text.gauge(name, help);
        for (view, shard) in shards() {
            if let Some(value) = of(view) {
                text.sample(name, &Vec::from_iter(shard), value);
            }
        }
    }
    let name = "musher_cluster_nodes";
    text.gauge(name, "Nodes of the configuration by what they are.");
    for (view, shard) in shards() {
        for role in ["owner", "standby", "starting", "absent"] {
            let count = view.nodes.iter().filter(|node| node.role == role).count();
            text.sample(name, &[("role", role)].into_iter().chain(shard).collect::<Vec<_>>(), count);
        }
    }
    let name = "musher_cluster_node_behind_commits";
    text.gauge(name, "How many commits the owner has more than a node, by its last sign of life.");
    for (view, shard) in shards() {
        for NodeView { node, behind, .. } in &view.nodes {
            if let Some(behind) = behind {
                text.sample(
                    name,
                    &[("node", node.as_str())].into_iter().chain(shard).collect::<Vec<_>>(),
                    behind,
                );
            }
        }
    }
}
