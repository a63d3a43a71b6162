//! The keys of a queue in which each has a rate. Those whose rate is used up are set aside, in the order in which they may go
//! again, so that a claim does not look at them.
//!
//! From when on a key may go again depends on the settings, and no fold knows these. So the fold has what was used of each
//! key, and which of them are set aside follows from that and from two things that claims say before they look: the rate, and
//! what may be used of it at that moment. Time moves each key once from the one side to the other.

use super::KeyRules;
use super::{Lanes, Place};
use crate::core::fair::{Turn, keyless};
use crate::core::job::Key;
use crate::core::rate::{Rate, RateUsed};
use crate::core::requests::PageNo;
use crate::core::served::{ServedKey, ServedKeys};
use crate::core::sorted::Sorted;
use crate::core::time::Time;
use std::sync::Arc;

/// What was used of the rate of a key that is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed(RateUsed);

/// What is remembered of keys, and what follows from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Paced {
    served: ServedKeys,
    /// The rate that is in force, as of the last claim.
    rate: Option<Rate>,
    /// Whether keys take turns, as of the last claim.
    fair: bool,
    /// Keys that have used more of it may not go.
    horizon: RateUsed,
    /// Those of them that have ready jobs.
    closed: Sorted<(RateUsed, Key), ()>,
}

impl Paced {
    pub(super) fn is_fair(&self) -> bool {
        self.fair
    }

    /// Whether a key may not go, and for how long.
    pub(super) fn closed(&self, key: Key) -> Option<Closed> {
        // What another rate has used does not count.
        let (_, served) = self.served.get(key).filter(|(rate, _)| rate.is_some() && *rate == self.rate)?;
        (served.used > self.horizon).then_some(Closed(served.used))
    }

    pub(super) fn close(&mut self, key: Key, Closed(used): Closed) {
        self.closed.insert((used, key), ());
    }

    pub(super) fn open(&mut self, key: Key, Closed(used): Closed) {
        self.closed.remove((used, key));
    }

    /// What was used longest ago by a key that is set aside.
    fn first(&self) -> Option<RateUsed> {
        self.closed.first().map(|((used, _), _)| used)
    }
}

impl Lanes {
    pub(super) fn remembers_none(&self) -> bool {
        self.paced.as_ref().is_none_or(|paced| paced.served.is_empty())
    }

    /// What is remembered of keys that were served.
    pub(in crate::core) fn served(&self) -> Option<&ServedKeys> {
        self.paced.as_ref().map(|paced| &paced.served)
    }

    /// Keys were served, and are remembered in this page. Returns when it is to be looked at, if it is new.
    pub(in crate::core) fn serve(
        &mut self,
        page: PageNo,
        rate: Option<Rate>,
        keys: &[ServedKey],
    ) -> Option<Time> {
        let look = self.paced.get_or_insert_default().served.begin(page, rate);
        for served in keys {
            self.change(served.key, |lanes| {
                lanes.paced.iter_mut().for_each(|paced| paced.served.put(page, *served));
            });
        }
        look
    }

    /// A page of them is forgotten. Returns when it was to be looked at.
    pub(in crate::core) fn forget_served(&mut self, page: PageNo) -> Option<Time> {
        let (_, keys) = self.served()?.page(page)?;
        for served in keys.clone().iter() {
            self.change(served.key, |lanes| {
                lanes.paced.iter_mut().for_each(|paced| paced.served.remove(served.key));
            });
        }
        self.paced.as_mut()?.served.remove_page(page)
    }

    /// See [`ServedKeys::look_again`].
    pub(in crate::core) fn look_again(&mut self, page: PageNo, now: Time) -> Option<Time> {
        self.paced.as_mut()?.served.look_again(page, now)
    }

    /// Those keys of a page that must not be forgotten yet: their rate is not whole again, or they had a turn and have jobs that
    /// are ready or leased. `busy`: whether any job without a key may be.
    pub(in crate::core) fn needed(
        &self,
        keys: &Arc<Vec<ServedKey>>,
        now: Time,
        busy: bool,
    ) -> Vec<ServedKey> {
        let has_jobs = |key: Key| match key == keyless() {
            true => busy,
            false => self.head(key).is_some() || self.leased_of(key) > 0,
        };
        let is_needed = |served: &&ServedKey| {
            served.used > RateUsed::at(now) || (served.turn != Turn::default() && has_jobs(served.key))
        };
        keys.iter().filter(is_needed).copied().collect()
    }

    /// Whether [`Lanes::arrange`] would change anything.
    pub(in crate::core) fn is_out_of_order(&self, rules: KeyRules, now: Time) -> bool {
        let KeyRules { rate, fair, .. } = rules;
        let Some(paced) = &self.paced else { return rules.remember() };
        let opens = |rate: Rate| paced.first().is_some_and(|first| first <= rate.horizon(now));
        (paced.rate, paced.fair) != (rate, fair) || rate.is_some_and(opens)
    }

    /// Takes rules into force, and the time.
    pub(in crate::core) fn arrange(&mut self, rules: KeyRules, now: Time) {
        let KeyRules { rate, fair, .. } = rules;
        let horizon = rate.map_or(RateUsed::default(), |rate| rate.horizon(now));
        let paced = self.paced.get_or_insert_default();
        if (paced.rate, paced.fair) != (rate, fair) {
            // All anew: settings change seldom.
            let closed: Vec<Key> = paced.closed.iter().map(|((_, key), _)| key).collect();
            let open = self.heads.values().flat_map(|heads| heads.iter()).map(|(key, ..)| key);
            let keys: Vec<Key> = open.chain(closed).collect();
            let places: Vec<Place> = keys.iter().map(|key| self.place(*key)).collect();
            keys.iter().zip(places).for_each(|(key, place)| self.leave(*key, place));
            let paced = self.paced.get_or_insert_default();
            (paced.rate, paced.fair, paced.horizon) = (rate, fair, horizon);
            keys.iter().for_each(|key| self.enter(*key, self.place(*key)));
            if !rules.remember() && self.remembers_none() {
                self.paced = None;
            }
            return;
        }
        paced.horizon = paced.horizon.max(horizon);
        while let Some(paced) = &mut self.paced
            && let Some(((used, key), _)) = paced.closed.first()
            && used <= horizon
        {
            paced.open(key, Closed(used));
            self.enter(key, self.place(key));
        }
    }

    /// When the first of the keys that are set aside may go.
    pub(in crate::core) fn next_opens(&self, now: Time) -> Option<Time> {
        let paced = self.paced.as_ref()?;
        Some(paced.rate?.next(paced.first()?, now))
    }

    /// The keys that are set aside, and whether each key is where what was used of it says: for the check of the invariants.
    pub(in crate::core) fn check_paced(&self) -> Vec<Key> {
        let Some(paced) = &self.paced else { return Vec::new() };
        paced.served.check();
        for ((used, key), _) in paced.closed.iter() {
            assert_eq!(paced.closed(key), Some(Closed(used)), "{key:?} is set aside");
        }
        let open = self.heads.values().flat_map(|heads| heads.iter());
        open.for_each(|(key, ..)| assert_eq!(paced.closed(key), None, "{key:?} is not set aside"));
        paced.closed.iter().map(|((_, key), _)| key).collect()
    }
}
