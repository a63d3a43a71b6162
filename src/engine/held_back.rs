//! What is said and waits for the log to confirm what it was decided on, and what the engine does while the log takes no
//! more. All of it is bounded: at the bound nothing more is decided, and the loop makes no turn until it is rung.

use super::{Delivery, Engine, Turned};
use crate::core::Time;
use crate::store::{CommitNo, Store};
use std::collections::VecDeque;
use std::task::Waker;

/// Deliveries, by the commit that must be durable before they leave.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    /// Each with about how many bytes it has.
    waiting: VecDeque<(CommitNo, usize, Vec<Delivery>)>,
    bytes: usize,
}

impl HeldBack {
    /// About how many bytes wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, after: CommitNo, bytes: usize, deliveries: Vec<Delivery>) {
        self.waiting.push_back((after, bytes, deliveries));
        self.bytes += bytes;
    }

    /// What may leave, in order.
    fn up_to(&mut self, durable: CommitNo) -> Vec<Delivery> {
        let mut free = Vec::new();
        while let Some((_, bytes, deliveries)) = self.waiting.pop_front_if(|(after, ..)| *after <= durable) {
            self.bytes -= bytes;
            if free.is_empty() {
                free = deliveries;
            } else {
                free.extend(deliveries);
            }
        }
        free
    }
}

impl<S: Store> Engine<S> {
    /// Has a bell rung, from any thread, whenever the log has confirmed something after an append has returned, or has
    /// failed. Who is rung makes a turn.
    pub fn ring(&mut self, bell: &Waker) {
        self.store.ring(bell);
    }

    /// Whether the log takes no more, and a whole commit or its worth of answers waits for it. A turn does nothing then: the
    /// loop makes none, and reads nobody, until it is rung.
    pub fn is_stalled(&mut self, now: Time) -> bool {
        let is_stalled = !self.store.can_append() && self.is_full();
        if is_stalled {
            self.rest.stall(now);
        }
        is_stalled
    }

    /// Whether something was decided that the log does not take yet.
    pub fn awaits_log(&self) -> bool {
        !self.notes.events.is_empty() && !self.store.can_append()
    }

    /// Whether something was said that may not leave yet.
    pub fn owes_answers(&self) -> bool {
        !self.held_back.waiting.is_empty() || self.awaits_log()
    }

    /// What was said waits for all that was decided before it.
    pub(super) fn hold_back(&mut self) {
        if !self.notes.events.is_empty() {
            return;
        }
        self.notes.said.extend(self.notes.followed.take(self.now).map(Delivery::Changed));
        if !self.notes.said.is_empty() {
            let bytes = std::mem::take(&mut self.notes.said_bytes);
            self.held_back.push(self.last, bytes, std::mem::take(&mut self.notes.said));
        }
    }

    /// What the durable mark allows to leave.
    pub(super) fn let_go(&mut self) -> Turned {
        let deliveries = self.held_back.up_to(self.store.durable());
        Turned { deliveries, facts: std::mem::take(&mut self.notes.facts), ..Turned::default() }
    }

    /// When the loop must look while the log does not take what was decided: at the bound only the bell counts.
    pub(super) fn next_due_in_memory(&self) -> Option<Time> {
        if self.is_full() { None } else { self.next_due() }
    }
}
