//! Control groups of jobs, where the service manager has delegated one to this program (`Delegate=yes`). Each running
//! job has one, whose processes the kernel kills at once, whatever they have done to get away: no fork outruns it,
//! and no other user's rights prevent it. Elsewhere, and in addition, `orphans.rs` does the same process by process.
//!
//! A worker makes `musher-PID` in the group that it runs in, and in there `1`, `2` and so on, one for each job that runs
//! at the same time; they are used again. So the process that outlives a worker finds its jobs. No
//! controllers are used: the processes of the daemon may stay in the group that was delegated.
//!
//! It knows processes and nothing of jobs.

use rustix::process::{Pid, getpid, test_kill_process};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// What systemd sets on a group that it leaves to the service: the second one is for root to see, the first one, from
/// 251 on, for all.
const DELEGATED: [&str; 2] = ["user.delegate", "trusted.delegate"];
/// Set by the unit for users, whose service managers set neither: `1`.
pub(super) const DELEGATED_ENV: &str = "MUSHER_DELEGATED";
/// The name of a worker's group, before its number.
const OF_WORKER: &str = "musher-";
/// The pause before the next look at a group that was killed; it doubles from one to the next.
const PAUSE: Duration = Duration::from_micros(500);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long a job's end waits for processes that do not die.
const KILL_TIME_MAX: Duration = Duration::from_secs(5);

/// The groups of this process's jobs. Clones share them.
#[derive(Clone, Debug)]
pub struct Cgroups {
    of_worker: Arc<PathBuf>,
    made: Arc<Mutex<Made>>,
}

#[derive(Debug, Default)]
struct Made {
    count: usize,
    /// Those that are empty.
    free: Vec<PathBuf>,
    refused: bool,
}

impl Cgroups {
    /// Those that this process may make, if its own group was delegated to it. Blocks until nothing is left of workers
    /// that are gone.
    ///
    /// # Errors
    /// It was, and yet none can be made.
    pub fn delegated() -> io::Result<Option<Cgroups>> {
        let Some(own) = own().filter(|own| is_delegated(own)) else { return Ok(None) };
        let (begun, mut pause) = (crate::clock::monotonic(), PAUSE);
        while !clear(&own) && crate::clock::monotonic() - begun < KILL_TIME_MAX {
            #[allow(
                clippy::disallowed_methods,
                reason = "the start of a process that has nothing else to do"
            )]
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        let of_worker = own.join(format!("{OF_WORKER}{}", getpid()));
        fs::create_dir(&of_worker)?;
        Ok(Some(Cgroups { of_worker: Arc::new(of_worker), made: Arc::default() }))
    }

    /// An empty one, for others again when it is dropped. None once the system has refused one.
    pub(super) fn take(&self) -> Option<Cgroup> {
        let mut made = self.made();
        if let Some(path) = made.free.pop() {
            return Some(Cgroup { path, all: self.clone() });
        }
        if made.refused {
            return None;
        }
        let path = self.of_worker.join((made.count + 1).to_string());
        if let Err(error) = fs::create_dir(&path) {
            tracing::warn!(
                "jobs no longer get a control group: {} cannot be created: {error}",
                path.display()
            );
            made.refused = true;
            return None;
        }
        made.count += 1;
        Some(Cgroup { path, all: self.clone() })
    }

    /// Kills all that runs in groups of this process, and of workers in the same place that are gone. Removes those in
    /// which nothing is left.
    pub fn clear() {
        if let Some(own) = own() {
            clear(&own);
        }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The group of one job.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    all: Cgroups,
}

impl Cgroup {
    /// A process that writes `0` to this enters the group. None if somebody has removed it.
    pub(super) fn entrance(&self) -> Option<OwnedFd> {
        Some(OpenOptions::new().write(true).open(self.path.join("cgroup.procs")).ok()?.into())
    }

    /// Kills what is in it, and returns when that is gone.
    pub(super) async fn end(&self) {
        if !is_populated(&self.path) {
            return;
        }
        kill(&self.path);
        let gone = async {
            let mut pause = PAUSE;
            while is_populated(&self.path) {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        };
        if timeout(KILL_TIME_MAX, gone).await.is_err() {
            tracing::warn!("there are processes in {} that a SIGKILL does not end", self.path.display());
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if is_populated(&self.path) {
            // Nobody waits for them any more; the group is removed with the worker's.
            kill(&self.path);
        } else {
            self.all.made().free.push(std::mem::take(&mut self.path));
        }
    }
}

/// Whether nothing is left.
fn clear(own: &Path) -> bool {
    let mut all_gone = true;
    for entry in fs::read_dir(own).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(OF_WORKER)?.parse().ok());
        if let Some(pid) = number.and_then(Pid::from_raw)
            && (pid == getpid() || test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
        {
            kill(&entry.path());
            all_gone &= remove(&entry.path());
        }
    }
    all_gone
}

/// Without the group there is nobody to kill.
fn kill(group: &Path) {
    let _ = fs::write(group.join("cgroup.kill"), "1");
}

/// Whether a process runs in it, or in one below it. A zombie does not.
fn is_populated(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// Removes an empty group, with what jobs have made in it; whether it is gone. One that is not empty stays.
fn remove(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok()
}

fn is_delegated(group: &Path) -> bool {
    let is_set = |name: &&str| {
        let mut value = [0; 1];
        matches!(rustix::fs::getxattr(group, *name, &mut value), Ok(1)) && value == *b"1"
    };
    let is_said = std::env::var_os(DELEGATED_ENV).is_some_and(|value| value == "1");
    (is_said || DELEGATED.iter().any(is_set)) && group.join("cgroup.kill").exists()
}

/// The group of this process in the hierarchy of version 2, if that is to be seen here.
fn own() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    place(&groups, &mounts)
}

/// The same, from what the kernel says of the groups and of the mounts (`cgroups(7)`, `proc_pid_mountinfo(5)`).
fn place(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = Path::new(groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let below = path.strip_prefix(root).ok().filter(|_| kind.starts_with("cgroup2 "))?;
        Some(Path::new(at).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_where_version_2_is_mounted() {
        let unified = "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
        let hybrid = "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
                      32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd";
        let part = "29 23 0:26 /machine/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
        let table = [
            (
                "0::/system.slice/musher.service\n",
                unified,
                Some("/sys/fs/cgroup/system.slice/musher.service"),
            ),
            ("9:name=systemd:/x\n0::/x\n", hybrid, Some("/sys/fs/cgroup/unified/x")),
            ("0::/machine/a/b\n", part, Some("/sys/fs/cgroup/b")),
            ("0::/machine/b\n", part, None),
            ("9:name=systemd:/x\n", hybrid, None),
            ("0::/x\n", "30 23 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro", None),
            ("0::/x\n", "what is this", None),
        ];
        for (groups, mounts, expected) in table {
            assert_eq!(place(groups, mounts), expected.map(PathBuf::from), "{groups} {mounts}");
        }
    }
}
