//! Reads all of a data directory that no daemon has open: everything that is wrong with it is reported with its place,
//! and nothing in it is changed. The log is read in place, the database from a copy, since sled writes when it opens
//! one. What a start would do is done as well, with the same code, so a directory that a start would refuse never
//! passes. Knows every part of the store, not who asks.

mod scratch;
#[cfg(test)]
mod tests;

pub use scratch::Scratch;

use super::blob::Blob;
use super::codec::decode_commit;
use super::directory::{DirectoryError, hold_for_reading};
use super::home::sled::{self, SledRows};
use super::home::{HomeError, ahead_of_log};
use super::log::files::{self, Found};
use super::log::{LogError, Place};
use super::recent::Recent;
use super::recovery::{Fold, Folded};
use super::{CommitNo, Defect, OpenError};
use crate::core::{Event, IdRange, JobId, RangeSet};
use crate::migrations::{self, MigrationError, NEWEST};
use scratch::CopyError;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

const CACHE_BYTES: u64 = 64 << 20;

/// Why a data directory was not read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A daemon runs on it.
    #[error(
        "data directory {} is in use by the musher daemon with pid {pid}. A running daemon is verified through a backup: \
         `musher backup - | musher verify --backup -`", dir.display()
    )]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The daemon, as it says itself.
        pid: String,
    },
    /// There is nothing of musher's.
    #[error("{} is not a data directory: {detail}", dir.display())]
    NotData {
        /// The place.
        dir: PathBuf,
        /// Why not.
        detail: String,
    },
    /// We may not read it.
    #[error("{}: {source}. It belongs to user {owner}, but musher runs as user {own}: run it as that user, or as root", path.display())]
    NotReadable {
        /// What cannot be read.
        path: PathBuf,
        /// Whose the directory is.
        owner: u32,
        /// Who we are.
        own: u32,
        /// What the system says.
        source: io::Error,
    },
    /// Its format is one that this version does not read.
    #[error(transparent)]
    Newer(MigrationError),
    /// Its format is one that a start would change first.
    #[error(
        "data directory {} has format {found}, this version of musher has format {NEWEST}: verify it with the version that \
         wrote it, or run `musher migrate` first", dir.display()
    )]
    Older {
        /// The directory.
        dir: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The copy of the database has no room.
    #[error(
        "a copy of the database takes {needed} bytes, but {} has {free} free. Free some space, or name another place with \
         --scratch", scratch.display()
    )]
    NoSpace {
        /// Where it should go.
        scratch: PathBuf,
        /// What it takes.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// The copy of the database cannot be written.
    #[error("{}: {source}. Name another place for the copy of the database with --scratch", path.display())]
    Scratch {
        /// What cannot be written.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Something that is not the directory's fault.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The same of the database.
    #[error(transparent)]
    Home(HomeError),
}

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Verified {
    /// How many defects were told.
    pub defects: u64,
    /// Jobs that a start would know; with defects, those in the rows that can be read.
    pub jobs: u64,
    /// Queues, in the same way.
    pub queues: u64,
    /// Commits that are in the log only.
    pub commits: u64,
    /// Bodies in the database and in these commits.
    pub bodies: u64,
    /// Bytes of the log and of the database.
    pub bytes: u64,
    /// The newest commit.
    pub commit: u64,
}

/// Reads all of a data directory and says everything that is wrong with it, one after the other.
///
/// # Errors
/// It cannot be read, or is not ours to read: nothing is known about it then.
pub fn verify_directory(
    dir: &Path,
    scratch: &mut Scratch,
    mut on_defect: impl FnMut(Defect),
) -> Result<Verified, VerifyError> {
    let mut verify = Verify { dir, scratch, found: Verified::default(), on_defect: &mut on_defect };
    verify.look()?;
    let _held = hold_for_reading(dir).map_err(|error| match error {
        DirectoryError::InUse { dir, pid } => VerifyError::InUse { dir, pid },
        DirectoryError::Io { path, source } => verify.not_readable(path, source),
        other => other.into(),
    })?;
    verify.parts()?;
    Ok(verify.found)
}

struct Verify<'a> {
    dir: &'a Path,
    scratch: &'a mut Scratch,
    found: Verified,
    on_defect: &'a mut dyn FnMut(Defect),
}

/// What the log has come to.
#[derive(Default)]
struct Tail {
    last: CommitNo,
    defects: u64,
    /// Jobs of which nothing is left.
    forgotten: RangeSet,
    /// Jobs of which it has a blob that took the place of another one.
    renewed: BTreeSet<JobId>,
}

impl Verify<'_> {
    fn defect(&mut self, place: impl ToString, detail: impl ToString) {
        self.tell(Defect { place: place.to_string(), detail: detail.to_string() });
    }

    /// The database is read from a copy, and names it: the original is what is meant.
    fn tell(&mut self, mut defect: Defect) {
        self.found.defects += 1;
        defect.detail = self.scratch.as_original(&defect.detail, &self.dir.join("sled"));
        (self.on_defect)(defect);
    }

    /// Whether it is a data directory that we can read.
    fn look(&mut self) -> Result<(), VerifyError> {
        let not_data = |detail: String| VerifyError::NotData { dir: self.dir.to_owned(), detail };
        match self.dir.read_dir() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(self.not_readable(self.dir.to_owned(), error));
            }
            Err(error) => return Err(not_data(error.to_string())),
        }
        let has_data = ["log", "sled"].iter().any(|part| self.dir.join(part).exists());
        match migrations::check(self.dir) {
            Ok(Some(found)) if migrations::rewrites_from(found) => {
                return Err(VerifyError::Older { dir: self.dir.to_owned(), found });
            }
            Ok(None) if !has_data => return Err(not_data("there is no file FORMAT in it".to_owned())),
            Ok(None) => self.defect(self.dir.join("FORMAT").display(), "the file is missing"),
            Ok(Some(_)) => {}
            Err(error @ MigrationError::Newer { .. }) => return Err(VerifyError::Newer(error)),
            Err(MigrationError::Io { path, source }) if source.kind() == io::ErrorKind::PermissionDenied => {
                return Err(self.not_readable(path, source));
            }
            Err(error) => self.defect(self.dir.join("FORMAT").display(), error),
        }
        Ok(())
    }

    fn not_readable(&self, path: PathBuf, source: io::Error) -> VerifyError {
        use std::os::unix::fs::MetadataExt;
        let own = rustix::process::geteuid().as_raw();
        let owner = self.dir.metadata().map_or(own, |found| found.uid());
        VerifyError::NotReadable { path, owner, own, source }
    }

    fn parts(&mut self) -> Result<(), VerifyError> {
        self.segments()?;
        // Damage there may be of no matter to rows.
        let before = self.found.defects;
        let home = self.open_home()?;
        let rows = self.rows(home.as_ref())?;
        let home = home.filter(|_| self.found.defects == before);
        let position = home.as_ref().and(rows.meta).map(|meta| meta.home);
        if rows.meta.is_some_and(|meta| meta.mark.is_some()) && !self.dir.join("log").exists() {
            return self.of_a_node(home.as_ref(), &rows);
        }
        let tail = self.log(position);
        for (tree, key, commit) in rows.ahead.iter().filter(|(_, _, commit)| *commit > tail.last) {
            let error = ahead_of_log(tree, key, *commit, tail.last);
            self.defect(self.dir.join("sled").display(), error);
        }
        // Rows that are newer than the log would keep it from coming to an end, and were told one by one.
        let is_whole = tail.defects == 0 && self.found.defects == before;
        let jobs_known = home.filter(|_| is_whole).is_some_and(|home| self.start(&home, &rows));
        if !jobs_known {
            for (kind, id) in rows.bare.iter().filter(|(_, id)| !tail.forgotten.contains(id.0)) {
                self.defect(format_args!("job {id}"), format_args!("its {kind} is missing"));
            }
            let is_known = |id: JobId| tail.forgotten.contains(id.0) || tail.renewed.contains(&id);
            for (kind, id) in rows.others.iter().filter(|(_, id)| !is_known(*id)) {
                self.other(*kind, *id);
            }
        }
        Ok(())
    }

    /// What comes after its home is in the stream of a cluster. Where a checkpoint was cut off, only that tells what is whole.
    fn of_a_node(&mut self, home: Option<&SledRows>, rows: &sled::Scanned) -> Result<(), VerifyError> {
        self.found.commit = rows.meta.map_or(0, |meta| meta.home.0);
        if let Some(home) = home.filter(|_| rows.ahead.is_empty()) {
            self.start(home, rows);
        }
        Ok(())
    }

    /// The database's file, whether or not it opens.
    fn segments(&mut self) -> Result<(), VerifyError> {
        let path = self.dir.join("sled/db");
        let mut parts = Vec::new();
        let read = sled::damaged_parts(&path, |from, to| parts.push((from, to)));
        for (from, to) in parts {
            let detail = format!("the {} bytes from there on are not what was written", to - from);
            self.defect(format_args!("{} at byte {from}", path.display()), detail);
        }
        match read {
            Ok(bytes) => self.found.bytes += bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(self.not_readable(path, error));
            }
            Err(error) => self.defect(path.display(), format_args!("it cannot be read: {error}")),
        }
        Ok(())
    }

    /// Opens a copy of the database as a start would.
    fn open_home(&mut self) -> Result<Option<SledRows>, VerifyError> {
        let Some(copy) = self.copy()? else { return Ok(None) };
        match SledRows::open(&copy, CACHE_BYTES) {
            Ok(home) => Ok(Some(home)),
            Err(error) if error.is_full() => Err(self.no_space(0)),
            Err(error @ (HomeError::Locked { .. } | HomeError::SyncNotOurs)) => Err(VerifyError::Home(error)),
            Err(error) => {
                self.defect(self.dir.join("sled").display(), error);
                Ok(None)
            }
        }
    }

    fn copy(&mut self) -> Result<Option<PathBuf>, VerifyError> {
        match self.scratch.copy(&self.dir.join("sled")) {
            Ok(copy) => Ok(Some(copy)),
            Err(CopyError::Space { needed, free }) => {
                let scratch = self.scratch.path().to_owned();
                Err(VerifyError::NoSpace { scratch, needed, free })
            }
            Err(CopyError::Write(_, error)) if error.kind() == io::ErrorKind::StorageFull => {
                Err(self.no_space(0))
            }
            Err(CopyError::Write(path, source)) => Err(VerifyError::Scratch { path, source }),
            Err(CopyError::Read(path, error)) if error.kind() == io::ErrorKind::PermissionDenied => {
                Err(self.not_readable(path, error))
            }
            Err(CopyError::Read(path, error)) => {
                self.defect(path.display(), format_args!("it cannot be read: {error}"));
                Ok(None)
            }
        }
    }

    fn no_space(&self, free: u64) -> VerifyError {
        let needed = self.dir.join("sled/db").metadata().map_or(0, |found| found.len());
        VerifyError::NoSpace { scratch: self.scratch.path().to_owned(), needed, free }
    }

    /// Every row, each on its own.
    fn rows(&mut self, home: Option<&SledRows>) -> Result<sled::Scanned, VerifyError> {
        let mut defects = Vec::new();
        let rows = sled::scan(home, || self.copy(), CACHE_BYTES, &mut |defect| defects.push(defect));
        defects.into_iter().for_each(|defect| self.tell(defect));
        let rows = rows?;
        (self.found.queues, self.found.jobs, self.found.bodies) = (rows.queues, rows.jobs, rows.bodies);
        Ok(rows)
    }

    /// Every record of the log, each on its own.
    fn log(&mut self, home: Option<CommitNo>) -> Tail {
        let (before, dir, mut tail) = (self.found.defects, self.dir.join("log"), Tail::default());
        let scanned = files::scan(&dir, home, &mut |found| match found {
            Found::Defect(defect) => self.tell(defect),
            Found::Record(place, payload) => {
                self.found.commits += 1;
                if let Err(error) = self.record(place, payload, &mut tail) {
                    let place = format!("{} at byte {}", place.path.display(), place.offset);
                    self.defect(place, error);
                }
            }
        });
        self.found.bytes += scanned.bytes;
        self.found.commit = scanned.last.0;
        (tail.last, tail.defects) = (scanned.last, self.found.defects - before);
        tail
    }

    fn record(&mut self, place: Place<'_>, payload: &[u8], tail: &mut Tail) -> Result<(), String> {
        let commit = decode_commit(payload);
        let commit = commit.map_err(|error| format!("commit {}: {error}", place.number.0))?;
        for event in &commit.events {
            for range in event.forgotten() {
                tail.forgotten.insert(range.first.0, range.len);
            }
            if let Event::BodyReplaced { job } | Event::Attached { job, .. } = event {
                tail.renewed.insert(job.first);
            }
        }
        self.found.bodies += commit.blobs.bodies.len() as u64;
        commit.check().map_err(|error| format!("commit {}: {error}", place.number.0))
    }

    /// A job's blob has been found that is whole, but was stored before or after the one that the job has.
    fn other(&mut self, kind: Blob, id: JobId) {
        let detail = format_args!("its {kind} is not the one that was stored last");
        self.defect(format_args!("job {id}"), detail);
    }

    /// What a start does with rows and log that are whole each for itself. Whether it comes to an end, so that all
    /// jobs are known.
    fn start(&mut self, home: &SledRows, rows: &sled::Scanned) -> bool {
        let folded = match fold(home, &self.dir.join("log")) {
            Ok(folded) => folded,
            Err(error) => {
                self.defect(self.dir.display(), error);
                return false;
            }
        };
        let state = &folded.recovered.state;
        self.found.jobs = folded.recovered.report.jobs;
        self.found.queues = state.queues().count() as u64;
        let all = IdRange::new(JobId(1), state.next_id().0);
        for (kind, id) in folded.recent.lacking(state.iter(all), |kind, id| rows.lacks(kind, id)) {
            self.defect(format_args!("job {id}"), format_args!("its {kind} is missing"));
        }
        // What the log has is newer. What a job does not have any more may be anything.
        let has = |kind: Blob, id| state.job(id).is_some_and(|job| kind.is_of(job));
        for (kind, id) in rows.others.iter().filter(|(kind, id)| has(*kind, *id)) {
            if !folded.recent.contains(*kind, *id) {
                self.other(*kind, *id);
            }
        }
        true
    }
}

fn fold(home: &SledRows, log: &Path) -> Result<Folded, OpenError> {
    // Which blobs there are is all that is asked.
    let mut fold = Fold::load(home, Recent::new(0))?;
    let home = fold.meta.home;
    let last = match log.exists() {
        true => files::read(log, home, |place, payload| fold.commit(place, payload))?,
        false if home > CommitNo(0) && fold.meta.mark.is_none() => {
            return Err(LogError::Missing { dir: log.to_owned(), home }.into());
        }
        false => home,
    };
    Ok(fold.end(last)?)
}
