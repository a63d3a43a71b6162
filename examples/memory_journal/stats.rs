//! What was done, for any number of tasks that look or wait. One lock guards all of it, is held for a few lines, and nobody else's
//! is taken under it.

use super::memory::Kind;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Of one kind of association, in this life of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OfKind {
    pub(crate) processed: u64,
    pub(crate) errors: u64,
    /// The memory that was processed last.
    pub(crate) last: Option<u32>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) kinds: BTreeMap<Kind, OfKind>,
    /// Of all lives: what is on disk.
    pub(crate) captured: u32,
    /// See `captured`.
    pub(crate) closed: u32,
    /// See `captured`.
    pub(crate) consolidated: u32,
}

/// Clones are of the same statistics.
#[derive(Clone, Default)]
pub(crate) struct Stats(Arc<Shared>);

#[derive(Default)]
struct Shared {
    now: Mutex<Snapshot>,
    changed: Notify,
}

impl Stats {
    /// With what former lives have left.
    pub(crate) fn starting_at(captured: u32, closed: u32, consolidated: u32) -> Stats {
        let stats = Stats::default();
        stats.change(|now| (now.captured, now.closed, now.consolidated) = (captured, closed, consolidated));
        stats
    }

    /// Changes them, all at once for whoever looks.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Snapshot)) {
        change(&mut self.0.now.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_waiters();
    }

    pub(crate) fn has_ended(&self, kind: Kind, memory: u32, well: bool) {
        self.change(|now| {
            let of_kind = now.kinds.entry(kind).or_default();
            of_kind.processed += 1;
            of_kind.errors += u64::from(!well);
            of_kind.last = Some(memory);
        });
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until they are so.
    pub(crate) async fn until(&self, so: impl Fn(&Snapshot) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.0.changed.notified());
            // Before it looks, so that no change is missed that comes in between.
            changed.as_mut().enable();
            if so(&self.snapshot()) {
                return;
            }
            changed.await;
        }
    }
}

impl Snapshot {
    pub(crate) fn line(&self) -> String {
        let of_kind = |(kind, it): (&Kind, &OfKind)| {
            let last = it.last.map_or(String::new(), |last| format!(", last {last}"));
            format!("; {kind} {} ({} errors{last})", it.processed, it.errors)
        };
        let kinds: String = self.kinds.iter().map(of_kind).collect();
        format!(
            "captured {}, closed {}, consolidated {}{kinds}",
            self.captured, self.closed, self.consolidated
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::{Context, Waker};

    #[test]
    fn many_write_and_nothing_is_lost() {
        let stats = Stats::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    (0..1_000).for_each(|memory| stats.has_ended(Kind::Causal, memory, memory % 2 == 0))
                });
            }
        });
        let causal = stats.snapshot().kinds[&Kind::Causal];
        assert_eq!((causal.processed, causal.errors), (4_000, 2_000));
    }

    #[test]
    fn who_waits_sees_the_change() {
        let stats = Stats::starting_at(0, 7, 0);
        let mut closed = std::pin::pin!(stats.until(|now| now.closed == 8));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(closed.as_mut().poll(&mut cx).is_pending());
        stats.change(|now| now.closed += 1);
        assert!(closed.as_mut().poll(&mut cx).is_ready());
    }
}
