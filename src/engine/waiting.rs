//! Claims that wait for work, in the order in which they came. Knows who waits where and until when; what a claim
//! gets is decided elsewhere.

use super::answer::Origin;
use crate::core::{Claim, QueueName, Time};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A claim that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) origin: Origin,
    pub(super) claim: Claim,
    pub(super) until: Time,
}

/// All claims that wait. A waiter's place is the number at which it came.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    next_place: u64,
    waiters: BTreeMap<u64, Waiter>,
    /// In the order of names, so that whoever is served next does not depend on a hash.
    by_queue: BTreeMap<QueueName, BTreeSet<u64>>,
    by_session: HashMap<u64, BTreeSet<u64>>,
    deadlines: BTreeSet<(Time, u64)>,
    /// How many queues the claims name: all, and those of each connection.
    size: usize,
    size_of: HashMap<u64, usize>,
}

impl Waiting {
    pub(super) fn add(&mut self, waiter: Waiter) {
        let place = self.next_place;
        self.next_place += 1;
        self.size += waiter.claim.queues.len();
        *self.size_of.entry(waiter.origin.session).or_default() += waiter.claim.queues.len();
        for queue in &waiter.claim.queues {
            self.by_queue.entry(queue.clone()).or_default().insert(place);
        }
        self.by_session.entry(waiter.origin.session).or_default().insert(place);
        if waiter.until != Time::NEVER {
            self.deadlines.insert((waiter.until, place));
        }
        self.waiters.insert(place, waiter);
    }

    pub(super) fn remove(&mut self, place: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&place)?;
        self.size -= waiter.claim.queues.len();
        if let Some(size) = self.size_of.get_mut(&waiter.origin.session) {
            *size -= waiter.claim.queues.len();
        }
        for queue in &waiter.claim.queues {
            if let Some(places) = self.by_queue.get_mut(queue) {
                places.remove(&place);
                if places.is_empty() {
                    self.by_queue.remove(queue);
                }
            }
        }
        if let Some(places) = self.by_session.get_mut(&waiter.origin.session) {
            places.remove(&place);
            if places.is_empty() {
                self.by_session.remove(&waiter.origin.session);
                self.size_of.remove(&waiter.origin.session);
            }
        }
        self.deadlines.remove(&(waiter.until, place));
        Some(waiter)
    }

    /// Whoever has waited longest for this queue.
    pub(super) fn first_for(&self, queue: &QueueName) -> Option<(u64, &Waiter)> {
        let place = *self.by_queue.get(queue)?.first()?;
        Some((place, &self.waiters[&place]))
    }

    /// Takes everybody out whose wait is over.
    pub(super) fn over(&mut self, now: Time) -> Vec<Waiter> {
        let places: Vec<u64> = self.deadlines.range(..=(now, u64::MAX)).map(|(_, place)| *place).collect();
        places.into_iter().filter_map(|place| self.remove(place)).collect()
    }

    /// Takes claims of a connection out that name about `most` queues. Returns whether none is left.
    pub(super) fn forget_some(&mut self, session: u64, most: usize) -> bool {
        let mut names = 0;
        while let Some(place) = self.by_session.get(&session).and_then(BTreeSet::first).copied() {
            if names >= most {
                return false;
            }
            names += self.remove(place).map_or(0, |waiter| waiter.claim.queues.len());
        }
        true
    }

    /// Takes one request out.
    pub(super) fn of_request(&mut self, origin: Origin) -> Option<Waiter> {
        let mut places = self.by_session.get(&origin.session)?.iter();
        let place = *places.find(|place| self.waiters[place].origin == origin)?;
        self.remove(place)
    }

    /// Takes those out that `pick` makes something of.
    pub(super) fn take<T>(&mut self, pick: impl Fn(&Waiter) -> Option<T>) -> Vec<(Waiter, T)> {
        let picked: Vec<(u64, T)> =
            self.waiters.iter().filter_map(|(place, waiter)| Some((*place, pick(waiter)?))).collect();
        picked.into_iter().filter_map(|(place, made)| Some((self.remove(place)?, made))).collect()
    }

    /// Takes everybody out.
    pub(super) fn all(&mut self) -> Vec<Waiter> {
        std::mem::take(self).waiters.into_values().collect()
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn len_for(&self, queue: &QueueName) -> usize {
        self.by_queue.get(queue).map_or(0, BTreeSet::len)
    }

    /// How many queues the claims name.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many the claims of one connection name.
    pub(super) fn size_of(&self, session: u64) -> usize {
        self.size_of.get(&session).copied().unwrap_or(0)
    }

    /// The queues for which somebody waits.
    pub(super) fn queues(&self) -> impl Iterator<Item = &QueueName> {
        self.by_queue.keys()
    }
}
