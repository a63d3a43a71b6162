//! What becomes of jobs for which there is no room, in the naive model.

use super::{Model, waits};
use crate::core::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

impl Model {
    fn waiting(&self, name: &QueueName) -> u64 {
        self.jobs.iter().filter(|(_, job)| job.spec.queue == *name && waits(job)).count() as u64
    }

    /// How many more jobs those queues take that do not take all.
    pub(super) fn room(
        &self,
        names: &[&QueueName],
        groups: &[(&Group, u64)],
    ) -> Result<BTreeMap<QueueName, u64>, Rejection> {
        let mut left = BTreeMap::new();
        for name in names {
            let more: u64 =
                groups.iter().filter(|(g, _)| g.spec.queue == **name).map(|(_, count)| count).sum();
            let (len, settings) = (self.waiting(name), self.settings.of(name));
            let limit = settings.backlog;
            if limit == 0 || len + more <= limit {
                continue;
            }
            match settings.full {
                Full::DropNew => drop(left.insert((*name).clone(), limit.saturating_sub(len))),
                Full::DropOld if more <= limit => {}
                _ => {
                    let fits = more <= limit;
                    return Err(Rejection::QueueFull { queue: (*name).clone(), len, limit, fits });
                }
            }
        }
        Ok(left)
    }

    /// Whether one more is taken.
    pub(super) fn take(&mut self, name: &QueueName, left: &mut BTreeMap<QueueName, u64>) -> bool {
        match left.get_mut(name) {
            Some(0) => {
                self.submitted += 1;
                self.row(name).totals.dropped += 1;
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => true,
        }
    }

    /// Of those that wait, the oldest of the last priority go, one by one.
    pub(super) fn let_old_go(&mut self, name: &QueueName) {
        let settings = self.settings.of(name);
        if settings.full != Full::DropOld || settings.backlog == 0 {
            return;
        }
        for _ in settings.backlog..self.waiting(name) {
            let those =
                self.jobs.iter().enumerate().filter(|(_, (_, job))| job.spec.queue == *name && waits(job));
            let Some((at, _)) = those.min_by_key(|(_, (id, job))| (Reverse(job.spec.priority), *id)) else {
                return;
            };
            self.jobs.remove(at);
            self.row(name).totals.dropped += 1;
        }
    }
}
