//! The only place that reads a clock. Everything else is handed a [`Clock`], or a [`Time`], and tests hand it a
//! manual one.
//!
//! The daemon's time is the wall clock as it was at the start plus what has passed since then by
//! `CLOCK_BOOTTIME` (`clock_gettime(2)`: it cannot be set, and counts while the machine sleeps). So a step of the
//! wall clock moves neither leases nor delays, a job due in eight hours is due after a night asleep, and time
//! never goes back. The price: after a step the daemon's idea of the hour is off until its next start.

use crate::core::Time;
use rustix::time::{ClockId, clock_gettime};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A clock. Clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// `started` is the time at which the machine had been up for `up`.
    Real {
        started: Time,
        up: Duration,
    },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// A clock that begins at the wall clock's time.
    pub fn start() -> Clock {
        Clock::starting_after(Time(0))
    }

    /// A clock that begins at the wall clock's time, or at `last` if that is later: what was committed before
    /// this start must not lie in the future, even if the wall clock was set back in between.
    pub fn starting_after(last: Time) -> Clock {
        Clock(Kind::Real { started: wall().max(last), up: read(ClockId::Boottime) })
    }

    /// A clock that shows `time` until [`Clock::advance`] moves it.
    pub fn manual(time: Time) -> Clock {
        Clock(Kind::Manual(Arc::new(AtomicU64::new(time.0))))
    }

    /// The time. Never earlier than what this clock or a clone of it has shown before.
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::Real { started, up } => started.plus(read(ClockId::Boottime).saturating_sub(*up)),
            Kind::Manual(millis) => Time(millis.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock, and all clones of it, on by `d`.
    ///
    /// # Panics
    /// If the clock is not a manual one.
    pub fn advance(&self, d: Duration) {
        let Kind::Manual(millis) = &self.0 else { panic!("only a manual clock can be moved") };
        let later = |now| Some(Time(now).plus(d).0);
        let _ = millis.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
    }
}

/// What the wall clock shows now, whatever has been done to it: for people (log lines, `--at`, ages in tables)
/// and never for decisions.
pub fn wall() -> Time {
    Time(u64::try_from(read(ClockId::Realtime).as_millis()).unwrap_or(u64::MAX))
}

/// `CLOCK_MONOTONIC`, which the service manager compares with its own, and by which people measure how long
/// something took.
pub fn monotonic() -> Duration {
    read(ClockId::Monotonic)
}

/// How long this thread has had a processor.
pub fn thread_work() -> Duration {
    read(ClockId::ThreadCPUTime)
}

fn read(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0); // before 1970: the beginning
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_go_behind_the_last_commit() {
        let last = wall().plus(Duration::from_secs(3600));
        let clock = Clock::starting_after(last);
        let first = clock.now();
        assert!(first >= last && first < last.plus(Duration::from_secs(60)), "{first}");
        assert!(clock.now() >= first);
    }

    #[test]
    fn a_clock_begins_with_the_wall_clock() {
        let before = wall();
        let now = Clock::start().now();
        assert!(now >= before && now <= wall(), "{before} {now}");
    }

    #[test]
    fn a_manual_clock_moves_with_all_its_clones_and_only_when_told() {
        let clock = Clock::manual(Time(1_000));
        let other = clock.clone();
        assert_eq!(other.now(), Time(1_000));
        clock.advance(Duration::from_secs(5));
        assert_eq!((clock.now(), other.now()), (Time(6_000), Time(6_000)));
    }
}
