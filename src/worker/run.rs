//! The two programs around the pool: the daemon's own (`musher pool`) and `musher work`. They own the process's
//! signals and its connection; what happens with jobs is the pool's.

use super::{Plan, Source, Surroundings, WorkerEnd, serve};
use crate::client::{Client, ClientError};
use crate::signals::{self, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::sleep;

/// How long running jobs may go on after the first signal to `musher work`.
const WORK_GRACE: Duration = Duration::from_secs(30);
/// The first wait before the daemon is called again; it doubles from one to the next.
const CALL_AGAIN: Duration = Duration::from_millis(100);
/// The longest.
const CALL_AGAIN_MAX: Duration = Duration::from_secs(5);

/// What `musher work` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkOptions {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// What to do.
    pub plan: Plan,
}

/// The daemon's own workers: runs what the daemon says over the socket that is this process's standard input, until
/// the connection ends or the daemon says so. A SIGKILL of the daemon ends the connection too, and then the process
/// groups of all jobs are killed. A death signal from the kernel would be worse than none: this process would be
/// gone before it could do that.
///
/// # Errors
/// It was not started by a daemon, or the daemon does not want it.
pub fn run_pool() -> io::Result<()> {
    // The daemon decides when its workers stop; a signal to the whole process group must not decide otherwise.
    // Handlers and not "ignore", since that would be inherited by the jobs.
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let socket = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    on_this_thread(async {
        let client = Client::greet(UnixStream::from_std(socket)?).await.map_err(io::Error::other)?;
        let around = Surroundings::of_this_process(std::env::var_os("MUSHER_SOCKET").map(PathBuf::from));
        let (_nobody, never) = watch::channel(None);
        match serve(&client, Source::Daemon, around, never).await {
            WorkerEnd::Stopped | WorkerEnd::Disconnected => Ok(()),
            WorkerEnd::Refused(error) => Err(io::Error::other(error)),
        }
    })
}

/// `musher work`: works until a signal says to stop. When the daemon goes away the running jobs are killed, since
/// their leases have ended, and the daemon is called until it is back.
///
/// # Errors
/// No daemon is there at the first try, or it refused.
pub fn run_work(options: &WorkOptions) -> io::Result<Result<(), ClientError>> {
    let (ask, asked) = watch::channel(None);
    let _listener = signals::listen(move |signal| {
        // A terminal that is gone ends a worker as a signal to stop does.
        if matches!(signal, Signal::Drain | Signal::Reload) {
            // The second one cuts the wait short.
            ask.send_modify(|grace| match grace.replace(Duration::ZERO) {
                Some(_) => tracing::warn!("second signal: running jobs are ended and given back"),
                None => {
                    *grace = Some(WORK_GRACE);
                    let seconds = WORK_GRACE.as_secs();
                    tracing::info!(
                        "stopping: running jobs have {seconds}s to end, a second signal ends them now"
                    );
                }
            });
        }
    })?;
    on_this_thread(async { Ok(work(options, &asked).await) })
}

/// Runs a future on this thread alone: jobs die with the thread that started them, so it must live as long as
/// the process.
fn on_this_thread<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future)
}

async fn work(options: &WorkOptions, asked: &watch::Receiver<Option<Duration>>) -> Result<(), ClientError> {
    let around = Surroundings::of_this_process(Some(options.socket.clone()));
    let mut client = Client::connect(&options.socket).await?;
    loop {
        let source = Source::Fixed(vec![options.plan.clone()]);
        let end = serve(&client, source, around.clone(), asked.clone()).await;
        match end {
            WorkerEnd::Refused(error) => return Err(error),
            _ if asked.borrow().is_some() => return Ok(()),
            WorkerEnd::Stopped => tracing::warn!("the daemon is stopping; waiting for it to come back"),
            WorkerEnd::Disconnected => tracing::warn!("the daemon is gone; waiting for it to come back"),
        }
        let mut stop = asked.clone();
        client = tokio::select! {
            client = call_again(&options.socket, &client) => client,
            _ = stop.wait_for(Option::is_some) => return Ok(()),
        };
        tracing::info!("the daemon is back");
    }
}

/// Waits until the old connection has ended, then calls until there is a new one.
async fn call_again(socket: &Path, old: &Client) -> Client {
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
