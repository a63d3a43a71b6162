//! The queues that there are, and what their configuration says.

use crate::bounds::{self, BOUNDED};
use crate::limits::{limited, with_circuit, with_limits};
use crate::once;
use musher::core::{Keep, QueueName, QueueSettings, Settings};
use std::time::Duration;

/// One of those that most jobs go to.
pub(crate) fn queue(nth: usize) -> QueueName {
    named(["mails", "images", "reports"][nth % 3])
}

pub(crate) fn named(name: &str) -> QueueName {
    QueueName::new(name).expect("a good name")
}

/// Queues that differ in what they keep, and in what they allow.
pub(crate) fn settings() -> Settings {
    let default = QueueSettings { crashes: 6, later_max: 4, ..QueueSettings::default() };
    let kept = |keep_done, keep_done_max| QueueSettings { keep_done, keep_done_max, ..default.clone() };
    let queues = [
        (queue(1), with_circuit(kept(Keep::For(Duration::from_secs(60)), 100))),
        (limited(), with_limits(kept(Keep::Forever, 20))),
    ];
    let bounded = BOUNDED.map(|(name, full)| (named(name), bounds::with_bounds(default.clone(), full)));
    Settings {
        queues: queues.into_iter().chain(bounded).collect(),
        default,
        requests_kept: once::KEPT,
        ..Settings::default()
    }
}
