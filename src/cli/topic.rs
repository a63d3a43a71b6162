//! `musher topic`: names to which jobs are submitted, and the queues that get them.

use super::exit::End;
use super::output::{self, safe};
use crate::client::Client;
use crate::protocol::admin::TopicView;
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;

const EXAMPLES: &str = "\
A submit to a topic is one job in each queue that is bound to it, in one commit. Queues are bound by command, or in the
daemon's configuration:
  [topics]
  \"order.created\" = [\"invoices\", \"mails\"]
  \"order.*\" = [\"audit\"]
A submit goes to all of them, to each queue once.

Examples:
  musher topic bind order.created invoices mails
  musher submit --topic order.created '{\"order\": 7}'
  musher topic list";

const BIND: &str = "\
What is bound holds at once, and stays through restarts and reloads until it is unbound, beside what the configuration says. The
queues need not be there yet. To bind what is bound already is no error. Whoever submits to the topic must be allowed to submit
to all queues that are bound to it, so only administrators bind.

Examples:
  musher topic bind order.created invoices mails
  musher topic bind 'order.*' audit              # * stands for anything";

const UNBIND: &str = "\
PATTERN is the one that queues were bound to, to the letter. What the configuration binds is changed there.

Examples:
  musher topic unbind order.created mails
  musher topic unbind 'order.*'                  # all that were bound to it by command";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Topic {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bind queues to a topic, or to all that match a pattern
    #[command(after_help = BIND)]
    Bind {
        /// The topic; * stands for anything
        #[arg(value_name = "PATTERN")]
        topic: String,
        /// The queues
        #[arg(required = true, value_name = "QUEUE")]
        queues: Vec<String>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let go of queues that were bound by command
    #[command(after_help = UNBIND)]
    Unbind {
        /// The topic, or pattern, to which they were bound
        #[arg(value_name = "PATTERN")]
        topic: String,
        /// The queues; all that were bound to it by command if none are named
        #[arg(value_name = "QUEUE")]
        queues: Vec<String>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// The topics, the queues that are bound to them, and who has bound these
    #[command(
        after_help = "Examples:\n  musher topic list\n  musher topic list --json | jq 'select(.from == \"command\")'"
    )]
    List {
        /// Print an object a line
        #[arg(long)]
        json: bool,
    },
}

impl Topic {
    pub(super) async fn run(&self, client: &Client) -> End {
        match &self.verb {
            Verb::Bind { topic, queues, json } => {
                client.bind_topic(topic, queues).await?;
                let are = if queues.len() == 1 { "is" } else { "are" };
                told(topic, queues, *json, &format!("{} {are} bound to it", names(queues)))?;
            }
            Verb::Unbind { topic, queues, json } => {
                client.unbind_topic(topic, queues).await?;
                let what = match queues.len() {
                    0 => "nothing is bound to it by command any more".to_owned(),
                    1 => format!("{} is not bound to it by command any more", names(queues)),
                    _ => format!("{} are not bound to it by command any more", names(queues)),
                };
                told(topic, queues, *json, &what)?;
            }
            Verb::List { json } => list(&client.topics().await?, *json)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn names(queues: &[String]) -> String {
    queues.iter().map(|queue| safe(queue)).collect::<Vec<_>>().join(", ")
}

fn told(topic: &str, queues: &[String], json: bool, what: &str) -> std::io::Result<()> {
    if json {
        return output::json(&json!({ "topic": topic, "queues": queues, "ok": true }));
    }
    eprintln!("topic {}: {what}", safe(topic));
    Ok(())
}

fn list(topics: &[TopicView], json: bool) -> std::io::Result<()> {
    if json {
        return topics.iter().try_for_each(output::json);
    }
    if topics.is_empty() {
        return output::line(
            "no topics: `musher topic bind` makes one, and so does [topics] in the daemon's configuration",
        );
    }
    let row = |topic: &TopicView| vec![safe(&topic.topic), safe(&topic.queues.join(", ")), safe(&topic.from)];
    output::table_without(&["TOPIC", "QUEUES", "FROM"], &topics.iter().map(row).collect::<Vec<_>>(), &[])
}
