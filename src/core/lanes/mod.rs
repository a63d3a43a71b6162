//! The jobs of a queue that have a key. Those of one key go in the order of priority and arrival, however often one of them
//! comes back: they are a [`lane`] of their own. Which lanes may give, and in which order, is the [`order`]; what is
//! [`remembered`] of keys that were served has a part in it. Both know `lane`, and neither this. It knows ids, keys and times; how
//! many of a key may be leased, and how fast, it is told.

mod lane;
mod order;
mod remembered;

pub(in crate::core) use order::Standing;

use super::ids::{IdRange, Ids, JobId};
use super::job::{Job, Key, Priority};
use super::rate::Rate;
use super::ready::Line;
use super::served::ServedKeys;
use super::settings::{QueueSettings, Retries};
use super::time::Time;
use lane::Lane;
use order::{Order, Place};
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::hint::black_box;

/// What the settings of a queue say of which of its keys goes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// The most jobs with the same key that may be leased at a time.
    pub per_key: Option<u32>,
    /// How fast those of one key may be leased.
    pub rate: Option<Rate>,
    /// Whether keys take turns.
    pub fair: bool,
    /// Where those that have come back are, if keys do not.
    pub retries: Retries,
}

impl KeyRules {
    /// Whether it is remembered of a key that it was served.
    pub(super) fn remember(self) -> bool {
        self.rate.is_some() || self.fair
    }
}

impl QueueSettings {
    /// What they say of which key goes next.
    pub fn key_rules(&self) -> KeyRules {
        let QueueSettings { per_key, per_key_rate: rate, fair, retries, .. } = *self;
        KeyRules { per_key, rate, fair, retries }
    }
}

/// Room for so many lanes is kept, whether they are there or not.
const SMALL: usize = 1 << 10;

/// The lanes of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    /// Those that have jobs which are ready or leased. The hash does not withstand chosen keys: whoever tries many texts finds some
    /// that are looked up one after the other, which makes their own jobs some microseconds slower.
    lanes: FxHashMap<Key, Lane>,
    /// How many jobs are ready.
    ready: u64,
    /// What is remembered of keys that were served.
    served: ServedKeys,
    /// Those that may go; `None` until somebody asks for it.
    order: Option<Order>,
}

impl Lanes {
    /// Whether nothing is known of any key.
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.served.is_empty()
    }

    /// Whether there are ready jobs.
    pub(super) fn has_ready(&self) -> bool {
        self.ready > 0
    }

    /// How many jobs of a key are leased.
    pub(super) fn leased_of(&self, key: Key) -> u64 {
        self.lanes.get(&key).map_or(0, Lane::leased)
    }

    /// Looks at the lanes of keys that will be changed, so that they are at hand.
    pub(super) fn fetch(&self, keys: impl Iterator<Item = Key>) {
        let lanes = keys.filter_map(|key| self.lanes.get(&key));
        black_box(lanes.fold(0, |all, lane| all ^ lane.ends()));
    }

    /// Jobs of a key are ready. `returned`: when the last attempt of those began that have come back.
    pub(super) fn insert(&mut self, key: Key, priority: Priority, range: IdRange, returned: Option<Time>) {
        self.ready += range.len;
        self.change(key, |lane| lane.insert(priority, range, returned.unwrap_or(Time::NEVER)));
    }

    /// They are not ready any more.
    pub(super) fn remove(&mut self, key: Key, priority: Priority, range: IdRange) {
        self.ready -= range.len;
        self.change(key, |lane| lane.remove(priority, range));
    }

    /// Ready jobs of a key are leased.
    pub(super) fn give(&mut self, key: Key, priority: Priority, range: IdRange) {
        self.ready -= range.len;
        self.change(key, |lane| {
            lane.remove(priority, range);
            lane.lease(range.len);
        });
    }

    /// So many more jobs of a key are leased.
    pub(super) fn lease(&mut self, key: Key, jobs: u64) {
        self.change(key, |lane| lane.lease(jobs));
    }

    /// So many are not leased any more.
    pub(super) fn unlease(&mut self, key: Key, jobs: u64) {
        self.change(key, |lane| lane.unlease(jobs));
    }

    /// Changes the lane of a key, and then its place in the order.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Lane)) {
        let mut entry = match self.lanes.entry(key) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => entry.insert_entry(Lane::default()),
        };
        let lane = entry.get_mut();
        match &mut self.order {
            None => change(lane),
            Some(order) => {
                let before = order.place(key, lane, &self.served);
                change(lane);
                let after = order.place(key, lane, &self.served);
                if before != after {
                    order.leave(key, before);
                    order.enter(key, after);
                }
            }
        }
        if lane.is_empty() {
            entry.remove();
            if self.lanes.capacity() > SMALL.max(self.lanes.len() * 8) {
                self.lanes.shrink_to(self.lanes.len() * 2);
            }
        }
    }

    /// Takes rules into force, and the time: those keys may go that they let go now. All that is asked of the order of keys below is
    /// asked after this.
    pub(super) fn arrange(&mut self, rules: KeyRules, now: Time) {
        let Some(order) = self.order.as_mut().filter(|order| order.rules() == rules) else {
            self.order = Some(Order::new(rules, now, self.lanes.iter(), &self.served));
            return;
        };
        while let Some(key) = order.next_opened(now) {
            if let Some(lane) = self.lanes.get(&key) {
                order.enter(key, order.place(key, lane, &self.served));
            }
        }
    }

    /// When the first of the keys that are set aside may go.
    pub(super) fn next_opens(&self, now: Time) -> Option<Time> {
        self.order.as_ref()?.next_opens(now)
    }

    /// The first priority of which a job may go.
    pub(super) fn first_priority(&self) -> Option<Priority> {
        self.order.as_ref()?.first_priority()
    }

    /// The first job of a priority that may go, and where it stands: of those that have come back, where these are apart, or of the
    /// others.
    pub(super) fn first(&self, priority: Priority, has_come_back: bool) -> Option<(Standing, JobId)> {
        let (standing, key) = self.order.as_ref()?.first(priority, has_come_back)?;
        Some((standing, self.lanes.get(&key)?.head()?.id))
    }

    /// The first jobs of the keys that may go, at most so many: as long as what is next of a key that has given one stands behind them.
    /// `None` where those that have come back take turns with the others. Only where a key stands where its first job does.
    pub(super) fn first_few(&self, max: u64) -> Option<Ids> {
        let (order, mut ids) = (self.order.as_ref()?, Ids::new());
        let Some(priority) = order.first_priority() else { return Some(ids) };
        let alternates = order.rules().retries == Retries::Alternate;
        if alternates && order.first(priority, true).is_some() {
            return None;
        }
        let mut again: Option<Standing> = None;
        for (standing, key) in order.open().take(usize::try_from(max).unwrap_or(usize::MAX)) {
            let is_behind = again.is_some_and(|again| again < standing);
            // Of another priority there may be some that have come back.
            if is_behind || (alternates && standing.priority != priority) {
                break;
            }
            ids.push(standing.first_job());
            let next = order.may_give_another().then(|| order.stands_again(self.lanes.get(&key)?)).flatten();
            if alternates && next.is_some_and(Standing::has_come_back) {
                break;
            }
            again = again.into_iter().chain(next).min();
        }
        Some(ids)
    }

    /// How many keys that may go have a priority before this one.
    pub(super) fn before(&self, priority: Priority) -> u64 {
        self.order.as_ref().map_or(0, |order| order.before(priority))
    }

    /// The keys of its priority that may go, as seen from a job that stands here.
    pub(super) fn line(&self, own: Standing) -> Line {
        self.order.as_ref().map_or(Line::default(), |order| order.line(own))
    }

    /// How many ready jobs of its key are before this one.
    pub(super) fn ahead_in_lane(&self, key: Key, id: JobId, job: &Job) -> u64 {
        self.lanes.get(&key).map_or(0, |lane| lane.ahead(job.spec.priority, id))
    }

    /// The first of each key that is ready, in no order.
    pub(super) fn heads(&self) -> impl Iterator<Item = JobId> {
        self.lanes.values().filter_map(|lane| Some(lane.head()?.id))
    }

    /// All that are ready, in no order.
    pub(super) fn ranges(&self) -> impl Iterator<Item = IdRange> {
        self.lanes.values().flat_map(|lane| lane.ready().map(|(_, range, _)| range))
    }

    /// All ready jobs with their keys, priorities and when they were tried, and how many of each key are leased: for the check of
    /// the invariants.
    pub(super) fn parts(
        &self,
    ) -> (impl Iterator<Item = (Key, Priority, IdRange, Time)>, impl Iterator<Item = (Key, u64)>) {
        let ready = self.lanes.iter().flat_map(|(key, lane)| {
            lane.ready().map(|(priority, range, tried)| (*key, priority, range, tried))
        });
        (ready, self.lanes.iter().map(|(key, lane)| (*key, lane.leased())))
    }

    /// Panics if it contradicts itself.
    pub(super) fn check(&self) {
        assert!(self.lanes.values().all(|lane| !lane.is_empty()), "a lane is kept that is empty");
        self.served.check();
        let Some(order) = &self.order else { return };
        let found: FxHashMap<Key, Place> = order.places().collect();
        let wanted = self.lanes.iter().map(|(key, lane)| (*key, order.place(*key, lane, &self.served)));
        let wanted: FxHashMap<Key, Place> = wanted.filter(|(_, place)| *place != Place::None).collect();
        assert_eq!(order.places().count(), found.len(), "a key is in the order twice");
        assert_eq!(found, wanted, "the order of the keys");
    }
}
