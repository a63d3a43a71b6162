//! A worker's steps by hand: claim, complete, fail, extend, release.

use super::beside;
use super::exit::{End, FAILED, Failure, TRY_AGAIN};
use super::follow::Follow;
use super::handover::Handover;
use super::interrupt;
use super::output::{self, count};
use crate::client::{Client, PendingClaim};
use crate::core::Time;
use crate::durations::{parse_duration, show_point};
use crate::protocol::{self as wire, ClaimedJob, LeaseFault, LeaseRef, Settle, Verdict};
use crate::telemetry::is_trick;
use crate::written::claimed::{claimed, lease_text, parse_lease};
use crate::written::options::{millis, parse_lease_time};
use clap::Args;
use serde_json::json;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::watch;

const CLAIM: &str = "\
Prints one line per job: ID@ATTEMPT, a tab, and the body. A body with line breaks or control characters, or one that
begins with a quote, is printed as a JSON string. With --json, a body that is not text is `body_base64`, and what an earlier
attempt has left with `musher checkpoint` is `checkpoint`, or `checkpoint_base64`; `musher show --checkpoint` prints it too.
Exit code 75 if there was no job in time. The lease outlives this command: settle it by its ID@ATTEMPT.
Jobs whose lines are not read, as in `musher claim mails -n 100 | head -1`, are given back, and the attempt is not counted.

Examples:
  lease=$(musher claim mails --wait 20s | cut -f1) && musher complete \"$lease\"
  musher claim mails -n 10 --lease 5m --json";

#[derive(Debug, Args)]
#[command(after_help = CLAIM)]
pub(super) struct Claim {
    /// Where to look for jobs, in this order
    #[arg(required = true, value_name = "QUEUE")]
    queues: Vec<String>,
    /// The most jobs; never more than limits.batch
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
    /// How long the lease lasts [default: the queue's]
    #[arg(long, value_name = "TIME", value_parser = parse_lease_time)]
    lease: Option<Duration>,
    /// How long to wait for the first job
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    wait: Option<Duration>,
    /// Print JSON objects with all details
    #[arg(long)]
    json: bool,
}

impl Claim {
    pub(super) async fn run(&self, client: &Client) -> End {
        let claim = wire::Claim {
            queues: self.queues.clone(),
            max: self.max,
            lease_ms: self.lease.map(millis),
            wait_ms: self.wait.map_or(0, millis),
            bound: false,
        };
        let (_heard, mut told) = interrupt::first_signal()?;
        let PendingClaim { number, answer } = client.start_claim(claim)?;
        let mut answer = pin!(answer);
        let jobs = tokio::select! {
            jobs = &mut answer => jobs?,
            signal = interrupt::signal(&mut told) => {
                // It may have been served just now.
                client.unwait(number).await?;
                let failure = give_back(client, &answer.await?, 0, &io::Error::other("interrupted")).await;
                return Err(Failure { code: interrupt::code(signal), ..failure });
            }
        };
        if jobs.is_empty() {
            return Err(Failure { code: TRY_AGAIN, message: "no job is ready".into() });
        }
        let handed = Handover::to_stdout().map(|mut handover| {
            let handed = self.hand_over(&jobs, &mut handover, &told);
            (handover.arrived(), handed)
        });
        let (arrived, error) = match handed {
            Ok((_, Ok(()))) => return Ok(ExitCode::SUCCESS),
            Ok((arrived, Err(error))) => (arrived, error),
            Err(error) => (0, error),
        };
        let failure = give_back(client, &jobs, arrived, &error).await;
        let code = told.borrow().map_or(failure.code, interrupt::code);
        Err(Failure { code, ..failure })
    }

    fn hand_over(
        &self,
        jobs: &[ClaimedJob],
        handover: &mut Handover,
        told: &watch::Receiver<Option<i32>>,
    ) -> io::Result<()> {
        for job in jobs {
            if told.borrow().is_some() {
                return Err(io::Error::other("interrupted"));
            }
            let line = if self.json { serde_json::to_string(&claimed(job))? } else { line(job) };
            handover.give(format!("{line}\n").as_bytes())?;
        }
        handover.finish()
    }
}

/// Gives back, uncounted, the jobs that nobody took from us: all but the first `arrived`. Returns what to say of it.
async fn give_back(client: &Client, jobs: &[ClaimedJob], arrived: usize, why: &io::Error) -> Failure {
    if jobs.is_empty() {
        return Failure::failed(why);
    }
    let (all, left) = (jobs.len() as u64, &jobs[arrived.min(jobs.len())..]);
    let taken =
        format!("only {} of {} jobs could be printed ({why})", count(all - left.len() as u64), count(all));
    let (mut back, mut faults) = (0, Vec::new());
    for part in left.chunks(client.limits().batch.max(1)) {
        let verdict = Verdict::Release { delay_ms: 0 };
        let items = part.iter().map(|job| Settle { lease: job.lease, verdict: verdict.clone() });
        match client.settle(items.collect()).await {
            Ok(results) => {
                for result in results {
                    match result {
                        Ok(()) => back += 1,
                        Err(fault) => faults.push(fault.to_string()),
                    }
                }
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    let mut message = format!("{taken}; {} given back", count(back));
    if let Some(fault) = faults.first() {
        let until = left.iter().map(|job| job.until_ms).max().unwrap_or_default();
        message += &format!(", the others stay leased until {}: {fault}", show_point(Time(until)));
    }
    Failure::failed(message)
}

/// A job as a line of text. What is more than a line, or might be taken for that form, comes as JSON text.
fn line(job: &ClaimedJob) -> String {
    let text = String::from_utf8_lossy(&job.body);
    let needs_quotes = text.starts_with('"') || text.contains(|c: char| c.is_control() || is_trick(c));
    let body = if needs_quotes { serde_json::Value::from(&*text).to_string() } else { text.into() };
    format!("{}\t{body}", lease_text(job.lease))
}

const COMPLETE: &str = "\
With --then the next step of a chain of jobs is there if and only if this one is done, whatever crashes: both are one commit.
It prints the ids of the jobs that follow. If it is refused (the lease is lost, a queue is full), the job is as it was.
With --result the job is done and has the result, or neither. `musher result` prints it as long as the job is kept (`keep.done` of
its queue): a queue that keeps no jobs keeps no results.

Examples:
  musher complete 42@1
  echo 'sha256:1b0f' | musher complete 42@1 --result -
  musher complete 42@1 --then resize cat.jpg --then mails 'cat.jpg is there'
  echo '{\"queue\": \"resize\", \"body\": \"cat.jpg\", \"delay\": \"1m\"}' | musher complete 42@1 --then-jsonl";

#[derive(Debug, Args)]
#[command(after_help = COMPLETE)]
pub(super) struct Complete {
    /// The leases
    #[arg(required = true, value_name = "ID@ATTEMPT", value_parser = parse_lease)]
    leases: Vec<LeaseRef>,
    /// Keep what is in this file, or on standard input if it is `-`, with the job as its result; of one lease
    #[arg(long, value_name = "F", conflicts_with = "what-follows")]
    result: Option<PathBuf>,
    /// Print a JSON object per lease, one a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    follow: Follow,
}

impl Complete {
    pub(super) async fn run(&self, client: &Client) -> End {
        if self.follow.is_any() {
            return self.follow.run(client, &self.leases, self.json).await;
        }
        let Some(file) = &self.result else {
            return settle(client, &self.leases, &Verdict::Complete, self.json).await;
        };
        if self.leases.len() > 1 {
            return Err(Failure::usage("--result is of one job: name one lease"));
        }
        let result = beside::read(file)?;
        settle(client, &self.leases, &Verdict::CompleteWith(result), self.json).await
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  musher fail 42@1 --error 'no such address' --dead\n  musher fail 42@1 --retry-in 5s"
)]
pub(super) struct Fail {
    /// The leases
    #[arg(required = true, value_name = "ID@ATTEMPT", value_parser = parse_lease)]
    leases: Vec<LeaseRef>,
    /// The error to record
    #[arg(long, value_name = "TEXT", default_value = "failed by hand")]
    error: String,
    /// When it runs again, if attempts are left [default: what the backoff says]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "dead")]
    retry_in: Option<Duration>,
    /// Never run it again
    #[arg(long)]
    dead: bool,
    /// Print a JSON object per lease, one a line
    #[arg(long)]
    json: bool,
}

impl Fail {
    pub(super) async fn run(&self, client: &Client) -> End {
        let error = self.error.clone();
        let verdict = match (self.dead, self.retry_in) {
            (true, _) => Verdict::FailDead { error, exit: None },
            (false, Some(wait)) => Verdict::FailRetryAfter { error, exit: None, wait_ms: millis(wait) },
            (false, None) => Verdict::Fail { error, exit: None },
        };
        settle(client, &self.leases, &verdict, self.json).await
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher extend 42@1 --lease 10m")]
pub(super) struct Extend {
    /// The leases
    #[arg(required = true, value_name = "ID@ATTEMPT", value_parser = parse_lease)]
    leases: Vec<LeaseRef>,
    /// How long they last from now [default: the queue's setting]
    #[arg(long, value_name = "TIME", value_parser = parse_lease_time)]
    lease: Option<Duration>,
    /// Print a JSON object per lease, one a line
    #[arg(long)]
    json: bool,
}

impl Extend {
    pub(super) async fn run(&self, client: &Client) -> End {
        let results = client.extend(self.leases.clone(), self.lease.map(millis)).await?;
        let told = self.leases.iter().zip(results);
        tell(told.map(|(lease, result)| (*lease, result.map(Some))), self.json)
    }
}

const PROGRESS: &str = "\
`musher show` tells it until the lease ends. In a command the lease is in MUSHER_LEASE.

Examples:
  musher progress 42@1 40
  musher progress \"$MUSHER_LEASE\" 40 'page 12 of 30'";

#[derive(Debug, Args)]
#[command(after_help = PROGRESS)]
pub(super) struct Progress {
    /// The lease
    #[arg(value_name = "ID@ATTEMPT", value_parser = parse_lease)]
    lease: LeaseRef,
    /// How much of the job is done
    #[arg(value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    percent: u8,
    /// Anything besides, for people
    #[arg(value_name = "TEXT", default_value = "")]
    text: String,
}

impl Progress {
    pub(super) async fn run(&self, client: &Client) -> End {
        client.progress(self.lease, self.percent, &self.text).await?;
        Ok(ExitCode::SUCCESS)
    }
}

const RELEASE: &str = "\
Without more the job is ready again at once, with --delay after a time: with a checkpoint that is a sleep that holds no worker. With
--until-signal it goes on as soon as `musher signal` names that signal, which may have come already, or without it after --timeout. Whoever
gets the job then gets the signal too (`musher claim --json`, MUSHER_SIGNAL and the file MUSHER_SIGNAL_FILE of a command), and so does each
attempt that follows, until the job waits for the next one.

Examples:
  musher release 42@1 --delay 1m
  musher release 42@1 --until-signal approved --timeout 7d";

#[derive(Debug, Args)]
#[command(after_help = RELEASE)]
pub(super) struct Release {
    /// The leases
    #[arg(required = true, value_name = "ID@ATTEMPT", value_parser = parse_lease)]
    leases: Vec<LeaseRef>,
    /// When the jobs may run again
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    delay: Option<Duration>,
    /// Wait for this signal
    #[arg(long, value_name = "NAME", requires = "timeout", conflicts_with = "delay")]
    until_signal: Option<String>,
    /// Go on without the signal after this time
    #[arg(long, value_name = "TIME", requires = "until_signal", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Print a JSON object per lease, one a line
    #[arg(long)]
    json: bool,
}

impl Release {
    pub(super) async fn run(&self, client: &Client) -> End {
        let verdict = match &self.until_signal {
            Some(signal) => {
                let timeout_ms = self.timeout.map_or(0, millis);
                Verdict::Await { signal: signal.clone(), timeout_ms }
            }
            None => Verdict::Release { delay_ms: self.delay.map_or(0, millis) },
        };
        settle(client, &self.leases, &verdict, self.json).await
    }
}

async fn settle(client: &Client, leases: &[LeaseRef], verdict: &Verdict, json: bool) -> End {
    let items = leases.iter().map(|lease| Settle { lease: *lease, verdict: verdict.clone() }).collect();
    let results = client.settle(items).await?;
    tell(leases.iter().zip(results).map(|(lease, result)| (*lease, result.map(|()| None))), json)
}

/// Says what became of each lease: its new end, where it has one, or why not.
pub(super) fn tell(
    results: impl Iterator<Item = (LeaseRef, Result<Option<u64>, LeaseFault>)>,
    json: bool,
) -> End {
    let mut code = ExitCode::SUCCESS;
    for (lease, result) in results {
        let lease = lease_text(lease);
        match &result {
            Ok(Some(until)) if !json => eprintln!("until {}", show_point(Time(*until))),
            Ok(_) => {}
            Err(fault) => {
                eprintln!("musher: {fault}");
                code = ExitCode::from(FAILED);
            }
        }
        if json {
            output::json(&match result {
                Ok(Some(until)) => json!({ "lease": lease, "ok": true, "lease_until": until }),
                Ok(None) => json!({ "lease": lease, "ok": true }),
                Err(fault) => json!({ "lease": lease, "ok": false, "error": fault.to_string() }),
            })?;
        }
    }
    Ok(code)
}
