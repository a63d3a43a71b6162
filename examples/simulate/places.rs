//! Where jobs are: the queue and the priority that they were sent with, or those that they were given by hand since. What
//! was told done holds; what was refused never does; what nobody has an answer to may.

use musher::core::{JobId, Priority, QueueName};
use std::collections::BTreeMap;

/// A change by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    To(QueueName),
    Priority(Priority),
}

impl Change {
    fn is_alike(&self, other: &Change) -> bool {
        matches!((self, other), (Change::To(_), Change::To(_)) | (Change::Priority(_), Change::Priority(_)))
    }
}

/// Jobs of which somebody has asked for a change of place.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: BTreeMap<JobId, Asks>,
    sent: u64,
}

#[derive(Debug, Default)]
struct Asks {
    /// What holds for sure, where it is not what it was sent with.
    holds: Vec<Change>,
    /// What may hold besides, in the order in which it was asked for.
    may_be: Vec<(u64, Change)>,
}

impl Asks {
    fn hold(&mut self, change: Change) {
        self.holds.retain(|one| !one.is_alike(&change));
        self.holds.push(change);
    }

    fn seen(&mut self, id: JobId, sent: Change, seen: Change) {
        let holds = self.holds.iter().find(|one| one.is_alike(&seen)).unwrap_or(&sent);
        let may_be = *holds == seen || self.may_be.iter().any(|(_, one)| *one == seen);
        assert!(may_be, "job {id}, which was sent to {sent:?}, is at {seen:?}: {self:?}");
        self.hold(seen);
    }
}

impl Places {
    /// A change is sent. Returns its number.
    pub(crate) fn sends(&mut self, id: JobId, change: Change) -> u64 {
        self.sent += 1;
        self.all.entry(id).or_default().may_be.push((self.sent, change));
        self.sent
    }

    /// It was told done, or refused.
    pub(crate) fn told(&mut self, id: JobId, nth: u64, done: bool) {
        let Some(asks) = self.all.get_mut(&id) else { return };
        let Some(at) = asks.may_be.iter().position(|(one, _)| *one == nth) else { return };
        let (_, change) = asks.may_be.remove(at);
        if done {
            asks.may_be.retain(|(one, other)| *one > nth || !other.is_alike(&change));
            asks.hold(change);
        }
    }

    /// A job was seen there; and sent to where?
    pub(crate) fn seen(&mut self, id: JobId, sent: (&QueueName, Priority), seen: (&QueueName, Priority)) {
        if sent == seen && !self.all.contains_key(&id) {
            return;
        }
        let asks = self.all.entry(id).or_default();
        asks.seen(id, Change::To(sent.0.clone()), Change::To(seen.0.clone()));
        asks.seen(id, Change::Priority(sent.1), Change::Priority(seen.1));
    }

    /// What was under way at a start is over.
    pub(crate) fn settle(&mut self) {
        self.all.values_mut().for_each(|asks| asks.may_be.clear());
    }

    /// At a start: of what came to nothing the ids are given again.
    pub(crate) fn begin_anew(&mut self, next: JobId) {
        self.all.retain(|id, _| *id < next);
    }

    /// The job is gone.
    pub(crate) fn forget(&mut self, id: JobId) {
        self.all.remove(&id);
    }
}
