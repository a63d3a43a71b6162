//! Until when a job is of use: a time by which its first attempt must have begun, and one by which it must have ended.

use crate::core::time::Time;

/// The two moments; [`Time::NEVER`] where there is none, as for most jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// If it was not leased by then, it expires (its time to live). One that was leased and given back has begun: its worker may have
    /// worked on it for hours, and was stopped.
    pub begin_by: Time,
    /// If it has not ended by then, it expires, however many attempts it has left: its deadline. An attempt that runs is ended
    /// by its worker; its lease ends at the latest one lease of the queue after it.
    pub end_by: Time,
}

impl Default for Expiry {
    fn default() -> Expiry {
        Expiry { begin_by: Time::NEVER, end_by: Time::NEVER }
    }
}

impl Expiry {
    /// When a job expires that waits, after attempts or before the first.
    pub fn of_waiting(self, has_begun: bool) -> Time {
        if has_begun { self.end_by } else { self.begin_by.min(self.end_by) }
    }
}
