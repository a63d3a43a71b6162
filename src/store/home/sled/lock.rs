//! Waiting for sled's lock. It outlives a SIGKILL for a moment, and sled itself tries only once. Knows files and
//! locks, nothing of a database.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// How often, and after which pauses, a lock that is taken is tried again: five seconds in all.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Opens something as soon as nobody else has it open; `None` if it stays in use.
pub(super) fn patiently<T>(
    mut open: impl FnMut() -> sled::Result<T>,
    mut pause: impl FnMut(Duration),
) -> Option<sled::Result<T>> {
    for _ in 0..TRIES {
        match open() {
            Err(error) if is_locked(&error) => pause(PAUSE),
            opened => return Some(opened),
        }
    }
    None
}

/// sled puts what the system said into a text of its own.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error)
        if error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("WouldBlock"))
}

#[allow(
    clippy::disallowed_methods,
    reason = "sled tells nobody when its lock is free: it can only be tried again"
)]
pub(super) fn sleep(pause: Duration) {
    std::thread::sleep(pause);
}

/// Who holds the `flock` on a file, in words: the kernel lists it, though not across containers.
pub(super) fn holder(path: &Path) -> String {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = fs::metadata(path).ok().and_then(|file| holder_in(&locks, &file));
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("the process with pid {pid}"))
}

/// A line: `2: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF`.
fn holder_in(locks: &str, file: &fs::Metadata) -> Option<u32> {
    let (device, inode) = (file.dev(), file.ino());
    let place = format!("{:02x}:{:02x}:{inode}", rustix::fs::major(device), rustix::fs::minor(device));
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, at, ..] = words[..] else { return None };
        // A process that cannot be seen from here is listed as 0.
        pid.parse().ok().filter(|pid| *pid != 0 && at == place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, flock};
    use std::fs::File;

    /// Another holder of sled's lock.
    fn held(path: &Path) -> File {
        let file = File::options().create(true).truncate(false).write(true).open(path).unwrap();
        flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        file
    }

    /// Precaution 4. Fails if the lock is tried once only.
    #[test]
    fn a_lock_that_is_let_go_after_a_moment_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let (mut other, mut pauses) = (Some(held(&dir.path().join("db"))), 0);
        let opened = patiently(
            || sled::Config::new().path(dir.path()).flush_every_ms(None).open(),
            |_| {
                pauses += 1;
                if pauses == 3 {
                    drop(other.take());
                }
            },
        );
        assert!(opened.unwrap().is_ok());
        assert_eq!(pauses, 3);
    }

    #[test]
    fn a_lock_that_stays_is_given_up_and_its_holder_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let other = held(&path);
        let (mut pauses, mut waited) = (0, Duration::ZERO);
        let opened = patiently(
            || sled::Config::new().path(dir.path()).flush_every_ms(None).open(),
            |pause| (pauses, waited) = (pauses + 1, waited + pause),
        );
        assert!(opened.is_none());
        assert_eq!(waited, Duration::from_secs(5));
        assert_eq!(holder(&path), format!("the process with pid {}", std::process::id()));
        drop(other);
        assert_eq!(holder(&path), "another process");
    }

    #[test]
    fn errors_of_other_kinds_are_not_waited_for() {
        let mut pauses = 0;
        let opened = patiently(|| Err::<(), _>(sled::Error::Unsupported(String::new())), |_| pauses += 1);
        assert_eq!((opened.unwrap().is_err(), pauses), (true, 0));
    }
}
