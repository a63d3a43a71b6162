//! What is remembered of keys whose jobs were leased, in queues where that counts: how much of its rate each has used,
//! and when it had its turn. It is kept in pages, so that a million keys are some four thousand rows. Each key is in one
//! page, and stays there as long as it is remembered under the same rate. It knows keys and times; of jobs it knows nothing.

use super::fair::Turn;
use super::ids::JobId;
use super::job::Key;
use super::rate::{Rate, RateUsed};
use super::requests::PageNo;
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// The most keys of a page.
pub(super) const PAGE: usize = 256;

/// After what time a page is looked at for the first time, whether it is still needed. The time from one look to the next
/// doubles, so that what must be remembered for long wakes nobody often.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// A page of which no more than one in so many keys is needed gives way, and so does one that has no more than that of what it
/// could have, if another one has room: those go there.
pub(super) const SPARSE: usize = 4;

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServedKey {
    /// Which.
    pub key: Key,
    /// What its leases have used of the rate of the page that it is in.
    pub used: RateUsed,
    /// When it was served last, if keys took turns then.
    pub turn: Turn,
}

/// Keys that are written and forgotten together.
#[derive(Clone, Debug, Default)]
struct Page {
    /// The rate under which they were served.
    rate: Option<Rate>,
    keys: Arc<Vec<ServedKey>>,
    /// When to look whether it is still needed. Not on disk: it says nothing about the keys.
    look: Time,
}

/// All of them, of one queue.
#[derive(Clone, Debug, Default)]
pub(super) struct ServedKeys {
    pages: BTreeMap<PageNo, Page>,
    places: HashMap<Key, (PageNo, u32)>,
    /// The pages that have lost keys to other ones.
    left: BTreeSet<PageNo>,
}

impl ServedKeys {
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// What is remembered of a key, and the rate under which it was served.
    pub(super) fn get(&self, key: Key) -> Option<(Option<Rate>, ServedKey)> {
        let (page, nth) = self.places.get(&key)?;
        let page = self.pages.get(page)?;
        Some((page.rate, *page.keys.get(*nth as usize)?))
    }

    /// The turn of a key whose first ready job is this one.
    pub(super) fn turn(&self, key: Key, first: JobId) -> Turn {
        self.get(key).map_or_else(Turn::default, |(_, served)| served.turn).of(first)
    }

    /// All keys, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.places.keys().copied()
    }

    /// The page in which a key is remembered that is served now: where it is, if that is of the same rate.
    pub(super) fn page_for(&self, key: Key, rate: Option<Rate>, now: Time) -> PageNo {
        match self.places.get(&key) {
            Some((page, _)) if self.pages.get(page).is_some_and(|page| page.rate == rate) => *page,
            _ => self.page_with_room(1, rate, now),
        }
    }

    /// A page that has room for so many new keys: the last one, or one that is not there yet.
    pub(super) fn page_with_room(&self, keys: usize, rate: Option<Rate>, now: Time) -> PageNo {
        match self.pages.last_key_value() {
            Some((number, page)) if page.rate == rate && page.keys.len() + keys <= PAGE => *number,
            // Higher than any before, those that are forgotten too.
            Some((number, _)) => number.saturating_add(1).max(now.0),
            None => now.0,
        }
    }

    /// The page is of this rate. Returns when it is to be looked at, if it is new.
    pub(super) fn begin(&mut self, number: PageNo, rate: Option<Rate>) -> Option<Time> {
        // Its number says about when it came to be.
        let look = Time(number).plus(FIRST_LOOK);
        let is_new = !self.pages.contains_key(&number);
        if is_new {
            self.pages.insert(number, Page { look, ..Page::default() });
        }
        self.pages.entry(number).or_default().rate = rate;
        is_new.then_some(look)
    }

    /// Remembers a key, in this page, which is there, and in no other.
    pub(super) fn put(&mut self, number: PageNo, served: ServedKey) {
        let place = self.places.get(&served.key).copied();
        if let Some((left, _)) = place.filter(|(page, _)| *page != number) {
            self.remove(served.key);
            self.left.insert(left);
        }
        let Some(page) = self.pages.get_mut(&number) else { return };
        let keys = Arc::make_mut(&mut page.keys);
        match place.filter(|(page, _)| *page == number) {
            Some((_, nth)) => keys[nth as usize] = served,
            None => {
                self.places.insert(served.key, (number, keys.len() as u32));
                keys.push(served);
            }
        }
    }

    /// Forgets a key. Its page stays, be it empty.
    pub(super) fn remove(&mut self, key: Key) {
        let Some((number, nth)) = self.places.remove(&key) else { return };
        if self.places.capacity() > (4 * PAGE).max(self.places.len() * 8) {
            self.places.shrink_to(self.places.len() * 2);
        }
        let page = self.pages.get_mut(&number).expect("a key's page is there");
        let keys = Arc::make_mut(&mut page.keys);
        keys.swap_remove(nth as usize);
        if let Some(moved) = keys.get(nth as usize) {
            self.places.insert(moved.key, (number, nth));
        }
    }

    /// Forgets a page of which no key is remembered any more. Returns when it was to be looked at.
    pub(super) fn remove_page(&mut self, number: PageNo) -> Option<Time> {
        let page = self.pages.remove(&number)?;
        self.left.remove(&number);
        debug_assert!(page.keys.is_empty(), "its keys are forgotten before");
        Some(page.look)
    }

    /// The keys of a page, and the rate under which they were served.
    pub(super) fn page(&self, number: PageNo) -> Option<(Option<Rate>, &Arc<Vec<ServedKey>>)> {
        let page = self.pages.get(&number)?;
        Some((page.rate, &page.keys))
    }

    /// The pages that have lost keys to other ones, and how many each has left.
    pub(super) fn left(&self) -> impl Iterator<Item = (PageNo, usize)> {
        self.left.iter().filter_map(|page| Some((*page, self.pages.get(page)?.keys.len())))
    }

    /// All pages.
    pub(super) fn pages(&self) -> impl Iterator<Item = (PageNo, Option<Rate>, &Arc<Vec<ServedKey>>)> {
        self.pages.iter().map(|(number, page)| (*number, page.rate, &page.keys))
    }

    /// When a page is to be looked at.
    pub(super) fn look_at(&self, number: PageNo) -> Option<Time> {
        self.pages.get(&number).map(|page| page.look)
    }

    /// It was looked at, and is needed: the next time is when it is about twice as old. Returns it.
    pub(super) fn look_again(&mut self, number: PageNo, now: Time) -> Option<Time> {
        let page = self.pages.get_mut(&number)?;
        let age = Duration::from_millis(now.0.saturating_sub(number));
        page.look = now.plus(age.max(FIRST_LOOK));
        Some(page.look)
    }

    /// Panics if it contradicts itself.
    pub(super) fn check(&self) {
        let mut places = HashMap::new();
        for (number, page) in &self.pages {
            assert!(page.keys.len() <= PAGE, "page {number} has {} keys", page.keys.len());
            for (nth, served) in (0..).zip(page.keys.iter()) {
                let other = places.insert(served.key, (*number, nth));
                assert_eq!(other, None, "{:?} is remembered twice", served.key);
            }
        }
        assert_eq!(self.places, places, "where keys are remembered");
    }
}
