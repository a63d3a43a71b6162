//! Requests that wait until jobs have ended. Learns of ends as they happen, because a job that is not kept leaves
//! nothing to look at.

use super::answer::{End, Origin};
use crate::core::{IdRange, JobId, Time};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Who waited, and what is known of each job that was waited for.
pub(super) type Ended = (Origin, Vec<(JobId, Option<End>)>);

#[derive(Debug)]
struct Watch {
    origin: Origin,
    until: Time,
    /// In the order asked for.
    ends: Vec<(JobId, Option<End>)>,
    open: usize,
}

/// All requests that wait for ends.
#[derive(Debug, Default)]
pub(super) struct Watching {
    next_key: u64,
    watches: HashMap<u64, Watch>,
    /// Each job that is waited for, by whom, and its place among the ends.
    by_job: BTreeSet<(JobId, u64, usize)>,
    deadlines: BTreeSet<(Time, u64)>,
    by_origin: BTreeMap<Origin, u64>,
    /// How many jobs the requests name: all, and those of each connection.
    size: usize,
    size_of: HashMap<u64, usize>,
}

impl Watching {
    /// Adds a request. `ends` holds what is known of each job already; at least one is open.
    pub(super) fn add(&mut self, origin: Origin, until: Time, ends: Vec<(JobId, Option<End>)>) {
        let key = self.next_key;
        self.next_key += 1;
        let mut open = 0;
        for (place, (id, _)) in ends.iter().enumerate().filter(|(_, (_, end))| end.is_none()) {
            self.by_job.insert((*id, key, place));
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

    /// Jobs have ended, each as `end` says; gives back the requests of which the last job is among them.
    pub(super) fn ended(&mut self, jobs: IdRange, end: impl Fn(JobId) -> End) -> Vec<(Origin, Vec<End>)> {
        let mut over = Vec::new();
        while let Some(&(id, key, place)) = self.by_job.range((jobs.first, 0, 0)..).next()
            && id < jobs.end()
        {
            self.by_job.remove(&(id, key, place));
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

    fn remove(&mut self, key: u64) -> Option<Ended> {
        let watch = self.watches.remove(&key)?;
        let session = watch.origin.session;
        self.deadlines.remove(&(watch.until, key));
        self.by_origin.remove(&watch.origin);
        for (place, (id, _)) in watch.ends.iter().enumerate().filter(|(_, (_, end))| end.is_none()) {
            self.by_job.remove(&(*id, key, place));
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
    pub(super) fn over(&mut self, now: Time) -> Vec<Ended> {
        let keys: Vec<u64> = self.deadlines.range(..=(now, u64::MAX)).map(|(_, key)| *key).collect();
        keys.into_iter().filter_map(|key| self.remove(key)).collect()
    }

    /// Takes one request out.
    pub(super) fn of_request(&mut self, origin: Origin) -> Option<Ended> {
        let key = *self.by_origin.get(&origin)?;
        self.remove(key)
    }

    /// Takes the requests out that wait for the end of a job which `is_picked` says, with that job.
    pub(super) fn take(&mut self, is_picked: impl Fn(Origin, JobId) -> bool) -> Vec<(Origin, JobId)> {
        let first = |watch: &Watch| {
            let mut open = watch.ends.iter().filter(|(_, end)| end.is_none()).map(|(id, _)| *id);
            open.find(|id| is_picked(watch.origin, *id))
        };
        let picked: Vec<(u64, JobId)> =
            self.watches.iter().filter_map(|(key, watch)| Some((*key, first(watch)?))).collect();
        picked.into_iter().filter_map(|(key, id)| Some((self.remove(key)?.0, id))).collect()
    }

    /// Forgets requests of a connection that name about `most` jobs. Returns whether none is left.
    pub(super) fn forget_some(&mut self, session: u64, most: usize) -> bool {
        let (from, to) = (Origin { session, request: 0 }, Origin { session, request: u32::MAX });
        let mut jobs = 0;
        while let Some(key) = self.by_origin.range(from..=to).next().map(|(_, key)| *key) {
            if jobs >= most {
                return false;
            }
            jobs += self.remove(key).map_or(0, |(_, ends)| ends.len());
        }
        true
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// How many jobs the requests name.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// How many those of one connection name.
    pub(super) fn size_of(&self, session: u64) -> usize {
        self.size_of.get(&session).copied().unwrap_or(0)
    }
}
