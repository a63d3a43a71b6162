//! How far the log is synced, in a file beside it. It is written after each sync, when the answers have left, and
//! itself never synced, so it costs next to nothing: it survives a SIGKILL, and a power failure if it is some seconds
//! old. If it names a commit that the log does not have, the end of the log is damaged and not torn. Without it a start
//! knows less, nothing more.

use crate::store::CommitNo;
use crate::store::log::record::{self, HEADER};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file, open.
#[derive(Debug)]
pub(super) struct Mark {
    file: Option<File>,
    salt: u64,
    /// The commit that it names, of those since the start.
    names: CommitNo,
}

impl Mark {
    pub(super) fn open(dir: &Path, salt: u64, last: CommitNo) -> Mark {
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false).mode(0o600);
        Mark { file: options.open(path(dir)).ok(), salt, names: last }
    }

    pub(super) fn write(&mut self, durable: CommitNo) {
        if self.names < durable
            && let Some(file) = &self.file
        {
            self.names = durable;
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
