//! The two ways to be a worker: the daemon's pool, over the connection that it inherits, and `musher work`, over
//! the socket, again and again.

use super::team::{Handler, Plan, Team};
use crate::client::{Client, ClientError};
use crate::protocol::Notice;
use crate::protocol::admin::{AdminRequest, HandlerView};
use crate::signals::{self, Signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::time::sleep;

/// How long running attempts may take to end after `musher work` was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(30);
/// How long `musher work` waits before it looks for the daemon again: from the first to the longest wait.
const RECONNECT_FIRST: Duration = Duration::from_millis(50);
const RECONNECT_LAST: Duration = Duration::from_secs(2);

/// What `musher work` is told.
#[derive(Clone, Debug)]
pub struct WorkOptions {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// What to do.
    pub plan: Plan,
}

/// The daemon's pool: standard input is its connection. Returns when the daemon is gone or has stopped: a SIGKILL
/// of the daemon ends the connection, and then the pool kills the process groups of all jobs. (A death signal from
/// the kernel would end the pool before it could do that.)
///
/// # Errors
/// It was not started by a daemon.
pub fn run_pool() -> io::Result<()> {
    // The daemon decides when its workers stop; a signal to the whole process group must not decide otherwise.
    // Handlers and not "ignore", since that would be inherited by the jobs.
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGUSR1] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let stream = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    local(async move {
        let client = Client::greet(UnixStream::from_std(stream)?).await.map_err(io::Error::other)?;
        pool(client).await.map_err(io::Error::other)
    })
}

/// Runs a future on this thread, with local tasks.
fn local<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, future)
}

async fn pool(client: Client) -> Result<(), ClientError> {
    let mut notices = client.notices().ok_or(ClientError::Unexpected)?;
    let socket = std::env::var_os("MUSHER_SOCKET").map(PathBuf::from);
    loop {
        let team = Team::new(client.clone(), socket.clone());
        team.start();
        for handler in client.ask::<Vec<HandlerView>>(AdminRequest::Handlers {}).await? {
            if handler.workers > 0 {
                team.work(plan_of(handler));
            }
        }
        match serve(&team, &mut notices).await {
            Served::Ended => return Ok(()),
            // What runs goes on under the old plan; the new one starts at once.
            Served::Reconfigured => {
                team.stop_claims();
                tokio::task::spawn_local(async move { team.idle().await });
            }
        }
    }
}

fn plan_of(handler: HandlerView) -> Plan {
    Plan {
        queues: vec![handler.queue],
        slots: handler.workers,
        handler: handler.exec.map_or(Handler::Command, Handler::Exec),
        lease_ms: None,
        output_max: handler.output_max,
        echo: false,
    }
}

enum Served {
    Ended,
    Reconfigured,
}

/// Lets a team work until the daemon, or the connection, ends it.
async fn serve(team: &Rc<Team>, notices: &mut UnboundedReceiver<Notice>) -> Served {
    loop {
        match notices.recv().await {
            Some(Notice::Stopping { grace_ms }) => {
                stop(team, Duration::from_millis(grace_ms), notices).await;
                return Served::Ended;
            }
            Some(Notice::Reconfigured) => return Served::Reconfigured,
            Some(notice) => team.notice(notice),
            None => {
                team.kill_all().await;
                return Served::Ended;
            }
        }
    }
}

/// Stops a team: what runs has `grace` to end, and is then given back. Another `Stopping` cuts it short.
async fn stop(team: &Rc<Team>, grace: Duration, notices: &mut UnboundedReceiver<Notice>) {
    team.stop_claims();
    let idle = team.idle();
    tokio::pin!(idle);
    let over = sleep(grace);
    tokio::pin!(over);
    let mut given_back = false;
    loop {
        tokio::select! {
            () = &mut idle => return,
            () = &mut over, if !given_back => {
                given_back = true;
                team.give_back();
            }
            notice = notices.recv() => match notice {
                Some(Notice::Stopping { .. }) => {
                    given_back = true;
                    team.give_back();
                }
                Some(notice) => team.notice(notice),
                None => {
                    team.kill_all().await;
                    return;
                }
            },
        }
    }
}

/// `musher work`: works until it is told to stop, and comes back after every restart of the daemon.
///
/// # Errors
/// There is no daemon at the first try, or it refused.
pub fn run_work(options: &WorkOptions) -> io::Result<Result<(), ClientError>> {
    let (stop, mut stops) = mpsc::unbounded_channel();
    let _listener = signals::listen(move |signal| {
        if signal == Signal::Drain {
            // The loop may have ended already.
            let _ = stop.send(());
        }
    })?;
    local(async { Ok(work(options, &mut stops).await) })
}

async fn work(options: &WorkOptions, stops: &mut UnboundedReceiver<()>) -> Result<(), ClientError> {
    let mut client = Client::connect(&options.socket).await?;
    loop {
        let mut notices = client.notices().ok_or(ClientError::Unexpected)?;
        let team = Team::new(client, Some(options.socket.clone()));
        team.start();
        team.work(options.plan.clone());
        loop {
            tokio::select! {
                served = serve(&team, &mut notices) => match served {
                    Served::Ended => break,
                    Served::Reconfigured => {}
                },
                _ = stops.recv() => {
                    tokio::select! {
                        _ = stop(&team, STOP_GRACE, &mut notices) => {}
                        _ = stops.recv() => {
                            team.give_back();
                            team.idle().await;
                        }
                    }
                    return Ok(());
                }
            }
        }
        tracing::warn!("the daemon is gone; waiting for it to come back");
        drop(team);
        client = match reconnect(options, stops).await {
            Some(client) => client,
            None => return Ok(()),
        };
    }
}

/// Tries until the daemon is there again; `None` if told to stop.
async fn reconnect(options: &WorkOptions, stops: &mut UnboundedReceiver<()>) -> Option<Client> {
    let mut wait = RECONNECT_FIRST;
    loop {
        tokio::select! {
            () = sleep(wait) => {}
            _ = stops.recv() => return None,
        }
        match Client::connect(&options.socket).await {
            Ok(client) => return Some(client),
            Err(_) => wait = (wait * 2).min(RECONNECT_LAST),
        }
    }
}
