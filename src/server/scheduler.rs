//! Fairness: how much of a turn one connection may use. Each has a small quota in every turn. A connection that has
//! used it up, or whose last request was long, waits in line for what a turn has to spare: little while connections are
//! served that are not in line, since those wait until the turn ends, and more otherwise. So a flood gets what the
//! others do not need, and short requests wait for nobody. New connections wait in line too; otherwise many short-lived
//! ones would have a quota each. It knows what requests cost, not what they are.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

/// How much of every turn each connection may use, and how much of the spare time at once.
const QUOTA: Duration = Duration::from_micros(50);
/// The spare time of a turn, for all connections in line together, while others are served too: as long as the turn
/// before waited for the disk, within these bounds. So a flood makes the turns of others about twice as long, and on a
/// slow disk, where turns are long anyway, it gets more of them.
const SPARE_LEAST: Duration = Duration::from_micros(200);
const SPARE_MOST: Duration = Duration::from_millis(4);
/// The same, where nobody else is served.
const SPARE_ALONE: Duration = Duration::from_micros(300);
/// A connection that has been given more bytes of answers than this in a turn gets no more of that turn: only its end
/// shows whether the client reads them.
const OWED_MAX: usize = 256 << 10;
/// For this many turns after a connection outside the line was served, turns are kept short for its sake; and for this
/// many after a connection has stood in line, or has come, it counts as one in line.
const REMEMBERED: u64 = 16;

/// How much has been collected for the next commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fill {
    /// Less than half of what it may hold.
    Low,
    /// What is left is for those who do not stand in line.
    Half,
    /// It must be made before more is taken.
    Full,
}

/// The turns of the loop, and the line of those who want more of them.
#[derive(Debug, Default)]
pub(super) struct Scheduler {
    number: Cell<u64>,
    spare: Cell<Duration>,
    /// The last turn in which somebody was served who stood in line.
    lined: Cell<u64>,
    /// The last turn in which somebody was served who does not stand in line.
    modest: Cell<u64>,
    /// Rings after each turn, for the first in line, and for those who have a quota and wait for room.
    ended: Notify,
    /// Rings after each turn in which all in line have a quota again. To wake hundreds of them for nothing makes
    /// those wait who come after them.
    freed: Notify,
    /// Hands itself on in the order in which it was asked for.
    line: Mutex<()>,
}

/// What one connection has left of a turn, and what its last request cost beyond that.
#[derive(Debug, Default)]
pub(super) struct Quota {
    turn: Cell<u64>,
    left: Cell<Duration>,
    over: Cell<Duration>,
    /// How many bytes of answers it is owed in turn `owed_in`.
    owed: Cell<usize>,
    owed_in: Cell<u64>,
    /// The last turn in which it stood in line; 0 for never.
    stood: Cell<u64>,
    /// The turn in which it came; 0 for long ago.
    came: u64,
}

impl Scheduler {
    /// A turn has ended that has waited for the disk for `disk`.
    pub(super) fn next(&self, disk: Duration) {
        self.number.set(self.number.get() + 1);
        let is_alone = self.is_long_ago(self.modest.get());
        self.spare.set(disk.clamp(if is_alone { SPARE_ALONE } else { SPARE_LEAST }, SPARE_MOST));
        self.ended.notify_waiters();
        if is_alone {
            self.freed.notify_waiters();
        }
    }

    /// Whether somebody was served in this turn who stood in line.
    pub(super) fn line_was_served(&self) -> bool {
        self.lined.get() == self.number.get()
    }

    /// The quota of somebody who has just come.
    pub(super) fn newcomer(&self) -> Quota {
        Quota { came: self.number.get(), ..Quota::default() }
    }

    fn is_long_ago(&self, turn: u64) -> bool {
        turn == 0 || self.number.get() - turn > REMEMBERED
    }

    /// Waits until a connection may go on; returns whether it had to. `wait` says that somebody waits for the turn
    /// to end.
    pub(super) async fn admit(&self, quota: &Quota, fill: impl Fn() -> Fill, wait: impl Fn()) -> bool {
        if !self.is_owed_much(quota) && self.has_quota(quota) && fill() < Fill::Full {
            return false;
        }
        while self.is_owed_much(quota) {
            wait();
            self.ended.notified().await;
        }
        let mut line = pin!(self.line.lock());
        loop {
            wait();
            if self.has_quota(quota) {
                if fill() < Fill::Full {
                    return true;
                }
                self.ended.notified().await;
                continue;
            }
            self.stands(quota);
            tokio::select! {
                biased;
                _place = &mut line => {
                    while self.spare.get().is_zero() || fill() >= Fill::Half {
                        wait();
                        self.ended.notified().await;
                    }
                    self.stands(quota);
                    self.lined.set(self.number.get());
                    let slice = QUOTA.min(self.spare.get());
                    self.spare.set(self.spare.get() - slice);
                    self.give(quota, slice);
                    return true;
                }
                () = self.freed.notified() => {}
            }
        }
    }

    fn stands(&self, quota: &Quota) {
        if self.is_long_ago(quota.came) {
            quota.stood.set(self.number.get());
        }
    }

    /// Whether something is left of a connection's quota. In a new turn it has a new one, unless its last request
    /// cost much more than that.
    fn has_quota(&self, quota: &Quota) -> bool {
        if quota.turn.get() != self.number.get() && quota.over.get() < QUOTA {
            let is_modest = self.is_long_ago(quota.stood.get()) && self.is_long_ago(quota.came);
            if is_modest {
                self.modest.set(self.number.get());
            }
            if is_modest || self.is_long_ago(self.modest.get()) {
                self.give(quota, QUOTA);
            }
        }
        !quota.left.get().is_zero()
    }

    /// The connection asks for something long: it stands in line.
    pub(super) fn spend(&self, quota: &Quota) {
        quota.turn.set(self.number.get());
        quota.left.set(Duration::ZERO);
        quota.over.set(QUOTA);
    }

    /// A connection is answered with so many bytes, which leave when the turn ends.
    pub(super) fn owe(&self, quota: &Quota, bytes: usize) {
        if bytes > 0 {
            let before = if quota.owed_in.replace(self.number.get()) == self.number.get() {
                quota.owed.get()
            } else {
                0
            };
            quota.owed.set(before.saturating_add(bytes));
        }
    }

    fn is_owed_much(&self, quota: &Quota) -> bool {
        quota.owed.get() > OWED_MAX && quota.owed_in.get() == self.number.get()
    }

    fn give(&self, quota: &Quota, time: Duration) {
        quota.turn.set(self.number.get());
        quota.left.set(time);
        quota.over.set(Duration::ZERO);
    }

    /// Takes what a request cost off the connection's quota, and what is over it off what is left for the line.
    pub(super) fn charge(&self, quota: &Quota, cost: Duration) {
        let over = cost.saturating_sub(quota.left.get());
        quota.left.set(quota.left.get().saturating_sub(cost));
        quota.over.set(over);
        self.spare.set(self.spare.get().saturating_sub(over));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake, Waker};

    fn goes_on(admitted: Pin<&mut impl Future>) -> bool {
        admitted.poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn admit<'a>(scheduler: &'a Scheduler, quota: &'a Quota, fill: Fill) -> impl Future<Output = bool> + 'a {
        scheduler.admit(quota, move || fill, || ())
    }

    /// Goes on as often as it may in this turn, each time for a quota; returns how often that was.
    fn pour(scheduler: &Scheduler, quota: &Quota) -> u32 {
        let mut times = 0;
        while goes_on(pin!(admit(scheduler, quota, Fill::Low))) {
            scheduler.charge(quota, QUOTA);
            times += 1;
        }
        times
    }

    fn slices(spare: Duration) -> u32 {
        spare.div_duration_f64(QUOTA) as u32
    }

    #[test]
    fn a_modest_connection_has_a_quota_of_every_turn_and_a_flood_what_is_left() {
        let (scheduler, good, flood) = (Scheduler::default(), Quota::default(), Quota::default());
        scheduler.next(Duration::ZERO);
        pour(&scheduler, &flood);
        for _ in 0..3 * REMEMBERED {
            scheduler.next(Duration::ZERO);
            assert_eq!(pour(&scheduler, &flood), slices(SPARE_LEAST));
            assert!(
                goes_on(pin!(admit(&scheduler, &good, Fill::Half))),
                "it is served whatever the others do"
            );
            scheduler.charge(&good, QUOTA / 2);
        }
        scheduler.next(4 * SPARE_LEAST);
        assert_eq!(pour(&scheduler, &flood), slices(4 * SPARE_LEAST), "a slow disk leaves more");
    }

    #[test]
    fn where_nobody_else_is_served_there_is_more_to_spare() {
        let (scheduler, flood) = (Scheduler::default(), Quota::default());
        for _ in 0..=REMEMBERED {
            scheduler.next(Duration::ZERO);
            pour(&scheduler, &flood);
        }
        scheduler.next(Duration::ZERO);
        scheduler.next(Duration::ZERO);
        assert_eq!(pour(&scheduler, &flood), 1 + slices(SPARE_ALONE));
    }

    #[test]
    fn those_who_ask_for_much_are_served_in_turn_and_hold_up_nobody_else() {
        let scheduler = Scheduler::default();
        let (floods, good) = ([Quota::default(), Quota::default()], Quota::default());
        scheduler.next(Duration::ZERO);
        for flood in &floods {
            assert!(goes_on(pin!(admit(&scheduler, flood, Fill::Low))));
            scheduler.charge(flood, QUOTA + SPARE_ALONE);
        }
        let (mut first, mut second) =
            (pin!(admit(&scheduler, &floods[0], Fill::Low)), pin!(admit(&scheduler, &floods[1], Fill::Low)));
        assert!(!goes_on(first.as_mut()) && !goes_on(second.as_mut()));
        assert!(goes_on(pin!(admit(&scheduler, &good, Fill::Half))), "it has had nothing yet");
        scheduler.next(Duration::ZERO);
        assert!(!goes_on(second.as_mut()), "it came later");
        assert!(goes_on(first.as_mut()));
        scheduler.charge(&floods[0], QUOTA + SPARE_LEAST);
        let mut again = pin!(admit(&scheduler, &floods[0], Fill::Low));
        assert!(!goes_on(again.as_mut()));
        scheduler.next(Duration::ZERO);
        assert!(!goes_on(again.as_mut()), "it is behind the other");
        assert!(goes_on(second.as_mut()), "now it is its turn");
    }

    /// Twenty connections that came and went, each with its quota of every turn, made turns four times as long.
    #[test]
    fn who_has_just_come_stands_in_line_for_a_while() {
        let (scheduler, good) = (Scheduler::default(), Quota::default());
        let served = |quota: &Quota| {
            let goes_on = goes_on(pin!(admit(&scheduler, quota, Fill::Low)));
            scheduler.charge(quota, if goes_on { QUOTA } else { Duration::ZERO });
            goes_on
        };
        scheduler.next(Duration::ZERO);
        assert!(served(&good));
        for _ in 0..3 * REMEMBERED {
            scheduler.next(Duration::ZERO);
            assert!(served(&good));
            let crowd: [Quota; 20] = std::array::from_fn(|_| scheduler.newcomer());
            assert_eq!(crowd.iter().filter(|quota| served(quota)).count() as u32, slices(SPARE_LEAST));
        }
        let newcomers: [Quota; 20] = std::array::from_fn(|_| scheduler.newcomer());
        for _ in 0..=REMEMBERED {
            scheduler.next(Duration::ZERO);
            assert!(served(&good));
            newcomers.iter().for_each(|quota| _ = served(quota));
        }
        assert!(newcomers.iter().all(|quota| scheduler.is_long_ago(quota.came)));
        scheduler.next(Duration::ZERO);
        assert!(
            newcomers.iter().all(served),
            "whoever has stayed has a quota of his own, though he has asked all the time"
        );
    }

    /// Two hundred in line were woken after each turn, and whoever asked for little came behind all of them.
    #[test]
    fn only_the_first_in_line_is_woken_until_all_have_a_quota_again() {
        struct Count(AtomicU32);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (scheduler, good) = (Scheduler::default(), Quota::default());
        scheduler.next(Duration::ZERO);
        assert!(goes_on(pin!(admit(&scheduler, &good, Fill::Low))));
        scheduler.next(Duration::ZERO);
        // As many as what there is to spare is enough for.
        let crowd: [Quota; 5] = Default::default();
        crowd.iter().for_each(|quota| scheduler.spend(quota));
        scheduler.charge(&crowd[0], SPARE_ALONE);
        let mut waits: Vec<_> =
            crowd.iter().map(|quota| Box::pin(admit(&scheduler, quota, Fill::Low))).collect();
        let count = Arc::new(Count(AtomicU32::new(0)));
        let waker = Waker::from(count.clone());
        for wait in &mut waits {
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        scheduler.next(Duration::ZERO);
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        for _ in 0..=REMEMBERED {
            scheduler.next(Duration::ZERO);
        }
        assert_eq!(count.0.load(Ordering::Relaxed), 5, "nobody is served who asks for little");
        assert!(waits.iter_mut().all(|wait| goes_on(wait.as_mut())));
    }

    #[test]
    fn a_long_request_stands_in_line() {
        let (scheduler, [first, second]) = (Scheduler::default(), [Quota::default(), Quota::default()]);
        for quota in [&first, &second] {
            scheduler.spend(quota);
        }
        scheduler.next(Duration::ZERO);
        assert!(goes_on(pin!(admit(&scheduler, &first, Fill::Low))));
        scheduler.charge(&first, QUOTA + SPARE_ALONE);
        let mut other = pin!(admit(&scheduler, &second, Fill::Low));
        assert!(!goes_on(other.as_mut()), "one of them a turn");
        scheduler.next(Duration::ZERO);
        assert!(goes_on(other.as_mut()));
    }

    /// On a slow disk a turn had room for four answers of 1 MiB to one connection that read none of them.
    #[test]
    fn after_a_long_answer_there_is_no_other_in_the_same_turn() {
        let (scheduler, quota) = (Scheduler::default(), Quota::default());
        scheduler.next(SPARE_MOST);
        for _ in 0..3 {
            assert!(goes_on(pin!(admit(&scheduler, &quota, Fill::Low))));
            scheduler.owe(&quota, OWED_MAX);
            assert!(goes_on(pin!(admit(&scheduler, &quota, Fill::Low))));
            scheduler.owe(&quota, 1);
            let mut more = pin!(admit(&scheduler, &quota, Fill::Low));
            assert!(!goes_on(more.as_mut()), "it is owed much");
            assert!(goes_on(pin!(admit(&scheduler, &Quota::default(), Fill::Low))), "others are not held up");
            scheduler.next(SPARE_MOST);
            assert!(goes_on(more.as_mut()));
        }
    }

    #[test]
    fn what_is_full_is_full_for_everybody() {
        let (scheduler, quota) = (Scheduler::default(), Quota::default());
        scheduler.next(Duration::ZERO);
        assert!(!goes_on(pin!(admit(&scheduler, &quota, Fill::Full))));
        scheduler.charge(&quota, QUOTA);
        assert!(!goes_on(pin!(admit(&scheduler, &quota, Fill::Half))), "the second half is not for the line");
    }
}
