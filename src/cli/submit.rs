//! `musher submit`: one job, a job a line, or a job a line of JSON.

use super::exit::{End, Failure};
use super::job_options::{Wishes, parse_backoff, parse_tag};
use super::{look, output};
use crate::client::{Client, ClientError};
use crate::durations::parse_duration;
use crate::protocol::SubmitGroup;
use bytes::Bytes;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Deserialize;
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinHandle;

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
        if self.wait { look::wait_for(client, vec![id], None, false).await } else { Ok(ExitCode::SUCCESS) }
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
        let mut batches =
            Batches { taken: 0, under_way: VecDeque::new(), print_ids: self.ids, bar: bar.clone() };
        let result = self.read_all(client, &mut batches).await;
        let result = match result {
            Ok(()) => batches.finish(0).await,
            // What is under way counts all the same.
            Err(failure) => batches.finish(0).await.and(Err(failure)),
        };
        bar.finish_and_clear();
        match result {
            Ok(()) => {
                eprintln!("{} jobs submitted to {}", output::count(batches.taken), self.queue);
                Ok(ExitCode::SUCCESS)
            }
            Err(failure) => {
                let (taken, next) = (output::count(batches.taken), batches.taken + 1);
                let message = format!(
                    "{}\n{taken} jobs were taken; the first that was not is number {next}",
                    failure.message
                );
                Err(Failure { message, ..failure })
            }
        }
    }

    async fn read_all(&self, client: &Client, batches: &mut Batches) -> Result<(), Failure> {
        let (jobs_max, bytes_max) = (
            BATCH_JOBS.min(client.limits().batch),
            BATCH_BYTES.min(client.limits().frame.saturating_sub(FRAME_ROOM)),
        );
        let plain = self.wishes.for_queue(&self.queue)?;
        let mut input = io::stdin().lock();
        let (mut batch, mut bytes, mut jobs, mut number) = (Vec::<SubmitGroup>::new(), 0, 0, 0u64);
        let mut text = Vec::new();
        loop {
            text.clear();
            if input.read_until(b'\n', &mut text)? == 0 {
                break;
            }
            number += 1;
            if text.last() == Some(&b'\n') {
                text.pop();
            }
            let (options, body) = if self.jsonl {
                let job = self
                    .json_job(&text)
                    .map_err(|error| Failure::usage(format!("line {number}: {error}")))?;
                let Some(job) = job else { continue };
                job
            } else {
                (plain.clone(), Bytes::copy_from_slice(&text))
            };
            if jobs == jobs_max || (jobs > 0 && bytes + body.len() > bytes_max) {
                batches.send(client, std::mem::take(&mut batch), jobs).await?;
                (bytes, jobs) = (0, 0);
            }
            bytes += body.len() + 4;
            jobs += 1;
            match batch.last_mut() {
                Some(group) if group.options == options => group.bodies.push(body),
                _ => batch.push(SubmitGroup { options, bodies: vec![body] }),
            }
        }
        if jobs > 0 {
            batches.send(client, batch, jobs).await?;
        }
        Ok(())
    }

    /// One line of JSON: what it does not say is as on the command line. Blank lines are nothing.
    fn json_job(&self, text: &[u8]) -> Result<Option<(crate::protocol::JobOptions, Bytes)>, String> {
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
        wishes.priority = line.priority.unwrap_or(wishes.priority);
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

/// Batches under way: sent ahead, counted in order.
struct Batches {
    taken: u64,
    under_way: VecDeque<JoinHandle<Result<(u64, u64), ClientError>>>,
    print_ids: bool,
    bar: ProgressBar,
}

impl Batches {
    async fn send(&mut self, client: &Client, groups: Vec<SubmitGroup>, jobs: usize) -> Result<(), Failure> {
        debug_assert_eq!(groups.iter().map(|group| group.bodies.len()).sum::<usize>(), jobs);
        self.finish(BATCHES_AHEAD - 1).await?;
        let client = client.clone();
        self.under_way.push_back(tokio::spawn(async move { client.submit(groups).await }));
        // Reading never waits: give the connection its turn.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Waits until at most so many are under way. After a failure the others are waited for, and not counted: what
    /// comes after a gap is said to be not taken only if it was not.
    async fn finish(&mut self, left: usize) -> Result<(), Failure> {
        while self.under_way.len() > left {
            let Some(batch) = self.under_way.pop_front() else { break };
            let (first, count) = batch.await.map_err(Failure::failed)??;
            self.taken += count;
            self.bar.set_position(self.taken);
            if self.print_ids {
                for id in first..first + count {
                    output::line(&id.to_string())?;
                }
            }
        }
        Ok(())
    }
}
