//! Two queues with weights: where one claim names both, and both have work, each gets its share, in any stretch of claims and
//! over crashes.

use crate::clients::{Asked, Clients, group};
use crate::oracle::Oracle;
use crate::queues::named;
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{Claim, ClaimOrder, Groups, Holder, QueueName, QueueSettings, StateKind};
use std::time::Duration;

/// The queues, and their weights.
pub(crate) const WEIGHTED: [(&str, u32); 2] = [("light", 1), ("heavy", 3)];

pub(crate) fn with_weight(settings: QueueSettings, weight: u32) -> QueueSettings {
    QueueSettings { weight: Some(weight), ..settings }
}

/// How many leases each has given when both could.
#[derive(Debug, Default)]
pub(crate) struct Shares([u32; 2]);

impl Shares {
    fn check(&self) {
        let all = f64::from(self.0.iter().sum::<u32>());
        let share = all * f64::from(WEIGHTED[0].1) / f64::from(WEIGHTED[0].1 + WEIGHTED[1].1);
        // Crashes take turns back.
        let few = 6.0 + 1.5 * all.sqrt();
        let is_fair = (f64::from(self.0[0]) - share).abs() <= few;
        assert!(is_fair, "{} and {} have given {:?} leases", WEIGHTED[0].0, WEIGHTED[1].0, self.0);
    }
}

/// How many jobs each has ready, and how many it has given out.
fn ready_and_given(life: &Life) -> [(u64, u64); 2] {
    WEIGHTED.map(|(name, _)| {
        let queue = life.engine.core().state.queue(&named(name));
        queue.map_or((0, 0), |queue| (queue.counts().of(StateKind::Ready), queue.totals().claimed))
    })
}

impl Clients {
    /// Submits to one of them, or claims from both.
    pub(crate) fn play_weights(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let before = ready_and_given(life);
        if before.iter().any(|(ready, _)| *ready == 0) {
            let (_, name) = before.into_iter().zip(WEIGHTED).min().map(|(_, it)| ((), it.0)).expect("two");
            let mut sent = Vec::new();
            let count = 1 + rng.u64(..6);
            let jobs = group(rng, &mut sent, named(name), count, life.now);
            return self.submit_plain(rng, oracle, life, (Groups::from_iter([jobs]), sent));
        }
        let lease = Duration::from_secs(60);
        let queues: Vec<QueueName> = WEIGHTED.iter().map(|(name, _)| named(name)).collect();
        let claim = Claim {
            queues,
            max: 1,
            lease: Some(lease),
            holder: Holder::Anyone,
            worker: None,
            order: ClaimOrder::AsNamed,
        };
        let asked = Asked::claim(oracle, None, lease, life.now, life.now);
        let origin = self.ask(rng, asked);
        life.engine.claim(origin, claim, life.now, life.now);
        for (nth, (_, given)) in ready_and_given(life).into_iter().enumerate() {
            oracle.shares.0[nth] += (given - before[nth].1) as u32;
        }
        oracle.shares.check();
    }
}
