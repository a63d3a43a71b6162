//! The two programs around the pool: the daemon's own (`musher pool`) and the one below the keeper of `musher work`.
//! They own the connection of the process; the pool does everything with jobs.

use super::echo;
use super::keeper::Keeper;
use super::oom::{self, OOM_ENV};
use super::pool::{Back, Finish};
use super::pool_lock::{POOL_LOCK_ENV, PoolLock};
use super::{Cgroups, Orphans, Plan, Source, Surroundings, WorkerEnd, serve};
use crate::client::resuming::Dial;
use crate::client::{Again, Client, ClientError, uneven};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};
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
/// How long the end of this process waits for what SIGKILL does not end at once.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// The arguments of `musher work`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkOptions {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// What to do.
    pub plan: Plan,
    /// By how much likelier than this process was its jobs are killed when memory runs out: 0 to 1000.
    pub oom_score_adj: u16,
}

/// The daemon's own workers: runs what the daemon says over the socket that is this process's standard input, until
/// the daemon says that it stops. When the connection ends otherwise the daemon was killed: then no more jobs are taken, and
/// those that run go on, under the next daemon, to which this process is a worker that has come back.
///
/// # Errors
/// It was not started by a daemon, or the daemon does not want it.
pub fn run_pool() -> io::Result<()> {
    // The daemon decides when its workers stop; a signal to the whole process group must not decide otherwise.
    heed_no_signals()?;
    let place = std::env::var_os(POOL_LOCK_ENV).map(PathBuf::from);
    let lock = place.as_deref().map(PoolLock::take).transpose()?;
    let _lives = place.as_deref().map(|place| PoolLock::share(&PoolLock::of_all(place))).transpose()?;
    let adj = std::env::var(OOM_ENV).ok().and_then(|adj| adj.parse().ok());
    oom::go_first(adj.unwrap_or_default());
    let orphans = Orphans::adopt()?;
    let socket = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    on_this_thread(async {
        let client = Client::greet(UnixStream::from_std(socket)?).await.map_err(io::Error::other)?;
        let mut around = Surroundings::of_this_process(std::env::var_os("MUSHER_SOCKET").map(PathBuf::from));
        let finish = lock.zip(place).map(|(lock, place)| Finish::new(lock, place));
        let back = around.socket.clone().zip(finish).map(|(socket, finish)| {
            let dial: Dial = Arc::new(move || Box::pin(Client::connect(socket.clone())));
            Back { name: "pool", dial, finish: Some(finish) }
        });
        around.orphans = Some(orphans.clone());
        around.cgroups = cgroups();
        let (_nobody, never) = watch::channel(None);
        let end = serve(&client, Source::Daemon, around, back, never).await;
        // The connection ends with the runtime: nothing of a job may be left then.
        end_all_jobs(&orphans);
        match end {
            WorkerEnd::Stopped | WorkerEnd::Disconnected => Ok(()),
            WorkerEnd::Refused(error) => Err(io::Error::other(error)),
        }
    })
}

/// The control groups that jobs get here, if they get any.
fn cgroups() -> Option<Cgroups> {
    Cgroups::delegated().unwrap_or_else(|error| {
        tracing::warn!("jobs get no control groups, though one is delegated: {error}");
        None
    })
}

/// Ends what jobs have left in this process's charge, when no more are started.
fn end_all_jobs(orphans: &Orphans) {
    Cgroups::clear();
    orphans.end_all(LAST_PATIENCE);
    Cgroups::clear();
}

/// Handlers and not "ignore", since that would be inherited by the jobs.
fn heed_no_signals() -> io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// The process that does the work of `musher work`, below its keeper (`keeper.rs`): works until the keeper says to
/// stop. When the daemon goes away the running jobs run on, and the daemon is called until it is back; those whose leases have
/// ended meanwhile are killed. When the keeper goes away, all jobs are killed and this process ends.
///
/// # Errors
/// No daemon is there at the first try, or it refused; or it was not started by a keeper.
pub fn run_kept(options: &WorkOptions) -> io::Result<Result<(), ClientError>> {
    heed_no_signals()?;
    oom::go_first(options.oom_score_adj);
    let orphans = Orphans::adopt()?;
    let ended = on_this_thread(async {
        let keeper = Arc::new(Keeper::at_stdin()?);
        let (ask, asked) = watch::channel(None);
        let end = tokio::select! {
            biased;
            gone = keeper.obey(|| stop_soon(&ask)) => gone,
            end = work(options, &keeper, &orphans, &asked) => end,
        };
        // The connection ends with the runtime, none of whose tasks runs before that: nothing of a job may be left then.
        end_all_jobs(&orphans);
        end
    });
    echo::flush();
    ended
}

fn stop_soon(ask: &watch::Sender<Option<Duration>>) {
    // The second one cuts the wait short.
    ask.send_modify(|grace| match grace.replace(Duration::ZERO) {
        Some(_) => tracing::warn!("second signal: running jobs are ended and given back"),
        None => {
            *grace = Some(WORK_GRACE);
            let seconds = WORK_GRACE.as_secs();
            tracing::info!("stopping: running jobs have {seconds}s to end, a second signal ends them now");
        }
    });
}

/// Runs a future on this thread alone: jobs die with the thread that started them, so it must live as long as
/// the process.
fn on_this_thread<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    // All tasks end here, but a name that is being looked up, which may take long, is not waited for.
    runtime.shutdown_background();
    result
}

async fn work(
    options: &WorkOptions,
    keeper: &Arc<Keeper>,
    orphans: &Orphans,
    asked: &watch::Receiver<Option<Duration>>,
) -> io::Result<Result<(), ClientError>> {
    let mut around = Surroundings::of_this_process(Some(options.socket.clone()));
    around.orphans = Some(orphans.clone());
    around.cgroups = cgroups();
    let mut client = match call(&options.socket, keeper).await {
        Ok(client) => client,
        Err(error) => return Ok(Err(error)),
    };
    loop {
        let source = Source::Fixed(vec![options.plan.clone()]);
        let dial = dial(&options.socket, keeper);
        let back = Back { name: "musher work", dial, finish: None };
        let end = serve(&client, source, around.clone(), Some(back), asked.clone()).await;
        match end {
            WorkerEnd::Refused(error) => return Ok(Err(error)),
            _ if asked.borrow().is_some() => return Ok(Ok(())),
            WorkerEnd::Stopped => tracing::warn!("the daemon is stopping; waiting for it to come back"),
            WorkerEnd::Disconnected => tracing::warn!("the daemon is gone; waiting for it to come back"),
        }
        let mut stop = asked.clone();
        client = tokio::select! {
            client = call_again(&options.socket, keeper, &client) => client,
            _ = stop.wait_for(Option::is_some) => return Ok(Ok(())),
        };
        tracing::info!("the daemon is back");
    }
}

/// How the pool gets another connection by itself.
fn dial(socket: &Path, keeper: &Arc<Keeper>) -> Dial {
    let (socket, keeper): (Arc<Path>, _) = (socket.into(), keeper.clone());
    Arc::new(move || {
        let (socket, keeper) = (socket.clone(), keeper.clone());
        Box::pin(async move { call(&socket, &keeper).await })
    })
}

/// Connects, and has the keeper hold the connection too before it carries anything.
async fn call(path: &Path, keeper: &Keeper) -> Result<Client, ClientError> {
    let failed = |source| ClientError::Connect { path: path.to_path_buf(), source };
    Client::connect_by(|| async {
        let stream = UnixStream::connect(path).await.map_err(failed)?;
        keeper.hold(&stream).map_err(failed)?;
        Ok(stream)
    })
    .await
}

/// Waits until the old connection has ended, then calls until there is a new one.
async fn call_again(socket: &Path, keeper: &Keeper, old: &Client) -> Client {
    old.closed().await;
    let mut again = Again::default();
    loop {
        sleep(uneven(again.wait())).await;
        if let Ok(client) = call(socket, keeper).await {
            return client;
        }
    }
}
