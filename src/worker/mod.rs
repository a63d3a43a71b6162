//! The worker: claims jobs like any client, runs a process for each or sends it to a web server, settles by how that
//! ended. The daemon's own pool ([`run_pool`], a child process of the daemon) and `musher work` ([`run_kept`]) are the
//! same code: they differ in where the plans come from and in what the end of the connection means.
//!
//! The pool is a process of its own so that the daemon never forks from its large memory, and so that its jobs outlive a
//! daemon that is killed: it finishes them under the next one, as `musher work` goes on with its own. And
//! every process that runs jobs has a parent: if it is killed, the parent kills what is left of its jobs before the
//! end of its connection lets the daemon give them out again. The parent of the pool is the daemon, that of `musher
//! work` its keeper.
//!
//! # Layout
//! - `pool`: one loop owns all slots (`lanes`, `ahead`), leases (`leases`) and deadlines; everything else sends it
//!   events.
//!   What it does while the daemon is away is in `pool/away`.
//! - `attempt`: one run as named steps: start, watch, settle.
//! - `exec`: what a job's process is given; `spawn`: how it is started; `user`: whose rights it has; `supervise`:
//!   when it is stopped, and how.
//! - `files`: what a process reads and leaves as checkpoint and result; `keeping`: how that reaches the daemon.
//! - `push`: the same for a job that is sent to a web server and has no process.
//! - `excerpt`: a line of what either has said, for an error.
//! - `orphans`: what jobs leave behind; `cgroups`: the same by the kernel, where it may be. `keeper`: the parent of
//!   `musher work`. `pool_lock`: one pool a directory.
//! - `oom`: jobs before the daemon when memory runs out.
//! - `output`: what it prints, to the daemon; `echo`: the same here. `run`: the two programs around it all.
//!
//! Nothing here knows the core, the store or the engine: the protocol is all there is.

mod ahead;
mod attempt;
mod cgroups;
mod echo;
mod excerpt;
mod exec;
mod files;
mod keeper;
mod keeping;
mod lanes;
mod leases;
mod oom;
mod orphans;
mod output;
mod pool;
mod pool_lock;
mod push;
mod run;
mod spawn;
mod supervise;
mod tail;
#[cfg(test)]
mod tests;
mod user;

pub use cgroups::Cgroups;
pub use keeper::{KEPT_ENV, keep};
pub use oom::OOM_ENV;
pub use orphans::Orphans;
use pool::serve;
pub use pool_lock::{POOL_LOCK_ENV, PoolLock};
pub use run::{WorkOptions, run_kept, run_pool};

use crate::client::ClientError;
use crate::notify::PRIVATE_ENV;
use crate::protocol::admin::HandlerView;
use crate::views::PushView;
use files::FilesOfJobs;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

/// Variables with which our own processes tell each other something.
const OWN_ENV: [&str; 4] = [KEPT_ENV, POOL_LOCK_ENV, OOM_ENV, cgroups::DELEGATED_ENV];

/// What to run, for some queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The queues, the first one preferred.
    pub queues: Vec<String>,
    /// How many jobs at a time.
    pub slots: u32,
    /// What runs them.
    pub handler: Handler,
    /// How long a lease lasts, in milliseconds; the queue's setting if not given. Leases are prolonged while the
    /// job runs, so this is how long it takes until a vanished worker is noticed.
    pub lease_ms: Option<u64>,
    /// The bytes of output kept of one job.
    pub output_max: u64,
    /// Whether what jobs print is printed here as well.
    pub echo: bool,
    /// The longest answer of a web server that is kept as a result, in bytes.
    pub result_max: usize,
}

impl From<HandlerView> for Plan {
    fn from(view: HandlerView) -> Plan {
        Plan {
            queues: vec![view.queue],
            slots: view.workers,
            handler: match (view.exec, view.http) {
                (Some(argv), _) => Handler::Exec(argv),
                (None, Some(push)) => Handler::Http(push),
                (None, None) => Handler::Command,
            },
            lease_ms: None,
            output_max: view.output_max,
            echo: false,
            result_max: view.result_max,
        }
    }
}

/// What runs a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handler {
    /// This command, with the job's body on standard input.
    Exec(Vec<String>),
    /// It is sent there; what is answered says how it ended.
    Http(PushView),
    /// The job's body says it ([`CommandJob`](crate::protocol::CommandJob)); standard input is empty.
    Command,
}

/// What keeps a handler from being started by this process, as far as can be seen without doing so.
pub fn obstacle(handler: &Handler) -> Option<String> {
    exec::obstacle(handler, &Surroundings::of_this_process(None)).map(|error| error.to_string())
}

/// Where the plans come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The daemon is asked, and asked again when its configuration has changed.
    Daemon,
    /// They do not change.
    Fixed(Vec<Plan>),
}

/// What jobs get from the process that runs them.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The daemon's socket, for `MUSHER_SOCKET`.
    pub socket: Option<PathBuf>,
    /// What [`Handler::Exec`] jobs inherit. Command jobs bring their own.
    pub environment: Vec<(OsString, OsString)>,
    /// Where a process of its own runs jobs: what sees to it that nothing of a job outlives it.
    pub orphans: Option<Orphans>,
    /// Where it may make them: a control group for each job.
    pub cgroups: Option<Cgroups>,
    /// Where the files of jobs are.
    files: Arc<FilesOfJobs>,
}

impl Surroundings {
    /// Those of this process, with the daemon's socket if it is known.
    pub fn of_this_process(socket: Option<PathBuf>) -> Surroundings {
        let environment = std::env::vars_os()
            .filter(|(name, _)| !PRIVATE_ENV.iter().chain(&OWN_ENV).any(|private| name == private))
            .collect();
        Surroundings { socket, environment, orphans: None, cgroups: None, files: Arc::default() }
    }
}

/// Why `serve` returned. In every case all processes of jobs are gone.
#[derive(Debug)]
pub enum WorkerEnd {
    /// It was told to stop, by its own process or by the daemon.
    Stopped,
    /// The connection ended for good; the leases of what ran ended with it.
    Disconnected,
    /// The daemon refuses the work in a way that trying again does not mend.
    Refused(ClientError),
}
