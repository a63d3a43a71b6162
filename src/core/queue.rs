//! One queue: its jobs by their state, what it counts, whether it is paused. It knows ids and priorities; the jobs
//! themselves are the state's. Who is next is in `next`.

use super::circuit::Circuit;
use super::ids::{IdRange, JobId, RangeSet};
use super::job::{Job, Priority, Spec, SpecOptions, StateKind};
use super::kept::KeptJobs;
use super::keyed::Together;
use super::kickable::Kickable;
use super::lanes::Lanes;
use super::overrides::Overrides;
use super::queued_keys::Towards;
use super::rate::RateUsed;
use super::ready::Ready;
use super::time::Time;
use super::unique::UniqueKeys;
use super::{QueueName, QueueRow, Totals};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many jobs of a queue are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; StateKind::ALL.len()]);

impl Counts {
    /// Jobs in this state.
    pub fn of(&self, kind: StateKind) -> u64 {
        self.0[kind as usize]
    }

    /// Jobs that wait to be claimed, now or later.
    pub fn waiting(&self) -> u64 {
        self.of(StateKind::Ready) + self.of(StateKind::Scheduled) + self.of(StateKind::Waiting)
    }

    /// Jobs in any state.
    pub fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    fn add(&mut self, kind: StateKind, n: u64) {
        self.0[kind as usize] += n;
    }

    fn subtract(&mut self, kind: StateKind, n: u64) {
        let count = &mut self.0[kind as usize];
        *count = count.checked_sub(n).expect("a job leaves only a state that it was counted in");
    }
}

/// Ready jobs of a priority before this one are counted apart, as beanstalkd does.
pub const URGENT: Priority = Priority(1024);

/// How many keys and priorities are looked at for the ready job that has waited longest.
const KEYS_LOOKED_AT: usize = 2_000;
const PRIORITIES_LOOKED_AT: usize = 8;

/// How many different specs of the newest jobs a queue remembers, so that equal ones are stored once.
const RECENT_SPECS: usize = 8;

/// One queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Until when it gives out no jobs, if it is paused; [`Time::NEVER`]: until it is resumed.
    pub(super) paused_until: Option<Time>,
    /// What went through it.
    pub(super) totals: Totals,
    /// The user with whose job it came into being, if it was one.
    pub(super) maker: Option<u32>,
    /// When jobs were last submitted to it, to the second; 0 if that is not known.
    pub(super) used: Time,
    /// What its leases have used of its rate, if it has one.
    pub(super) rate_used: RateUsed,
    /// What was set for it at run time.
    pub(super) overrides: Overrides,
    /// How its attempts have ended lately, if it has a circuit.
    pub(super) circuit: Circuit,
    counts: Counts,
    /// How many bytes the bodies of those have that wait, as far as that is counted.
    waiting_bytes: u64,
    /// Priority → the jobs that are ready and have no key. No empty sets.
    pub(super) ready: BTreeMap<Priority, Ready>,
    /// Those that have a key; `None` where none has.
    pub(super) lanes: Option<Box<Lanes>>,
    /// The unique keys that its jobs hold; `None` where none does.
    pub(super) unique: Option<Box<UniqueKeys>>,
    /// The other states → the jobs that are in them.
    by_state: [RangeSet; StateKind::ALL.len()],
    /// Those that wait, by priority; once somebody has asked for it.
    by_priority: Option<BTreeMap<Priority, RangeSet>>,
    /// Ended jobs that are kept.
    kept: KeptJobs,
    /// Those that can be kicked, in their order; once somebody has asked for it.
    kickable: Option<Box<Kickable>>,
    /// How many are ready and urgent.
    urgent: u64,
    recent: Vec<Arc<Spec>>,
}

impl Queue {
    /// How many jobs are in each state.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// How many bytes the bodies of those have that wait, as far as that is counted.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// What went through it.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The user with whose job it came into being, if it was one.
    pub fn maker(&self) -> Option<u32> {
        self.maker
    }

    /// When jobs were last submitted to it, to the second; 0 if that is not known.
    pub fn used(&self) -> Time {
        self.used
    }

    /// What its leases have used of its rate, as long as it had one.
    pub fn rate_used(&self) -> RateUsed {
        self.rate_used
    }

    /// What was set for it at run time, over what the configuration says.
    pub fn overrides(&self) -> &Overrides {
        &self.overrides
    }

    /// How its attempts have ended lately, as long as it had a circuit.
    pub fn circuit(&self) -> Circuit {
        self.circuit
    }

    /// Whether nothing would be lost with it but what it has counted.
    pub fn is_empty(&self) -> bool {
        self.paused_until.is_none() && self.overrides.is_empty() && self.counts.all() == 0
    }

    /// Whether it gives out no jobs.
    pub fn is_paused(&self) -> bool {
        self.paused_until.is_some()
    }

    /// Until when it gives out no jobs, if it is paused; [`Time::NEVER`]: until it is resumed.
    pub fn paused_until(&self) -> Option<Time> {
        self.paused_until
    }

    /// How many of its ready jobs have a priority before [`URGENT`].
    pub fn urgent(&self) -> u64 {
        self.urgent
    }

    /// Whether it has jobs that are ready, and is not paused.
    pub fn has_work(&self) -> bool {
        !self.is_paused() && self.counts.of(StateKind::Ready) > 0
    }

    /// Those of its ended jobs whose unique keys are free by now may give way.
    pub(super) fn free_kept(&mut self, now: Time) {
        self.kept.free(now);
    }

    /// Its ended jobs that are kept.
    pub(super) fn kept(&self) -> &KeptJobs {
        &self.kept
    }

    /// The stored twin of `spec`, if it was seen lately. One with a key has none.
    pub(super) fn recent(&self, spec: &Arc<Spec>) -> Option<&Arc<Spec>> {
        if spec.has_keys() {
            return None;
        }
        self.recent.iter().find(|known| *known == spec)
    }

    /// The one copy of `spec` that the queue's jobs share, if it is another. Of those with keys it is the options that are shared.
    pub(super) fn share(&mut self, spec: &Arc<Spec>) -> Option<Arc<Spec>> {
        if spec.has_keys() {
            let Some(known) = self.shared_options(&spec.options) else {
                self.remember(Arc::new(Spec { key: None, unique: None, ..(**spec).clone() }));
                return None;
            };
            let is_other = !Arc::ptr_eq(known, &spec.options);
            return is_other.then(|| Arc::new(spec.with_options(known.clone())));
        }
        let Some(known) = self.recent(spec) else {
            self.remember(spec.clone());
            return None;
        };
        (!Arc::ptr_eq(known, spec)).then(|| known.clone())
    }

    /// The copy of these options that the queue's jobs share, if it has any.
    pub(super) fn shared_options(&self, options: &Arc<SpecOptions>) -> Option<&Arc<SpecOptions>> {
        self.recent.iter().map(|known| &known.options).find(|known| *known == options)
    }

    fn remember(&mut self, spec: Arc<Spec>) {
        if self.recent.len() == RECENT_SPECS {
            self.recent.remove(0);
        }
        self.recent.push(spec);
    }

    /// Jobs came into the states that they are in, part by part, each of jobs that are alike. They share what is the same of many.
    pub(super) fn enter(&mut self, parts: &mut [(IdRange, Job)], towards: Towards) {
        if towards == Towards::Anything {
            self.fetch_keys(parts, towards);
        }
        let mut together = Together::default();
        for (range, job) in parts {
            if let Some(kind) = self.enter_part(*range, job, towards) {
                together
                    .push(kind, *range, |kind, range| self.state_of(kind).insert(range.first.0, range.len));
            }
            if let Some(shared) = self.share(&job.spec) {
                job.spec = shared;
            }
        }
        together.end(|kind, range| self.state_of(kind).insert(range.first.0, range.len));
    }

    /// They left them.
    pub(super) fn leave(&mut self, parts: &[(IdRange, Job)], towards: Towards) {
        self.fetch_keys(parts, towards);
        let mut together = Together::default();
        for (range, job) in parts {
            if let Some(kind) = self.leave_part(*range, job, towards) {
                together
                    .push(kind, *range, |kind, range| self.state_of(kind).remove(range.first.0, range.len));
            }
        }
        together.end(|kind, range| self.state_of(kind).remove(range.first.0, range.len));
    }

    fn state_of(&mut self, kind: StateKind) -> &mut RangeSet {
        &mut self.by_state[kind as usize]
    }

    /// All of it but the list of their state: returns which that is.
    fn enter_part(&mut self, range: IdRange, job: &Job, towards: Towards) -> Option<StateKind> {
        let kind = job.kind();
        self.counts.add(kind, range.len);
        if kind == StateKind::Ready && job.spec.priority < URGENT {
            self.urgent += range.len;
        }
        if let Some(kickable) = &mut self.kickable {
            kickable.enter(range, job);
        }
        if kind.waits() {
            self.waiting_bytes += job.size().bytes() * range.len;
            if let Some(index) = &mut self.by_priority {
                index.entry(job.spec.priority).or_default().insert(range.first.0, range.len);
            }
        }
        if towards == Towards::Anything {
            self.keys_enter(range, job);
        }
        if kind == StateKind::Ready {
            if job.spec.key.is_none() {
                self.ready.entry(job.spec.priority).or_default().insert(range, job.returned());
            }
            return None;
        }
        self.kept.enter(range, job);
        Some(kind)
    }

    fn leave_part(&mut self, range: IdRange, job: &Job, towards: Towards) -> Option<StateKind> {
        let kind = job.kind();
        self.counts.subtract(kind, range.len);
        if kind == StateKind::Ready && job.spec.priority < URGENT {
            self.urgent -= range.len;
        }
        if let Some(kickable) = &mut self.kickable {
            kickable.leave(range, job);
        }
        if kind.waits() {
            self.waiting_bytes -= job.size().bytes() * range.len;
            if let Some(index) = &mut self.by_priority {
                remove_from(index, job.spec.priority, range);
            }
        }
        match towards {
            Towards::Anything => self.keys_leave(range, job),
            Towards::Lease => self.keys_are_leased(range, job),
        }
        if kind == StateKind::Ready {
            if job.spec.key.is_none() {
                self.unready(range, job.spec.priority, job.returned());
            }
            return None;
        }
        self.kept.leave(range, job);
        Some(kind)
    }

    /// Those of a range that are in this state, by id; for ready ones there is no such list.
    pub fn in_state_within(
        &self,
        kind: StateKind,
        range: IdRange,
    ) -> impl DoubleEndedIterator<Item = IdRange> + '_ {
        debug_assert_ne!(kind, StateKind::Ready);
        let parts = self.by_state[kind as usize].within(range.first.0, range.end().0);
        parts.map(|(first, len)| IdRange::new(JobId(first), len))
    }

    /// The jobs in a state, in no order if they are ready.
    pub fn in_state(&self, kind: StateKind) -> impl Iterator<Item = IdRange> + '_ {
        let others =
            self.by_state[kind as usize].ranges().map(|(first, len)| IdRange::new(JobId(first), len));
        let ready = (kind == StateKind::Ready).then(|| {
            let keyed = self.lanes().into_iter().flat_map(Lanes::ranges);
            self.ready.values().flat_map(Ready::ranges).chain(keyed)
        });
        others.chain(ready.into_iter().flatten())
    }

    /// Some runs of its ready jobs among which the one is that has waited longest, or nearly: those that arrived first, of each priority
    /// and of the keys. Where there are very many of these, not all are looked at. Parts of a run may differ.
    pub fn some_ready(&self) -> Vec<IdRange> {
        let mut heads: Vec<JobId> =
            self.lanes().into_iter().flat_map(Lanes::heads).take(KEYS_LOOKED_AT).collect();
        heads.sort_unstable();
        heads.truncate(Ready::FIRSTS);
        let runs = self.ready.values().take(PRIORITIES_LOOKED_AT).flat_map(Ready::firsts);
        runs.chain(heads.into_iter().map(IdRange::from)).collect()
    }

    /// The jobs that wait, by priority and arrival, the last priority first; `None` if there is no such index.
    pub(super) fn last_in_line(&self) -> Option<impl Iterator<Item = IdRange>> {
        let index = self.by_priority.as_ref()?.values().rev();
        Some(index.flat_map(RangeSet::ranges).map(|(first, len)| IdRange::new(JobId(first), len)))
    }

    /// Keeps such an index from now on, or not any more. `waiting` are all jobs that wait.
    pub(super) fn index_by_priority(&mut self, waiting: Option<Vec<(Priority, IdRange)>>) {
        self.by_priority = waiting.map(|waiting| {
            let mut index: BTreeMap<Priority, RangeSet> = BTreeMap::new();
            for (priority, range) in waiting {
                index.entry(priority).or_default().insert(range.first.0, range.len);
            }
            index
        });
    }

    /// That index, for the check of the invariants.
    pub(super) fn by_priority(&self) -> Option<&BTreeMap<Priority, RangeSet>> {
        self.by_priority.as_ref()
    }

    /// The jobs that can be kicked in their order, if there is such an index.
    pub(super) fn kickable(&self) -> Option<&Kickable> {
        self.kickable.as_deref()
    }

    /// Keeps such an index from now on.
    pub(super) fn index_kickable(&mut self, index: Kickable) {
        self.kickable = Some(index.into());
    }

    fn unready(&mut self, range: IdRange, priority: Priority, returned: Option<Time>) {
        if let Some(ready) = self.ready.get_mut(&priority) {
            ready.remove(range, returned);
            if ready.is_empty() {
                self.ready.remove(&priority);
            }
        }
    }

    pub(super) fn row(&self, name: &QueueName) -> QueueRow {
        let Queue { paused_until, totals, maker, used, rate_used, ref overrides, circuit, .. } = *self;
        let (name, overrides) = (name.clone(), overrides.clone());
        QueueRow { name, paused_until, totals, maker, used, rate_used, overrides, circuit }
    }

    /// The ready jobs of each priority, for the check of the invariants.
    pub(super) fn ready_sets(&self) -> &BTreeMap<Priority, Ready> {
        &self.ready
    }
}

fn remove_from(index: &mut BTreeMap<Priority, RangeSet>, priority: Priority, range: IdRange) {
    if let Some(ids) = index.get_mut(&priority) {
        ids.remove(range.first.0, range.len);
        if ids.is_empty() {
            index.remove(&priority);
        }
    }
}
