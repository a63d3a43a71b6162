//! Unique keys, the slow way: who holds one is found by looking at all jobs.

use super::{Model, Plain, millis, waits};
use crate::core::*;
use std::sync::Arc;
use std::time::Duration;

/// How long a job is kept for its unique key.
pub(super) fn kept_for(job: &Plain) -> Option<Duration> {
    match job.spec.unique_while {
        UniqueWhile::Kept(time) if job.spec.unique.is_some() => Some(time),
        _ => None,
    }
}

impl Model {
    /// Where the job is that holds the unique key of these.
    pub(super) fn holder(&self, group: &Group) -> Option<usize> {
        let key = group.spec.unique?;
        let holds = |job: &Plain| {
            let mine = (job.spec.unique, &job.spec.queue) == (Some(key), &group.spec.queue);
            mine && match (job.spec.unique_while, job.state.ended()) {
                (UniqueWhile::Waiting, _) => waits(job) && job.attempt == Attempt(0),
                (_, None) => true,
                (UniqueWhile::Unfinished, Some(_)) => false,
                (UniqueWhile::Kept(time), Some(end)) => self.now < end.at.0 + millis(time),
            }
        };
        self.jobs.iter().position(|(_, job)| holds(job))
    }

    /// How many of each group are new.
    pub(super) fn new_ones<'a>(&self, groups: &[&'a Group]) -> Result<Vec<(&'a Group, u64)>, Rejection> {
        let mut seen: Vec<(&QueueName, Key)> = Vec::new();
        let mut new = Vec::new();
        for group in groups {
            let Some(key) = group.spec.unique else {
                new.push((*group, group.count));
                continue;
            };
            let (queue, holder) = (&group.spec.queue, self.holder(group));
            let again = seen.contains(&(queue, key));
            if group.on_conflict == OnConflict::Reject {
                match holder {
                    Some(at) => {
                        let id = JobId(self.jobs[at].0);
                        return Err(Rejection::NotUnique { queue: queue.clone(), id });
                    }
                    None if again || group.count > 1 => {
                        return Err(Rejection::NotUniqueAmongThem { queue: queue.clone() });
                    }
                    None => {}
                }
            }
            if group.on_conflict == OnConflict::Replace
                && let Some(at) = holder.filter(|at| self.jobs[*at].1.attempt == Attempt(0))
                && let Some(rejection) = self.grows_too_much(at, group.size)
            {
                return Err(rejection);
            }
            new.push((*group, u64::from(holder.is_none() && !again)));
            seen.push((queue, key));
        }
        Ok(new)
    }

    pub(super) fn conflict(&mut self, group: &Group, at: usize) -> Receipt {
        let (due, now) = (self.starts(group).max(self.now), self.now);
        let (id, job) = (JobId(self.jobs[at].0), &mut self.jobs[at].1);
        match group.on_conflict {
            OnConflict::Replace if waits(job) && job.attempt == Attempt(0) => {
                let mut spec = (*job.spec).clone();
                spec.options_mut().priority = group.spec.priority;
                job.spec = Arc::new(spec);
                if due > now || job.state != JobState::Ready {
                    job.state = JobState::Scheduled { due: Time(due) };
                }
                self.count_another(at, group.size);
                return Receipt::Replaced(id);
            }
            OnConflict::Raise if waits(job) && group.spec.priority < job.spec.priority => {
                let mut spec = (*job.spec).clone();
                spec.options_mut().priority = group.spec.priority;
                job.spec = Arc::new(spec);
            }
            OnConflict::Debounce { max } if waits(job) && job.attempt == Attempt(0) => {
                let wanted = if group.start == Start::Now { now } else { self_or(group.start, due) };
                let due = max.map_or(wanted, |max| wanted.min(job.submitted_at.0 + millis(max)));
                let new = JobState::Scheduled { due: Time(due) };
                if (job.state == JobState::Ready && due <= now) || job.state == new {
                    return Receipt::Existing(id);
                }
                job.state = new;
            }
            _ => return Receipt::Existing(id),
        }
        Receipt::Changed(id)
    }

    /// Whether another job has got the unique key of one that is to run again; who has.
    pub(super) fn taken(&self, at: usize) -> Option<JobId> {
        let job = &self.jobs[at].1;
        let would_hold = job.spec.unique_while != UniqueWhile::Waiting || job.attempt == Attempt(0);
        let group = Group::new(job.spec.clone(), 1);
        let by = self.holder(&group).filter(|by| *by != at && would_hold && job.state.ended().is_some())?;
        Some(JobId(self.jobs[by].0))
    }
}

/// The time of an absolute start, which may be past.
fn self_or(start: Start, due: u64) -> u64 {
    if let Start::At(time) = start { time.0 } else { due }
}
