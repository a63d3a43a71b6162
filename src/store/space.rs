//! Space on the disk: whether there is enough for new jobs, and the ballast, a file that is deleted when there is none
//! left, so that what must go on can go on.

use super::Room;
use crate::core::Time;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an answer of the file system is believed, and for how many bytes.
const BELIEVED_FOR: Duration = Duration::from_millis(250);
const BELIEVED_BYTES: u64 = 4 << 20;

/// How often a full disk is looked at while nothing else happens.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The file system under a data directory.
#[derive(Debug)]
pub(crate) struct Space {
    dir: PathBuf,
    reserve: u64,
    ballast: u64,
    has_ballast: bool,
    free: u64,
    asked_at: Time,
    written: u64,
}

impl Space {
    pub(crate) fn new(dir: &Path, reserve: u64, ballast: u64) -> Space {
        let has_ballast = ballast_path(dir).exists();
        let (free, asked_at, written) = (u64::MAX, Time(0), 0);
        let mut space = Space { dir: dir.to_owned(), reserve, ballast, has_ballast, free, asked_at, written };
        space.ask();
        space
    }

    /// Counts what was written, so that a fast writer is looked after more often.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.written += bytes;
    }

    /// Looks again if the last look is too old. Two microseconds.
    pub(crate) fn look(&mut self, now: Time) {
        if self.written >= BELIEVED_BYTES || now.since(self.asked_at) >= BELIEVED_FOR {
            (self.asked_at, self.written) = (now, 0);
            self.ask();
        }
    }

    /// Whether new jobs may be taken, as far as the disk goes.
    pub(crate) fn room(&self) -> Room {
        if self.free < self.reserve {
            return Room::DiskLow { free: self.free, reserve: self.reserve };
        }
        Room::Enough
    }

    /// Whether this many bytes may be used for work that can wait. The ballast's space is never among it: once given
    /// up, it is for commits.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        self.free >= bytes.saturating_add(self.ballast)
    }

    fn ask(&mut self) {
        self.free = free(&self.dir);
        let spare = self.free.saturating_sub(self.reserve);
        if !self.has_ballast && self.ballast > 0 && spare > self.ballast {
            // It is a help, not a need: the next look tries again.
            self.has_ballast = create_ballast(&self.dir, self.ballast).is_ok();
        }
    }

    /// Deletes the ballast. Whether there is more room now.
    pub(crate) fn give_up_ballast(&mut self) -> bool {
        std::mem::take(&mut self.has_ballast) && give_up_ballast(&self.dir)
    }
}

/// What is free. A file system that does not say is believed to have room: the log will tell.
pub(crate) fn free(dir: &Path) -> u64 {
    statvfs(dir).map_or(u64::MAX, |found| found.f_bavail.saturating_mul(found.f_frsize))
}

/// Deletes the ballast before anything is open: for a start on a full disk.
pub(crate) fn give_up_ballast(dir: &Path) -> bool {
    fs::remove_file(ballast_path(dir)).is_ok()
}

fn ballast_path(dir: &Path) -> PathBuf {
    dir.join("ballast")
}

fn create_ballast(dir: &Path, bytes: u64) -> io::Result<()> {
    let path = ballast_path(dir);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let reserved = fallocate(&file, FallocateFlags::empty(), 0, bytes);
    if reserved.is_err() {
        let _ = fs::remove_file(&path); // the first error is the one to tell
    }
    Ok(reserved?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_that_is_not_there_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = u64::MAX / 2;
        let low = Space::new(dir.path(), reserve, 4096).room();
        assert!(matches!(low, Room::DiskLow { reserve: said, .. } if said == reserve));
        assert_eq!(Space::new(dir.path(), 0, 0).room(), Room::Enough);
    }

    #[test]
    fn the_ballast_is_given_up_once_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut space = Space::new(dir.path(), 0, 8192);
        let len = || fs::metadata(ballast_path(dir.path())).map(|found| found.len()).ok();
        assert_eq!(len(), Some(8192));
        assert!(space.give_up_ballast());
        assert!(!space.give_up_ballast(), "there is nothing more to give");
        assert_eq!(len(), None);
        space.look(Time(1000));
        assert_eq!(len(), Some(8192));
    }
}
