//! sled 0.34.7 as it must be handled. Every precaution is here, with what was measured without it.
//!
//! 1. `flush` has to reach the disk: see `sync.rs`, and [`Database::verify_sync`].
//! 2. Single inserts and removes, never `apply_batch`: a batch pins the epoch once for all of it, so garbage is made
//!    faster than it is collected (6.8 GB where single operations and a driven collector took 336 MB), and it
//!    costs two syncs. [`Database::count_operation`] drives the collector.
//! 3. No blobs: what is over a quarter of a segment goes to a file of its own under `blobs/`, never synced and not
//!    counted in the cache. A leaf holds up to 17 values, hence segments of 8 MiB and the bounds on rows in the
//!    codec. [`Database::refuse_blobs`] looks after each flush.
//! 4. The lock outlives a SIGKILL for a moment: opening tries again for a while.
//! 5. A full disk makes every later operation fail, and opening too while it is full: [`Database::open`] says so with
//!    an error of its own, and the checkpoint opens it anew when there is room.
//! 6. No flushes by sled's own clock: an idle daemon should not write.

use super::{HomeError, sync};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// See precaution 3. sled remembers it in its files, so it never changes for a directory.
const SEGMENT_BYTES: usize = 8 << 20;

/// Operations between two turns of the collector.
const COLLECT_EVERY: u64 = 100;

const LOCK_TRIES: u32 = 100;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// The database, open.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) db: sled::Db,
    path: PathBuf,
    operations: AtomicU64,
}

impl Database {
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Database, HomeError> {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let mut tries = 0;
        let db = loop {
            match config.open() {
                Err(error) if is_locked(&error) && tries < LOCK_TRIES => {
                    tries += 1;
                    wait();
                }
                Err(error) if is_locked(&error) => return Err(HomeError::Locked { path: path.to_owned() }),
                opened => {
                    break opened.map_err(|source| HomeError::Open { path: path.to_owned(), source })?;
                }
            }
        };
        let database = Database { db, path: path.to_owned(), operations: AtomicU64::new(0) };
        database.refuse_blobs()?;
        Ok(database)
    }

    /// Counts an operation, and drives the collector that sled depends on (crossbeam's default one, the very same).
    pub(super) fn count_operation(&self) {
        if self.operations.fetch_add(1, Ordering::Relaxed) % COLLECT_EVERY == COLLECT_EVERY - 1 {
            crossbeam_epoch::pin().flush();
        }
    }

    /// Writes something and sees that the sync went through our function: otherwise the linker took another, and
    /// nothing that is flushed would be safe.
    pub(super) fn verify_sync(&self, probe: &sled::Tree) -> Result<(), HomeError> {
        // sled writes nothing where a value stays the same.
        let starts = probe.update_and_fetch(b"starts", |starts| {
            let starts = starts.and_then(|starts| starts.try_into().ok()).map_or(0, u64::from_be_bytes);
            Some(starts.wrapping_add(1).to_be_bytes().to_vec())
        })?;
        debug_assert!(starts.is_some(), "it was just written");
        let before = sync::calls();
        probe.flush()?;
        if sync::calls() == before { Err(HomeError::SyncNotOurs) } else { Ok(()) }
    }

    /// Brings everything to the disk.
    pub(super) fn flush(&self) -> Result<(), HomeError> {
        self.db.flush()?;
        self.refuse_blobs()
    }

    fn refuse_blobs(&self) -> Result<(), HomeError> {
        let dir = self.path.join("blobs");
        let first = fs::read_dir(&dir).ok().and_then(|mut entries| entries.next());
        match first {
            Some(Ok(entry)) => Err(HomeError::Blob { path: entry.path() }),
            _ => Ok(()),
        }
    }
}

fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("WouldBlock"))
        || matches!(error, sled::Error::Io(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[allow(
    clippy::disallowed_methods,
    reason = "sled tells nobody when its lock is free: it can only be tried again"
)]
fn wait() {
    std::thread::sleep(LOCK_WAIT);
}
