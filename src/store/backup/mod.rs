//! Backups: one stream of pieces, taken while commits and checkpoints go on. Rows are read one after the other, each as
//! of its own commit, and the commits since the oldest of them follow; so a restored directory is like one after a
//! crash in the middle of a checkpoint, and the next start recovers from it. Knows rows and commits; not who asks, nor
//! where the stream goes.
//!
//! A stream is laid out like a file of the log: a header with a salt, then records with checksums, numbered from 1.

mod read;
#[cfg(test)]
mod tests;
mod verify;
mod write;

pub(super) use read::{Next, Pieces};
pub use verify::{Summary, verify_backup};
pub use write::{BackupRows, BackupTail};

use super::directory::DirectoryError;
use super::error::{AppendError, Defect};
use super::home::HomeError;
use super::log::LogError;
use super::recovery::OpenError;
use std::io;
use std::path::PathBuf;

/// Bytes before the first piece: magic, version, checksum of the salt, salt, zeros.
const HEADER: usize = 32;
const MAGIC: &[u8; 8] = b"MUSHRBAK";
/// What is written. Earlier versions had fewer kinds of pieces and rows, and are read as well; a program that knows
/// no other says that it cannot read this one, where it would have found each new piece damaged.
const VERSION: u32 = 3;
const OLDEST: u32 = 1;

/// Why a backup was not taken or restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The stream cannot be read or written.
    #[error("{0}")]
    Stream(#[from] io::Error),
    /// The database cannot be read or written.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// It took so long that the log was needed.
    #[error(
        "the backup was written so slowly that the log it still needs reached half of storage.log_max; write it to a \
         faster place"
    )]
    TooSlow,
    /// The target has something in it.
    #[error("{} is not empty; restore into a new directory, and rename it afterwards", dir.display())]
    NotEmpty {
        /// The target.
        dir: PathBuf,
    },
    /// What is to be restored is damaged.
    #[error("the backup is damaged: {0}. What was restored so far is not used; see `musher verify --backup`")]
    Damaged(Defect),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What was restored does not open.
    #[error("the restored data cannot be opened: {0}")]
    Open(#[from] OpenError),
    /// A directory cannot be made or written.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It cannot be written into the home.
    #[error(transparent)]
    Append(#[from] AppendError),
}

fn header(version: u32, salt: u64) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&version.to_le_bytes());
    header[12..16].copy_from_slice(&crc32c::crc32c(&salt.to_le_bytes()).to_le_bytes());
    header[16..24].copy_from_slice(&salt.to_le_bytes());
    header
}

/// The salt, if that is a whole header of a version that is read.
fn read_header(bytes: &[u8; HEADER]) -> Option<u64> {
    let salt = u64::from_le_bytes(bytes[16..24].try_into().ok()?);
    (OLDEST..=VERSION).any(|version| *bytes == header(version, salt)).then_some(salt)
}
