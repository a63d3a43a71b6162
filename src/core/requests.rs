//! Submits that are remembered by their idempotency key, with what they were answered: who sends one again gets the same
//! answer. They are kept in pages, which are written and forgotten as a whole, so that a million of them are few rows. It
//! knows hashes and times; what is submitted it does not look at.

use super::command::Receipt;
use super::ids::IdRange;
use super::job::Key;
use super::state::State;
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The most submits of a page.
const PAGE: usize = 256;

/// A page that takes as much of the limit gets no more: it is written as a whole each time.
const PAGE_WEIGHT: usize = 4_096;

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
    /// The user whose it is; of one that an older program has remembered nobody knows.
    pub user: Option<u32>,
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

impl DoneRequest {
    /// How many receipts it keeps.
    pub fn receipts(&self) -> usize {
        match &self.answer {
            RequestAnswer::Submitted(_) => 0,
            RequestAnswer::Received(receipts) => receipts.len(),
        }
    }

    /// How much of the limit it takes: one for itself, and one for each receipt that it keeps.
    fn weight(&self) -> usize {
        1 + self.receipts()
    }
}

/// Submits that are written and forgotten together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Page {
    done: Arc<Vec<DoneRequest>>,
    /// Until when the last of them is remembered.
    until: Time,
    weight: usize,
}

impl Page {
    fn of(done: Arc<Vec<DoneRequest>>) -> Page {
        let until = done.iter().map(|done| done.until).max().unwrap_or_default();
        let weight = done.iter().map(DoneRequest::weight).sum();
        Page { done, until, weight }
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub struct DoneRequests {
    pages: BTreeMap<PageNo, Page>,
    /// Where each key is: the newest of those that have it.
    places: HashMap<Key, (PageNo, u32)>,
    /// The pages by when they are forgotten.
    due: BTreeSet<(Time, PageNo)>,
    weight: usize,
    /// How much of it is of each user.
    by_user: HashMap<u32, usize>,
}

impl DoneRequests {
    /// How many keys are known.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How much of the limit they take: one each, and one for each receipt that they keep.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// How much of the limit those of one user take.
    pub fn weight_of(&self, user: u32) -> usize {
        self.by_user.get(&user).copied().unwrap_or(0)
    }

    /// The oldest page.
    pub fn first_page(&self) -> Option<PageNo> {
        self.pages.keys().next().copied()
    }

    /// The submit with this key, if it is remembered.
    pub(super) fn get(&self, key: Key, now: Time) -> Option<&DoneRequest> {
        let (page, nth) = self.places.get(&key)?;
        self.pages.get(page)?.done.get(*nth as usize).filter(|done| done.until > now)
    }

    /// The page into which the next one goes.
    pub(super) fn next_page(&self, now: Time) -> PageNo {
        match self.pages.last_key_value() {
            Some((number, page)) if page.done.len() < PAGE && page.weight < PAGE_WEIGHT => *number,
            // Higher than any before, those that are forgotten too.
            Some((number, _)) => (number + 1).max(now.0),
            None => now.0,
        }
    }

    /// The page that is forgotten next, and when: once none of its submits is remembered any more.
    pub(super) fn next_due(&self) -> Option<(PageNo, Time)> {
        self.due.first().map(|(until, number)| (*number, *until))
    }

    pub(super) fn add(&mut self, number: PageNo, done: DoneRequest) {
        let mut page = self.take(number);
        self.places.insert(done.request.key, (number, page.done.len() as u32));
        page.until = page.until.max(done.until);
        page.weight += done.weight();
        self.count(&done);
        Arc::make_mut(&mut page.done).push(done);
        self.put(number, page);
    }

    pub(super) fn forget(&mut self, number: PageNo) {
        for done in self.take(number).done.iter() {
            self.uncount(done);
            let key = done.request.key;
            if self.places.get(&key).is_some_and(|(page, _)| *page == number) {
                self.places.remove(&key);
            }
        }
    }

    fn count(&mut self, done: &DoneRequest) {
        if let Some(user) = done.user {
            *self.by_user.entry(user).or_default() += done.weight();
        }
    }

    fn uncount(&mut self, done: &DoneRequest) {
        let Some(user) = done.user else { return };
        let left = self.weight_of(user).checked_sub(done.weight()).expect("a submit was counted");
        match left {
            0 => self.by_user.remove(&user),
            left => self.by_user.insert(user, left),
        };
    }

    /// Takes a page out, of all but the places of its keys, and who has how many; an empty one if there is none.
    fn take(&mut self, number: PageNo) -> Page {
        let page = self.pages.remove(&number).unwrap_or_default();
        self.due.remove(&(page.until, number));
        self.weight -= page.weight;
        page
    }

    fn put(&mut self, number: PageNo, page: Page) {
        self.due.insert((page.until, number));
        self.weight += page.weight;
        self.pages.insert(number, page);
    }

    /// All pages, in order.
    pub(super) fn pages(&self) -> impl Iterator<Item = (PageNo, &Arc<Vec<DoneRequest>>)> {
        self.pages.iter().map(|(number, page)| (*number, &page.done))
    }

    pub(super) fn page(&self, number: PageNo) -> Option<&Arc<Vec<DoneRequest>>> {
        Some(&self.pages.get(&number)?.done)
    }

    /// Puts a page back, in the place of what is there of it.
    pub(super) fn restore(&mut self, number: PageNo, done: Arc<Vec<DoneRequest>>) {
        self.forget(number);
        for (nth, done) in (0..).zip(done.iter()) {
            let place = self.places.entry(done.request.key).or_insert((number, nth));
            *place = (*place).max((number, nth));
            self.count(done);
        }
        self.put(number, Page::of(done));
    }

    /// Panics if it contradicts itself.
    pub(super) fn check(&self) {
        let (mut newest, mut due, mut weight) = (HashMap::new(), BTreeSet::new(), 0);
        let mut by_user = HashMap::new();
        for (number, page) in &self.pages {
            assert!((1..=PAGE).contains(&page.done.len()), "page {number} has {} submits", page.done.len());
            assert_eq!(*page, Page::of(page.done.clone()), "page {number}");
            newest.extend((0..).zip(page.done.iter()).map(|(nth, done)| (done.request.key, (*number, nth))));
            for (user, weight) in page.done.iter().filter_map(|done| Some((done.user?, done.weight()))) {
                *by_user.entry(user).or_insert(0) += weight;
            }
            due.insert((page.until, *number));
            weight += page.weight;
        }
        assert_eq!(self.places, newest, "where submits are remembered");
        assert_eq!(self.by_user, by_user, "what those of each user take");
        assert_eq!((&self.due, self.weight), (&due, weight), "when pages are forgotten, and what they take");
    }
}

impl State {
    /// Submits that are remembered by their keys.
    pub fn done_requests(&self) -> &DoneRequests {
        &self.requests
    }
}
