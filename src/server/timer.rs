//! The loop's one timer, on the clock of the core: `CLOCK_BOOTTIME` goes on while the machine sleeps
//! (`timerfd_create(2)`), and what became due meanwhile is done as soon as it is awake. It does not know what it is set
//! for.

use crate::clock::Clock;
use crate::core::Time;
use crate::watched::Watched;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use std::time::Duration;
use tokio::io::Interest;

/// One timer, moved only when it must ring earlier: an early ring is harmless, and moving it for every lease is
/// not free.
pub(super) struct Timer {
    fd: Watched,
    clock: Clock,
    set: Option<Time>,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// The system has no room for another descriptor.
    pub(super) fn new(clock: Clock) -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Boottime, flags)?;
        let fd = Watched::new(fd, Interest::READABLE)?;
        Ok(Timer { fd, clock, set: None })
    }

    /// Lets it ring at `next`, or earlier.
    ///
    /// # Errors
    /// The system does not take the time.
    pub(super) fn set(&mut self, next: Option<Time>, now: Time) -> io::Result<()> {
        let Some(next) = next else { return Ok(()) };
        if self.set.is_some_and(|at| at <= next && at > now) {
            return Ok(());
        }
        // A millisecond more, since time is counted in whole ones and an early ring would only ring again.
        let at = self.clock.boottime_at(next) + Duration::from_millis(1);
        let it_value = Timespec {
            tv_sec: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: at.subsec_nanos().into(),
        };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        timerfd_settime(
            self.fd.get_ref(),
            TimerfdTimerFlags::ABSTIME,
            &Itimerspec { it_interval, it_value },
        )?;
        self.set = Some(next);
        Ok(())
    }

    /// Returns when the time has come; never, if none is set.
    pub(super) async fn rings(&mut self) {
        while self.set.is_some() {
            let Ok(mut ready) = self.fd.readable().await else { return self.set = None };
            let mut rings = [0; 8];
            let rang = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut rings)?));
            if rang.is_ok() {
                self.set = None;
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;
    use std::os::fd::AsRawFd;

    fn block_on(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    }

    /// A timer on `CLOCK_MONOTONIC` slept with the machine, and the loop came late by as much.
    #[test]
    fn it_goes_by_the_clock_that_counts_while_the_machine_sleeps() {
        block_on(async {
            let timer = Timer::new(Clock::start()).unwrap();
            let info = format!("/proc/self/fdinfo/{}", timer.fd.get_ref().as_raw_fd());
            let info = std::fs::read_to_string(info).unwrap();
            assert!(info.lines().any(|line| line == "clockid: 7"), "{info}");
        });
    }

    #[test]
    fn it_rings_in_time_and_is_moved_only_to_ring_earlier() {
        block_on(async {
            let clock = Clock::start();
            let (mut timer, now) = (Timer::new(clock.clone()).unwrap(), clock.now());
            let begun = monotonic();
            for (ms, rings_at) in [(80_000, 80_000), (40, 40), (90, 40)] {
                timer.set(Some(now.plus(Duration::from_millis(ms))), now).unwrap();
                assert_eq!(timer.set, Some(now.plus(Duration::from_millis(rings_at))));
            }
            timer.rings().await;
            assert!(clock.now() >= now.plus(Duration::from_millis(40)), "it rings late rather than early");
            assert!(monotonic() - begun < Duration::from_secs(40));
            assert_eq!(timer.set, None);
            // What is past rings at once.
            timer.set(Some(Time(1)), now).unwrap();
            timer.rings().await;
        });
    }
}
