//! The queues that there are, and what their configuration says.

use crate::bounds::{self, BOUNDED};
use crate::circuits::{fused, with_circuit};
use crate::exits::on_exit;
use crate::flows::{tied, with_ties};
use crate::kept::{few_dead, with_dead_max, with_done_max};
use crate::limits::{limited, with_limits};
use crate::once;
use crate::paces::{paced, with_pace};
use crate::topics;
use crate::turns::{fair, with_turns};
use crate::weights::{WEIGHTED, with_weight};
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
    let default = QueueSettings { crashes: 6, later_max: 4, on_exit: on_exit(), ..QueueSettings::default() };
    let kept = QueueSettings {
        keep_done: Keep::For(Duration::from_secs(60)),
        keep_done_max: 100,
        ..default.clone()
    };
    let queues = [
        (fused(), with_circuit(kept)),
        (limited(), with_limits(with_done_max(default.clone()))),
        (paced(), with_pace(default.clone())),
        (fair(), with_turns(default.clone())),
        (tied(), with_ties(default.clone())),
    ];
    let bounded = BOUNDED.map(|(name, full)| {
        let settings = bounds::with_bounds(default.clone(), full);
        (named(name), if named(name) == few_dead() { with_dead_max(settings) } else { settings })
    });
    let weighted = WEIGHTED.map(|(name, weight)| (named(name), with_weight(default.clone(), weight)));
    Settings {
        queues: queues.into_iter().chain(bounded).chain(weighted).collect(),
        default,
        topics: topics::configured(),
        requests_kept: once::KEPT,
        ..Settings::default()
    }
}
