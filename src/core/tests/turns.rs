//! Who is next, as the naive model has it: one look at all jobs for each that is given out.

use super::model::{Model, Plain};
use crate::core::*;

impl Model {
    /// The place of the next job of a queue.
    pub(super) fn next(&self, name: &QueueName) -> Option<usize> {
        let is_ready =
            |at: &usize| self.jobs[*at].1.spec.queue == *name && self.jobs[*at].1.state == JobState::Ready;
        let ready = || (0..self.jobs.len()).filter(is_ready);
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
