//! What `stats`, `stats-tube`, `stats-job` and the lists of tubes say, in the YAML of beanstalkd: its keys in its order. It looks, and
//! changes nothing.

use super::line::COUNTED;
use super::tubes::{Tube, Tubes};
use crate::core::{Job, JobId, JobState, Queue, QueueName, StateKind, Time};
use crate::server::{Hub, requests::RequestContext};
use crate::store::Store;
use std::fmt::{Display, Write};
use std::time::Duration;

/// A YAML document, behind the line that says how long it is.
fn answer(yaml: &str) -> Vec<u8> {
    format!("OK {}\r\n{yaml}\r\n", yaml.len()).into_bytes()
}

/// A list of names.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a QueueName>) -> Vec<u8> {
    let lines = names.fold("---\n".to_owned(), |lines, name| lines + "- " + name.as_str() + "\n");
    answer(&lines)
}

/// Keys with their values.
struct Pairs(String);

impl Pairs {
    fn new() -> Pairs {
        Pairs("---\n".into())
    }

    fn add(&mut self, key: &str, value: impl Display) {
        writeln!(self.0, "{key}: {value}").expect("a text takes everything");
    }

    fn end(self) -> Vec<u8> {
        answer(&self.0)
    }
}

/// How many jobs there are, as beanstalkd counts them. Those that wait for others are delayed to its clients.
#[derive(Default)]
struct Jobs {
    urgent: u64,
    ready: u64,
    reserved: u64,
    delayed: u64,
    buried: u64,
}

impl Jobs {
    fn add(&mut self, queue: &Queue) {
        let of = |kind| queue.counts().of(kind);
        self.urgent += queue.urgent();
        self.ready += of(StateKind::Ready);
        self.reserved += of(StateKind::Leased);
        self.delayed += of(StateKind::Scheduled) + of(StateKind::Waiting);
        self.buried += of(StateKind::Dead);
    }

    fn tell(&self, pairs: &mut Pairs) {
        for (kind, count) in [
            ("urgent", self.urgent),
            ("ready", self.ready),
            ("reserved", self.reserved),
            ("delayed", self.delayed),
            ("buried", self.buried),
        ] {
            pairs.add(&format!("current-jobs-{kind}"), count);
        }
    }
}

/// So much of the time until then, in whole seconds.
fn left(until: Time, now: Time) -> u64 {
    until.since(now).as_secs()
}

pub(super) fn job(id: JobId, job: &Job, run_time: Duration, now: Time) -> Vec<u8> {
    let handled = job.handled();
    let (state, time_left) = match job.state() {
        JobState::Leased(lease) => ("reserved", left(lease.until, now)),
        JobState::Scheduled { due } => ("delayed", left(due, now)),
        JobState::Waiting { .. } => ("delayed", 0),
        JobState::Ready => ("ready", 0),
        _ => ("buried", 0),
    };
    // Whoever else has delayed it did not say by how much.
    let delay = match job.state() {
        JobState::Scheduled { due } if handled.delay == 0 => due.since(job.submitted_at()).as_secs(),
        _ => handled.delay.into(),
    };
    let mut pairs = Pairs::new();
    pairs.add("id", id);
    pairs.add("tube", &job.spec.queue);
    pairs.add("state", state);
    pairs.add("pri", job.spec.priority.0);
    pairs.add("age", now.since(job.submitted_at()).as_secs());
    pairs.add("delay", delay);
    pairs.add("ttr", run_time.as_secs());
    pairs.add("time-left", time_left);
    pairs.add("file", 0);
    pairs.add("reserves", job.attempt().0);
    pairs.add("timeouts", handled.timeouts);
    pairs.add("releases", handled.releases);
    pairs.add("buries", handled.buries);
    pairs.add("kicks", handled.kicks);
    pairs.end()
}

pub(super) fn tube<S: Store + 'static>(
    hub: &Hub<S>,
    context: RequestContext<'_>,
    name: &QueueName,
    known: &Tube,
) -> Vec<u8> {
    let engine = hub.engine.borrow();
    let queue = engine.core().state.queue(name);
    let (mut pairs, mut jobs) = (Pairs::new(), Jobs::default());
    pairs.add("name", name);
    queue.iter().for_each(|queue| jobs.add(queue));
    jobs.tell(&mut pairs);
    pairs.add("total-jobs", known.total_jobs(queue));
    pairs.add("current-using", known.using);
    pairs.add("current-watching", known.watching);
    pairs.add("current-waiting", engine.waiting_claims(Some(name)));
    pairs.add("cmd-delete", known.deletes);
    pairs.add("cmd-pause-tube", known.pauses);
    let (pause, pause_left) = match queue.and_then(Queue::paused_until) {
        None => (0, 0),
        // By others, until somebody resumes it.
        Some(Time::NEVER) => (u64::from(u32::MAX), u64::from(u32::MAX)),
        Some(until) => (u64::from(known.paused_for), left(until, context.now)),
    };
    pairs.add("pause", pause.max(pause_left));
    pairs.add("pause-time-left", pause_left);
    pairs.end()
}

/// Of all tubes that the sender may know of.
pub(super) fn all<S: Store + 'static>(hub: &Hub<S>, tubes: &Tubes, names: &[QueueName]) -> Vec<u8> {
    let engine = hub.engine.borrow();
    let state = &engine.core().state;
    let (mut pairs, mut jobs) = (Pairs::new(), Jobs::default());
    names.iter().filter_map(|name| state.queue(name)).for_each(|queue| jobs.add(queue));
    jobs.tell(&mut pairs);
    for (name, count) in COUNTED.iter().zip(tubes.counts()) {
        pairs.add(&format!("cmd-{name}"), count);
    }
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| format!("\"{}\"", text.to_string_lossy());
    let usage = resources();
    let connections = tubes.connections.get();
    pairs.add("job-timeouts", engine.tally().timed_out());
    pairs.add("total-jobs", state.next_id().0 - 1);
    pairs.add("max-job-size", hub.service.borrow().limits.body);
    pairs.add("current-tubes", names.len());
    pairs.add("current-connections", connections);
    pairs.add("current-producers", tubes.producers.get());
    pairs.add("current-workers", tubes.workers.get());
    pairs.add("current-waiting", tubes.waiting.get());
    pairs.add("total-connections", tubes.connections_so_far.get());
    pairs.add("pid", std::process::id());
    // Clients look at it to see what they may ask for.
    pairs.add("version", "\"1.13\"");
    pairs.add("rusage-utime", usage.0);
    pairs.add("rusage-stime", usage.1);
    pairs.add("uptime", hub.uptime().as_secs());
    for index in ["oldest-index", "current-index", "records-migrated", "records-written", "max-size"] {
        pairs.add(&format!("binlog-{index}"), 0);
    }
    pairs.add("draining", engine.core().draining);
    pairs.add("id", tubes.id());
    pairs.add("hostname", text(system.nodename()));
    pairs.add("os", text(system.version()));
    pairs.add("platform", text(system.machine()));
    pairs.add("server", format_args!("\"musher {}\"", env!("CARGO_PKG_VERSION")));
    pairs.end()
}

/// The processor time of this process, its own and the system's, in seconds.
fn resources() -> (String, String) {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let seconds = |time: nix::sys::time::TimeVal| format!("{}.{:06}", time.tv_sec(), time.tv_usec());
    match usage {
        Ok(usage) => (seconds(usage.user_time()), seconds(usage.system_time())),
        Err(_) => ("0.000000".into(), "0.000000".into()),
    }
}
