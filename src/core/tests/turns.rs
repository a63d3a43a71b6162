//! Who is next, as the naive model has it: one look at all jobs for each that is given out.

use super::model::{Model, Plain};
use crate::core::*;

impl Model {
    /// Whether its key lets a ready job go: it is the first of those that have it, and not too many of them are leased.
    fn may_go(&self, at: usize) -> bool {
        let (id, job) = (&self.jobs[at].0, &self.jobs[at].1);
        if job.spec.key.is_none() {
            return true;
        }
        let others = || {
            let alike = |other: &&(u64, Plain)| {
                (&other.1.spec.queue, other.1.spec.key) == (&job.spec.queue, job.spec.key)
            };
            self.jobs.iter().filter(alike)
        };
        let first = others().filter(|(_, other)| other.state == JobState::Ready);
        let first = first.min_by_key(|(id, other)| (other.spec.priority, *id));
        let leased = others().filter(|(_, other)| other.state.kind() == StateKind::Leased).count();
        let per_key = self.settings.of(&job.spec.queue).per_key;
        let rate = self.settings.of(&job.spec.queue).per_key_rate;
        let is_in_time = rate.zip(job.spec.key).is_none_or(|(rate, key)| {
            rate.allows(self.key_used(&job.spec.queue, key, rate), Time(self.now)) > 0
        });
        first.is_some_and(|(first, _)| first == id)
            && per_key.is_none_or(|most| leased < most as usize)
            && is_in_time
    }

    /// What is used of a rate of a key. What another rate has used does not count.
    pub(super) fn key_used(&self, queue: &QueueName, key: Key, rate: Rate) -> RateUsed {
        let found = self.keys.iter().find(|(name, of, ..)| (name, *of) == (queue, key));
        found.filter(|(.., of, _)| *of == rate).map_or(RateUsed(0), |(.., used)| *used)
    }

    /// A job of a key is leased.
    pub(super) fn serve_key(&mut self, queue: &QueueName, key: Key, rate: Rate) {
        let used = rate.use_up(self.key_used(queue, key, rate), Time(self.now), 1);
        self.keys.retain(|(name, of, ..)| (name, *of) != (queue, key));
        self.keys.push((queue.clone(), key, rate, used));
    }

    /// The place of the next job of a queue.
    pub(super) fn next(&self, name: &QueueName) -> Option<usize> {
        let is_ready =
            |at: &usize| self.jobs[*at].1.spec.queue == *name && self.jobs[*at].1.state == JobState::Ready;
        let ready = || (0..self.jobs.len()).filter(is_ready).filter(|at| self.may_go(*at));
        let first = ready().map(|at| self.jobs[at].1.spec.priority).min()?;
        let came_back = |job: &Plain| job.failed + job.crashes + job.later > 0;
        let (back, fresh): (Vec<_>, Vec<_>) = ready()
            .filter(|at| self.jobs[*at].1.spec.priority == first)
            .partition(|at| came_back(&self.jobs[*at].1));
        let fresh = fresh.into_iter().min_by_key(|at| self.jobs[*at].0);
        let by_id = back.iter().copied().min_by_key(|at| self.jobs[*at].0);
        let back = back.into_iter().min_by_key(|at| (self.jobs[*at].1.started, self.jobs[*at].0));
        let turn = self.queue(name).map_or(0, |at| self.queues[at].totals.claimed);
        match self.settings.of(name).retries {
            Retries::Place => fresh.into_iter().chain(by_id).min_by_key(|at| self.jobs[*at].0),
            Retries::Alternate if turn % 2 == 1 => back.or(fresh),
            Retries::Alternate | Retries::Behind => fresh.or(back),
        }
    }
}
