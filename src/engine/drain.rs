//! Stopping, as a pure state machine: running → stopping until a deadline → stopped. And the drain by hand,
//! from which there is a way back.

use crate::core::Time;
use std::time::Duration;

/// How long after the deadline workers may take to end their processes and give their leases back before the
/// engine takes them.
pub const KILL_GRACE: Duration = Duration::from_secs(4);

/// How far down the daemon is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Drain {
    /// Not at all.
    #[default]
    Running,
    /// Nothing is taken or given out, until somebody says otherwise.
    ByHand {
        /// Since when.
        since: Time,
    },
    /// The daemon stops as soon as nothing is leased by a connection, or the time is over.
    Stopping {
        /// Since when.
        since: Time,
        /// When workers end what still runs.
        deadline: Time,
        /// Whether their leases were taken from them.
        evicted: bool,
    },
}

/// What to do next while stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Wait(Time),
    /// Take the leases that are left.
    Evict,
    /// Bring everything home and exit.
    Finish,
}

impl Drain {
    /// The name of the mode, for people.
    pub fn name(self) -> &'static str {
        match self {
            Drain::Running => "running",
            Drain::ByHand { .. } => "draining",
            Drain::Stopping { .. } => "stopping",
        }
    }

    /// Since when it is not running.
    pub fn since(self) -> Option<Time> {
        match self {
            Drain::Running => None,
            Drain::ByHand { since } | Drain::Stopping { since, .. } => Some(since),
        }
    }

    /// Begins to stop, or cuts the wait short if that has begun. Returns whether it has begun only now.
    pub fn stop(&mut self, now: Time, grace: Duration) -> bool {
        let begun = matches!(self, Drain::Stopping { .. });
        let (since, deadline, evicted) = match *self {
            Drain::Stopping { since, deadline, evicted } => (since, deadline.min(now), evicted),
            Drain::Running | Drain::ByHand { .. } => (now, now.plus(grace), false),
        };
        *self = Drain::Stopping { since, deadline, evicted };
        !begun
    }

    /// When the daemon stops whatever is left.
    pub fn over_at(self) -> Option<Time> {
        match self {
            Drain::Stopping { deadline, .. } => Some(deadline.plus(KILL_GRACE)),
            Drain::Running | Drain::ByHand { .. } => None,
        }
    }

    /// What to do now that connections hold `held` leases; `None` while the daemon is not stopping.
    pub fn step(&mut self, now: Time, held: usize) -> Option<Step> {
        let Drain::Stopping { deadline, evicted, .. } = self else { return None };
        let last = deadline.plus(KILL_GRACE);
        if held == 0 || *evicted {
            Some(Step::Finish)
        } else if now < last {
            Some(Step::Wait(last))
        } else {
            *evicted = true;
            Some(Step::Evict)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    #[test]
    fn a_stop_waits_for_leases_until_its_time_and_then_takes_them() {
        let mut drain = Drain::default();
        assert_eq!(drain.step(Time(0), 3), None);
        assert!(drain.stop(Time(0), GRACE));
        assert_eq!(drain.step(Time(0), 3), Some(Step::Wait(Time(34_000))));
        assert_eq!(drain.step(Time(10), 0), Some(Step::Finish));
        assert_eq!(drain.step(Time(34_000), 3), Some(Step::Evict));
        assert_eq!(drain.step(Time(34_000), 0), Some(Step::Finish));
    }

    #[test]
    fn a_second_stop_cuts_the_wait_short() {
        let mut drain = Drain::ByHand { since: Time(0) };
        assert!(drain.stop(Time(0), GRACE));
        assert!(!drain.stop(Time(1_000), GRACE));
        assert_eq!(drain.step(Time(1_000), 1), Some(Step::Wait(Time(5_000))));
    }
}
