//! Queues that may have work for claims that wait, in the order in which they came to have it, each once.

use crate::core::QueueName;
use std::collections::{HashSet, VecDeque};

/// The queues.
#[derive(Debug, Default)]
pub(super) struct Woken {
    line: VecDeque<QueueName>,
    /// The same, to be looked up: there may be very many.
    is_in: HashSet<QueueName>,
}

impl Woken {
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// Puts a queue at the end, unless it is there already.
    pub(super) fn push(&mut self, queue: &QueueName) {
        if !self.is_in.contains(queue) {
            self.is_in.insert(queue.clone());
            self.line.push_back(queue.clone());
        }
    }

    /// Takes the first one out.
    pub(super) fn pop(&mut self) -> Option<QueueName> {
        let queue = self.line.pop_front()?;
        self.is_in.remove(&queue);
        Some(queue)
    }
}
