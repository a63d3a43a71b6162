//! Submits that are remembered by their idempotency key, with what they were answered: who sends one again gets the same
//! answer. They are kept in pages, which are written and forgotten as a whole, so that a million of them are few rows. It
//! knows hashes and times; what is submitted it does not look at.

use super::command::Receipt;
use super::ids::IdRange;
use super::job::Key;
use super::state::State;
use super::time::Time;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The most submits of a page.
const PAGE: usize = 256;

/// A submit that shall be done once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestKey {
    /// A hash of its key, and of the user whose it is.
    pub key: Key,
    /// A hash of what is submitted.
    pub content: Key,
}

/// A submit that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoneRequest {
    /// Which.
    pub request: RequestKey,
    /// What it was answered.
    pub answer: RequestAnswer,
    /// Until when it is remembered.
    pub until: Time,
}

/// What a submit was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestAnswer {
    /// The ids of its jobs: all were new.
    Submitted(IdRange),
    /// One receipt a job.
    Received(Box<[Receipt]>),
}

/// The number of a page. The pages of one state rise.
pub type PageNo = u64;

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct DoneRequests {
    pages: BTreeMap<PageNo, Arc<Vec<DoneRequest>>>,
    /// Where each key is: the newest of those that have it.
    places: HashMap<Key, (PageNo, u32)>,
}

impl DoneRequests {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The oldest page.
    pub fn first_page(&self) -> Option<PageNo> {
        self.pages.keys().next().copied()
    }

    /// The submit with this key, if it is remembered.
    pub(super) fn get(&self, key: Key, now: Time) -> Option<&DoneRequest> {
        let (page, nth) = self.places.get(&key)?;
        self.pages.get(page)?.get(*nth as usize).filter(|done| done.until > now)
    }

    /// The page into which the next one goes.
    pub(super) fn next_page(&self, now: Time) -> PageNo {
        match self.pages.last_key_value() {
            Some((number, page)) if page.len() < PAGE => *number,
            // Higher than any before, those that are forgotten too.
            Some((number, _)) => (number + 1).max(now.0),
            None => now.0,
        }
    }

    /// The page that is forgotten next, and when: once none of its submits is remembered any more.
    pub(super) fn next_due(&self) -> Option<(PageNo, Time)> {
        let (number, page) = self.pages.first_key_value()?;
        Some((*number, page.iter().map(|done| done.until).max().unwrap_or_default()))
    }

    pub(super) fn add(&mut self, number: PageNo, done: DoneRequest) {
        let page = self.pages.entry(number).or_default();
        self.places.insert(done.request.key, (number, page.len() as u32));
        Arc::make_mut(page).push(done);
    }

    pub(super) fn forget(&mut self, number: PageNo) {
        for done in self.pages.remove(&number).iter().flat_map(|page| page.iter()) {
            let key = done.request.key;
            if self.places.get(&key).is_some_and(|(page, _)| *page == number) {
                self.places.remove(&key);
            }
        }
    }

    /// All pages, in order.
    pub(super) fn pages(&self) -> impl Iterator<Item = (PageNo, &Arc<Vec<DoneRequest>>)> {
        self.pages.iter().map(|(number, page)| (*number, page))
    }

    pub(super) fn has_page(&self, number: PageNo) -> bool {
        self.pages.contains_key(&number)
    }

    /// Puts a page back, in the place of what is there of it.
    pub(super) fn restore(&mut self, number: PageNo, page: Arc<Vec<DoneRequest>>) {
        self.forget(number);
        for (nth, done) in (0..).zip(page.iter()) {
            let place = self.places.entry(done.request.key).or_insert((number, nth));
            *place = (*place).max((number, nth));
        }
        self.pages.insert(number, page);
    }

    /// Panics if it contradicts itself.
    pub(super) fn check(&self) {
        let mut newest = HashMap::new();
        for (number, page) in self.pages() {
            assert!((1..=PAGE).contains(&page.len()), "page {number} has {} submits", page.len());
            newest.extend((0..).zip(page.iter()).map(|(nth, done)| (done.request.key, (number, nth))));
        }
        assert_eq!(self.places, newest, "where submits are remembered");
    }
}

impl State {
    /// Submits that are remembered by their keys.
    pub fn done_requests(&self) -> &DoneRequests {
        &self.requests
    }
}
