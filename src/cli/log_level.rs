//! `musher log-level`: what the daemon logs.

use super::exit::{End, Failure};
use super::output::{self, safe};
use crate::client::Client;
use clap::Args;
use std::process::ExitCode;

const EXAMPLES: &str = "\
A FILTER is a level (off, error, warn, info, debug, trace), or several with commas: of modules, MODULE=LEVEL. It holds until the daemon's next start, \
which begins with MUSHER_LOG again; a reload leaves it as it is. The daemon's own workers are processes of their own, and log as before.

Examples:
  musher log-level                               what is logged now
  musher log-level debug
  musher log-level info,musher::store=trace
  musher log-level --reset                       as at the start";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LogLevel {
    /// What is logged from now on
    filter: Option<String>,
    /// What was logged at the start
    #[arg(long, conflicts_with = "filter")]
    reset: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

impl LogLevel {
    pub(super) async fn run(&self, client: &Client) -> End {
        let filter = if self.reset { Some(String::new()) } else { self.filter.clone() };
        if !self.reset && filter.as_ref().is_some_and(|filter| filter.trim().is_empty()) {
            return Err(Failure::usage("an empty filter: use --reset for what was logged at the start"));
        }
        let level = client.log_level(filter).await?;
        if self.json {
            output::json(&level)?;
        } else {
            let is_changed = level.filter != level.at_start;
            let before = if is_changed {
                format!(" (`{}` at the start)", safe(&level.at_start))
            } else {
                String::new()
            };
            output::line(&format!("{}{before}", safe(&level.filter)))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
