//! From what is written to what holds: reads every key, fills in the defaults, and checks what must fit
//! together. All keys that there are stand here, table by table.

use super::access;
use super::beanstalk::beanstalk;
use super::cluster;
use super::defaults::{DRAIN_SUBMITS, DRAIN_TIMEOUT, JOB_OOM_SCORE_ADJ, KEEP_DONE_HANDLED, RESUME_WITHIN};
use super::exits::on_exit;
use super::http::http;
use super::otlp::otlp;
use super::paths::{Surroundings, data_dir, serve_socket, socket_path_error};
use super::place::Place;
use super::problem::{ConfigErrors, Problem, Report};
use super::programs;
use super::push;
use super::raw::Section;
use super::schedules;
use super::settings;
use super::sharded;
use super::topics;
use super::{COMMANDS_QUEUE, Config, Daemon, DrainSubmits, Handler, Limits, Overrides, Queue, Storage};
use crate::core::{BACKOFF_MAX, Backoff, Growth, Keep, QueueName, QueueSettings};
use crate::durations::{show_duration, show_size};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::de::DeTable;

/// What a frame holds beside the body of one job.
const FRAME_ROOM: usize = 4 << 10;
const CHECKPOINT_MIN: Duration = Duration::from_millis(10);
/// The most jobs that the daemon runs at a time for one queue.
pub const WORKERS_MAX: u32 = 10_000;
/// The most queues that have numbers of their own: each of them takes memory.
const METRICS_QUEUES_MAX: u64 = 10_000;
/// The largest whole number that TOML can write.
const WHOLE_MAX: u64 = i64::MAX as u64;

pub(super) fn parse(
    name: String,
    source: &str,
    overrides: &Overrides,
    around: &Surroundings,
) -> Result<(Config, Vec<Problem>), ConfigErrors> {
    let mut report = Report::new(name, source);
    let (table, faults) = DeTable::parse_recoverable(source);
    for fault in &faults {
        report.error(fault.span().map_or(0, |span| span.start), "", fault.message());
    }
    if !faults.is_empty() {
        // What is left of such a file is not worth checking.
        return Err(report.finish().expect_err("a fault was reported"));
    }
    let mut root = Section::root(table.get_ref());
    let daemon_section = root.section(&mut report, "daemon");
    let limits_section = root.section(&mut report, "limits");
    let storage_section = root.section(&mut report, "storage");
    let is_in_cluster = root.has("cluster");
    let cluster_section = root.section(&mut report, "cluster");
    let queues_section = root.section(&mut report, "queues");
    let schedules_section = root.section(&mut report, "schedules");
    let access = access::rules(&mut root, around, &mut report);
    let topics_section = root.section(&mut report, "topics");
    root.finish(&mut report);

    let daemon = daemon(daemon_section, overrides, around, &mut report);
    let limits = limits(limits_section, &mut report);
    let storage = storage(storage_section, &mut report);
    let cluster = cluster::cluster(cluster_section, is_in_cluster, &around.host, &mut report);
    let common = Common {
        backlog: limits.backlog,
        backlog_bytes: limits.backlog_bytes,
        workers: overrides.workers.unwrap_or(around.cpus),
        around,
    };
    let queues = queues(&queues_section, &common, &mut report);
    let schedules = schedules::schedules(&schedules_section, &queues, limits.body, &mut report);
    let topics = topics::topics(&topics_section, &mut report);
    let config = Config { daemon, limits, storage, cluster, queues, schedules, topics, access };
    sharded::check(&config, &mut report);
    Ok((config, report.finish()?))
}

fn daemon(
    mut section: Section<'_>,
    overrides: &Overrides,
    around: &Surroundings,
    report: &mut Report<'_>,
) -> Daemon {
    let written_data = section.path(report, "data");
    let written_socket = section.path(report, "socket");
    let drain_timeout = section.duration(report, "drain_timeout").unwrap_or(DRAIN_TIMEOUT);
    let resume_within = section.duration(report, "resume_within").unwrap_or(RESUME_WITHIN);
    let submits = [("refuse", DrainSubmits::Refuse), ("accept", DrainSubmits::Accept)];
    let drain_submits = section.word(report, "drain_submits", &submits).unwrap_or(DRAIN_SUBMITS);
    let job_oom_score_adj =
        section.count(report, "job_oom_score_adj", 0..=1_000).map_or(JOB_OOM_SCORE_ADJ, |adj| adj as u16);
    if section.text(report, "durability").is_some_and(|text| text != "sync") {
        let message = "only \"sync\" is supported by this version: what is acknowledged is on disk; \
                       set it to \"sync\" or remove it";
        section.fault(report, "durability", message);
    }
    let http = http(&mut section, report);
    let otlp = otlp(&mut section, report);
    let beanstalk = beanstalk(&mut section, around, report);
    section.not_yet(report, "sync_interval");

    let data = match (&overrides.data, written_data) {
        (Some(data), _) => Some(absolute(data, "--data", report)),
        (None, Some(data)) => Some(data),
        (None, None) => data_dir(around),
    };
    let data = data.unwrap_or_else(|| {
        report.error_outside("daemon.data", "no place for the jobs is known; set daemon.data or give --data");
        PathBuf::new()
    });
    let socket = match (&overrides.socket, written_socket) {
        (Some(socket), _) => absolute(socket, "--socket", report),
        (None, Some(socket)) => socket,
        (None, None) => serve_socket(around, &data),
    };
    if let Some(message) = socket_path_error(&socket) {
        match (&overrides.socket, section.has("socket")) {
            (Some(_), _) => report.error_outside("--socket", message),
            (None, true) => section.fault(report, "socket", message),
            (None, false) => {
                report.error_outside("daemon.socket", format!("{}: {message}", socket.display()))
            }
        }
    }
    let http_place = http.as_ref().map(|http| &http.place);
    let beanstalk_place = beanstalk.as_ref().map(|beanstalk| &beanstalk.place);
    for (key, place) in [("http", http_place), ("beanstalk", beanstalk_place)] {
        if place == Some(&Place::Socket(socket.clone())) {
            section.fault(report, key, "is daemon.socket too: choose another path");
        }
    }
    if beanstalk_place.is_some() && beanstalk_place == http_place {
        section.fault(report, "beanstalk", "is daemon.http too: choose another place");
    }
    for (key, path) in [("daemon.data", &data), ("daemon.socket", &socket)] {
        if path.to_str().is_none() {
            report.error_outside(key, format!("{} is not UTF-8; choose another path", path.display()));
        }
    }
    section.finish(report);
    Daemon {
        data,
        socket,
        http,
        beanstalk,
        otlp,
        drain_timeout,
        resume_within,
        drain_submits,
        job_oom_score_adj,
    }
}

/// A path from the command line, which may be relative to the working directory.
fn absolute(path: &Path, place: &str, report: &mut Report<'_>) -> PathBuf {
    match std::path::absolute(path) {
        Ok(path) => path,
        Err(error) => {
            report.error_outside(place, format!("the path cannot be used: {error}"));
            path.to_path_buf()
        }
    }
}

fn limits(mut section: Section<'_>, report: &mut Report<'_>) -> Limits {
    let or = Limits::default();
    let count = |section: &mut Section<'_>, report: &mut Report<'_>, key, default: usize| {
        section.count(report, key, 1..=u64::from(u32::MAX)).map_or(default, |n| n as usize)
    };
    let size = |section: &mut Section<'_>, report: &mut Report<'_>, key, least, most, default: usize| {
        section.size(report, key, least..=most).map_or(default, |n| n as usize)
    };
    let frame = size(&mut section, report, "frame", 8 << 10, 1 << 30, or.frame);
    // What nobody asks for must not keep a small frame from being one.
    let fits = frame.saturating_sub(FRAME_ROOM);
    let body = size(&mut section, report, "body", 1, 1 << 30, or.body);
    let beside_body = fits.saturating_sub(body);
    let checkpoint = size(&mut section, report, "checkpoint", 0, 1 << 30, or.checkpoint.min(beside_body));
    let beside_both = beside_body.saturating_sub(checkpoint);
    let limits = Limits {
        connections: count(&mut section, report, "connections", or.connections),
        frame,
        body,
        checkpoint,
        signal: size(&mut section, report, "signal", 0, 1 << 20, or.signal.min(beside_both)),
        result: size(&mut section, report, "result", 1, 1 << 30, or.result.min(fits)),
        backlog: section.count(report, "backlog", 0..=WHOLE_MAX).unwrap_or(or.backlog),
        backlog_bytes: section.size(report, "backlog_bytes", 0..=WHOLE_MAX).unwrap_or(or.backlog_bytes),
        total_backlog: section.count(report, "total_backlog", 0..=WHOLE_MAX).unwrap_or(or.total_backlog),
        total_backlog_bytes: section
            .size(report, "total_backlog_bytes", 0..=WHOLE_MAX)
            .unwrap_or(or.total_backlog_bytes),
        queues: count(&mut section, report, "queues", or.queues),
        queues_per_user: count(&mut section, report, "queues_per_user", or.queues_per_user),
        schedules: count(&mut section, report, "schedules", or.schedules),
        idempotency: section.duration(report, "idempotency").unwrap_or(or.idempotency),
        idempotency_keys: count(&mut section, report, "idempotency_keys", or.idempotency_keys),
        idempotency_keys_per_user: count(
            &mut section,
            report,
            "idempotency_keys_per_user",
            or.idempotency_keys_per_user,
        ),
        groups: count(&mut section, report, "groups", or.groups),
        groups_per_user: count(&mut section, report, "groups_per_user", or.groups_per_user),
        groups_kept: section.duration(report, "groups_kept").unwrap_or(or.groups_kept),
        queue_idle: section.duration(report, "queue_idle").unwrap_or(or.queue_idle),
        batch: count(&mut section, report, "batch", or.batch),
        disk_reserve: section.size(report, "disk_reserve", 0..=u64::MAX).unwrap_or(or.disk_reserve),
        output: size(&mut section, report, "output", 0, 1 << 30, or.output),
        waiting: count(&mut section, report, "waiting", or.waiting),
        buffers: size(&mut section, report, "buffers", 8 << 10, 1 << 40, or.buffers),
        metrics_queues: section
            .count(report, "metrics_queues", 0..=METRICS_QUEUES_MAX)
            .map_or(or.metrics_queues, |queues| queues as usize),
    };
    if limits.buffers < limits.frame {
        let [buffers, frame] = [limits.buffers, limits.frame].map(|bytes| show_size(bytes as u64));
        let key = if section.has("buffers") { "buffers" } else { "frame" };
        let message = format!(
            "a frame of {frame} does not fit buffers of {buffers}: raise limits.buffers or lower limits.frame"
        );
        section.fault(report, key, message);
    }
    if limits.frame < limits.body + FRAME_ROOM {
        let [frame, body] = [limits.frame, limits.body].map(|bytes| show_size(bytes as u64));
        let key = if section.has("body") { "body" } else { "frame" };
        let message = format!(
            "a body of {body} does not fit a frame of {frame}; limits.frame must be at least limits.body and 4KiB: \
             raise limits.frame or lower limits.body"
        );
        section.fault(report, key, message);
    }
    beside_frame(&section, report, &limits);
    section.finish(report);
    limits
}

/// A job is handed out with its body, its checkpoint and a signal, and a result comes in a request.
fn beside_frame(section: &Section<'_>, report: &mut Report<'_>, limits: &Limits) {
    let Limits { frame, body, checkpoint, signal, result, .. } = *limits;
    for (key, what, len) in [
        ("checkpoint", "a checkpoint, beside its body,", checkpoint + body),
        ("signal", "a signal, beside its body and its checkpoint,", signal + checkpoint + body),
        ("result", "a result", result),
    ] {
        if section.has(key) && frame < len + FRAME_ROOM {
            let [frame, len] = [frame, len].map(|bytes| show_size(bytes as u64));
            let message = format!(
                "{what} of {len} in all does not fit a frame of {frame} with 4KiB for the rest: raise limits.frame or lower \
                 limits.{key}"
            );
            section.fault(report, key, message);
        }
    }
}

fn storage(mut section: Section<'_>, report: &mut Report<'_>) -> Storage {
    let or = Storage::default();
    let storage = Storage {
        log_file: section.size(report, "log_file", 64 << 10..=4 << 30).unwrap_or(or.log_file),
        log_max: section.size(report, "log_max", 128 << 10..=u64::MAX).unwrap_or(or.log_max),
        checkpoint: section.duration(report, "checkpoint").unwrap_or(or.checkpoint),
        cache: section.size(report, "cache", 1 << 20..=u64::MAX).unwrap_or(or.cache),
        ballast: section.size(report, "ballast", 0..=u64::MAX).unwrap_or(or.ballast),
        shrink_above: section.size(report, "shrink_above", 0..=u64::MAX).unwrap_or(or.shrink_above),
    };
    at_least(&section, report, "checkpoint", storage.checkpoint, CHECKPOINT_MIN);
    if storage.log_max / 2 < storage.log_file {
        let key = if section.has("log_max") { "log_max" } else { "log_file" };
        let [max, file] = [storage.log_max, storage.log_file].map(show_size);
        let message = format!(
            "a log of {max} does not hold two files of {file}: raise storage.log_max or lower storage.log_file"
        );
        section.fault(report, key, message);
    }
    section.finish(report);
    storage
}

fn at_least(section: &Section<'_>, report: &mut Report<'_>, key: &str, value: Duration, least: Duration) {
    if value < least {
        let [value, least] = [value, least].map(show_duration);
        section.fault(report, key, format!("{value} is too short; the least is {least}"));
    }
}

/// What holds for queues that set nothing else.
struct Common<'a> {
    backlog: u64,
    backlog_bytes: u64,
    workers: u32,
    around: &'a Surroundings,
}

fn queues(section: &Section<'_>, common: &Common<'_>, report: &mut Report<'_>) -> BTreeMap<QueueName, Queue> {
    let mut queues = BTreeMap::new();
    for (name, one) in section.named(report) {
        match QueueName::new(name) {
            Ok(name) => {
                let checked = queue(&name, one, common, report);
                queues.insert(name, checked);
            }
            Err(error) => section.fault(report, name, error.to_string()),
        }
    }
    let commands = QueueName::new(COMMANDS_QUEUE).expect("its name is a valid one");
    queues.entry(commands).or_insert_with(|| {
        let keep_done = Keep::For(KEEP_DONE_HANDLED);
        let usual = QueueSettings { keep_done, timeout: None, ..QueueSettings::default() };
        let settings =
            QueueSettings { backlog: common.backlog, backlog_bytes: common.backlog_bytes, ..usual.clone() };
        Queue { settings, usual, workers: common.workers, handler: Some(Handler::Command) }
    });
    queues
}

fn queue(name: &QueueName, mut section: Section<'_>, common: &Common<'_>, report: &mut Report<'_>) -> Queue {
    let or = QueueSettings::default();
    let built_in = (name.as_str() == COMMANDS_QUEUE).then_some(Handler::Command);
    let handler = handler(&mut section, common.around, report).or(built_in);
    let workers = workers(&mut section, handler.is_some(), common, report);
    // How long somebody's command takes, nobody else can know.
    let timeout_default = if handler == Some(Handler::Command) { None } else { or.timeout };
    let mut usual = QueueSettings { timeout: timeout_default, ..or };
    if handler.is_some() {
        usual.keep_done = Keep::For(KEEP_DONE_HANDLED);
    }
    let backoff = backoff(section.section(report, "backoff"), report);
    let on_exit = on_exit(&mut section, report);
    if matches!(handler, Some(Handler::Http(_))) && section.has("on_exit") {
        let message = "says what ends of processes mean, and jobs that are sent to a URL have none; remove it, or write \
                       handler.on_status";
        section.fault(report, "on_exit", message);
    }
    let or = QueueSettings {
        backoff,
        on_exit,
        backlog: common.backlog,
        backlog_bytes: common.backlog_bytes,
        ..usual.clone()
    };
    let settings = settings::read(&mut section, or, report);
    section.finish(report);
    Queue { settings, usual, workers, handler }
}

fn handler(section: &mut Section<'_>, around: &Surroundings, report: &mut Report<'_>) -> Option<Handler> {
    match section.text_or_section(report, "handler")? {
        Ok("command") => Some(Handler::Command),
        Ok(text) => {
            let shown = text.escape_debug();
            let message = format!(
                "`{shown}` is not known; write \"command\", {{ exec = [\"/path/to/program\"] }}, or {{ http = \"https://example.org/hook\" }}"
            );
            section.fault(report, "handler", message);
            None
        }
        Err(mut table) => {
            let exec = table.texts(report, "exec");
            let push = push::push(&mut table, report);
            match (table.has("exec"), table.has("http")) {
                (false, false) => {
                    let message = "names no program; write { exec = [\"/path/to/program\"] }, or { http = \"https://example.org/hook\" }";
                    section.fault(report, "handler", message);
                }
                (true, true) => {
                    let message = "a job is run by a program or sent to a URL, not both; remove exec or http";
                    section.fault(report, "handler", message);
                }
                _ => {}
            }
            let exec = exec.filter(|argv| program(argv, &table, around, report));
            table.finish(report);
            exec.map(Handler::Exec).or(push.map(Handler::Http))
        }
    }
}

/// Whether there is a program that can be started.
fn program(argv: &[String], table: &Section<'_>, around: &Surroundings, report: &mut Report<'_>) -> bool {
    let Some(program) = argv.first().filter(|program| !program.is_empty()) else {
        table.fault(report, "exec", "must name a program, as in [\"/path/to/program\", \"argument\"]");
        return false;
    };
    if argv.iter().any(|word| word.contains('\0')) {
        table.fault(report, "exec", "must not contain a NUL character");
        return false;
    }
    let path = Path::new(program);
    if program.contains('/') && !path.is_absolute() {
        table.fault(
            report,
            "exec",
            format!("`{program}` is relative; write the whole path, or a name in PATH"),
        );
    } else if let Some(message) = programs::cannot_start(program, around) {
        report.warn(table.at("exec"), &table.name("exec"), message);
    }
    true
}

fn workers(section: &mut Section<'_>, handled: bool, common: &Common<'_>, report: &mut Report<'_>) -> u32 {
    let written = section.count(report, "workers", 0..=u64::from(WORKERS_MAX)).map(|n| n as u32);
    // A handler that is written but wrong has its own error.
    if !handled && !section.has("handler") && written.is_some_and(|workers| workers > 0) {
        let message = "the daemon's workers have nothing to run without a handler; set handler, or remove workers \
                       (outside workers need no number)";
        section.fault(report, "workers", message);
    }
    if handled && written == Some(0) {
        let message = "the daemon runs none of its jobs, so its handler is never used; outside workers (`musher work`) \
                       may take them";
        report.warn(section.at("workers"), &section.name("workers"), message);
    }
    written.unwrap_or(if handled { common.workers } else { 0 })
}

fn backoff(mut section: Section<'_>, report: &mut Report<'_>) -> Backoff {
    let or = Backoff::default();
    let kinds = [("exponential", Growth::Exponential), ("linear", Growth::Linear), ("fixed", Growth::Fixed)];
    let backoff = Backoff {
        growth: section.word(report, "kind", &kinds).unwrap_or(or.growth),
        base: section.duration(report, "base").unwrap_or(or.base),
        max: section.duration(report, "max").unwrap_or(or.max),
        jitter_permille: section.permille(report, "jitter").unwrap_or(or.jitter_permille),
    };
    let [base, max, most] = [backoff.base, backoff.max, BACKOFF_MAX].map(show_duration);
    if backoff.max > BACKOFF_MAX {
        section.fault(report, "max", format!("{max} is too long; the most is {most}"));
    } else if backoff.base > backoff.max {
        let key = if section.has("base") { "base" } else { "max" };
        let message = format!("base ({base}) must not be longer than max ({max}); lower base or raise max");
        section.fault(report, key, message);
    }
    section.finish(report);
    backoff
}
