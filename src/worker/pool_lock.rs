//! Only one pool per data directory: the file `pool` in it is locked as long as one runs. The pool of a daemon that was
//! killed may outlive it for the moment that it takes to kill its jobs; the next daemon waits for that before it gives
//! out anything. It knows files, not jobs.

use rustix::fs::{FlockOperation, flock};
use rustix::io::{Errno, retry_on_intr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
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
