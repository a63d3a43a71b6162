//! What was done with a job besides its attempts, for those who count it: the clients of beanstalkd, whose `stats-job` tells of
//! it. Nothing is decided by it but the order in which buried jobs are kicked.

use super::Job;

/// Something that is done with a job, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// It is to wait so many seconds.
    Delayed {
        /// So many.
        seconds: u32,
        /// As the how manyth: those that are due at the same time are in this order.
        no: u64,
    },
    /// Its holder has given it back.
    Released,
    /// Its holder did not say a word in the time that it had.
    TimedOut,
    /// Its holder has set it aside.
    Buried {
        /// As the how manyth: those that died at the same time are in this order.
        no: u64,
    },
    /// It was brought back among those that are ready, or will be.
    Kicked,
}

/// How many times each was done with a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HandlingCounts {
    /// For how many seconds it was delayed last.
    pub delay: u32,
    /// How many times it was released.
    pub releases: u32,
    /// How many times its lease ended without a word.
    pub timeouts: u32,
    /// How many times it was buried.
    pub buries: u32,
    /// How many times it was kicked.
    pub kicks: u32,
    /// The number of the last time at which it was delayed or buried.
    pub no: u64,
}

impl HandlingCounts {
    fn count(&mut self, what: Handling) {
        let more = |count: &mut u32| *count = count.saturating_add(1);
        match what {
            Handling::Delayed { seconds, no } => (self.delay, self.no) = (seconds, no),
            Handling::Released => more(&mut self.releases),
            Handling::TimedOut => more(&mut self.timeouts),
            Handling::Kicked => more(&mut self.kicks),
            Handling::Buried { no } => {
                more(&mut self.buries);
                self.no = no;
            }
        }
    }
}

impl Job {
    /// What was done with it.
    pub fn handled(&self) -> HandlingCounts {
        self.of_history(|history| history.handled.as_deref().copied()).flatten().unwrap_or_default()
    }

    /// Says what was.
    pub(crate) fn set_handled(&mut self, counts: HandlingCounts) {
        if self.handled() != counts {
            self.history_mut().handled = (counts != HandlingCounts::default()).then(|| counts.into());
        }
    }

    /// This is done with it.
    pub(in crate::core) fn handle(&mut self, what: Handling) {
        let mut counts = self.handled();
        counts.count(what);
        self.set_handled(counts);
    }
}
