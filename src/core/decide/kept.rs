//! Decides which ended jobs give way where more of them would be kept than the queue's limit says.

use super::Core;
use crate::core::event::{Ending, Event};
use crate::core::ids::JobId;
use crate::core::job::QueueName;
use crate::core::time::Time;
use std::collections::{BTreeMap, HashSet};

/// What one decision does to the done, cancelled and expired jobs that are kept.
#[derive(Default)]
pub(super) struct KeptChange {
    queues: BTreeMap<QueueName, (Vec<JobId>, u64)>,
    gone: HashSet<JobId>,
}

impl KeptChange {
    /// A job of this queue ends so.
    pub(super) fn ended(&mut self, queue: &QueueName, id: JobId, end: Ending) {
        if end.keep_until.is_some() {
            self.of(queue).0.push(id);
        }
    }

    /// A kept job is forgotten by the same decision: it needs no room, and cannot give way.
    pub(super) fn forgotten(&mut self, queue: &QueueName, id: JobId) {
        self.of(queue).1 += 1;
        self.gone.insert(id);
    }

    fn of(&mut self, queue: &QueueName) -> &mut (Vec<JobId>, u64) {
        if !self.queues.contains_key(queue) {
            self.queues.insert(queue.clone(), Default::default());
        }
        self.queues.get_mut(queue).expect("just put there")
    }
}

impl Core {
    /// Lets the oldest ended jobs go; those that end just now are the youngest, but not spared.
    pub(super) fn make_room_for_kept(&self, change: KeptChange, now: Time, events: &mut Vec<Event>) {
        for (name, (new, gone)) in change.queues {
            let Some(queue) = self.state.queue(&name).filter(|_| !new.is_empty()) else { continue };
            let kept = queue.kept() - gone + new.len() as u64;
            let over = kept.saturating_sub(self.settings.of(&name).keep_done_max) as usize;
            if over == 0 {
                continue;
            }
            let known = queue.oldest_kept().filter(|(_, id)| !change.gone.contains(id));
            let mut oldest: Vec<_> = known.take(over).collect();
            oldest.extend(new.into_iter().map(|id| (now, id)));
            oldest.sort_unstable();
            let jobs = oldest.into_iter().take(over).map(|(_, id)| id).collect();
            events.push(Event::Deleted { jobs });
        }
    }
}
