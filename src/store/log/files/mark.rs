//! How far the log is synced, in a file beside it. It is written soon after a sync, when the answers have left, and
//! itself never synced, so it costs next to nothing: it survives a SIGKILL, and a power failure if it is some seconds
//! old. If it names a commit that the log does not have, the end of the log is damaged and not torn. Without it a start
//! knows less, nothing more.

use crate::core::Time;
use crate::store::CommitNo;
use crate::store::log::record::{self, HEADER};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// It is written so long after the first commit that it does not name yet. Each write makes the log's next sync slower
/// (on ext4 by 10 µs of 150), so there are fewer of them than of syncs.
const NOTED_AFTER: Duration = Duration::from_millis(10);

/// The file, open.
#[derive(Debug)]
pub(super) struct Mark {
    file: Option<File>,
    salt: u64,
    /// The commit that it names, of those since the start.
    names: CommitNo,
    /// When it is to be written, if it names an old one.
    due: Option<Time>,
}

impl Mark {
    pub(super) fn open(dir: &Path, salt: u64, last: CommitNo) -> Mark {
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        Mark { file: options.open(path(dir)).ok(), salt, names: last, due: None }
    }

    /// Writes it if it is time. Returns when that will be, if it is not and there is something to write.
    pub(super) fn note(&mut self, durable: CommitNo, now: Time) -> Option<Time> {
        if self.names >= durable {
            return None;
        }
        let due = *self.due.get_or_insert(now.plus(NOTED_AFTER));
        if now < due {
            return Some(due);
        }
        self.write(durable);
        None
    }

    /// Writes it now, unless it names that commit already.
    pub(super) fn write(&mut self, durable: CommitNo) {
        if self.names >= durable {
            return;
        }
        (self.names, self.due) = (durable, None);
        if let Some(file) = &self.file {
            let mut bytes = vec![0; HEADER];
            record::seal(self.salt, durable, &mut bytes);
            let _ = file.write_all_at(&bytes, 0); // an old one is true as well
        }
    }
}

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("mark")
}

/// A commit that was on disk, if the file names one.
pub(super) fn read(dir: &Path, salt: u64) -> Option<CommitNo> {
    let bytes = fs::read(path(dir)).ok()?;
    record::read(salt, &bytes, 0).map(|record| record.number)
}
