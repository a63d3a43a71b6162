//! The settings of a queue that can be set at run time: how they are read, from the configuration and from
//! `musher queue set` alike, and how they are shown.

use super::limits::{limit, rate};
use super::problem::{ConfigErrors, Report};
use super::raw::{Section, nearest};
use crate::core::{Full, Keep, Priority, QueueSettings, Retries, Setting, SettingKey};
use crate::durations::{parse_duration, show_duration, show_size};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const LEASE_MIN: Duration = Duration::from_secs(1);
const PROBE_MIN: Duration = Duration::from_millis(10);
/// How long a submit may wait for room.
const FULL_WAIT_MIN: Duration = Duration::from_millis(1);
const FULL_WAIT_MAX: Duration = Duration::from_secs(3_600);
const WEIGHT_MAX: u64 = 1_000;
/// The largest whole number that TOML can write.
const WHOLE_MAX: u64 = i64::MAX as u64;

/// Keys of a queue's table that only the configuration sets.
const CONFIGURATION_ONLY: [&str; 4] = ["handler", "workers", "backoff", "on_exit"];

/// The words for [`Retries`].
const RETRIES: [(&str, Retries); 3] =
    [("alternate", Retries::Alternate), ("behind", Retries::Behind), ("place", Retries::Place)];

/// Reads all of them; what is not there is as in `or`.
pub(super) fn read(section: &mut Section<'_>, or: QueueSettings, report: &mut Report<'_>) -> QueueSettings {
    let keep = section.section(report, "keep");
    let (keep_done, keep_dead, keep_done_max, keep_dead_max) = keeps(keep, &or, report);
    let (circuit_failures, circuit_probe) = circuit(section.section(report, "circuit"), &or, report);
    let settings = QueueSettings {
        lease: section.duration(report, "lease").unwrap_or(or.lease),
        priority: section
            .count(report, "priority", 0..=u64::from(u32::MAX))
            .map_or(or.priority, |n| Priority(n as u32)), // within u32 by its bounds
        timeout: timeout(section, report).unwrap_or(or.timeout),
        attempts: number(section, report, "attempts", or.attempts),
        retries: section.word(report, "retries", &RETRIES).unwrap_or(or.retries),
        crashes: number(section, report, "crashes", or.crashes),
        later_max: number(section, report, "later_max", or.later_max),
        keep_done,
        keep_done_max,
        keep_dead,
        keep_dead_max,
        backlog: section.count(report, "backlog", 0..=WHOLE_MAX).unwrap_or(or.backlog),
        backlog_bytes: section.size(report, "backlog_bytes", 0..=WHOLE_MAX).unwrap_or(or.backlog_bytes),
        full: full(section, report).unwrap_or(or.full),
        concurrency: limit(section, report, "concurrency").unwrap_or(or.concurrency),
        per_key: limit(section, report, "per_key").unwrap_or(or.per_key),
        weight: weight(section, report).unwrap_or(or.weight),
        rate: rate(section, report, "rate").unwrap_or(or.rate),
        per_key_rate: rate(section, report, "per_key_rate").unwrap_or(or.per_key_rate),
        fair: section.flag(report, "fair").unwrap_or(or.fair),
        circuit_failures,
        circuit_probe,
        ..or
    };
    if section.has("lease") && settings.lease < LEASE_MIN {
        let [lease, least] = [settings.lease, LEASE_MIN].map(show_duration);
        section.fault(report, "lease", format!("{lease} is too short; the least is {least}"));
    }
    settings
}

fn circuit(mut section: Section<'_>, or: &QueueSettings, report: &mut Report<'_>) -> (Option<u32>, Duration) {
    let failures = limit(&mut section, report, "failures").unwrap_or(or.circuit_failures);
    let probe = section.duration(report, "probe").unwrap_or(or.circuit_probe);
    if probe < PROBE_MIN {
        let [probe, least] = [probe, PROBE_MIN].map(show_duration);
        section.fault(report, "probe", format!("{probe} is too short; the least is {least}"));
    }
    section.finish(report);
    (failures, probe)
}

/// A duration, or that there is none.
fn timeout(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Option<Duration>> {
    match section.text(report, "timeout")? {
        "none" => Some(None),
        text => match parse_duration(text) {
            Ok(Duration::ZERO) => {
                section.fault(report, "timeout", "0s is too short; the least is 1ms");
                None
            }
            Ok(timeout) => Some(Some(timeout)),
            Err(error) => {
                section.fault(report, "timeout", format!("{error}; or \"none\""));
                None
            }
        },
    }
}

/// One of a few words, or how long to wait.
fn full(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Full> {
    let text = section.text(report, "full")?;
    let words = [("reject", Full::Reject), ("drop-new", Full::DropNew), ("drop-old", Full::DropOld)];
    if let Some((_, full)) = words.iter().find(|(word, _)| *word == text) {
        return Some(*full);
    }
    let wait = text.strip_prefix("wait ").map(|time| parse_duration(time.trim()));
    match wait {
        Some(Ok(time)) if (FULL_WAIT_MIN..=FULL_WAIT_MAX).contains(&time) => return Some(Full::Wait(time)),
        Some(Ok(_)) => {
            let [least, most] = [FULL_WAIT_MIN, FULL_WAIT_MAX].map(show_duration);
            section.fault(report, "full", format!("a producer can wait from {least} to {most}"));
        }
        Some(Err(error)) => section.fault(report, "full", error.to_string()),
        None => {
            let shown = text.escape_debug();
            let known = "\"reject\", \"drop-new\", \"drop-old\", or how long to wait, as in \"wait 5s\"";
            section.fault(report, "full", format!("`{shown}` is not known; use one of {known}"));
        }
    }
    None
}

/// A share, or that there is none.
fn weight(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Option<u32>> {
    let weight = section.count(report, "weight", 0..=WEIGHT_MAX)? as u32; // within u32 by its bounds
    Some((weight > 0).then_some(weight))
}

fn number(section: &mut Section<'_>, report: &mut Report<'_>, key: &'static str, default: u32) -> u32 {
    section.count(report, key, 1..=u64::from(u32::MAX)).map_or(default, |n| n as u32)
}

fn keeps(
    mut section: Section<'_>,
    or: &QueueSettings,
    report: &mut Report<'_>,
) -> (Keep, Keep, u64, Option<u32>) {
    let done = keep(&mut section, report, "done").unwrap_or(or.keep_done);
    let dead = keep(&mut section, report, "dead").unwrap_or(or.keep_dead);
    if section.has("dead") && dead == Keep::No {
        let message = "dead jobs and their errors are forgotten at once; keep them for a while, say \"30d\"";
        report.warn(section.at("dead"), &section.name("dead"), message);
    }
    let done_max = section.count(report, "done_max", 0..=WHOLE_MAX).unwrap_or(or.keep_done_max);
    let dead_max = limit(&mut section, report, "dead_max").unwrap_or(or.keep_dead_max);
    section.finish(report);
    (done, dead, done_max, dead_max)
}

fn keep(section: &mut Section<'_>, report: &mut Report<'_>, key: &'static str) -> Option<Keep> {
    match section.text(report, key)? {
        "forever" => Some(Keep::Forever),
        "no" => Some(Keep::No),
        text => match parse_duration(text) {
            Ok(Duration::ZERO) => Some(Keep::No),
            Ok(duration) => Some(Keep::For(duration)),
            Err(error) => {
                section.fault(report, key, format!("{error}; or \"forever\", or \"no\""));
                None
            }
        },
    }
}

/// Reads settings that are to be set at run time, each a key and a value: as TOML, or a text without quotes. What the
/// configuration says of them besides, a value must fit.
///
/// # Errors
/// All that is wrong, for people.
pub fn read_settings(pairs: &[(String, String)]) -> Result<Vec<Setting>, String> {
    let mut table = DeTable::new();
    for (key, text) in pairs {
        check_lengths(key, text)?;
        let value = match DeValue::parse(text).map(Spanned::into_inner) {
            Ok(
                value @ (DeValue::Integer(_) | DeValue::Boolean(_) | DeValue::String(_) | DeValue::Table(_)),
            ) => value,
            _ => DeValue::String(text.as_str().into()),
        };
        if !insert(&mut table, key, value) {
            return Err(format!("{key} is given twice"));
        }
    }
    let (mut section, mut report) = (Section::root(&table), Report::new(String::new(), ""));
    let settings = read(&mut section, QueueSettings::default(), &mut report);
    for key in CONFIGURATION_ONLY.into_iter().filter(|key| section.has(key)) {
        section.fault(&mut report, key, "is set in the configuration only");
    }
    let set = SettingKey::ALL.iter().filter(|key| section.has_nested(key.name()));
    let set = set.map(|key| Setting::of(*key, &settings)).collect();
    section.known(&CONFIGURATION_ONLY).finish(&mut report);
    match report.finish() {
        Ok(_) => Ok(set),
        Err(ConfigErrors(problems)) => {
            let lines: Vec<_> = problems.iter().map(|it| format!("{}: {}", it.key, it.message)).collect();
            Err(lines.join("\n"))
        }
    }
}

/// What is longer is neither a setting nor its value, and is not even looked at: tables in tables would fill the stack.
const KEY_MAX: usize = 64;
const VALUE_MAX: usize = 256;

fn check_lengths(key: &str, text: &str) -> Result<(), String> {
    match (key.len(), text.len()) {
        (len, _) if len > KEY_MAX => Err(format!("a setting whose name has {len} bytes: there is none")),
        (_, len) if len > VALUE_MAX => {
            Err(format!("{key}: a value of {len} bytes: no setting has one so long"))
        }
        _ => Ok(()),
    }
}

/// Puts a value where a key with dots says; not over another one.
fn insert<'a>(table: &mut DeTable<'a>, key: &'a str, value: DeValue<'a>) -> bool {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let entry = table.entry(Spanned::new(0..0, first.into()));
    let toml::map::Entry::Vacant(free) = entry else {
        let toml::map::Entry::Occupied(mut taken) = entry else { return false };
        return match (taken.get_mut().get_mut(), rest) {
            (DeValue::Table(inner), Some(rest)) => insert(inner, rest, value),
            _ => false,
        };
    };
    let value = match rest {
        None => value,
        Some(rest) => {
            let mut inner = DeTable::new();
            insert(&mut inner, rest, value);
            DeValue::Table(inner)
        }
    };
    free.insert(Spanned::new(0..0, value));
    true
}

/// The settings that a name means: one, or all of a table (`keep`).
///
/// # Errors
/// There is none of that name; for people.
pub fn setting_keys(name: &str) -> Result<Vec<SettingKey>, String> {
    check_lengths(name, "")?;
    let is_in = |key: &SettingKey| {
        key.name().strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let keys: Vec<_> = SettingKey::ALL.iter().filter(|key| is_in(key)).copied().collect();
    if !keys.is_empty() {
        return Ok(keys);
    }
    let all: Vec<_> = SettingKey::ALL.iter().map(|key| key.name()).collect();
    Err(match nearest(name, &all) {
        Some(known) => format!("{name}: unknown key; did you mean `{known}`?"),
        None => format!("{name}: unknown key; known here are {}", all.join(", ")),
    })
}

/// A value as `musher queue set` takes it, and as it is in the configuration, there in quotes unless it is a number, `true` or `false`.
pub fn show_setting(setting: Setting) -> String {
    let limit = |limit: Option<u32>| limit.unwrap_or(0).to_string();
    let keep = |keep: Keep| match keep {
        Keep::No => "no".to_owned(),
        Keep::For(time) => show_duration(time),
        Keep::Forever => "forever".to_owned(),
    };
    match setting {
        Setting::Priority(priority) => priority.0.to_string(),
        Setting::Lease(time) | Setting::CircuitProbe(time) => show_duration(time),
        Setting::Timeout(timeout) => timeout.map_or_else(|| "none".to_owned(), show_duration),
        Setting::Retries(retries) => {
            let word = RETRIES.iter().find(|(_, it)| *it == retries);
            word.expect("each has its word").0.to_owned()
        }
        Setting::Attempts(n) | Setting::Crashes(n) | Setting::LaterMax(n) => n.to_string(),
        Setting::KeepDone(time) | Setting::KeepDead(time) => keep(time),
        Setting::KeepDoneMax(n) | Setting::Backlog(n) => n.to_string(),
        Setting::BacklogBytes(bytes) => show_size(bytes),
        Setting::Full(Full::Reject) => "reject".to_owned(),
        Setting::Full(Full::DropNew) => "drop-new".to_owned(),
        Setting::Full(Full::DropOld) => "drop-old".to_owned(),
        Setting::Full(Full::Wait(time)) => format!("wait {}", show_duration(time)),
        Setting::Concurrency(most)
        | Setting::PerKey(most)
        | Setting::Weight(most)
        | Setting::KeepDeadMax(most)
        | Setting::CircuitFailures(most) => limit(most),
        Setting::Fair(fair) => fair.to_string(),
        Setting::Rate(rate) | Setting::PerKeyRate(rate) => {
            rate.map_or_else(|| "none".to_owned(), |rate| rate.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_is_refused_however_long_it_is() {
        let deep = "a.".repeat(1 << 20);
        for pairs in [[(deep.clone(), "1".to_owned())], [("rate".to_owned(), "1".repeat(1 << 20))]] {
            assert!(read_settings(&pairs).unwrap_err().len() < 200);
        }
        assert!(setting_keys(&deep).unwrap_err().len() < 200);
    }
}
