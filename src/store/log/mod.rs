//! The write-ahead log: one record and one sync a commit. Its files are written over in turn, as checkpoints free
//! them. It knows commits by number and as bytes, and must not know what they mean.

mod file;
mod record;
mod replay;

pub(super) use file::LogFile;
pub use replay::ReplayError;

use bytes::Bytes;
use replay::{Filled, Replay};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The log.
#[derive(Debug)]
pub(super) struct Log {
    folder: PathBuf,
    salt: u64,
    file_bytes: u64,
    next_name: u64,
    active: Active,
    /// Files that are full, oldest first, with their newest commit.
    full: VecDeque<(LogFile, u64)>,
    spare: Option<LogFile>,
    last: u64,
    failed: bool,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Active {
    file: LogFile,
    at: usize,
}

/// The log as it was found, and the commits in it that no checkpoint covers.
pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) commits: Vec<(u64, Bytes)>,
}

impl Log {
    /// Opens the log in `folder`, making it if there is none. Commits up to `checkpoint` do not count any more.
    pub(super) fn open(folder: &Path, file_bytes: u64, checkpoint: u64) -> Result<Opened, ReplayError> {
        let io = |error| ReplayError::Io { path: folder.to_path_buf(), error };
        std::fs::create_dir_all(folder).map_err(io)?;
        let Replay { salt, commits, mut filled, mut free, blank, mut next_name } =
            replay::replay(folder, checkpoint)?;
        for path in blank {
            std::fs::remove_file(&path).map_err(io)?;
        }
        let salt = salt.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        let last = commits.last().map_or(checkpoint, |(last, _)| *last);
        let active = match (filled.pop(), free.pop()) {
            (Some(Filled { file, end, .. }), spare) => {
                free.extend(spare);
                Active { file, at: end }
            }
            (None, Some(file)) => Active { file, at: file::HEADER },
            (None, None) => {
                let path = name(folder, next_name);
                next_name += 1;
                Active { file: LogFile::make(&path, file_bytes, salt).map_err(io)?, at: file::HEADER }
            }
        };
        let full = filled.into_iter().map(|Filled { file, last, .. }| (file, last)).collect();
        let mut log = Log {
            folder: folder.to_path_buf(),
            salt,
            file_bytes,
            next_name,
            active,
            full,
            spare: None,
            last,
            failed: false,
            buffer: Vec::new(),
        };
        for file in free {
            log.give_back(file).map_err(io)?;
        }
        Ok(Opened { log, commits })
    }

    /// The newest commit.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Bytes of files that no checkpoint has freed.
    pub(super) fn bytes(&self) -> u64 {
        self.full.iter().map(|(file, _)| file.size).sum::<u64>() + self.active.at as u64
    }

    /// Writes the next commit and syncs it. `encode` appends the payload.
    ///
    /// # Errors
    /// Final: what is on the disk is not known any more, and every later append is refused.
    pub(super) fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier write to the log has failed"));
        }
        // Cleared again only if all goes well.
        self.failed = true;
        let mut buffer = std::mem::take(&mut self.buffer);
        record::start(&mut buffer);
        encode(&mut buffer);
        record::finish(&mut buffer, self.salt, self.last + 1);
        if self.active.at + buffer.len() > self.active.file.size as usize {
            self.roll(buffer.len())?;
        }
        self.active.file.file.write_all_at(&buffer, self.active.at as u64)?;
        self.active.file.file.sync_data()?;
        self.active.at += buffer.len();
        self.last += 1;
        self.failed = false;
        buffer.shrink_to(8 << 20);
        self.buffer = buffer;
        Ok(())
    }

    /// Goes on in another file that has room for `len` bytes.
    fn roll(&mut self, len: usize) -> io::Result<()> {
        let needed = (file::HEADER + len) as u64;
        let next = match self.spare.take() {
            Some(spare) if spare.size >= needed => spare,
            spare => {
                self.spare = spare;
                let path = name(&self.folder, self.next_name);
                self.next_name += 1;
                LogFile::make_growing(&path, self.file_bytes.max(needed), self.salt)?
            }
        };
        let full = std::mem::replace(&mut self.active, Active { file: next, at: file::HEADER });
        self.full.push_back((full.file, self.last));
        Ok(())
    }

    /// What a spare file should be made as, if it is time to make one: it takes a while, and is done elsewhere.
    pub(super) fn wants_spare(&mut self) -> Option<(PathBuf, u64, u64)> {
        if self.spare.is_some() || (self.active.at as u64) < self.active.file.size / 2 {
            return None;
        }
        let path = name(&self.folder, self.next_name);
        self.next_name += 1;
        Some((path, self.file_bytes, self.salt))
    }

    /// Commits up to this one are at home: files with no later ones are free.
    pub(super) fn free_up_to(&mut self, checkpoint: u64) -> io::Result<()> {
        while let Some((file, _)) = self.full.pop_front_if(|(_, last)| *last <= checkpoint) {
            self.give_back(file)?;
        }
        Ok(())
    }

    /// Takes a free file as the spare, or removes it if there is one already or its size is odd.
    pub(super) fn give_back(&mut self, file: LogFile) -> io::Result<()> {
        if self.spare.is_none() && file.size == self.file_bytes {
            self.spare = Some(file);
            return Ok(());
        }
        std::fs::remove_file(&file.path)
    }
}

fn name(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

#[cfg(test)]
mod tests;
