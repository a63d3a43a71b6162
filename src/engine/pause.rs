//! Tells whether the loop stood still: the process was stopped, its machine slept, or the disk or the log did not answer. Whoever
//! holds a lease could not extend it meanwhile.

use super::{Engine, Fact};
use crate::core::{Command, Time};
use crate::store::Store;
use std::time::Duration;

/// A turn that comes so much later than it was asked for was held up. What a busy machine does stays below.
const LATE: Duration = Duration::from_millis(250);
/// A turn that has waited for so long was held up in the middle.
const HELD_UP: Duration = Duration::from_secs(1);

/// The time between two turns.
#[derive(Debug)]
pub(super) struct Rest {
    /// When the last turn was over.
    since: Time,
    /// When the next one was asked for.
    wanted: Option<Time>,
    /// When the last turn began, if it was held up.
    held_up: Option<Time>,
    /// Since when the log takes no more, so that nobody was read.
    stalled: Option<Time>,
}

impl Rest {
    pub(super) fn new(since: Time) -> Rest {
        Rest { since, wanted: None, held_up: None, stalled: None }
    }

    /// A turn is over, and the next is wanted then.
    pub(super) fn begin(&mut self, since: Time, wanted: Option<Time>) {
        (self.since, self.wanted) = (since, wanted);
    }

    /// No turn can be made now.
    pub(super) fn stall(&mut self, now: Time) {
        self.stalled.get_or_insert(now);
    }

    /// The loop goes on. Returns since when it stood still, if it did.
    fn end(&mut self, now: Time) -> Option<Time> {
        let wanted = self.wanted.map(|wanted| wanted.max(self.since));
        let late = wanted.is_some_and(|wanted| now.since(wanted) > LATE);
        let stalled = self.stalled.take().filter(|since| now.since(*since) > LATE);
        let stood_still = self.held_up.take().or(stalled).or(late.then_some(self.since));
        if stood_still.is_some() {
            // It is made up for, up to now.
            self.since = now;
        }
        stood_still
    }
}

impl<S: Store> Engine<S> {
    /// How long the turn took that began at `begun`. `worked` says how long of that it has had a processor, at least about; it is
    /// asked only where that matters, since it may ask the system.
    pub fn turn_took(&mut self, begun: Time, took: Duration, worked: impl FnOnce() -> Duration) {
        self.rest.since = begun.plus(took);
        if took > HELD_UP && took.saturating_sub(worked()) > HELD_UP {
            self.rest.held_up = Some(begun);
        }
    }

    /// Before anything that is due is done: what the loop has missed harms no lease.
    pub(super) fn make_up_for_a_pause(&mut self, now: Time) {
        if let Some(since) = self.rest.end(now) {
            let (from, now) = (self.notes.events.len(), self.now.max(now));
            self.resuming.wait_longer(now.since(since));
            self.command(&Command::StoodStill { since }, now);
            if self.notes.events.len() > from {
                self.notes.facts.push(Fact::StoodStill { time: now.since(since) });
            }
        }
    }
}
