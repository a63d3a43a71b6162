//! A queue whose keys take turns. What any user would expect: between two leases of a key every other one that had a job ready
//! all the time, as urgent, and could have been given it, was given one; and no job goes before one of another key, as urgent,
//! that was ready already when it was submitted, unless that key was given one since. Jobs without a key are one key, which
//! others may go before. This holds over starts that have lost nothing.

use crate::clients::{Clients, group};
use crate::oracle::Oracle;
use crate::queues::named;
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{
    Attempt, Groups, IdRange, JobId, Key, Priority, QueueName, QueueSettings, State, StateKind,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The most jobs of a key that run at a time: a key that has as many has no turn.
const PER_KEY: u64 = 2;

/// More jobs than this are not ready there.
const READY_MAX: u64 = 20;

/// The queue.
pub(crate) fn fair() -> QueueName {
    named("fair")
}

pub(crate) fn with_turns(settings: QueueSettings) -> QueueSettings {
    QueueSettings { fair: true, per_key: Some(PER_KEY as u32), ..settings }
}

/// When somebody looked, and the id that the next job was to get then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Moment(u64, JobId);

/// A job that could be given out all the time since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Waiting {
    key: Option<Key>,
    priority: Priority,
    since: Moment,
}

/// How a key is at a moment.
#[derive(Clone, Debug, Default)]
struct Now {
    ready: BTreeMap<JobId, Priority>,
    running: u64,
    /// The jobs that were given out since the last moment.
    leases: Vec<(JobId, Priority)>,
    /// Whether one may have been given out that has expired at once.
    was_late: bool,
}

type All = BTreeMap<Option<Key>, Now>;

/// The turns of all keys.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    now: Moment,
    waiting: BTreeMap<JobId, Waiting>,
    /// When a job of each key was given out last.
    leased: BTreeMap<Option<Key>, Moment>,
    attempts: BTreeMap<JobId, (Attempt, Option<Key>)>,
    claimed: u64,
}

impl Turns {
    /// A daemon has found this; it is all that there was, or something is lost.
    pub(crate) fn found(&mut self, state: &State, is_all: bool) {
        self.attempts.clear();
        if !is_all {
            self.leased.clear();
            self.waiting.clear();
        }
        self.look(state);
    }

    /// Looks. Nothing was asked but once since the last time.
    pub(crate) fn look(&mut self, state: &State) {
        let Some(queue) = state.queue(&fair()) else { return };
        let claimed = std::mem::replace(&mut self.claimed, queue.totals().claimed);
        self.now = Moment(self.now.0 + 1, state.next_id());
        let all = self.all(state, self.claimed.saturating_sub(claimed));
        let mut waiting = BTreeMap::new();
        for (key, now) in all.iter().filter(|(_, now)| now.running < PER_KEY) {
            for (id, priority) in &now.ready {
                let new = Waiting { key: *key, priority: *priority, since: self.now };
                let known = self.waiting.get(id).filter(|old| (old.key, old.priority) == (*key, *priority));
                waiting.insert(*id, known.copied().unwrap_or(new));
            }
        }
        self.waiting = waiting;
        self.check(&all);
        let leased = all.iter().filter(|(_, now)| !now.leases.is_empty() || now.was_late);
        self.leased.extend(leased.map(|(key, _)| (*key, self.now)));
    }

    /// How all keys are; there were so many leases.
    fn all(&mut self, state: &State, leases: u64) -> All {
        let (mut all, mut attempts) = (All::new(), BTreeMap::new());
        for (range, job) in state.iter(IdRange::new(JobId(1), state.next_id().0)) {
            if job.spec.queue != fair() {
                continue;
            }
            let (priority, now) = (job.spec.priority, all.entry(job.spec.key).or_default());
            for id in range.iter() {
                match job.kind() {
                    StateKind::Ready => drop(now.ready.insert(id, priority)),
                    StateKind::Leased => now.running += 1,
                    _ => {}
                }
                let before = self.attempts.get(&id).map_or(job.attempt(), |(attempt, _)| *attempt);
                now.leases.extend((before.0..job.attempt().0).map(|_| (id, priority)));
                attempts.insert(id, (job.attempt(), job.spec.key));
            }
        }
        if all.values().map(|now| now.leases.len() as u64).sum::<u64>() < leases {
            let gone = self.attempts.iter().filter(|(id, _)| !attempts.contains_key(id));
            gone.for_each(|(_, (_, key))| all.entry(*key).or_default().was_late = true);
        }
        self.attempts = attempts;
        all
    }

    /// Jobs were given out: in their turn?
    fn check(&self, all: &All) {
        let of = |key: &Option<Key>| self.leased.get(key).copied().unwrap_or_default();
        for (key, now) in all {
            let passed = |id: JobId, priority: Priority, last: Moment| {
                self.waiting.iter().find(|(_, job)| {
                    let since = job.since.max(of(&job.key));
                    let other = &all[&job.key];
                    let has_turn = other.leases.is_empty() && !other.was_late && job.key != *key;
                    has_turn
                        && job.priority <= priority
                        && (since < last || since.1 <= id)
                        && since < self.now
                })
            };
            for (id, priority) in &now.leases {
                // One that has come back has its key's place, and new ones may go before it.
                let own = now.ready.iter().filter(|(_, ready)| *ready == priority).map(|(id, _)| *id);
                let passed = passed(own.fold(*id, JobId::min), *priority, of(key));
                assert!(
                    passed.is_none(),
                    "at {:?} {id} of {key:?}, given one at {:?}, goes before {passed:?}",
                    self.now,
                    of(key)
                );
            }
            // Of several the order is not known, but the least urgent one is not the first.
            let last =
                now.leases.iter().max_by_key(|(_, priority)| *priority).filter(|_| now.leases.len() > 1);
            let passed = last.and_then(|(id, priority)| passed(*id, *priority, self.now));
            assert!(passed.is_none(), "at {:?} {:?} of {key:?} go before {passed:?}", self.now, now.leases);
        }
    }
}

impl Clients {
    /// Submits jobs of a few keys, or of none.
    pub(crate) fn submit_fair(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let queue = life.engine.core().state.queue(&fair());
        if queue.is_some_and(|queue| queue.counts().of(StateKind::Ready) >= READY_MAX) {
            return;
        }
        let (mut sent, mut groups) = (Vec::new(), Groups::new());
        for _ in 0..1 + rng.usize(..2) {
            let (count, before) = (1 + rng.u64(..4), sent.len());
            let mut jobs = group(rng, &mut sent, fair(), count, life.now);
            let key = rng.u8(..6);
            let key = (key > 0).then(|| Key::new([key; 16]));
            Arc::make_mut(&mut jobs.spec).key = key;
            sent[before..].iter_mut().for_each(|sent| sent.key = key);
            groups.push(jobs);
        }
        self.submit_plain(rng, oracle, life, (groups, sent));
    }
}
