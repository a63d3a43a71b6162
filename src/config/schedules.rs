//! `[schedules.NAME]`: what is submitted by the clock. Whether its times can be read is asked of the calendar.

use super::problem::Report;
use super::raw::{Section, key_text};
use super::{Handler, Queue};
use crate::calendar::{BadRhythm, Calendar, system_zone};
use crate::core::{CatchUp, Overlap, Payload, Priority, QueueName, Rhythm, ScheduleName};
use crate::durations::show_duration;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

/// The most tags of a job, and the most bytes that they may have together.
pub const SCHEDULE_TAGS: (usize, usize) = (64, 512);
/// The longest key of a job, in bytes.
pub const SCHEDULE_KEY_MAX: usize = 256;

/// `[schedules.NAME]`
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// `cron` and `zone`, or `every`: when it runs.
    pub rhythm: Rhythm,
    /// `queue`: where its jobs go.
    pub queue: QueueName,
    /// `body`: theirs.
    pub body: String,
    /// `command`: what they run, in the place of a body; its program and arguments.
    pub command: Option<Vec<String>>,
    /// `key`: theirs; `None` for jobs without one.
    pub key: Option<String>,
    /// `catch_up`: what becomes of times that were missed.
    pub catch_up: CatchUp,
    /// `overlap`: what becomes of times at which the last job has not ended.
    pub overlap: Overlap,
    /// `jitter`: by how much jobs are put off at most.
    pub jitter: Duration,
    /// `priority`: of its jobs; `None` for the queue's.
    pub priority: Option<Priority>,
    /// `attempts`: of its jobs; `None` for the queue's.
    pub attempts: Option<u32>,
    /// `timeout`: of an attempt; `None` for the queue's.
    pub timeout: Option<Duration>,
    /// `ttl`: after what time a job expires that has not begun; `None` for never.
    pub ttl: Option<Duration>,
    /// `deadline`: after what time a job expires that has not ended; `None` for never.
    pub deadline: Option<Duration>,
    /// `tags`: of its jobs.
    pub tags: Vec<(String, String)>,
}

pub(super) fn schedules(
    section: &Section<'_>,
    queues: &BTreeMap<QueueName, Queue>,
    body_max: usize,
    report: &mut Report<'_>,
) -> BTreeMap<ScheduleName, Schedule> {
    let mut schedules = BTreeMap::new();
    for (name, one) in section.named(report) {
        let checked = schedule(one, queues, body_max.min(Payload::BODY_MAX), report);
        match ScheduleName::new(name) {
            Ok(name) => schedules.extend(checked.map(|schedule| (name, schedule))),
            Err(error) => section.fault(report, name, error.to_string()),
        }
    }
    schedules
}

fn schedule(
    mut section: Section<'_>,
    queues: &BTreeMap<QueueName, Queue>,
    body_max: usize,
    report: &mut Report<'_>,
) -> Option<Schedule> {
    let rhythm = rhythm(&mut section, report);
    let queue = match section.text(report, "queue") {
        None if !section.has("queue") => {
            section.fault_of_all(report, "names no queue; write queue = \"NAME\"");
            None
        }
        text => text.and_then(|text| {
            let name = QueueName::new(text);
            name.inspect_err(|error| section.fault(report, "queue", error.to_string())).ok()
        }),
    };
    let body = section.text(report, "body").unwrap_or_default().to_owned();
    if body.len() > body_max {
        let len = body.len();
        let message = format!("a body of {len} bytes; that of a schedule has at most {body_max}");
        section.fault(report, "body", message);
    }
    let command = command(&mut section, body_max, report);
    let handler = queue.as_ref().and_then(|queue| queues.get(queue)?.handler.as_ref());
    if let (Some(_), Some(Handler::Exec(_))) = (&command, handler) {
        let message = "needs a queue with handler = \"command\"; that of this one would get it as a body";
        section.fault(report, "command", message);
    }
    let key = section.text(report, "key").map(str::to_owned);
    if let Some(len) = key.as_ref().map(String::len).filter(|len| !(1..=SCHEDULE_KEY_MAX).contains(len)) {
        let message = format!("a key of {len} bytes; it has at least one, and at most {SCHEDULE_KEY_MAX}");
        section.fault(report, "key", message);
    }
    let words = |key, section: &mut Section<'_>, report: &mut Report<'_>| {
        let least = section.duration(report, key)?;
        if least.is_zero() {
            section.fault(report, key, "0ms is too short; the least is 1ms");
        }
        Some(least)
    };
    let whole = 1..=u64::from(u32::MAX);
    let any = 0..=u64::from(u32::MAX);
    let checked = Checked {
        catch_up: section.word(report, "catch_up", &CatchUp::ALL).unwrap_or_default(),
        overlap: section.word(report, "overlap", &Overlap::ALL).unwrap_or_default(),
        jitter: section.duration(report, "jitter").unwrap_or_default(),
        // Within u32 by their bounds.
        priority: section.count(report, "priority", any).map(|n| Priority(n as u32)),
        attempts: section.count(report, "attempts", whole).map(|n| n as u32),
        timeout: words("timeout", &mut section, report),
        ttl: words("ttl", &mut section, report),
        deadline: words("deadline", &mut section, report),
        tags: tags(&mut section, report),
    };
    section.finish(report);
    let Checked { catch_up, overlap, jitter, priority, attempts, timeout, ttl, deadline, tags } = checked;
    let (rhythm, queue) = (rhythm?, queue?);
    Some(Schedule {
        rhythm,
        queue,
        body,
        command,
        key,
        catch_up,
        overlap,
        jitter,
        priority,
        attempts,
        timeout,
        ttl,
        deadline,
        tags,
    })
}

/// What of a body is for the directory and the path of a command.
const COMMAND_REST: usize = 1 << 10;

/// The longest command of a schedule, in bytes as it is stored.
pub const SCHEDULE_COMMAND_MAX: usize = Payload::BODY_MAX - COMMAND_REST;

/// How many bytes a command takes at most in JSON: a byte takes six, a word has quotes and a comma.
pub(crate) fn stored_at_most(argv: &[String]) -> usize {
    argv.iter().map(|word| 6 * word.len() + 3).sum()
}

fn command(section: &mut Section<'_>, body_max: usize, report: &mut Report<'_>) -> Option<Vec<String>> {
    let argv = section.texts(report, "command")?;
    let (len, max) = (stored_at_most(&argv), SCHEDULE_COMMAND_MAX.min(body_max.saturating_sub(COMMAND_REST)));
    let message = match argv.first() {
        _ if section.has("body") => "goes not with body: keep one of them".to_owned(),
        None => "names no program; write it like [\"/usr/local/bin/report\", \"--all\"]".to_owned(),
        Some(program) if program.is_empty() => "names no program: the first word is empty".to_owned(),
        Some(_) if argv.iter().any(|word| word.contains('\0')) => "has a zero byte in it".to_owned(),
        Some(_) if len > max => {
            format!("takes up to {len} bytes as JSON; at most {max} are allowed")
        }
        Some(_) => return Some(argv),
    };
    section.fault(report, "command", message);
    None
}

/// What needs nothing else.
struct Checked {
    catch_up: CatchUp,
    overlap: Overlap,
    jitter: Duration,
    priority: Option<Priority>,
    attempts: Option<u32>,
    timeout: Option<Duration>,
    ttl: Option<Duration>,
    deadline: Option<Duration>,
    tags: Vec<(String, String)>,
}

fn rhythm(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<Rhythm> {
    let (cron, zone) = (section.text(report, "cron"), section.text(report, "zone"));
    let every = section.duration(report, "every");
    let rhythm = match (section.has("cron"), section.has("every")) {
        (true, true) => {
            section.fault(report, "every", "goes not with cron: keep one of them");
            return None;
        }
        (false, false) => {
            section.fault_of_all(report, "has no times; write cron = \"0 3 * * *\", or every = \"10m\"");
            return None;
        }
        (true, false) => {
            let zone = zone.map_or_else(system_zone, str::to_owned);
            Rhythm::Cron { fields: cron?.into(), zone: zone.into() }
        }
        (false, true) => {
            if section.has("zone") {
                section.fault(report, "zone", "is of no use without cron; remove it");
            }
            Rhythm::Every(every?)
        }
    };
    if let Err(error) = Calendar::new(&rhythm) {
        let (key, message) = match (&error, every) {
            (BadRhythm::TooQuick, Some(every)) => {
                let (every, least) = (show_duration(every), show_duration(Rhythm::LEAST));
                ("every", format!("{every} is too short; the least is {least}"))
            }
            (BadRhythm::Zone { .. }, _) => ("zone", error.to_string()),
            _ => ("cron", error.to_string()),
        };
        section.fault(report, key, message);
        return None;
    }
    Some(rhythm)
}

fn tags(section: &mut Section<'_>, report: &mut Report<'_>) -> Vec<(String, String)> {
    let mut tags: Vec<(String, String)> = Vec::new();
    for text in section.texts(report, "tags").unwrap_or_default() {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => tags.push((name.to_owned(), value.to_owned())),
            _ => section.fault(
                report,
                "tags",
                format!("`{}` is no tag; write it like \"order=42\"", text.escape_debug()),
            ),
        }
    }
    let len: usize = tags.iter().map(|(name, value)| name.len() + value.len()).sum();
    if tags.len() > SCHEDULE_TAGS.0 || len > SCHEDULE_TAGS.1 {
        let (count, (most, bytes)) = (tags.len(), SCHEDULE_TAGS);
        let message =
            format!("{count} tags of {len} bytes; a job has at most {most}, of {bytes} bytes together");
        section.fault(report, "tags", message);
    }
    tags
}

/// As TOML that loads to the same.
pub(super) fn show(text: &mut String, name: &ScheduleName, schedule: &Schedule) -> fmt::Result {
    let string = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let duration = |duration| format!("\"{}\"", show_duration(duration));
    writeln!(text, "\n[schedules.{}]", key_text(name.as_str()))?;
    match &schedule.rhythm {
        Rhythm::Cron { fields, zone } => {
            writeln!(text, "cron = {}\nzone = {}", string(fields), string(zone))?;
        }
        Rhythm::Every(time) => writeln!(text, "every = {}", duration(*time))?,
    }
    writeln!(text, "queue = {}", string(schedule.queue.as_str()))?;
    match &schedule.command {
        Some(argv) => {
            let words: Vec<_> = argv.iter().map(|word| string(word)).collect();
            writeln!(text, "command = [{}]", words.join(", "))?;
        }
        None => writeln!(text, "body = {}", string(&schedule.body))?,
    }
    if let Some(key) = &schedule.key {
        writeln!(text, "key = {}", string(key))?;
    }
    let catch_up = CatchUp::ALL.iter().find(|(_, it)| *it == schedule.catch_up);
    let overlap = Overlap::ALL.iter().find(|(_, it)| *it == schedule.overlap);
    writeln!(text, "catch_up = \"{}\"", catch_up.expect("each has its word").0)?;
    writeln!(text, "overlap = \"{}\"", overlap.expect("each has its word").0)?;
    writeln!(text, "jitter = {}", duration(schedule.jitter))?;
    let numbers = [("priority", schedule.priority.map(|it| it.0)), ("attempts", schedule.attempts)];
    for (key, number) in numbers {
        number.map_or(Ok(()), |number| writeln!(text, "{key} = {number}"))?;
    }
    for (key, time) in [("timeout", schedule.timeout), ("ttl", schedule.ttl), ("deadline", schedule.deadline)]
    {
        time.map_or(Ok(()), |time| writeln!(text, "{key} = {}", duration(time)))?;
    }
    if !schedule.tags.is_empty() {
        let tags: Vec<_> =
            schedule.tags.iter().map(|(name, value)| string(&format!("{name}={value}"))).collect();
        writeln!(text, "tags = [{}]", tags.join(", "))?;
    }
    Ok(())
}
