//! Who of a queue is next: of the jobs without a key (`ready`) and of the first ones of the keys (`lanes`). It is the same order in
//! which a claim gives them out and `explain` counts them.

use super::fair::keyless;
use super::ids::{Ids, JobId};
use super::job::{Job, Priority};
use super::lanes::{KeyRules, Lanes, Standing};
use super::queue::Queue;
use super::ready::{Line, Ready};
use super::settings::Retries;
use super::time::Time;

impl Queue {
    /// Whether jobs may go as far as their keys are concerned.
    pub(super) fn offers(&self) -> bool {
        !self.ready.is_empty() || self.lanes().is_some_and(|lanes| lanes.first_priority().is_some())
    }

    /// When time alone lets a key go, if none may now.
    pub fn opens(&self, now: Time) -> Option<Time> {
        self.lanes().filter(|_| !self.offers())?.next_opens(now)
    }

    /// Takes rules for keys into force: those may go that these let go at this time. The fold knows neither, so whoever asks who is
    /// next says so before.
    pub(super) fn arrange(&mut self, rules: KeyRules, now: Time) {
        if let Some(lanes) = &mut self.lanes {
            lanes.arrange(rules, now);
        }
    }

    /// The job that goes next, of those with and without keys.
    pub(super) fn next(&self, rules: KeyRules) -> Option<JobId> {
        let lanes = self.lanes();
        let plain = self.ready.first_key_value().map(|(priority, _)| *priority);
        let keyed = lanes.and_then(Lanes::first_priority);
        let priority = plain.into_iter().chain(keyed).min()?;
        let first = |has_come_back| {
            let plain = self.first_plain(priority, has_come_back, rules);
            let keyed = lanes.and_then(|lanes| lanes.first(priority, has_come_back));
            plain.into_iter().chain(keyed).min().map(|(_, id)| id)
        };
        match rules.retries {
            Retries::Alternate if !self.totals.claimed.is_multiple_of(2) => {
                first(true).or_else(|| first(false))
            }
            _ => first(false).or_else(|| first(true)),
        }
    }

    /// The jobs that go next, of those with and without keys: at least one if there is one, at most so many, and only as many as are
    /// known to go one after the other whatever is remembered of those before them.
    pub(super) fn next_few(&self, rules: KeyRules, max: u64) -> Ids {
        // Where what is given out says who is next, that is one.
        let depends = rules.remember() || !self.ready.is_empty();
        let few = self.lanes().filter(|_| !depends && max > 1).and_then(|lanes| lanes.first_few(max));
        few.unwrap_or_else(|| self.next(rules).filter(|_| max > 0).map_or_else(Ids::new, Ids::from))
    }

    /// The first job without a key, and where it stands: of those that have come back, where these are apart, or of the others.
    fn first_plain(
        &self,
        priority: Priority,
        has_come_back: bool,
        rules: KeyRules,
    ) -> Option<(Standing, JobId)> {
        let ready = self.ready.get(&priority)?;
        let by_arrival = |id, returned| (Standing::by_arrival(priority, id, returned, rules.retries), id);
        match (has_come_back, rules) {
            (false, KeyRules { fair: true, .. }) => {
                // They are one key: whatever of them is next stands for all.
                let id = ready.next(rules.retries, self.totals.claimed)?;
                Some((self.keyless_standing(priority, ready)?, id))
            }
            (false, KeyRules { retries: Retries::Place, .. }) => {
                let id = ready.next(Retries::Place, 0)?;
                Some(by_arrival(id, None))
            }
            (true, KeyRules { fair: true, .. } | KeyRules { retries: Retries::Place, .. }) => None,
            (false, _) => Some(by_arrival(ready.first_fresh()?, None)),
            (true, _) => {
                let (tried, id) = ready.first_back()?;
                Some(by_arrival(id, Some(tried)))
            }
        }
    }

    /// Where the jobs of a priority without a key stand if keys take turns: as the oldest of them, whichever goes first.
    fn keyless_standing(&self, priority: Priority, ready: &Ready) -> Option<Standing> {
        let oldest = ready.oldest()?;
        let turn = self.lanes().map(|lanes| lanes.served().turn(keyless(), oldest));
        Some(Standing::by_turn(priority, turn.unwrap_or_default()))
    }

    /// The jobs that a claim of so many gets, in their order, if none of those that are ready has a key.
    pub(super) fn first(&self, max: u64, retries: Retries) -> Ids {
        debug_assert!(!self.has_keys(), "who is next depends on each that is given out");
        let (mut ids, mut got) = (Ids::new(), 0);
        for ready in self.ready.values() {
            if got == max {
                break;
            }
            got += ready.first(max - got, retries, self.totals.claimed + got, &mut ids);
        }
        ids
    }

    /// How many ready jobs go before this ready one, as far as their keys let them; at least so many, if keys take turns.
    pub(super) fn ahead_of(&self, id: JobId, job: &Job, rules: KeyRules) -> u64 {
        let (priority, returned) = (job.spec.priority, job.returned());
        let mut before: u64 = self.ready.range(..priority).map(|(_, ready)| ready.len()).sum();
        before += self.lanes().map_or(0, |lanes| lanes.before(priority));
        let turn = self.totals.claimed + before;
        let plain = self.ready.get(&priority);
        let line_of = |ready: &Ready| ready.line((id, returned), rules.retries);
        let ahead = |line: Line| line.ahead(returned.is_some(), rules.retries, turn);
        let keyed = |own: Standing| self.lanes().map_or(Line::default(), |lanes| lanes.line(own));
        if !rules.fair || !self.has_keys() {
            let own = Standing::by_arrival(priority, id, returned, rules.retries);
            let line = plain.map_or(Line::default(), line_of).and(keyed(own));
            return before + ahead(line);
        }
        // One of each key whose turn is before its own, and those of its own kind.
        let keyless = plain.and_then(|ready| self.keyless_standing(priority, ready));
        match (job.spec.key, self.lanes()) {
            (Some(key), Some(lanes)) => {
                let own = Standing::by_turn(priority, lanes.served().turn(key, id));
                before + keyed(own).fresh_before + u64::from(keyless.is_some_and(|first| first < own))
            }
            _ => {
                let alike = plain.map_or(0, |ready| ahead(line_of(ready)));
                before + alike + keyless.map_or(0, |own| keyed(own).fresh_before)
            }
        }
    }

    /// How many ready jobs of its key go before this ready one.
    pub(super) fn ahead_in_lane(&self, id: JobId, job: &Job) -> u64 {
        let lane = job.spec.key.zip(self.lanes());
        lane.map_or(0, |(key, lanes)| lanes.ahead_in_lane(key, id, job))
    }
}
