//! One queue: who is next in it, what it counts, whether it is paused. It knows ids and priorities; the jobs
//! themselves are the state's.

use super::ids::{IdRange, JobId, RangeSet};
use super::job::{Final, Priority, Spec, State as JobState, StateKind};
use super::time::Time;
use super::{QueueBooks, QueueName, Totals};
use std::collections::{BTreeMap, BTreeSet};
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
    counts: Counts,
    /// Priority → the ids that are ready; order of arrival is order of ids. No empty sets.
    ready: BTreeMap<Priority, RangeSet>,
    /// Done, cancelled and expired jobs that are kept, by the time at which they ended.
    kept: BTreeSet<(Time, JobId)>,
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

    /// Whether it gives out no jobs.
    pub fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether a claim would get something.
    pub fn has_work(&self) -> bool {
        !self.paused && !self.ready.is_empty()
    }

    /// The ready jobs in the order in which they are claimed, as ranges.
    pub(super) fn next(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.ready.values().flat_map(RangeSet::ranges).map(|(first, len)| IdRange::new(JobId(first), len))
    }

    /// How many ready jobs are claimed before this one.
    pub(super) fn ahead_of(&self, id: JobId, priority: Priority) -> u64 {
        let before: u64 = self.ready.range(..priority).map(|(_, ids)| ids.len()).sum();
        before + self.ready.get(&priority).map_or(0, |ids| ids.rank(id.0))
    }

    /// The kept jobs by the time of their end, the oldest first.
    pub(super) fn oldest_kept(&self) -> impl Iterator<Item = (Time, JobId)> + '_ {
        self.kept.iter().copied()
    }

    /// How many ended jobs are kept, dead ones aside.
    pub(super) fn kept(&self) -> u64 {
        self.kept.len() as u64
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

    /// Jobs came into a state.
    pub(super) fn enter(&mut self, range: IdRange, priority: Priority, state: &JobState) {
        self.counts.add(state.kind(), range.len);
        match state {
            JobState::Ready => self.ready.entry(priority).or_default().insert(range.first.0, range.len),
            JobState::Done(Final { at, .. })
            | JobState::Cancelled(Final { at, .. })
            | JobState::Expired(Final { at, .. }) => {
                self.kept.extend(range.iter().map(|id| (*at, id)));
            }
            JobState::Scheduled { .. } | JobState::Leased(_) | JobState::Dead(_) => {}
        }
    }

    /// Jobs left a state.
    pub(super) fn leave(&mut self, range: IdRange, priority: Priority, state: &JobState) {
        self.counts.subtract(state.kind(), range.len);
        match state {
            JobState::Ready => {
                if let Some(ids) = self.ready.get_mut(&priority) {
                    ids.remove(range.first.0, range.len);
                    if ids.is_empty() {
                        self.ready.remove(&priority);
                    }
                }
            }
            JobState::Done(Final { at, .. })
            | JobState::Cancelled(Final { at, .. })
            | JobState::Expired(Final { at, .. }) => {
                for id in range.iter() {
                    self.kept.remove(&(*at, id));
                }
            }
            JobState::Scheduled { .. } | JobState::Leased(_) | JobState::Dead(_) => {}
        }
    }

    pub(super) fn books(&self, name: &QueueName) -> QueueBooks {
        QueueBooks { name: name.clone(), paused: self.paused, totals: self.totals }
    }

    /// The ready ids of each priority, for the check of the invariants.
    pub(super) fn ready_sets(&self) -> &BTreeMap<Priority, RangeSet> {
        &self.ready
    }
}
