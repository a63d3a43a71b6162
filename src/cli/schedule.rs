//! `musher schedule`: jobs that are submitted by the clock.

use super::exit::{End, Failure};
use super::output::{self, count, point, safe, user, when};
use super::run::command_body;
use super::submit::read_body;
use crate::client::{Client, Receipts};
use crate::config::COMMANDS_QUEUE;
use crate::core::Payload;
use crate::durations::{parse_duration, show_duration};
use crate::protocol::Word;
use crate::protocol::admin::{AdminRequest, BACKOFF_KINDS, BackoffView, ScheduleAdd, ScheduleView};
use crate::words::counted;
use crate::written::options::{LikeArgs, millis};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
A schedule is kept by the daemon, and nothing it has to submit is lost or submitted twice, whatever dies. docs/schedules.md
says what becomes of times that were missed, of nights on which clocks are set, and of full or paused queues.

Examples:
  musher schedule add nightly --cron '0 3 * * *' --zone Europe/Berlin backups all
  musher schedule list
  musher schedule next nightly -n 5";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Schedule {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a schedule
    Add(Box<Add>),
    /// The schedules
    #[command(
        after_help = "Examples:\n  musher schedule list\n  musher schedule list --json | jq 'select(.paused)'"
    )]
    List {
        /// Print an object a line
        #[arg(long)]
        json: bool,
    },
    /// One schedule: what it submits and when, and its last jobs
    #[command(after_help = "Example:\n  musher schedule show nightly")]
    Show(Named),
    /// When it runs next
    #[command(after_help = "Example:\n  musher schedule next nightly -n 5")]
    Next {
        #[command(flatten)]
        named: Named,
        /// How many times
        #[arg(short = 'n', long = "count", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
        count: u32,
    },
    /// Submit its job now, whatever its times are; prints the job's id
    #[command(after_help = "Example:\n  musher wait $(musher schedule trigger nightly)")]
    Trigger(Named),
    /// Let it submit nothing until it is resumed
    #[command(after_help = "Example:\n  musher schedule pause nightly")]
    Pause(Named),
    /// Let it submit again, from now on
    #[command(after_help = "Example:\n  musher schedule resume nightly")]
    Resume(Named),
    /// Forget it; its jobs stay
    #[command(after_help = "Example:\n  musher schedule remove nightly")]
    Remove(Named),
}

#[derive(Debug, Args)]
struct Named {
    /// The schedule
    name: String,
    /// Print an object
    #[arg(long)]
    json: bool,
}

const ADD_EXAMPLES: &str = "\
The fields of cron are minute, hour, day of the month, month, day of the week: numbers, names, lists (1,15), ranges (mon-fri)
and steps (*/10); with a sixth field before them, seconds. Or one of @hourly, @daily, @weekly, @monthly, @yearly.
A command is kept with its directory and environment as they are now, as by `musher run`.

Examples:
  musher schedule add nightly --cron '0 3 * * *' --zone Europe/Berlin backups all
  musher schedule add poll --every 10m --overlap skip --jitter 30s mails 'fetch'
  musher schedule add report --cron '@monthly' commands -- ./report.sh --all";

#[derive(Debug, Args)]
#[command(after_help = ADD_EXAMPLES)]
struct Add {
    /// Its name
    name: String,
    /// The queue of its jobs
    queue: String,
    /// The body of its jobs; `-` reads it from standard input
    body: Option<OsString>,
    /// Read the body from this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["body", "command"])]
    file: Option<PathBuf>,
    /// When it runs, in the fields of cron
    #[arg(long, value_name = "FIELDS", required_unless_present = "every", conflicts_with = "every")]
    cron: Option<String>,
    /// The time zone of --cron [default: the daemon's]
    #[arg(long, value_name = "ZONE", requires = "cron")]
    zone: Option<String>,
    /// Run once in so long, counted from the last time
    #[arg(long, value_name = "TIME", value_parser = parse_every)]
    every: Option<Duration>,
    /// What becomes of times that were missed: nothing, one job for all, or a job for each (the last 100)
    #[arg(long, value_name = "HOW", value_parser = ["skip", "one", "all"], default_value = "one")]
    catch_up: String,
    /// What becomes of a time at which the last job has not ended: it is submitted all the same, left out, submitted when
    /// that has ended (one waits at most), or takes the place of the last one unless that runs
    #[arg(long, value_name = "HOW", value_parser = ["allow", "skip", "queue", "replace"], default_value = "allow")]
    overlap: String,
    /// Put each job off by up to so long, by chance
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    jitter: Duration,
    /// If there is one of that name, change it
    #[arg(long)]
    replace: bool,
    /// Print the schedule as an object
    #[arg(long)]
    json: bool,
    /// The key of its jobs: of those with the same one only so many run at a time (the queue's per_key)
    #[arg(long, value_name = "KEY", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key: Option<String>,
    #[command(flatten)]
    like: LikeArgs,
    /// A command and its arguments, for a queue whose handler is \"command\"
    #[arg(last = true, value_name = "CMD", conflicts_with = "body")]
    command: Vec<OsString>,
}

fn parse_every(text: &str) -> Result<Duration, String> {
    match parse_duration(text).map_err(|error| error.to_string())? {
        time if time < Duration::from_secs(1) => Err("a schedule runs at most once a second".into()),
        time => Ok(time),
    }
}

impl Schedule {
    pub(super) async fn run(&self, client: &Client) -> End {
        match &self.verb {
            Verb::Add(add) => return add.run(client).await,
            Verb::List { json } => list(client, *json).await?,
            Verb::Show(named) => show(client, named).await?,
            Verb::Next { named, count } => next(client, named, *count).await?,
            Verb::Trigger(Named { name, json }) => {
                let name = name.clone();
                let answer: Value = client.ask(AdminRequest::ScheduleTrigger { name }).await?;
                output::submitted(
                    &Receipts::New { first: answer["id"].as_u64().unwrap_or(0), count: 1 },
                    *json,
                )?;
            }
            Verb::Pause(named) => {
                let name = named.name.clone();
                done(client, AdminRequest::SchedulePause { name }, named, ("paused", "is paused")).await?;
            }
            Verb::Resume(named) => {
                let name = named.name.clone();
                done(client, AdminRequest::ScheduleResume { name }, named, ("resumed", "runs again")).await?;
            }
            Verb::Remove(named) => {
                let name = named.name.clone();
                done(client, AdminRequest::ScheduleRemove { name }, named, ("removed", "is forgotten"))
                    .await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    async fn run(&self, client: &Client) -> End {
        let LikeArgs { priority, ttl, deadline, attempts, backoff, timeout, tags } = &self.like;
        let is_command = !self.command.is_empty();
        let add = ScheduleAdd {
            name: self.name.clone(),
            replace: self.replace,
            cron: self.cron.clone(),
            zone: self.zone.clone(),
            every_ms: self.every.map(millis),
            catch_up: Some(self.catch_up.clone()),
            overlap: Some(self.overlap.clone()),
            jitter_ms: millis(self.jitter),
            queue: self.queue.clone(),
            body: Word(OsString::from_vec(self.body()?)),
            priority: *priority,
            ttl_ms: ttl.map(millis),
            deadline_ms: deadline.map(millis),
            // A command that fails is not run again unless that is asked for, as by `musher run`.
            attempts: attempts.or(is_command.then_some(1)),
            backoff: backoff.map(|backoff| BackoffView {
                kind: BACKOFF_KINDS[usize::from(backoff.growth)].into(),
                base_ms: backoff.base_ms,
                max_ms: backoff.max_ms,
                jitter_permille: backoff.jitter_permille,
            }),
            timeout_ms: timeout.map(millis),
            key: self.key.clone(),
            tags: tags.clone(),
        };
        let made: ScheduleView = client.ask(AdminRequest::ScheduleAdd(Box::new(add))).await?;
        if self.json {
            output::json(&made)?;
        } else {
            let next = made.next_at.map_or_else(|| "never".to_owned(), point);
            eprintln!("schedule {} runs next: {next}", made.name);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn body(&self) -> Result<Vec<u8>, Failure> {
        let max = Payload::BODY_MAX;
        let body = match (&self.body, &self.file) {
            _ if !self.command.is_empty() => command_body(&self.command)?,
            (_, Some(file)) if file.as_os_str() != "-" => {
                let name = file.display().to_string();
                let file = File::open(file).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
                read_body(file, max, &name)?.into()
            }
            (Some(body), None) if body != "-" => body.clone().into_vec(),
            (None, None) if self.queue == COMMANDS_QUEUE => {
                return Err(Failure::usage("what is the command? Write it behind --"));
            }
            (None, None) => return Err(Failure::usage("what is the job? Give a BODY, --file FILE, or `-`")),
            _ => read_body(io::stdin().lock(), max, "standard input")?.into(),
        };
        if body.len() > max {
            let len = body.len();
            let message =
                format!("a body of {len} bytes: that of a schedule has at most {max}; put it into a file");
            return Err(Failure::usage(message));
        }
        Ok(body)
    }
}

async fn done(
    client: &Client,
    change: AdminRequest,
    Named { name, json }: &Named,
    (key, words): (&str, &str),
) -> Result<(), Failure> {
    client.done(change).await?;
    if *json {
        output::json(&json!({ "name": name, key: true }))?;
    }
    eprintln!("schedule {name} {words}");
    Ok(())
}

async fn list(client: &Client, json: bool) -> Result<(), Failure> {
    let schedules: Vec<ScheduleView> = client.ask(AdminRequest::Schedules {}).await?;
    if json {
        return Ok(schedules.iter().try_for_each(output::json)?);
    }
    if schedules.is_empty() {
        return Ok(output::line("no schedule yet: see `musher schedule add --help`")?);
    }
    let head = ["SCHEDULE", "WHEN", "QUEUE", "NEXT", "LAST", "FIRED", "SKIPPED"];
    let rows: Vec<_> = schedules.iter().map(row).collect();
    Ok(output::table_without(&head, &rows, &["SKIPPED", "FIRED", "LAST"])?)
}

fn row(schedule: &ScheduleView) -> Vec<String> {
    let next = match schedule.next_at {
        _ if schedule.paused => "paused".to_owned(),
        _ if schedule.waits => "one waits".to_owned(),
        Some(at) => when(at),
        None => "never".to_owned(),
    };
    let last = schedule.runs.first().map_or_else(
        || "-".to_owned(),
        |run| format!("{} {}", run.job, run.state.as_deref().unwrap_or("gone")),
    );
    vec![
        schedule.name.clone(),
        times(schedule),
        schedule.queue.clone(),
        next,
        last,
        count(schedule.fired),
        count(schedule.skipped),
    ]
}

/// Its rhythm in words.
pub(super) fn times(schedule: &ScheduleView) -> String {
    match (&schedule.cron, &schedule.zone, schedule.every_ms) {
        (Some(cron), Some(zone), _) => format!("{} {}", safe(cron), safe(zone)),
        (_, _, Some(ms)) => format!("every {}", show_duration(Duration::from_millis(ms))),
        _ => "-".to_owned(),
    }
}

async fn show(client: &Client, Named { name, json }: &Named) -> Result<(), Failure> {
    let schedule: ScheduleView = client.ask(AdminRequest::ScheduleShow { name: name.clone() }).await?;
    if *json {
        return Ok(output::json(&schedule)?);
    }
    let next = match schedule.next_at {
        _ if schedule.paused => "paused".to_owned(),
        Some(at) => point(at),
        None => "never".to_owned(),
    };
    let from = if schedule.configured { "the configuration" } else { "a command" };
    let duration = |ms| show_duration(Duration::from_millis(ms));
    let tags = schedule.tags.iter().map(|(name, value)| format!("{}={}", safe(name), safe(value)));
    let facts = [
        ("schedule", Some(format!("{}, from {from}", schedule.name))),
        ("runs", Some(times(&schedule))),
        ("next", Some(next)),
        ("waits", schedule.waits.then(|| "a job waits for the end of the last one, or for room".to_owned())),
        ("queue", Some(schedule.queue.clone())),
        ("owner", Some(user(schedule.owner))),
        ("catch-up", Some(schedule.catch_up.clone())),
        ("overlap", Some(schedule.overlap.clone())),
        ("jitter", Some(schedule.jitter_ms).filter(|ms| *ms > 0).map(duration)),
        ("priority", schedule.priority.map(|priority| priority.to_string())),
        ("attempts", schedule.attempts.map(|attempts| attempts.to_string())),
        ("ttl", schedule.ttl_ms.map(duration)),
        ("deadline", schedule.deadline_ms.map(duration)),
        ("timeout", schedule.timeout_ms.map(duration)),
        ("key", schedule.key.as_deref().map(safe)),
        ("tags", Some(tags.collect::<Vec<_>>().join(" ")).filter(|tags| !tags.is_empty())),
        ("body", Some(counted(schedule.body_bytes, "byte", "bytes"))),
        ("fired", Some(count(schedule.fired))),
        ("skipped", Some(count(schedule.skipped)).filter(|skipped| skipped != "0")),
    ];
    let facts: Vec<_> = facts.into_iter().filter_map(|(name, fact)| Some((name, fact?))).collect();
    output::facts(&facts)?;
    schedule.runs.iter().try_for_each(|run| {
        let state = run.state.as_deref().unwrap_or("gone");
        output::line(&format!("job {}: {state}, for {}", run.job, point(run.at)))
    })?;
    Ok(())
}

async fn next(client: &Client, Named { name, json }: &Named, count: u32) -> Result<(), Failure> {
    let times: Vec<u64> = client.ask(AdminRequest::ScheduleNext { name: name.clone(), count }).await?;
    if *json {
        return Ok(times.iter().try_for_each(|at| output::json(&json!({ "at": at })))?);
    }
    if times.is_empty() {
        return Ok(output::line("never")?);
    }
    Ok(times.iter().try_for_each(|at| output::line(&point(*at)))?)
}
