//! The files of a job's process: `MUSHER_CHECKPOINT`, which holds the newest checkpoint of its job and is taken as the next
//! one whenever it has changed, `MUSHER_RESULT`, which becomes the result, and `MUSHER_SIGNAL_FILE`, which holds what a signal says. Each process has a directory of its own, below
//! one of this process that is locked as long as it lives, so that another one can tell what was left by one that was killed. Knows
//! no requests.

use bytes::Bytes;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, Uid, chownat, flock, open};
use rustix::process::geteuid;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How directories of workers are called.
const PREFIX: &str = "musher-jobs-";
/// As long as it is not locked.
const UNLOCKED: &str = "musher-new-jobs-";
/// How many names are tried.
const NAMES: u32 = 100;

/// Where this process keeps the files of its jobs: made when the first one needs it.
#[derive(Debug, Default)]
pub(super) struct FilesOfJobs(OnceLock<Option<Base>>);

#[derive(Debug)]
struct Base {
    path: PathBuf,
    _lock: File,
}

impl Drop for Base {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path); // the next worker does it otherwise
    }
}

impl FilesOfJobs {
    /// A directory for a process of this user, with what the job has. `None` if this machine gives no place for one: whoever has
    /// nothing can do without it.
    ///
    /// # Errors
    /// There is a checkpoint or a signal, and no place for it.
    pub(super) fn of_job(
        &self,
        name: &str,
        given: Given<'_>,
        user: Option<u32>,
    ) -> io::Result<Option<JobFiles>> {
        let parent = std::env::temp_dir();
        let base = self.0.get_or_init(|| match Base::create(&parent) {
            Ok(base) => Some(base),
            Err(error) => {
                tracing::warn!("jobs have no files in {}: {error}", parent.display());
                None
            }
        });
        let made = match base {
            Some(base) => JobFiles::create(base.path.join(name), given, user),
            None => {
                Err(io::Error::new(io::ErrorKind::NotFound, "there is no place for its checkpoint or signal"))
            }
        };
        match made {
            Ok(files) => Ok(Some(files)),
            Err(_) if given.checkpoint.is_none() && given.signal.is_none() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Base {
    fn create(parent: &Path) -> io::Result<Base> {
        remove_leftovers(parent);
        let pid = std::process::id();
        for nth in 0..NAMES {
            let new = parent.join(format!("{UNLOCKED}{pid}-{nth}"));
            // Others must be able to go through, and to see nothing.
            match DirBuilder::new().mode(0o711).create(&new) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            fs::set_permissions(&new, fs::Permissions::from_mode(0o711))?; // whatever the umask is
            let lock = File::open(&new)?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
            let path = parent.join(format!("{PREFIX}{pid}-{nth}"));
            if fs::rename(&new, &path).is_ok() {
                return Ok(Base { path, _lock: lock });
            }
            fs::remove_dir(&new)?;
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

/// Removes what workers of this user have left that were killed: nobody holds its lock.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.metadata().is_ok_and(|it| it.is_dir() && it.uid() == geteuid().as_raw());
        if !is_ours || !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(dir) = open(entry.path(), flags, Mode::empty())
            && flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            let _ = fs::remove_dir_all(entry.path()); // it takes room, and does no harm
        }
    }
}

/// What a process finds in its files.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Given<'a> {
    /// The newest checkpoint.
    pub(super) checkpoint: Option<&'a [u8]>,
    /// What the signal says that the job has waited for.
    pub(super) signal: Option<&'a [u8]>,
}

/// What tells a file from the one that was there before.
type Stamp = (u64, i64, i64, u64);

/// The files of one process. They go with this.
#[derive(Debug)]
pub(super) struct JobFiles {
    dir: PathBuf,
    /// Whose the files must be: what somebody else's is, was put there to be read by us.
    owner: u32,
    /// The checkpoint as it was taken last.
    taken: Option<Stamp>,
}

impl Drop for JobFiles {
    fn drop(&mut self) {
        // Most leave nothing in it.
        if fs::remove_dir(&self.dir).is_err() {
            let _ = fs::remove_dir_all(&self.dir); // at the latest it goes with that of all jobs
        }
    }
}

impl JobFiles {
    fn create(dir: PathBuf, given: Given<'_>, user: Option<u32>) -> io::Result<JobFiles> {
        DirBuilder::new().mode(0o700).create(&dir)?;
        let mut files = JobFiles { dir, owner: user.unwrap_or(geteuid().as_raw()), taken: None };
        let give = |path: &Path| match user {
            Some(user) => chownat(CWD, path, Some(Uid::from_raw(user)), None, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(io::Error::from),
            None => Ok(()),
        };
        let put = |path: PathBuf, says: &[u8]| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(says)?;
            give(&path)?;
            file.metadata()
        };
        if let Some(signal) = given.signal {
            put(files.signal(), signal)?;
        }
        if let Some(checkpoint) = given.checkpoint {
            files.taken = Some(stamp(&put(files.checkpoint(), checkpoint)?));
        }
        // Last: until then nobody else can change what is in it.
        give(&files.dir)?;
        Ok(files)
    }

    /// Where the checkpoint is.
    pub(super) fn checkpoint(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// Where the signal is.
    pub(super) fn signal(&self) -> PathBuf {
        self.dir.join("signal")
    }

    /// Where the result is to be.
    pub(super) fn result(&self) -> PathBuf {
        self.dir.join("result")
    }

    /// The checkpoint, if there is another one than was there before. It counts as taken then, even if it cannot be read.
    pub(super) fn take_checkpoint(&mut self, max: usize) -> Result<Option<Bytes>, String> {
        let Some(file) = self.open(&self.checkpoint())? else { return Ok(None) };
        let now = file.metadata().map_err(|error| error.to_string())?;
        let now = stamp(&now);
        if self.taken.replace(now) == Some(now) {
            return Ok(None);
        }
        read(file, max).map(Some)
    }

    /// The result, if there is one.
    pub(super) fn take_result(&self, max: usize) -> Result<Option<Bytes>, String> {
        self.open(&self.result())?.map(|file| read(file, max)).transpose()
    }

    /// A file that the process has put there, and nothing else: no link, no pipe, nothing that is another user's.
    fn open(&self, path: &Path) -> Result<Option<File>, String> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(rustix::io::Errno::LOOP) => return Err("it is a link".into()),
            Err(error) => return Err(super::exec::plain(&error.into())),
        };
        let found = file.metadata().map_err(|error| error.to_string())?;
        if !found.is_file() || found.uid() != self.owner {
            return Err("it is no plain file of the user whose job it is".into());
        }
        Ok(Some(file))
    }
}

fn stamp(found: &fs::Metadata) -> Stamp {
    (found.ino(), found.mtime(), found.mtime_nsec(), found.len())
}

fn read(file: File, max: usize) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    let len = file.metadata().map_or(0, |found| found.len());
    file.take(max as u64 + 1).read_to_end(&mut bytes).map_err(|error| super::exec::plain(&error))?;
    match bytes.len() <= max {
        true => Ok(bytes.into()),
        false => Err(format!("it has {} bytes, and at most {max} are taken", len.max(bytes.len() as u64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_a_process_leaves_is_taken_once_and_only_if_it_is_its_own() {
        let parent = tempfile::tempdir().unwrap();
        let base = Base::create(parent.path()).unwrap();
        let given = Given { checkpoint: Some(b"before"), signal: Some(b"approved") };
        let mut files = JobFiles::create(base.path.join("1@1"), given, None).unwrap();
        assert_eq!(fs::read(files.signal()).unwrap(), b"approved");
        assert_eq!(fs::read(files.checkpoint()).unwrap(), b"before");
        assert_eq!((files.take_checkpoint(99), files.take_result(99)), (Ok(None), Ok(None)));
        let put = |text: &str| {
            fs::write(files.dir.join("new"), text).unwrap();
            fs::rename(files.dir.join("new"), files.checkpoint()).unwrap();
        };
        put("after");
        assert_eq!(files.take_checkpoint(99), Ok(Some("after".into())));
        assert_eq!(files.take_checkpoint(99), Ok(None));
        fs::write(files.result(), "x".repeat(100)).unwrap();
        assert_eq!(files.take_result(100), Ok(Some("x".repeat(100).into())));
        assert!(files.take_result(99).unwrap_err().contains("it has 100 bytes, and at most 99"));
        // A link to what only the worker may read.
        let secret = parent.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        fs::remove_file(files.result()).unwrap();
        symlink(&secret, files.result()).unwrap();
        assert_eq!(files.take_result(99), Err("it is a link".into()));
        files.owner += 1;
        fs::remove_file(files.result()).unwrap();
        fs::write(files.result(), "somebody's").unwrap();
        assert!(files.take_result(99).unwrap_err().contains("no plain file"));
        let dir = files.dir.clone();
        drop(files);
        assert!(!dir.exists());
    }

    #[test]
    fn what_a_worker_has_left_that_was_killed_goes_and_what_one_has_that_lives_stays() {
        let parent = tempfile::tempdir().unwrap();
        let lives = Base::create(parent.path()).unwrap();
        let killed = parent.path().join(format!("{PREFIX}1-0"));
        fs::create_dir_all(killed.join("7@1")).unwrap();
        let other = parent.path().join("musher-verify-1");
        fs::create_dir(&other).unwrap();
        let second = Base::create(parent.path()).unwrap();
        assert!(lives.path.exists() && second.path.exists() && !killed.exists() && other.exists());
        let path = second.path.clone();
        drop(second);
        assert!(!path.exists());
    }
}
