//! `musher topic`: names to which jobs are submitted, and the queues that get them.

use super::exit::End;
use super::output::{self, safe};
use crate::client::Client;
use crate::protocol::admin::{AdminRequest, TopicView};
use clap::{Args, Subcommand};
use std::process::ExitCode;

const EXAMPLES: &str = "\
A submit to a topic is one job in each queue that is bound to it, in one commit. Queues are bound in the daemon's configuration:
  [topics]
  \"order.created\" = [\"invoices\", \"mails\"]
  \"order.*\" = [\"audit\"]

Examples:
  musher submit --topic order.created '{\"order\": 7}'
  musher topic list";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Topic {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The topics, and the queues that are bound to them
    #[command(after_help = "Example:\n  musher topic list")]
    List {
        /// Print an object a line
        #[arg(long)]
        json: bool,
    },
}

impl Topic {
    pub(super) async fn run(&self, client: &Client) -> End {
        let Verb::List { json } = self.verb;
        let topics: Vec<TopicView> = client.ask(AdminRequest::Topics {}).await?;
        if json {
            topics.iter().try_for_each(output::json)?;
        } else if topics.is_empty() {
            output::line("no topics: they are in the daemon's configuration, in [topics]")?;
        } else {
            let rows = topics.iter().map(|topic| vec![safe(&topic.topic), safe(&topic.queues.join(", "))]);
            output::table_without(&["TOPIC", "QUEUES"], &rows.collect::<Vec<_>>(), &[])?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
