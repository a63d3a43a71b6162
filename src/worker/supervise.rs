//! One attempt, step by step: start the command, watch it until it ends or must be ended, and say how it ended.

use super::exec::{self, StartError};
use super::output::{Sink, last_line};
use super::team::{Plan, Running, Team};
use crate::protocol::{ClaimedJob, Verdict};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin};
use tokio::time::{sleep, timeout};

/// How long a command may take to end after SIGTERM, before SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(5);
/// The same where nobody waits for it to end well: its lease is gone, or the daemon stops.
const SHORT_GRACE: Duration = Duration::from_secs(2);
/// How long what it printed may take to be read after its end.
const READ_GRACE: Duration = Duration::from_secs(1);
/// How soon a job is ready again whose command asked for it by exit status 75.
const TRY_AGAIN_MS: u64 = 1_000;

/// Why a command is ended before it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It ran for too long.
    TimedOut,
    /// Its lease is not ours any more.
    Revoked,
    /// The worker, or the daemon, stops.
    Stopping,
    /// The daemon is gone: at once.
    Gone,
}

/// Runs one attempt. `None` if its end is nobody's business any more.
pub(super) async fn attempt(
    team: &Team,
    plan: &Plan,
    job: &ClaimedJob,
    running: &Running,
) -> Option<Verdict> {
    let mut child = match exec::start(plan, job, team.socket.as_ref()) {
        Ok(child) => child,
        Err(error @ StartError::NotACommand(_)) => {
            return Some(Verdict::FailDead { error: error.to_string() });
        }
        Err(error) => return Some(Verdict::Fail { error: error.to_string() }),
    };
    let group = child.id().and_then(|id| Pid::from_raw(id as i32));
    let sink = Sink { client: &team.client, lease: job.lease, plan };
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let printed = async {
        let out = async {
            if let Some(stdout) = stdout {
                drop(sink.drain(1, stdout).await)
            }
        };
        let err = async { if let Some(stderr) = stderr { sink.drain(2, stderr).await } else { Vec::new() } };
        tokio::join!(feed(stdin, &job.body), out, err).2
    };
    tokio::pin!(printed);
    let (ended, tail) = {
        let watch = watch(&mut child, group, job, running);
        tokio::pin!(watch);
        tokio::select! {
            ended = &mut watch => (ended, None),
            tail = &mut printed => (watch.await, Some(tail)),
        }
    };
    // What the command left behind in its group ends with it: the job is done when its command is.
    signal(group, Signal::KILL);
    let tail = match tail {
        Some(tail) => tail,
        None => timeout(READ_GRACE, &mut printed).await.unwrap_or_default(),
    };
    verdict(ended, &tail, job)
}

/// Writes the body to the command's standard input. One that does not read it is free not to.
async fn feed(stdin: Option<ChildStdin>, body: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(body).await;
    }
}

type Ended = (Option<ExitStatus>, Option<Stop>);

/// Waits for the command to end, and ends it when its time is over or somebody says so.
async fn watch(child: &mut Child, group: Option<Pid>, job: &ClaimedJob, running: &Running) -> Ended {
    let deadline = async {
        match job.timeout_ms {
            0 => std::future::pending().await,
            ms => sleep(Duration::from_millis(ms)).await,
        }
    };
    let stop = tokio::select! {
        biased;
        status = child.wait() => return (status.ok(), running.stop()),
        stop = running.stopped() => stop,
        () = deadline => Stop::TimedOut,
    };
    let grace = match stop {
        Stop::TimedOut => TERM_GRACE,
        Stop::Revoked | Stop::Stopping => SHORT_GRACE,
        Stop::Gone => Duration::ZERO,
    };
    if !grace.is_zero() {
        signal(group, Signal::TERM);
    }
    let status = match timeout(grace, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            signal(group, Signal::KILL);
            child.wait().await
        }
    };
    (status.ok(), Some(stop))
}

/// Signals the command's whole group; one that is gone needs no signal.
fn signal(group: Option<Pid>, signal: Signal) {
    if let Some(group) = group {
        let _ = kill_process_group(group, signal);
    }
}

/// How an attempt ended, by the rules of `musher work --help`.
fn verdict((status, stop): Ended, tail: &[u8], job: &ClaimedJob) -> Option<Verdict> {
    match stop {
        Some(Stop::Revoked | Stop::Gone) => return None,
        Some(Stop::Stopping) => return Some(Verdict::Release { delay_ms: 0 }),
        Some(Stop::TimedOut) => {
            let seconds = job.timeout_ms as f64 / 1000.0;
            return Some(Verdict::Fail { error: format!("timed out after {seconds} s") });
        }
        None => {}
    }
    let status = status.unwrap_or_else(|| ExitStatus::from_raw(1 << 8));
    let said = last_line(tail).map_or_else(String::new, |line| format!(": {line}"));
    Some(match (status.code(), status.signal()) {
        (Some(0), _) => Verdict::Complete,
        (Some(75), _) => Verdict::Release { delay_ms: TRY_AGAIN_MS },
        (Some(65), _) => Verdict::FailDead { error: format!("exit status 65{said}") },
        (Some(code), _) => Verdict::Fail { error: format!("exit status {code}{said}") },
        (None, signal) => Verdict::Fail { error: format!("killed by signal {}{said}", signal.unwrap_or(0)) },
    })
}
