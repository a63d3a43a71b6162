//! The end of a connection. One that leaves with very many requests that wait, or with very many leases, goes a part at
//! a time, so that it holds up nobody. If the daemon dies in between, the next start ends what is left of the leases.

use super::{Engine, Fact};
use crate::core::{Command, Time};
use crate::store::Store;

/// About how many queues and jobs the waiting requests name that are forgotten in one step.
pub(super) const CLOSED_AT_ONCE: usize = 200;

impl<S: Store> Engine<S> {
    /// A connection has closed: its requests wait no more, and what it held is free. Returns whether that is done:
    /// many requests and many leases go a part at a time, and the caller calls again.
    pub fn close_session(&mut self, session: u64, now: Time) -> bool {
        // Others may be next in line then.
        self.resuming.forget(session);
        self.notes.room_made |= self.parked.size_of(session) > 0;
        if !self.waiting.forget_some(session, CLOSED_AT_ONCE)
            || !self.parked.forget_some(session, CLOSED_AT_ONCE)
            || !self.notes.watching.forget_some(session, CLOSED_AT_ONCE)
            || !self.notes.watching_groups.forget_some(session, CLOSED_AT_ONCE)
        {
            return false;
        }
        if self.holds(session) {
            self.command(&Command::Vanish { session }, now);
        }
        if self.holds(session) {
            return false;
        }
        // The log hears of it once, however many parts there were.
        self.notes
            .facts
            .extend(self.notes.interrupted.remove(&session).map(|jobs| Fact::Interrupted { jobs }));
        true
    }

    fn holds(&self, session: u64) -> bool {
        self.core.state.held_by(session).next().is_some()
    }
}
