//! What has happened, as numbers: how many jobs of each queue went which way, how long they waited and ran, and the same step
//! by step for the last hour and the last day. It listens to what the core tells of changes and is told the time; nothing depends on
//! it. Only so many queues have numbers of their own, the others are summed up. All begins at zero with each daemon, but for the
//! past, which may be brought back (`saved`). It must not know clocks, and of ours only `core`.

mod counts;
mod histogram;
mod history;
mod observe;
mod saved;
mod since;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::Counting;

pub use counts::{Count, Counts};
pub use histogram::Histogram;
pub use history::{COARSE_MS, FINE_MS, Past, Point, Rings};
pub use saved::{BadPast, Saved};

use crate::core::{IdRange, Job, QueueName, Time};
use history::{COARSE_KEPT, FINE_IN_COARSE, FINE_KEPT, Lives};
use rustc_hash::FxHashMap;
use since::ReadySince;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name under which queues are summed up that have no numbers of their own: no queue may have it.
pub const OTHERS: &str = "(others)";

/// Where those are.
const OF_OTHERS: usize = 0;

/// The numbers of one queue, or of all that have none of their own.
#[derive(Debug)]
struct Slot {
    name: Arc<str>,
    /// Of the fine step that goes on.
    now: Counts,
    /// Of the coarse step that goes on, but for that.
    minute: Counts,
    /// Of all steps that are over.
    before: Counts,
    rings: Arc<Rings>,
}

impl Slot {
    fn new(name: Arc<str>) -> Slot {
        let (now, minute, before) = Default::default();
        Slot { name, now, minute, before, rings: Arc::default() }
    }
}

/// All numbers.
#[derive(Debug)]
pub struct Tally {
    /// Which slot a queue has. The hash does not withstand chosen names: there are only as many queues as the limits allow.
    places: FxHashMap<QueueName, usize>,
    /// The queue that was counted last, which is likely to be the next one.
    newest: Option<(QueueName, usize)>,
    slots: Vec<Slot>,
    /// Those that no queue has any more.
    free: Vec<usize>,
    /// How many queues have numbers of their own at most.
    most: usize,
    ready: ReadySince,
    /// The fine step that goes on, and when it is over.
    step: u32,
    step_ends: Time,
    lives: Lives,
    circuits_opened: u64,
    timed_out: u64,
    /// How long commits took, in microseconds, and how many bytes they had.
    commit_time: Histogram,
    commit_bytes: Histogram,
    /// How often which limit was met.
    limits_hit: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Nothing was counted. `most`: how many queues have numbers of their own.
    pub fn new(most: usize, now: Time) -> Tally {
        let step = step_of(now);
        Tally {
            places: FxHashMap::default(),
            newest: None,
            slots: vec![Slot::new(OTHERS.into())],
            free: Vec::new(),
            most,
            ready: ReadySince::default(),
            step,
            step_ends: end_of(step),
            lives: Lives::default(),
            circuits_opened: 0,
            timed_out: 0,
            commit_time: Histogram::default(),
            commit_bytes: Histogram::default(),
            limits_hit: BTreeMap::new(),
        }
    }

    /// So many queues may have numbers of their own from now on. Those that have some keep them.
    pub fn set_most(&mut self, most: usize) {
        if most > self.most {
            self.places.retain(|_, place| *place != OF_OTHERS);
            self.newest = None;
        }
        self.most = most;
    }

    /// There is this queue.
    pub fn know(&mut self, queue: &QueueName) {
        self.place_of(queue);
    }

    /// What is counted of a queue now.
    #[inline]
    fn of(&mut self, queue: &QueueName) -> &mut Counts {
        let place = self.place_of(queue);
        &mut self.slots[place].now
    }

    #[inline]
    fn place_of(&mut self, queue: &QueueName) -> usize {
        match &self.newest {
            Some((newest, place)) if newest.is_same(queue) || newest == queue => *place,
            _ => self.look_up(queue),
        }
    }

    #[inline(never)]
    fn look_up(&mut self, queue: &QueueName) -> usize {
        let place = match self.places.get(queue).copied() {
            Some(place) => place,
            None => {
                let place = self.new_place(queue);
                self.places.insert(queue.clone(), place);
                place
            }
        };
        self.newest = Some((queue.clone(), place));
        place
    }

    fn new_place(&mut self, queue: &QueueName) -> usize {
        let taken = self.slots.len() - 1 - self.free.len();
        if taken >= self.most {
            return OF_OTHERS;
        }
        let slot = Slot::new(queue.shared());
        match self.free.pop() {
            Some(place) => {
                self.slots[place] = slot;
                place
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    fn forget(&mut self, queue: &QueueName) {
        self.newest = None;
        if let Some(place) = self.places.remove(queue).filter(|place| *place != OF_OTHERS) {
            self.slots[place] = Slot::new("".into());
            self.free.push(place);
        }
    }

    /// Whether a step is over.
    #[inline]
    pub fn is_step_over(&self, now: Time) -> bool {
        now >= self.step_ends
    }

    /// Ends the steps that are over. `ready` says how many jobs of a queue are ready now: nothing has changed since the step was over.
    pub fn end_steps(&mut self, now: Time, ready: impl Fn(&QueueName) -> u64) {
        let next = step_of(now);
        if next <= self.step {
            return;
        }
        let ends_coarse = next / FINE_IN_COARSE > self.step / FINE_IN_COARSE;
        self.end_step(ends_coarse, ready);
        self.lives.run(self.step, next);
        (self.step, self.step_ends) = (next, end_of(next));
    }

    /// Ends the step that goes on before its time: the daemon ends.
    pub fn end(&mut self, ready: impl Fn(&QueueName) -> u64) {
        self.end_step(true, ready);
        self.lives.run(self.step, self.step + 1);
    }

    fn end_step(&mut self, ends_coarse: bool, ready: impl Fn(&QueueName) -> u64) {
        let mut ready_in = vec![0; self.slots.len()];
        self.places.iter().for_each(|(queue, place)| ready_in[*place] += ready(queue));
        for (slot, ready) in self.slots.iter_mut().zip(ready_in) {
            let rings = Arc::make_mut(&mut slot.rings);
            rings.fine.push(self.step, Point::of(&slot.now, ready), FINE_KEPT);
            if !slot.now.are_none() {
                slot.minute.add_all(&slot.now);
                slot.before.add_all(&slot.now);
                slot.now = Counts::default();
            }
            if ends_coarse {
                rings.coarse.push(self.step / FINE_IN_COARSE, Point::of(&slot.minute, ready), COARSE_KEPT);
                if !slot.minute.are_none() {
                    slot.minute = Counts::default();
                }
            }
        }
    }

    /// What was counted of a queue that has numbers of its own.
    pub fn queue(&self, queue: &QueueName) -> Option<Counts> {
        let place = self.places.get(queue).filter(|place| **place != OF_OTHERS)?;
        Some(self.slots[*place].counts())
    }

    /// The names of those, in no order.
    pub fn names(&self) -> impl Iterator<Item = &QueueName> {
        self.places.iter().filter(|(_, place)| **place != OF_OTHERS).map(|(queue, _)| queue)
    }

    /// What was counted of the others, and their names; `None` if there are none.
    pub fn others(&self) -> Option<(Counts, Vec<&QueueName>)> {
        let names: Vec<_> =
            self.places.iter().filter(|(_, place)| **place == OF_OTHERS).map(|(queue, _)| queue).collect();
        (!names.is_empty()).then(|| (self.slots[OF_OTHERS].counts(), names))
    }

    /// The steps that are over, from so long ago on, of the queues that are `shown`, and of the others if `all` are.
    pub fn past(&self, since_ms: u64, shown: impl Fn(&QueueName) -> bool, all: bool) -> Past {
        let own = self.places.iter().filter(|(queue, place)| **place != OF_OTHERS && shown(queue));
        let has_others = all && self.places.values().any(|place| *place == OF_OTHERS);
        let places = own.map(|(_, place)| *place).chain(has_others.then_some(OF_OTHERS));
        let rings = |place: usize| (self.slots[place].name.clone(), self.slots[place].rings.clone());
        let mut queues: Vec<_> = places.map(rings).collect();
        queues.sort_by(|(one, _), (other, _)| one.cmp(other));
        Past::new(self.step, since_ms, self.lives.clone(), queues)
    }

    /// Since when the first of some ready jobs is, as far as that is known.
    pub fn ready_since(&self, jobs: IdRange, job: &Job) -> Option<Time> {
        self.ready.first_of(jobs, job, READY_PARTS)
    }

    /// A commit of so many bytes took so long, in microseconds.
    pub fn committed(&mut self, micros: u64, bytes: u64) {
        self.commit_time.add(micros, 1);
        self.commit_bytes.add(bytes, 1);
    }

    /// How long commits took, in microseconds.
    pub fn commit_time(&self) -> &Histogram {
        &self.commit_time
    }

    /// How many bytes they had.
    pub fn commit_bytes(&self) -> &Histogram {
        &self.commit_bytes
    }

    /// There is this limit, which was not met yet.
    pub fn know_limit(&mut self, limit: &'static str) {
        self.limits_hit.insert(limit, 0);
    }

    /// Something was refused, or somebody was sent away, by a limit that is known.
    pub fn limit_hit(&mut self, limit: &'static str) {
        debug_assert!(self.limits_hit.contains_key(limit), "{limit} is none that is known");
        *self.limits_hit.entry(limit).or_default() += 1;
    }

    /// How often which limit was met, by name.
    pub fn limits_hit(&self) -> &BTreeMap<&'static str, u64> {
        &self.limits_hit
    }

    /// How many leases have ended because clients that count it did not say a word in time.
    pub fn timed_out(&self) -> u64 {
        self.timed_out
    }

    /// How often the circuit of a queue has opened.
    pub fn circuits_opened(&self) -> u64 {
        self.circuits_opened
    }
}

/// So many parts of a run of ready jobs are looked at for the one that has waited longest.
const READY_PARTS: usize = 16;

impl Slot {
    fn counts(&self) -> Counts {
        let mut counts = self.before.clone();
        counts.add_all(&self.now);
        counts
    }
}

fn step_of(now: Time) -> u32 {
    u32::try_from(now.0 / FINE_MS).unwrap_or(u32::MAX - 1)
}

fn end_of(step: u32) -> Time {
    Time((u64::from(step) + 1) * FINE_MS)
}
