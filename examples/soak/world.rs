//! What all verbs share: a directory that goes away again, the account, and the steps of a life.

use crate::account::{Account, Broken, Entry};
use crate::check::{CheckError, check};
use crate::daemon::{Daemon, Place, Programs, tail};
use crate::disk::{RUN, clear_former_runs};
use crate::load;
use crate::recorder::{Position, Recorder};
use fastrand::Rng;
use musher::client::Client;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::{fs, io};
use tempfile::TempDir;

/// How many lines of a daemon's log go into a message.
const LOG_LINES: usize = 12;

/// Why a run did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A promise was broken.
    Broken(String),
    /// This program could not do its work.
    Io(io::Error),
    /// The machine cannot do what is needed.
    Skipped(String),
    Interrupted,
}

impl Failure {
    /// The same, with the place where it happened.
    pub(crate) fn within(self, place: &str) -> Failure {
        match self {
            Failure::Broken(what) => Failure::Broken(format!("{place}: {what}")),
            Failure::Io(error) => Failure::Io(io::Error::other(format!("{place}: {error}"))),
            other => other,
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Broken(what) | Failure::Skipped(what) => f.write_str(what),
            Failure::Io(error) => write!(f, "this program could not go on: {error}"),
            Failure::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl From<Broken> for Failure {
    fn from(Broken(what): Broken) -> Failure {
        Failure::Broken(what)
    }
}

/// A run: its directory, its seed, and what was promised in it.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) rng: Rng,
    pub(crate) recorder: Rc<Recorder>,
    pub(crate) place: Place,
    /// How many jobs the checks have looked at.
    pub(crate) looked_at: u64,
    pub(crate) checks: u64,
    /// How many deaths have met the database while it was written anew.
    rewrites_cut: u64,
    dir: Option<TempDir>,
}

impl World {
    pub(crate) fn new(seed: u64, under: Option<&Path>) -> Result<World, Failure> {
        let under = under.map_or_else(std::env::temp_dir, Path::to_owned);
        clear_former_runs(&under)?;
        let dir =
            tempfile::Builder::new().prefix(&format!("{RUN}{}-", std::process::id())).tempdir_in(under)?;
        let place = dir.path().to_owned();
        Ok(World { dir: Some(dir), ..World::within(seed, place, Programs::find()?) })
    }

    fn within(seed: u64, dir: PathBuf, programs: Programs) -> World {
        World {
            seed,
            rng: Rng::with_seed(seed),
            recorder: Recorder::new(Account::new(seed), None),
            place: Place { programs, data: dir.join("data"), dir },
            looked_at: 0,
            checks: 0,
            rewrites_cut: 0,
            dir: None,
        }
    }

    /// Another run, in a directory within this one's, with data and promises of its own.
    pub(crate) fn aside(&mut self) -> Result<World, Failure> {
        let dir = self.place.dir.join("aside");
        fs::create_dir(&dir)?;
        Ok(World::within(self.rng.u64(..), dir, self.place.programs.clone()))
    }

    /// What such a run has shown counts for this one. Its directory goes.
    pub(crate) fn took(&mut self, other: &World) -> io::Result<()> {
        self.looked_at += other.looked_at;
        self.checks += other.checks;
        let acknowledged = other.recorder.account().acknowledged;
        self.recorder.change(|account| account.acknowledged += acknowledged);
        fs::remove_dir_all(&other.place.dir)
    }

    /// The same, with an account of its own whose entries remember where a disk was.
    pub(crate) fn record(&mut self, position: Position) {
        self.recorder = Recorder::new(Account::new(self.seed), Some(position));
    }

    /// Waits for a daemon that has nothing to complain of.
    pub(crate) async fn started(&self, daemon: &mut Daemon) -> Result<Client, Failure> {
        match daemon.answers().await? {
            Ok(client) => Ok(client),
            Err(status) => {
                let said = tail(&self.place.log(), LOG_LINES);
                Err(Failure::Broken(format!("the daemon does not start ({status}):\n{said}")))
            }
        }
    }

    /// Holds everything that there is against the account.
    pub(crate) async fn check(&mut self, client: &Client) -> Result<(), CheckError> {
        self.looked_at += check(&self.recorder, client).await?;
        self.checks += 1;
        Ok(())
    }

    /// The same, where nothing may come in between.
    pub(crate) async fn check_calmly(&mut self, client: &Client) -> Result<(), Failure> {
        self.check(client).await.map_err(|error| match error {
            CheckError::Broken(broken) => broken.into(),
            CheckError::Gone(error) => {
                let said = tail(&self.place.log(), LOG_LINES);
                Failure::Broken(format!("the daemon went away by itself: {error}\n{said}"))
            }
        })
    }

    /// Producers and workers, until the daemon is gone.
    pub(crate) fn load(&mut self) -> impl Future<Output = ()> + use<> {
        let (recorder, socket, mut rng) = (self.recorder.clone(), self.place.socket(), self.rng.fork());
        async move { load::run(&recorder, &socket, &mut rng).await }
    }

    /// The daemon is dead; what was found broken meanwhile is told.
    pub(crate) fn died(&mut self) -> Result<(), Failure> {
        self.recorder.note(Entry::Died);
        self.rewrites_cut += u64::from(self.place.data.join("sled.new").exists());
        Ok(self.recorder.sound()?)
    }

    /// What the run showed, in words.
    pub(crate) fn summary(&self) -> String {
        format!(
            "{} acknowledgements kept, {} checks of {} jobs, {} rewrites of the database cut off",
            self.recorder.account().acknowledged,
            self.checks,
            self.looked_at,
            self.rewrites_cut
        )
    }

    /// Leaves the directory where it is, and says where.
    pub(crate) fn keep(&mut self, failure: Failure) -> Failure {
        match (failure, self.dir.take()) {
            (Failure::Broken(what), Some(dir)) => {
                let kept = dir.path().with_file_name(format!("musher-failed-{}", self.seed));
                let path = dir.keep();
                let kept = std::fs::rename(&path, &kept).map_or(path, |()| kept);
                Failure::Broken(format!("{what}\nthe directory is kept: {}", kept.display()))
            }
            (failure, _) => failure,
        }
    }
}
