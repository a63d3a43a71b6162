//! Decides whether there is room for new jobs in their queues, and what becomes of them, or of others, if not.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::Group;
use crate::core::event::Event;
use crate::core::ids::{IdRange, JobId};
use crate::core::job::QueueName;
use crate::core::rejection::Rejection;
use crate::core::settings::{Full, QueueSettings};
use std::collections::{BTreeMap, HashSet};

/// The room that there is for the jobs of a submit that is not refused.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// How many jobs are taken, of queues that do not take all.
    taken: BTreeMap<QueueName, u64>,
    /// The queues that have too many with the new ones, and let old ones go.
    over: Vec<QueueName>,
}

impl Room {
    /// How many of so many jobs are taken into a queue. What is taken takes room.
    pub(super) fn take(&mut self, queue: &QueueName, count: u64) -> u64 {
        if self.takes_all() {
            return count;
        }
        let Some(left) = self.taken.get_mut(queue) else { return count };
        let taken = count.min(*left);
        *left -= taken;
        taken
    }

    /// Whether all jobs are taken.
    pub(super) fn takes_all(&self) -> bool {
        self.taken.is_empty()
    }
}

/// What one queue does with more jobs.
enum Fit {
    All,
    Some(u64),
    LetOldGo,
}

impl<R: Recorder> Decision<'_, R> {
    /// Makes room for the queues of these jobs, and says how many jobs they take. The number of queues and the length of
    /// each are limited.
    pub(super) fn make_room(&mut self, groups: &[Group]) -> Result<Room, Rejection> {
        let mut room = Room::default();
        if let [only] = groups {
            let new = self.room_in(&only.spec.queue, only.count, &mut room)?;
            self.make_room_for_queues(new, only.spec.owner, &HashSet::new())?;
            return Ok(room);
        }
        // In the order of names, so that the same submit gets the same refusal.
        let mut more: BTreeMap<&QueueName, u64> = BTreeMap::new();
        for group in groups.iter().filter(|group| group.count > 0) {
            *more.entry(&group.spec.queue).or_default() += group.count;
        }
        let mut new = 0;
        for (queue, count) in &more {
            new += self.room_in(queue, *count, &mut room)?;
        }
        // All of one request are of one user.
        let maker = groups.first().map_or(0, |group| group.spec.owner);
        self.make_room_for_queues(new, maker, &more.keys().copied().collect())?;
        Ok(room)
    }

    /// Whether one queue can take `count` more jobs. Returns how many queues this makes: one if it is new.
    fn room_in(&self, name: &QueueName, count: u64, room: &mut Room) -> Result<usize, Rejection> {
        let (queue, settings) = (self.state().queue(name), self.core.settings.of(name));
        let len = queue.map_or(0, |queue| queue.counts().waiting());
        match fit(settings, len, count) {
            Some(Fit::All) => {}
            Some(Fit::Some(taken)) => drop(room.taken.insert(name.clone(), taken)),
            Some(Fit::LetOldGo) => room.over.push(name.clone()),
            None => {
                let limit = settings.backlog;
                let fits = count <= limit;
                return Err(Rejection::QueueFull { queue: name.clone(), len, limit, fits });
            }
        }
        Ok(usize::from(queue.is_none()))
    }

    /// These jobs are not taken: they have ids, and that is all.
    pub(super) fn turn_away(&mut self, queue: &QueueName, first: JobId, count: u64) {
        if count > 0 {
            self.emit(Event::NotTaken { queue: queue.clone(), jobs: IdRange::new(first, count) });
        }
    }

    /// Lets old jobs go where there are too many with the new ones, which are there by now.
    pub(super) fn let_old_go(&mut self, room: Room) {
        for name in room.over {
            let limit = self.core.settings.of(&name).backlog;
            let len = self.state().queue(&name).map_or(0, |queue| queue.counts().waiting());
            let jobs = self.core.state.last_in_line(&name, len.saturating_sub(limit));
            if !jobs.is_empty() {
                self.emit(Event::Dropped { jobs });
            }
        }
    }
}

/// What a queue does with so many more jobs than those that wait; `None` refuses them.
fn fit(settings: &QueueSettings, len: u64, count: u64) -> Option<Fit> {
    let limit = settings.backlog;
    if limit == 0 || len.saturating_add(count) <= limit {
        return Some(Fit::All);
    }
    match settings.full {
        Full::DropNew => Some(Fit::Some(limit.saturating_sub(len))),
        Full::DropOld if count <= limit => Some(Fit::LetOldGo),
        Full::DropOld | Full::Reject | Full::Wait(_) => None,
    }
}
