//! What the limits of a queue promise, seen by what clients are told: never more leases in force than may be at a time,
//! and in no stretch of time more leases than its rate allows.

use crate::queues::queue;
use musher::core::{Key, QueueName, QueueSettings, Rate, Time};
use std::collections::VecDeque;
use std::time::Duration;

/// The most leases at a time.
const CONCURRENCY: u32 = 6;
/// The most of those with the same key.
const PER_KEY: u32 = 1;
/// So many leases in [`PER`], and so many of them at once.
const COUNT: u32 = 30;
const PER: Duration = Duration::from_secs(1);
const BURST: u32 = 4;

/// How many leases are remembered.
const REMEMBERED: usize = 200;

/// The queue that has limits.
pub(crate) fn limited() -> QueueName {
    queue(2)
}

/// With the limits of that queue.
pub(crate) fn with_limits(settings: QueueSettings) -> QueueSettings {
    QueueSettings {
        concurrency: Some(CONCURRENCY),
        per_key: Some(PER_KEY),
        rate: Rate::new(COUNT, PER, Some(BURST)),
        ..settings
    }
}

/// When leases of the queue were given, as far as anybody was told.
#[derive(Debug, Default)]
pub(crate) struct Given(VecDeque<Time>);

impl Given {
    /// A lease was given to a job with this key, if it has one; leases of jobs with these are in force for sure. When that was
    /// is not known if it ends by a deadline.
    pub(crate) fn check(&mut self, at: Result<Time, Time>, key: Option<Key>, in_force: &[Option<Key>]) {
        let others = in_force.len();
        assert!(others < CONCURRENCY as usize, "{others} leases are in force, and another one is given");
        let of_key = in_force.iter().filter(|other| key.is_some() && **other == key).count();
        assert!(
            of_key < PER_KEY as usize,
            "{of_key} leases of {key:?} are in force, and another one is given"
        );
        let Ok(at) = at else { return };
        self.0.push_back(at);
        while self.0.len() > REMEMBERED {
            self.0.pop_front();
        }
        for (before, from) in self.0.iter().rev().enumerate() {
            let most =
                u128::from(BURST) + u128::from(at.0 - from.0 + 10) * u128::from(COUNT) / PER.as_millis();
            assert!(
                (before as u128) < most,
                "{} leases from {from} to {at}: the rate allows {most}",
                before + 1
            );
        }
    }
}
