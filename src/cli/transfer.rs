//! `musher export` and `import`: jobs as lines of JSON, for other programs, another daemon, or an editor. Only work is
//! moved: an imported job is a new job.

use super::batches::is_zero;
use super::exit::{End, Failure};
use super::handover::Handover;
use super::moving::Moving;
use super::output::{self, count};
use super::progress::Progress;
use crate::client::{Client, ClientError};
use crate::clock;
use crate::protocol::admin::{AdminRequest, BackoffView, JobView, JobsView, ListQuery, StatusView};
use crate::protocol::{Beside, ErrorCode, JobOptions, Start, SubmitGroup, WireBackoff};
use crate::views::has_ended;
use crate::words::{self, counted};
use crate::written::json;
use crate::written::unique::{UniqueArgs, UniqueWhile};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use clap::Args;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufWriter, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How many jobs are asked for at once.
const PAGE: u32 = 1_000;
/// How many bodies are asked for ahead. They may be long.
const BODIES_AHEAD: usize = 16;
/// The most jobs of one batch, and how many bytes about.
const BATCH_JOBS: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;
/// What a frame has besides bodies, at most.
const FRAME_ROOM: usize = 64 << 10;

const EXPORT: &str = "\
Prints one JSON object per line, ordered by id, with the body as `body`, or as `body_base64` if it is not text; in the same way
`checkpoint` and `result`, where a job has one. Jobs that are submitted meanwhile are not in it, jobs that end meanwhile may be; `musher backup` shows one moment.

Examples:
  musher export > jobs.jsonl
  musher export --queue mails --state dead | jq -r .body";

#[derive(Debug, Args)]
#[command(after_help = EXPORT)]
pub(super) struct Export {
    /// Only jobs of this queue
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// Only jobs in this state: scheduled, waiting, ready, leased, done, dead, cancelled, expired
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
}

/// A line: what `show` says of a job, and its body.
#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    job: &'a JobView,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(flatten)]
    beside: serde_json::Map<String, serde_json::Value>,
}

/// What is exported of a job besides what `show` says of it.
struct Contents {
    body: Bytes,
    /// Its checkpoint and its result, if it has them.
    beside: Vec<(&'static str, Bytes)>,
}

impl Contents {
    async fn of(client: &Client, job: &JobView) -> Result<Contents, ClientError> {
        let body = client.body(job.id).await?;
        let mut beside = Vec::new();
        for (name, has, what) in [
            ("checkpoint", job.has_checkpoint, Beside::Checkpoint),
            ("result", job.has_result, Beside::Result),
        ] {
            if !has {
                continue;
            }
            match client.beside(job.id, what).await {
                Ok(found) => beside.push((name, found)),
                // It has lost it meanwhile.
                Err(ClientError::Refused(fault))
                    if matches!(fault.code, ErrorCode::NotFound | ErrorCode::WrongState) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Contents { body, beside })
    }
}

impl Export {
    pub(super) async fn run(&self, client: &Client) -> End {
        // An import into the same daemon must not feed the export.
        let end = client.ask::<StatusView>(AdminRequest::Status {}).await?.next_id;
        let (mut after, mut written, mut lost) = (0, 0, 0);
        let mut out = BufWriter::new(Handover::to_stdout()?);
        let progress = Progress::of_jobs("export", None);
        let cut = |written, error: io::Error| {
            let message = format!(
                "the export is not complete: its reader has gone, or the disk is full ({error}), after {}",
                words::jobs(written)
            );
            Failure::failed(message)
        };
        while after + 1 < end {
            let (queue, state) = (self.queue.clone(), self.state.clone());
            let page =
                AdminRequest::List(ListQuery { queue, state, after, limit: PAGE, ..ListQuery::default() });
            let page: JobsView = client.ask(page).await?;
            let mut jobs = page.jobs.into_iter().filter(|job| job.id < end);
            let mut asked = VecDeque::new();
            loop {
                let more = jobs.by_ref().take(BODIES_AHEAD - asked.len());
                asked.extend(more.map(|job| {
                    let (client, asked) = (client.clone(), job.clone());
                    (job, tokio::spawn(async move { Contents::of(&client, &asked).await }))
                }));
                let Some((job, body)) = asked.pop_front() else { break };
                match body.await.map_err(Failure::failed)? {
                    Ok(_) if job.tags_unread => {
                        progress.aside(|| {
                            eprintln!("musher: job {} is left out: its tags cannot be read", job.id)
                        });
                        lost += 1;
                    }
                    Ok(body) => {
                        line(&mut out, &job, &body).map_err(|error| cut(written, error))?;
                        written += 1;
                        progress.is(written);
                    }
                    // It has gone meanwhile.
                    Err(ClientError::Refused(fault)) if fault.code == ErrorCode::NotFound => {}
                    // One that cannot be read must not keep back the others.
                    Err(ClientError::Refused(fault)) => {
                        progress.aside(|| eprintln!("musher: job {} is left out: {fault}", job.id));
                        lost += 1;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        out.flush().and_then(|()| out.get_mut().finish()).map_err(|error| cut(written, error))?;
        drop(progress);
        eprintln!("{} exported", words::jobs(written));
        match lost {
            0 => Ok(ExitCode::SUCCESS),
            lost => Err(Failure::failed(format!("{} could not be read", words::jobs(lost)))),
        }
    }
}

fn line(out: &mut impl Write, job: &JobView, Contents { body, beside }: &Contents) -> io::Result<()> {
    let text = std::str::from_utf8(body).ok();
    let body_base64 = if text.is_none() { Some(BASE64_STANDARD.encode(body)) } else { None };
    let beside = beside.iter().map(|(name, blob)| match std::str::from_utf8(blob) {
        Ok(text) => ((*name).to_owned(), text.into()),
        Err(_) => (format!("{name}_base64"), BASE64_STANDARD.encode(blob).into()),
    });
    serde_json::to_writer(&mut *out, &Line { job, body: text, body_base64, beside: beside.collect() })?;
    out.write_all(b"\n")
}

const IMPORT: &str = "\
Reads the lines of `musher export` and submits each as a new job, in batches that are all or nothing.
Kept: queue, body, priority, attempts, backoff, timeout, key, unique key, tags, the time until which it is delayed, its deadline, and its time to live
if it had not begun.
Attempts and timeout are the values that were in force, those of the queue included. Only `queue` and a body are required.
Not kept: what jobs wait for (they are refused, unless --run-waiting lets them run at once), the group, the id, the owner (it is you), attempts so far and their errors, checkpoints, results and signals, a lease (the job is ready and begins anew).
Jobs that have ended are left out, unless --ended asks for them to be run again.
Jobs of another user are refused, unless --as-mine says that they become yours: commands among them would run as you.
A wrong line ends the import, which then says what was submitted and with which line to go on.

--from moves in from another queue instead; docs/guide.md (Moving in) says what is kept. Nothing is lost if it is cut off: run it again.
beanstalkd: jobs that are ready or delayed go to the queue of their tube's name, with priority, delay, time to run (as timeout) and body, and
are deleted there when they are on disk here. Buried ones come with --buried; those that workers have there are left. Stop the workers there first.
pueue, task-spooler: what is queued becomes commands as of `musher run`. There nothing is removed: it is said what to type.

Examples:
  musher import < jobs.jsonl
  musher export --socket /run/old.sock | musher import
  musher import --from beanstalkd://127.0.0.1:11300 --dry-run
  musher import --from beanstalkd+unix:///run/beanstalkd.sock --tube mails --buried
  musher import --from pueue
  musher import --from task-spooler";

#[derive(Debug, Args)]
#[command(after_help = IMPORT)]
pub(super) struct Import {
    /// Submit ended jobs as well: they run again
    #[arg(long)]
    ended: bool,
    /// Submit jobs of other users as your own; their commands run as you
    #[arg(long)]
    as_mine: bool,
    /// Let jobs that wait for others run at once: what they wait for has another id here
    #[arg(long)]
    run_waiting: bool,
    /// Print what was done as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    moving: Moving,
}

/// What an import needs of a line; the rest of it is for people.
#[derive(Debug, Deserialize)]
struct Job {
    queue: String,
    #[serde(default)]
    state: String,
    priority: Option<u32>,
    attempts: Option<u32>,
    backoff: Option<BackoffView>,
    /// `null` means no limit.
    #[serde(default, deserialize_with = "said")]
    timeout_ms: Option<Option<u64>>,
    #[serde(default, deserialize_with = "json::tags")]
    tags: Vec<(String, String)>,
    key: Option<String>,
    unique: Option<String>,
    unique_while: Option<UniqueWhile>,
    unique_for_ms: Option<u64>,
    owner: Option<u32>,
    due_at: Option<u64>,
    expires_at: Option<u64>,
    deadline: Option<u64>,
    body: Option<String>,
    body_base64: Option<String>,
}

/// Keeps apart what is `null` and what is not there.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

#[derive(Debug, Default, Serialize)]
struct Done {
    submitted: u64,
    /// Jobs whose unique keys others hold here.
    #[serde(skip_serializing_if = "is_zero")]
    existing: u64,
    left_out: u64,
}

impl Import {
    pub(super) async fn run(&self, client: &Client) -> End {
        if self.moving.is_asked() {
            return self.moving.run(client, self.as_mine, self.json).await;
        }
        let mut done = Done::default();
        let mut batch = Batch { first_line: 1, ..Batch::default() };
        if let Err(failure) = self.read_all(client, &mut batch, &mut done).await {
            let (taken, line) = (counted(done.submitted, "job was", "jobs were"), batch.first_line);
            let next = if batch.unknown { "check whether these were taken too, or " } else { "" };
            let message = format!("{}\n{taken} taken; {next}go on with line {line}", failure.message);
            return Err(Failure { message, ..failure });
        }
        if self.json {
            output::json(&done)?;
        } else {
            let (taken, left) = (count(done.submitted), count(done.left_out));
            let there = match done.existing {
                0 => String::new(),
                n => format!(", {} left out because jobs with their unique keys are here", count(n)),
            };
            eprintln!("{taken} jobs submitted under new ids, {left} left out because they had ended{there}");
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn read_all(&self, client: &Client, batch: &mut Batch, done: &mut Done) -> Result<(), Failure> {
        let limits = client.limits();
        let line_max = json::line_max(limits.body);
        let (jobs_max, bytes_max) =
            (BATCH_JOBS.min(limits.batch), BATCH_BYTES.min(limits.frame.saturating_sub(FRAME_ROOM)));
        let mut input = io::stdin().lock();
        let progress = Progress::of_jobs("import", None);
        let (mut text, mut number) = (Vec::new(), 0);
        loop {
            text.clear();
            if input.by_ref().take(line_max as u64 + 1).read_until(b'\n', &mut text)? == 0 {
                return batch.submit(client, number + 1, done).await;
            }
            number += 1;
            if text.trim_ascii().is_empty() {
                continue;
            }
            let wrong = |error: String| Failure::usage(format!("line {number}: {error}"));
            if text.len() > line_max {
                return Err(wrong(format!("it has more than {} bytes", count(line_max as u64))));
            }
            let job: Job = json::parse(&text).map_err(wrong)?;
            let ended = has_ended(&job.state);
            if ended && !self.ended {
                done.left_out += 1;
                continue;
            }
            if job.state == "waiting" && !self.run_waiting {
                let message = "a job that waits for others, whose ids and groups are not kept: it would run at once here. Say \
                               --run-waiting if it may, or import the others, and submit this one by hand";
                return Err(wrong(message.into()));
            }
            let own = rustix::process::geteuid().as_raw();
            if let Some(owner) = job.owner.filter(|owner| *owner != own && !self.as_mine) {
                let message = format!(
                    "a job of user {owner}, and you are user {own}: imported it would be yours, and a command would \
                     run as you. Import it as that user, or say --as-mine"
                );
                return Err(wrong(message));
            }
            // Run again by hand, it does not expire: as with `retry`.
            let (expires_at, deadline) = if ended { (None, None) } else { (job.expires_at, job.deadline) };
            let job = Job { expires_at, deadline, ..job };
            let (options, body) = job.into_new().map_err(wrong)?;
            let bytes = length(&options, &body);
            if batch.jobs == jobs_max || (batch.jobs > 0 && batch.bytes + bytes > bytes_max) {
                batch.submit(client, number, done).await?;
                progress.is(done.submitted);
            }
            batch.add(options, body, bytes);
        }
    }
}

impl Job {
    fn into_new(self) -> Result<(JobOptions, Bytes), String> {
        let body = match (self.body, self.body_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(text)) => {
                BASE64_STANDARD.decode(text).map_err(|error| format!("`body_base64`: {error}"))?
            }
            _ => return Err("a job has either `body` or `body_base64`".into()),
        };
        let backoff = self.backoff.map(WireBackoff::try_from).transpose()?;
        let unique = UniqueArgs {
            unique: self.unique,
            unique_while: self.unique_while,
            unique_for: self.unique_for_ms.map(Duration::from_millis),
            ..UniqueArgs::default()
        };
        let left = |at: u64| at.saturating_sub(clock::wall().0).max(1);
        let options = JobOptions {
            queue: self.queue,
            priority: self.priority,
            start: self.due_at.map_or(Start::Now, Start::At),
            // One whose time is over expires at once, and is counted as that.
            ttl_ms: self.expires_at.map(left),
            deadline_ms: self.deadline.map(left),
            attempts: self.attempts,
            backoff,
            timeout_ms: self.timeout_ms.map(|timeout| timeout.unwrap_or(0)),
            tags: self.tags,
            key: self.key,
            unique: unique.for_wire()?,
            ties: None,
            to_topic: false,
        };
        Ok((options, body.into()))
    }
}

/// How many bytes of a frame a job takes, at most.
fn length(options: &JobOptions, body: &Bytes) -> usize {
    let tags = options.tags.iter().map(|(name, value)| name.len() + value.len() + 8);
    let key = options.key.as_ref().map_or(0, String::len);
    let unique = options.unique.as_ref().map_or(0, |unique| unique.key.len());
    body.len() + options.queue.len() + tags.sum::<usize>() + key + unique + 100
}

/// Jobs that are submitted together.
#[derive(Default)]
struct Batch {
    groups: Vec<SubmitGroup>,
    jobs: usize,
    bytes: usize,
    /// The line with which to go on if it is not taken.
    first_line: u64,
    /// Whether it was taken is not known.
    unknown: bool,
}

impl Batch {
    fn add(&mut self, options: JobOptions, body: Bytes, bytes: usize) {
        self.jobs += 1;
        self.bytes += bytes;
        match self.groups.last_mut() {
            Some(group) if group.options == options => group.bodies.push(body),
            _ => self.groups.push(SubmitGroup { options, bodies: vec![body] }),
        }
    }

    /// Submits what there is; `next_line` is the first that is not in it.
    async fn submit(&mut self, client: &Client, next_line: u64, done: &mut Done) -> Result<(), Failure> {
        if self.jobs > 0 {
            let taken = client.submit(std::mem::take(&mut self.groups)).await;
            let receipts = taken.map_err(|error| {
                self.unknown = error.is_disconnect();
                let (first, failure) = (self.first_line, Failure::from(error));
                let message = format!("lines {first} to {}: {}", next_line - 1, failure.message);
                Failure { message, ..failure }
            })?;
            done.submitted += receipts.new_jobs();
            done.existing += receipts.len() - receipts.new_jobs();
        }
        (self.jobs, self.bytes, self.first_line) = (0, 0, next_line);
        Ok(())
    }
}
