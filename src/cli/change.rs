//! Changes jobs, queues and the daemon by hand.

use super::ask::confirm;
use super::exit::{End, FAILED, Failure};
use super::job_options::parse_tag;
use super::list::page;
use super::output::{self, count, safe};
use crate::client::Client;
use crate::protocol::admin::{AdminRequest, DrainView, EditView, JobView, PurgeView, StatusView};
use crate::words::{counted, jobs};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// How many jobs share a request.
const CHUNK: usize = 1_000;
/// How often a drain looks whether jobs still run.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which jobs are meant: by id, or by what they are.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The jobs: 42, or 42-50
    #[arg(value_name = "ID", value_parser = parse_ids, required_unless_present_any = ["queue", "state", "tags"])]
    ids: Vec<(u64, u64)>,
    /// All of this queue
    #[arg(long, value_name = "Q", conflicts_with = "ids")]
    queue: Option<String>,
    /// All in this state
    #[arg(long, value_name = "S", conflicts_with = "ids")]
    state: Option<String>,
    /// All with this tag; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = parse_tag, conflicts_with = "ids")]
    tags: Vec<(String, String)>,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object for each job
    #[arg(long)]
    json: bool,
}

fn parse_ids(text: &str) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last && last - first < 10_000_000 => Ok((first, last)),
        _ => Err("an id is a number, a range two: 42 or 42-50".into()),
    }
}

macro_rules! edits {
    ($($name:ident: $example:literal;)*) => {$(
        #[derive(Debug, Args)]
        #[command(after_help = $example)]
        pub(super) struct $name {
            #[command(flatten)]
            pub(super) which: Which,
        }
    )*};
}

edits! {
    Cancel: "Examples:\n  musher cancel 42\n  musher cancel --queue mails --state scheduled";
    Retry: "Examples:\n  musher retry 42\n  musher retry --state dead --queue mails --yes";
    Kick: "Examples:\n  musher kick 42\n  musher kick --state dead --queue mails";
    Bury: "Example:\n  musher bury 42";
    Delete: "Examples:\n  musher delete 42-50\n  musher delete --state dead --tag order=42";
}

impl Which {
    pub(super) async fn edit(&self, client: &Client, verb: &str) -> End {
        let ids = if self.ids.is_empty() {
            let ids = self.find(client).await?;
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
        let (mut done, mut moved_on, mut failed) = (0, 0, 0);
        for chunk in ids.chunks(CHUNK) {
            // What was listed may be otherwise by now: it is left alone then.
            let (state, queue) = (self.state.clone(), self.queue.clone());
            let request = AdminRequest::Edit { edit: verb.into(), ids: chunk.to_vec(), state, queue };
            for (id, result) in chunk.iter().zip(client.ask::<Vec<EditView>>(request).await?) {
                let is_done = result.error.is_none() && !result.moved_on;
                if self.json {
                    let EditView { error, moved_on } = &result;
                    output::json(&json!({"id": id, "done": is_done, "moved_on": moved_on, "error": error}))?;
                }
                match result.error {
                    None if result.moved_on => moved_on += 1,
                    None => done += 1,
                    Some(error) => {
                        failed += 1;
                        eprintln!("musher: {}", safe(&error));
                    }
                }
            }
        }
        if ids.len() > 1 {
            let moved =
                if moved_on > 0 { format!("{} had moved on, ", count(moved_on)) } else { String::new() };
            eprintln!("{verb}: {} done, {moved}{} refused", count(done), count(failed));
        }
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
    }

    async fn find(&self, client: &Client) -> Result<Vec<u64>, Failure> {
        let (mut ids, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let page = page(client, &self.queue, &self.state, &self.tags, from, CHUNK as u64).await?;
            ids.extend(page.jobs.iter().map(|job: &JobView| job.id));
            after = page.next;
        }
        Ok(ids)
    }
}

macro_rules! queue_verbs {
    ($($name:ident: $example:literal, $paused:literal, $said:literal;)*) => {$(
        #[derive(Debug, Args)]
        #[command(after_help = $example)]
        pub(super) struct $name {
            /// The queue
            queue: String,
            /// Print a JSON object
            #[arg(long)]
            json: bool,
        }

        impl $name {
            pub(super) async fn run(&self, client: &Client) -> End {
                client.done(AdminRequest::$name { queue: self.queue.clone() }).await?;
                if self.json {
                    output::json(&json!({"queue": self.queue, "paused": $paused}))?;
                }
                eprintln!($said, self.queue);
                Ok(ExitCode::SUCCESS)
            }
        }
    )*};
}

queue_verbs! {
    Pause: "Example:\n  musher pause mails", true, "queue {} is paused: it gives out no jobs";
    Resume: "Example:\n  musher resume mails", false, "queue {} is resumed: it gives out jobs";
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher purge mails --yes")]
pub(super) struct Purge {
    /// The queue
    queue: String,
    /// Do not ask for confirmation
    #[arg(short, long)]
    yes: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Purge {
    pub(super) async fn run(&self, client: &Client) -> End {
        if !self.yes {
            let status: StatusView = client.ask(AdminRequest::Status {}).await?;
            let waiting =
                status.queues.iter().find(|q| q.queue == self.queue).map_or(0, |q| q.ready + q.scheduled);
            confirm(&format!("Delete {} waiting in queue {}?", jobs(waiting), self.queue))?;
        }
        let mut deleted = 0;
        loop {
            let part: PurgeView = client.ask(AdminRequest::Purge { queue: self.queue.clone() }).await?;
            deleted += part.deleted;
            if !part.more {
                break;
            }
        }
        if self.json {
            output::json(&json!({"queue": self.queue, "deleted": deleted}))?;
        }
        eprintln!("{} deleted", jobs(deleted));
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher drain --wait && systemctl restart musher")]
pub(super) struct Drain {
    /// Wait until no job is leased any more
    #[arg(long)]
    wait: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Drain {
    pub(super) async fn run(&self, client: &Client) -> End {
        loop {
            let view: DrainView = client.ask(AdminRequest::Drain {}).await?;
            if view.leased == 0 || !self.wait {
                if self.json {
                    output::json(&view)?;
                }
                let running = counted(view.leased, "job is", "jobs are");
                eprintln!("draining: {running} still leased; `musher undrain` ends the drain");
                return Ok(ExitCode::SUCCESS);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher undrain")]
pub(super) struct Undrain {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Undrain {
    pub(super) async fn run(&self, client: &Client) -> End {
        let view: DrainView = client.ask(AdminRequest::Undrain {}).await?;
        if view.draining {
            return Err(Failure::failed("the daemon is stopping; start it again"));
        }
        if self.json {
            output::json(&view)?;
        }
        eprintln!("jobs are taken and given out again");
        Ok(ExitCode::SUCCESS)
    }
}
