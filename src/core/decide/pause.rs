//! Decides what a pause of the daemon does to leases: it is nobody's failure.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::Outcome;
use crate::core::event::Event;
use crate::core::ids::{IdRange, Ids};
use crate::core::job::{Lease, StateKind};
use crate::core::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// A pause that is shorter than this part of a lease harms it not: holders extend after a third of it.
const PART: u32 = 4;

impl<R: Recorder> Decision<'_, R> {
    /// Lets leases last longer by the time that was lost, and no shorter than from now for the whole length again: whoever
    /// holds one may have stood still as well, and go on later than the daemon.
    pub(super) fn stood_still(&mut self, since: Time) -> Outcome {
        let (state, now) = (self.state(), self.moment.now);
        let mut leased: Vec<IdRange> =
            state.queues().flat_map(|(_, queue)| queue.in_state(StateKind::Leased)).collect();
        leased.sort_unstable();
        // Those that end together share an event.
        let mut longer: BTreeMap<Time, Ids> = BTreeMap::new();
        for (part, job) in leased.into_iter().flat_map(|range| state.iter(range)) {
            if let Some((_, lease)) = job.lease()
                && let Some(until) = until(lease, self.settings_of(job).lease, now.since(since), now)
            {
                longer.entry(until).or_default().push_range(part);
            }
        }
        for (until, jobs) in longer {
            self.emit(Event::Extended { jobs, until });
        }
        Outcome::Ok
    }
}

/// Until when a lease lasts after a pause; `None` if as before. How long one was that has been extended is not known: the
/// queue's usual length is then the most.
fn until(lease: Lease, usual: Duration, lost: Duration, now: Time) -> Option<Time> {
    let length = lease.until.since(lease.since).min(usual);
    let until = lease.until.plus(lost).max(now.plus(length)).next_second();
    (lost * PART >= length && until > lease.until).then_some(until)
}
