//! Only one pool per data directory takes jobs: the file `pool` in it is locked as long as one does. The pool of a daemon
//! that was killed lets go of it when it sees that, and takes no more; the next daemon waits for that before it gives out
//! anything. All pools, also those that finish what they run, share a lock on `pool.lives`: so a start knows whether
//! there are any. It knows files, not jobs.

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Tells the pool where its lock is.
pub const POOL_LOCK_ENV: &str = "MUSHER_POOL_LOCK";
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub struct PoolLock {
    _file: File,
}

impl PoolLock {
    /// Waits until no other pool has the lock, and takes it.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn take(path: &Path) -> io::Result<PoolLock> {
        let file = open(path)?;
        retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
        Ok(PoolLock { _file: file })
    }

    /// The lock that all pools share that live, beside that of the one that takes jobs.
    pub fn of_all(path: &Path) -> PathBuf {
        path.with_extension("lives")
    }

    /// Takes a lock that others may share.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn share(path: &Path) -> io::Result<PoolLock> {
        let file = open(path)?;
        retry_on_intr(|| flock(&file, FlockOperation::LockShared))?;
        Ok(PoolLock { _file: file })
    }

    /// Whether nobody has the lock, or shares it.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn is_free(path: &Path) -> io::Result<bool> {
        PoolLock::until_free(path, Duration::ZERO)
    }

    /// Waits until no pool has the lock, but no longer than `patience`; whether it is free.
    ///
    /// # Errors
    /// The file cannot be made or locked.
    pub fn until_free(path: &Path, patience: Duration) -> io::Result<bool> {
        let (file, begun) = (open(path)?, crate::clock::monotonic());
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(true),
                Err(Errno::WOULDBLOCK | Errno::INTR) if crate::clock::monotonic() - begun < patience => {
                    #[allow(
                        clippy::disallowed_methods,
                        reason = "a lock tells nobody when it is free within a time"
                    )]
                    std::thread::sleep(PAUSE);
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_free_once_its_holder_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool");
        let held = PoolLock::take(&path).unwrap();
        assert!(!PoolLock::until_free(&path, Duration::from_millis(5)).unwrap());
        drop(held);
        assert!(PoolLock::until_free(&path, Duration::from_secs(10)).unwrap());
    }
}
