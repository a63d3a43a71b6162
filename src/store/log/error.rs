//! Why a log cannot be read: the place, and what to do about it.

use crate::store::CommitNo;
use std::io;
use std::path::{Path, PathBuf};

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or the directory cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in a file is not what was written.
    #[error(
        "the log is damaged: {} at byte {offset}: {detail}. Nothing was changed. Restore the data directory from a \
         backup, or move this file away and accept the loss of commit {commit} and all after it", path.display(), commit = commit.0
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The first commit that cannot be read.
        commit: CommitNo,
        /// What is wrong.
        detail: String,
    },
    /// A newer version of this program has written it.
    #[error(
        "commit {} cannot be read: {} at byte {offset}: {detail}. Nothing was changed. Start that version, or a newer one",
        commit.0, path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The first commit that cannot be read.
        commit: CommitNo,
        /// What is not known here.
        detail: String,
    },
    /// There is no log at all, though there was one.
    #[error(
        "there is no log in {}, though the database has seen {} commits. Nothing was changed. Put its files back, or \
         restore the data directory from a backup", dir.display(), home.0
    )]
    Missing {
        /// Where it should be.
        dir: PathBuf,
        /// The newest commit that is not only in the log.
        home: CommitNo,
    },
    /// The newest commits are missing, and no crash can have torn them.
    #[error(
        "the log is damaged: {} at byte {offset}: it ends there with commit {}, but commit {} was on disk. Nothing was \
         changed. Restore the data directory from a backup, or delete {} and accept the loss of what came after",
        path.display(), last.0, durable.0, mark.display()
    )]
    Short {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// The newest commit that can be read.
        last: CommitNo,
        /// One that was there.
        durable: CommitNo,
        /// What says so.
        mark: PathBuf,
    },
    /// Commits are missing.
    #[error(
        "the log is not complete: commit {} is the next one needed, but {} begins with commit {}. A file is missing \
         from the directory. Nothing was changed. Put it back, or restore the data directory from a backup",
        wanted.0, path.display(), found.0
    )]
    Gap {
        /// The commit that should come next.
        wanted: CommitNo,
        /// The file with later ones.
        path: PathBuf,
        /// What it begins with.
        found: CommitNo,
    },
}

impl LogError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> LogError + '_ {
        |source| LogError::Io { path: path.to_owned(), source }
    }
}
