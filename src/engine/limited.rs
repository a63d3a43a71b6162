//! Queues that have work for claims that wait, but have reached a limit. They are looked at again when a lease of theirs
//! ends, when the time comes at which their rate, that of a key, or their circuit allows more, or when the settings change. What a limit is, the core
//! decides.

use super::Engine;
use crate::core::{JobId, Limit, QueueName, Reason, Time};
use crate::store::Store;
use std::collections::BTreeMap;

/// These queues, each with the moment at which time alone may change it.
#[derive(Debug, Default)]
pub(super) struct Limited(BTreeMap<QueueName, Option<Time>>);

impl Limited {
    /// Whether a queue is one of them.
    pub(super) fn has(&self, queue: &QueueName) -> bool {
        // As nearly always, at each end of a lease: there are none.
        !self.0.is_empty() && self.0.contains_key(queue)
    }

    /// The first moment at which time changes something.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.0.values().flatten().min().copied()
    }
}

impl<S: Store> Engine<S> {
    /// Why a job is not running now, or that it is; `None` for an unknown job.
    pub fn explain(&mut self, id: JobId, now: Time) -> Option<Vec<Reason>> {
        self.core.explain(id, now)
    }

    /// Whether a claim would get a job of a queue now.
    pub fn gives(&mut self, queue: &QueueName, now: Time) -> bool {
        self.core.gives(queue, now)
    }

    /// Takes note of a queue for which a claim waits, if it has work and a limit keeps it.
    pub(super) fn note_limited(&mut self, name: &QueueName, now: Time) {
        let gives = self.core.gives(name, now);
        let core = &self.core;
        let work = core.state.queue(name).filter(|queue| queue.has_work() && !core.draining);
        let Some(queue) = work.filter(|_| !gives) else {
            self.notes.limited.0.remove(name);
            return;
        };
        let settings = core.settings.of(name);
        let reached = settings.reached(&core.state, queue, now);
        let until = reached.filter_map(|limit: Limit| limit.until());
        let until = until.chain(queue.opens(now));
        self.notes.limited.0.insert(name.clone(), until.max());
    }

    /// Looks again at those whose time has come.
    pub(super) fn wake_limited(&mut self, now: Time) {
        if self.notes.limited.next_due().is_none_or(|due| due > now) {
            return;
        }
        let is_due = |at: &Option<Time>| at.is_some_and(|at| at <= now);
        let due = self.notes.limited.0.iter().filter(|(_, at)| is_due(at)).map(|(queue, _)| queue.clone());
        for queue in due.collect::<Vec<_>>() {
            self.notes.limited.0.remove(&queue);
            self.notes.woken.push(&queue);
        }
    }

    /// Looks again at all queues for which somebody waits: other settings may allow more.
    pub(super) fn wake_all(&mut self) {
        for queue in self.waiting.queues() {
            self.notes.woken.push(queue);
        }
    }
}
