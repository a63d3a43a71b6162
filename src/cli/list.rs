//! `musher list`: jobs in a table, once or repeatedly, read page by page.

use super::exit::{End, Failure};
use super::output::{self, safe, when};
use super::which::Filter;
use crate::client::Client;
use crate::clock;
use crate::durations::show_point;
use crate::protocol::admin::{AdminRequest, JobView, JobsView, ListQuery};
use crate::words::span;
use crate::written::options::parse_id;
use clap::Args;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

/// How often `--watch` looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Puts what follows at the top of an empty screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

const EXAMPLES: &str = "\
Without --newest and --oldest, the oldest come first. The next page: give the last id to --after (with --newest, too).

Examples:
  musher list --state dead
  musher list --newest --limit 20
  musher list --oldest --after 1000
  musher list --watch --state leased
  musher list --queue mails --tag order=42 --json
  musher list --state dead --error 'connection refused' --older 1h";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,
    /// The newest first
    #[arg(long)]
    newest: bool,
    /// The oldest first
    #[arg(long, conflicts_with = "newest")]
    oldest: bool,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Begin after this job, in the order of the list
    #[arg(long, value_name = "ID", value_parser = parse_id)]
    after: Option<u64>,
    /// Look again each second, until Ctrl-C; with --json, print what has changed
    #[arg(long)]
    watch: bool,
    /// Print JSON objects, one a line
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(&self, client: &Client) -> End {
        let mut before: Vec<JobView> = Vec::new();
        loop {
            let (jobs, more) = self.jobs(client).await?;
            if self.json {
                let mut new = jobs.iter().filter(|job| !before.contains(job));
                new.try_for_each(output::json)?;
            } else {
                self.print(&jobs, more)?;
            }
            if !self.watch {
                return Ok(ExitCode::SUCCESS);
            }
            io::stdout().flush()?;
            before = jobs;
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The jobs, and whether there may be more.
    async fn jobs(&self, client: &Client) -> Result<(Vec<JobView>, bool), Failure> {
        let (mut jobs, mut next) = (Vec::new(), Some(self.after));
        while let Some(from) = next {
            let left = self.limit.saturating_sub(jobs.len() as u64);
            if left == 0 {
                return Ok((jobs, true));
            }
            let query = ListQuery {
                after: from.filter(|_| !self.newest).unwrap_or(0),
                before: from.filter(|_| self.newest),
                newest: self.newest,
                commands: true,
                limit: u32::try_from(left.min(1_000)).unwrap_or(1_000),
                ..self.filter.query()
            };
            let page: JobsView = client.ask(AdminRequest::List(query)).await?;
            jobs.extend(page.jobs);
            next = page.next.map(Some);
        }
        Ok((jobs, false))
    }

    fn print(&self, jobs: &[JobView], more: bool) -> io::Result<()> {
        if self.watch && io::stdout().is_terminal() {
            io::stdout().lock().write_all(CLEAR.as_bytes())?;
        }
        if self.watch {
            output::line(&format!("{}  (Ctrl-C ends this)", show_point(clock::wall())))?;
        }
        if jobs.is_empty() {
            return output::line("no such jobs");
        }
        let rows: Vec<_> = jobs.iter().map(row).collect();
        let head = ["ID", "QUEUE", "STATE", "ATTEMPT", "SUBMITTED", "RAN", "WHAT"];
        output::table_without(&head, &rows, &["ATTEMPT", "RAN", "SUBMITTED"])?;
        if let (true, Some(last)) = (more, jobs.last()) {
            eprintln!("there may be more: --after {}, or a higher --limit", last.id);
        }
        Ok(())
    }
}

fn row(job: &JobView) -> Vec<String> {
    let attempt = format!("{} of {}", job.attempt, job.attempts);
    let mut what = Vec::new();
    what.extend(job.due_at.map(|due| match job.failures.is_empty() {
        true => format!("runs {}", when(due)),
        false => format!("runs again {}", when(due)),
    }));
    what.extend(job.failures.last().map(|failure| safe(&failure.error)));
    what.extend(job.command.as_ref().map(|command| safe(command)));
    what.extend(job.tags.iter().map(|(name, value)| format!("{}={}", safe(name), safe(value))));
    vec![
        job.id.to_string(),
        job.queue.clone(),
        job.state_in_words(),
        attempt,
        when(job.submitted_at),
        ran(job).map_or_else(|| "-".to_owned(), span),
        what.join("; "),
    ]
}

/// For how long the newest attempt ran, or runs, in milliseconds; `None` if that is not known.
pub(super) fn ran(job: &JobView) -> Option<u64> {
    let span = |from: Option<u64>, to: u64| Some(to.saturating_sub(from?));
    let newest = job.failures.last().filter(|failure| failure.attempt == job.attempt);
    match (&*job.state, newest) {
        ("leased", _) => span(job.leased_at, clock::wall().0),
        ("done", _) => span(job.started_at, job.ended_at?),
        (_, Some(failure)) => span(failure.since, failure.at),
        // Whether it ran when it was cancelled, nobody has noted.
        _ => None,
    }
}
