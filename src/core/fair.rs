//! Turns between the keys of a queue (`fair`). Of those of a priority the key goes next that was served longest ago; one of which
//! there was nothing counts as served when the first of its jobs came. So a job that comes to a key without others waits for
//! at most one job of each other key, and no stream of new keys keeps an old one from its turn. Jobs without a key are one key
//! of their own here.
//!
//! A turn is a place in the order of all that arrives and all that is leased: ids say when jobs came, and the newest id when a
//! job was leased. So what is remembered of a key, and its first job, say all.

use super::ids::JobId;
use super::job::{Job, Key};
use super::lanes::{KeyRules, Lanes};
use super::queue::Queue;
use super::ready::{Line, Ready};
use super::settings::Retries;

/// When a key was served, or came anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// The newest job at that time.
    pub newest: JobId,
    /// How many leases the queue had given by then, if it was served.
    pub leases: u64,
}

impl Turn {
    /// That of a key of which this job is the first.
    pub(super) fn of(self, first: JobId) -> Turn {
        self.max(Turn { newest: first, leases: 0 })
    }
}

/// What stands for the jobs without a key among the keys. No hash of a key is this.
pub(super) fn keyless() -> Key {
    Key::new([0xff; 16])
}

impl Queue {
    /// The job that goes next, if keys take turns.
    pub(super) fn next_by_turn(&self, retries: Retries, rules: KeyRules) -> Option<JobId> {
        let lanes = self.lanes();
        let plain = self.ready.first_key_value().map(|(priority, _)| *priority);
        let keyed = lanes.and_then(|lanes| lanes.first_priority(rules.per_key));
        let priority = plain.into_iter().chain(keyed).min()?;
        let ready = self.ready.get(&priority);
        let first = |has_come_back| {
            let keyed = lanes.and_then(|lanes| lanes.first_by_turn(priority, rules.per_key, has_come_back));
            let plain = ready.and_then(|ready| first_plain(ready, has_come_back, retries));
            keyed.into_iter().chain(plain.map(|id| (self.keyless_turn(id), id))).min()
        };
        let (fresh, back) = (first(false), first(true));
        let next = match retries {
            Retries::Place => fresh.into_iter().chain(back).min(),
            Retries::Alternate if !self.totals.claimed.is_multiple_of(2) => back.or(fresh),
            Retries::Alternate | Retries::Behind => fresh.or(back),
        };
        next.map(|(_, id)| id)
    }

    /// At least how many ready jobs go before this one if keys take turns: those of the priorities before its own, those
    /// without a key before it if it has none, and one of each key whose turn is before that of its own.
    pub(super) fn ahead_by_turn(&self, id: JobId, job: &Job, retries: Retries, rules: KeyRules) -> u64 {
        let (priority, returned) = (job.spec.priority, job.returned());
        let lanes = self.lanes();
        let mut before: u64 = self.ready.range(..priority).map(|(_, ready)| ready.len()).sum();
        before += lanes.map_or(0, |lanes| lanes.before(priority, rules.per_key));
        let ready = self.ready.get(&priority);
        // Of its own kind, before it.
        let alike = ready.filter(|_| job.spec.key.is_none()).map(|ready| ready.line((id, returned), retries));
        let alike = alike.map_or(0, |line| match (retries, returned) {
            (Retries::Place, _) => line.fresh_before + line.back_before,
            (_, None) => line.fresh_before,
            (_, Some(_)) => line.back_before,
        });
        let turn = match job.spec.key {
            Some(key) => lanes.map_or_else(Turn::default, |lanes| lanes.turn_of(key, id)),
            None => self.keyless_turn(id),
        };
        let (own, is_back) = ((turn, id), returned.is_some());
        let counts = |has_come_back| retries == Retries::Place || has_come_back == is_back;
        let mut line = Line::default();
        lanes.iter().for_each(|lanes| {
            lanes.line_by_turn(priority, rules.per_key, |has_come_back, other| {
                line.add(has_come_back, counts(has_come_back) && other < own);
            })
        });
        for has_come_back in [false, true] {
            if let Some(first) = ready.and_then(|ready| first_plain(ready, has_come_back, retries)) {
                let other = (self.keyless_turn(first), first);
                line.add(has_come_back, job.spec.key.is_some() && counts(has_come_back) && other < own);
            }
        }
        before + alike + line.ahead(is_back, retries, self.totals.claimed + before)
    }

    fn keyless_turn(&self, first: JobId) -> Turn {
        self.lanes().map_or_else(Turn::default, |lanes| lanes.turn_of(keyless(), first))
    }
}

/// The first job of those without a key, fresh or that has come back.
fn first_plain(ready: &Ready, has_come_back: bool, retries: Retries) -> Option<JobId> {
    match has_come_back {
        true => ready.first_back(retries == Retries::Place).map(|(_, id)| id),
        false => ready.first_fresh(),
    }
}

impl Lanes {
    /// The turn of a key whose first job is this one.
    pub(super) fn turn_of(&self, key: Key, first: JobId) -> Turn {
        let served = self.served().and_then(|served| served.get(key));
        served.map_or_else(Turn::default, |(_, served)| served.turn).of(first)
    }
}
