//! The jobs of a queue that have a key. Those of one key go in the order of priority and arrival, however often one of them
//! comes back: they are a lane of their own. How many of a key are leased is counted here as well, so that a claim finds
//! the lanes that may give without looking at those that may not, be they ten or a hundred thousand. It knows ids, keys
//! and times; how many of a key may be leased, and how fast, it is told.
//!
//! `paced` is what is done where keys have a rate; both use `heads`, which knows neither.

mod heads;
mod paced;

use super::fair::Turn;
use super::ids::{IdRange, JobId};
use super::job::{Key, Priority};
use super::rate::Rate;
use super::ready::Line;
use super::settings::{QueueSettings, Retries};
use super::sorted::Sorted;
use super::time::Time;
use heads::{Head, Heads};
use paced::Paced;
use std::collections::{BTreeMap, HashMap};

/// What the settings of a queue say of its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyRules {
    /// The most jobs with the same key that may be leased at a time.
    pub per_key: Option<u32>,
    /// How fast those of one key may be leased.
    pub rate: Option<Rate>,
    /// Whether keys take turns.
    pub fair: bool,
}

impl KeyRules {
    /// Whether it is remembered of a key that it was served.
    pub(super) fn remember(self) -> bool {
        self.rate.is_some() || self.fair
    }
}

impl QueueSettings {
    /// What they say of keys.
    pub fn key_rules(&self) -> KeyRules {
        KeyRules { per_key: self.per_key, rate: self.per_key_rate, fair: self.fair }
    }
}

/// The lanes of a queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    /// The jobs that are ready, in the order of each key: the first id of neighbours that are alike.
    ready: Sorted<(Key, Priority, JobId), Stretch>,
    len: u64,
    /// How many jobs of a key are leased, of those keys that have any.
    leased: HashMap<Key, u64>,
    /// The first ready job of each key, by how many of the key are leased. No empty ones. Those whose rate is used up are
    /// not here.
    heads: BTreeMap<u64, Heads>,
    /// What is remembered of keys that were served; `None` where nothing is and no rate is in force.
    paced: Option<Box<Paced>>,
}

/// Ready jobs that are neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    len: u64,
    /// When the last attempt of those began that have come back; [`Time::NEVER`] for others.
    tried: Time,
}

/// Where the first ready job of a key is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nowhere: the key has none.
    None,
    /// Among those that may go if so many of its key may be leased.
    Open(u64, Head),
    /// Among those whose rate is used up.
    Closed(paced::Closed),
}

impl Lanes {
    /// Whether nothing is known of any key.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && self.leased.is_empty() && self.remembers_none()
    }

    /// Whether there are ready jobs.
    pub(super) fn has_ready(&self) -> bool {
        self.len > 0
    }

    /// How many jobs of a key are leased.
    pub(super) fn leased_of(&self, key: Key) -> u64 {
        self.leased.get(&key).copied().unwrap_or(0)
    }

    /// Jobs of a key are ready. `returned`: when the last attempt of those began that have come back.
    pub(super) fn insert(&mut self, key: Key, priority: Priority, range: IdRange, returned: Option<Time>) {
        let tried = returned.unwrap_or(Time::NEVER);
        self.len += range.len;
        self.change(key, |lanes| {
            // Neighbours that are alike are one: so are the jobs themselves, and they leave together.
            let mut len = range.len;
            let behind = (key, priority, range.end());
            if let Some(next) = lanes.ready.get(behind).filter(|next| next.tried == tried) {
                len += next.len;
                lanes.ready.remove(behind);
            }
            if let Some(((last_key, last_priority, first), stretch)) =
                lanes.ready.last_to_mut((key, priority, range.first))
                && (last_key, last_priority) == (key, priority)
                && first.plus(stretch.len) == range.first
                && stretch.tried == tried
            {
                stretch.len += len;
                return;
            }
            lanes.ready.insert((key, priority, range.first), Stretch { len, tried });
        });
    }

    /// They are not ready any more.
    pub(super) fn remove(&mut self, key: Key, priority: Priority, range: IdRange) {
        self.len -= range.len;
        self.change(key, |lanes| {
            let Some(((_, _, first), stretch)) = lanes.ready.last_to_mut((key, priority, range.first)) else {
                return debug_assert!(false, "{range:?} is not there");
            };
            let whole = *stretch;
            let end = first.plus(whole.len);
            debug_assert!(first <= range.first && range.end() <= end, "{range:?} is not there");
            if first == range.first {
                lanes.ready.remove((key, priority, first));
            } else {
                stretch.len = range.first.0 - first.0;
            }
            if range.end() < end {
                let rest = Stretch { len: end.0 - range.end().0, ..whole };
                lanes.ready.insert((key, priority, range.end()), rest);
            }
        });
    }

    /// So many more jobs of a key are leased.
    pub(super) fn lease(&mut self, key: Key, jobs: u64) {
        self.change(key, |lanes| *lanes.leased.entry(key).or_default() += jobs);
    }

    /// So many are not leased any more.
    pub(super) fn unlease(&mut self, key: Key, jobs: u64) {
        self.change(key, |lanes| {
            let left =
                lanes.leased_of(key).checked_sub(jobs).expect("a lease ends only where it was counted");
            match left {
                0 => lanes.leased.remove(&key),
                left => lanes.leased.insert(key, left),
            };
        });
    }

    /// Changes what is known of a key, and then its place.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Lanes)) {
        let before = self.place(key);
        change(self);
        let after = self.place(key);
        if before != after {
            self.leave(key, before);
            self.enter(key, after);
        }
    }

    fn place(&self, key: Key) -> Place {
        let Some(head) = self.head(key) else { return Place::None };
        match self.paced.as_ref().and_then(|paced| paced.closed(key)) {
            Some(closed) => Place::Closed(closed),
            None => Place::Open(self.leased_of(key), head),
        }
    }

    fn leave(&mut self, key: Key, place: Place) {
        match place {
            Place::None => {}
            Place::Open(leased, head) => {
                let heads = self.heads.get_mut(&leased).expect("each key with ready jobs has a head");
                heads.remove(head);
                if heads.is_empty() {
                    self.heads.remove(&leased);
                }
            }
            Place::Closed(closed) => self.paced.iter_mut().for_each(|paced| paced.open(key, closed)),
        }
    }

    fn enter(&mut self, key: Key, place: Place) {
        match place {
            Place::None => {}
            Place::Open(leased, head) => self.heads.entry(leased).or_default().insert(head, key),
            Place::Closed(closed) => self.paced.iter_mut().for_each(|paced| paced.close(key, closed)),
        }
    }

    fn head(&self, key: Key) -> Option<Head> {
        let ((found, priority, id), stretch) = self.ready.from((key, Priority(0), JobId(0))).next()?;
        if found != key {
            return None;
        }
        let turn = self.paced.as_ref().filter(|paced| paced.is_fair()).map(|_| self.turn_of(key, id));
        Some(Head { priority, id, tried: stretch.tried, turn })
    }

    /// The heads of the keys of which fewer than `per_key` jobs are leased.
    fn open(&self, per_key: Option<u32>) -> impl Iterator<Item = &Heads> {
        self.heads.range(..per_key.map_or(u64::MAX, u64::from)).map(|(_, heads)| heads)
    }

    /// The first priority of which a job may go.
    pub(super) fn first_priority(&self, per_key: Option<u32>) -> Option<Priority> {
        self.open(per_key).filter_map(Heads::first_priority).min()
    }

    /// The first fresh job of a priority that may go.
    pub(super) fn first_fresh(&self, priority: Priority, per_key: Option<u32>) -> Option<JobId> {
        let of = |heads: &Heads| {
            let ((found, id), _) = heads.fresh.from((priority, JobId(0))).next()?;
            (found == priority).then_some(id)
        };
        self.open(per_key).filter_map(of).min()
    }

    /// The first that has come back: whoever was tried longest ago, or the first by id, whenever it was, if `by_id`.
    pub(super) fn first_back(
        &self,
        priority: Priority,
        per_key: Option<u32>,
        by_id: bool,
    ) -> Option<(Time, JobId)> {
        let of = |heads: &Heads| match by_id {
            true => {
                let ((found, id), _) = heads.back_by_id.from((priority, JobId(0))).next()?;
                (found == priority).then_some((Time::NEVER, id))
            }
            false => heads.back_of(priority).next(),
        };
        let firsts = self.open(per_key).filter_map(of);
        if by_id { firsts.min_by_key(|(_, id)| *id) } else { firsts.min() }
    }

    /// Of those of a priority that may go, and have come back or have not: the first by turns.
    pub(super) fn first_by_turn(
        &self,
        priority: Priority,
        per_key: Option<u32>,
        back: bool,
    ) -> Option<(Turn, JobId)> {
        self.open(per_key).filter_map(|heads| heads.turns_of(back, priority).next()).min()
    }

    /// Shows those of a priority that may go: whether each has come back, and its turn.
    pub(super) fn line_by_turn(
        &self,
        priority: Priority,
        per_key: Option<u32>,
        mut show: impl FnMut(bool, (Turn, JobId)),
    ) {
        for (heads, back) in self.open(per_key).flat_map(|heads| [(heads, false), (heads, true)]) {
            heads.turns_of(back, priority).for_each(|turn| show(back, turn));
        }
    }

    /// How many that may go have a priority before this one.
    pub(super) fn before(&self, priority: Priority, per_key: Option<u32>) -> u64 {
        self.open(per_key).map(|heads| heads.before(priority)).sum()
    }

    /// Those of a priority that may go, as seen from this job. `returned` is as in [`Lanes::insert`].
    pub(super) fn line(
        &self,
        priority: Priority,
        per_key: Option<u32>,
        (id, returned): (JobId, Option<Time>),
        retries: Retries,
    ) -> Line {
        let mut line = Line::default();
        for heads in self.open(per_key) {
            let fresh =
                heads.fresh.from((priority, JobId(0))).take_while(|((found, _), _)| *found == priority);
            for ((_, other), _) in fresh {
                line.fresh += 1;
                line.fresh_before += u64::from(other < id);
            }
            for (tried, other) in heads.back_of(priority) {
                line.back += 1;
                let is_before = match (retries, returned) {
                    (Retries::Place, _) => other < id,
                    (Retries::Alternate | Retries::Behind, Some(own)) => (tried, other) < (own, id),
                    (Retries::Alternate | Retries::Behind, None) => false,
                };
                line.back_before += u64::from(is_before);
            }
        }
        line
    }

    /// How many ready jobs of its key are before this one.
    pub(super) fn ahead_in_lane(&self, key: Key, priority: Priority, id: JobId) -> u64 {
        let own = self.ready.from((key, Priority(0), JobId(0)));
        let before = own.take_while(|((found, of, first), _)| (*found, *of, *first) < (key, priority, id));
        before
            .map(
                |((_, of, first), stretch)| {
                    if of == priority { stretch.len.min(id.0 - first.0) } else { stretch.len }
                },
            )
            .sum()
    }

    /// All that are ready.
    pub(super) fn ranges(&self) -> impl Iterator<Item = IdRange> {
        self.ready.iter().map(|((_, _, first), stretch)| IdRange::new(first, stretch.len))
    }

    /// All ready jobs with their keys, priorities and when they were tried; which are leased; and the heads with how many of
    /// their keys are leased: for the check of the invariants.
    #[expect(clippy::type_complexity, reason = "the check takes it apart at once")]
    pub(super) fn parts(
        &self,
    ) -> (
        impl Iterator<Item = (Key, Priority, IdRange, Time)>,
        &HashMap<Key, u64>,
        impl Iterator<Item = (u64, Key, Priority, JobId)>,
    ) {
        let ready = self.ready.iter();
        let ready =
            ready.map(|((key, priority, first), it)| (key, priority, IdRange::new(first, it.len), it.tried));
        let heads = self
            .heads
            .iter()
            .flat_map(|(leased, heads)| heads.iter().map(|(key, priority, id)| (*leased, key, priority, id)));
        (ready, &self.leased, heads)
    }
}
