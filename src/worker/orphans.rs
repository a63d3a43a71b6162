//! Processes that a job leaves behind, and their end. A process whose parent dies becomes the child of the nearest
//! ancestor that has asked for it (`PR_SET_CHILD_SUBREAPER`). Each job's first process asks for it, so while it lives
//! all of the job is below it; the process that starts jobs asks for it too, so what a job's first process leaves
//! comes to it. Hence the rule: a child of this process that is not a job's first process is an orphan, and is killed.
//!
//! Only children are ever killed: until they are reaped, which only this process does, their numbers are nobody else's.
//! What is below them becomes a child with their death, and its turn comes with the next look.
//!
//! It knows processes and nothing of jobs. The daemon does the same for its pool, and `keeper.rs` for `musher work`.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The pause before the next look at orphans that were killed; it doubles from one to the next.
const PAUSE: Duration = Duration::from_micros(500);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// How long a job's end waits for orphans that do not die.
const KILL_TIME_MAX: Duration = Duration::from_secs(5);
/// How often PID 1 looks for what has ended.
const REAP_EVERY: Duration = Duration::from_secs(1);
/// Process ids are given in order and wrap around at some point. Within this time they certainly have not come
/// round to the first one again.
const SURELY_IN_ORDER: Duration = Duration::from_millis(200);
/// How many numbers are looked at one by one rather than all processes there are.
const FEW: i32 = 64;

/// The children of this process that are not orphans. Clones share it.
#[derive(Clone, Debug)]
pub struct Orphans {
    known: Arc<Mutex<Known>>,
    /// The newest process's number, among others; where the kernel lists no children.
    newest: Option<Arc<File>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Children that are no orphans, and since when.
    own: HashMap<Pid, Instant>,
    /// Orphans that a SIGKILL has not ended in good time: nobody waits for them any more.
    stubborn: HashSet<Pid>,
}

impl Orphans {
    /// From now on what is orphaned below this process becomes its child. To be called by the thread that starts
    /// processes, before it has started any; it must be the process's first thread.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn adopt() -> io::Result<Orphans> {
        set_child_subreaper(Some(getpid()))?;
        let newest = if listed().is_ok() { None } else { File::open("/proc/loadavg").ok().map(Arc::new) };
        Ok(Orphans { known: Arc::default(), newest })
    }

    /// A process was started that is no orphan.
    pub fn spare(&self, pid: Pid) {
        self.known().own.insert(pid, Instant::now());
    }

    /// It is reaped.
    pub fn forget(&self, pid: Pid) {
        self.known().own.remove(&pid);
    }

    /// Ends what a process has left that has ended and is not reaped yet. Returns when that is gone.
    pub(super) async fn end_those_of(&self, pid: Pid) {
        if self.has_none_of(pid) {
            return;
        }
        if timeout(KILL_TIME_MAX, self.end()).await.is_err() {
            let mut known = self.known();
            let orphans: Vec<Pid> =
                children().into_iter().filter(|pid| !known.own.contains_key(pid)).collect();
            tracing::warn!("process {pid} has left processes that a SIGKILL does not end: {orphans:?}");
            known.stubborn.extend(orphans);
        }
    }

    /// Reaps what has ended by itself, now and then, if this is the process to which all of a container come (PID 1): what somebody has
    /// started in there beside the jobs and left to itself. It does not end.
    pub async fn reap_as_pid_one(&self) {
        if getpid() != Pid::INIT {
            return std::future::pending().await;
        }
        self.reap().await;
    }

    /// The same in a process to which come those whose parents have ended. Those that it has started itself are to be spared.
    pub async fn reap(&self) {
        loop {
            sleep(REAP_EVERY).await;
            let known = self.known();
            for pid in children().into_iter().filter(|pid| !known.own.contains_key(pid)) {
                // One that lives is none of our business.
                let _ = waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }

    /// Ends all orphans. Returns when they are gone.
    pub async fn end(&self) {
        let mut pause = PAUSE;
        while self.kill() > 0 {
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Ends all children, orphans or not, and blocks until they are gone or the time is over. Returns whether they are.
    pub fn end_all(&self, within: Duration) -> bool {
        let (begun, mut pause) = (crate::clock::monotonic(), PAUSE);
        self.known().own.clear();
        while self.kill() > 0 {
            if crate::clock::monotonic() - begun >= within {
                return false;
            }
            #[allow(clippy::disallowed_methods, reason = "the end of a process that has nothing else to do")]
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
        }
        true
    }

    /// Kills the orphans there are and reaps those that have died; how many are worth another look. One that was reaped
    /// is: what was below it has become a child since.
    fn kill(&self) -> usize {
        let mut known = self.known();
        let mut left = 0;
        for pid in children() {
            if known.own.contains_key(&pid) {
                continue;
            }
            let killed = kill_process(pid, Signal::KILL);
            if !matches!(waitpid(Some(pid), WaitOptions::NOHANG), Ok(None)) {
                known.stubborn.remove(&pid);
                left += 1;
            } else if killed != Err(Errno::PERM) && !known.stubborn.contains(&pid) {
                // One that has taken on other rights cannot be killed, and nobody waits for it.
                left += 1;
            }
        }
        left
    }

    /// Whether it surely has left nothing. This is asked at the end of each job, so it must cost next to nothing.
    fn has_none_of(&self, pid: Pid) -> bool {
        let known = self.known();
        let Known { own, stubborn } = &*known;
        if self.newest.is_none()
            && let Ok(children) = listed()
        {
            return children.iter().all(|pid| own.contains_key(pid) || stubborn.contains(pid));
        }
        // What it has left has a higher number than it, unless the numbers have begun anew.
        let (Some(newest), Some(begun)) = (self.newest(), own.get(&pid)) else { return false };
        let first = pid.as_raw_pid() + 1;
        begun.elapsed() < SURELY_IN_ORDER
            && (first - 1..first + FEW).contains(&newest)
            && (first..=newest)
                .filter_map(Pid::from_raw)
                .all(|pid| own.contains_key(&pid) || parent(pid) != Some(getpid()))
    }

    fn newest(&self) -> Option<i32> {
        let mut text = [0; 128];
        let len = self.newest.as_ref()?.read_at(&mut text, 0).ok()?;
        str::from_utf8(&text[..len]).ok()?.trim_end().rsplit(' ').next()?.parse().ok()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The children of this process.
fn children() -> Vec<Pid> {
    listed().unwrap_or_else(|_| {
        let this = getpid();
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
        pids.filter(|pid| parent(*pid) == Some(this)).collect()
    })
}

/// The same from the kernel's own list, which not every kernel has. Orphans come to a process's first thread.
fn listed() -> io::Result<Vec<Pid>> {
    let this = getpid();
    let text = fs::read_to_string(format!("/proc/{this}/task/{this}/children"))?;
    Ok(text.split_ascii_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect())
}

/// The parent of a process, if there is such a process.
fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // Its name, in parentheses, may hold anything.
    let after = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = str::from_utf8(stat.get(after + 1..)?).ok()?.split_ascii_whitespace();
    Pid::from_raw(fields.nth(1)?.parse().ok()?)
}
