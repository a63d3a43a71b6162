//! `musher queue`: rare operations on a whole queue.

use super::exit::End;
use super::output;
use crate::client::Client;
use crate::protocol::admin::AdminRequest;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  musher queue delete mials")]
pub(super) struct Queue {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Forget a queue that has no jobs, and what it has counted
    #[command(
        after_help = "An empty queue that is not in the configuration is forgotten automatically after limits.queue_idle.\n\n\
                      Example:\n  musher queue delete mials"
    )]
    Delete {
        /// The queue
        queue: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Queue {
    pub(super) async fn run(&self, client: &Client) -> End {
        let Verb::Delete { queue, json } = &self.verb;
        client.done(AdminRequest::DeleteQueue { queue: queue.clone() }).await?;
        if *json {
            output::json(&json!({"queue": queue, "deleted": true}))?;
        }
        eprintln!("queue {queue} is forgotten");
        Ok(ExitCode::SUCCESS)
    }
}
