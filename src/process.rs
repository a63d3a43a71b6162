//! What the daemon sees to in its own process before anything else, and what jobs get back of it: the umask, and how many
//! files may be open. It knows nothing of jobs or data.

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, umask};
use std::io;

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
