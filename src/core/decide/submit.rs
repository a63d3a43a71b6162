//! Decides submits: all of the jobs or none.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{Group, Outcome, Start};
use crate::core::event::Event;
use crate::core::ids::{IdRange, JobId};
use crate::core::job::QueueName;
use crate::core::rejection::Rejection;
use crate::core::time::Time;
use std::collections::{BTreeMap, HashSet};

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn submit(&mut self, groups: &[Group]) -> Result<Outcome, Rejection> {
        if self.core.draining && !self.core.accept_while_draining {
            return Err(Rejection::Draining);
        }
        let first = self.state().next_id();
        let mut count: u64 = 0;
        for group in groups {
            count = count.saturating_add(group.count);
        }
        if count == 0 {
            return Err(Rejection::NothingToSubmit);
        }
        if count > u64::MAX - first.0 {
            return Err(Rejection::OutOfIds);
        }
        if groups.iter().any(|group| group.count > 0 && group.spec.unique.is_some()) {
            return self.submit_unique(groups, count);
        }
        self.make_room(groups)?;
        let mut next = first;
        for group in groups.iter().filter(|group| group.count > 0) {
            self.emit(self.submitted(group, next));
            next = next.plus(group.count);
        }
        Ok(Outcome::Submitted(IdRange::new(first, count)))
    }

    pub(super) fn submitted(&self, group: &Group, first: JobId) -> Event {
        let now = self.moment.now;
        let shared = self.state().queue(&group.spec.queue).and_then(|queue| queue.recent(&group.spec));
        let due = match group.start {
            Start::Now => None,
            Start::After(delay) => Some(now.plus(delay)),
            Start::At(time) => Some(time),
        };
        Event::Submitted {
            jobs: IdRange::new(first, group.count),
            spec: shared.cloned().unwrap_or_else(|| group.spec.clone()),
            at: now.whole_second(),
            due: due.filter(|due| *due > now),
            expires_at: group.ttl.map_or(Time::NEVER, |ttl| now.plus(ttl)),
        }
    }

    /// Makes room for the queues of these jobs. The number of queues and the length of each are limited.
    pub(super) fn make_room(&mut self, groups: &[Group]) -> Result<(), Rejection> {
        if let [only] = groups {
            let new = self.room_in(&only.spec.queue, only.count)?;
            return self.make_room_for_queues(new, only.spec.owner, &HashSet::new());
        }
        // In the order of names, so that the same submit gets the same refusal.
        let mut more: BTreeMap<&QueueName, u64> = BTreeMap::new();
        for group in groups.iter().filter(|group| group.count > 0) {
            *more.entry(&group.spec.queue).or_default() += group.count;
        }
        let mut new = 0;
        for (queue, count) in &more {
            new += self.room_in(queue, *count)?;
        }
        // All of one request are of one user.
        let maker = groups.first().map_or(0, |group| group.spec.owner);
        self.make_room_for_queues(new, maker, &more.keys().copied().collect())
    }

    /// Whether one queue can take `count` more jobs. Returns how many queues this makes: one if it is new.
    fn room_in(&self, name: &QueueName, count: u64) -> Result<usize, Rejection> {
        let (queue, limit) = (self.state().queue(name), self.core.settings.of(name).backlog);
        let len = queue.map_or(0, |queue| queue.counts().waiting());
        if limit > 0 && len.saturating_add(count) > limit {
            return Err(Rejection::QueueFull { queue: name.clone(), len, limit });
        }
        Ok(usize::from(queue.is_none()))
    }
}
