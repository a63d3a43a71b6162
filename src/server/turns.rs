//! Fairness: how much of a turn one connection may take. Each has a small share of every turn; whoever wants more
//! stands in line for what is left, so a flood is served with what the others do not need. It knows time that
//! was spent, not on what.

use std::cell::Cell;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

/// What each connection has of every turn.
const SHARE: Duration = Duration::from_micros(500);
/// What those in line have of a turn all together: as long as the turn before took to commit and to answer, within
/// these. So a flood makes the turns of others twice as long and not longer, and on a slow disk, where turns are
/// long anyway, it is served as fast as the disk allows.
const SPARE_LEAST: Duration = Duration::from_millis(1);
const SPARE_MOST: Duration = Duration::from_millis(10);

/// How much has been collected for the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fill {
    /// Less than half of what it may hold.
    Low,
    /// What is left is for those who have had nothing of this turn.
    Half,
    /// It must be made before more is taken.
    Full,
}

/// The turns of the loop, and the line of those who want more of them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    number: Cell<u64>,
    spare: Cell<Duration>,
    /// Rings after each turn.
    ended: Notify,
    /// Hands itself on in the order in which it was asked for.
    line: Mutex<()>,
}

/// What one connection has left of a turn.
#[derive(Debug, Default)]
pub(super) struct Share {
    turn: Cell<u64>,
    left: Cell<Duration>,
}

impl Turns {
    /// A turn has ended, of which commit and answers took `took`.
    pub(super) fn next(&self, took: Duration) {
        self.number.set(self.number.get() + 1);
        self.spare.set(took.clamp(SPARE_LEAST, SPARE_MOST));
        self.ended.notify_waiters();
    }

    /// Waits until a connection may go on, and says whether that took a turn or more. `wait` says that somebody
    /// waits for the turn to end.
    pub(super) async fn admit(&self, share: &Share, fill: impl Fn() -> Fill, wait: impl Fn()) -> bool {
        let came = self.number.get();
        if share.turn.replace(self.number.get()) != self.number.get() {
            share.left.set(SHARE);
        }
        if !share.left.get().is_zero() {
            while fill() == Fill::Full {
                wait();
                self.ended.notified().await;
            }
            return came != self.number.get();
        }
        let _place = self.line.lock().await;
        while self.spare.get().is_zero() || fill() >= Fill::Half {
            wait();
            self.ended.notified().await;
        }
        let slice = SHARE.min(self.spare.get());
        self.spare.set(self.spare.get() - slice);
        share.left.set(slice);
        share.turn.set(self.number.get());
        came != self.number.get()
    }

    /// Takes what a request cost off the connection's share, and what is over it off what is left for the line.
    pub(super) fn charge(&self, share: &Share, took: Duration) {
        let over = took.saturating_sub(share.left.get());
        share.left.set(share.left.get().saturating_sub(took));
        self.spare.set(self.spare.get().saturating_sub(over));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Waker};

    fn goes_on(admitted: Pin<&mut impl Future>) -> bool {
        admitted.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn admit<'a>(turns: &'a Turns, share: &'a Share, fill: Fill) -> impl Future<Output = bool> + 'a {
        turns.admit(share, move || fill, || ())
    }

    #[test]
    fn a_share_is_had_of_every_turn_and_more_only_of_what_is_left() {
        let (turns, share) = (Turns::default(), Share::default());
        turns.next(Duration::ZERO);
        for _ in 0..3 {
            assert!(goes_on(pin!(admit(&turns, &share, Fill::Half))), "its share");
            turns.charge(&share, SHARE);
            assert!(goes_on(pin!(admit(&turns, &share, Fill::Low))), "a part of what is left");
            turns.charge(&share, SPARE_LEAST);
            let mut more = pin!(admit(&turns, &share, Fill::Low));
            assert!(!goes_on(more.as_mut()), "nothing is left");
            turns.next(Duration::ZERO);
            assert!(goes_on(more.as_mut()));
            turns.next(Duration::ZERO);
        }
    }

    #[test]
    fn those_who_flood_are_served_in_turn_and_hold_up_nobody_else() {
        let turns = Turns::default();
        let (floods, good) = ([Share::default(), Share::default()], Share::default());
        turns.next(Duration::ZERO);
        for flood in &floods {
            assert!(goes_on(pin!(admit(&turns, flood, Fill::Low))));
            turns.charge(flood, SHARE + SPARE_LEAST);
        }
        let (mut first, mut second) =
            (pin!(admit(&turns, &floods[0], Fill::Low)), pin!(admit(&turns, &floods[1], Fill::Low)));
        assert!(!goes_on(first.as_mut()) && !goes_on(second.as_mut()));
        assert!(goes_on(pin!(admit(&turns, &good, Fill::Half))), "it has had nothing yet");
        turns.next(Duration::ZERO);
        assert!(!goes_on(second.as_mut()), "it came later");
        assert!(goes_on(first.as_mut()));
        turns.charge(&floods[0], SHARE + SPARE_LEAST);
        let mut again = pin!(admit(&turns, &floods[0], Fill::Low));
        assert!(!goes_on(again.as_mut()));
        turns.next(Duration::ZERO);
        assert!(goes_on(second.as_mut()), "now it is its turn");
    }

    #[test]
    fn what_is_full_is_full_for_everybody() {
        let (turns, share) = (Turns::default(), Share::default());
        turns.next(Duration::ZERO);
        assert!(!goes_on(pin!(admit(&turns, &share, Fill::Full))));
        turns.charge(&share, SHARE);
        assert!(!goes_on(pin!(admit(&turns, &share, Fill::Half))), "the second half is not for the line");
    }
}
