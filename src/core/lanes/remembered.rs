//! What is remembered of keys that were served, as far as their lanes have to do with it.

use super::Lanes;
use super::lane::Lane;
use crate::core::fair::{Turn, keyless};
use crate::core::job::Key;
use crate::core::rate::{Rate, RateUsed};
use crate::core::requests::PageNo;
use crate::core::served::{ServedKey, ServedKeys};
use crate::core::time::Time;

impl Lanes {
    /// What is remembered of keys that were served.
    pub(in crate::core) fn served(&self) -> &ServedKeys {
        &self.served
    }

    /// Changes what is remembered of a key, and then its place in the order.
    fn remember(&mut self, key: Key, change: impl FnOnce(&mut ServedKeys)) {
        let place = |order: &super::Order, lane: Option<&Lane>, served: &ServedKeys| {
            lane.map_or(super::Place::None, |lane| order.place(key, lane, served))
        };
        let lane = self.lanes.get(&key);
        let Some(order) = &mut self.order else { return change(&mut self.served) };
        let before = place(order, lane, &self.served);
        change(&mut self.served);
        let after = place(order, lane, &self.served);
        if before != after {
            order.leave(key, before);
            order.enter(key, after);
        }
    }

    /// Keys were served, and are remembered in this page. Returns when it is to be looked at, if it is new.
    pub(in crate::core) fn serve(
        &mut self,
        page: PageNo,
        rate: Option<Rate>,
        keys: &[ServedKey],
    ) -> Option<Time> {
        let look = self.served.begin(page, rate);
        for served in keys {
            self.remember(served.key, |all| all.put(page, *served));
        }
        look
    }

    /// A page of them is forgotten. Returns when it was to be looked at.
    pub(in crate::core) fn forget_served(&mut self, page: PageNo) -> Option<Time> {
        let (_, keys) = self.served.page(page)?;
        for served in keys.clone().iter() {
            self.remember(served.key, |all| all.remove(served.key));
        }
        self.served.remove_page(page)
    }

    /// See [`ServedKeys::look_again`].
    pub(in crate::core) fn look_again(&mut self, page: PageNo, now: Time) -> Option<Time> {
        self.served.look_again(page, now)
    }

    /// Those of these keys that must not be forgotten yet: their rate is not whole again, or they had a turn and have jobs that
    /// are ready or leased. `busy`: whether any job without a key may be.
    pub(in crate::core) fn needed(&self, keys: &[ServedKey], now: Time, busy: bool) -> Vec<ServedKey> {
        let has_jobs = |key: Key| if key == keyless() { busy } else { self.lanes.contains_key(&key) };
        let is_needed = |served: &&ServedKey| {
            served.used > RateUsed::at(now) || (served.turn != Turn::default() && has_jobs(served.key))
        };
        keys.iter().filter(is_needed).copied().collect()
    }
}
