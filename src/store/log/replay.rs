//! Reading the log at start: which records count, where it goes on, and whether anything that was acknowledged is
//! missing. A torn last record is the mark of a crash and harmless; a damaged record with a valid later one behind
//! it is corruption, and then nothing is changed.
//!
//! A record is written only when the one before it is on disk. So if any valid record has a higher number than the
//! first one that is missing, the missing one was on disk once.

use super::file::{self, Front, LogFile};
use super::record;
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};

/// How far ahead a number may be to count as a record's: more is not a number but noise.
const NOISE: u64 = 1 << 40;

/// Why the log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// What could not be read.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Something acknowledged is missing.
    #[error(
        "the log is damaged: {}, at byte {offset}: commit {missing} is missing or broken, but commit {found} is there. \
         Nothing was changed. Restore a backup, or copy the directory and ask for help before you touch it",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: usize,
        /// The commit that should be there.
        missing: u64,
        /// A later one that is.
        found: u64,
    },
    /// The front of a file is not what was written.
    #[error(
        "the log file {} has a damaged front. Nothing was changed. Restore a backup, or copy the directory and ask \
         for help before you touch it", .0.display()
    )]
    Front(PathBuf),
}

/// One file as it was found.
struct Found {
    file: LogFile,
    bytes: Bytes,
    /// The records at its front, with consecutive numbers.
    records: Vec<record::Record>,
    /// Where they end.
    end: usize,
}

impl Found {
    fn first(&self) -> Option<u64> {
        self.records.first().map(|record| record.commit)
    }

    fn last(&self) -> Option<u64> {
        self.records.last().map(|record| record.commit)
    }
}

/// A file that holds commits, and the newest of them.
pub(super) struct Filled {
    pub(super) file: LogFile,
    pub(super) last: u64,
    pub(super) end: usize,
}

/// What was found.
pub(super) struct Replay {
    pub(super) salt: Option<u64>,
    /// The payloads of the commits behind the checkpoint, in order, with their numbers.
    pub(super) commits: Vec<(u64, Bytes)>,
    /// Files with commits that count, oldest first; the log goes on in the last.
    pub(super) filled: Vec<Filled>,
    /// Files with nothing that counts.
    pub(super) free: Vec<LogFile>,
    /// Files whose making was cut off.
    pub(super) blank: Vec<PathBuf>,
    pub(super) next_name: u64,
}

/// Reads the log in `folder`, from the commit behind `checkpoint` on.
pub(super) fn replay(folder: &Path, checkpoint: u64) -> Result<Replay, ReplayError> {
    let mut replay = Replay {
        salt: None,
        commits: Vec::new(),
        filled: Vec::new(),
        free: Vec::new(),
        blank: Vec::new(),
        next_name: 1,
    };
    let mut found = Vec::new();
    for path in list(folder)? {
        if let Some(number) = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()) {
            replay.next_name = replay.next_name.max(number + 1);
        }
        let file = LogFile::open(&path).map_err(|error| ReplayError::Io { path: path.clone(), error })?;
        let bytes = file.read().map_err(|error| ReplayError::Io { path: path.clone(), error })?;
        match file::front(&bytes) {
            Front::Blank => replay.blank.push(path),
            Front::Damaged => return Err(ReplayError::Front(path)),
            Front::Salt(salt) if replay.salt.is_some_and(|known| known != salt) => {
                return Err(ReplayError::Front(path));
            }
            Front::Salt(salt) => {
                replay.salt = Some(salt);
                found.push(chain(file, bytes.into(), salt));
            }
        }
    }
    found.sort_by_key(Found::first);
    let last = last_of_chain(&found, checkpoint);
    if let Some(salt) = replay.salt {
        check_nothing_is_missing(&found, salt, last)?;
    }
    for file in found {
        replay.take(file, checkpoint, last);
    }
    Ok(replay)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, ReplayError> {
    let io = |error| ReplayError::Io { path: folder.to_path_buf(), error };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The records at the front of a file, as long as their numbers follow one another.
fn chain(file: LogFile, bytes: Bytes, salt: u64) -> Found {
    let (mut records, mut end) = (Vec::<record::Record>::new(), file::HEADER);
    while let Some(record) = {
        let expected = records.last().map(|record| record.commit + 1);
        record::read(&bytes, end, salt, |commit| expected.is_none_or(|expected| expected == commit))
    } {
        end = record.end;
        records.push(record);
    }
    Found { file, bytes, records, end }
}

/// The newest commit that follows `checkpoint` without a gap.
fn last_of_chain(found: &[Found], checkpoint: u64) -> u64 {
    let mut last = checkpoint;
    for file in found {
        if let (Some(first), Some(newest)) = (file.first(), file.last())
            && first <= last + 1
            && newest > last
        {
            last = newest;
        }
    }
    last
}

/// Looks for records with a higher number than `last`: there must be none, in no file.
fn check_nothing_is_missing(found: &[Found], salt: u64, last: u64) -> Result<(), ReplayError> {
    let later = |commit: u64| commit > last && commit - last < NOISE;
    for file in found {
        let corrupt = |offset, found| {
            Err(ReplayError::Corrupt { path: file.file.path.clone(), offset, missing: last + 1, found })
        };
        if let Some(first) = file.first().filter(|first| later(*first)) {
            return corrupt(file::HEADER, first);
        }
        // What lies behind the records of this file: of its former life, or torn.
        let mut at = file.end;
        while at + record::HEADER <= file.bytes.len() {
            if let Some(record) = record::read(&file.bytes, at, salt, later) {
                return corrupt(file.end, record.commit);
            }
            at += record::ALIGN;
        }
    }
    Ok(())
}

impl Replay {
    fn take(&mut self, found: Found, checkpoint: u64, last: u64) {
        let counts = |commit: u64| commit > checkpoint && commit <= last;
        let newest = found.last().filter(|newest| counts(*newest));
        for record in found.records.iter().filter(|record| counts(record.commit)) {
            // Two files may hold the same commits only if a copy was made by hand; the first counts.
            if self.commits.last().is_none_or(|(known, _)| *known < record.commit) {
                self.commits.push((record.commit, found.bytes.slice(record.payload.0..record.payload.1)));
            }
        }
        match newest {
            Some(last) => self.filled.push(Filled { file: found.file, last, end: found.end }),
            None => self.free.push(found.file),
        }
    }
}
