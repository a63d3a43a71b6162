//! What limits how many jobs a queue gives out, beside how many are ready. This is the one place for it: a claim asks it,
//! `explain` names what it names, and a claim that waits is served when it allows it.

use super::command::LeaseId;
use super::decide::Core;
use super::job::{Job, QueueName, StateKind};
use super::queue::Queue;
use super::rate::Rate;
use super::settings::QueueSettings;
use super::state::State;
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
    /// The rate of its key is used up.
    PerKeyRate {
        /// The rate.
        rate: Rate,
        /// Until when.
        until: Time,
    },
    /// Its rate is used up.
    Rate {
        /// The rate.
        rate: Rate,
        /// Until when.
        until: Time,
    },
    /// Its circuit is open: one job at a time is given out.
    Circuit {
        /// How many attempts have failed in a row.
        failed: u32,
        /// The one that runs, if one does: the next follows from its end.
        probe: Option<LeaseId>,
        /// When the next one is given out, if none runs.
        until: Time,
    },
}

impl Limit {
    /// When time alone ends it; `None` if it does not.
    pub fn until(&self) -> Option<Time> {
        match self {
            Limit::Rate { until, .. }
            | Limit::PerKeyRate { until, .. }
            | Limit::Circuit { probe: None, until, .. } => Some(*until),
            Limit::Circuit { .. } | Limit::Concurrency { .. } | Limit::PerKey { .. } => None,
        }
    }
}

impl QueueSettings {
    /// How many jobs a queue with these settings may give out now by its limits, whether it has as many or not.
    pub(super) fn allowance(&self, state: &State, queue: &Queue, now: Time) -> u64 {
        self.limits(state, queue, now).map(|(allowed, _)| allowed).min().unwrap_or(u64::MAX)
    }

    /// The limits that it has reached, so that it gives out nothing.
    pub fn reached(&self, state: &State, queue: &Queue, now: Time) -> impl Iterator<Item = Limit> {
        self.limits(state, queue, now).filter(|(allowed, _)| *allowed == 0).map(|(_, limit)| limit)
    }

    /// The limits of its key that are reached, if this job of the queue has one.
    pub(super) fn reached_by_key(
        &self,
        state: &State,
        queue: &Queue,
        job: &Job,
        now: Time,
    ) -> impl Iterator<Item = Limit> + use<> {
        let at_a_time = self.per_key.zip(job.spec.key).and_then(|(limit, key)| {
            let leased = queue.leased_of(key);
            (leased >= u64::from(limit)).then_some(Limit::PerKey { leased, limit })
        });
        let rate = self.per_key_rate.zip(job.spec.key).and_then(|(rate, key)| {
            let used = state.key_used(&job.spec.queue, key, rate);
            (rate.allows(used, now) == 0).then(|| Limit::PerKeyRate { rate, until: rate.next(used, now) })
        });
        at_a_time.into_iter().chain(rate)
    }

    /// Each limit of a queue: how many jobs it still allows now, and how it is named once that is none.
    fn limits(&self, state: &State, queue: &Queue, now: Time) -> impl Iterator<Item = (u64, Limit)> {
        let leased = queue.counts().of(StateKind::Leased);
        let concurrency = self
            .concurrency
            .map(|limit| (u64::from(limit).saturating_sub(leased), Limit::Concurrency { leased, limit }));
        let used = queue.rate_used();
        let rate =
            self.rate.map(|rate| (rate.allows(used, now), Limit::Rate { rate, until: rate.next(used, now) }));
        let circuit = self.circuit_failures.and_then(|_| probe_limit(state, queue, now));
        concurrency.into_iter().chain(rate).chain(circuit)
    }
}

/// One probe at a time, if the queue's circuit is open.
fn probe_limit(state: &State, queue: &Queue, now: Time) -> Option<(u64, Limit)> {
    let (circuit, open) = (queue.circuit(), queue.circuit().open?);
    let runs = |lease: &LeaseId| state.lease(lease.id).is_some_and(|(attempt, _)| attempt == lease.attempt);
    let probe = open.probe.filter(runs);
    let limit = Limit::Circuit { failed: circuit.failed, probe, until: open.next };
    Some((u64::from(probe.is_none() && open.next <= now), limit))
}

impl Core {
    /// Whether a claim would get a job of this queue now.
    pub fn gives(&mut self, name: &QueueName, now: Time) -> bool {
        let draining = self.draining;
        self.arranged(name, now).is_some_and(|(state, queue, settings)| {
            queue.has_work() && queue.offers() && !draining && settings.allowance(state, queue, now) > 0
        })
    }

    /// A queue, with the rules for its keys in force as they are now: see [`Queue::arrange`].
    pub(super) fn arranged(
        &mut self,
        name: &QueueName,
        now: Time,
    ) -> Option<(&State, &Queue, &QueueSettings)> {
        let settings = self.settings.of(name);
        self.state.queues.get_mut(name)?.arrange(settings.key_rules(), now);
        Some((&self.state, self.state.queue(name)?, settings))
    }
}
