//! The first ready jobs of keys, in the orders in which a claim asks for them.

use crate::core::ids::JobId;
use crate::core::job::{Key, Priority};
use crate::core::sorted::Sorted;
use crate::core::time::Time;

/// The first ready job of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) priority: Priority,
    pub(super) id: JobId,
    /// When its last attempt began, if it has come back; [`Time::NEVER`] if not.
    pub(super) tried: Time,
}

impl Head {
    fn has_come_back(self) -> bool {
        self.tried != Time::NEVER
    }
}

/// The first ready jobs of keys that have the same number of leased ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Heads {
    pub(super) fresh: Sorted<(Priority, JobId), Key>,
    /// Those that have come back.
    pub(super) back: Sorted<(Priority, Time, JobId), Key>,
    /// The same by id.
    pub(super) back_by_id: Sorted<(Priority, JobId), Key>,
}

impl Heads {
    pub(super) fn insert(&mut self, head: Head, key: Key) {
        match head.has_come_back() {
            true => {
                self.back_by_id.insert((head.priority, head.id), key);
                self.back.insert((head.priority, head.tried, head.id), key);
            }
            false => self.fresh.insert((head.priority, head.id), key),
        }
    }

    pub(super) fn remove(&mut self, head: Head) {
        match head.has_come_back() {
            true => {
                self.back_by_id.remove((head.priority, head.id));
                self.back.remove((head.priority, head.tried, head.id));
            }
            false => drop(self.fresh.remove((head.priority, head.id))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.len() + self.back.len() == 0
    }

    /// The first priority of any.
    pub(super) fn first_priority(&self) -> Option<Priority> {
        let fresh = self.fresh.first().map(|((priority, _), _)| priority);
        let back = self.back.first().map(|((priority, ..), _)| priority);
        fresh.into_iter().chain(back).min()
    }

    /// Those of a priority that have come back, whoever was tried longest ago first.
    pub(super) fn back_of(&self, priority: Priority) -> impl Iterator<Item = (Time, JobId)> {
        let all = self.back.from((priority, Time(0), JobId(0)));
        all.take_while(move |((found, ..), _)| *found == priority).map(|((_, tried, id), _)| (tried, id))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Priority, JobId)> {
        let fresh = self.fresh.iter().map(|((priority, id), key)| (*key, priority, id));
        let back = self.back.iter().map(|((priority, _, id), key)| (*key, priority, id));
        fresh.chain(back)
    }
}
