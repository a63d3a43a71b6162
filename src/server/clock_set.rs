//! Tells when somebody sets the wall clock (`TFD_TIMER_CANCEL_ON_SET`, timerfd_create(2)): what follows it may be due
//! earlier than the loop's timer rings. It knows nothing of what that is.

use crate::watched::Watched;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::io;
use tokio::io::Interest;

/// When the timer rings by itself: in 500 years.
const FAR_AWAY: i64 = 1 << 34;

/// A timer on the wall clock that is ended by its setting.
pub(super) struct ClockSet {
    fd: Watched,
}

impl ClockSet {
    /// One that waits.
    ///
    /// # Errors
    /// The system has no room for another descriptor.
    pub(super) fn new() -> io::Result<ClockSet> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Realtime, flags)?;
        let fd = Watched::new(fd, Interest::READABLE)?;
        let clock_set = ClockSet { fd };
        clock_set.begin()?;
        Ok(clock_set)
    }

    fn begin(&self) -> io::Result<()> {
        let never = Timespec { tv_sec: FAR_AWAY, tv_nsec: 0 };
        let timer = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: never };
        let flags = TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET;
        timerfd_settime(self.fd.get_ref(), flags, &timer)?;
        Ok(())
    }

    /// Returns when the wall clock was set.
    pub(super) async fn happens(&self) {
        while let Ok(mut ready) = self.fd.readable().await {
            let mut rings = [0; 8];
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut rings)?));
            if let Ok(read) = read {
                // ECANCELED says that it was set. Whatever else it is, the loop may look.
                if read.is_err() && self.begin().is_err() {
                    break;
                }
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn it_goes_by_the_wall_clock_and_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let clock_set = ClockSet::new().unwrap();
            let info = format!("/proc/self/fdinfo/{}", clock_set.fd.get_ref().as_raw_fd());
            let info = std::fs::read_to_string(info).unwrap();
            assert!(info.lines().any(|line| line == "clockid: 0"), "{info}");
            assert!(info.lines().any(|line| line == "settime flags: 03"), "{info}");
            tokio::select! {
                biased;
                () = clock_set.happens() => panic!("nobody has set it"),
                () = tokio::task::yield_now() => {}
            }
        });
    }
}
