//! What becomes of jobs for which there is no room, in the naive model: everything is counted anew each time.

use super::{Model, waits};
use crate::core::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// Jobs and bytes.
type Load = (u64, u64);

/// What is left of the room in each queue that does not take all, and in all together.
#[derive(Default)]
pub(super) struct Left {
    queues: BTreeMap<QueueName, Load>,
    in_all: Option<Load>,
    /// Those that let old ones go.
    pub(super) over: Vec<QueueName>,
}

fn sum(loads: impl Iterator<Item = Load>) -> Load {
    loads.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
}

/// A bound that would be exceeded: which, what waits, what of it the queue has, how much more, and the limit.
type Exceeded = (Bound, u64, u64, u64, u64);

impl Model {
    fn load(&self, of: impl Fn(&QueueName) -> bool) -> Load {
        let those = self.jobs.iter().filter(|(_, job)| of(&job.spec.queue) && waits(job));
        sum(those.map(|(_, job)| (1, job.size.bytes())))
    }

    pub(super) fn exceeded(&self, name: &QueueName, own_more: Load, all_more: Load) -> Vec<Exceeded> {
        let (own, all) = (self.load(|queue| queue == name), self.load(|_| true));
        let (of, in_all) = (self.settings.of(name), &self.settings);
        let bounds = [
            (Bound::Jobs, own.0, own.0, own_more.0, of.backlog),
            (Bound::Bytes, own.1, own.1, own_more.1, of.backlog_bytes),
            (Bound::TotalJobs, all.0, own.0, all_more.0, in_all.total_backlog),
            (Bound::TotalBytes, all.1, own.1, all_more.1, in_all.total_backlog_bytes),
        ];
        // A job without bytes takes no room of theirs, whatever there is.
        let adds = |more: u64| more > 0 || own_more.0 == 0;
        let exceeded = |(_, len, _, more, limit): &Exceeded| *limit > 0 && len + more > *limit && adds(*more);
        bounds.into_iter().filter(exceeded).collect()
    }

    /// How much more those queues take that do not take all.
    pub(super) fn room(&self, names: &[&QueueName], groups: &[(&Group, u64)]) -> Result<Left, Rejection> {
        let (mut left, mut all_more, mut whole) = (Left::default(), (0, 0), (0, 0));
        for name in names {
            let own = groups.iter().filter(|(group, _)| group.spec.queue == **name);
            let more = sum(own.map(|(group, count)| (*count, count * group.size.bytes())));
            all_more = sum([all_more, more].into_iter());
            let exceeded = self.exceeded(name, more, all_more);
            let Some(&(bound, len, _, _, limit)) = exceeded.first() else {
                whole = sum([whole, more].into_iter());
                continue;
            };
            match self.settings.of(name).full {
                Full::DropNew => {
                    let of = |which: Bound, others: u64| {
                        let found = exceeded.iter().find(|(bound, ..)| *bound == which);
                        found.map_or(u64::MAX, |(_, len, .., limit)| limit.saturating_sub(len + others))
                    };
                    left.queues.insert((*name).clone(), (of(Bound::Jobs, 0), of(Bound::Bytes, 0)));
                    let in_all = (of(Bound::TotalJobs, whole.0), of(Bound::TotalBytes, whole.1));
                    if in_all != (u64::MAX, u64::MAX) {
                        left.in_all = Some(in_all);
                    }
                }
                Full::DropOld
                    if exceeded.iter().all(|(_, len, own, more, limit)| len - own + more <= *limit) =>
                {
                    whole = sum([whole, more].into_iter());
                    left.over.push((*name).clone());
                }
                _ => {
                    let fits = exceeded.iter().all(|(.., more, limit)| more <= limit);
                    return Err(Rejection::QueueFull { queue: (*name).clone(), bound, len, limit, fits });
                }
            }
        }
        Ok(left)
    }

    /// Whether one more job is taken.
    pub(super) fn take(&mut self, group: &Group, left: &mut Left) -> bool {
        let (name, size) = (&group.spec.queue, group.size.bytes());
        let Left { queues, in_all, .. } = left;
        let Some(own) = queues.get_mut(name) else { return true };
        let mut both: Vec<&mut Load> = [Some(own), in_all.as_mut()].into_iter().flatten().collect();
        if both.iter().any(|load| load.0 == 0 || load.1 < size) {
            self.submitted += 1;
            self.row(name).totals.dropped += 1;
            return false;
        }
        both.iter_mut().for_each(|load| **load = (load.0 - 1, load.1 - size));
        true
    }

    /// Of those that wait, the oldest of the last priority go, one by one.
    pub(super) fn let_old_go(&mut self, name: &QueueName) {
        while !self.exceeded(name, (0, 0), (0, 0)).is_empty() {
            let bytes_only = self
                .exceeded(name, (0, 0), (0, 0))
                .iter()
                .all(|(bound, ..)| matches!(bound, Bound::Bytes | Bound::TotalBytes));
            let those = self.jobs.iter().enumerate().filter(|(_, (_, job))| {
                let frees = !bytes_only || job.size.bytes() > 0;
                job.spec.queue == *name && waits(job) && frees
            });
            let Some((at, _)) = those.min_by_key(|(_, (id, job))| (Reverse(job.spec.priority), *id)) else {
                return;
            };
            self.jobs.remove(at);
            self.row(name).totals.dropped += 1;
        }
    }
}
