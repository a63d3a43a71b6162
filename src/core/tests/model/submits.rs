//! Submits, the slow way: job by job.

use super::{Model, Plain, millis};
use crate::core::*;

impl Model {
    pub(super) fn submit(&mut self, groups: &[Group]) -> Result<Outcome, Rejection> {
        if self.draining && !self.accept {
            return Err(Rejection::Draining);
        }
        let groups: Vec<_> = groups.iter().filter(|group| group.count > 0).collect();
        let count: u64 = groups.iter().map(|group| group.count).sum();
        if count == 0 {
            return Err(Rejection::NothingToSubmit);
        }
        let unique = groups.iter().any(|group| group.spec.unique.is_some());
        let new = self.new_ones(&groups)?;
        let mut names: Vec<_> =
            new.iter().filter(|(_, count)| *count > 0).map(|(group, _)| &group.spec.queue).collect();
        names.sort();
        names.dedup();
        let mut left = self.room(&names, &new)?;
        self.make_room(&names)?;
        let first = self.submitted + 1;
        let mut receipts = Vec::new();
        for group in &groups {
            for _ in 0..group.count {
                receipts.push(match self.holder(group) {
                    Some(at) => self.conflict(group, at),
                    None if self.take(group, &mut left) => self.arrive(group),
                    None => Receipt::New(JobId(self.submitted)),
                });
            }
        }
        let over = std::mem::take(&mut left.over);
        over.iter().for_each(|name| self.let_old_go(name));
        if unique {
            return Ok(Outcome::Received(receipts));
        }
        Ok(Outcome::Submitted(IdRange { first: JobId(first), len: count }))
    }

    /// Makes room for those of these queues that are new.
    pub(super) fn make_room(&mut self, names: &[&QueueName]) -> Result<(), Rejection> {
        let new = names.iter().filter(|name| self.queue(name).is_none()).count();
        let limit = self.settings.queues_max;
        let over = if new > 0 { (self.queues.len() + new).saturating_sub(limit) } else { 0 };
        let empty = |row: &&QueueRow| {
            let has_jobs = self.jobs.iter().any(|(_, job)| job.spec.queue == row.name);
            let spared = row.paused_until.is_some() || self.settings.queues.contains_key(&row.name);
            !has_jobs && !spared && !names.contains(&&row.name)
        };
        let mut idle: Vec<_> =
            self.queues.iter().filter(empty).map(|row| (row.used, row.name.clone())).collect();
        idle.sort();
        if idle.len() < over {
            return Err(Rejection::TooManyQueues { limit });
        }
        self.queues.retain(|row| idle[..over].iter().all(|(_, name)| *name != row.name));
        Ok(())
    }

    pub(super) fn arrive(&mut self, group: &Group) -> Receipt {
        let due = self.starts(group);
        self.submitted += 1;
        let second = Time(self.now / 1000 * 1000);
        let is_new = self.queue(&group.spec.queue).is_none();
        let row = self.row(&group.spec.queue);
        row.totals.submitted += 1;
        row.used = second;
        if is_new {
            row.maker = Some(0);
        }
        let state = if due > self.now { JobState::Scheduled { due: Time(due) } } else { JobState::Ready };
        let job = Plain {
            handled: HandlingCounts::default(),
            spec: group.spec.clone(),
            submitted_at: Time(self.now / 1000 * 1000),
            begin_by: group.ttl.map_or(Time::NEVER, |ttl| Time(self.now + millis(ttl))),
            end_by: group.deadline.map_or(Time::NEVER, |deadline| Time(self.now + millis(deadline))),
            size: group.size,
            state,
            attempt: Attempt(0),
            started: None,
            worker: None,
            failed: 0,
            crashes: 0,
            later: 0,
            failures: Vec::new(),
            beside: (false, false),
            signals: Signals::default(),
        };
        self.jobs.push((self.submitted, job));
        Receipt::New(JobId(self.submitted))
    }

    pub(super) fn starts(&self, group: &Group) -> u64 {
        match group.start {
            Start::Now => 0,
            Start::After(delay) => self.now + millis(delay),
            Start::At(time) => time.0,
        }
    }
}
