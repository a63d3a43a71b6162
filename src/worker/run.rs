//! The two programs around the pool: the daemon's own (`musher pool`) and `musher work`. They own the process's
//! signals and its connection; what happens with jobs is the pool's.

use super::{Handler, Plan, Source, Surroundings, WorkerEnd, serve};
use crate::client::{Client, ClientError};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long running jobs may go on after the first signal to `musher work`.
const WORK_GRACE: Duration = Duration::from_secs(30);
/// The first wait before the daemon is called again; it doubles from one to the next.
const CALL_AGAIN: Duration = Duration::from_millis(100);
/// The longest.
const CALL_AGAIN_MAX: Duration = Duration::from_secs(5);
/// The bytes of output kept of one job of `musher work`; the daemon may keep less.
const WORK_OUTPUT_MAX: u64 = 1 << 20;

// Exit codes, as for every verb.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const UNREACHABLE: i32 = 69;

/// What `musher work` is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkOptions {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The queues, the first one preferred.
    pub queues: Vec<String>,
    /// How many jobs at a time.
    pub jobs: u32,
    /// The command.
    pub argv: Vec<String>,
    /// How long a lease lasts, in milliseconds; the queue's setting if not given.
    pub lease_ms: Option<u64>,
}

/// Runs `musher pool` on a runtime of its own; the exit code.
pub fn pool_main() -> i32 {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run_pool()),
        Err(error) => complain(FAILED, &format!("the worker pool cannot start: {error}")),
    }
}

/// The daemon's own workers: runs what the daemon says over the socket that is this process's standard input,
/// until the connection ends; the exit code. Must run on a current-thread runtime.
pub async fn run_pool() -> i32 {
    // The end of the connection says that the daemon is gone, and then everything is killed. This is the second
    // string. It must not be SIGKILL: this process would die before the jobs' process groups have been killed.
    // Was the daemon gone before this line? Then the connection has ended too.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        tracing::warn!("the worker pool cannot ask for a signal at the daemon's end: {error}");
    }
    // The daemon decides what a signal to the whole foreground group means.
    let stop = match ignore(&[SIGINT, SIGHUP, SIGUSR1]).and_then(|()| Stop::at(&[SIGTERM], Duration::ZERO)) {
        Ok(stop) => stop,
        Err(error) => return complain(FAILED, &format!("the worker pool cannot handle signals: {error}")),
    };
    let client = match connect_standard_input().await {
        Ok(client) => client,
        Err(error) => {
            let text =
                format!("standard input is no connection to a daemon ({error}); `pool` is the daemon's own");
            return complain(USAGE, &text);
        }
    };
    let socket = std::env::var_os("MUSHER_SOCKET").map(PathBuf::from);
    match serve(&client, Source::Daemon, Surroundings::of_this_process(socket), stop.asked).await {
        WorkerEnd::Stopped | WorkerEnd::Disconnected => 0,
        WorkerEnd::Refused(error) => complain(FAILED, &format!("the worker pool ends: {error}")),
    }
}

async fn connect_standard_input() -> Result<Client, ClientError> {
    let broken = |error: io::Error| ClientError::Closed(format!(": {error}"));
    let socket = io::stdin().as_fd().try_clone_to_owned().map_err(broken)?;
    let socket = std::os::unix::net::UnixStream::from(socket);
    socket.set_nonblocking(true).map_err(broken)?;
    Client::greet(UnixStream::from_std(socket).map_err(broken)?).await
}

/// `musher work`: runs a command for each job until a signal comes; the exit code. When the daemon goes away the
/// running jobs are killed, since their leases have ended, and the daemon is called until it is back. Must run on
/// a current-thread runtime.
pub async fn run_work(options: WorkOptions) -> i32 {
    let stop = match Stop::at(&[SIGTERM, SIGINT, SIGHUP], WORK_GRACE) {
        Ok(stop) => stop,
        Err(error) => return complain(FAILED, &format!("signals cannot be handled: {error}")),
    };
    let around = Surroundings::of_this_process(Some(options.socket.clone()));
    let plan = Plan {
        queues: options.queues,
        slots: options.jobs,
        handler: Handler::Exec(options.argv),
        lease_ms: options.lease_ms,
        output_max: WORK_OUTPUT_MAX,
        echo: true,
    };
    let mut client = match Client::connect(&options.socket).await {
        Ok(client) => client,
        Err(error) => return complain(UNREACHABLE, &error.to_string()),
    };
    loop {
        let source = Source::Fixed(vec![plan.clone()]);
        let end = serve(&client, source, around.clone(), stop.asked.clone()).await;
        match end {
            WorkerEnd::Refused(error) => return complain(FAILED, &error.to_string()),
            WorkerEnd::Stopped | WorkerEnd::Disconnected if stop.is_asked() => return 0,
            WorkerEnd::Stopped => complain(0, "the daemon is stopping; waiting for it to come back"),
            WorkerEnd::Disconnected => complain(0, "the daemon is gone; waiting for it to come back"),
        };
        client = tokio::select! {
            client = call_again(&options.socket, &client) => client,
            () = stop.wait() => return 0,
        };
        complain(0, "the daemon is back");
    }
}

/// Waits until the old connection has ended, then calls until there is a new one.
async fn call_again(socket: &PathBuf, old: &Client) -> Client {
    old.closed().await;
    let mut wait = CALL_AGAIN;
    loop {
        sleep(wait).await;
        if let Ok(client) = Client::connect(socket).await {
            return client;
        }
        wait = (wait * 2).min(CALL_AGAIN_MAX);
    }
}

/// Says something to the person at the terminal.
fn complain(code: i32, text: &str) -> i32 {
    eprintln!("musher: {text}");
    code
}

/// The wish to stop, made by signals.
struct Stop {
    /// `None` until the first signal; then how long running jobs may go on.
    asked: watch::Receiver<Option<Duration>>,
}

impl Stop {
    /// The first of these signals asks to stop within `grace`, each further one to stop at once.
    fn at(signals: &[i32], grace: Duration) -> io::Result<Stop> {
        let (read, write) = std::os::unix::net::UnixStream::pair()?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
        }
        read.set_nonblocking(true)?;
        let mut read = UnixStream::from_std(read)?;
        let (ask, asked) = watch::channel(None);
        tokio::spawn(async move {
            let mut grace = grace;
            while read.read_u8().await.is_ok() && ask.send(Some(grace)).is_ok() {
                grace = Duration::ZERO;
            }
        });
        Ok(Stop { asked })
    }

    fn is_asked(&self) -> bool {
        self.asked.borrow().is_some()
    }

    async fn wait(&self) {
        // An error means that nobody listens to signals any more: this process ends.
        let _ = self.asked.clone().wait_for(Option::is_some).await;
    }
}

/// Has signals do nothing here. A handler, unlike `SIG_IGN`, is not inherited by the jobs.
fn ignore(signals: &[i32]) -> io::Result<()> {
    for signal in signals {
        signal_hook::flag::register(*signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}
