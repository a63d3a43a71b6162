//! One queue: who is next in it, what it counts, whether it is paused. It knows ids and priorities; the jobs
//! themselves are the state's.

use super::ids::{IdRange, Ids, JobId, RangeSet};
use super::job::{Job, Priority, Spec, State as JobState, StateKind};
use super::keyed::Keyed;
use super::rate::RateUsed;
use super::ready::Ready;
use super::settings::Retries;
use super::time::Time;
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
        self.of(StateKind::Ready) + self.of(StateKind::Scheduled)
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

/// How many different specs of the newest jobs a queue remembers, so that equal ones are stored once.
const RECENT_SPECS: usize = 8;

/// One queue.
#[derive(Clone, Debug, Default)]
pub struct Queue {
    /// Whether it gives out jobs.
    pub(super) paused: bool,
    /// What went through it.
    pub(super) totals: Totals,
    /// The user with whose job it came into being, if it was one.
    pub(super) maker: Option<u32>,
    /// When jobs were last submitted to it, to the second; 0 if that is not known.
    pub(super) used: Time,
    /// What its leases have used of its rate, if it has one.
    pub(super) rate_used: RateUsed,
    counts: Counts,
    /// Priority → the jobs that are ready. No empty sets.
    ready: BTreeMap<Priority, Ready>,
    /// The other states → the jobs that are in them.
    by_state: [RangeSet; StateKind::ALL.len()],
    /// Done, cancelled and expired jobs that are kept, by the time at which they ended.
    kept: Keyed<Time>,
    recent: Vec<Arc<Spec>>,
}

impl Queue {
    /// How many jobs are in each state.
    pub fn counts(&self) -> Counts {
        self.counts
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

    /// Whether nothing would be lost with it but what it has counted.
    pub fn is_empty(&self) -> bool {
        !self.paused && self.counts.all() == 0
    }

    /// Whether it gives out no jobs.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether it has jobs that are ready, and is not paused.
    pub fn has_work(&self) -> bool {
        !self.paused && !self.ready.is_empty()
    }

    /// The jobs that a claim of so many gets, in their order.
    pub(super) fn first(&self, max: u64, retries: Retries) -> Ids {
        let (mut ids, mut got) = (Ids::new(), 0);
        for ready in self.ready.values() {
            if got == max {
                break;
            }
            got += ready.first(max - got, retries, self.totals.claimed + got, &mut ids);
        }
        ids
    }

    /// How many ready jobs are claimed before this ready one.
    pub(super) fn ahead_of(&self, id: JobId, job: &Job, retries: Retries) -> u64 {
        let priority = job.spec.priority;
        let before: u64 = self.ready.range(..priority).map(|(_, ready)| ready.len()).sum();
        let turn = self.totals.claimed + before;
        let among = self.ready.get(&priority);
        before + among.map_or(0, |ready| ready.ahead_of(id, job.returned(), retries, turn))
    }

    /// The kept jobs by the time of their end, the oldest first.
    pub(super) fn oldest_kept(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.kept.iter().map(|(_, range)| range)
    }

    /// How many ended jobs are kept, dead ones aside.
    pub(super) fn kept(&self) -> u64 {
        self.kept.len()
    }

    /// The stored twin of `spec`, if it was seen lately.
    pub(super) fn recent(&self, spec: &Arc<Spec>) -> Option<&Arc<Spec>> {
        self.recent.iter().find(|known| *known == spec)
    }

    /// The one copy of `spec` that the queue's jobs share.
    pub(super) fn share(&mut self, spec: &Arc<Spec>) -> Arc<Spec> {
        if let Some(known) = self.recent(spec) {
            return known.clone();
        }
        if self.recent.len() == RECENT_SPECS {
            self.recent.remove(0);
        }
        self.recent.push(spec.clone());
        spec.clone()
    }

    /// Jobs came into the state that `job` is in.
    pub(super) fn enter(&mut self, range: IdRange, job: &Job) {
        let kind = job.kind();
        self.counts.add(kind, range.len);
        if job.state() == JobState::Ready {
            self.ready.entry(job.spec.priority).or_default().insert(range, job.returned());
            return;
        }
        self.by_state[kind as usize].insert(range.first.0, range.len);
        if let Some(at) = kept_since(&job.state()) {
            self.kept.insert(at, range);
        }
    }

    /// Jobs left the state that `job` is in.
    pub(super) fn leave(&mut self, range: IdRange, job: &Job) {
        let kind = job.kind();
        self.counts.subtract(kind, range.len);
        if job.state() == JobState::Ready {
            return self.unready(range, job.spec.priority, job.returned());
        }
        self.by_state[kind as usize].remove(range.first.0, range.len);
        if let Some(at) = kept_since(&job.state()) {
            self.kept.remove(at, range);
        }
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
        let ready = (kind == StateKind::Ready).then(|| self.ready.values().flat_map(Ready::ranges));
        others.chain(ready.into_iter().flatten())
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
        let Queue { paused, totals, maker, used, rate_used, .. } = *self;
        QueueRow { name: name.clone(), paused, totals, maker, used, rate_used }
    }

    /// The ready jobs of each priority, for the check of the invariants.
    pub(super) fn ready_sets(&self) -> &BTreeMap<Priority, Ready> {
        &self.ready
    }
}

/// Since when a job is kept that is done, cancelled or expired.
fn kept_since(state: &JobState) -> Option<Time> {
    match state {
        JobState::Done(end) | JobState::Cancelled(end) | JobState::Expired(end) => Some(end.at),
        JobState::Ready | JobState::Scheduled { .. } | JobState::Leased(_) | JobState::Dead(_) => None,
    }
}
