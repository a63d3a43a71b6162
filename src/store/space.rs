//! The room on the disk: what is free, what must stay free, and a ballast file that is given up when even a start
//! finds no room.

use super::Room;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// How many bytes may be appended before the disk is asked again.
const ASK_EVERY: u64 = 4 << 20;

/// Watches the room of one file system.
#[derive(Debug)]
pub(super) struct Space {
    folder: PathBuf,
    reserve: u64,
    ballast: u64,
    free: u64,
    appended: u64,
}

impl Space {
    pub(super) fn new(folder: &Path, reserve: u64, ballast: u64) -> Space {
        let mut space = Space { folder: folder.to_path_buf(), reserve, ballast, free: u64::MAX, appended: 0 };
        space.ask();
        space
    }

    /// Asks the file system. One that does not answer is taken to have room: writes will tell.
    pub(super) fn ask(&mut self) {
        self.appended = 0;
        self.free =
            rustix::fs::statvfs(&self.folder).map_or(u64::MAX, |fs| fs.f_bavail.saturating_mul(fs.f_frsize));
    }

    /// Takes note of what was written.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.appended += bytes;
        if self.appended >= ASK_EVERY {
            self.ask();
        }
    }

    pub(super) fn room(&self) -> Room {
        match self.free < self.reserve {
            true => Room::DiskLow { free: self.free, reserve: self.reserve },
            false => Room::Enough,
        }
    }

    fn ballast_path(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Puts the ballast there if it is missing and there is room for it.
    ///
    /// # Errors
    /// The file could not be written, though there seemed to be room.
    pub(super) fn keep_ballast(&self) -> io::Result<()> {
        let path = self.ballast_path();
        if self.ballast == 0 || path.exists() || self.free < self.reserve.saturating_add(self.ballast) {
            return Ok(());
        }
        let fill = || -> io::Result<()> {
            let mut file = File::create_new(&path)?;
            let zeros = vec![0; 1 << 20];
            let mut left = self.ballast;
            while left > 0 {
                let len = left.min(zeros.len() as u64);
                file.write_all(&zeros[..len as usize])?;
                left -= len;
            }
            Ok(())
        };
        fill().inspect_err(|_| {
            // Half a ballast is none.
            let _ = std::fs::remove_file(&path);
        })
    }

    /// Gives the ballast up. Returns whether there was one.
    pub(super) fn drop_ballast(folder: &Path) -> bool {
        std::fs::remove_file(folder.join("ballast")).is_ok()
    }
}
