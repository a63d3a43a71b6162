//! `musher run -- CMD`: a command becomes a job, with its directory and environment as they are now.

use super::exit::{End, Failure};
use super::job_options::Wishes;
use super::{logs, output, wait};
use crate::client::Client;
use crate::config::COMMANDS_QUEUE;
use crate::protocol::SubmitGroup;
use crate::protocol::admin::CommandJob;
use clap::Args;
use std::env;
use std::ffi::OsString;

const EXAMPLES: &str = "\
A command that fails is not run again unless --attempts says so; one whose daemon or machine dies is.

Examples:
  musher run -- ffmpeg -i in.mov out.mp4        prints the job's id
  musher run --wait -- make backup              shows its output, exits as it does
  musher run --delay 8h --attempts 3 -- ./nightly.sh";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// A queue whose handler is \"command\"
    #[arg(long, value_name = "QUEUE", default_value = COMMANDS_QUEUE)]
    queue: String,
    /// Show what the command prints, and exit with its exit status
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    wishes: Wishes,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Run {
    pub(super) async fn run(&self, client: &Client) -> End {
        let job = CommandJob {
            argv: self
                .command
                .iter()
                .map(|arg| text(arg.clone(), "the command"))
                .collect::<Result<_, _>>()?,
            cwd: text(env::current_dir()?.into_os_string(), "the working directory")?,
            env: env::vars_os()
                .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
                .collect(),
        };
        let body = serde_json::to_vec(&job).map_err(Failure::failed)?;
        let mut options = self.wishes.for_queue(&self.queue)?;
        options.attempts.get_or_insert(1);
        let group = SubmitGroup { options, bodies: vec![body.into()] };
        let (id, _) = client.submit(vec![group]).await?;
        if !self.wait {
            output::line(&id.to_string())?;
            return Ok(std::process::ExitCode::SUCCESS);
        }
        eprintln!("job {id}");
        logs::print_logs(client, id, true).await?;
        wait::wait_for(client, vec![id], None, true).await
    }
}

fn text(text: OsString, what: &str) -> Result<String, Failure> {
    text.into_string()
        .map_err(|text| Failure::usage(format!("{what} is not UTF-8: {}", text.to_string_lossy())))
}
