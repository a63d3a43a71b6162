//! The pages of keys that were served, of all queues: what of them is in rows, and when each is looked at, whether it is still
//! needed. What is in them is the lanes'.

use super::job::{Key, QueueName};
use super::lanes::Lanes;
use super::queue::Queue;
use super::rate::{Rate, RateUsed};
use super::requests::PageNo;
use super::rows::{KeysRow, RowKey};
use super::served::ServedKey;
use super::state::State;
use super::time::Time;
use std::collections::BTreeSet;

/// The pages by when they are looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Looks(BTreeSet<(Time, QueueName, PageNo)>);

impl Looks {
    /// When the next one is.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.0.first().map(|(due, ..)| *due)
    }
}

impl Queue {
    /// Keys were served. Returns when their page is to be looked at, if it is new.
    fn serve_keys(&mut self, page: PageNo, rate: Option<Rate>, keys: &[ServedKey]) -> Option<Time> {
        let mut look = None;
        self.change_lanes(|lanes| look = lanes.serve(page, rate, keys));
        look
    }

    /// A page of them is forgotten. Returns when it was to be looked at.
    fn forget_keys(&mut self, page: PageNo) -> Option<Time> {
        self.lanes()?;
        let mut look = None;
        self.change_lanes(|lanes| look = lanes.forget_served(page));
        look
    }

    /// A page of them is looked at again after a while. Returns when.
    fn look_again(&mut self, page: PageNo, now: Time) -> Option<Time> {
        self.lanes.as_mut()?.look_again(page, now)
    }
}

impl State {
    /// What of the rate of a key is used, if its last lease was under this rate.
    pub fn key_used(&self, queue: &QueueName, key: Key, rate: Rate) -> RateUsed {
        let served = self.queue(queue).and_then(Queue::lanes).map(Lanes::served);
        let served = served.and_then(|served| served.get(key)).filter(|(of, _)| *of == Some(rate));
        served.map_or_else(RateUsed::default, |(_, served)| served.used)
    }

    /// How many keys are remembered of a queue.
    pub fn keys_remembered(&self, queue: &QueueName) -> usize {
        let served = self.queue(queue).and_then(Queue::lanes).map(Lanes::served);
        served.map_or(0, |served| served.keys().count())
    }

    /// The pages of a queue.
    pub(super) fn keys_rows(&self, name: &QueueName) -> impl Iterator<Item = KeysRow> {
        let served = self.queue(name).and_then(Queue::lanes).map(Lanes::served);
        let pages = served.into_iter().flat_map(|served| served.pages());
        pages.map(|(page, rate, keys)| KeysRow { queue: name.clone(), page, rate, keys: keys.clone() })
    }

    /// One of them, if it is there.
    pub(super) fn keys_row(&self, queue: &QueueName, page: PageNo) -> Option<KeysRow> {
        let (rate, keys) = self.queue(queue)?.lanes()?.served().page(page)?;
        Some(KeysRow { queue: queue.clone(), page, rate, keys: keys.clone() })
    }

    /// The pages that have lost keys to other ones, in an event that names only the other, and how many each has left. They
    /// lose no key in any other way.
    pub fn left_rows(&self) -> impl Iterator<Item = (RowKey, usize)> {
        let pages = self.queues().filter_map(|(name, queue)| Some((name, queue.lanes()?.served())));
        pages.flat_map(|(name, served)| {
            served.left().map(|(page, keys)| (RowKey::Keys(name.clone(), page), keys))
        })
    }

    /// Keys of a queue were served, and are remembered in this page.
    pub(super) fn serve_keys(
        &mut self,
        queue: &QueueName,
        page: PageNo,
        rate: Option<Rate>,
        keys: &[ServedKey],
    ) {
        let look = self.queues.entry(queue.clone()).or_default().serve_keys(page, rate, keys);
        self.looks.0.extend(look.map(|look| (look, queue.clone(), page)));
    }

    pub(super) fn forget_keys(&mut self, queue: &QueueName, page: PageNo) {
        let look = self.queues.get_mut(queue).and_then(|queue| queue.forget_keys(page));
        if let Some(look) = look {
            self.looks.0.remove(&(look, queue.clone(), page));
        }
    }

    /// Puts a page back, in the place of what is there of it.
    pub(super) fn restore_keys(&mut self, row: KeysRow) {
        self.forget_keys(&row.queue, row.page);
        self.serve_keys(&row.queue, row.page, row.rate, &row.keys);
    }

    /// The page that is to be looked at first, and when.
    pub(super) fn next_look(&self) -> Option<&(Time, QueueName, PageNo)> {
        self.looks.0.first()
    }

    /// A page was looked at, and is needed; or it is not there, and nobody looks again.
    pub(super) fn look_again(&mut self, (look, name, page): (Time, QueueName, PageNo), now: Time) {
        let next = self.queues.get_mut(&name).and_then(|queue| queue.look_again(page, now));
        self.looks.0.remove(&(look, name.clone(), page));
        self.looks.0.extend(next.map(|next| (next, name, page)));
    }

    /// Panics if a page is not looked at when it should be.
    pub(super) fn check_looks(&self) {
        let pages = self.queues().filter_map(|(name, queue)| Some((name, queue.lanes()?.served())));
        let looks = pages.flat_map(|(name, served)| {
            served.pages().map(|(page, ..)| (served.look_at(page).unwrap_or_default(), name.clone(), page))
        });
        assert_eq!(self.looks.0, looks.collect(), "when pages of keys are looked at");
    }
}
