//! Views of one job, and of the ends of jobs.

use super::commands;
use crate::clock::Clock;
use crate::core::{
    Beside, Condition, Edge, Exit, Failure, GroupNo, Job, JobId, JobState, Lease, OnUnmet, State, StateKind,
    Target, Time, UniqueWhile, Worker,
};
use crate::engine::End;
use crate::server::fault::Fault;
use crate::server::hub::Hub;
use crate::server::peer::Peer;
use crate::server::requests::not_found;
use crate::store::{Envelope, Store};
use crate::views::{
    BACKOFF_KINDS, BackoffView, EndView, FailureView, JobView, ProgressView, WaitView, WorkerView,
};
use std::time::Duration;

/// A job, and what it runs. The end of its standard error is read by [`stderr_tail`].
pub(crate) fn job<S: Store + 'static>(hub: &Hub<S>, peer: &Peer, id: JobId) -> Result<JobView, Fault> {
    let permissions = hub.permissions(peer);
    let job = hub.engine.borrow().core().state.job(id).filter(|job| permissions.reads(&job.spec)).cloned();
    let job = job.ok_or_else(|| not_found(id))?;
    let (command, _) = commands::of(hub, id, &job);
    let tags = match job.spec.has_envelope {
        true => hub.engine.borrow_mut().peek_envelope(id).map_or(Written::Unread, Written::Read),
        false => Written::default(),
    };
    Ok(JobView { command, ..view(hub, id, &job, tags) })
}

/// Adds the end of standard error of a job's newest failure, if it printed any.
pub(crate) async fn stderr_tail<S: Store + 'static>(hub: &Hub<S>, view: &mut JobView) {
    if let Some(attempt) = printing_failure(hub, view) {
        view.stderr_tail = hub.outputs.stderr_tail(JobId(view.id), attempt).await;
    }
}

/// The failure whose standard error is worth reading.
fn printing_failure<S: Store + 'static>(hub: &Hub<S>, view: &JobView) -> Option<u32> {
    let failed = view.failures.last().map(|failure| failure.attempt);
    failed.filter(|_| hub.outputs.has(JobId(view.id)))
}

/// How jobs have ended.
pub(crate) fn ends(ends: Vec<End>) -> Vec<EndView> {
    let name = |state: Option<StateKind>| state.map_or("gone", StateKind::name).to_owned();
    let view = |end: End| {
        let (exit_status, exit_signal) = exits(end.exit);
        let error = end.error.map(Into::into);
        EndView { id: end.id.0, state: name(end.state), error, exit_status, exit_signal }
    };
    ends.into_iter().map(view).collect()
}

/// What is written on a job, which is read where it is shown.
pub(super) enum Written {
    Read(Envelope),
    /// They cannot be read.
    Unread,
}

impl Default for Written {
    fn default() -> Written {
        Written::Read(Envelope::default())
    }
}

pub(crate) fn tags(envelope: &Envelope) -> Vec<(String, String)> {
    envelope.tags().iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

/// A job as people see it, but for what takes reading.
pub(super) fn view<S: Store + 'static>(hub: &Hub<S>, id: JobId, job: &Job, written: Written) -> JobView {
    let (envelope, tags_unread) = match written {
        Written::Read(envelope) => (envelope, false),
        Written::Unread => (Envelope::default(), true),
    };
    let engine = hub.engine.borrow();
    let settings = engine.core().settings.of(&job.spec.queue);
    let at = |time: Time| hub.clock.shown(time).0;
    let some = |time: Time| (time != Time::NEVER).then(|| at(time));
    let lease = if let JobState::Leased(lease) = job.state() { Some(lease) } else { None };
    let timeout = settings.timeout_of(&job.spec);
    let (exit_status, exit_signal) = exits(job.exit());
    let (unique_while, unique_for_ms) = match (job.spec.unique, job.spec.unique_while) {
        (None, _) => (None, None),
        (Some(_), UniqueWhile::Waiting) => (Some("waiting".into()), None),
        (Some(_), UniqueWhile::Unfinished) => (Some("unfinished".into()), None),
        (Some(_), UniqueWhile::Kept(time)) => (None, Some(time.as_millis() as u64)),
    };
    let signals = job.signals();
    JobView {
        id: id.0,
        queue: job.spec.queue.as_str().into(),
        state: job.kind().to_string(),
        command: None,
        priority: job.spec.priority.0,
        attempt: job.attempt().0,
        failed: job.failed(),
        attempts: job.spec.attempts.unwrap_or(settings.attempts),
        crashes: job.crashes(),
        later: job.later(),
        timeout_ms: timeout.map(|timeout| timeout.as_millis() as u64),
        backoff: job.spec.backoff.map(|backoff| BackoffView {
            kind: BACKOFF_KINDS[backoff.growth as usize].into(),
            base_ms: backoff.base.as_millis() as u64,
            max_ms: backoff.max.as_millis() as u64,
            jitter_permille: backoff.jitter_permille,
        }),
        submitted_at: at(job.submitted_at()),
        due_at: job.not_before().filter(|due| *due != Time(0)).map(at),
        started_at: job.started().map(at),
        runs_until: lease.and_then(|lease| runs_until(job, lease, timeout)).map(at),
        leased_at: lease.map(|lease| at(lease.since)),
        cancelling: job.is_being_cancelled(),
        leased_until: lease.map(|lease| at(lease.until)),
        ended_at: job.state().ended().map(|end| at(end.at)),
        worker: job.worker().map(worker),
        progress: engine.progress(id).map(|progress| ProgressView {
            percent: progress.percent,
            text: progress.text.to_string(),
            at: at(progress.at),
        }),
        exit_status,
        exit_signal,
        kept_until: job.state().ended().and_then(|end| some(end.keep_until)),
        expires_at: some(job.expiry().begin_by).filter(|_| job.kind().waits() && !job.has_begun()),
        deadline: some(job.expiry().end_by),
        owner: job.spec.owner,
        waits_for: waits_for(&engine.core().state, job),
        on_unmet: job.waits_for().map(|waits| on_unmet(waits.on_unmet).to_owned()),
        group: job.spec.group.and_then(|no| group_name(&engine.core().state, no)),
        key: envelope.key().map(str::to_owned),
        unique: envelope.unique().map(str::to_owned),
        unique_while,
        unique_for_ms,
        has_checkpoint: job.has(Beside::Checkpoint),
        has_result: job.has(Beside::Result),
        until_signal: signals.and_then(|signals| signals.awaited.as_ref()).map(ToString::to_string),
        signal: signals.and_then(|signals| signals.taken.as_ref()).map(|signal| signal.name.to_string()),
        signals_kept: signals.map_or_else(Vec::new, |signals| {
            signals.kept.iter().map(|signal| signal.name.to_string()).collect()
        }),
        tags: tags(&envelope),
        tags_unread,
        failures: job.failures().iter().map(|failure| self::failure(failure, &hub.clock)).collect(),
        stderr_tail: None,
    }
}

/// What a job waits for.
fn waits_for(state: &State, job: &Job) -> Vec<WaitView> {
    let view = |edge: &Edge| {
        let (job, group) = match edge.on {
            Target::Job(id) => (Some(id.0), None),
            Target::Group(no) => (None, group_name(state, no)),
        };
        let when = match edge.when {
            Condition::Done => "done",
            Condition::Ended => "ended",
            Condition::Failed => "failed",
        };
        WaitView { job, group, when: when.into(), held: edge.is_held }
    };
    job.waits_for().into_iter().flat_map(|waits| &waits.edges).map(view).collect()
}

fn group_name(state: &State, no: GroupNo) -> Option<String> {
    state.groups().get(no).map(|group| group.name.to_string())
}

fn on_unmet(way: OnUnmet) -> &'static str {
    match way {
        OnUnmet::Cancel => "cancel",
        OnUnmet::Run => "run",
        OnUnmet::Hold => "hold",
    }
}

/// When the time of an attempt is over: by its timeout, or by the job's deadline.
fn runs_until(job: &Job, lease: Lease, timeout: Option<Duration>) -> Option<Time> {
    let end = timeout.map_or(Time::NEVER, |timeout| lease.since.plus(timeout)).min(job.expiry().end_by);
    (end != Time::NEVER).then_some(end)
}

fn failure(failure: &Failure, clock: &Clock) -> FailureView {
    let (exit_status, exit_signal) = exits(failure.exit);
    FailureView {
        attempt: failure.attempt.0,
        since: failure.since.map(|since| clock.shown(since).0),
        at: clock.shown(failure.at).0,
        error: failure.error.to_string(),
        exit_status,
        exit_signal,
        worker: failure.worker.map(worker),
    }
}

fn worker(worker: Worker) -> WorkerView {
    WorkerView { uid: worker.uid, pid: Some(worker.pid).filter(|pid| *pid != 0) }
}

/// An exit as status and signal, of which it has one.
fn exits(exit: Option<Exit>) -> (Option<u8>, Option<u8>) {
    match exit {
        None => (None, None),
        Some(Exit::Status(status)) => (Some(status), None),
        Some(Exit::Signal(signal)) => (None, Some(signal)),
    }
}
