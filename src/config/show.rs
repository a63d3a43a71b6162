//! `musher config show`: the effective configuration as TOML that loads to the same configuration.

use super::exits;
use super::push;
use super::raw::key_text;
use super::schedules;
use super::settings::show_setting;
use super::{
    BeanstalkPlace, Cluster, ClusterTls, Config, DrainSubmits, Handler, Http, HttpTls, Place, Queue,
};
use crate::access::Rule;
use crate::core::{Growth, QueueName, Setting, SettingKey};
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
    if let Some(one) = &config.cluster {
        cluster(&mut text, one).expect("a String takes every write");
    }
    for (name, one) in &config.queues {
        queue(&mut text, name, one).expect("a String takes every write");
    }
    show_topics(&mut text, config).expect("a String takes every write");
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
    if let Some(Http { place, tokens, tls }) = &daemon.http {
        match place {
            Place::Address(address) => writeln!(text, "http = \"{address}\"")?,
            Place::Socket(socket) => writeln!(text, "http = {}", path(socket))?,
        }
        if let Some(tokens) = tokens {
            writeln!(text, "http_tokens = {}", path(tokens))?;
        }
        if let Some(HttpTls { certificate, key }) = tls {
            writeln!(text, "http_certificate = {}", path(certificate))?;
            writeln!(text, "http_key = {}", path(key))?;
        }
    }
    if let Some(BeanstalkPlace { place, user }) = &daemon.beanstalk {
        match place {
            Place::Address(address) => writeln!(text, "beanstalk = \"{address}\"")?,
            Place::Socket(socket) => writeln!(text, "beanstalk = {}", path(socket))?,
        }
        if let Some(user) = user {
            writeln!(text, "beanstalk_user = \"{user}\"")?;
        }
    }
    if let Some(url) = &daemon.otlp {
        writeln!(text, "otlp = {}", string(url))?;
    }
    writeln!(text, "durability = \"sync\"")?;
    writeln!(text, "drain_timeout = {}", duration(daemon.drain_timeout))?;
    writeln!(text, "resume_within = {}", duration(daemon.resume_within))?;
    writeln!(text, "drain_submits = \"{submits}\"")?;
    writeln!(text, "job_oom_score_adj = {}", daemon.job_oom_score_adj)?;
    writeln!(text, "\n[limits]")?;
    writeln!(text, "connections = {}", limits.connections)?;
    writeln!(text, "frame = {}", size(limits.frame as u64))?;
    writeln!(text, "body = {}", size(limits.body as u64))?;
    writeln!(text, "checkpoint = {}", size(limits.checkpoint as u64))?;
    writeln!(text, "signal = {}", size(limits.signal as u64))?;
    writeln!(text, "result = {}", size(limits.result as u64))?;
    writeln!(text, "backlog = {}", limits.backlog)?;
    writeln!(text, "backlog_bytes = {}", size(limits.backlog_bytes))?;
    writeln!(text, "total_backlog = {}", limits.total_backlog)?;
    writeln!(text, "total_backlog_bytes = {}", size(limits.total_backlog_bytes))?;
    writeln!(text, "queues = {}", limits.queues)?;
    writeln!(text, "queues_per_user = {}", limits.queues_per_user)?;
    writeln!(text, "schedules = {}", limits.schedules)?;
    writeln!(text, "idempotency = {}", duration(limits.idempotency))?;
    writeln!(text, "idempotency_keys = {}", limits.idempotency_keys)?;
    writeln!(text, "idempotency_keys_per_user = {}", limits.idempotency_keys_per_user)?;
    writeln!(text, "groups = {}", limits.groups)?;
    writeln!(text, "groups_per_user = {}", limits.groups_per_user)?;
    writeln!(text, "groups_kept = {}", duration(limits.groups_kept))?;
    writeln!(text, "queue_idle = {}", duration(limits.queue_idle))?;
    writeln!(text, "batch = {}", limits.batch)?;
    writeln!(text, "disk_reserve = {}", size(limits.disk_reserve))?;
    writeln!(text, "output = {}", size(limits.output as u64))?;
    writeln!(text, "waiting = {}", limits.waiting)?;
    writeln!(text, "buffers = {}", size(limits.buffers as u64))?;
    writeln!(text, "metrics_queues = {}", limits.metrics_queues)?;
    writeln!(text, "\n[storage]")?;
    writeln!(text, "log_file = {}", size(storage.log_file))?;
    writeln!(text, "log_max = {}", size(storage.log_max))?;
    writeln!(text, "checkpoint = {}", duration(storage.checkpoint))?;
    writeln!(text, "cache = {}", size(storage.cache))?;
    writeln!(text, "ballast = {}", size(storage.ballast))?;
    writeln!(text, "shrink_above = {}", size(storage.shrink_above))
}

fn cluster(text: &mut String, cluster: &Cluster) -> std::fmt::Result {
    let list = |texts: &[String]| texts.iter().map(|text| string(text)).collect::<Vec<_>>().join(", ");
    writeln!(text, "\n[cluster]")?;
    writeln!(text, "node = {}", string(&cluster.node))?;
    writeln!(text, "nodes = [{}]", list(&cluster.nodes))?;
    writeln!(text, "nats = [{}]", list(&cluster.nats))?;
    writeln!(text, "stream = {}", string(&cluster.stream))?;
    writeln!(text, "shards = {}", cluster.shards)?;
    writeln!(text, "replicas = {}", cluster.replicas)?;
    writeln!(text, "lease = {}", duration(cluster.lease))?;
    writeln!(text, "keep = {}", size(cluster.keep))?;
    writeln!(text, "sync = \"always\"")?;
    if let Some(credentials) = &cluster.credentials {
        writeln!(text, "credentials = {}", path(credentials))?;
    }
    let Some(ClusterTls { ca, identity }) = &cluster.tls else { return Ok(()) };
    writeln!(text, "tls = true")?;
    if let Some(ca) = ca {
        writeln!(text, "tls_ca = {}", path(ca))?;
    }
    if let Some((certificate, key)) = identity {
        writeln!(text, "tls_certificate = {}", path(certificate))?;
        writeln!(text, "tls_key = {}", path(key))?;
    }
    Ok(())
}

fn queue(
    text: &mut String,
    name: &QueueName,
    Queue { settings, workers, handler, .. }: &Queue,
) -> std::fmt::Result {
    let growth = match settings.backoff.growth {
        Growth::Fixed => "fixed",
        Growth::Linear => "linear",
        Growth::Exponential => "exponential",
    };
    let (base, max) = (duration(settings.backoff.base), duration(settings.backoff.max));
    let jitter = f64::from(settings.backoff.jitter_permille) / 1000.0;
    writeln!(text, "\n[queues.{}]", key_text(name.as_str()))?;
    match handler {
        Some(Handler::Exec(argv)) => {
            let argv: Vec<String> = argv.iter().map(|word| string(word)).collect();
            writeln!(text, "handler = {{ exec = [{}] }}", argv.join(", "))?;
        }
        Some(Handler::Http(push)) => writeln!(text, "handler = {}", push::show(push))?,
        Some(Handler::Command) => writeln!(text, "handler = \"command\"")?,
        None => {}
    }
    writeln!(text, "workers = {workers}")?;
    writeln!(text, "backoff = {{ kind = \"{growth}\", base = {base}, max = {max}, jitter = {jitter:?} }}")?;
    if !matches!(handler, Some(Handler::Http(_))) {
        writeln!(text, "on_exit = {}", exits::show(&settings.on_exit))?;
    }
    for key in SettingKey::ALL {
        let setting = Setting::of(*key, settings);
        let shown = show_setting(setting);
        let is_bare = matches!(setting, Setting::Fair(_)) || shown.bytes().all(|byte| byte.is_ascii_digit());
        writeln!(text, "{} = {}", key.name(), if is_bare { shown } else { string(&shown) })?;
    }
    Ok(())
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

pub(super) fn string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn show_topics(text: &mut String, config: &Config) -> std::fmt::Result {
    if !config.topics.is_empty() {
        writeln!(text, "\n[topics]")?;
    }
    for (pattern, queues) in &config.topics {
        let queues: Vec<String> = queues.iter().map(|queue| format!("{:?}", queue.as_str())).collect();
        writeln!(text, "{:?} = [{}]", pattern.as_str(), queues.join(", "))?;
    }
    Ok(())
}
