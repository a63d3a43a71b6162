//! The home on disk: sled, seen as rows, and the thread that writes them ([`writer`]). Knows what a row means and in
//! which order rows must be written; not when, and nothing of the log. What survives a crash is a prefix of what was
//! inserted, so a row is never on disk without those inserted before it.

mod counted;
mod database;
mod live;
mod lock;
mod rewrite;
mod scan;
mod segments;
mod shrink;
mod sync;
mod tally;
#[cfg(test)]
mod tests;
mod writer;

pub(in crate::store) use rewrite::remove_leftover;
#[cfg(test)]
pub(crate) use rewrite::{RewriteError, Step};
pub(crate) use scan::{Scanned, scan};
pub(crate) use segments::damaged_parts;
pub(crate) use shrink::Bounds;
pub(crate) use writer::Writer;

use super::blobs::{self, Blobs};
use super::{BlockChange, HomeError, RowReader, Rows};
use crate::core::{JobId, RowKey};
use crate::store::blob::{Blob, ByKind};
use crate::store::codec::{BlockRow, DecodeError, MetaRow, ROW_MAX, StampedRow, block_of, row_key};
use ::sled::Tree;
use bytes::Bytes;
use counted::CountedTree;
use database::Database;
use live::Live;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use tally::Tally;

/// All rows. Shared by the loop, which reads blobs, and the thread that writes checkpoints.
#[derive(Debug)]
pub(crate) struct SledRows {
    path: PathBuf,
    cache_bytes: u64,
    /// Empty only between a full disk and the next successful opening.
    trees: RwLock<Option<Trees>>,
    /// Held by the thread that writes rows, and by a rewrite from its first row until the copy is in use.
    writing: Mutex<()>,
    /// It has panicked, or was given up: what it holds in memory is not to be trusted, nor to be brought to the disk.
    broken: AtomicBool,
}

/// Everything open.
#[derive(Debug)]
struct Trees {
    database: Database,
    jobs: Tree,
    blobs: ByKind<Blobs<CountedTree>>,
    queues: Tree,
    meta: Tree,
    tally: Tally,
    live: Arc<Live>,
}

const STATE: &[u8] = b"state";

impl SledRows {
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<SledRows, HomeError> {
        SledRows::open_counting(path, cache_bytes, sync::calls)
    }

    /// `calls` counts those of the function that must stand in for `sync_file_range`.
    fn open_counting(path: &Path, cache_bytes: u64, calls: fn() -> u64) -> Result<SledRows, HomeError> {
        let trees = RwLock::new(Some(Trees::open(path, cache_bytes, calls)?));
        let (writing, broken) = (Mutex::new(()), AtomicBool::new(false));
        Ok(SledRows { path: path.to_owned(), cache_bytes, trees, writing, broken })
    }

    /// Opens one that may lack rows, to see what it has; nothing may be written to it.
    fn open_incomplete(path: &Path, cache_bytes: u64) -> Result<SledRows, HomeError> {
        let trees = RwLock::new(Some(Trees::open_incomplete(path, cache_bytes)?));
        let (writing, broken) = (Mutex::new(()), AtomicBool::new(false));
        Ok(SledRows { path: path.to_owned(), cache_bytes, trees, writing, broken })
    }

    /// Closes and opens it: the way back after a full disk.
    pub(crate) fn reopen(&self) -> Result<(), HomeError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trees = self.trees.write().unwrap_or_else(PoisonError::into_inner);
        // Its lock must be given up before it can be taken again.
        *trees = None;
        *trees = Some(Trees::open(&self.path, self.cache_bytes, sync::calls)?);
        Ok(())
    }

    /// The next rows of jobs from a block on, as they are stored; at most `count`.
    pub(crate) fn raw_blocks(&self, from: u64, count: usize) -> Result<Vec<(u64, Bytes)>, HomeError> {
        self.with(|trees| {
            let rows = trees.jobs.range(from.to_be_bytes()..).take(count);
            rows.map(|row| {
                let (key, row) = row?;
                let block = <[u8; 8]>::try_from(&*key);
                let block = block.map_err(|_| HomeError::damaged("jobs", &key, DecodeError::Short))?;
                Ok((u64::from_be_bytes(block), Bytes::copy_from_slice(&row)))
            })
            .collect()
        })
    }

    /// The blobs of a kind of the row that holds a job's: its neighbours are likely to be asked for next. As the row of their
    /// jobs says that they are.
    pub(crate) fn checked_blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        self.with(|trees| {
            let found = trees.blobs[kind].row_of(id)?;
            if kind == Blob::Envelope {
                return Ok(found);
            }
            let row = trees.jobs.get(block_of(id).to_be_bytes())?;
            blobs::checked((kind, id), found, row.as_deref())
        })
    }

    /// The same as they are found: while a block is being written, and where that was cut off, they may be newer than the row
    /// of their jobs. The job may have ended meanwhile, unlike those that the loop asks for: pieces that do not fit together may be
    /// ones that a checkpoint is just removing, and are read once more while it waits.
    pub(crate) fn blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        let read = |trees: &Trees| trees.blobs[kind].row_of(id);
        match self.with(read) {
            Err(HomeError::Damaged { .. }) => self.write(read),
            found => found,
        }
    }

    /// Writes a block. Blobs go before the row that makes their jobs known, and leave before it.
    pub(crate) fn store(&self, change: &BlockChange) -> Result<(), HomeError> {
        self.store_blobs(change)?;
        self.write(|trees| {
            let key = change.block.to_be_bytes();
            let Some((row, live)) = &change.row else {
                trees.count(&key, trees.jobs.remove(key)?.as_deref(), None);
                return Ok(());
            };
            let before = trees.jobs.get(key)?;
            let row = blobs::with_sums(change, (row, *live), before.as_deref())?;
            assert!(row.len() <= ROW_MAX, "a row of jobs has {} bytes: see precaution 3", row.len());
            trees.jobs.insert(key, &*row)?;
            trees.count(&key, before.as_deref(), Some(&row));
            blobs::shrink_block(&trees.blobs, change.block, (&row, *live), before.as_deref())
        })
    }

    /// The first half of writing a block; a crash may come after it.
    pub(crate) fn store_blobs(&self, change: &BlockChange) -> Result<(), HomeError> {
        self.write(|trees| {
            trees.tally.begin(&trees.meta)?;
            blobs::write_block(&trees.blobs, change)
        })
    }

    /// Writes a row that is not of jobs. Must go before the rows of blocks that reflect the same commit.
    pub(crate) fn store_row(&self, row: &StampedRow) -> Result<(), HomeError> {
        self.write(|trees| {
            trees.tally.begin(&trees.meta)?;
            let (key, row) = (row.row.key(), row.encode());
            let key = row_key(&key);
            let before = trees.queues.insert(&key, row.as_slice())?;
            trees.count(&key, before.as_deref(), Some(&row));
            Ok(())
        })
    }

    /// Removes one.
    pub(crate) fn remove_row(&self, key: &RowKey) -> Result<(), HomeError> {
        self.write(|trees| {
            trees.tally.begin(&trees.meta)?;
            let key = row_key(key);
            let before = trees.queues.remove(&key)?;
            trees.count(&key, before.as_deref(), None);
            Ok(())
        })
    }

    /// Ends a checkpoint: when this returns, it is on disk.
    pub(crate) fn finish(&self, meta: &MetaRow) -> Result<(), HomeError> {
        self.write(|trees| {
            trees.tally.end(&trees.meta, meta.home, trees.live.known())?;
            trees.meta.insert(STATE, meta.encode())?;
            trees.database.flush()
        })
    }

    /// Whether a checkpoint has begun and has not ended, maybe in a former life.
    #[cfg(any(test, feature = "cluster"))]
    pub(crate) fn is_within_checkpoint(&self) -> bool {
        self.with(|trees| Ok(trees.tally.is_open())).unwrap_or(true)
    }

    /// The disk has failed elsewhere: nothing more is read or written, not even when it is closed. sled would sync
    /// its file then, and panic where it cannot.
    pub(crate) fn give_up(&self) {
        self.broken.store(true, Ordering::Release);
    }

    fn write<T>(&self, work: impl FnOnce(&Trees) -> Result<T, HomeError>) -> Result<T, HomeError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.with(work)
    }

    fn with<T>(&self, work: impl FnOnce(&Trees) -> Result<T, HomeError>) -> Result<T, HomeError> {
        let trees: RwLockReadGuard<'_, _> = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        if self.broken.load(Ordering::Acquire) {
            return Err(HomeError::Broken { path: self.path.clone() });
        }
        let trees = trees.as_ref().ok_or(HomeError::Closed)?;
        match shielded(&self.path, || work(trees)) {
            Err(Shielded::Panic(error)) => {
                self.broken.store(true, Ordering::Release);
                Err(error)
            }
            Err(Shielded::Error(error)) => Err(error),
            Ok(done) => Ok(done),
        }
    }
}

impl Rows for SledRows {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        self.with(|trees| {
            let row = trees.meta.get(STATE)?;
            row.map(|row| MetaRow::decode(&row).map_err(|error| HomeError::damaged("meta", STATE, error)))
                .transpose()
        })
    }

    fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
        self.with(|trees| {
            let decode = |row: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
                let (key, row) = row?;
                StampedRow::decode(&key, &row).map_err(|error| HomeError::damaged("queues", &key, error))
            };
            trees.queues.iter().map(decode).collect()
        })
    }

    fn blocks(&self, mut on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError> {
        self.with(|trees| {
            for row in trees.jobs.iter() {
                let (key, row) = row?;
                let damaged = |error: DecodeError| HomeError::damaged("jobs", &key, error);
                let block = <[u8; 8]>::try_from(&*key).map_err(|_| damaged(DecodeError::Short))?;
                let block = u64::from_be_bytes(block);
                on_block(block, BlockRow::decode(block, &row).map_err(damaged)?);
            }
            Ok(())
        })
    }
}

/// The rows as another thread reads them.
#[derive(Debug)]
pub(crate) struct SledReader(pub(crate) Arc<SledRows>);

impl RowReader for SledReader {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        self.0.meta()
    }

    fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
        Rows::rows(&*self.0)
    }

    fn raw_blocks(&self, from: u64, count: usize) -> Result<Vec<(u64, Bytes)>, HomeError> {
        self.0.raw_blocks(from, count)
    }

    fn blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        self.0.blobs(kind, id)
    }
}

impl Drop for SledRows {
    fn drop(&mut self) {
        let trees = self.trees.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if self.broken.load(Ordering::Acquire) {
            // Closing would write, and may wait for threads of sled's that are gone. The system takes it all back.
            std::mem::forget(trees);
        } else {
            // A panic was reported when it happened; nothing that is needed depends on the end of it.
            let _ = shielded(&self.path, || {
                drop(trees);
                Ok(())
            });
        }
    }
}

/// What came of work that sled did.
enum Shielded {
    Error(HomeError),
    Panic(HomeError),
}

/// sled panics where its file is damaged: it checks what it reads with assertions, on our thread and on its own, whose
/// end it notices with a panic on ours. Here that becomes an error. No state of ours is changed half way: what it has
/// in memory is given up by the caller.
fn shielded<T>(path: &Path, work: impl FnOnce() -> Result<T, HomeError>) -> Result<T, Shielded> {
    let panic = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(done) => return done.map_err(|error| Shielded::Error(error.at(path))),
        Err(panic) => panic,
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no text");
    let detail = format!("it has panicked: {text}");
    Err(Shielded::Panic(HomeError::Corrupt { path: path.to_owned(), detail }))
}

impl Trees {
    fn open(path: &Path, cache_bytes: u64, calls: fn() -> u64) -> Result<Trees, HomeError> {
        let opened = shielded(path, || Trees::open_unshielded(path, cache_bytes, calls));
        opened.map_err(|(Shielded::Error(error) | Shielded::Panic(error))| error)
    }

    fn open_unshielded(path: &Path, cache_bytes: u64, calls: fn() -> u64) -> Result<Trees, HomeError> {
        let mut trees = Trees::open_unchecked(path, cache_bytes)?;
        trees.database.verify_sync(&trees.meta, calls)?;
        let (tally, live) = Tally::check(path, [&trees.jobs, &trees.queues], &trees.meta)?;
        trees.tally = tally;
        trees.live.restore(live);
        Ok(trees)
    }

    fn open_incomplete(path: &Path, cache_bytes: u64) -> Result<Trees, HomeError> {
        let opened = shielded(path, || Trees::open_unchecked(path, cache_bytes));
        opened.map_err(|(Shielded::Error(error) | Shielded::Panic(error))| error)
    }

    fn open_unchecked(path: &Path, cache_bytes: u64) -> Result<Trees, HomeError> {
        let database = Database::open(path, cache_bytes)?;
        let tree = |name: &str| database.db.open_tree(name);
        let (jobs, queues, meta) = (tree("jobs")?, tree("queues")?, tree("meta")?);
        let (live, tally) = (Arc::<Live>::default(), Tally::default());
        let blobs = ByKind::try_of(|kind| CountedTree::open(&database.db, kind, live.clone()))?;
        Ok(Trees { database, jobs, blobs, queues, meta, tally, live })
    }

    /// All of them, in the order in which a rewrite copies them.
    fn all(&self) -> Vec<&Tree> {
        let blobs = self.blobs.iter().map(|(_, blobs)| blobs.tree().rows());
        [&self.jobs].into_iter().chain(blobs).chain([&self.queues, &self.meta]).collect()
    }

    /// A row of jobs or of a queue has replaced another.
    fn count(&self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        self.tally.count(key, before, after);
        self.live.count(key, before, after);
    }
}
