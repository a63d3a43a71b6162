//! What limits how many jobs a queue gives out, beside how many are ready. This is the one place for it: a claim asks it,
//! `explain` names what it names, and a claim that waits is served when it allows it.

use super::decide::Core;
use super::job::{Job, QueueName, StateKind};
use super::queue::Queue;
use super::rate::Rate;
use super::settings::QueueSettings;
use super::time::Time;

/// A limit that a queue has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As many of its jobs are leased as may be.
    Concurrency {
        /// How many are.
        leased: u64,
        /// How many may be.
        limit: u32,
    },
    /// As many jobs with the same key are leased as may be.
    PerKey {
        /// How many are.
        leased: u64,
        /// How many may be.
        limit: u32,
    },
    /// Its rate is used up.
    Rate {
        /// The rate.
        rate: Rate,
        /// Until when.
        until: Time,
    },
}

impl QueueSettings {
    /// How many jobs a queue with these settings may give out now by its limits, whether it has as many or not.
    pub(super) fn allowance(&self, queue: &Queue, now: Time) -> u64 {
        self.limits(queue, now).map(|(allowed, _)| allowed).min().unwrap_or(u64::MAX)
    }

    /// The limits that it has reached, so that it gives out nothing.
    pub fn reached(&self, queue: &Queue, now: Time) -> impl Iterator<Item = Limit> {
        self.limits(queue, now).filter(|(allowed, _)| *allowed == 0).map(|(_, limit)| limit)
    }

    /// The limit of its key, if this job of the queue has one and it is reached.
    pub(super) fn reached_by_key(&self, queue: &Queue, job: &Job) -> Option<Limit> {
        let (limit, key) = self.per_key.zip(job.spec.key)?;
        let leased = queue.leased_of(key);
        (leased >= u64::from(limit)).then_some(Limit::PerKey { leased, limit })
    }

    /// Each limit of a queue: how many jobs it still allows now, and how it is named once that is none.
    fn limits(&self, queue: &Queue, now: Time) -> impl Iterator<Item = (u64, Limit)> {
        let leased = queue.counts().of(StateKind::Leased);
        let concurrency = self
            .concurrency
            .map(|limit| (u64::from(limit).saturating_sub(leased), Limit::Concurrency { leased, limit }));
        let used = queue.rate_used();
        let rate =
            self.rate.map(|rate| (rate.allows(used, now), Limit::Rate { rate, until: rate.next(used, now) }));
        concurrency.into_iter().chain(rate)
    }
}

impl Core {
    /// Whether a claim would get a job of this queue now.
    pub fn gives(&self, name: &QueueName, now: Time) -> bool {
        let Some(queue) = self.state.queue(name).filter(|queue| queue.has_work()) else { return false };
        let settings = self.settings.of(name);
        !self.draining && queue.offers(settings.per_key) && settings.allowance(queue, now) > 0
    }
}
