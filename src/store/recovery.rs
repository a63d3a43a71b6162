//! Start is recovery: the rows of sled, and the log's tail folded into them. There is no other way to start, after
//! a clean stop as after a crash.

use super::checkpoint::Checkpointer;
use super::codec::{self, Position};
use super::disk::{DiskStore, Options};
use super::fresh::Fresh;
use super::home::{BLOCK, Home, HomeError};
use super::log::{Log, ReplayError};
use super::space::Space;
use super::{Commit, CommitNo};
use crate::core::{Event, JobId, RangeSet, State, Time};
use crate::migrations::{self, MigrateError};
use bytes::Bytes;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bodies in memory above which a checkpoint begins before its time.
const HURRY_BYTES: u64 = 48 << 20;

/// Why a data directory could not be opened. Nothing in it was changed, except by a migration that says so.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is not a directory, or not ours.
    #[error("the data directory {} cannot be used: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Another daemon uses it.
    #[error("the data directory {} is in use by the musher daemon with pid {pid}: stop it first, or choose another (--data)", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The other daemon.
        pid: String,
    },
    /// Its format is not this program's.
    #[error(transparent)]
    Format(#[from] MigrateError),
    /// The database.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The log.
    #[error(transparent)]
    Log(#[from] ReplayError),
    /// A commit contradicts what is known.
    #[error(
        "the data directory {} is damaged: commit {commit} of the log {detail}. Nothing was changed. Restore a backup, \
         or copy the directory and ask for help before you touch it", path.display()
    )]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// Which commit.
        commit: u64,
        /// What is wrong with it.
        detail: String,
    },
}

/// What recovery found.
#[derive(Debug)]
pub struct Recovered {
    /// The state after the newest commit.
    pub state: State,
    /// The newest commit.
    pub last: CommitNo,
    /// Its time: the clock must not go behind it.
    pub time: Time,
    /// How many commits of the log were folded.
    pub replayed: u64,
}

impl DiskStore {
    /// Opens a data directory, making it if there is none.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(path: &Path, options: &Options) -> Result<(DiskStore, Recovered), OpenError> {
        let directory = |error| OpenError::Directory { path: path.to_path_buf(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(directory)?;
        let lock = lock(path)?;
        migrations::bring_up_to_date(path)?;
        let home = open_home(path, options)?;
        let mut rows = Rows::load(&home)?;
        let position = home.position()?.unwrap_or_default();
        rows.state.restore_books(position.books.clone());
        let opened = Log::open(&path.join("log"), options.log_file_bytes, position.checkpoint)?;
        let interval = options.checkpoint_interval;
        let stored = rows.stored.clone();
        let checkpoints =
            Checkpointer::start(home.clone(), stored, interval, HURRY_BYTES).map_err(directory)?;
        let space = Space::new(path, options.disk_reserve_bytes, options.ballast_bytes);
        space.keep_ballast().map_err(directory)?;
        let mut store = DiskStore {
            log: opened.log,
            home,
            fresh: Fresh::default(),
            checkpoints,
            space,
            log_max: options.log_max_bytes,
            time: Time(position.time),
            next_id: JobId(0),
            _lock: lock,
        };
        let replayed = opened.commits.len() as u64;
        for (number, payload) in opened.commits {
            let damaged = |detail| OpenError::Damaged { path: path.to_path_buf(), commit: number, detail };
            let commit = codec::decode_commit(payload).map_err(|error| damaged(error.to_string()))?;
            store.replay(&mut rows, &position, number, &commit).map_err(damaged)?;
        }
        store.next_id = rows.state.next_id();
        let last = CommitNo(store.log.last());
        let time = store.time;
        Ok((store, Recovered { state: rows.state, last, time, replayed }))
    }

    /// Folds one commit of the log's tail.
    fn replay(
        &mut self,
        rows: &mut Rows,
        position: &Position,
        number: u64,
        commit: &Commit,
    ) -> Result<(), String> {
        self.time = self.time.max(commit.time);
        let mut bodies = commit.bodies.iter();
        for event in &commit.events {
            self.checkpoints.mark(event);
            if let Event::Submitted { jobs, .. } = event {
                for id in jobs.iter() {
                    let body = bodies.next().ok_or_else(|| format!("has no body for job {id}"))?;
                    if !rows.has(id, number) {
                        // A copy: the slice would keep the whole log file in memory.
                        self.fresh.push(id, Bytes::copy_from_slice(body));
                    }
                }
            }
            for event in rows.missing_of(event, number, JobId(position.first_later_id))? {
                rows.state.apply(&event);
            }
            event.forgotten().iter().for_each(|range| self.fresh.drop_range(*range));
        }
        if bodies.next().is_some() {
            return Err("has more bodies than jobs".into());
        }
        if number == position.books_at {
            // Counted up to here by the checkpoint; the fold has counted some of it again.
            rows.state.restore_books(position.books.clone());
        }
        Ok(())
    }
}

/// What the database holds: the state in its rows, and which commit each row reflects.
struct Rows {
    state: State,
    stored: RangeSet,
    /// Block → the commit that its row reflects, as far as the log's tail may know better.
    commits: HashMap<u64, u64>,
    newest: u64,
}

impl Rows {
    fn load(home: &Home) -> Result<Rows, HomeError> {
        let checkpoint = home.position()?.map_or(0, |position| position.checkpoint);
        let mut rows =
            Rows { state: State::default(), stored: RangeSet::default(), commits: HashMap::new(), newest: 0 };
        for row in home.blocks() {
            let (block, row) = row?;
            rows.stored.insert(block, 1);
            if row.commit > checkpoint {
                rows.commits.insert(block, row.commit);
                rows.newest = rows.newest.max(row.commit);
            }
            for (range, job) in row.runs {
                rows.state.restore(range, job);
            }
        }
        Ok(rows)
    }

    /// Whether the job's row reflects this commit.
    fn has(&self, id: JobId, number: u64) -> bool {
        number <= self.newest && self.commits.get(&(id.0 / BLOCK)).is_some_and(|commit| *commit >= number)
    }

    /// What of an event is not in the rows yet.
    fn missing_of(&self, event: &Event, number: u64, first_later: JobId) -> Result<Vec<Event>, String> {
        let submitted = matches!(event, Event::Submitted { .. });
        let mut unknown = None;
        let mut all = true;
        let mut keep = |id: JobId| {
            let keep = if self.has(id, number) {
                false
            } else if submitted || self.state.contains(id) {
                true
            } else {
                // Its row was removed by a checkpoint that a crash cut off: the job is gone by then.
                if id >= first_later || self.stored.contains(id.0 / BLOCK) {
                    unknown = Some(id);
                }
                false
            };
            all &= keep;
            keep
        };
        if event.jobs().iter().flat_map(|range| range.iter()).all(&mut keep) {
            return Ok(vec![event.clone()]);
        }
        let narrowed = event.narrowed(&mut keep);
        match unknown {
            Some(id) => Err(format!("speaks of job {id}, which is not there")),
            None => Ok(narrowed),
        }
    }
}

/// Takes the directory's lock, so that a second daemon is refused at once and told by whom.
fn lock(path: &Path) -> Result<File, OpenError> {
    let directory = |error| OpenError::Directory { path: path.to_path_buf(), error };
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
    };
    let mut file = open().map_err(directory)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(directory)?;
            return Err(OpenError::InUse { path: path.to_path_buf(), pid: pid.trim().to_owned() });
        }
        Err(error) => return Err(directory(error.into())),
    }
    let write = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    // On a full disk the pid may not fit; the lock holds all the same.
    let _ = write(&mut file);
    Ok(file)
}

/// Opens the database; where the disk is full, with the ballast given up.
fn open_home(path: &Path, options: &Options) -> Result<Home, OpenError> {
    let home = path.join("sled");
    match Home::open(&home, options.cache_bytes) {
        Err(HomeError::Sled { .. }) if Space::drop_ballast(path) => {
            tracing::warn!("the database did not open; the ballast file was given up to make room");
            Ok(Home::open(&home, options.cache_bytes)?)
        }
        other => Ok(other?),
    }
}
