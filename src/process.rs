//! What the daemon and workers set up in their own process before anything else: files that their parent had open, and
//! signals that it had blocked or ignored, must not reach them or their jobs. Also what jobs get back of what the
//! daemon changes for itself: the umask, and the limit of open files. It knows nothing of jobs or data.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use std::{fs, io, ptr};

/// Nobody else may look into what we make: jobs may hold secrets.
const PRIVATE: Mode = Mode::RWXG.union(Mode::RWXO);
/// More open files than this are never needed, whatever the machine allows.
const FILES_MOST: u64 = 1 << 20;

/// What this process was started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inherited {
    /// The umask.
    pub umask: u32,
    /// How many files may be open: the soft limit, if there is one.
    pub files: Option<u64>,
}

/// Begins as from a clean shell: no signal is blocked or ignored, and descriptors that were open go no further than
/// here. A daemon that was started with SIGTERM blocked would not stop, and a shell without job control starts what
/// runs in the background with SIGINT and SIGQUIT ignored. Must be called before there are other threads or handlers
/// of signals.
pub fn begin_clean() {
    // Read before it is changed. Without /proc what is ignored stays so.
    let ignored = ignored_signals().unwrap_or(0);
    // SAFETY: these are plain system calls. The first only marks descriptors, none is closed. The second is given a set
    // that lives until it returns and was filled before. The third takes a handler away and sets none: what happens then
    // is the system's default. SIGPIPE is not touched, which Rust's runtime ignores for itself and no job inherits.
    unsafe {
        // An older kernel (before 5.11) does not know it: descriptors are then inherited as they were.
        let (first, last, mark) = (3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        libc::syscall(libc::SYS_close_range, first as libc::c_uint, last, mark);
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        for signal in (1..32).filter(|signal| *signal != libc::SIGPIPE && ignored >> (signal - 1) & 1 == 1) {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Gives memory that is free back to the system. A start takes more than it leaves.
pub fn trim_memory() {
    // SAFETY: it is given no pointer. It only looks for memory that nobody has, and finds none where another allocator is used.
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}

/// Which signals this process ignores: one bit each, the lowest for signal 1. `None` without /proc.
pub fn ignored_signals() -> Option<u64> {
    ignored_in(&fs::read_to_string("/proc/self/status").ok()?)
}

/// The same of a status as in proc(5).
fn ignored_in(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

/// Makes everything that this process makes from now on its user's alone, and lets it open as many files as it may.
pub fn settle() -> Inherited {
    let umask = umask(PRIVATE).as_raw_mode();
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let most = maximum.unwrap_or(FILES_MOST).min(FILES_MOST);
    if current.is_some_and(|current| current < most) {
        // It works with what it has, too.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
    }
    Inherited { umask, files: current }
}

/// Makes it as it was: for a process that starts jobs.
///
/// # Errors
/// The limit is more than is allowed here.
pub fn restore(inherited: Inherited) -> io::Result<()> {
    umask(Mode::from_raw_mode(inherited.umask));
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if inherited.files != current {
        setrlimit(Resource::Nofile, Rlimit { current: inherited.files, maximum })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_which_signals_are_ignored() {
        let status = "Name:\tx\nSigBlk:\tffffffffffffffff\nSigIgn:\t0000000000000003\nSigCgt:\t0\n";
        assert_eq!((ignored_in(status), ignored_in("")), (Some(3), None));
    }
}
