//! What a queue keeps of its jobs that have keys: those of concurrency keys in their lanes, and who holds which unique key. Many jobs are
//! leased, so what they change there is changed once, and not for leaving one state and entering another.

use super::ids::{IdRange, JobId};
use super::job::{Job, Key, StateKind, UniqueWhile};
use super::lanes::Lanes;
use super::queue::Queue;
use super::time::Time;
use super::unique::UniqueKeys;

/// What becomes of jobs that leave a state and enter another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Towards {
    /// Whatever it is.
    Anything,
    /// They are leased.
    Lease,
}

impl Queue {
    /// How many jobs of a key are leased.
    pub fn leased_of(&self, key: Key) -> u64 {
        self.lanes().map_or(0, |lanes| lanes.leased_of(key))
    }

    pub(super) fn unique_keys(&self) -> Option<&UniqueKeys> {
        self.unique.as_deref()
    }

    /// Takes note of the unique key that jobs hold now, or do not any more.
    fn note_unique(&mut self, range: IdRange, job: &Job, note: fn(&mut UniqueKeys, Key, Time, JobId)) {
        let Some((key, until)) = job.spec.unique.zip(job.holds_unique_until()) else { return };
        let keys = self.unique.get_or_insert_default();
        range.iter().for_each(|id| note(keys, key, until, id));
        if keys.is_empty() {
            self.unique = None;
        }
    }

    /// Whether ready jobs have keys: then each that is given out may change who is next.
    pub(super) fn has_keys(&self) -> bool {
        self.lanes().is_some_and(Lanes::has_ready)
    }

    pub(super) fn lanes(&self) -> Option<&Lanes> {
        self.lanes.as_deref()
    }

    /// Changes the lanes. They are there as long as anything is known of a key.
    pub(super) fn change_lanes(&mut self, change: impl FnOnce(&mut Lanes)) {
        let lanes = self.lanes.get_or_insert_default();
        change(lanes);
        if lanes.is_empty() {
            self.lanes = None;
        }
    }

    /// Looks at what is kept of the keys of jobs that enter or leave a state. Where there are very many keys most of what a change costs
    /// is that memory is waited for; here the processor fetches it for all of them side by side.
    pub(super) fn fetch_keys(&self, parts: &[(IdRange, Job)], towards: Towards) {
        if parts.len() == 1 {
            return;
        }
        if let Some(lanes) = self.lanes() {
            lanes.fetch(parts.iter().filter_map(|(_, job)| job.spec.key));
        }
        if let Some(unique) = self.unique_keys().filter(|_| towards == Towards::Anything) {
            unique.fetch(parts.iter().filter_map(|(_, job)| job.spec.unique));
        }
    }

    /// Jobs came into the state that they are in.
    pub(super) fn keys_enter(&mut self, range: IdRange, job: &Job) {
        self.note_unique(range, job, UniqueKeys::insert);
        if let Some(key) = job.spec.key {
            match job.kind() {
                StateKind::Ready => {
                    self.change_lanes(|it| it.insert(key, job.spec.priority, range, job.returned()));
                }
                StateKind::Leased => self.change_lanes(|lanes| lanes.lease(key, range.len)),
                _ => {}
            }
        }
    }

    /// They left it.
    pub(super) fn keys_leave(&mut self, range: IdRange, job: &Job) {
        self.note_unique(range, job, UniqueKeys::remove);
        if let Some(key) = job.spec.key {
            match job.kind() {
                StateKind::Ready => self.change_lanes(|lanes| lanes.remove(key, job.spec.priority, range)),
                StateKind::Leased => self.change_lanes(|lanes| lanes.unlease(key, range.len)),
                _ => {}
            }
        }
    }

    /// They left it, and are leased.
    pub(super) fn keys_are_leased(&mut self, range: IdRange, job: &Job) {
        let will_hold = (job.spec.unique_while != UniqueWhile::Waiting).then_some(Time::NEVER);
        if let Some(key) = job.spec.unique
            && job.holds_unique_until() != will_hold
        {
            self.note_unique(range, job, UniqueKeys::remove);
            if let Some(until) = will_hold {
                let keys = self.unique.get_or_insert_default();
                range.iter().for_each(|id| keys.insert(key, until, id));
            }
        }
        if let Some(key) = job.spec.key {
            match job.kind() {
                StateKind::Ready => self.change_lanes(|lanes| lanes.give(key, job.spec.priority, range)),
                StateKind::Leased => {}
                _ => self.change_lanes(|lanes| lanes.lease(key, range.len)),
            }
        }
    }
}
