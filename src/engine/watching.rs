//! Requests that wait until jobs, or groups, have ended. Learns of ends as they happen, because a job that is not kept leaves
//! nothing to look at. It must not know what an end is.

use super::answer::Origin;
use crate::core::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

/// Who waited, and what is known of each target that was waited for.
pub(super) type Ended<K, E> = (Origin, Vec<(K, Option<E>)>);

#[derive(Debug)]
struct Watch<K, E> {
    origin: Origin,
    until: Time,
    /// In the order asked for.
    ends: Vec<(K, Option<E>)>,
    open: usize,
}

/// All requests that wait for ends of one kind: of targets that are named by a `K`, each an `E`.
#[derive(Debug)]
pub(super) struct Watching<K, E> {
    next_key: u64,
    watches: HashMap<u64, Watch<K, E>>,
    /// Each target that is waited for, by whom, and its place among the ends.
    by_target: BTreeSet<(K, u64, usize)>,
    deadlines: BTreeSet<(Time, u64)>,
    by_origin: BTreeMap<Origin, u64>,
    /// How many targets the requests name: all, and those of each connection.
    size: usize,
    size_of: HashMap<u64, usize>,
}

impl<K, E> Default for Watching<K, E> {
    fn default() -> Watching<K, E> {
        Watching {
            next_key: 0,
            watches: HashMap::new(),
            by_target: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            by_origin: BTreeMap::new(),
            size: 0,
            size_of: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord, E> Watching<K, E> {
    /// Adds a request. `ends` holds what is known of each target already; at least one is open.
    pub(super) fn add(&mut self, origin: Origin, until: Time, ends: Vec<(K, Option<E>)>) {
        let key = self.next_key;
        self.next_key += 1;
        let mut open = 0;
        for (place, (id, _)) in ends.iter().enumerate().filter(|(_, (_, end))| end.is_none()) {
            self.by_target.insert((*id, key, place));
            open += 1;
        }
        if until != Time::NEVER {
            self.deadlines.insert((until, key));
        }
        self.size += ends.len();
        *self.size_of.entry(origin.session).or_default() += ends.len();
        // A number that is used again belongs to the newer request; the older one gets no answer.
        if let Some(old) = self.by_origin.insert(origin, key) {
            self.remove(old);
            self.by_origin.insert(origin, key);
        }
        self.watches.insert(key, Watch { origin, until, ends, open });
    }

    /// Targets have ended, each as `end` says; gives back the requests of which the last target is among them. What nobody waits
    /// for costs nothing but a look.
    pub(super) fn ended(&mut self, targets: Range<K>, end: impl Fn(K) -> E) -> Vec<(Origin, Vec<E>)> {
        let mut over = Vec::new();
        while let Some(&(id, key, place)) = self.by_target.range((targets.start, 0, 0)..).next()
            && id < targets.end
        {
            self.by_target.remove(&(id, key, place));
            let Some(watch) = self.watches.get_mut(&key) else { continue };
            watch.ends[place].1 = Some(end(id));
            watch.open -= 1;
            if watch.open == 0
                && let Some((origin, ends)) = self.remove(key)
            {
                over.push((origin, ends.into_iter().filter_map(|(_, end)| end).collect()));
            }
        }
        over
    }

    fn remove(&mut self, key: u64) -> Option<Ended<K, E>> {
        let watch = self.watches.remove(&key)?;
        let session = watch.origin.session;
        self.deadlines.remove(&(watch.until, key));
        self.by_origin.remove(&watch.origin);
        for (place, (id, _)) in watch.ends.iter().enumerate().filter(|(_, (_, end))| end.is_none()) {
            self.by_target.remove(&(*id, key, place));
        }
        self.size -= watch.ends.len();
        if let Some(size) = self.size_of.get_mut(&session) {
            *size -= watch.ends.len();
            if *size == 0 {
                self.size_of.remove(&session);
            }
        }
        Some((watch.origin, watch.ends))
    }

    /// Takes the requests out whose wait is over.
    pub(super) fn over(&mut self, now: Time) -> Vec<Ended<K, E>> {
        let keys: Vec<u64> = self.deadlines.range(..=(now, u64::MAX)).map(|(_, key)| *key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Takes one request out.
    pub(super) fn of_request(&mut self, origin: Origin) -> Option<Ended<K, E>> {
        let key = *self.by_origin.get(&origin)?;
        self.remove(key)
    }

    /// Takes the requests out that wait for the end of a target which `is_picked` says, with that target.
    pub(super) fn take(&mut self, is_picked: impl Fn(Origin, K) -> bool) -> Vec<(Origin, K)> {
        let first = |watch: &Watch<K, E>| {
            let mut open = watch.ends.iter().filter(|(_, end)| end.is_none()).map(|(id, _)| *id);
            open.find(|id| is_picked(watch.origin, *id))
        };
        let picked: Vec<(u64, K)> =
            self.watches.iter().filter_map(|(key, watch)| Some((*key, first(watch)?))).collect();
        picked.into_iter().filter_map(|(key, id)| Some((self.remove(key)?.0, id))).collect()
    }

    /// Forgets requests of a connection that name about `most` targets. Returns whether none is left.
    pub(super) fn forget_some(&mut self, session: u64, most: usize) -> bool {
        let (from, to) = (Origin { session, request: 0 }, Origin { session, request: u32::MAX });
        let mut targets = 0;
        while let Some(key) = self.by_origin.range(from..=to).next().map(|(_, key)| *key) {
            if targets >= most {
                return false;
            }
            targets += self.remove(key).map_or(0, |(_, ends)| ends.len());
        }
        true
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many targets the requests name.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many those of one connection name.
    pub(super) fn size_of(&self, session: u64) -> usize {
        self.size_of.get(&session).copied().unwrap_or(0)
    }
}
