//! How fast a checkpoint goes. The thread that writes it, and the database's own, share processors and disk with the
//! loop, so it rests between slices unless the log grows fast or comes near its limit. On two processors, right after
//! a start that had found half of ten million jobs in the log, claims were 1.2 and 1.8 times as fast with rests (two
//! runs).

use super::EARLY_BYTES;
use crate::core::Time;
use std::time::Duration;

/// From one slice to the next. A slice takes the thread half a millisecond, and has up to 256 KiB: 50 MB a second.
const REST: Duration = Duration::from_millis(5);

/// When the next slice of a checkpoint may go.
#[derive(Debug)]
pub(super) struct Pace {
    /// When this much was appended before its time, more of the same must be expected.
    began_early: bool,
    rests_until: Time,
}

impl Pace {
    pub(super) fn new(began_early: bool) -> Pace {
        Pace { began_early, rests_until: Time(0) }
    }

    /// Until when it rests, if it does: `appended` is how much was appended since it began.
    pub(super) fn rest(&self, appended: u64, log_is_long: bool, now: Time) -> Option<Time> {
        let presses = self.began_early || log_is_long || appended >= EARLY_BYTES;
        (!presses && now < self.rests_until).then_some(self.rests_until)
    }

    /// A slice has gone.
    pub(super) fn note(&mut self, now: Time) {
        self.rests_until = now.plus(REST);
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
