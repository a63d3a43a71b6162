//! `musher demo`: a real daemon with real workers, a stream of real jobs over its socket, a kill -9 in the middle, a
//! drain, and a summary. The jobs themselves record that they ran, in a file of their own.

use super::exit::{End, FAILED, Failure};
use super::output::{self, count};
use super::own_daemon::{Daemon, Home, STEP_TIME_MAX};
use crate::client::Client;
use crate::clock;
use crate::protocol::admin::{AdminRequest, StatusView};
use crate::protocol::{JobOptions, SubmitGroup};
use clap::Args;
use rustix::process::Signal;
use serde_json::json;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// How many jobs share a submit.
const BATCH: u64 = 100;
/// The file in which jobs write down that they ran.
const RAN: &str = "ran";

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher demo\n  musher demo --jobs 20000")]
pub(super) struct Demo {
    /// How many jobs
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    jobs: u64,
    /// Print the result as a JSON object
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(super) fn run(&self) -> End {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let home = home()?;
        let account = runtime.block_on(show(&home, self.jobs, self.json));
        drop(home);
        let lost = account?;
        Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }
}

/// A directory of its own for everything, with a queue that writes down which jobs ran.
fn home() -> io::Result<Home> {
    let queues = |home: &Path| {
        let script = format!("read n; echo $n >> {}", home.join(RAN).display());
        format!(
            "[queues.demo]\nhandler = {{ exec = [\"/bin/sh\", \"-c\", {script:?}] }}\nworkers = 4\nkeep = {{ done = \"no\" }}\n"
        )
    };
    let home = Home::make(&std::env::temp_dir(), queues)?;
    std::fs::write(home.path().join(RAN), "")?;
    Ok(home)
}

async fn show(home: &Home, jobs: u64, json: bool) -> Result<u64, Failure> {
    let half = jobs / 2;
    let (mut daemon, client, took) = Daemon::start(home).await?;
    step(&format!("started a daemon in {} ms", took.as_millis()));

    let begun = clock::monotonic();
    let mut acknowledged = submit(&client, 0, half).await?;
    let ms = (clock::monotonic() - begun).as_millis();
    step(&format!("submitted {} jobs in {ms} ms; four workers run them: a shell each", count(half)));

    until_ran(home, half / 4).await?;
    daemon.signal(Signal::KILL);
    daemon.ended().await?;
    step(&format!("killed the daemon with SIGKILL after {} jobs", count(ran(home)?.len() as u64)));

    let (mut daemon, client, took) = Daemon::start(home).await?;
    step(&format!("started it again: recovered in {} ms, workers go on", took.as_millis()));
    acknowledged += submit(&client, half, jobs).await?;
    step(&format!("submitted the other {} jobs", count(jobs - half)));

    until_ran(home, jobs * 3 / 4).await?;
    daemon.signal(Signal::TERM);
    let begun = clock::monotonic();
    daemon.ended().await?;
    let ms = (clock::monotonic() - begun).as_millis();
    step(&format!("drained it with SIGTERM in {ms} ms, after {} jobs", count(ran(home)?.len() as u64)));

    let (mut daemon, client, took) = Daemon::start(home).await?;
    step(&format!("started it once more in {} ms, and let it finish", took.as_millis()));
    until_empty(&client).await?;
    daemon.signal(Signal::TERM);
    daemon.ended().await?;
    account(home, acknowledged, json)
}

fn step(text: &str) {
    eprintln!("  • {text}");
}

async fn submit(client: &Client, from: u64, to: u64) -> Result<u64, Failure> {
    let mut acknowledged = 0;
    let mut next = from;
    while next < to {
        let end = to.min(next + BATCH);
        let bodies = (next..end).map(|n| format!("{n}\n").into()).collect();
        let options = JobOptions { queue: "demo".into(), ..JobOptions::default() };
        acknowledged += client.submit(vec![SubmitGroup { options, bodies }]).await?.len();
        next = end;
    }
    Ok(acknowledged)
}

/// Which jobs ran, and how often, as they wrote it themselves.
fn ran(home: &Home) -> io::Result<HashMap<u64, u64>> {
    let mut times = HashMap::new();
    for number in std::fs::read_to_string(home.path().join(RAN))?.lines().filter_map(|line| line.parse().ok())
    {
        *times.entry(number).or_default() += 1;
    }
    Ok(times)
}

async fn until_ran(home: &Home, wanted: u64) -> Result<(), Failure> {
    let look = async {
        while (ran(home)?.len() as u64) < wanted {
            sleep(Duration::from_millis(20)).await;
        }
        io::Result::Ok(())
    };
    timeout(STEP_TIME_MAX, look).await.map_err(|_| Failure::failed("the jobs do not run"))??;
    Ok(())
}

async fn until_empty(client: &Client) -> Result<(), Failure> {
    let look = async {
        loop {
            let status: StatusView = client.ask(AdminRequest::Status {}).await?;
            if status.queues.iter().all(|q| q.ready + q.scheduled + q.waiting + q.leased == 0) {
                return Result::<(), Failure>::Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(STEP_TIME_MAX, look).await.map_err(|_| Failure::failed("the jobs do not end"))?
}

fn account(home: &Home, acknowledged: u64, json: bool) -> Result<u64, Failure> {
    let times = ran(home)?;
    let twice = times.values().filter(|times| **times > 1).count() as u64;
    let lost = acknowledged - times.len() as u64;
    let run = times.len() as u64;
    if json {
        output::json(&json!({ "submitted": acknowledged, "run": run, "lost": lost, "run_twice": twice }))?;
        return Ok(lost);
    }
    eprintln!();
    let line =
        |what: &str, n: u64, why: &str| output::line(format!("{what:<11}{:>9}  {why}", count(n)).trim_end());
    line("submitted", acknowledged, "acknowledged by the daemon: on disk")?;
    line("run", run, "as the jobs wrote down themselves")?;
    line("lost", lost, "")?;
    line("run twice", twice, "were at work when the daemon was killed")?;
    Ok(lost)
}
