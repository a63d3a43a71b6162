//! Where one is in a list: what is selected, and what of it is on the screen; and lists of jobs, of which one page is there at a
//! time. It must not know what is drawn of them.

use super::super::keys::Key;
use crate::protocol::admin::{JobView, JobsView, ListQuery};

/// How many jobs are looked through for a text that is no queue's name.
pub(super) const LOOKED_THROUGH: u32 = 500;

/// Whether one of these texts has the filter in it, whatever the case of letters.
pub(super) fn matches<'t>(filter: &str, texts: impl IntoIterator<Item = &'t str>) -> bool {
    let filter = filter.to_lowercase();
    filter.is_empty() || texts.into_iter().any(|text| text.to_lowercase().contains(&filter))
}

/// What is selected, and the first that is on the screen.
#[derive(Debug)]
pub(in crate::cli::top) struct Cursor<K> {
    selected: Option<K>,
    at: usize,
    top: usize,
}

impl<K> Default for Cursor<K> {
    fn default() -> Cursor<K> {
        Cursor { selected: None, at: 0, top: 0 }
    }
}

impl<K: Clone + PartialEq> Cursor<K> {
    /// What is selected.
    pub(in crate::cli::top) fn selected(&self) -> Option<&K> {
        self.selected.as_ref()
    }

    /// The place of that in the list.
    pub(in crate::cli::top) fn at(&self) -> usize {
        self.at
    }

    /// What of a list is on the screen.
    pub(in crate::cli::top) fn shown<'l, T>(&self, list: &'l [T], rows: usize) -> &'l [T] {
        let top = self.top.min(list.len());
        &list[top..(top + rows).min(list.len())]
    }

    /// The place in the list of the first that is on the screen.
    pub(in crate::cli::top) fn top(&self) -> usize {
        self.top
    }

    /// The list has changed, or the screen: the same stays selected, or else what is in its place.
    pub(super) fn settle(&mut self, list: &[K], rows: usize) {
        let same = self.selected.as_ref().and_then(|selected| list.iter().position(|key| key == selected));
        self.at = same.unwrap_or(self.at).min(list.len().saturating_sub(1));
        self.selected = list.get(self.at).cloned();
        let least = (self.at + 1).saturating_sub(rows);
        self.top = self.top.clamp(least, self.at.max(least)).min(list.len().saturating_sub(rows).max(least));
    }

    /// Selects another one.
    pub(super) fn press(&mut self, key: Key, list: &[K], rows: usize) {
        let to = match key {
            Key::Up | Key::Char('k') => self.at.saturating_sub(1),
            Key::Down | Key::Char('j') => self.at + 1,
            Key::PageUp => self.at.saturating_sub(rows),
            Key::PageDown | Key::Char(' ') => self.at + rows,
            Key::First | Key::Char('g') => 0,
            Key::Last | Key::Char('G') => usize::MAX,
            _ => return,
        };
        self.select(to, list, rows);
    }

    fn select(&mut self, at: usize, list: &[K], rows: usize) {
        self.at = at.min(list.len().saturating_sub(1));
        self.selected = list.get(self.at).cloned();
        self.settle(list, rows);
    }
}

/// Which line of a page that comes is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Enter {
    First,
    Last,
}

/// Jobs in one state, a page of them.
#[derive(Debug)]
pub(in crate::cli::top) struct Pages {
    state: &'static str,
    newest: bool,
    /// The job after which each page begins that was turned; of the first one there is none.
    turned: Vec<u64>,
    jobs: Option<Vec<(JobView, String)>>,
    next: Option<u64>,
    enter: Option<Enter>,
    pub(in crate::cli::top) cursor: Cursor<u64>,
}

impl Pages {
    pub(super) fn of(state: &'static str, newest: bool) -> Pages {
        let cursor = Cursor::default();
        Pages { state, newest, turned: Vec::new(), jobs: None, next: None, enter: None, cursor }
    }

    /// The jobs of the page that match, with who works on each.
    pub(in crate::cli::top) fn listed(&self, filter: &str) -> Vec<(&JobView, &str)> {
        let jobs = self.jobs.iter().flatten();
        let error =
            |job: &JobView| job.failures.last().map(|failure| failure.error.clone()).unwrap_or_default();
        let said = |job: &JobView| job.progress.as_ref().map(|far| far.text.clone()).unwrap_or_default();
        jobs.filter(|(job, worker)| {
            matches(filter, [&*job.queue, &*job.id.to_string(), &error(job), &said(job), worker])
        })
        .map(|(job, worker)| (job, &**worker))
        .collect()
    }

    /// Whether anything is known.
    pub(in crate::cli::top) fn is_known(&self) -> bool {
        self.jobs.is_some()
    }

    /// Which page this is, from 1 on, and whether another follows.
    pub(in crate::cli::top) fn page(&self) -> (usize, bool) {
        (self.turned.len() + 1, self.next.is_some())
    }

    /// What to ask for: one screen of jobs, or as many as are looked through for a text. `queue` is the one that is called so.
    pub(super) fn query(&self, rows: usize, filter: &str, queue: Option<String>) -> ListQuery {
        let whole = filter.is_empty() || queue.is_some();
        let from = self.turned.last().copied();
        ListQuery {
            state: Some(self.state.to_owned()),
            queue,
            after: from.filter(|_| !self.newest).unwrap_or(0),
            before: from.filter(|_| self.newest),
            newest: self.newest,
            limit: if whole { u32::try_from(rows).unwrap_or(LOOKED_THROUGH) } else { LOOKED_THROUGH },
            ..ListQuery::default()
        }
    }

    /// Whether an answer to this is for these.
    pub(super) fn is_about(&self, query: &ListQuery) -> bool {
        query.state.as_deref() == Some(self.state)
    }

    /// Takes a page, if it is the one that is on the screen.
    pub(super) fn take(&mut self, query: &ListQuery, page: JobsView, workers: Vec<String>) {
        let from = if self.newest { query.before } else { Some(query.after).filter(|after| *after > 0) };
        if from != self.turned.last().copied() {
            return;
        }
        if page.jobs.is_empty() && self.turned.pop().is_some() {
            // They are gone; the page before is asked for at the next look.
            self.enter = Some(Enter::Last);
            return;
        }
        self.next = page.next;
        let workers = workers.into_iter().chain(std::iter::repeat_with(String::new));
        self.jobs = Some(page.jobs.into_iter().zip(workers).collect());
        match self.enter.take() {
            Some(Enter::First) => self.cursor = Cursor::default(),
            Some(Enter::Last) => self.cursor = Cursor { selected: None, at: usize::MAX, top: 0 },
            None => {}
        }
    }

    /// Begins at the first page.
    pub(super) fn begin(&mut self) {
        self.turned.clear();
        self.cursor = Cursor::default();
        self.enter = Some(Enter::First);
    }

    pub(super) fn settle(&mut self, filter: &str, rows: usize) {
        let ids: Vec<u64> = self.listed(filter).iter().map(|(job, _)| job.id).collect();
        self.cursor.settle(&ids, rows);
    }

    /// Selects another one; returns whether it is on another page, which is to be asked for.
    pub(super) fn press(&mut self, key: Key, filter: &str, rows: usize) -> bool {
        let ids: Vec<u64> = self.listed(filter).iter().map(|(job, _)| job.id).collect();
        let (at, last) = (self.cursor.at, ids.len().saturating_sub(1));
        let is_on = match key {
            Key::Down | Key::Char('j') => Some(true).filter(|_| at >= last),
            Key::PageDown | Key::Char(' ') => Some(true).filter(|_| at + rows > last),
            Key::Up | Key::Char('k') => Some(false).filter(|_| at == 0),
            Key::PageUp => Some(false).filter(|_| at < rows),
            Key::First | Key::Char('g') if !self.turned.is_empty() => {
                self.begin();
                return true;
            }
            _ => None,
        };
        // One page after the other: that which was asked for has not come yet.
        let is_here = self.enter.is_none();
        match (is_on, self.next) {
            (Some(true), Some(next)) if is_here => {
                self.turned.push(next);
                self.enter = Some(Enter::First);
                true
            }
            (Some(false), _) if is_here && self.turned.pop().is_some() => {
                self.enter = Some(Enter::Last);
                true
            }
            _ => {
                self.cursor.press(key, &ids, rows);
                false
            }
        }
    }
}
