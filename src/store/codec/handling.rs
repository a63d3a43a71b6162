//! What was done with jobs, on disk: in events, and as it is counted of a job.

use crate::core::{Handling, HandlingCounts};
use bincode::{BorrowDecode, Encode};

/// The order of the variants is their number: they are on people's disks.
#[derive(Clone, Copy, Encode, BorrowDecode)]
pub(super) enum HandlingV1 {
    Delayed(u32, u64),
    Released,
    TimedOut,
    Buried(u64),
    Kicked,
}

impl From<Handling> for HandlingV1 {
    fn from(what: Handling) -> HandlingV1 {
        match what {
            Handling::Delayed { seconds, no } => HandlingV1::Delayed(seconds, no),
            Handling::Released => HandlingV1::Released,
            Handling::TimedOut => HandlingV1::TimedOut,
            Handling::Buried { no } => HandlingV1::Buried(no),
            Handling::Kicked => HandlingV1::Kicked,
        }
    }
}

impl From<HandlingV1> for Handling {
    fn from(what: HandlingV1) -> Handling {
        match what {
            HandlingV1::Delayed(seconds, no) => Handling::Delayed { seconds, no },
            HandlingV1::Released => Handling::Released,
            HandlingV1::TimedOut => Handling::TimedOut,
            HandlingV1::Buried(no) => Handling::Buried { no },
            HandlingV1::Kicked => Handling::Kicked,
        }
    }
}

/// Delay, releases, timeouts, buries, kicks, and the number of the last delay or burial.
#[derive(Encode, BorrowDecode)]
pub(super) struct HandledV1(u32, u32, u32, u32, u32, u64);

impl From<HandlingCounts> for HandledV1 {
    fn from(counts: HandlingCounts) -> HandledV1 {
        let HandlingCounts { delay, releases, timeouts, buries, kicks, no } = counts;
        HandledV1(delay, releases, timeouts, buries, kicks, no)
    }
}

impl From<HandledV1> for HandlingCounts {
    fn from(HandledV1(delay, releases, timeouts, buries, kicks, no): HandledV1) -> HandlingCounts {
        HandlingCounts { delay, releases, timeouts, buries, kicks, no }
    }
}
