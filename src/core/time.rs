//! Points in time as the core knows them: a number that is passed in. Nothing here reads a clock.

use std::fmt;
use std::time::Duration;

/// Milliseconds since the start of 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// A time that never comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// This time and `d` more; never past [`Time::NEVER`].
    pub fn plus(self, d: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How long from `earlier` until this time; zero if it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The next whole second, or this one.
    pub fn next_second(self) -> Time {
        Time(self.0.div_ceil(1000).saturating_mul(1000))
    }

    /// The whole second that this time lies in. Arrival is remembered to the second, so that jobs that came
    /// one after the other can share one entry.
    pub fn whole_second(self) -> Time {
        Time(self.0 - self.0 % 1000)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}
