//! One job: `musher show` and `musher explain`.

use super::exit::End;
use super::list::ran;
use super::output::{self, point, safe, user};
use crate::client::Client;
use crate::protocol::Beside;
use crate::protocol::admin::{AdminRequest, ExplainView, JobView, ProgressView, WaitView, WorkerView};
use crate::words::{counted, span};
use crate::written::options::parse_id;
use clap::Args;
use signal_hook::low_level::signal_name;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher show 42\n  musher show 42 --body > body.bin")]
pub(super) struct Show {
    /// The job
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: u64,
    /// Print its body, and nothing else
    #[arg(long, conflicts_with = "json")]
    body: bool,
    /// Print its newest checkpoint, and nothing else
    #[arg(long, conflicts_with_all = ["json", "body"])]
    checkpoint: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(super) async fn run(&self, client: &Client) -> End {
        if self.body {
            io::stdout().lock().write_all(&client.body(self.id).await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.checkpoint {
            io::stdout().lock().write_all(&client.beside(self.id, Beside::Checkpoint).await?)?;
            return Ok(ExitCode::SUCCESS);
        }
        let job: JobView = client.ask(AdminRequest::Show { id: self.id }).await?;
        if self.json {
            output::json(&job)?
        } else {
            output::facts(&describe(&job))?
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What there is to know of a job: names and texts, ready to be shown.
pub(super) fn describe(job: &JobView) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("job", format!("{}, {}", job.id, job.state_in_words())),
        ("queue", format!("{}, priority {}", job.queue, job.priority)),
    ];
    facts.extend(job.command.as_ref().map(|command| ("command", safe(command))));
    facts.push(("submitted", format!("{}, by {}", point(job.submitted_at), user(job.owner))));
    facts.push((
        "attempts",
        format!("{} begun, {} failed, {} at most", job.attempt, job.failed, job.attempts),
    ));
    let mut time = |what, at: Option<u64>| facts.extend(at.map(|at| (what, point(at))));
    time("runs", job.due_at);
    time("began", job.started_at);
    time("lease ends", job.leased_until);
    time("may run until", job.runs_until);
    time("ended", job.ended_at);
    time("forgotten", job.kept_until);
    time("expires", job.expires_at);
    time("deadline", job.deadline);
    facts.extend(job.worker.map(|by| ("worker", worker(by))));
    facts.extend(job.progress.as_ref().map(|progress| ("progress", far(progress))));
    if job.runs_until.is_none() && job.ended_at.is_none() {
        let each = |ms| format!("at most {} an attempt", span(ms));
        facts.push(("may run", job.timeout_ms.map_or_else(|| "as long as it takes".to_owned(), each)));
    }
    let ran_or_runs = if job.leased_at.is_some() { "runs for" } else { "ran for" };
    facts.extend(ran(job).map(|ms| (ran_or_runs, span(ms))));
    facts.extend(exit(job.exit_status, job.exit_signal).map(|exit| ("exit", exit)));
    if job.later > 0 {
        let times = counted(u64::from(job.later), "time", "times");
        facts.push(("later", format!("its worker said {times}: again later")));
    }
    if job.crashes > 0 {
        let times = counted(u64::from(job.crashes), "time", "times");
        facts.push((
            "crashes",
            format!("its worker vanished, or let the lease end without an answer, {times}"),
        ));
    }
    if job.has_checkpoint {
        facts.push(("checkpoint", "there is one, for the next attempt: musher show --checkpoint".to_owned()));
    }
    facts.extend(job.until_signal.iter().map(|name| ("waits for", format!("signal {}", safe(name)))));
    facts.extend(job.signal.iter().map(|name| ("signal", format!("{}: it goes on with that", safe(name)))));
    facts.extend(
        job.signals_kept
            .iter()
            .map(|name| ("signal", format!("{}: kept until it waits for that", safe(name)))),
    );
    if job.has_result {
        facts.push(("result", format!("there is one: musher result {}", job.id)));
    }
    if job.tags_unread {
        facts.push(("tags", "cannot be read: the daemon's log says why".to_owned()));
    }
    facts.extend(job.waits_for.iter().map(|wait| ("waits for", waits(wait))));
    facts.extend(job.on_unmet.iter().map(|way| ("otherwise", way.clone())));
    facts.extend(job.group.iter().map(|group| ("group", safe(group))));
    facts.extend(job.key.iter().map(|key| ("key", safe(key))));
    facts.extend(job.unique.iter().map(|key| ("unique key", format!("{}, held {}", safe(key), held(job)))));
    facts.extend(job.tags.iter().map(|(name, value)| ("tag", format!("{}={}", safe(name), safe(value)))));
    for failure in &job.failures {
        let after = failure.since.map(|since| format!(", after {}", span(failure.at.saturating_sub(since))));
        let (at, after) = (point(failure.at), after.unwrap_or_default());
        let by = failure.worker.map_or_else(String::new, |by| format!(", by {}", worker(by)));
        let text = format!("attempt {}, {at}{after}{by}: {}", failure.attempt, safe(&failure.error));
        facts.push(("failure", text));
    }
    let tail = job.stderr_tail.iter().flat_map(|text| text.lines());
    facts.extend(tail.map(|line| ("stderr", safe(line))));
    facts
}

/// How far it is, in words.
fn far(ProgressView { percent, text, at }: &ProgressView) -> String {
    let text = if text.is_empty() { String::new() } else { format!(": {}", safe(text)) };
    format!("{percent} %, as of {}{text}", point(*at))
}

fn worker(WorkerView { uid, pid }: WorkerView) -> String {
    let pid = pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
    format!("{pid} of {}", user(uid))
}

/// How a process ended, in words.
fn exit(status: Option<u8>, signal: Option<u8>) -> Option<String> {
    match (status, signal) {
        (_, Some(signal)) => {
            let name = signal_name(i32::from(signal)).unwrap_or("unknown");
            Some(format!("signal {signal} ({name}); for a shell {}", 128 + u32::from(signal)))
        }
        (Some(status), None) => Some(format!("status {status}")),
        (None, None) => None,
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher explain 42")]
pub(super) struct Explain {
    /// The job
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: u64,
    /// Print a JSON object
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
            let reasons: Vec<_> = view.reasons.iter().map(|reason| ("", safe(reason))).collect();
            output::facts(&reasons)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
/// What a job waits for.
fn waits(wait: &WaitView) -> String {
    let what = match (wait.job, &wait.group) {
        (Some(id), _) => format!("job {id}"),
        (None, Some(group)) => format!("group {}", safe(group)),
        (None, None) => "a group that is not there any more".to_owned(),
    };
    let how = match &*wait.when {
        "done" => "to be done",
        "failed" => "to fail",
        _ => "to end",
    };
    format!("{what} {how}{}", if wait.held { ", which it did not" } else { "" })
}

/// How long a job holds its unique key.
fn held(job: &JobView) -> String {
    match (job.unique_while.as_deref(), job.unique_for_ms) {
        (_, Some(ms)) => format!("until {} after its end", span(ms)),
        (Some("waiting"), None) => "until its first attempt begins".into(),
        (_, None) => "until it has ended".into(),
    }
}
