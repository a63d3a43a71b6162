//! `musher submit`: one job, a job a line, or a job a line of JSON.

use super::exit::{End, Failure};
use super::job_options::{Wishes, parse_backoff, parse_tag};
use super::{lines, output, wait};
use crate::client::{Client, ClientError};
use crate::durations::parse_duration;
use crate::protocol::{JobOptions, SubmitGroup};
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::{JoinError, JoinHandle};

/// The most jobs of one batch of lines, and how many bytes of bodies about.
const BATCH_JOBS: usize = 10_000;
const BATCH_BYTES: usize = 4 << 20;
/// How many batches are under way at once.
const BATCHES_AHEAD: usize = 4;
/// What a frame has besides bodies, at most.
const FRAME_ROOM: usize = 64 << 10;

const EXAMPLES: &str = "\
Examples:
  musher submit mails 'hello'                   prints the job's id
  id=$(musher submit mails --delay 10s 'later')
  musher submit photos --file cat.jpg --tag cat=tom
  seq 1000000 | musher submit bulk --lines
  tail -F events.log | musher submit events --lines     each line as it comes
  echo '{\"body\": \"hi\", \"delay\": \"1m\"}' | musher submit mails --jsonl";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Submit {
    /// The queue; it comes into being with its first job
    queue: String,
    /// The job's body; `-` reads it from standard input
    #[arg(conflicts_with_all = ["file", "lines", "jsonl"])]
    body: Option<String>,
    /// Read the body from a file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lines", "jsonl"])]
    file: Option<PathBuf>,
    /// One job for each line of standard input, in batches that are all or nothing
    #[arg(long, conflicts_with_all = ["jsonl", "wait"])]
    lines: bool,
    /// One job for each line of standard input: {"body": …, "delay": "10s", …}
    #[arg(long, conflicts_with = "wait")]
    jsonl: bool,
    /// With --lines and --jsonl: print every id
    #[arg(long)]
    ids: bool,
    /// Wait until the job has ended; exit 1 unless it is done
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    wishes: Wishes,
}

impl Submit {
    pub(super) async fn run(&self, client: &Client) -> End {
        if self.lines || self.jsonl {
            return self.many(client).await;
        }
        let options = self.wishes.for_queue(&self.queue)?;
        let group = SubmitGroup { options, bodies: vec![self.body()?] };
        let (id, _) = client.submit(vec![group]).await?;
        output::line(&id.to_string())?;
        if self.wait { wait::wait_for(client, vec![id], None, false).await } else { Ok(ExitCode::SUCCESS) }
    }

    fn body(&self) -> Result<Bytes, Failure> {
        match (&self.body, &self.file) {
            (_, Some(file)) => {
                let read = std::fs::read(file);
                Ok(read.map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?.into())
            }
            (Some(body), None) if body != "-" => Ok(Bytes::copy_from_slice(body.as_bytes())),
            (Some(_), None) => {
                let mut body = Vec::new();
                io::stdin().lock().read_to_end(&mut body)?;
                Ok(body.into())
            }
            (None, None) => {
                Err(Failure::usage("what is the job? Give a BODY, --file FILE, `-`, --lines or --jsonl"))
            }
        }
    }

    async fn many(&self, client: &Client) -> End {
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {human_pos} jobs, {per_sec}, {elapsed}")
                .expect("a fixed template"),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        let mut batches = Batches::new(self.ids, bar.clone());
        let mut result = self.read_all(client, &mut batches).await;
        // What is under way counts all the same.
        while !batches.under_way.is_empty() {
            result = result.and(batches.finish(0).await);
        }
        bar.finish_and_clear();
        match result {
            Ok(()) => {
                eprintln!("{} jobs submitted to {}", output::count(batches.taken), self.queue);
                Ok(ExitCode::SUCCESS)
            }
            Err(failure) => {
                let (taken, next) = (output::count(batches.taken), batches.taken + 1);
                let mut message = format!(
                    "{}\n{taken} jobs were taken; the first that was not is number {next}",
                    failure.message
                );
                if batches.behind > 0 {
                    message += &format!(", but {} of those after it were", output::count(batches.behind));
                }
                Err(Failure { message, ..failure })
            }
        }
    }

    /// Jobs are sent as soon as a batch is full, and what there is when nothing is under way: so a slow producer's
    /// lines go at once, and a fast one's in large batches.
    async fn read_all(&self, client: &Client, batches: &mut Batches) -> Result<(), Failure> {
        let mut input = lines::read(io::stdin());
        let mut batch = Batch::new(client);
        let (plain, mut number) = (self.wishes.for_queue(&self.queue)?, 0u64);
        loop {
            tokio::select! {
                biased;
                lines = input.recv() => {
                    let Some(lines) = lines else { break };
                    for text in lines?.each() {
                        number += 1;
                        let job = if self.jsonl { self.json_job(&text) } else { Ok(Some((plain.clone(), text))) };
                        let job = job.map_err(|error| Failure::usage(format!("line {number}: {error}")))?;
                        let Some((options, body)) = job else { continue };
                        if !batch.has_room_for(&body) {
                            batches.send(client, batch.take()).await?;
                        }
                        batch.add(options, body);
                    }
                }
                batch = batches.oldest() => batches.count(batch)?,
            }
            if batches.under_way.is_empty() && input.is_empty() {
                batches.send(client, batch.take()).await?;
            }
        }
        batches.send(client, batch.take()).await
    }

    /// One line of JSON: what it does not say is as on the command line. Blank lines are nothing.
    fn json_job(&self, text: &[u8]) -> Result<Option<(JobOptions, Bytes)>, String> {
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let line: Line = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let duration = |text: Option<String>, or| match text {
            Some(text) => parse_duration(&text).map(Some).map_err(|error| error.to_string()),
            None => Ok(or),
        };
        let mut wishes = self.wishes.clone();
        if line.delay.is_some() || line.at.is_some() {
            (wishes.delay, wishes.at) = (None, line.at);
        }
        wishes.delay = duration(line.delay, wishes.delay)?;
        wishes.ttl = duration(line.ttl, wishes.ttl)?;
        wishes.timeout = duration(line.timeout, wishes.timeout)?;
        wishes.priority = line.priority.or(wishes.priority);
        wishes.attempts = line.attempts.or(wishes.attempts);
        if let Some(backoff) = line.backoff {
            wishes.backoff = Some(parse_backoff(&backoff)?);
        }
        for tag in line.tags {
            wishes.tags.push(parse_tag(&tag)?);
        }
        let queue = line.queue.as_deref().unwrap_or(&self.queue);
        let options = wishes.for_queue(queue).map_err(|failure| failure.message)?;
        let body = match line.body {
            serde_json::Value::String(text) => text.into_bytes(),
            value => value.to_string().into_bytes(),
        };
        Ok(Some((options, body.into())))
    }
}

/// A job as a line of JSON. A body that is not text is kept as JSON.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    body: serde_json::Value,
    queue: Option<String>,
    priority: Option<u32>,
    delay: Option<String>,
    at: Option<String>,
    ttl: Option<String>,
    attempts: Option<u32>,
    backoff: Option<String>,
    timeout: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

/// Jobs that will be submitted together.
struct Batch {
    groups: Vec<SubmitGroup>,
    jobs: usize,
    bytes: usize,
    jobs_max: usize,
    bytes_max: usize,
}

impl Batch {
    fn new(client: &Client) -> Batch {
        let limits = client.limits();
        let jobs_max = BATCH_JOBS.min(limits.batch);
        let bytes_max = BATCH_BYTES.min(limits.frame.saturating_sub(FRAME_ROOM));
        Batch { groups: Vec::new(), jobs: 0, bytes: 0, jobs_max, bytes_max }
    }

    /// One job always fits: if it is too large, the daemon says so.
    fn has_room_for(&self, body: &Bytes) -> bool {
        self.jobs == 0 || (self.jobs < self.jobs_max && self.bytes + body.len() <= self.bytes_max)
    }

    fn add(&mut self, options: JobOptions, body: Bytes) {
        self.bytes += body.len() + 4;
        self.jobs += 1;
        match self.groups.last_mut() {
            Some(group) if group.options == options => group.bodies.push(body),
            _ => self.groups.push(SubmitGroup { options, bodies: vec![body] }),
        }
    }

    fn take(&mut self) -> Vec<SubmitGroup> {
        (self.jobs, self.bytes) = (0, 0);
        std::mem::take(&mut self.groups)
    }
}

/// Batches under way: sent ahead, counted in order.
struct Batches {
    /// How many jobs were taken before any that were not.
    taken: u64,
    /// And how many behind these.
    behind: u64,
    has_gap: bool,
    under_way: VecDeque<JoinHandle<Result<(u64, u64), ClientError>>>,
    print_ids: bool,
    bar: ProgressBar,
}

/// What became of a batch: its first id, and how many jobs it has.
type Sent = Result<Result<(u64, u64), ClientError>, JoinError>;

impl Batches {
    fn new(print_ids: bool, bar: ProgressBar) -> Batches {
        Batches { taken: 0, behind: 0, has_gap: false, under_way: VecDeque::new(), print_ids, bar }
    }

    /// Sends what there is to send, when there is room for one more.
    async fn send(&mut self, client: &Client, groups: Vec<SubmitGroup>) -> Result<(), Failure> {
        if groups.is_empty() {
            return Ok(());
        }
        self.finish(BATCHES_AHEAD - 1).await?;
        let client = client.clone();
        self.under_way.push_back(tokio::spawn(async move { client.submit(groups).await }));
        // Lines may never let up: give the connection its turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// What became of the first of those under way; never, if none is. It is to be counted.
    async fn oldest(&mut self) -> Sent {
        match self.under_way.front_mut() {
            Some(batch) => {
                let sent = batch.await;
                self.under_way.pop_front();
                sent
            }
            None => std::future::pending().await,
        }
    }

    /// Waits until at most so many are under way.
    async fn finish(&mut self, left: usize) -> Result<(), Failure> {
        while self.under_way.len() > left {
            let sent = self.oldest().await;
            self.count(sent)?;
        }
        Ok(())
    }

    fn count(&mut self, sent: Sent) -> Result<(), Failure> {
        let sent = sent.map_err(Failure::failed).and_then(|sent| Ok(sent?));
        self.has_gap |= sent.is_err();
        let (first, count) = sent?;
        *(if self.has_gap { &mut self.behind } else { &mut self.taken }) += count;
        self.bar.set_position(self.taken + self.behind);
        if self.print_ids {
            for id in first..first + count {
                output::line(&id.to_string())?;
            }
        }
        Ok(())
    }
}
