//! sled 0.34.7 as it must be handled. Every precaution is here, with what was measured without it.
//!
//! 1. `flush` has to reach the disk: see `sync.rs`, and [`Database::verify_sync`].
//! 2. Single inserts and removes, never `apply_batch` (clippy.toml bans it): a batch pins the epoch once for all of
//!    it, so garbage is made faster than it is collected (6.8 GB where single operations took 336 MB), and it costs
//!    two syncs. Single operations need no help with that: 3 million jobs at a depth of 1 million took 47 MB.
//! 3. No blobs: what is over a quarter of a segment goes to a file of its own under `blobs/`, never synced and not
//!    counted in the cache. A leaf holds up to 17 values, hence segments of 8 MiB and the bounds on rows in the
//!    codec. [`Database::refuse_blobs`] looks after each flush.
//! 4. The lock outlives a SIGKILL for a moment: `lock.rs` tries again for a while.
//! 5. A full disk makes every later operation fail, and opening too while it is full: [`Database::open`] says so with
//!    an error of its own, and the checkpoint opens it anew when there is room.
//! 6. No flushes by sled's own clock: an idle daemon should not write.
//! 7. A start that dies while it writes a snapshot leaves an unfinished one, which sled takes for its newest and refuses as
//!    damaged from then on: [`clear_unfinished`]. And a snapshot speaks of what was read from the file, which after a SIGKILL
//!    may not be on disk yet: [`sync_before_opening`].

use super::{HomeError, lock};
use std::path::{Path, PathBuf};
use std::{fs, io};

/// See precaution 3. sled remembers it in its files, so it never changes for a directory.
pub(super) const SEGMENT_BYTES: usize = 8 << 20;

/// The database, open.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) db: sled::Db,
    path: PathBuf,
    /// Under which name it was opened, which is where sled would put a blob.
    opened_as: PathBuf,
}

impl Database {
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Database, HomeError> {
        let prepared = clear_unfinished(path).and_then(|()| sync_before_opening(path));
        prepared.map_err(|error| HomeError::Open { path: path.to_owned(), source: error.into() })?;
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        let Some(opened) = lock::patiently(|| config.open(), lock::sleep) else {
            let holder = lock::holder(&path.join("db"));
            return Err(HomeError::Locked { path: path.to_owned(), holder });
        };
        let db = opened.map_err(|source| HomeError::Open { path: path.to_owned(), source })?;
        let database = Database { db, path: path.to_owned(), opened_as: path.to_owned() };
        database.refuse_blobs()?;
        Ok(database)
    }

    /// Writes something and sees that the sync went through our function: otherwise the linker took another, and
    /// nothing that is flushed would be safe. `calls` counts those of our function.
    pub(super) fn verify_sync(&self, probe: &sled::Tree, calls: fn() -> u64) -> Result<(), HomeError> {
        // sled writes nothing where a value stays the same.
        let starts = probe.update_and_fetch(b"starts", |starts| {
            let starts = starts.and_then(|starts| starts.try_into().ok()).map_or(0, u64::from_be_bytes);
            Some(starts.wrapping_add(1).to_be_bytes().to_vec())
        })?;
        debug_assert!(starts.is_some(), "it was just written");
        let before = calls();
        probe.flush()?;
        if calls() == before { Err(HomeError::SyncNotOurs) } else { Ok(()) }
    }

    /// It has been given another name. sled itself needs the old one for nothing but blobs once it is open.
    pub(super) fn moved_to(&mut self, path: &Path) {
        self.path = path.to_owned();
    }

    /// Brings everything to the disk.
    pub(super) fn flush(&self) -> Result<(), HomeError> {
        self.db.flush()?;
        self.refuse_blobs()
    }

    fn refuse_blobs(&self) -> Result<(), HomeError> {
        for dir in [&self.path, &self.opened_as] {
            let first = fs::read_dir(dir.join("blobs")).ok().and_then(|mut entries| entries.next());
            if let Some(Ok(entry)) = first {
                return Err(HomeError::Blob { path: entry.path() });
            }
        }
        Ok(())
    }
}

/// See precaution 7. sled renames a snapshot when it is whole and on disk.
fn clear_unfinished(path: &Path) -> io::Result<()> {
    for entry in existing(fs::read_dir(path))?.into_iter().flatten() {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "generating") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// See precaution 7.
fn sync_before_opening(path: &Path) -> io::Result<()> {
    match existing(fs::File::open(path.join("db")))? {
        Some(file) => file.sync_all(),
        None => Ok(()),
    }
}

fn existing<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}
