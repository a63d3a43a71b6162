//! Who is next, as the naive model has it: one look at all jobs for each that is given out.

use super::model::{Model, Plain};
use crate::core::fair::keyless;
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
        first.is_some_and(|(first, _)| first == id) && self.key_allows(at)
    }

    /// Whether the limits of its key let a job go.
    pub(super) fn key_allows(&self, at: usize) -> bool {
        let job = &self.jobs[at].1;
        if job.spec.key.is_none() {
            return true;
        }
        let alike = |other: &&(u64, Plain)| {
            (&other.1.spec.queue, other.1.spec.key) == (&job.spec.queue, job.spec.key)
        };
        let others = || self.jobs.iter().filter(alike);
        let leased = others().filter(|(_, other)| other.state.kind() == StateKind::Leased).count();
        let per_key = self.settings.of(&job.spec.queue).per_key;
        let rate = self.settings.of(&job.spec.queue).per_key_rate;
        let is_in_time = rate.zip(job.spec.key).is_none_or(|(rate, key)| {
            rate.allows(self.key_used(&job.spec.queue, key, rate), Time(self.now)) > 0
        });
        per_key.is_none_or(|most| leased < most as usize) && is_in_time
    }

    /// What is used of a rate of a key. What another rate has used does not count.
    pub(super) fn key_used(&self, queue: &QueueName, key: Key, rate: Rate) -> RateUsed {
        let found = self.keys.iter().find(|(name, of, ..)| (name, *of) == (queue, key));
        found.filter(|(_, _, of, ..)| *of == Some(rate)).map_or(RateUsed(0), |(.., used, _)| *used)
    }

    /// A job is leased, of a key or without one; `leases` have been given by then.
    pub(super) fn serve_key(&mut self, queue: &QueueName, key: Option<Key>, leases: u64) {
        let QueueSettings { per_key_rate: rate, fair, .. } = *self.settings.of(queue);
        let are_ready = |job: &Plain| job.spec.queue == *queue && job.state == JobState::Ready;
        let has_others = self.jobs.iter().any(|(_, job)| are_ready(job) && job.spec.key.is_some());
        if (rate.is_none() && !fair) || (key.is_none() && !(fair && has_others)) {
            return;
        }
        let used = rate.zip(key).map_or(RateUsed(0), |(rate, key)| {
            rate.use_up(self.key_used(queue, key, rate), Time(self.now), 1)
        });
        let turn = Turn { newest: JobId(self.submitted), leases };
        let (key, turn) = (key.unwrap_or(keyless()), if fair { turn } else { Turn::default() });
        self.keys.retain(|(name, of, ..)| (name, *of) != (queue, key));
        self.keys.push((queue.clone(), key, rate, used, turn));
    }

    /// When it is the turn of the key of a job that is the first of it.
    fn turn(&self, at: usize) -> (Turn, JobId) {
        let (id, job) = (JobId(self.jobs[at].0), &self.jobs[at].1);
        let key = job.spec.key.unwrap_or(keyless());
        let found = self.keys.iter().find(|(name, of, ..)| (name, *of) == (&job.spec.queue, key));
        let served = found.map_or(Turn::default(), |(.., turn)| *turn);
        (served.max(Turn { newest: id, leases: 0 }), id)
    }

    /// What is not remembered any more could be forgotten: no job of the key is ready or leased.
    pub(super) fn forget_keys(&mut self, is_known: impl Fn(&QueueName, Key) -> bool) {
        let (jobs, now) = (&self.jobs, self.now);
        let is_busy = |job: &Plain| matches!(job.state, JobState::Ready | JobState::Leased(_));
        self.keys.retain(|(queue, key, _, used, turn)| {
            let is_of = |job: &Plain| job.spec.queue == *queue && job.spec.key.unwrap_or(keyless()) == *key;
            let has_jobs = jobs.iter().any(|(_, job)| is_of(job) && is_busy(job));
            let counts = used.0 > now * 1_000_000 || (*turn != Turn::default() && has_jobs);
            assert!(!counts || is_known(queue, *key), "{key:?} of {queue} is forgotten too early");
            is_known(queue, *key)
        });
    }

    /// The place of the next job of a queue.
    pub(super) fn next(&self, name: &QueueName) -> Option<usize> {
        let is_ready =
            |at: &usize| self.jobs[*at].1.spec.queue == *name && self.jobs[*at].1.state == JobState::Ready;
        let ready = || (0..self.jobs.len()).filter(is_ready).filter(|at| self.may_go(*at));
        let first = ready().map(|at| self.jobs[at].1.spec.priority).min()?;
        let ready: Vec<usize> = ready().filter(|at| self.jobs[*at].1.spec.priority == first).collect();
        if !self.settings.of(name).fair {
            return self.first_by_retries(name, ready);
        }
        // The keys take turns; those without one are one of them.
        let (plain, keyed): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|at| self.jobs[*at].1.spec.key.is_none());
        // As the oldest of them, whichever goes first.
        let oldest = plain.iter().copied().min_by_key(|at| self.jobs[*at].0);
        let plain = self.first_by_retries(name, plain).zip(oldest);
        let all = keyed.into_iter().map(|at| (at, at)).chain(plain);
        all.min_by_key(|(_, stands_as)| self.turn(*stands_as)).map(|(at, _)| at)
    }

    /// Who of them goes next, as far as it counts whether they have come back.
    fn first_by_retries(&self, name: &QueueName, ready: Vec<usize>) -> Option<usize> {
        let came_back = |job: &Plain| job.failed + job.crashes + job.later > 0;
        let by_id = ready.iter().copied().min_by_key(|at| self.jobs[*at].0);
        let (back, fresh): (Vec<_>, Vec<_>) = ready.into_iter().partition(|at| came_back(&self.jobs[*at].1));
        let fresh = fresh.into_iter().min_by_key(|at| self.jobs[*at].0);
        let back = back.into_iter().min_by_key(|at| (self.jobs[*at].1.started, self.jobs[*at].0));
        let turn = self.queue(name).map_or(0, |at| self.queues[at].totals.claimed);
        match self.settings.of(name).retries {
            Retries::Place => by_id,
            Retries::Alternate if turn % 2 == 1 => back.or(fresh),
            Retries::Alternate | Retries::Behind => fresh.or(back),
        }
    }
}
