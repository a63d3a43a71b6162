//! The log in local files: one record per commit, one sync, then the answers may go out. Files of a fixed size are
//! filled with zeros once and then overwritten in turn; a commit's number tells what is left of a file's former use.
//! Knows bytes and numbers, not what a commit is.

mod file;
mod mark;
mod replay;
mod scan;
mod spare;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use scan::{Found, scan};

use super::{Appended, LogError, Place, Tail, record};
use crate::clock::monotonic;
use crate::core::Time;
use crate::store::CommitNo;
use crate::store::system::random;
use file::{FILE_HEADER, LogFile};
use mark::Mark;
use spare::Spares;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The most bytes that one commit may have.
pub(crate) const PAYLOAD_MAX: usize = 1 << 30;

/// The smallest file that a log can be made of.
pub(crate) const FILE_BYTES_MIN: u64 = 4096;

/// A record's buffer that is larger is not used again.
const BUFFER_MAX: usize = 4 << 20;

/// A log that is open for writing.
#[derive(Debug)]
pub(crate) struct Files {
    dir: PathBuf,
    salt: u64,
    mark: Mark,
    file_bytes: u64,
    active: LogFile,
    /// Where the next record goes in `active`.
    at: u64,
    last: CommitNo,
    /// Everything up to here is safe elsewhere.
    home: CommitNo,
    /// Files before `active`: each with its length and its last commit.
    full: VecDeque<(LogFile, u64, CommitNo)>,
    full_bytes: u64,
    spares: Spares,
    spares_held: bool,
    next_file: u64,
    poisoned: bool,
    buffer: Vec<u8>,
}

/// The reading half alone, for the fuzz targets: the number of each record, in order.
#[cfg(fuzzing)]
pub(crate) fn fuzz_replay<E: From<LogError>>(
    dir: &Path,
    mut on_record: impl FnMut(CommitNo) -> Result<(), E>,
) -> Result<(), E> {
    replay::replay(dir, CommitNo(0), |place, _| on_record(place.number)).map(drop)
}

/// The reading half alone, as a start does it: every commit after `home`, in order. Nothing is changed. Returns the
/// newest.
pub(crate) fn read<E: From<LogError>>(
    dir: &Path,
    home: CommitNo,
    on_record: impl FnMut(Place<'_>, &[u8]) -> Result<(), E>,
) -> Result<CommitNo, E> {
    replay::replay(dir, home, on_record).map(|found| found.last)
}

/// Every file that is not free.
#[derive(Debug)]
struct FilesTail {
    salt: u64,
    /// Each with its last commit.
    files: Vec<(PathBuf, CommitNo)>,
    last: CommitNo,
}

impl Tail for FilesTail {
    fn last(&self) -> CommitNo {
        self.last
    }

    fn read(
        &self,
        home: CommitNo,
        on_commit: &mut dyn FnMut(CommitNo, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut wanted = home.next();
        for (path, last) in self.files.iter().filter(|(_, last)| *last > home) {
            let (bytes, mut at) = (fs::read(path)?, FILE_HEADER);
            while wanted <= *last {
                let Some(record) =
                    record::read(self.salt, &bytes, at).filter(|record| record.number <= wanted)
                else {
                    let text = format!("commit {} is missing in {} at byte {at}", wanted.0, path.display());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                };
                if record.number == wanted {
                    on_commit(wanted, record.payload)?;
                    wanted = wanted.next();
                }
                at = record.end;
            }
        }
        Ok(())
    }
}

impl Files {
    /// Reads every commit after `home`, in order, then opens the log for writing behind the last of them. Files are
    /// touched only after all of them were read and found good.
    pub(crate) fn open<E: From<LogError>>(
        dir: &Path,
        file_bytes: u64,
        home: CommitNo,
        on_record: impl FnMut(Place<'_>, &[u8]) -> Result<(), E>,
    ) -> Result<Files, E> {
        let file_bytes = file_bytes.max(FILE_BYTES_MIN);
        fs::create_dir_all(dir).map_err(LogError::io(dir))?;
        let found = replay::replay(dir, home, on_record)?;
        Ok(Self::resume(dir, file_bytes, home, found).map_err(LogError::io(dir))?)
    }

    fn resume(dir: &Path, file_bytes: u64, home: CommitNo, mut found: replay::Found) -> io::Result<Files> {
        for path in &found.unfinished {
            fs::remove_file(path)?;
        }
        let salt = found.salt.map_or_else(random, Ok)?;
        let mut spares = Spares::start(dir.to_owned(), salt, file_bytes)?;
        for (path, len) in found.free {
            if len == file_bytes {
                spares.give(LogFile::open(path, file_bytes)?);
            } else {
                spares.delete(path);
            }
        }
        let (active, at) = match found.used.pop() {
            Some(used) => (LogFile::open(used.path, used.len.max(file_bytes))?, used.end),
            // Once in the life of a data directory, so it may take its time.
            None => match spares.take() {
                Some(file) => (file, FILE_HEADER as u64),
                None => {
                    let id = found.next_file;
                    found.next_file += 1;
                    (LogFile::create_full(dir, id, salt, file_bytes)?, FILE_HEADER as u64)
                }
            },
        };
        // After a SIGKILL the newest record may be in the page cache only, and it is about to be believed.
        active.sync()?;
        let mut full = VecDeque::new();
        for used in found.used {
            full.push_back((LogFile::open(used.path, used.len)?, used.len, used.last));
        }
        let full_bytes = full.iter().map(|(_, len, _)| len).sum();
        let (last, next_file, dir) = (found.last, found.next_file, dir.to_owned());
        let (poisoned, buffer) = (false, Vec::new());
        Ok(Files {
            mark: Mark::open(&dir, salt, last),
            dir,
            salt,
            file_bytes,
            active,
            at,
            last,
            home,
            full,
            full_bytes,
            spares,
            spares_held: false,
            next_file,
            poisoned,
            buffer,
        })
    }

    /// A log in an empty directory whose first commit comes after `home`.
    pub(crate) fn create(dir: &Path, file_bytes: u64, home: CommitNo) -> io::Result<Files> {
        fs::create_dir_all(dir)?;
        let found = replay::Found { last: home, ..replay::Found::default() };
        Self::resume(dir, file_bytes.max(FILE_BYTES_MIN), home, found)
    }

    /// What is in it now. The files stay as they are up to there until they are free.
    pub(crate) fn tail(&self) -> Box<dyn Tail> {
        let full = self.full.iter().map(|(file, _, last)| (file.path.clone(), *last));
        let files = full.chain([(self.active.path.clone(), self.last)]).collect();
        Box::new(FilesTail { salt: self.salt, files, last: self.last })
    }

    /// The newest commit.
    pub(crate) fn last(&self) -> CommitNo {
        self.last
    }

    /// Bytes of log that are not free: what lies before a checkpoint is not in it.
    pub(crate) fn bytes(&self) -> u64 {
        self.full_bytes + if self.last > self.home { self.at } else { 0 }
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// Appends the next commit, whose bytes `encode` adds to a buffer, and returns when it is on disk. If the disk
    /// is full before anything was synced, `make_room` is asked once whether it is worth another try. Any error is
    /// final: what a failed sync has left on the disk is not known, and it must not be tried again.
    pub(crate) fn append(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>),
        make_room: impl FnOnce() -> bool,
    ) -> io::Result<Appended<'_>> {
        if self.poisoned {
            return Err(io::Error::other("an earlier write to the log failed"));
        }
        self.poisoned = true;
        self.release_buffer();
        let mut record = std::mem::take(&mut self.buffer);
        record.clear();
        record.resize(record::HEADER, 0);
        encode(&mut record);
        if record.len() - record::HEADER > PAYLOAD_MAX {
            return Err(io::Error::other(format!("a commit of {} bytes is too large", record.len())));
        }
        let number = self.last.next();
        record::seal(self.salt, number, &mut record);
        match self.write(&record) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && make_room() => self.write(&record)?,
            written => written?,
        }
        let written = monotonic();
        self.active.sync()?;
        let (waited, at) = (monotonic() - written, self.at);
        self.at += record.len() as u64;
        if self.at > self.active.capacity / 2 {
            self.prepare_spare();
        }
        (self.last, self.poisoned) = (number, false);
        self.buffer = record;
        Ok(Appended { record: &self.buffer, segment: &self.active.segment, at, waited })
    }

    /// Notes beside the log how far it is synced: when the answers have left, and not each time. Returns when it is to be called again.
    pub(crate) fn note_synced(&mut self, now: Time) -> Option<Time> {
        self.mark.note(self.last, now)
    }

    /// One huge commit must not hold its memory for ever.
    pub(crate) fn release_buffer(&mut self) {
        if self.buffer.capacity() > BUFFER_MAX {
            self.buffer = Vec::new();
        }
    }

    fn write(&mut self, record: &[u8]) -> io::Result<()> {
        if self.at + record.len() as u64 > self.active.capacity {
            self.next_file(record.len() as u64)?;
        }
        self.active.write(record, self.at)
    }

    /// Goes on in another file: one that is ready if there is any, else one that grows. A record that is larger than
    /// a file gets one of its own.
    fn next_file(&mut self, record: u64) -> io::Result<()> {
        let needed = FILE_HEADER as u64 + record;
        let ready = if needed <= self.file_bytes { self.spares.take() } else { None };
        let file = match ready {
            Some(file) => file,
            None => {
                let id = self.next_id();
                LogFile::create_growing(&self.dir, id, self.salt, needed.max(self.file_bytes))?
            }
        };
        let before = std::mem::replace(&mut self.active, file);
        let len = fs::metadata(&before.path)?.len();
        self.full_bytes += len;
        self.full.push_back((before, len, self.last));
        self.at = FILE_HEADER as u64;
        Ok(())
    }

    /// Sees that there is a file to go on in. Not before this one is half full: until then one that a checkpoint
    /// frees is most likely there, and to make one means to write all of it.
    fn prepare_spare(&mut self) {
        if !self.spares_held {
            let next = &mut self.next_file;
            self.spares.prepare(|| {
                *next += 1;
                *next - 1
            });
        }
    }

    /// Takes a file that was made meanwhile: if it came after another had come free, it is one too many.
    pub(crate) fn receive_spare(&mut self) {
        self.spares.receive();
    }

    /// Whether no file is made in advance: what little space is left is for commits.
    pub(crate) fn hold_spares(&mut self, hold: bool) {
        self.spares_held = hold;
    }

    fn next_id(&mut self) -> u64 {
        self.next_file += 1;
        self.next_file - 1
    }

    /// Everything up to `home` is safe elsewhere: files with nothing newer are free again. Some are kept to be
    /// overwritten while checkpoints are behind, then one, so that the disk's use goes back.
    pub(crate) fn free(&mut self, home: CommitNo) {
        self.home = home;
        while self.full.front().is_some_and(|(_, _, last)| *last <= home) {
            let Some((file, len, _)) = self.full.pop_front() else { return };
            self.full_bytes -= len;
            if len == self.file_bytes { self.spares.give(file) } else { self.spares.discard(file) }
        }
        if self.full.is_empty() {
            self.spares.keep_one();
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.mark.write(self.last);
    }
}
