//! The thread that writes checkpoints: row after row, then the row that ends it, then one flush. It decides nothing
//! and sleeps while there is nothing to write.

use super::SledRows;
use super::shrink::{Bounds, Shrink};
use crate::store::error::AppendError;
use crate::store::home::{BlockChange, HomeError, Report, RowChange, SLICES_WAITING, Work};
use crate::store::recent::ReadBackError;
use crate::store::room::Shrunk;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;

/// The loop's side of the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    work: Option<SyncSender<Work>>,
    reports: Receiver<Report>,
    shrunk: Receiver<Shrunk>,
    is_shrinking: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// For tests: the thread ends after this many rows.
    #[cfg(test)]
    pub(crate) rows_left: Arc<std::sync::atomic::AtomicU64>,
}

impl Writer {
    pub(crate) fn start(home: Arc<SledRows>, bounds: Bounds) -> std::io::Result<Writer> {
        let (work, inbox) = sync_channel(SLICES_WAITING);
        let (outbox, reports) = channel();
        let (news, shrunk) = channel();
        let is_shrinking = Arc::<AtomicBool>::default();
        #[cfg(test)]
        let rows_left = Arc::new(std::sync::atomic::AtomicU64::new(u64::MAX));
        let hand = Hand {
            shrink: Shrink::new(home.clone(), bounds, news, is_shrinking.clone()),
            home,
            outbox,
            failed: None,
            must_reopen: false,
            #[cfg(test)]
            rows_left: rows_left.clone(),
        };
        let thread =
            std::thread::Builder::new().name("musher-home".into()).spawn(move || hand.work_off(inbox))?;
        Ok(Writer {
            work: Some(work),
            reports,
            shrunk,
            is_shrinking,
            thread: Some(thread),
            #[cfg(test)]
            rows_left,
        })
    }

    /// The result of a rewrite of the home.
    pub(crate) fn shrunk(&self) -> Option<Shrunk> {
        self.shrunk.try_recv().ok()
    }

    /// Whether one is under way.
    pub(crate) fn is_shrinking(&self) -> bool {
        self.is_shrinking.load(Ordering::Acquire)
    }
}

impl Writer {
    /// See [`RowWriter::offer`](crate::store::home::RowWriter::offer), and so on.
    pub(crate) fn offer(&mut self, work: Work) -> Result<Option<Work>, AppendError> {
        match self.work.as_ref().ok_or_else(gone)?.try_send(work) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(work)) => Ok(Some(work)),
            Err(TrySendError::Disconnected(_)) => Err(gone()),
        }
    }

    pub(crate) fn hand_over(&mut self, work: Work) -> Result<(), AppendError> {
        self.work.as_ref().and_then(|thread| thread.send(work).ok()).ok_or_else(gone)
    }

    pub(crate) fn report(&mut self) -> Result<Option<Report>, AppendError> {
        match self.reports.try_recv() {
            Ok(report) => Ok(Some(report)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(gone()),
        }
    }

    pub(crate) fn wait(&mut self) -> Result<Report, AppendError> {
        self.reports.recv().map_err(|_| gone())
    }
}

fn gone() -> AppendError {
    AppendError::Disk(std::io::Error::other("the thread that writes checkpoints has ended"))
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic of it was reported when it happened
        }
    }
}

/// The thread's side.
struct Hand {
    home: Arc<SledRows>,
    shrink: Shrink,
    outbox: Sender<Report>,
    /// The checkpoint whose rest is thrown away.
    failed: Option<u64>,
    /// After a full disk the database takes nothing more until it was opened anew.
    must_reopen: bool,
    #[cfg(test)]
    rows_left: Arc<std::sync::atomic::AtomicU64>,
}

/// Why the thread stops in the middle.
enum Stop {
    Home(HomeError),
    Log(ReadBackError),
    #[cfg(test)]
    Cut,
}

impl From<HomeError> for Stop {
    fn from(error: HomeError) -> Stop {
        Stop::Home(error)
    }
}

impl From<ReadBackError> for Stop {
    fn from(error: ReadBackError) -> Stop {
        Stop::Log(error)
    }
}

impl Hand {
    fn work_off(mut self, inbox: Receiver<Work>) {
        // What a former life has left to do. An error comes again with the first checkpoint.
        if let Ok(Some(slack)) = self.shrink.look() {
            self.shrink.run(slack);
        }
        for work in inbox {
            let (Work::Slice { round, .. } | Work::Finish { round, .. }) = work;
            if self.failed == Some(round) {
                continue;
            }
            let finishes = matches!(work, Work::Finish { .. });
            let mut slack = None;
            let written = self.write(work).and_then(|()| {
                // Before the report, so that the loop knows that there will be news.
                slack = if finishes { self.shrink.look()? } else { None };
                Ok(())
            });
            let report = match written {
                Ok(()) if finishes => Report::Done,
                Ok(()) => continue,
                Err(Stop::Home(error)) if error.is_full() => Report::Full,
                Err(Stop::Home(error)) => Report::Failed(std::io::Error::other(error)),
                Err(Stop::Log(error)) => Report::Failed(std::io::Error::other(error)),
                #[cfg(test)]
                Err(Stop::Cut) => return,
            };
            if !matches!(report, Report::Done) {
                (self.failed, self.must_reopen) = (Some(round), true);
            }
            if self.outbox.send(report).is_err() {
                return;
            }
            if let Some(slack) = slack {
                self.shrink.run(slack);
            }
        }
    }

    fn write(&mut self, work: Work) -> Result<(), Stop> {
        if self.must_reopen {
            self.home.reopen()?;
            self.must_reopen = false;
        }
        match work {
            Work::Slice { rows, blocks, .. } => {
                self.write_rows(&rows)?;
                for rows in blocks {
                    let change = rows.read()?;
                    self.spend_on(&change)?;
                    self.home.store(&change)?;
                }
            }
            Work::Finish { rows, meta, .. } => {
                self.write_rows(&rows)?;
                self.spend()?;
                self.home.finish(&meta)?;
            }
        }
        Ok(())
    }

    fn write_rows(&self, rows: &[RowChange]) -> Result<(), Stop> {
        for change in rows {
            self.spend()?;
            match change {
                RowChange::Written(row) => self.home.store_row(row)?,
                RowChange::Gone(key) => self.home.remove_row(key)?,
            }
        }
        Ok(())
    }

    /// Like a crash: what ends the thread at a block leaves its blobs without its row.
    fn spend_on(&self, change: &BlockChange) -> Result<(), Stop> {
        self.spend().or_else(|cut| {
            self.home.store_blobs(change)?;
            Err(cut)
        })
    }

    /// Lets tests end the thread after any number of rows.
    #[cfg(test)]
    fn spend(&self) -> Result<(), Stop> {
        use std::sync::atomic::Ordering;
        let left = self.rows_left.load(Ordering::Relaxed);
        self.rows_left.store(left.saturating_sub(1), Ordering::Relaxed);
        if left == 0 { Err(Stop::Cut) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the tests' version uses both")]
    fn spend(&self) -> Result<(), Stop> {
        Ok(())
    }
}
