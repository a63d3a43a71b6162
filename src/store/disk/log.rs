//! The log of a store on disk: local files, and what they must know of the space around them. It confirms what it
//! appends before it returns.

use super::{Disk, HOME_ROOM};
use crate::core::Time;
use crate::store::commit::CommitNo;
use crate::store::error::AppendError;
use crate::store::log::files::Files;
use crate::store::log::{Appended, Log, Size, Tail};
use crate::store::options::Options;
use std::io;
use std::rc::Rc;
use std::task::Waker;

/// The log in local files.
#[derive(Debug)]
pub struct FileLog {
    // In this order they are closed.
    files: Files,
    bytes_max: u64,
    file_bytes: u64,
    disk: Rc<Disk>,
}

impl FileLog {
    pub(super) fn new(files: Files, disk: Rc<Disk>, options: &Options) -> FileLog {
        let (bytes_max, file_bytes) = (options.log_max_bytes, options.log_file_bytes);
        FileLog { files, bytes_max, file_bytes, disk }
    }

    /// Nothing is written after a write that failed.
    fn refuse_after_failure(&self) -> Result<(), AppendError> {
        match self.files.is_poisoned() {
            true => Err(AppendError::Disk(io::Error::other("an earlier write to the log failed"))),
            false => Ok(()),
        }
    }
}

impl Log for FileLog {
    fn last(&self) -> CommitNo {
        self.files.last()
    }

    fn confirmed(&self) -> CommitNo {
        self.files.last()
    }

    fn can_append(&self) -> bool {
        true
    }

    fn append(
        &mut self,
        expected: CommitNo,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Result<Appended<'_>, AppendError> {
        let actual = self.files.last().next();
        if expected != actual {
            return Err(AppendError::Fenced { expected, actual });
        }
        self.refuse_after_failure()?;
        let mut space = self.disk.space.borrow_mut();
        let appended = self.files.append(encode, || space.give_up_ballast())?;
        space.count(appended.record.len() as u64);
        Ok(appended)
    }

    fn maintain(&mut self, now: Time) -> Result<Option<Time>, AppendError> {
        let again = self.files.note_synced(now);
        self.files.release_buffer();
        self.files.hold_spares(!self.disk.space.borrow().has_room_for(HOME_ROOM + self.file_bytes));
        self.files.receive_spare();
        Ok(again)
    }

    fn wait(&mut self) -> Result<(), AppendError> {
        self.refuse_after_failure()
    }

    fn ring(&mut self, _bell: &Waker) {}

    fn free(&mut self, home: CommitNo) {
        self.files.free(home);
    }

    fn size(&self) -> Size {
        Size { bytes: self.files.bytes(), limit: self.bytes_max }
    }

    fn tail(&self) -> Box<dyn Tail> {
        self.files.tail()
    }
}
