//! The files of the log: made once, filled with zeros, and then written over in turn, because a sync of a file
//! that does not grow costs two thirds of one that does.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes of a file before its first record: magic, salt, checksum of both, zeros.
pub(super) const HEADER: usize = 64;
const MAGIC: &[u8; 8] = b"MUSHLOG1";
const ZEROS: usize = 1 << 20;

/// One file.
#[derive(Debug)]
pub(in crate::store) struct LogFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) size: u64,
}

/// What the front of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A file of a log with this salt.
    Salt(u64),
    /// Nothing: its making was cut off before anything was written to it.
    Blank,
    /// Something else.
    Damaged,
}

impl LogFile {
    /// Makes a file of `size` bytes, filled with zeros and on disk when this returns, its name too.
    pub(in crate::store) fn make(path: &Path, size: u64, salt: u64) -> io::Result<LogFile> {
        let file = LogFile::make_growing(path, size, salt)?;
        let zeros = vec![0; ZEROS];
        let mut at = HEADER as u64;
        while at < size {
            let len = (size - at).min(ZEROS as u64) as usize;
            file.file.write_all_at(&zeros[..len], at)?;
            at += len as u64;
        }
        file.file.sync_all()?;
        Ok(file)
    }

    /// Makes a file that grows as it is written: slower to sync, but there at once.
    pub(super) fn make_growing(path: &Path, size: u64, salt: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        let mut header = [0; HEADER];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&salt.to_le_bytes());
        let sum = crc32c::crc32c(&header[..16]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        file.write_all_at(&header, 0)?;
        file.sync_all()?;
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(LogFile { path: path.to_path_buf(), file, size })
    }

    /// Opens a file that is there.
    pub(super) fn open(path: &Path) -> io::Result<LogFile> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let size = file.metadata()?.len();
        Ok(LogFile { path: path.to_path_buf(), file, size })
    }

    /// All of its bytes.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size as usize];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// What the front of a file says.
pub(super) fn front(bytes: &[u8]) -> Front {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return if bytes.iter().all(|byte| *byte == 0) || MAGIC.starts_with(&bytes[..bytes.len().min(8)]) {
            Front::Blank
        } else {
            Front::Damaged
        };
    };
    if header.iter().all(|byte| *byte == 0) {
        return Front::Blank;
    }
    let sum = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
    if &header[..8] != MAGIC || crc32c::crc32c(&header[..16]) != sum {
        return Front::Damaged;
    }
    let mut salt = [0; 8];
    salt.copy_from_slice(&header[8..16]);
    Front::Salt(u64::from_le_bytes(salt))
}
