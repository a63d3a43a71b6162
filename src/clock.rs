//! The only place that reads a clock. Everything else is passed a [`Clock`] or a [`Time`], and tests pass a manual
//! clock.
//!
//! The daemon's time is the wall clock at its start plus what has passed since then by `CLOCK_BOOTTIME`
//! (`clock_gettime(2)`: it cannot be set, and counts while the machine sleeps). So a step of the wall clock moves
//! neither leases nor delays, a job due in eight hours is due after a night asleep, and time never goes back. After a
//! step of the wall clock the two differ; points in time that people give ([`Clock::at_wall`]) or are shown
//! ([`Clock::shown`]) follow the wall clock as it is now.

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
    Real { started: Time, up: Duration },
    /// The time, and what the wall clock shows.
    Manual(Arc<[AtomicU64; 2]>),
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
        Clock(Kind::Manual(Arc::new([time.0, time.0].map(AtomicU64::new))))
    }

    /// The time. Never earlier than what this clock or a clone of it has shown before.
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::Real { started, up } => started.plus(read(ClockId::Boottime).saturating_sub(*up)),
            Kind::Manual(millis) => Time(millis[0].load(Ordering::SeqCst)),
        }
    }

    /// What the wall clock shows now.
    pub fn wall(&self) -> Time {
        match &self.0 {
            Kind::Real { .. } => wall(),
            Kind::Manual(millis) => Time(millis[1].load(Ordering::SeqCst)),
        }
    }

    /// By how many milliseconds this clock is ahead of the wall clock now; negative if it is behind. Less than a second
    /// is nothing: the wall clock is corrected all the time.
    pub fn ahead_ms(&self) -> i64 {
        let ahead = (i128::from(self.now().0) - i128::from(self.wall().0))
            .clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        if ahead.abs() < 1_000 { 0 } else { ahead }
    }

    /// What this clock will show when the wall clock shows `point`, if nobody sets that meanwhile.
    pub fn at_wall(&self, point: Time) -> Time {
        Time(point.0.saturating_add_signed(self.ahead_ms()))
    }

    /// What the wall clock showed, or will show, at a time of this clock: for people.
    pub fn shown(&self, time: Time) -> Time {
        Clock::shown_if_ahead(time, self.ahead_ms())
    }

    /// The same, where it is known by how much the clock is ahead of the wall clock: for many times at once.
    pub fn shown_if_ahead(time: Time, ahead_ms: i64) -> Time {
        if time == Time::NEVER { time } else { Time(time.0.saturating_add_signed(-ahead_ms)) }
    }

    /// What `CLOCK_BOOTTIME` shows at `time`, for timers.
    pub fn boottime_at(&self, time: Time) -> Duration {
        match &self.0 {
            Kind::Real { started, up } => up.saturating_add(time.since(*started)),
            Kind::Manual(_) => read(ClockId::Boottime).saturating_add(time.since(self.now())),
        }
    }

    /// Moves a manual clock, and all clones of it, on by `d`, and the wall clock with it.
    ///
    /// # Panics
    /// If the clock is not a manual one.
    pub fn advance(&self, d: Duration) {
        let Kind::Manual(millis) = &self.0 else { panic!("only a manual clock can be moved") };
        for shown in millis.iter() {
            let later = |now| Some(Time(now).plus(d).0);
            let _ = shown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, later);
        }
    }

    /// Sets the wall clock of a manual one, and nothing else.
    ///
    /// # Panics
    /// If the clock is not a manual one.
    pub fn set_wall(&self, time: Time) {
        let Kind::Manual(millis) = &self.0 else { panic!("only a manual clock can be set") };
        millis[1].store(time.0, Ordering::SeqCst);
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

    /// After one start with a clock that was years ahead, whatever was to run at a point in time ran at once, for years.
    #[test]
    fn a_point_in_time_is_one_of_the_wall_clock_of_now() {
        let (year, hour) = (Duration::from_secs(365 * 86_400), Duration::from_secs(3_600));
        let clock = Clock::manual(Time(0).plus(year * 60));
        assert_eq!((clock.ahead_ms(), clock.at_wall(Time(7))), (0, Time(7)));
        for wall in [Time(0).plus(year * 56), Time(0), Time(0).plus(year * 99)] {
            clock.set_wall(wall);
            let (point, then) = (wall.plus(hour), clock.now().plus(hour));
            assert_eq!((clock.at_wall(point), clock.shown(then)), (then, point));
            assert_eq!(clock.shown(Time::NEVER), Time::NEVER);
        }
        assert_eq!(clock.ahead_ms(), -39 * year.as_millis() as i64);
        clock.advance(hour);
        assert_eq!(clock.ahead_ms(), -39 * year.as_millis() as i64, "both go on");
        // What the wall clock is corrected by all the time changes nothing.
        clock.set_wall(Time(clock.now().0 - 999));
        assert_eq!(clock.at_wall(Time(7)), Time(7));
    }

    #[test]
    fn the_real_clock_knows_how_far_it_is_ahead() {
        let day = Duration::from_secs(86_400);
        let clock = Clock::starting_after(wall().plus(day));
        let ahead = clock.ahead_ms();
        assert!((86_390_000..=86_400_000).contains(&ahead), "{ahead}");
        let in_an_hour = wall().plus(Duration::from_secs(3_600));
        let then = clock.at_wall(in_an_hour).since(clock.now());
        assert!(then > Duration::from_secs(3_590) && then <= Duration::from_secs(3_610), "{then:?}");
        assert_eq!(Clock::start().ahead_ms(), 0);
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
