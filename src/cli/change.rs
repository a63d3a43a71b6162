//! Changes jobs, queues and the daemon by hand.

use super::ask::confirm;
use super::exit::{End, Failure};
use super::output;
use super::which::{Change, Which};
use crate::client::Client;
use crate::durations::{parse_duration, show_duration};
use crate::protocol::admin::{AdminRequest, DrainView, PurgeView, StatusView};
use crate::words::{counted, jobs};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// How often a drain looks whether jobs still run.
const LOOK_EVERY: Duration = Duration::from_millis(200);

macro_rules! edits {
    ($($name:ident, $edit:literal: $example:literal;)*) => {$(
        #[derive(Debug, Args)]
        #[command(after_help = $example)]
        pub(super) struct $name {
            #[command(flatten)]
            which: Which,
        }

        impl $name {
            pub(super) async fn run(&self, client: &Client) -> End {
                self.which.edit(client, &Change { edit: $edit, ..Change::default() }).await
            }
        }
    )*};
}

edits! {
    Cancel, "cancel": "Examples:\n  musher cancel 42\n  musher cancel --queue mails --state scheduled --older 1d --dry-run";
    Retry, "retry": "With --rate it takes its time; if it is stopped, call it again for the rest.\n\n\
            Examples:\n  musher retry 42\n  musher retry --state dead --queue mails --error 'connection refused' --rate 10/s";
    Kick, "kick": "Examples:\n  musher kick 42\n  musher kick --state dead --queue mails";
    Bury, "bury": "Example:\n  musher bury 42";
    Delete, "delete": "Examples:\n  musher delete 42-50\n  musher delete --state dead --tag order=42";
}

#[derive(Debug, Args)]
#[command(
    after_help = "A job keeps its id, body, tags, key, history and age; limits, retention and workers are then the other queue's. One that \
                  runs is left where it is.\n\n\
                  Examples:\n  musher move 42 --to urgent\n  musher move --queue mails --tag customer=7 --to slow --dry-run"
)]
pub(super) struct Move {
    #[command(flatten)]
    which: Which,
    /// The queue that they go to
    #[arg(long, value_name = "Q")]
    to: String,
}

impl Move {
    pub(super) async fn run(&self, client: &Client) -> End {
        let to = Some(self.to.clone());
        self.which.edit(client, &Change { edit: "move", to, ..Change::default() }).await
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "0 goes first; usual is 1024. For a job that runs it holds from its next attempt on.\n\n\
                  Examples:\n  musher priority 42 --to 0\n  musher priority --queue mails --tag customer=7 --to 2000"
)]
pub(super) struct Priority {
    #[command(flatten)]
    which: Which,
    /// The new priority
    #[arg(long, value_name = "N")]
    to: u32,
}

impl Priority {
    pub(super) async fn run(&self, client: &Client) -> End {
        let priority = Some(self.to);
        self.which.edit(client, &Change { edit: "prioritize", priority, ..Change::default() }).await
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher pause mails\n  musher pause mails --for 2h")]
pub(super) struct Pause {
    /// The queue
    queue: String,
    /// For so long; without it until `musher resume`
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Pause {
    pub(super) async fn run(&self, client: &Client) -> End {
        let (queue, for_ms) = (self.queue.clone(), self.time.map(|time| time.as_millis() as u64));
        client.done(AdminRequest::Pause { queue, for_ms }).await?;
        if self.json {
            output::json(&json!({"queue": self.queue, "paused": true, "for_ms": for_ms}))?;
        }
        let time = self.time.map(|time| format!(" for {}", show_duration(time))).unwrap_or_default();
        eprintln!("queue {} is paused{time}: it gives out no jobs", self.queue);
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher resume mails")]
pub(super) struct Resume {
    /// The queue
    queue: String,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl Resume {
    pub(super) async fn run(&self, client: &Client) -> End {
        client.done(AdminRequest::Resume { queue: self.queue.clone() }).await?;
        if self.json {
            output::json(&json!({"queue": self.queue, "paused": false}))?;
        }
        eprintln!("queue {} is resumed: it gives out jobs", self.queue);
        Ok(ExitCode::SUCCESS)
    }
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
            let waiting = status
                .queues
                .iter()
                .find(|q| q.queue == self.queue)
                .map_or(0, |q| q.ready + q.scheduled + q.waiting);
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
