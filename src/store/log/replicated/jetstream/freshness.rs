//! Whether what a server says of the stream may be believed. One that is cut off from the others answers with what it has itself, which may
//! be less than what was confirmed; so may one that has just been elected. Pure: it is told what was seen and when.

use crate::store::log::replicated::rules::Seq;
use std::sync::Mutex;
use std::time::Duration;

/// For how long the stream has to end too early until that is so: a leader that is cut off takes ten seconds to notice it, and says after
/// that that there is none.
const BEHIND: Duration = Duration::from_secs(30);

/// What is known of the stream's end.
#[derive(Debug, Default)]
pub(super) struct Freshness(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The newest record that is surely there.
    last: Seq,
    /// Since when servers say that it is not.
    behind_since: Option<Duration>,
}

impl Freshness {
    /// The record is there.
    pub(super) fn note(&self, seq: Seq) {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.last = known.last.max(seq);
    }

    /// Whether the stream may end with this record, as a server says.
    pub(super) fn is_believed(&self, last: Seq, now: Duration) -> bool {
        let mut known = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last >= known.last {
            known.behind_since = None;
            return true;
        }
        now.saturating_sub(*known.behind_since.get_or_insert(now)) >= BEHIND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_that_is_too_early_is_believed_when_it_stays() {
        let (freshness, at) = (Freshness::default(), Duration::from_secs);
        assert!(freshness.is_believed(Seq(0), at(1)));
        freshness.note(Seq(7));
        freshness.note(Seq(5));
        assert!(!freshness.is_believed(Seq(6), at(2)) && !freshness.is_believed(Seq(6), at(31)));
        // Another server knows better.
        assert!(freshness.is_believed(Seq(7), at(31)));
        assert!(!freshness.is_believed(Seq(6), at(33)) && !freshness.is_believed(Seq(6), at(62)));
        assert!(freshness.is_believed(Seq(6), at(63)));
    }
}
