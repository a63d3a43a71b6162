//! One file of the log: a header, then records. It is created under another name and gets its own when it is whole and
//! synced, so a file of the log always has a whole header.

use crate::store::log::Segment;
use crate::store::system::sync_dir;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes before the first record: magic, version, checksum of what follows, salt, length (0 for a file that grows).
pub(super) const FILE_HEADER: usize = 32;

const MAGIC: &[u8; 8] = b"MUSHRLOG";
const VERSION: u32 = 1;
const EXTENSION: &str = "log";
const UNFINISHED: &str = "new";

/// A file that can be written to.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) path: PathBuf,
    file: Arc<File>,
    /// The same, for reading in it again.
    pub(super) segment: Arc<dyn Segment>,
    /// Up to where it may be written.
    pub(super) capacity: u64,
}

impl LogFile {
    /// A file of `capacity` bytes, all of them written and on disk: a sync of a file that does not grow took 98 µs
    /// where one of a growing file took 141 µs.
    pub(super) fn create_full(dir: &Path, id: u64, salt: u64, capacity: u64) -> io::Result<LogFile> {
        let zeros = vec![0; 256 << 10];
        Self::create(dir, id, header(salt, capacity), capacity, |file| {
            let mut left = capacity - FILE_HEADER as u64;
            while left > 0 {
                let part = left.min(zeros.len() as u64);
                file.write_all(&zeros[..part as usize])?; // at most 256 KiB
                // Bit by bit, so that no commit's sync has to wait for all of it.
                file.sync_data()?;
                left -= part;
            }
            Ok(())
        })
    }

    /// A file that grows as it is written: for when no other is ready.
    pub(super) fn create_growing(dir: &Path, id: u64, salt: u64, capacity: u64) -> io::Result<LogFile> {
        Self::create(dir, id, header(salt, 0), capacity, |_| Ok(()))
    }

    fn create(
        dir: &Path,
        id: u64,
        header: [u8; FILE_HEADER],
        capacity: u64,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<LogFile> {
        let path = dir.join(format!("{id:016x}.{EXTENSION}"));
        let unfinished = path.with_extension(UNFINISHED);
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let made = file.write_all(&header).and_then(|()| fill(&mut file)).and_then(|()| file.sync_all());
        if let Err(error) = made {
            let _ = fs::remove_file(&unfinished); // the first error is the one to tell
            return Err(error);
        }
        fs::rename(&unfinished, &path)?;
        sync_dir(dir)?;
        Ok(LogFile::new(path, file, capacity))
    }

    fn new(path: PathBuf, file: File, capacity: u64) -> LogFile {
        let file = Arc::new(file);
        LogFile { path, segment: file.clone(), file, capacity }
    }

    /// A file that is there.
    pub(super) fn open(path: PathBuf, capacity: u64) -> io::Result<LogFile> {
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(LogFile::new(path, file, capacity))
    }

    pub(super) fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn header(salt: u64, len: u64) -> [u8; FILE_HEADER] {
    let mut header = [0; FILE_HEADER];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&salt.to_le_bytes());
    header[24..32].copy_from_slice(&len.to_le_bytes());
    let sum = crc32c::crc32c(&header[16..]);
    header[12..16].copy_from_slice(&sum.to_le_bytes());
    header
}

/// What a file's header says: the salt, and how long the file is at least. `None` if that is no whole header of this
/// version.
pub(super) fn read_header(bytes: &[u8]) -> Option<(u64, u64)> {
    let head: &[u8; FILE_HEADER] = bytes.first_chunk()?;
    let salt = u64::from_le_bytes(head[16..24].try_into().ok()?);
    let len = u64::from_le_bytes(head[24..32].try_into().ok()?);
    (*head == header(salt, len)).then_some((salt, len))
}

/// The files in a log's directory.
#[derive(Debug, Default)]
pub(super) struct Files {
    /// Whole ones, by the number in their name.
    pub(super) whole: Vec<(u64, PathBuf)>,
    pub(super) unfinished: Vec<PathBuf>,
}

pub(super) fn list(dir: &Path) -> io::Result<Files> {
    let mut files = Files::default();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| u64::from_str_radix(stem.to_str()?, 16).ok());
        match (path.extension().and_then(|e| e.to_str()), id) {
            (Some(EXTENSION), Some(id)) => files.whole.push((id, path)),
            (Some(UNFINISHED), Some(_)) => files.unfinished.push(path),
            _ => {}
        }
    }
    files.whole.sort();
    Ok(files)
}
