//! A place for copies of the database: opening one writes to it, so only a copy can be read without a change.
//! Everything is removed when the value is dropped.

use crate::store::system;
use rustix::fs::{ioctl_ficlone, statvfs};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What the database may add to a copy when it is opened.
const OPENING: u64 = 16 << 20;

/// A directory of our own.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    copies: u32,
}

/// Why there is no copy.
#[derive(Debug)]
pub(super) enum CopyError {
    /// The original cannot be read.
    Read(PathBuf, io::Error),
    /// The copy cannot be written.
    Write(PathBuf, io::Error),
    /// There is less space than it takes.
    Space { needed: u64, free: u64 },
}

impl Scratch {
    /// Makes a directory in another that only its owner can read.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(parent: &Path) -> io::Result<Scratch> {
        let dir =
            parent.join(format!("musher-verify-{}-{:08x}", std::process::id(), system::random()? as u32));
        DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Scratch { dir, copies: 0 })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// A new copy of a database's directory; the one before goes. An original that is not there has an empty copy.
    pub(super) fn copy(&mut self, from: &Path) -> Result<PathBuf, CopyError> {
        self.clear(self.copies);
        self.copies += 1;
        let to = self.dir.join(format!("{}", self.copies));
        copy(from, &to, &self.dir)?;
        Ok(to)
    }

    /// A text that names a copy, as if it had named the original.
    pub(super) fn as_original(&self, text: &str, original: &Path) -> String {
        (1..=self.copies).rev().fold(text.to_owned(), |text, copy| {
            let copy = self.dir.join(format!("{copy}"));
            text.replace(&copy.display().to_string(), &original.display().to_string())
        })
    }

    fn clear(&self, number: u32) {
        let dir = self.dir.join(format!("{number}"));
        // After a panic the database may hold its file for the rest of the process: what it takes is given back anyway.
        if let Ok(file) = File::options().write(true).open(dir.join("db")) {
            let _ = file.set_len(0);
        }
        let _ = fs::remove_dir_all(dir); // at the latest it goes with everything else
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir); // there is nobody to tell, and the name says whose it was
    }
}

fn copy(from: &Path, to: &Path, scratch: &Path) -> Result<(), CopyError> {
    let (read, write) =
        (|error| CopyError::Read(from.to_owned(), error), |error| CopyError::Write(to.to_owned(), error));
    fs::create_dir(to).map_err(write)?;
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(read)?,
    };
    for entry in entries {
        let entry = entry.map_err(read)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().map_err(read)?.is_dir() {
            true => copy(&from, &to, scratch)?,
            false => copy_file(&from, &to, scratch)?,
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path, scratch: &Path) -> Result<(), CopyError> {
    let read = |error| CopyError::Read(from.to_owned(), error);
    let write = |error| CopyError::Write(to.to_owned(), error);
    let mut source = File::open(from).map_err(read)?;
    let mut target = File::options().write(true).create_new(true).mode(0o600).open(to).map_err(write)?;
    // Takes no time and no space where the file system can do it.
    if ioctl_ficlone(&target, &source).is_ok() {
        return Ok(());
    }
    let needed = source.metadata().map_err(read)?.len() + OPENING;
    let free = statvfs(scratch).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize));
    if needed > free {
        return Err(CopyError::Space { needed, free });
    }
    let mut buffer = vec![0; 1 << 20];
    loop {
        let part = source.read(&mut buffer).map_err(read)?;
        if part == 0 {
            break;
        }
        // Free segments are zeros, which need no space.
        if buffer[..part].iter().all(|byte| *byte == 0) {
            target.seek(SeekFrom::Current(part as i64)).map_err(write)?;
        } else {
            target.write_all(&buffer[..part]).map_err(write)?;
        }
    }
    let len = target.stream_position().map_err(write)?;
    target.set_len(len).map_err(write)
}
