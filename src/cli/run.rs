//! `musher run -- CMD`: a command becomes a job, with its directory and environment as they are now.

use super::ask::Target;
use super::exit::{End, Failure};
use super::interrupt::message_on_signal;
use super::logs::Printed;
use super::past::note_past;
use super::steady::Steady;
use super::traced::Here;
use super::{ends, output, wait};
use crate::client::Client;
use crate::config::COMMANDS_QUEUE;
use crate::protocol::admin::{AdminRequest, EndView};
use crate::protocol::{CommandJob, SubmitGroup, Word, describes_a_job};
use crate::written::options::JobArgs;
use clap::Args;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

const EXAMPLES: &str = "\
With --wait the exit code is the command's own, or 128 plus the signal that ended it, such as 137 for SIGKILL; 1 if the
job ended in another way, 4 if nothing is kept of it. Ctrl-C ends the waiting, not the job.
If the daemon restarts meanwhile, --wait goes on as soon as it is back, within a minute.
A command that fails is not run again unless --attempts says so; one that the daemon's or the machine's end cuts off is.

Examples:
  musher run -- ffmpeg -i in.mov out.mp4        prints the job's id
  musher run --wait -- make backup              shows its output, exits as it does
  musher run --delay 8h --attempts 3 -- ./nightly.sh";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Run {
    /// A queue whose handler is "command"
    #[arg(long, value_name = "QUEUE", default_value = COMMANDS_QUEUE)]
    queue: String,
    /// Show what the command prints, and exit with its exit status
    #[arg(long)]
    wait: bool,
    /// Print {"id": …, "new": true} instead of the id alone
    #[arg(long, conflicts_with = "wait")]
    json: bool,
    #[command(flatten)]
    args: JobArgs,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Run {
    pub(super) async fn run(&self, to: &Target, client: Client) -> End {
        let body = command_body(&self.command)?;
        let mut options = Here::read().put(self.args.for_queue(&self.queue).map_err(Failure::usage)?);
        options.attempts.get_or_insert(1);
        note_past(&options);
        let group = SubmitGroup { options, bodies: vec![body.into()] };
        let receipts = client.submit(vec![group]).await?;
        if !self.wait {
            output::submitted(&receipts, self.json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let id = receipts.first_id();
        eprintln!("job {id}");
        let meanwhile =
            format!("job {id} goes on; `musher wait {id}` waits for it, `musher cancel {id}` ends it");
        let _heard = message_on_signal(meanwhile.clone())?;
        let mut steady = Steady::new(to.path(), client, None, meanwhile);
        let end = follow(&mut steady, id).await?;
        let status = wait::command_status(&end);
        let code = ends::tell(&[end.into()], None);
        Ok(ExitCode::from(status.unwrap_or(code)))
    }
}

/// The body of a job that runs a command as it would run here and now.
pub(super) fn command_body(command: &[OsString]) -> Result<Vec<u8>, Failure> {
    let variables = env::vars_os().filter(|(name, _)| !describes_a_job(name));
    let job = CommandJob {
        argv: command.iter().cloned().map(Word).collect(),
        cwd: Word(working_directory()?.into_os_string()),
        env: variables.map(|(name, value)| (name.into(), value.into())).collect(),
    };
    serde_json::to_vec(&job).map_err(Failure::failed)
}

/// Prints what a job prints until it has ended, whatever becomes of the daemon; returns how it ended.
async fn follow(steady: &mut Steady, id: u64) -> Result<EndView, Failure> {
    let mut printed = Printed::of_own_job();
    let known = steady.ask(async |client, _| {
        // The end is asked for before the output: some daemon must have seen it, and a later one may not know.
        let wait = AdminRequest::Wait { ids: vec![id], timeout_ms: None };
        let wait = async { client.ask::<Vec<EndView>>(wait).await.map_err(Failure::from) };
        tokio::try_join!(wait, printed.go_on(client, id, true))
    });
    match known.await?.0.pop() {
        Some(end) if ends::has_ended(&end) => Ok(end),
        _ => wait::end_of(steady, id).await,
    }
}

fn working_directory() -> Result<PathBuf, Failure> {
    env::current_dir().map_err(|error| {
        Failure::failed(format!("the working directory cannot be found: {error}; go to one that is there"))
    })
}
