//! Why a home cannot be used, and what to do about it.

use crate::core::JobId;
use crate::store::CommitNo;
use crate::store::blob::Blob;
use crate::store::error::BlobError;
use std::path::{Path, PathBuf};

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
        "this build of musher cannot make its database safe: its own `sync_file_range` was not linked in. Use a \
         released build"
    )]
    SyncNotOurs,
    /// The database has written a file that it never syncs.
    #[error("the database has created the file {}, which is never synced and would be lost in a power failure; \
             report this as a bug", path.display())]
    Blob {
        /// The file.
        path: PathBuf,
    },
    /// An operation failed.
    #[error("the database failed: {0}")]
    Failed(#[from] ::sled::Error),
    /// A row is not what was written.
    #[error(
        "the database is damaged: tree `{tree}`, key {key}: {detail}. Restore the data directory \
         from a backup"
    )]
    Damaged {
        /// The tree.
        tree: &'static str,
        /// The row's key, in hexadecimal.
        key: String,
        /// What is wrong.
        detail: String,
    },
    /// A blob is whole, but not the one that its job has.
    #[error(
        "the database is damaged: the {kind} of job {id} is not the one that was stored last. Restore the data directory \
         from a backup"
    )]
    Other {
        /// What it is.
        kind: Blob,
        /// The job.
        id: JobId,
    },
    /// A part of its file is not what was written.
    #[error("the database {} is damaged: {detail}. Restore the data directory from a backup", path.display())]
    Corrupt {
        /// Where.
        path: PathBuf,
        /// What it says.
        detail: String,
    },
    /// Its rows are whole, but not those that were written.
    #[error(
        "the database {} is damaged: some of its rows are older than its last checkpoint (commit {}) or missing. \
         Restore the data directory from a backup", path.display(), home.0
    )]
    Incomplete {
        /// Where.
        path: PathBuf,
        /// What the checkpoint stands for.
        home: CommitNo,
    },
    /// It has panicked before, and nothing is asked of it any more.
    #[error("the database {} has failed and is not used any more; restart the daemon, which recovers from what is on \
             disk", path.display())]
    Broken {
        /// Where.
        path: PathBuf,
    },
    /// What is left of a copy cannot be removed.
    #[error("{}, a copy of the database that was not finished, cannot be removed: {source}", path.display())]
    Leftover {
        /// The copy.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It was closed after a full disk and could not be opened again yet.
    #[error("the database is closed until there is space on the disk again")]
    Closed,
}

impl HomeError {
    pub(in crate::store) fn damaged(tree: &'static str, key: &[u8], detail: impl ToString) -> HomeError {
        let key = key.iter().map(|byte| format!("{byte:02x}")).collect();
        HomeError::Damaged { tree, key, detail: detail.to_string() }
    }

    /// The same, saying where.
    pub(super) fn at(self, path: &Path) -> HomeError {
        match self {
            HomeError::Failed(::sled::Error::Corruption { at, .. })
            | HomeError::Open { source: ::sled::Error::Corruption { at, .. }, .. } => {
                let place = at.map_or_else(|| "its beginning".to_owned(), |at| format!("the page at {at}"));
                let detail = format!("{place} is not what was written");
                HomeError::Corrupt { path: path.to_owned(), detail }
            }
            other => other,
        }
    }

    /// What it means for a blob that was asked for.
    pub(in crate::store) fn about(self, kind: Blob, id: JobId) -> BlobError {
        let detail = self.to_string();
        match self {
            HomeError::Damaged { .. } | HomeError::Corrupt { .. } | HomeError::Other { .. } => {
                BlobError::Damaged { kind, id, detail }
            }
            _ => BlobError::Failed { kind, id, detail },
        }
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

/// A row of a tree reflects a commit that the log does not have, though the log is always written first.
pub(crate) fn ahead_of_log(tree: &'static str, key: &[u8], row: CommitNo, last: CommitNo) -> HomeError {
    let (row, last) = (row.0, last.0);
    let detail = format!("it reflects commit {row}, but the log ends with {last}: log files are missing");
    HomeError::damaged(tree, key, detail)
}
