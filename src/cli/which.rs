//! Which jobs a verb means: by id, or by what they are; and one change to all of them, in steps that stall nobody.

use super::ask::confirm;
use super::exit::{End, FAILED, Failure};
use super::output::{self, count, safe};
use crate::client::Client;
use crate::clock::monotonic;
use crate::config::parse_rate;
use crate::core::Rate;
use crate::durations::parse_duration;
use crate::protocol::admin::{AdminRequest, EditView, JobsView, ListQuery};
use crate::views::has_ended;
use crate::words::jobs;
use crate::written::options::{millis, parse_tag};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// How many jobs share a request.
const CHUNK: usize = 1_000;
/// With a rate, a request is for about as many as it allows in this time.
const STEP: Duration = Duration::from_millis(100);

/// The arguments of a filter.
const FILTERS: [&str; 7] = ["queue", "state", "tags", "key", "group", "older", "error"];

/// What jobs are like.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Filter {
    /// Only jobs of this queue
    #[arg(long, value_name = "Q")]
    pub(super) queue: Option<String>,
    /// Only jobs in this state: scheduled, waiting, ready, leased, done, dead, cancelled, expired
    #[arg(long, value_name = "S")]
    pub(super) state: Option<String>,
    /// Only jobs with this tag; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,
    /// Only jobs with this key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Only jobs of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only jobs that were submitted longer ago than this
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older: Option<Duration>,
    /// Only jobs whose newest failure has this text in its error
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

impl Filter {
    /// What to ask for to get them.
    pub(super) fn query(&self) -> ListQuery {
        ListQuery {
            queue: self.queue.clone(),
            state: self.state.clone(),
            tags: self.tags.clone(),
            key: self.key.clone(),
            group: self.group.clone(),
            older_ms: self.older.map(millis),
            error: self.error.clone(),
            ..ListQuery::default()
        }
    }
}

/// Which jobs are meant: by id, or by what they are.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The jobs: 42, or 42-50
    #[arg(value_name = "ID", value_parser = parse_ids,
        required_unless_present_any = FILTERS, conflicts_with_all = FILTERS)]
    ids: Vec<(u64, u64)>,
    #[command(flatten)]
    filter: Filter,
    /// Say how many jobs that would be, and change nothing
    #[arg(long, conflicts_with = "ids")]
    dry_run: bool,
    /// Not faster than this: 10/s, 300/m
    #[arg(long, value_name = "RATE", value_parser = parse_pace)]
    rate: Option<Rate>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object for each job
    #[arg(long)]
    json: bool,
    /// Those that have ended are left out.
    #[arg(skip)]
    only_live: bool,
}

fn parse_ids(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last && last - first < 10_000_000 => Ok((first, last)),
        _ => Err("an id is a number, a range two: 42 or 42-50".into()),
    }
}

fn parse_pace(text: &str) -> Result<Rate, String> {
    parse_rate(text)?.ok_or_else(|| "leave --rate out for no limit".to_owned())
}

/// How long so many take at a rate.
fn time_of(rate: Rate, jobs: u64) -> Duration {
    let (count, per, _) = rate.parts();
    per.mul_f64(jobs as f64 / f64::from(count))
}

/// What became of the jobs.
#[derive(Default)]
struct Tally {
    done: u64,
    moved_on: u64,
    failed: u64,
    /// Those of the done ones that are cancelled only when their workers have stopped.
    when_stopped: u64,
}

impl Which {
    /// The jobs of a group that have not ended.
    pub(super) fn live_of_group(group: &str, yes: bool, json: bool) -> Which {
        let filter = Filter { group: Some(group.to_owned()), ..Filter::default() };
        Which { ids: Vec::new(), filter, dry_run: false, rate: None, yes, json, only_live: true }
    }

    /// Changes them all.
    pub(super) async fn edit(&self, client: &Client, change: &Change) -> End {
        let verb = change.edit;
        let ids = if self.ids.is_empty() {
            let (ids, states) = self.find(client).await?;
            if self.dry_run {
                return self.would(verb, &states);
            }
            if ids.is_empty() {
                return Err(Failure::failed("no such jobs; nothing was changed"));
            }
            if !self.yes {
                confirm(&format!("{verb} {}?", jobs(ids.len() as u64)))?;
            }
            ids
        } else {
            self.ids.iter().flat_map(|(first, last)| *first..=*last).collect()
        };
        let bar = progress(ids.len(), self.rate);
        let mut tally = Tally::default();
        let (begun, mut sent) = (monotonic(), 0);
        for chunk in ids.chunks(self.step()) {
            if let Some(rate) = self.rate {
                // So many of the whole, so much of the time.
                let at = begun + time_of(rate, sent);
                tokio::time::sleep(at.saturating_sub(monotonic())).await;
            }
            sent += chunk.len() as u64;
            self.send(client, change, chunk, (&mut tally, &bar)).await?;
            bar.inc(chunk.len() as u64);
        }
        bar.finish_and_clear();
        let Tally { done, moved_on, failed, when_stopped } = tally;
        if ids.len() > 1 {
            let moved =
                if moved_on > 0 { format!("{} had moved on, ", count(moved_on)) } else { String::new() };
            eprintln!("{verb}: {} done, {moved}{} refused", count(done), count(failed));
        }
        if when_stopped > 0 {
            eprintln!("musher: {}", until_stopped(when_stopped));
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    /// How many jobs share a request.
    fn step(&self) -> usize {
        self.rate.map_or(CHUNK, |rate| (STEP.div_duration_f64(time_of(rate, 1)) as usize).clamp(1, CHUNK))
    }

    async fn send(
        &self,
        client: &Client,
        change: &Change,
        ids: &[u64],
        (tally, bar): (&mut Tally, &ProgressBar),
    ) -> Result<(), Failure> {
        // What was listed may be otherwise by now: it is left alone then.
        let (state, queue) = (self.filter.state.clone(), self.filter.queue.clone());
        let request = change.request(ids.to_vec(), state, queue);
        for (id, result) in ids.iter().zip(client.ask::<Vec<EditView>>(request).await?) {
            let is_done = result.error.is_none() && !result.moved_on;
            if self.json {
                let EditView { error, moved_on, when_stopped } = &result;
                let view = json!({"id": id, "done": is_done, "moved_on": moved_on, "error": error,
                    "when_stopped": when_stopped});
                output::json(&view)?;
            }
            match result.error {
                None if result.moved_on => tally.moved_on += 1,
                None => {
                    tally.done += 1;
                    tally.when_stopped += u64::from(result.when_stopped);
                }
                Some(error) => {
                    tally.failed += 1;
                    bar.suspend(|| eprintln!("musher: {}", safe(&error)));
                }
            }
        }
        Ok(())
    }

    /// Says what it would do.
    fn would(&self, verb: &str, states: &BTreeMap<String, u64>) -> End {
        let all: u64 = states.values().sum();
        if self.json {
            output::json(&json!({"dry_run": true, "jobs": all, "states": states}))?;
        } else {
            let each: Vec<_> = states.iter().map(|(state, n)| format!("{} {state}", count(*n))).collect();
            let each = if all == 0 { String::new() } else { format!(": {}", each.join(", ")) };
            output::line(&format!("{verb} would mean {}{each}; nothing was changed", jobs(all)))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The jobs, and how many are in each state.
    async fn find(&self, client: &Client) -> Result<(Vec<u64>, BTreeMap<String, u64>), Failure> {
        let (mut ids, mut states, mut after) = (Vec::new(), BTreeMap::new(), Some(0));
        while let Some(from) = after {
            let query = ListQuery { after: from, limit: CHUNK as u32, ..self.filter.query() };
            let page: JobsView = client.ask(AdminRequest::List(query)).await?;
            for job in page.jobs.into_iter().filter(|job| !self.only_live || !has_ended(&job.state)) {
                ids.push(job.id);
                *states.entry(job.state).or_insert(0) += 1;
            }
            after = page.next;
        }
        Ok((ids, states))
    }
}

/// The jobs of a group that have not ended.
pub(super) async fn live_of_group(client: &Client, group: &str) -> Result<Vec<u64>, Failure> {
    Ok(Which::live_of_group(group, true, false).find(client).await?.0)
}

/// Cancels jobs, each unless it has ended. Returns how many were.
pub(super) async fn cancel(client: &Client, ids: &[u64]) -> Result<u64, Failure> {
    let (change, mut cancelled) = (Change { edit: "cancel", ..Change::default() }, 0);
    for chunk in ids.chunks(CHUNK) {
        let results: Vec<EditView> = client.ask(change.request(chunk.to_vec(), None, None)).await?;
        cancelled += results.iter().filter(|result| result.error.is_none()).count() as u64;
    }
    Ok(cancelled)
}

/// A change as the daemon is asked for it.
#[derive(Default)]
pub(super) struct Change {
    /// Its name.
    pub(super) edit: &'static str,
    /// Where the jobs go.
    pub(super) to: Option<String>,
    /// Their priority.
    pub(super) priority: Option<u32>,
}

impl Change {
    fn request(&self, ids: Vec<u64>, state: Option<String>, queue: Option<String>) -> AdminRequest {
        let (edit, to, priority) = (self.edit.to_owned(), self.to.clone(), self.priority);
        AdminRequest::Edit { edit, ids, state, queue, to, priority }
    }
}

/// What becomes of jobs that are cancelled while they run.
fn until_stopped(jobs: u64) -> String {
    match jobs {
        1 => {
            "the job is running: its worker is told, and it is cancelled when that has stopped it".to_owned()
        }
        jobs => format!(
            "{} of them are running: their workers are told, and they are cancelled when those have stopped them",
            count(jobs)
        ),
    }
}

/// Shown on a terminal, where it takes a while.
fn progress(jobs: usize, rate: Option<Rate>) -> ProgressBar {
    if jobs <= CHUNK && rate.is_none() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(jobs as u64);
    let style = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len} jobs, {eta} left");
    bar.set_style(style.expect("a fixed template"));
    bar
}
