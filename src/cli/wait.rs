//! `musher wait`: until jobs have ended, and what their end means for an exit code.

use super::exit::{End, FAILED};
use super::job_options::millis;
use super::output::safe;
use crate::client::Client;
use crate::durations::parse_duration;
use crate::protocol::admin::{AdminRequest, EndView};
use clap::Args;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher wait 42\n  musher wait 42 43 44 --timeout 5m")]
pub(super) struct Wait {
    /// The jobs
    #[arg(required = true)]
    ids: Vec<u64>,
    /// Wait at most so long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
}

impl Wait {
    pub(super) async fn run(&self, client: &Client) -> End {
        wait_for(client, self.ids.clone(), self.timeout, false).await
    }
}

/// Waits until jobs have ended; success if all are done. `as_command`: the exit status of the job's command is
/// ours, where it is known.
pub(super) async fn wait_for(
    client: &Client,
    ids: Vec<u64>,
    timeout: Option<Duration>,
    as_command: bool,
) -> End {
    let ends: Vec<EndView> = client.ask(AdminRequest::Wait { ids, timeout_ms: timeout.map(millis) }).await?;
    let mut code = 0;
    for end in ends.iter().filter(|end| end.state != "done") {
        let error = end.error.as_ref().map_or_else(String::new, |error| format!(": {}", safe(error)));
        eprintln!("job {} is {}{error}", end.id, end.state);
        let status = end.error.as_ref().and_then(|error| exit_status(error)).filter(|_| as_command);
        code = status.unwrap_or(FAILED);
    }
    Ok(ExitCode::from(code))
}

/// The exit status in an error's text, as workers write it: `exit status 3: …`.
fn exit_status(error: &str) -> Option<u8> {
    let rest = error.strip_prefix("exit status ")?;
    rest.split(':').next()?.parse().ok()
}
