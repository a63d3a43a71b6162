//! `musher queue`: the settings of a queue, and rare operations on a whole queue.

use super::exit::{End, Failure};
use super::output::{self, point, safe, user};
use crate::client::Client;
use crate::protocol::admin::{AdminRequest, QueueSettingsView, SettingView};
use clap::{Args, Subcommand};
use serde_json::json;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  musher queue set mails rate=50/s concurrency=8
  musher queue show mails
  musher queue unset mails rate
  musher queue delete mials";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Queue {
    #[command(subcommand)]
    verb: Verb,
}

const SET: &str = "\
What is set goes over the configuration at once, and stays through restarts and reloads until it is unset. Keys and values \
are those of [queues.NAME] (docs/configuration.md), texts without quotes. The queue need not be there yet.

Examples:
  musher queue set mails rate=50/s
  musher queue set mails concurrency=8 per_key=1 retries=behind
  musher queue set mails keep.done=1h backlog=100000
  musher queue set mails rate=none           # no limit, whatever the configuration says";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set settings of a queue, over what the configuration says
    #[command(after_help = SET)]
    Set {
        /// The queue
        queue: String,
        /// What to set
        #[arg(required = true, value_name = "KEY=VALUE", value_parser = parse_pair)]
        set: Vec<(String, String)>,
        /// Print the settings as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let settings be as the configuration says again
    #[command(
        after_help = "Examples:\n  musher queue unset mails rate concurrency\n  musher queue unset mails keep\n  \
                            musher queue unset mails --all"
    )]
    Unset {
        /// The queue
        queue: String,
        /// Which settings
        #[arg(required_unless_present = "all", value_name = "KEY")]
        keys: Vec<String>,
        /// All that are set
        #[arg(long, conflicts_with = "keys")]
        all: bool,
        /// Print the settings as a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Show the settings of a queue, and where each comes from
    #[command(
        after_help = "Those that only the configuration has (handler, workers, backoff, on_exit) are shown by `musher config show`.\n\n\
                            Examples:\n  musher queue show mails\n  \
                            musher queue show mails --json | jq '.settings[] | select(.from == \"set\")'"
    )]
    Show {
        /// The queue
        queue: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Forget a queue that has no jobs, with what it has counted and what is set for it
    #[command(
        after_help = "An empty queue that is not in the configuration, and for which nothing is set, is forgotten automatically \
                      after limits.queue_idle.\n\n\
                      Example:\n  musher queue delete mials"
    )]
    Delete {
        /// The queue
        queue: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Let a queue whose circuit is open give out jobs again
    #[command(
        after_help = "A queue with `circuit` in the daemon's configuration gives out one job at a time after so many failed \
                      attempts in a row, until one succeeds. This ends that at once, and counts from 0 again.\n\n\
                      Example:\n  musher queue reset-circuit mails"
    )]
    ResetCircuit {
        /// The queue
        queue: String,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is a key and a value: rate=50/s")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl Queue {
    pub(super) async fn run(&self, client: &Client) -> End {
        match &self.verb {
            Verb::Set { queue, set, json } => change(client, queue, set.clone(), Vec::new(), *json).await,
            Verb::Unset { queue, keys, all: false, json } => {
                change(client, queue, Vec::new(), keys.clone(), *json).await
            }
            Verb::Unset { queue, json, .. } => {
                let set = look(client, queue).await?.settings.into_iter().filter(|it| it.from == "set");
                let keys: Vec<_> = set.map(|it| it.key).collect();
                if keys.is_empty() {
                    eprintln!("nothing is set for queue {queue}");
                    return Ok(ExitCode::SUCCESS);
                }
                change(client, queue, Vec::new(), keys, *json).await
            }
            Verb::Show { queue, json } => {
                let view = look(client, queue).await?;
                if *json {
                    output::json(&view)?
                } else {
                    table(&view)?
                }
                Ok(ExitCode::SUCCESS)
            }
            Verb::Delete { queue, json } => {
                client.done(AdminRequest::DeleteQueue { queue: queue.clone() }).await?;
                if *json {
                    output::json(&json!({"queue": queue, "deleted": true}))?;
                }
                eprintln!("queue {queue} is forgotten");
                Ok(ExitCode::SUCCESS)
            }
            Verb::ResetCircuit { queue, json } => {
                client.done(AdminRequest::ResetCircuit { queue: queue.clone() }).await?;
                if *json {
                    output::json(&json!({"queue": queue, "circuit": "closed"}))?;
                }
                eprintln!("the circuit of queue {queue} is closed");
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

async fn look(client: &Client, queue: &str) -> Result<QueueSettingsView, Failure> {
    Ok(client.ask(AdminRequest::QueueShow { queue: queue.to_owned() }).await?)
}

async fn change(
    client: &Client,
    queue: &str,
    set: Vec<(String, String)>,
    unset: Vec<String>,
    json: bool,
) -> End {
    let is_set = |key: &str| set.iter().any(|(set, _)| key == set || key.starts_with(&format!("{set}.")));
    let is_unset = |key: &str| unset.iter().any(|it| key == it || key.starts_with(&format!("{it}.")));
    let request = AdminRequest::QueueSet { queue: queue.to_owned(), set: set.clone(), unset: unset.clone() };
    client.done(request).await?;
    let view = match look(client, queue).await {
        Ok(view) => view,
        // It was there only for what was set.
        Err(_) if set.is_empty() => {
            eprintln!("queue {queue}: nothing is set any more");
            return Ok(ExitCode::SUCCESS);
        }
        Err(failure) => return Err(failure),
    };
    if json {
        output::json(&view)?;
    }
    for SettingView { key, value, configured, .. } in &view.settings {
        if is_set(key) {
            eprintln!("queue {queue}: {key} is {}; the configuration says {}", safe(value), safe(configured));
        } else if is_unset(key) {
            eprintln!("queue {queue}: {key} is {}, as the configuration says", safe(value));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(view: &QueueSettingsView) -> std::io::Result<()> {
    let row = |setting: &SettingView| {
        let from = match (setting.by, setting.at) {
            (Some(by), Some(at)) => format!("set by {}, {}", user(by), point(at)),
            _ => setting.from.clone(),
        };
        vec![setting.key.clone(), safe(&setting.value), from, safe(&setting.configured)]
    };
    let rows: Vec<_> = view.settings.iter().map(row).collect();
    output::table_without(&["SETTING", "VALUE", "FROM", "CONFIGURED"], &rows, &["CONFIGURED"])
}
