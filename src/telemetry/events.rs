//! The one table of operational log lines: every fact that operators see, in words. The rest of the daemon reports
//! *that* something happened and never words a line itself. Every message stands alone, since that is all that
//! `journalctl` shows; `job`, `queue` and `attempt` are fields besides, to search by.
//!
//! Text from outside (errors of jobs, paths, names) goes through [`escape`](super::escape()), so that nobody can forge a line.

use super::escape::{clean, escape};
use crate::config::{Place, Problem};
use crate::core::{Attempt, JobId, LeaseId, QueueName, ScheduleName, Time};
use crate::durations::{show_duration, show_point};
use crate::engine::Fact;
use crate::words::{self, counted, size};
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;
use tracing::{error, info, warn};

/// The line that takes the place of lines that were not read in time.
pub(super) fn lines_dropped(count: u64) -> String {
    let (lines, were) = if count == 1 { ("line", "was") } else { ("lines", "were") };
    format!("{count} {lines} of the log {were} dropped here: the reader of the log did not keep up")
}

/// A fact that the engine reports.
pub fn fact(fact: &Fact) {
    match fact {
        Fact::Failed { lease: LeaseId { id: job, attempt }, queue, error, retry } => match retry {
            Some(next) => job_failed(*job, queue, *attempt, error, *next),
            None => job_dead(*job, queue, *attempt, error),
        },
        Fact::CircuitOpened { queue, failed, next } => circuit_opened(queue, *failed, *next),
        Fact::CircuitClosed { queue, by_hand } => circuit_closed(queue, *by_hand),
        Fact::StoodStill { time } => stood_still(*time),
        Fact::Interrupted { jobs } => interrupted(*jobs),
        Fact::WorkersAwaited { workers, jobs, within } => workers_awaited(*workers, *jobs, *within),
        Fact::WorkerBack { jobs, lost } => worker_back(*jobs, *lost),
        Fact::Lapsed { jobs } => lapsed(*jobs),
        Fact::Dropped { queue, jobs, new } => dropped(queue, *jobs, *new),
        Fact::ScheduleStuck { schedule, error } => schedule_stuck(schedule, error),
    }
}

/// Something else is logged from here on.
pub fn log_level_set(filter: &str, by: u32) {
    // It is said however little is logged from now on, if anything is.
    error!(
        "the log has `{}` from now on, until it is changed or the daemon starts again (set by user {by})",
        escape(filter)
    );
}

/// From here on failed attempts are only counted, for a while.
pub fn failures_counted() {
    let (lines, span) = (super::flood::LINES, show_duration(super::flood::SPAN));
    warn!(
        "more than {lines} attempts failed within {span}: further ones in this span are counted and not logged; \
         `musher list --state dead` and `musher show` have their errors"
    );
}

/// How many were counted since.
pub fn failures_not_named(count: u64) {
    let attempts = counted(count, "more attempt", "more attempts");
    warn!("{attempts} failed and were not logged");
}

/// An attempt failed; the job runs again.
pub fn job_failed(job: JobId, queue: &QueueName, attempt: Attempt, error: &str, next: Time) {
    let (error, next) = (escape(error), show_point(next));
    warn!(
        job = %job, queue = %queue, attempt = attempt.0,
        "job {job} of {queue} failed in attempt {attempt}, runs again at {next}: {error}"
    );
}

/// A job is dead.
pub fn job_dead(job: JobId, queue: &QueueName, attempt: Attempt, error: &str) {
    let error = escape(error);
    error!(
        job = %job, queue = %queue, attempt = attempt.0,
        "job {job} of {queue} is dead after attempt {attempt}: {error}"
    );
}

/// A queue gives out probes only.
pub fn circuit_opened(queue: &QueueName, failed: u32, next: Time) {
    let (failed, next) = (counted(failed.into(), "attempt", "attempts"), show_point(next));
    error!(
        queue = %queue,
        "the circuit of queue {queue} is open: {failed} in a row failed; from {next} on one job at a time is tried, until one \
         succeeds (`musher queue reset-circuit {queue}` closes it at once)"
    );
}

/// A queue gives out jobs again.
pub fn circuit_closed(queue: &QueueName, by_hand: bool) {
    let why = if by_hand { "by hand" } else { "a job has succeeded" };
    info!(queue = %queue, "the circuit of queue {queue} is closed: {why}");
}

/// After a start: workers may come back.
pub fn workers_awaited(workers: u64, jobs: u64, within: Duration) {
    let (workers, jobs) = (counted(workers, "worker", "workers"), counted(jobs, "job", "jobs"));
    let within = show_duration(within);
    info!("{workers} with {jobs} had leases when the daemon ended: they have {within} to come back");
}

/// A worker is back.
pub fn worker_back(jobs: u64, lost: u64) {
    let jobs = counted(jobs, "job that runs", "jobs that run");
    match lost {
        0 => info!("a worker is back with {jobs}"),
        lost => warn!("a worker is back with {jobs}, and too late for {lost} more: those are killed"),
    }
}

/// The loop stood still.
pub fn stood_still(time: Duration) {
    warn!(
        "the daemon stood still for up to {} (stopped, asleep, or a disk that did not answer): leases are extended \
         by that time",
        show_duration(time)
    );
}

/// Workers, or the daemon under them, vanished.
pub fn interrupted(jobs: u64) {
    warn!("workers vanished while they ran {}; these will run again", words::jobs(jobs));
}

/// Jobs were dropped for want of room.
pub fn dropped(queue: &QueueName, jobs: u64, new: bool) {
    let (jobs, which) = (words::jobs(jobs), if new { "new" } else { "old" });
    warn!(queue = %queue, "queue {queue} is full: {jobs} dropped (full = \"drop-{which}\")");
}

/// From here on dropped jobs are only counted, for a while.
pub fn drops_counted() {
    let (lines, span) = (super::flood::LINES, show_duration(super::flood::SPAN));
    warn!(
        "more than {lines} times jobs were dropped within {span}: further times in this span are not logged; `musher queues` \
         has their numbers"
    );
}

/// How many times were not logged since.
pub fn drops_not_named(count: u64) {
    let times = counted(count, "more time", "more times");
    warn!("jobs were dropped {times}, which was not logged");
}

/// Leases expired, and their workers had not been heard of meanwhile.
pub fn lapsed(jobs: u64) {
    let jobs = words::jobs(jobs);
    warn!("the leases of {jobs} expired without word from their workers; these will run again");
}

/// A schedule has no times just now.
pub fn schedule_stuck(schedule: &ScheduleName, error: &str) {
    warn!(schedule = %schedule, "schedule {schedule} cannot run: {}; it is tried again in an hour", clean(error));
}

/// A schedule of the configuration is not used.
pub fn schedule_refused(schedule: &ScheduleName, why: &dyn Display) {
    error!(schedule = %schedule, "{}", clean(why));
}

/// What recovery found.
pub fn recovered(data: &Path, jobs: u64, commits: u64, took: Duration) {
    let (data, took) = (clean(data.display()), show_duration(took));
    let (jobs, commits) = (words::jobs(jobs), counted(commits, "commit", "commits"));
    info!("recovered {jobs} from {data} in {took}, with {commits} from the log");
}

/// By how many milliseconds the daemon's clock is ahead of the wall clock at the start.
pub fn clock_has_diverged(ahead_ms: i64) {
    if ahead_ms != 0 {
        warn!(
            ahead_ms,
            "the newest commit is {} ahead of the wall clock, which was set back or is wrong now; the daemon's own \
             clock goes on from that commit, and times given with --at follow the wall clock",
            show_duration(Duration::from_millis(ahead_ms.unsigned_abs()))
        );
    }
}

/// The socket was deleted by somebody, and is there again.
pub fn socket_renewed(path: &Path) {
    warn!("the socket {} had been deleted and was made again", clean(path.display()));
}

/// The socket is gone and cannot be made again.
pub fn socket_gone(path: &Path, why: &str) {
    error!(
        "the socket {} is gone, so nobody can connect any more, and it was not made again: {}. SIGHUP (`systemctl reload`) \
         tries once more",
        clean(path.display()),
        escape(why)
    );
}

/// Something else is in the socket's place.
pub fn socket_taken(path: &Path) {
    error!(
        "{} is not this daemon's socket any more: somebody has put something else there. It is left alone; when it \
         is removed, SIGHUP (`systemctl reload`) makes the socket again",
        clean(path.display())
    );
}

/// Something in the output directory is not a job's output, or cannot be read.
pub fn unexpected_output(path: &Path, why: &str) {
    warn!("{} is left alone: {}", clean(path.display()), escape(why));
}

/// There are more of these.
pub fn unexpected_outputs(folder: &Path, count: u64) {
    warn!("{count} more files or directories in {} are left alone", clean(folder.display()));
}

/// Others could look into the data.
pub fn data_was_open(data: &Path, mode: u32) {
    warn!(
        "the data directory {} was open to other users (mode {mode:04o}), and so were the files in it: now only its \
         owner can read them",
        clean(data.display())
    );
}

/// Others can look into the data, and that cannot be changed.
pub fn data_is_open(path: &Path, error: &std::io::Error) {
    warn!("{} is open to other users, and its mode cannot be changed: {error}", clean(path.display()));
}

/// Ready to serve.
pub fn started(version: &str, socket: &Path, data: &Path) {
    let (socket, data) = (clean(socket.display()), clean(data.display()));
    info!("musher {version} serves {socket} with data in {data}");
}

/// The drain has begun.
pub fn draining(running: u64, within: Duration) {
    let running = counted(running, "running job", "running jobs");
    info!("draining: {running}, with {} to end", show_duration(within));
}

/// A second signal came during the drain.
pub fn second_signal() {
    warn!("second signal: running jobs are ended now; they will run again, and the attempt does not count");
}

/// Nothing runs any more.
pub fn closing() {
    info!("closing: changes are written to the database, or stay in the log if they are many");
}

/// The last line.
pub fn stopped() {
    info!("stopped; everything acknowledged is on disk");
}

/// A reload that changed what it could; `restart` names the keys that it could not change.
pub fn reloaded(restart: &[&str]) {
    match restart {
        [] => info!("configuration reloaded"),
        keys => warn!("configuration reloaded, but a restart is needed for {}", keys.join(", ")),
    }
}

/// HTTP is served, to so many.
pub fn http_started(place: &Place, tls: bool, tokens: usize) {
    let scheme = if tls { "HTTPS" } else { "HTTP" };
    info!("serving {scheme} at {place}, with {}", counted(tokens as u64, "token", "tokens"));
}

/// beanstalkd's protocol is spoken; by TCP, for one user.
pub fn beanstalk_started(place: &Place, user: Option<u32>) {
    match user {
        Some(user) => info!("speaking beanstalkd's protocol at {place}, to all who connect as user {user}"),
        None => info!("speaking beanstalkd's protocol at {place}"),
    }
}

/// A file of the HTTP front cannot be used; what was read before holds.
pub fn secrets_refused(error: &dyn Display) {
    error!("HTTP goes on with the tokens and the certificate of before: {}", clean(error));
}

/// The collector takes no spans; said once, until it does.
pub fn spans_are_not_sent(place: &dyn Display, why: &str, is_tried_again: bool) {
    let outlook = match is_tried_again {
        true => "they wait, and it is tried again",
        false => "they are lost",
    };
    warn!(
        "spans cannot be sent to {place}: {}; {outlook} (musher_spans_lost_total of /metrics counts)",
        clean(why)
    );
}

/// It does.
pub fn spans_are_sent_again() {
    info!("spans are sent again");
}

/// No spans are recorded in this life.
pub fn no_spans(error: &dyn Display) {
    error!("no spans are sent (daemon.otlp): {}", clean(error));
}

/// A configuration that cannot be used; the old one stays. One line for each problem.
pub fn reload_refused(problems: &[Problem]) {
    for problem in problems {
        error!("{}", clean(problem));
    }
    error!(
        "configuration not reloaded, the old one stays: {}",
        counted(problems.len() as u64, "error", "errors")
    );
}

/// Warnings about the configuration. One line for each.
pub fn config_warnings(warnings: &[Problem]) {
    for warning in warnings {
        warn!("{}", clean(warning));
    }
}

/// The pool of workers failed and was started again.
pub fn worker_pool_restarted(why: &str) {
    error!("the daemon's workers failed and were started again; their jobs will run again: {}", escape(why));
}

/// The workers of a daemon that was killed do not end.
pub fn former_pool_lives(waited: Duration) {
    error!("workers of the previous daemon are still running after {waited:?}: their jobs may run twice");
}

/// A pool has ended, and what its jobs have started has not.
pub fn processes_do_not_die(waited: Duration) {
    let waited = show_duration(waited);
    error!(
        "SIGKILL has not ended all processes of the previous workers within {waited}: their jobs do not run again \
         until it has"
    );
}

/// Submits are refused from now on.
pub fn room_short(why: &str) {
    error!("{}", escape(why));
}

/// Submits are taken again.
pub fn room_again() {
    info!("there is room again; submits are taken");
}

/// The database's file was rewritten: its bytes before and after.
pub fn shrunk(before: u64, after: u64) {
    let [was, is, given_back] = [before, after, before.saturating_sub(after)].map(size);
    info!(
        file_bytes_before = before,
        file_bytes_after = after,
        "the database was rewritten: {is} instead of {was}, {given_back} given back to the disk"
    );
}

/// The rewrite failed.
pub fn not_shrunk(why: &str) {
    warn!("the database could not be rewritten to give space back: {}", escape(why));
}

/// Connections are refused at the limit. Said once until there is room again.
pub fn connections_full(limit: usize) {
    warn!("{limit} connections are open (limits.connections): further ones are refused");
}

/// A request was refused by a protocol that has no words for the reason.
pub fn request_refused(what: &str, uid: u32, why: &str) {
    warn!("`{}` of user {uid} was refused: {}", escape(what), escape(why));
}

/// A connection was closed because all together held too much.
pub fn connection_shed(bytes: usize) {
    warn!(
        "too much is unread or unsent on all connections together (limits.buffers): the connection that had held its \
         {bytes} bytes the longest was closed"
    );
}

/// The state, as asked for by SIGUSR1. One log line for each line.
pub fn state_dump(lines: impl IntoIterator<Item = String>) {
    for line in lines {
        info!("state: {}", escape(&line));
    }
}

/// A node cannot reach the servers of its cluster yet. It goes on trying.
pub fn servers_do_not_answer(why: &str) {
    tracing::warn!("the cluster's servers cannot be used yet, which is tried again and again: {why}");
}

/// Two nodes have one name.
pub fn node_is_double(node: &str) {
    tracing::error!(
        node,
        "another daemon says that it is node `{node}` of the cluster too: give each node a name of its own (cluster.node)"
    );
}

/// A node has all that the owner has committed so far.
pub fn standing_by(node: &str, jobs: u64, commit: u64) {
    tracing::info!(node, jobs, commit, "standing by: this node takes in what the cluster's owner commits");
}

/// A node is the owner now.
pub fn took_over(node: &str, epoch: u64, commit: u64) {
    tracing::info!(node, epoch, commit, "this node has taken over: it runs the queue");
}

/// A node gives the queue to another one, as it was told.
pub fn hands_over(heir: &str, running: u64) {
    let running = counted(running, "running job", "running jobs");
    info!(heir, "this node gives the queue to another one: {running} to end before; then it stands by");
}

/// A node has nothing from which it could read the stream, and copies everything from the owner.
pub fn copies_from_owner(why: &str) {
    tracing::info!("this node copies all jobs from the cluster's owner: {why}");
}

/// The process of a shard has ended, and is started again.
pub fn shard_ended(shard: usize, how: &str) {
    warn!(shard, "the process of shard {shard} has ended, and is started again: {how}");
}

/// The process of a shard hangs.
pub fn shard_is_silent(shard: usize) {
    tracing::error!(shard, "the process of shard {shard} says nothing any more, and is killed");
}

/// So many connections wait for a shard that one more was closed.
pub fn shard_takes_no_more(shard: usize, waiting: usize) {
    warn!(shard, "{waiting} connections wait for shard {shard}, and another one was closed");
}
