//! `musher bench`: throughput and latency of a daemon. Each figure counts requests that were answered, so jobs that are
//! on disk.

use super::ask::Target;
use super::exit::{End, Failure};
use super::output;
use super::own_daemon::{Daemon, Home};
use crate::client::Client;
use crate::clock;
use crate::protocol::admin::{AdminRequest, QueueView};
use crate::protocol::{Claim, JobOptions, Settle, SubmitGroup, Verdict};
use crate::words;
use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::task::JoinSet;

/// The queue that the jobs go through.
const QUEUE: &str = "musher-bench";
/// How many single jobs the last step hands to a worker that waits.
const HANDED_OVER: u64 = 1_000;
/// Latencies are kept to three digits, up to a minute.
const LONGEST_US: u64 = 60_000_000;

const EXAMPLES: &str = "\
Examples:
  musher bench                                  the daemon that runs, through a queue of its own
  musher bench --own --dir /var/tmp             a daemon of its own, on the disk of that directory
  musher bench --producers 1 --workers 1        one at a time: the latency of a single client
  musher bench --batch 100 --in-flight 10       many jobs a request, ten requests under way
  musher bench --json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    /// How long jobs are submitted; then they are worked off
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Connections that submit
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    producers: u32,
    /// Connections that claim and complete
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,
    /// Requests that each producer has under way
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    in_flight: u32,
    /// Jobs a request, for submits, claims and settles
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    batch: u32,
    /// Bytes of a body
    #[arg(long, value_name = "BYTES", default_value_t = 100)]
    size: usize,
    /// Measure a temporary daemon instead of the one that runs
    #[arg(long)]
    own: bool,
    /// Where the temporary daemon keeps its data: the disk that is measured [default: the system's temporary directory]
    #[arg(long, value_name = "DIR", requires = "own")]
    dir: Option<PathBuf>,
    /// Print a line of JSON for each step
    #[arg(long)]
    json: bool,
}

/// What a step came to. Latencies are of requests, in microseconds.
#[derive(Debug, Serialize)]
struct Figures {
    step: &'static str,
    jobs: u64,
    requests: u64,
    seconds: f64,
    jobs_per_second: f64,
    p50_us: u64,
    p90_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
}

/// What the tasks of a step bring together.
struct Tally {
    jobs: u64,
    latencies: Histogram<u64>,
}

impl Tally {
    fn new() -> Tally {
        let latencies = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("three digits up to a minute");
        Tally { jobs: 0, latencies }
    }

    fn count(&mut self, jobs: u64, took: Duration) {
        self.jobs += jobs;
        self.latencies.saturating_record(took.as_micros().max(1) as u64);
    }

    fn add(&mut self, other: &Tally) {
        self.jobs += other.jobs;
        self.latencies.add(&other.latencies).expect("both have the same bounds");
    }

    fn figures(&self, step: &'static str, took: Duration) -> Figures {
        let seconds = took.as_secs_f64();
        let at = |quantile| self.latencies.value_at_quantile(quantile);
        Figures {
            step,
            jobs: self.jobs,
            requests: self.latencies.len(),
            seconds,
            jobs_per_second: self.jobs as f64 / seconds.max(1e-9),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: self.latencies.max(),
        }
    }
}

impl Bench {
    pub(super) fn run(&self, to: &Target) -> End {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if !self.own {
            return runtime.block_on(self.measure(&to.path()));
        }
        let dir = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let home = Home::make(&dir, |_| String::new())
            .map_err(|error| Failure::failed(format!("{}: {error}", dir.display())))?;
        runtime.block_on(async {
            let (_daemon, client, _) = Daemon::start(&home).await?;
            drop(client);
            self.measure(&home.socket()).await
        })
    }

    async fn measure(&self, socket: &Path) -> End {
        let client = Client::connect(socket).await?;
        if self.batch as usize > client.limits().batch {
            let max = client.limits().batch;
            return Err(Failure::usage(format!("--batch {}: at most {max} (limits.batch)", self.batch)));
        }
        let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await?;
        let left = queues.iter().find(|view| view.queue == QUEUE).map_or(0, |view| view.ready + view.leased);
        if left > 0 {
            return Err(Failure::failed(format!(
                "queue {QUEUE} holds jobs of another run ({left}): see `musher purge {QUEUE}`"
            )));
        }
        let mut table = Vec::new();
        let mut tell = |figures: &Figures| -> Result<(), Failure> {
            if self.json {
                return Ok(output::json(figures)?);
            }
            table.push(row(figures));
            Ok(())
        };
        let (submitted, took) = self.submit(socket).await?;
        tell(&submitted.figures("submit", took))?;
        let (claimed, settled, took) = self.work_off(socket, submitted.jobs).await?;
        tell(&claimed.figures("claim", took))?;
        tell(&settled.figures("settle", took))?;
        let (handed, took) = self.hand_over(socket).await?;
        tell(&handed.figures("submit to waiting worker", took))?;
        if !self.json {
            let head = ["STEP", "JOBS", "JOBS/S", "P50", "P90", "P99", "P99.9", "LONGEST"];
            output::table_without(&head, &table, &["P90", "P99.9", "JOBS", "LONGEST"])?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Submits for the time that was asked for.
    async fn submit(&self, socket: &Path) -> Result<(Tally, Duration), Failure> {
        let bar = bar("submitting", self.seconds * 1000);
        let begun = clock::monotonic();
        let end = begun + Duration::from_secs(self.seconds);
        let mut tasks = JoinSet::new();
        for _ in 0..self.producers {
            let client = Client::connect(socket).await?;
            for _ in 0..self.in_flight {
                let (client, bar) = (client.clone(), bar.clone());
                let (body, batch) = (Bytes::from(vec![b'x'; self.size]), self.batch as usize);
                tasks.spawn(async move {
                    let mut tally = Tally::new();
                    loop {
                        let sent = clock::monotonic();
                        if sent >= end {
                            return Result::<_, Failure>::Ok(tally);
                        }
                        client.submit(vec![group(vec![body.clone(); batch])]).await?;
                        let now = clock::monotonic();
                        tally.count(batch as u64, now - sent);
                        bar.set_position((now - begun).as_millis() as u64);
                    }
                });
            }
        }
        let mut all = Tally::new();
        while let Some(tally) = tasks.join_next().await {
            all.add(&tally.map_err(Failure::failed)??);
        }
        bar.finish_and_clear();
        Ok((all, clock::monotonic() - begun))
    }

    /// Claims and completes all that was submitted.
    async fn work_off(&self, socket: &Path, jobs: u64) -> Result<(Tally, Tally, Duration), Failure> {
        let bar = bar("working", jobs);
        let begun = clock::monotonic();
        let mut tasks = JoinSet::new();
        for _ in 0..self.workers {
            let (client, bar, batch) = (Client::connect(socket).await?, bar.clone(), self.batch);
            tasks.spawn(async move {
                let (mut claimed, mut settled) = (Tally::new(), Tally::new());
                loop {
                    let asked = clock::monotonic();
                    let jobs = client.claim(claim(batch, 0)).await?;
                    let got = clock::monotonic();
                    if jobs.is_empty() {
                        return Result::<_, Failure>::Ok((claimed, settled));
                    }
                    let count = jobs.len() as u64;
                    claimed.count(count, got - asked);
                    complete(&client, jobs).await?;
                    settled.count(count, clock::monotonic() - got);
                    bar.inc(count);
                }
            });
        }
        let (mut claimed, mut settled) = (Tally::new(), Tally::new());
        while let Some(tallies) = tasks.join_next().await {
            let (one, other) = tallies.map_err(Failure::failed)??;
            claimed.add(&one);
            settled.add(&other);
        }
        bar.finish_and_clear();
        if settled.jobs != jobs {
            return Err(Failure::failed(format!("{jobs} jobs were submitted, {} completed", settled.jobs)));
        }
        Ok((claimed, settled, clock::monotonic() - begun))
    }

    /// From the start of a submit until a worker that waits has the job.
    async fn hand_over(&self, socket: &Path) -> Result<(Tally, Duration), Failure> {
        let bar = bar("handing over", HANDED_OVER);
        let (producer, worker) = (Client::connect(socket).await?, Client::connect(socket).await?);
        let (mut tally, begun) = (Tally::new(), clock::monotonic());
        for _ in 0..HANDED_OVER {
            let waiting = worker.start_claim(claim(1, u64::MAX))?;
            // An answer to this one comes after the daemon has seen the claim that waits.
            worker.ask::<Vec<QueueView>>(AdminRequest::Queues {}).await?;
            let sent = clock::monotonic();
            let body = Bytes::from(vec![b'x'; self.size]);
            let submit = producer.submit(vec![group(vec![body])]);
            let received = async {
                let jobs = waiting.answer.await?;
                Result::<_, Failure>::Ok((jobs, clock::monotonic()))
            };
            let (submitted, received) = tokio::join!(submit, received);
            submitted?;
            let (jobs, at) = received?;
            tally.count(1, at - sent);
            complete(&worker, jobs).await?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok((tally, clock::monotonic() - begun))
    }
}

fn group(bodies: Vec<Bytes>) -> SubmitGroup {
    SubmitGroup { options: JobOptions { queue: QUEUE.into(), ..JobOptions::default() }, bodies }
}

fn claim(max: u32, wait_ms: u64) -> Claim {
    Claim { queues: vec![QUEUE.into()], max, wait_ms, bound: true, ..Claim::default() }
}

async fn complete(client: &Client, jobs: Vec<crate::protocol::ClaimedJob>) -> Result<(), Failure> {
    let items = jobs.iter().map(|job| Settle { lease: job.lease, verdict: Verdict::Complete }).collect();
    let results = client.settle(items).await?;
    match results.into_iter().find_map(Result::err) {
        None => Ok(()),
        Some(fault) => {
            let id = fault.job();
            Err(Failure::failed(format!("job {id} was taken away: does another worker serve {QUEUE}?")))
        }
    }
}

fn bar(what: &'static str, len: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent} %").expect("a fixed template");
    ProgressBar::new(len).with_style(style).with_message(what)
}

fn row(figures: &Figures) -> Vec<String> {
    let time = |us: u64| match us {
        0..10_000 => format!("{us} µs"),
        10_000..1_000_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        _ => words::span(us / 1000),
    };
    let mut row = vec![figures.step.to_owned(), output::count(figures.jobs)];
    row.push(words::short(figures.jobs_per_second));
    let times = [figures.p50_us, figures.p90_us, figures.p99_us, figures.p999_us, figures.max_us];
    row.extend(times.map(time));
    row
}
