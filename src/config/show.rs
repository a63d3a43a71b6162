//! `musher config show`: the effective configuration as TOML that loads to the same configuration.

use super::check::RETRIES;
use super::exits;
use super::raw::key_text;
use super::schedules;
use super::{Config, DrainSubmits, Handler, Queue};
use crate::access::Rule;
use crate::core::{Growth, Keep, QueueName};
use crate::durations::{show_duration, show_size};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

pub(super) fn show(config: &Config) -> String {
    let mut text = String::new();
    if config.access.as_ref().is_some_and(Vec::is_empty) {
        text.push_str("access = []\n\n");
    }
    daemon(&mut text, config).expect("a String takes every write");
    for (name, one) in &config.queues {
        queue(&mut text, name, one).expect("a String takes every write");
    }
    for (name, schedule) in &config.schedules {
        schedules::show(&mut text, name, schedule).expect("a String takes every write");
    }
    for rule in config.access.iter().flatten() {
        access(&mut text, rule).expect("a String takes every write");
    }
    text
}

fn daemon(text: &mut String, Config { daemon, limits, storage, .. }: &Config) -> std::fmt::Result {
    let submits = match daemon.drain_submits {
        DrainSubmits::Refuse => "refuse",
        DrainSubmits::Accept => "accept",
    };
    writeln!(text, "[daemon]")?;
    writeln!(text, "data = {}", path(&daemon.data))?;
    writeln!(text, "socket = {}", path(&daemon.socket))?;
    writeln!(text, "durability = \"sync\"")?;
    writeln!(text, "drain_timeout = {}", duration(daemon.drain_timeout))?;
    writeln!(text, "drain_submits = \"{submits}\"")?;
    writeln!(text, "job_oom_score_adj = {}", daemon.job_oom_score_adj)?;
    writeln!(text, "\n[limits]")?;
    writeln!(text, "connections = {}", limits.connections)?;
    writeln!(text, "frame = {}", size(limits.frame as u64))?;
    writeln!(text, "body = {}", size(limits.body as u64))?;
    writeln!(text, "backlog = {}", limits.backlog)?;
    writeln!(text, "queues = {}", limits.queues)?;
    writeln!(text, "queues_per_user = {}", limits.queues_per_user)?;
    writeln!(text, "schedules = {}", limits.schedules)?;
    writeln!(text, "queue_idle = {}", duration(limits.queue_idle))?;
    writeln!(text, "batch = {}", limits.batch)?;
    writeln!(text, "disk_reserve = {}", size(limits.disk_reserve))?;
    writeln!(text, "output = {}", size(limits.output as u64))?;
    writeln!(text, "waiting = {}", limits.waiting)?;
    writeln!(text, "buffers = {}", size(limits.buffers as u64))?;
    writeln!(text, "\n[storage]")?;
    writeln!(text, "log_file = {}", size(storage.log_file))?;
    writeln!(text, "log_max = {}", size(storage.log_max))?;
    writeln!(text, "checkpoint = {}", duration(storage.checkpoint))?;
    writeln!(text, "cache = {}", size(storage.cache))?;
    writeln!(text, "ballast = {}", size(storage.ballast))?;
    writeln!(text, "shrink_above = {}", size(storage.shrink_above))
}

fn queue(
    text: &mut String,
    name: &QueueName,
    Queue { settings, workers, handler }: &Queue,
) -> std::fmt::Result {
    let growth = match settings.backoff.growth {
        Growth::Fixed => "fixed",
        Growth::Linear => "linear",
        Growth::Exponential => "exponential",
    };
    let (base, max) = (duration(settings.backoff.base), duration(settings.backoff.max));
    let jitter = f64::from(settings.backoff.jitter_permille) / 1000.0;
    let (done, dead) = (keep(settings.keep_done), keep(settings.keep_dead));
    writeln!(text, "\n[queues.{}]", key_text(name.as_str()))?;
    match handler {
        Some(Handler::Exec(argv)) => {
            let argv: Vec<String> = argv.iter().map(|word| string(word)).collect();
            writeln!(text, "handler = {{ exec = [{}] }}", argv.join(", "))?;
        }
        Some(Handler::Command) => writeln!(text, "handler = \"command\"")?,
        None => {}
    }
    writeln!(text, "workers = {workers}")?;
    writeln!(text, "priority = {}", settings.priority.0)?;
    writeln!(text, "lease = {}", duration(settings.lease))?;
    writeln!(text, "timeout = {}", settings.timeout.map_or_else(|| "\"none\"".to_owned(), duration))?;
    writeln!(text, "attempts = {}", settings.attempts)?;
    writeln!(text, "backoff = {{ kind = \"{growth}\", base = {base}, max = {max}, jitter = {jitter:?} }}")?;
    let retries = RETRIES.iter().find(|(_, retries)| *retries == settings.retries);
    writeln!(text, "retries = \"{}\"", retries.expect("each has its word").0)?;
    writeln!(text, "crashes = {}", settings.crashes)?;
    writeln!(text, "later_max = {}", settings.later_max)?;
    writeln!(text, "on_exit = {}", exits::show(&settings.on_exit))?;
    writeln!(text, "keep = {{ done = {done}, dead = {dead}, done_max = {} }}", settings.keep_done_max)?;
    writeln!(text, "backlog = {}", settings.backlog)?;
    writeln!(text, "concurrency = {}", settings.concurrency.unwrap_or(0))?;
    writeln!(text, "per_key = {}", settings.per_key.unwrap_or(0))?;
    let rate = settings.rate.map_or_else(|| "none".to_owned(), |rate| rate.to_string());
    writeln!(text, "rate = {}", string(&rate))
}

fn access(text: &mut String, rule: &Rule) -> std::fmt::Result {
    let everybody = rule.everybody.then(|| "\"*\"".to_owned());
    let users: Vec<String> = everybody.into_iter().chain(rule.users.iter().map(u32::to_string)).collect();
    let groups: Vec<String> = rule.groups.iter().map(u32::to_string).collect();
    let queues: Vec<String> = rule.queues.iter().map(|pattern| string(pattern.as_str())).collect();
    let may: Vec<String> = rule.may.iter().map(|right| string(right.name())).collect();
    writeln!(text, "\n[[access]]")?;
    for (key, list) in [("users", users), ("groups", groups), ("queues", queues), ("may", may)] {
        if !list.is_empty() {
            writeln!(text, "{key} = [{}]", list.join(", "))?;
        }
    }
    Ok(())
}

fn keep(keep: Keep) -> String {
    match keep {
        Keep::No => "\"no\"".to_owned(),
        Keep::For(time) => duration(time),
        Keep::Forever => "\"forever\"".to_owned(),
    }
}

fn duration(duration: Duration) -> String {
    format!("\"{}\"", show_duration(duration))
}

fn size(bytes: u64) -> String {
    format!("\"{}\"", show_size(bytes))
}

/// Paths are checked to be UTF-8 when they are loaded.
fn path(path: &Path) -> String {
    string(&path.to_string_lossy())
}

fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
