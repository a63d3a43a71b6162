//! The pool of workers of a daemon: its process, for as long as the daemon runs.

use crate::fronts::Native;
use crate::process::Inherited;
use crate::server::{self, Hub};
use crate::store::Store;
use crate::telemetry::events;
use crate::worker::{Cgroups, OOM_ENV, Orphans, POOL_LOCK_ENV};
use rustix::process::Pid;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

/// How long the pool may take to end once the daemon has stopped.
pub(super) const POOL_GRACE: Duration = Duration::from_secs(2);
/// How long to wait before a pool that failed is started again.
const POOL_PAUSE: Duration = Duration::from_secs(1);

/// What the pool is started with.
pub(super) struct PoolSpec {
    pub(super) socket: PathBuf,
    /// The file that it locks.
    pub(super) lock: PathBuf,
    /// What it adds to the daemon's, for itself and its jobs.
    pub(super) oom_score_adj: u16,
    /// Who ends what it leaves.
    pub(super) orphans: Orphans,
    /// What its jobs get back.
    pub(super) inherited: Inherited,
}

/// Keeps the pool alive: a process of its own, so that a start of a job never copies the daemon's memory, and so
/// that jobs outlive a daemon that is killed.
pub(super) async fn keep_pool<S: Store + 'static>(hub: Rc<Hub<S>>, spec: PoolSpec) {
    loop {
        match run_pool(&hub, &spec).await {
            // It ends by itself once the daemon stops and its last job has ended.
            Ok(status) if status.success() && hub.is_stopping() => return,
            Ok(status) => events::worker_pool_restarted(&status.to_string()),
            Err(error) => events::worker_pool_restarted(&error.to_string()),
        }
        tokio::time::sleep(POOL_PAUSE).await;
    }
}

async fn run_pool<S: Store + 'static>(hub: &Rc<Hub<S>>, spec: &PoolSpec) -> io::Result<ExitStatus> {
    let Inherited { umask, files } = spec.inherited;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    // While this is open the connection has not ended, and its leases are in force: until nothing of its jobs is left.
    let held = theirs.try_clone()?;
    let mut child = tokio::process::Command::new("/proc/self/exe")
        .arg0("musher")
        .arg("pool")
        .args(["--umask", &umask.to_string()])
        .args(files.iter().flat_map(|files| ["--files".to_owned(), files.to_string()]))
        .env("MUSHER_SOCKET", &spec.socket)
        // Where the daemon is, not where it was started.
        .env("PWD", "/")
        .env(POOL_LOCK_ENV, &spec.lock)
        .env(OOM_ENV, spec.oom_score_adj.to_string())
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        // Ctrl-C goes to a whole group, and would end a job that is just being started.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    ours.set_nonblocking(true)?;
    server::serve_pool::<Native, _>(hub, ours, child.id().unwrap_or(0))?;
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
    pid.inspect(|pid| spec.orphans.spare(*pid));
    let status = child.wait().await;
    pid.inspect(|pid| spec.orphans.forget(*pid));
    let orphans = spec.orphans.clone();
    let cleared = tokio::task::spawn_local(async move {
        Cgroups::clear();
        orphans.end().await;
        Cgroups::clear();
        drop(held);
    });
    // A process that hangs in the kernel must not leave the daemon without workers. Its job waits for it alone.
    if tokio::time::timeout(POOL_GRACE, cleared).await.is_err() {
        events::processes_do_not_die(POOL_GRACE);
    }
    status
}
