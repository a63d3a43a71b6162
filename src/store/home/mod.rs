//! The durable home of all jobs that outlive a checkpoint: sled, seen as rows. Knows what a row means and in which
//! order rows must be written; not when, and nothing of the log. sled keeps a prefix of what was inserted, so a row
//! is never on disk without those inserted before it.

mod bodies;
mod lock;
mod sled;
mod sync;
#[cfg(test)]
mod tests;

use super::CommitNo;
use super::codec::{BlockRow, DecodeError, MetaRow, QueueRow, ROW_MAX, row_mask};
use crate::core::JobId;
use ::sled::Tree;
use bodies::Bodies;
use bytes::Bytes;
use sled::Database;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It does not open.
    #[error(
        "the database {} does not open: {source}. If the disk is full, free some space; else restore the data \
         directory from a backup", path.display()
    )]
    Open {
        /// Where.
        path: PathBuf,
        /// What it says.
        source: ::sled::Error,
    },
    /// Another process has it open.
    #[error(
        "the database {} is in use by {holder}, though no daemon holds the data directory; end it and start again",
        path.display()
    )]
    Locked {
        /// Where.
        path: PathBuf,
        /// Who has it, as far as the system says.
        holder: String,
    },
    /// The linker took another `sync_file_range`.
    #[error(
        "this build of musher cannot make its database safe: the linker has not put `sync_file_range` in force. \
         Use a released build"
    )]
    SyncNotOurs,
    /// The database has written a file that it never syncs.
    #[error("the database has made the file {}, which is not safe from a power loss; report this as a bug", path.display())]
    Blob {
        /// The file.
        path: PathBuf,
    },
    /// An operation failed.
    #[error("the database failed: {0}")]
    Failed(#[from] ::sled::Error),
    /// A row is not what was written.
    #[error(
        "the database is damaged: tree `{tree}`, key {key}: {detail}. Nothing was changed. Restore the data \
         directory from a backup"
    )]
    Damaged {
        /// The tree.
        tree: &'static str,
        /// The row's key, in hexadecimal.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// It was closed after a full disk and could not be opened again yet.
    #[error("the database is closed until there is space on the disk again")]
    Closed,
}

impl HomeError {
    fn damaged(tree: &'static str, key: &[u8], detail: impl ToString) -> HomeError {
        let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
        HomeError::Damaged { tree, key, detail: detail.to_string() }
    }

    /// Whether there was no space left on the disk: with space again, all is well.
    pub(crate) fn is_full(&self) -> bool {
        match self {
            HomeError::Open { source: ::sled::Error::Io(error), .. }
            | HomeError::Failed(::sled::Error::Io(error)) => {
                error.kind() == std::io::ErrorKind::StorageFull || error.to_string().contains("StorageFull")
            }
            HomeError::Closed => true,
            _ => false,
        }
    }
}

/// What a checkpoint has to say of one block.
#[derive(Debug)]
pub(crate) struct BlockChange {
    pub(crate) block: u64,
    /// Its row, and which of its jobs live; `None` if none does.
    pub(crate) row: Option<(Vec<u8>, u64)>,
    /// Bodies of its jobs that are not in the home yet, in order.
    pub(crate) bodies: Vec<(JobId, Bytes)>,
}

/// The home. Shared by the loop, which reads bodies, and the thread that writes checkpoints.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    cache_bytes: u64,
    /// Empty only between a full disk and the next successful opening.
    trees: RwLock<Option<Trees>>,
}

/// Everything open.
#[derive(Debug)]
struct Trees {
    database: Database,
    jobs: Tree,
    bodies: Bodies,
    queues: Tree,
    meta: Tree,
}

const STATE: &[u8] = b"state";

impl Home {
    pub(crate) fn open(path: &Path, cache_bytes: u64) -> Result<Home, HomeError> {
        Home::open_counting(path, cache_bytes, sync::calls)
    }

    /// `calls` counts those of the function that must stand in for `sync_file_range`.
    fn open_counting(path: &Path, cache_bytes: u64, calls: fn() -> u64) -> Result<Home, HomeError> {
        let trees = RwLock::new(Some(Trees::open(path, cache_bytes, calls)?));
        Ok(Home { path: path.to_owned(), cache_bytes, trees })
    }

    /// Closes and opens it: the way back after a full disk.
    pub(crate) fn reopen(&self) -> Result<(), HomeError> {
        let mut trees = self.trees.write().unwrap_or_else(PoisonError::into_inner);
        // Its lock must be given up before it can be taken again.
        *trees = None;
        *trees = Some(Trees::open(&self.path, self.cache_bytes, sync::calls)?);
        Ok(())
    }

    /// Where the last whole checkpoint stands; `None` before the first.
    pub(crate) fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        self.with(|trees| {
            let row = trees.meta.get(STATE)?;
            row.map(|row| MetaRow::decode(&row).map_err(|error| HomeError::damaged("meta", STATE, error)))
                .transpose()
        })
    }

    /// What went through each queue.
    pub(crate) fn queues(&self) -> Result<Vec<QueueRow>, HomeError> {
        self.with(|trees| {
            let decode = |row: ::sled::Result<(::sled::IVec, ::sled::IVec)>| {
                let (name, row) = row?;
                QueueRow::decode(&name, &row).map_err(|error| HomeError::damaged("queues", &name, error))
            };
            trees.queues.iter().map(decode).collect()
        })
    }

    /// Every row of jobs, in order. Reads no bodies.
    pub(crate) fn blocks(&self, mut on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError> {
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

    /// The bodies of the row that holds a job's: its neighbours are likely to be asked for next.
    pub(crate) fn bodies(&self, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        self.with(|trees| trees.bodies.row_of(id))
    }

    /// Writes a block. Bodies go before the row that makes their jobs known, and leave before it.
    pub(crate) fn store(&self, change: &BlockChange) -> Result<(), HomeError> {
        self.with(|trees| {
            let key = change.block.to_be_bytes();
            let Some((row, live)) = &change.row else {
                trees.bodies.remove_block(change.block)?;
                trees.jobs.remove(key)?;
                return Ok(());
            };
            assert!(row.len() <= ROW_MAX, "a row of jobs has {} bytes: see precaution 3", row.len());
            trees.bodies.insert(change.block, &change.bodies)?;
            let before = trees.jobs.insert(key, row.as_slice())?;
            let lived = match before {
                Some(row) => row_mask(&row).map_err(|error| HomeError::damaged("jobs", &key, error))?,
                None => 0,
            };
            // Each time that the number of live jobs has halved: so rewriting costs no more than writing did.
            if lived != 0 && lived.count_ones().ilog2() > live.count_ones().ilog2() {
                trees.bodies.shrink_block(change.block, *live)?;
            }
            Ok(())
        })
    }

    /// Writes what went through a queue. Must go before the rows of blocks that reflect the same commit.
    pub(crate) fn store_queue(&self, row: &QueueRow) -> Result<(), HomeError> {
        self.with(|trees| {
            trees.queues.insert(row.books.name.as_str(), row.encode())?;
            Ok(())
        })
    }

    /// Ends a checkpoint: when this returns, it is on disk.
    pub(crate) fn finish(&self, meta: &MetaRow) -> Result<(), HomeError> {
        self.with(|trees| {
            trees.meta.insert(STATE, meta.encode())?;
            trees.database.flush()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&Trees) -> Result<T, HomeError>) -> Result<T, HomeError> {
        let trees: RwLockReadGuard<'_, _> = self.trees.read().unwrap_or_else(PoisonError::into_inner);
        work(trees.as_ref().ok_or(HomeError::Closed)?)
    }
}

impl Trees {
    fn open(path: &Path, cache_bytes: u64, calls: fn() -> u64) -> Result<Trees, HomeError> {
        let database = Database::open(path, cache_bytes)?;
        let tree = |name: &str| database.db.open_tree(name);
        let (jobs, queues, meta) = (tree("jobs")?, tree("queues")?, tree("meta")?);
        let bodies = Bodies::new(tree("bodies")?);
        database.verify_sync(&meta, calls)?;
        Ok(Trees { database, jobs, bodies, queues, meta })
    }
}

/// A row of a tree reflects a commit that the log does not have, though the log is always written first.
pub(crate) fn ahead_of_log(tree: &'static str, key: &[u8], row: CommitNo, last: CommitNo) -> HomeError {
    let (row, last) = (row.0, last.0);
    let detail = format!("it reflects commit {row}, but the log ends with {last}: log files are missing");
    HomeError::damaged(tree, key, detail)
}
