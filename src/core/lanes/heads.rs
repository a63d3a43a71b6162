//! The first ready jobs of keys, in the orders in which a claim asks for them.

use crate::core::fair::Turn;
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
    /// When it is the turn of its key, if keys take turns.
    pub(super) turn: Option<Turn>,
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
    /// If keys take turns, those that have come back and the others are here, and not above.
    pub(super) by_turn: Sorted<(bool, Priority, Turn), (Key, JobId)>,
}

impl Heads {
    pub(super) fn insert(&mut self, head: Head, key: Key) {
        if let Some(turn) = head.turn {
            return self.by_turn.insert((head.has_come_back(), head.priority, turn), (key, head.id));
        }
        match head.has_come_back() {
            true => {
                self.back_by_id.insert((head.priority, head.id), key);
                self.back.insert((head.priority, head.tried, head.id), key);
            }
            false => self.fresh.insert((head.priority, head.id), key),
        }
    }

    pub(super) fn remove(&mut self, head: Head) {
        if let Some(turn) = head.turn {
            self.by_turn.remove((head.has_come_back(), head.priority, turn));
            return;
        }
        match head.has_come_back() {
            true => {
                self.back_by_id.remove((head.priority, head.id));
                self.back.remove((head.priority, head.tried, head.id));
            }
            false => drop(self.fresh.remove((head.priority, head.id))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.len() + self.back.len() + self.by_turn.len() == 0
    }

    /// The first priority of any.
    pub(super) fn first_priority(&self) -> Option<Priority> {
        let fresh = self.fresh.first().map(|((priority, _), _)| priority);
        let back = self.back.first().map(|((priority, ..), _)| priority);
        let by_turn = [false, true].into_iter().flat_map(|back| {
            let mut all = self.by_turn.from((back, Priority(0), Turn::default()));
            all.next().filter(|((found, ..), _)| *found == back).map(|((_, priority, _), _)| priority)
        });
        fresh.into_iter().chain(back).chain(by_turn).min()
    }

    /// Those of a priority that have come back, whoever was tried longest ago first.
    pub(super) fn back_of(&self, priority: Priority) -> impl Iterator<Item = (Time, JobId)> {
        let all = self.back.from((priority, Time(0), JobId(0)));
        all.take_while(move |((found, ..), _)| *found == priority).map(|((_, tried, id), _)| (tried, id))
    }

    /// Those of a priority that have come back or have not, by turns.
    pub(super) fn turns_of(&self, back: bool, priority: Priority) -> impl Iterator<Item = (Turn, JobId)> {
        let all = self.by_turn.from((back, priority, Turn::default()));
        let of = all.take_while(move |((found, of, _), _)| (*found, *of) == (back, priority));
        of.map(|((_, _, turn), (_, id))| (turn, *id))
    }

    /// How many have a priority before this one.
    pub(super) fn before(&self, priority: Priority) -> u64 {
        let fresh = self.fresh.iter().take_while(|((found, _), _)| *found < priority).count();
        let back = self.back.iter().take_while(|((found, ..), _)| *found < priority).count();
        let by_turn = [false, true].into_iter().map(|back| {
            let all = self.by_turn.from((back, Priority(0), Turn::default()));
            all.take_while(|((found, of, _), _)| *found == back && *of < priority).count()
        });
        (fresh + back + by_turn.sum::<usize>()) as u64
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, Priority, JobId)> {
        let fresh = self.fresh.iter().map(|((priority, id), key)| (*key, priority, id));
        let back = self.back.iter().map(|((priority, _, id), key)| (*key, priority, id));
        let by_turn = self.by_turn.iter().map(|((_, priority, _), (key, id))| (*key, priority, *id));
        fresh.chain(back).chain(by_turn)
    }
}
