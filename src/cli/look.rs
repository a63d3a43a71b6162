//! Looking: status, queues, list, show, explain.

use super::exit::{End, Failure};
use super::job_options::parse_tag;
use super::output::{self, count, safe, span, when};
use crate::client::Client;
use crate::protocol::admin::{AdminRequest, ExplainView, JobView, JobsView, QueueView, StatusView};
use clap::Args;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher status\n  musher status --json | jq .queues")]
pub(super) struct Status {
    /// Print an object
    #[arg(long)]
    pub(super) json: bool,
}

impl Status {
    pub(super) async fn run(&self, client: &Client) -> End {
        let status: StatusView = client.ask(AdminRequest::Status {}).await?;
        if self.json {
            output::json(&status)?;
            return Ok(ExitCode::SUCCESS);
        }
        let StatusView { version, pid, mode, data, connections, .. } = &status;
        let (up, memory) = (span(status.uptime_ms), status.memory >> 20);
        let mode = match status.draining_ms {
            Some(ms) => format!("{mode} for {}, up for {up}", span(ms)),
            None => format!("{mode} for {up}"),
        };
        output::line(&format!("musher {version}, pid {pid}, {mode}, {memory} MiB of memory"))?;
        output::line(&format!("data in {}, {connections} connections", safe(data)))?;
        if status.clock_ahead_ms != 0 {
            let way = if status.clock_ahead_ms > 0 { "ahead of" } else { "behind" };
            let by = span(status.clock_ahead_ms.unsigned_abs());
            output::line(&format!(
                "its clock is {by} {way} the wall clock, which was set; times are shown by the latter"
            ))?;
        }
        if let Some(why) = &status.refusing {
            output::line(&format!("takes no new jobs: {why}"))?;
        }
        output::line("")?;
        if status.next_id <= 1 {
            output::line(
                "No job yet. Begin with:  musher submit mails 'hello'  or  musher run --wait -- date",
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        queue_table(&status.queues)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn queue_table(queues: &[QueueView]) -> io::Result<()> {
    let head = ["QUEUE", "READY", "SCHEDULED", "LEASED", "DEAD", "KEPT", "COMPLETED", "FAILED", "WORKERS"];
    let rows: Vec<_> = queues
        .iter()
        .map(|q| {
            let name = if q.paused { format!("{} (paused)", q.queue) } else { q.queue.clone() };
            let kept = q.done + q.cancelled + q.expired;
            let numbers = [q.ready, q.scheduled, q.leased, q.dead, kept, q.totals.completed, q.totals.failed];
            let workers = if q.workers > 0 { q.workers.to_string() } else { "-".into() };
            [name].into_iter().chain(numbers.map(count)).chain([workers]).collect()
        })
        .collect();
    output::table(&head, &rows)?;
    let held = queues.iter().filter_map(|queue| Some((&queue.queue, queue.held.as_ref()?)));
    held.into_iter().try_for_each(|(queue, why)| output::line(&format!("queue {queue}: {}", safe(why))))
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher queues --json")]
pub(super) struct Queues {
    /// Print an object a line
    #[arg(long)]
    json: bool,
}

impl Queues {
    pub(super) async fn run(&self, client: &Client) -> End {
        let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await?;
        if self.json {
            queues.iter().try_for_each(output::json)?
        } else {
            queue_table(&queues)?
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  musher list --state dead\n  musher list --queue mails --tag order=42 --json"
)]
pub(super) struct List {
    /// Only of this queue
    #[arg(long, value_name = "Q")]
    queue: Option<String>,
    /// Only in this state: scheduled, ready, leased, done, dead, cancelled, expired
    #[arg(long, value_name = "S")]
    state: Option<String>,
    /// Only with this tag; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parse_tag)]
    tags: Vec<(String, String)>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Print an object a line
    #[arg(long)]
    json: bool,
}

impl List {
    pub(super) async fn run(&self, client: &Client) -> End {
        let (mut jobs, mut after, mut more) = (Vec::new(), Some(0), false);
        while let Some(from) = after {
            let left = self.limit.saturating_sub(jobs.len() as u64);
            if left == 0 {
                more = true;
                break;
            }
            let page = page(client, &self.queue, &self.state, &self.tags, from, left).await?;
            after = page.next;
            if self.json {
                page.jobs.iter().try_for_each(output::json)?
            }
            jobs.extend(page.jobs);
        }
        if self.json {
            return Ok(ExitCode::SUCCESS);
        }
        let rows: Vec<_> = jobs.iter().map(row).collect();
        output::table(&["ID", "QUEUE", "STATE", "ATTEMPT", "SUBMITTED", ""], &rows)?;
        if more {
            eprintln!("there may be more: --limit");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(job: &JobView) -> Vec<String> {
    let note = match (job.due_at, job.failures.last()) {
        (Some(due), None) => format!("runs {}", when(due)),
        (Some(due), Some(failure)) => format!("retried {}: {}", when(due), safe(&failure.error)),
        (None, Some(failure)) => safe(&failure.error),
        (None, None) => {
            job.tags.iter().map(|(k, v)| format!("{}={}", safe(k), safe(v))).collect::<Vec<_>>().join(" ")
        }
    };
    let attempt = format!("{} of {}", job.attempt, job.attempts);
    let note = note.chars().take(80).collect();
    vec![job.id.to_string(), job.queue.clone(), job.state.clone(), attempt, when(job.submitted_at), note]
}

/// A page of jobs.
pub(super) async fn page(
    client: &Client,
    queue: &Option<String>,
    state: &Option<String>,
    tags: &[(String, String)],
    after: u64,
    limit: u64,
) -> Result<JobsView, Failure> {
    let limit = u32::try_from(limit.min(1_000)).unwrap_or(1_000);
    let (queue, state, tags) = (queue.clone(), state.clone(), tags.to_vec());
    Ok(client.ask(AdminRequest::List { queue, state, tags, after, limit }).await?)
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher show 42\n  musher show 42 --body > body.bin")]
pub(super) struct Show {
    /// The job
    id: u64,
    /// Print its body, and nothing else
    #[arg(long, conflicts_with = "json")]
    body: bool,
    /// Print an object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn run(&self, client: &Client) -> End {
        if self.body {
            io::stdout().lock().write_all(&client.body(self.id).await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let job: JobView = client.ask(AdminRequest::Show { id: self.id }).await?;
        if self.json {
            output::json(&job)?
        } else {
            describe(&job)?
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn describe(job: &JobView) -> io::Result<()> {
    let mut lines = vec![
        ("job", format!("{}, {}", job.id, job.state)),
        ("queue", format!("{}, priority {}", job.queue, job.priority)),
        ("attempts", format!("{} begun, {} failed, {} at most", job.attempt, job.failed, job.attempts)),
        ("submitted", format!("{}, by user {}", when(job.submitted_at), job.owner)),
    ];
    let mut time = |what, at: Option<u64>| lines.extend(at.map(|at| (what, when(at))));
    time("runs", job.due_at);
    time("leased", job.leased_at);
    time("lease ends", job.leased_until);
    time("ended", job.ended_at);
    time("forgotten", job.kept_until);
    time("expires", job.expires_at);
    if job.crashes > 0 {
        lines.push((
            "crashes",
            format!("its worker vanished, or let the lease end without a word, {} times", job.crashes),
        ));
    }
    lines.extend(job.tags.iter().map(|(name, value)| ("tag", format!("{}={}", safe(name), safe(value)))));
    for failure in &job.failures {
        lines.push((
            "failure",
            format!("attempt {}, {}: {}", failure.attempt, when(failure.at), safe(&failure.error)),
        ));
    }
    lines.iter().try_for_each(|(what, text)| output::line(&format!("{what:<11}{text}")))
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher explain 42")]
pub(super) struct Explain {
    /// The job
    id: u64,
    /// Print an object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) async fn run(&self, client: &Client) -> End {
        let view: ExplainView = client.ask(AdminRequest::Explain { id: self.id }).await?;
        if self.json {
            output::json(&view)?;
        } else {
            output::line(&format!("job {} is {}:", view.id, view.state))?;
            view.reasons.iter().try_for_each(|reason| output::line(&format!("  {}", safe(reason))))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
