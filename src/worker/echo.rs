//! Prints what jobs print, for `musher work`: one thread for each stream writes it. A slow reader slows the jobs down,
//! as in any pipe; one that stops reading holds them up only for a while: then what it does not take is dropped, and
//! counted. It knows nothing of jobs.

use crate::telemetry::write_patiently;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How many bytes wait for the reader before jobs do.
const WAITING: usize = 256 << 10;
/// How long a job waits for a reader, and how long the last pieces may take at the end of the process.
const STALL_TIME_MAX: Duration = Duration::from_secs(1);

/// This process's standard output and standard error; there is one of each.
static STREAMS: OnceLock<[Echo; 2]> = OnceLock::new();

/// Prints a piece on standard output.
pub(super) async fn to_stdout(piece: Bytes) {
    streams()[0].print(piece).await;
}

/// Prints a piece on standard error.
pub(super) async fn to_stderr(piece: Bytes) {
    streams()[1].print(piece).await;
}

fn streams() -> &'static [Echo; 2] {
    STREAMS.get_or_init(|| {
        [
            Echo::start(|piece| write_patiently(io::stdout(), piece)),
            Echo::start(|piece| write_patiently(io::stderr(), piece)),
        ]
    })
}

/// Waits until all of it is printed, but not for long.
pub(super) fn flush() {
    for stream in STREAMS.get().into_iter().flatten() {
        stream.flush();
    }
}

#[derive(Debug)]
struct Echo(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Rings when there is something to print.
    said: Condvar,
    /// Rings when all of it is printed.
    printed: Condvar,
    /// Rings when some of it is.
    moved: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Bytes>,
    /// What is not printed, with the piece that is being written.
    bytes: usize,
    /// Whether the reader has taken nothing for too long.
    is_stuck: bool,
    dropped: usize,
}

impl Echo {
    fn start(write: impl FnMut(&[u8]) + Send + 'static) -> Echo {
        let shared = Arc::new(Shared::default());
        let of_thread = shared.clone();
        // Without a thread nothing is taken, and all of it is dropped: the jobs must not suffer.
        let _ = std::thread::Builder::new().name("echo".into()).spawn(move || of_thread.work(write));
        Echo(shared)
    }

    /// Takes a piece at once, and returns when the reader keeps up, or has had its time.
    async fn print(&self, piece: Bytes) {
        {
            let mut queue = self.0.lock();
            if queue.is_stuck && queue.bytes + piece.len() > WAITING {
                queue.dropped += piece.len();
                return;
            }
            queue.bytes += piece.len();
            queue.pieces.push_back(piece);
            self.0.said.notify_one();
        }
        let deadline = Instant::now() + STALL_TIME_MAX;
        loop {
            // Made before the look, so that what happens between the two is not missed.
            let moved = self.0.moved.notified();
            if self.0.lock().bytes <= WAITING {
                return;
            }
            if timeout_at(deadline, moved).await.is_err() {
                self.0.lock().is_stuck = true;
                return;
            }
        }
    }

    fn flush(&self) {
        let queue = self.0.lock();
        let waited = self.0.printed.wait_timeout_while(queue, STALL_TIME_MAX, |queue| queue.bytes > 0);
        let Ok((queue, _)) = waited else { return };
        let lost = queue.bytes + queue.dropped;
        drop(queue);
        if lost > 0 {
            tell(lost);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics while holding this lock")
    }

    fn work(&self, mut write: impl FnMut(&[u8])) {
        loop {
            let queue = self.lock();
            let queue = self.said.wait_while(queue, |queue| queue.pieces.is_empty());
            let piece = queue.expect("nobody panics while holding this lock").pieces.pop_front();
            let piece = piece.expect("it was waited for");
            write(&piece);
            let mut queue = self.lock();
            queue.bytes -= piece.len();
            queue.is_stuck = false;
            let lost = if queue.pieces.is_empty() { std::mem::take(&mut queue.dropped) } else { 0 };
            if queue.bytes == 0 {
                self.printed.notify_all();
            }
            drop(queue);
            self.moved.notify_waiters();
            if lost > 0 {
                tell(lost);
            }
        }
    }
}

fn tell(bytes: usize) {
    tracing::warn!("{bytes} bytes that jobs printed are not shown here: they were not read in time");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test(flavor = "current_thread")]
    async fn a_reader_who_stands_still_is_waited_for_once_and_counts_again_when_he_goes_on() {
        let (go, may) = mpsc::channel::<()>();
        let (told, read) = mpsc::channel();
        let echo = Echo::start(move |piece| {
            may.recv().unwrap();
            told.send(piece.len()).unwrap();
        });
        let piece = Bytes::from(vec![b'x'; WAITING]);
        let begun = Instant::now();
        echo.print(piece.clone()).await;
        assert!(begun.elapsed() < STALL_TIME_MAX, "it is taken");
        echo.print(piece.clone()).await;
        assert!(begun.elapsed() >= STALL_TIME_MAX);
        let begun = Instant::now();
        for _ in 0..10 {
            echo.print(piece.clone()).await;
        }
        assert!(begun.elapsed() < STALL_TIME_MAX, "dropped");
        assert_eq!(echo.0.lock().dropped, 10 * WAITING);
        (0..2).for_each(|_| go.send(()).unwrap());
        assert_eq!(read.iter().take(2).collect::<Vec<_>>(), [WAITING; 2]);
        go.send(()).unwrap();
        echo.print(piece).await;
        assert_eq!(read.recv(), Ok(WAITING));
    }
}
