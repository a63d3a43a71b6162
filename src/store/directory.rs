//! The data directory: created if needed, held by one daemon at a time, in a format that this version knows. Nothing in
//! it is opened before all of that is settled.

use super::space::give_up_ballast;
use super::system::sync_dir;
use crate::migrations::{self, MigrationError};
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another daemon has it.
    #[error("data directory {} is in use by the musher daemon with pid {pid}, or a program that embeds one; stop that one or choose another directory", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other process, as it says itself.
        pid: String,
    },
    /// There is something else in its place.
    #[error("{} is not a directory; choose another place for the data", dir.display())]
    NotADirectory {
        /// The place.
        dir: PathBuf,
    },
    /// It is somebody else's.
    #[error(
        "data directory {} belongs to user {owner}, but musher runs as user {own}: run it as that user, or choose \
         another directory", dir.display()
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// Its jobs are those of a cluster.
    #[error(
        "data directory {} is that of a node of a cluster: what it has not got yet is in the stream. Start it with the          [cluster] of its configuration, or restore a backup of the cluster into another directory", dir.display()
    )]
    OfANode {
        /// The directory.
        dir: PathBuf,
    },
    /// There are data in it, but nothing says in which format.
    #[error(
        "data directory {} has data in it but no file FORMAT: it is incomplete, or not musher's. Nothing was \
         changed. Restore it from a backup, or choose another directory", dir.display()
    )]
    NoFormat {
        /// The directory.
        dir: PathBuf,
    },
    /// Something else lives there, such as somebody's home.
    #[error(
        "{} contains other files ({found}) and no data of musher: choose a directory for musher alone, such as {}", dir.display(),
        dir.join("musher").display()
    )]
    NotEmpty {
        /// The directory.
        dir: PathBuf,
        /// Some of them.
        found: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The format is unknown, or could not be brought up to date.
    #[error(transparent)]
    Format(#[from] MigrationError),
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> DirectoryError + '_ {
    |source| DirectoryError::Io { path: path.to_owned(), source }
}

/// How often, and after which pauses, a lock that is taken is tried again: a second in all.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The directory, locked.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    /// The lock is the kernel's, and goes with the last descriptor: also at a SIGKILL.
    _lock: File,
}

impl Directory {
    /// Creates the directory if needed, locks it, and brings it to the newest format.
    pub(crate) fn open(path: &Path) -> Result<Directory, DirectoryError> {
        create(path)?;
        // First of all: a newer format is left untouched, not even locked, and so is what is not ours.
        if migrations::check(path)?.is_none() {
            refuse_others(path)?;
        }
        let directory = Directory { path: path.to_owned(), _lock: lock(path)? };
        match migrations::check(path)? {
            Some(_) => match migrations::run(path) {
                // `FORMAT` is small, but on a full disk it needs room as well.
                Err(error) if error.is_full() && give_up_ballast(path) => migrations::run(path)?,
                done => done?,
            },
            None if directory.log().exists() || directory.sled().exists() => {
                return Err(DirectoryError::NoFormat { dir: path.to_owned() });
            }
            None => migrations::write_format(path)?,
        }
        Ok(directory)
    }

    /// Creates the directory if needed and locks it, without a format: for a restore. `None` if anything is in it.
    pub(crate) fn create_empty(path: &Path) -> Result<Option<Directory>, DirectoryError> {
        create(path)?;
        let entries = fs::read_dir(path).map_err(io(path))?;
        // What a file system of its own always has.
        let others = entries.filter(|entry| !entry.as_ref().is_ok_and(|it| it.file_name() == "lost+found"));
        if others.count() > 0 {
            return Ok(None);
        }
        Ok(Some(Directory { path: path.to_owned(), _lock: lock(path)? }))
    }

    /// Writes `FORMAT`, which says that what is in it is whole.
    pub(crate) fn write_format(&self) -> Result<(), DirectoryError> {
        Ok(migrations::write_format(&self.path)?)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(crate) fn sled(&self) -> PathBuf {
        self.path.join("sled")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Creates the directory of the log so that it survives a power failure.
    pub(crate) fn create_log(&self) -> Result<(), DirectoryError> {
        create(&self.log())?;
        sync_dir(&self.path).map_err(io(&self.path))
    }
}

/// Brings a data directory that no daemon has open to the newest format. Returns the format that it had, and the one
/// that it has.
///
/// # Errors
/// The directory cannot be used; it is left as it is.
pub fn migrate(path: &Path) -> Result<(u32, u32), DirectoryError> {
    let from = migrations::check(path)?.ok_or_else(|| DirectoryError::NoFormat { dir: path.to_owned() })?;
    Directory::open(path)?;
    Ok((from, migrations::NEWEST))
}

/// Jobs may hold secrets: nobody else may look into what we make. A symbolic link to a directory is followed: systemd's
/// `DynamicUser=` makes one.
fn create(path: &Path) -> Result<(), DirectoryError> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            // What one user writes another may not be able to open.
            let (owner, own) = (found.uid(), rustix::process::geteuid().as_raw());
            if owner == own {
                Ok(())
            } else {
                Err(DirectoryError::NotOurs { dir: path.to_owned(), owner, own })
            }
        }
        Ok(_) => Err(DirectoryError::NotADirectory { dir: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path))
        }
        Err(error) => Err(io(path)(error)),
    }
}

/// What may be in a directory without data that is to become ours: what a start that was cut off has left, what a file
/// system of its own always has, the socket and the configuration.
const KNOWN: [&str; 15] = [
    "FORMAT",
    "lock",
    "log",
    "sled",
    "output",
    "pool",
    "pool.lives",
    "ballast",
    "numbers",
    "numbers.new",
    "founder",
    "copy",
    "lost+found",
    "musher.sock",
    "musher.toml",
];
/// How many of the others are named.
const NAMED: usize = 3;

/// A directory that others use would be changed in its mode and filled with our files.
fn refuse_others(dir: &Path) -> Result<(), DirectoryError> {
    let entries = fs::read_dir(dir).map_err(io(dir))?;
    let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<io::Result<Vec<String>>>().map_err(io(dir))?;
    let is_known = |name: &String| KNOWN.contains(&name.as_str()) || name.starts_with("FORMAT");
    names.retain(|name| !is_known(name));
    if names.is_empty() {
        return Ok(());
    }
    names.sort_unstable();
    let more = if names.len() > NAMED { ", …" } else { "" };
    names.truncate(NAMED);
    Err(DirectoryError::NotEmpty { dir: dir.to_owned(), found: names.join(", ") + more })
}

/// A process that has died may have left a child that has not started its program yet, and which holds the lock until
/// then.
fn flock_patiently(file: &File) -> Result<(), rustix::io::Errno> {
    for _ in 0..LOCK_TRIES {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                #[allow(
                    clippy::disallowed_methods,
                    reason = "a lock tells nobody when it is free, unless one waits for ever"
                )]
                std::thread::sleep(LOCK_PAUSE);
            }
            locked => return locked,
        }
    }
    Err(rustix::io::Errno::WOULDBLOCK)
}

/// Keeps daemons away while the directory is read, and changes nothing in it. `None` if none has ever had it.
pub(crate) fn hold_for_reading(dir: &Path) -> Result<Option<File>, DirectoryError> {
    let path = dir.join("lock");
    match File::open(&path) {
        Ok(file) => take(dir, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(&path)(error)),
    }
}

fn lock(dir: &Path) -> Result<File, DirectoryError> {
    let path = dir.join("lock");
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut file = take(dir, options.open(&path).map_err(io(&path))?)?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    match write(&mut file) {
        // A full disk must not keep a start from happening: the lock holds without the number.
        Err(error) if error.kind() != io::ErrorKind::StorageFull => Err(io(&path)(error)),
        _ => Ok(file),
    }
}

fn take(dir: &Path, file: File) -> Result<File, DirectoryError> {
    let path = dir.join("lock");
    if let Err(error) = flock_patiently(&file) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(io(&path)(error.into()));
        }
        let mut pid = String::new();
        let _ = file.take(20).read_to_string(&mut pid); // it may not have written it yet
        let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
        return Err(DirectoryError::InUse { dir: dir.to_owned(), pid });
    }
    Ok(file)
}
