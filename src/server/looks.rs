//! When the sockets are looked at. Between two turns they are asked at least once. Where several clients are busy, they
//! are asked once more before a turn: each has just got its answer, so its next request is on its way, and what comes
//! now shares the commit. It knows how many requests there are, not what they are.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use tokio::sync::Notify;

/// With so many requests a turn is worth its sync: to look again would make them wait.
const ENOUGH: u32 = 16;

/// What was asked since the last turn, and the looks.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How many requests have come since the last turn, and how many had come by that.
    asked: Cell<u32>,
    asked_before: Cell<u32>,
    /// How often the runtime has looked, and how often it had before the last turn.
    rounds: Cell<u64>,
    rounds_before: Cell<u64>,
    wanted: Notify,
    done: Notify,
}

impl Looks {
    /// A request has come.
    pub(super) fn note_request(&self) {
        self.asked.set(self.asked.get() + 1);
    }

    /// A turn begins.
    pub(super) fn note_turn(&self) {
        self.asked_before.set(self.asked.take());
        self.rounds_before.set(self.rounds.get());
    }

    /// Whether to look (again) before the next turn.
    pub(super) fn is_due(&self) -> bool {
        let has_looked = self.rounds.get() != self.rounds_before.get();
        let is_lone = self.asked.get() <= 1 && self.asked_before.get() <= 1;
        !has_looked || (!is_lone && self.asked.get() < ENOUGH)
    }

    /// Lets the runtime ask the sockets, without waiting for them, and the tasks run for which something has come.
    pub(super) async fn look(&self) {
        self.wanted.notify_one();
        self.done.notified().await;
    }

    /// Sees to it that there are looks; it never returns. It is to be polled by the runtime itself, not by a task of a
    /// `LocalSet`: those run one after another, without a look between them.
    pub(super) async fn keep(&self) {
        let count = poll_fn(|_| {
            self.rounds.set(self.rounds.get() + 1);
            Poll::<()>::Pending
        });
        let look = async {
            loop {
                self.wanted.notified().await;
                // The runtime asks the sockets before it goes on here.
                tokio::task::yield_now().await;
                self.done.notify_one();
            }
        };
        tokio::join!(count, look);
    }
}

/// Lets the tasks run that can, without a look (`yield_now` is one).
pub(super) async fn let_others_run() {
    let mut has_waited = false;
    poll_fn(|context| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        // This task stands at the end of the line then.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn requests(looks: &Looks, count: u32) {
        (0..count).for_each(|_| looks.note_request());
    }

    #[test]
    fn a_lone_client_does_not_wait_for_others() {
        let looks = Looks::default();
        // The requests of one turn after another, each after a look, and whether another is due.
        for (count, is_due) in [
            (1, false),
            (1, false),
            (0, false),
            (2, true),
            (1, true),
            (1, false),
            (ENOUGH, false),
            (ENOUGH - 1, true),
        ] {
            looks.note_turn();
            looks.rounds.set(looks.rounds.get() + 1);
            requests(&looks, count);
            assert_eq!(looks.is_due(), is_due, "{count} requests");
        }
    }

    #[test]
    fn between_two_turns_there_is_a_look() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let looks = Rc::new(Looks::default());
        let all = async {
            let turns = tokio::task::spawn_local({
                let looks = looks.clone();
                async move {
                    let mut made = 0;
                    for _ in 0..3 {
                        looks.note_turn();
                        assert!(looks.is_due(), "nothing has looked since then");
                        looks.look().await;
                        assert!(!looks.is_due());
                        made += 1;
                    }
                    made
                }
            });
            tokio::select! {
                made = turns => made.unwrap(),
                () = looks.keep() => unreachable!("it never returns"),
            }
        };
        assert_eq!(tokio::task::LocalSet::new().block_on(&runtime, all), 3);
    }
}
