//! Decides what is remembered of keys whose jobs are leased, and what of it may be forgotten.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::event::RowEvent;
use crate::core::fair::{Turn, keyless};
use crate::core::ids::{Ids, JobId};
use crate::core::job::{Key, QueueName, StateKind};
use crate::core::lanes::{KeyRules, Lanes};
use crate::core::queue::Queue;
use crate::core::rate::RateUsed;
use crate::core::requests::PageNo;
use crate::core::rows::KeysRow;
use crate::core::served::{PAGE, SPARSE, ServedKey, ServedKeys};

impl<R: Recorder> Decision<'_, R> {
    /// Jobs of a queue are being leased: remembers their keys. What is recorded of it is put to `events`, so that a claim of
    /// many says it once a page; it is in force at once, as the next job depends on it.
    pub(super) fn serve(
        &mut self,
        name: &QueueName,
        rules: KeyRules,
        jobs: &Ids,
        events: &mut Vec<RowEvent>,
    ) {
        let leased = jobs.ranges().iter().flat_map(|range| self.state().iter(*range));
        // Where none of those that wait has a key there is nobody to take turns with.
        let takes_turns = rules.fair && self.state().queue(name).is_some_and(Queue::has_keys);
        let keyless = takes_turns.then(keyless);
        let keys: Vec<Key> = leased.filter_map(|(_, job)| job.spec.key.or(keyless)).collect();
        for key in keys {
            let served = self.served_now(name, key, rules);
            let page = self.page_with(name, |keys, now| keys.page_for(key, rules.rate, now));
            self.core.state.serve_keys(name, page, rules.rate, &[served]);
            let of_page = events.iter_mut().find_map(|event| match event {
                RowEvent::KeysServed { page: known, keys, .. } => (*known == page).then_some(keys),
                _ => None,
            });
            match of_page {
                Some(keys) => keys.push(served),
                None => {
                    let (queue, keys) = (name.clone(), vec![served]);
                    events.push(RowEvent::KeysServed { queue, page, rate: rules.rate, keys });
                }
            }
        }
    }

    fn served_now(&self, name: &QueueName, key: Key, rules: KeyRules) -> ServedKey {
        let rate = rules.rate.filter(|_| key != keyless());
        let leases = self.state().queue(name).map_or(0, |queue| queue.totals().claimed);
        let newest = JobId(self.state().next_id().0.saturating_sub(1));
        let turn = if rules.fair { Turn { newest, leases } } else { Turn::default() };
        let used = rate.map_or_else(RateUsed::default, |rate| {
            rate.use_up(self.state().key_used(name, key, rate), self.moment.now, 1)
        });
        ServedKey { key, used, turn }
    }

    fn page_with(
        &self,
        name: &QueueName,
        page: impl FnOnce(&ServedKeys, crate::core::Time) -> PageNo,
    ) -> PageNo {
        let served = self.state().queue(name).and_then(Queue::lanes).map(Lanes::served);
        served.map_or(self.moment.now.0, |served| page(served, self.moment.now))
    }

    fn has_page(&self, name: &QueueName, page: PageNo) -> bool {
        let served = self.state().queue(name).and_then(Queue::lanes).map(Lanes::served);
        served.is_some_and(|served| served.page(page).is_some())
    }

    /// Looks at a page of keys whose time has come. If most of them need not be remembered any more, it is forgotten, and the
    /// others go to another page.
    pub(super) fn look_at_keys(&mut self) {
        let now = self.moment.now;
        let Some(look) = self.state().next_look().filter(|(due, ..)| *due <= now).cloned() else { return };
        let (_, queue, page) = look.clone();
        let lanes = self.state().queue(&queue).and_then(Queue::lanes);
        let found = lanes.zip(lanes.and_then(|lanes| lanes.served().page(page)));
        // One of a page that is not there ends here.
        let Some((lanes, (rate, all))) = found else { return self.core.state.look_again(look, now) };
        let counts = self.state().queue(&queue).map(Queue::counts).unwrap_or_default();
        let needed = lanes.needed(all, now, counts.of(StateKind::Ready) + counts.of(StateKind::Leased) > 0);
        let other = self.page_with(&queue, |keys, now| keys.page_with_room(needed.len(), rate, now));
        // A page of few keys goes into another one that has room; where there is none, it stays, if most are needed.
        let merges = needed.len() * SPARSE <= PAGE && other != page && self.has_page(&queue, other);
        if needed.len() * SPARSE > all.len() && !merges {
            return self.core.state.look_again(look, now);
        }
        if !needed.is_empty() {
            let page = if other == page { page.saturating_add(1).max(now.0) } else { other };
            self.emit(RowEvent::KeysServed { queue: queue.clone(), page, rate, keys: needed });
        }
        self.emit(RowEvent::KeysForgotten { queue, page });
    }

    /// Nothing is remembered of a queue's keys any more.
    pub(super) fn forget_keys_of(&mut self, name: &QueueName) {
        let pages: Vec<PageNo> = self.state().keys_rows(name).map(|KeysRow { page, .. }| page).collect();
        for page in pages {
            self.emit(RowEvent::KeysForgotten { queue: name.clone(), page });
        }
    }
}
