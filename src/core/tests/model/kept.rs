//! What is kept of jobs that have ended, the slow way.

use super::{Model, Plain, millis, unique};
use crate::core::*;

/// Marks a job that is gone when the command is over.
pub(super) const FORGOTTEN: Final = Final { at: Time(0), keep_until: Time(0) };

impl Model {
    /// The job at this place has ended. A forgotten one keeps its place until the command is over.
    pub(super) fn end(&mut self, at: usize, state: fn(Final) -> JobState, keep: fn(&QueueSettings) -> Keep) {
        let own = unique::kept_for(&self.jobs[at].1).map(|time| Time(self.now + millis(time)));
        let keep_until = match (keep(self.settings_of(at)), own) {
            (Keep::No, None) => return self.jobs[at].1.state = JobState::Dead(FORGOTTEN),
            (Keep::No, Some(own)) => own,
            (Keep::For(time), own) => own.unwrap_or(Time(0)).max(Time(self.now + millis(time))),
            (Keep::Forever, _) => Time::NEVER,
        };
        self.jobs[at].1.state = state(Final { at: Time(self.now), keep_until });
    }

    /// Where one of these jobs has come to be kept, the oldest kept ones of its queue give way.
    pub(super) fn trim(&mut self, ended: &[usize]) {
        for at in ended {
            let has_ended = |job: &Plain| {
                matches!(job.state, JobState::Done(_) | JobState::Cancelled(_) | JobState::Expired(_))
            };
            let is_kept = |job: &Plain| has_ended(job) && !self.holds_on(job);
            let name = self.jobs[*at].1.spec.queue.clone();
            let max = self.settings.of(&name).keep_done_max as usize;
            let mut kept: Vec<_> = (0..self.jobs.len())
                .filter(|at| self.jobs[*at].1.spec.queue == name && is_kept(&self.jobs[*at].1))
                .collect();
            kept.sort_by_key(|at| (self.jobs[*at].1.state.ended().unwrap().at, self.jobs[*at].0));
            if has_ended(&self.jobs[*at].1) && kept.len() > max {
                for at in &kept[..kept.len() - max] {
                    self.jobs[*at].1.state = JobState::Dead(FORGOTTEN);
                }
            }
        }
    }

    /// In each queue in which jobs are dead that were not before, those that were submitted first give way.
    pub(super) fn trim_dead(&mut self, before: &[u64]) {
        let new = self.jobs.iter().filter(|(id, job)| is_dead(job) && !before.contains(id));
        let names: Vec<QueueName> = new.map(|(_, job)| job.spec.queue.clone()).collect();
        for name in names {
            let Some(most) = self.settings.of(&name).keep_dead_max else { continue };
            let may_go = |job: &Plain| job.spec.queue == name && is_dead(job) && !self.holds_on(job);
            let dead: Vec<_> = (0..self.jobs.len()).filter(|at| may_go(&self.jobs[*at].1)).collect();
            let over = dead.len().saturating_sub(most as usize);
            dead.into_iter().take(over).for_each(|at| self.jobs[at].1.state = JobState::Dead(FORGOTTEN));
        }
    }

    /// Whether a job that has ended holds its unique key still.
    fn holds_on(&self, job: &Plain) -> bool {
        let ended = job.state.ended().map_or(0, |end| end.at.0);
        unique::kept_for(job).is_some_and(|time| self.now < ended + millis(time))
    }

    pub(super) fn bury_the_forgotten(&mut self) {
        self.jobs.retain(|(_, job)| job.state != JobState::Dead(FORGOTTEN));
    }
}

pub(super) fn is_dead(job: &Plain) -> bool {
    job.state.kind() == StateKind::Dead && job.state != JobState::Dead(FORGOTTEN)
}
