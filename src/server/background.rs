//! Background work: what takes long is done on a thread of its own, and its data is dropped there too, since freeing
//! much memory also takes long. One such thread at a time, to bound the memory.

use std::sync::Arc;
use tokio::sync::{Mutex, oneshot};

/// How much its thread gives way to the loop and to everybody else where processors are few.
const NICE: i32 = 10;

/// Who may do something in the background.
#[derive(Debug, Default)]
pub(crate) struct Background(Arc<Mutex<()>>);

/// Takes what is to be dropped there. The next one is let in when that is done, or when there is nothing to drop.
pub(crate) type Leftovers<L> = oneshot::Sender<L>;

impl Background {
    /// Does something off the loop when its turn has come. `None` if that panicked, or there is no thread for it.
    pub(crate) async fn run<T, L>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<(T, Leftovers<L>)>
    where
        T: Send + 'static,
        L: Send + 'static,
    {
        // The thread lets the next one in, not the caller that waits for it, which may be gone by then.
        let place = self.0.clone().lock_owned().await;
        let (say, said) = oneshot::channel();
        let (leftovers, left) = oneshot::channel();
        let run = move || {
            let _place = place;
            // Without it it is only less polite.
            let _ = rustix::process::nice(NICE);
            // If nobody listens any more, what was made is dropped here.
            if say.send(work()).is_ok() {
                drop(left.blocking_recv());
            }
        };
        std::thread::Builder::new().name("background".into()).spawn(run).ok()?;
        Some((said.await.ok()?, leftovers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::thread::{ThreadId, current};
    use std::time::Duration;

    /// Tells where it was dropped.
    struct Heavy(mpsc::Sender<ThreadId>);

    impl Drop for Heavy {
        fn drop(&mut self) {
            // Nobody listens at the end of a test.
            let _ = self.0.send(current().id());
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_is_left_is_dropped_by_the_thread_and_only_then_is_the_next_one_let_in() {
        let (background, (dropped, seen)) = (Background::default(), mpsc::channel());
        let (made, leftovers) = background.run(move || Heavy(dropped)).await.unwrap();
        let next = tokio::time::timeout(Duration::from_millis(50), background.run::<_, ()>(|| ()));
        assert!(next.await.is_err(), "one at a time");
        assert!(leftovers.send(made).is_ok());
        assert!(background.run::<_, ()>(|| ()).await.is_some(), "now it is let in");
        assert_ne!(seen.try_recv().expect("dropped by then"), current().id());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_goes_away_leaves_his_place_only_when_the_work_is_done() {
        let (background, (finish, wait), (dropped, seen)) =
            (Background::default(), mpsc::channel(), mpsc::channel());
        let work = move || {
            let _: Result<(), _> = wait.recv();
            Heavy(dropped)
        };
        let gone = tokio::time::timeout(Duration::from_millis(20), background.run::<_, ()>(work));
        assert!(gone.await.is_err());
        let next = tokio::time::timeout(Duration::from_millis(50), background.run::<_, ()>(|| ()));
        assert!(next.await.is_err(), "it still takes the memory");
        finish.send(()).unwrap();
        assert!(background.run::<_, ()>(|| ()).await.is_some());
        assert_ne!(seen.try_recv().expect("dropped by then"), current().id());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_panic_is_the_end_of_one_request() {
        let background = Background::default();
        assert!(background.run::<(), ()>(|| panic!("as the test wants it")).await.is_none());
        assert!(background.run::<_, ()>(|| ()).await.is_some());
    }
}
