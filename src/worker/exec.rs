//! Builds the child process of an attempt: its command, environment, process group and end.

use super::team::{Handler, Plan};
use crate::notify::PRIVATE_ENV;
use crate::protocol::ClaimedJob;
use crate::protocol::admin::CommandJob;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Why an attempt could not start.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartError {
    /// The body is no command: no later attempt can be better.
    #[error("the body is not a command as `musher run` submits it: {0}")]
    NotACommand(String),
    /// The system refused.
    #[error("cannot start `{program}`{place}: {error}")]
    System {
        /// The program.
        program: String,
        /// Where, if that may be the reason.
        place: String,
        /// What the system said.
        error: io::Error,
    },
}

/// Starts the command of an attempt.
pub(super) fn start(plan: &Plan, job: &ClaimedJob, socket: Option<&PathBuf>) -> Result<Child, StartError> {
    let (mut command, program, place) = match &plan.handler {
        Handler::Exec(argv) => (of_argv(argv), argv.first().cloned().unwrap_or_default(), String::new()),
        Handler::Command => {
            let body: CommandJob = serde_json::from_slice(&job.body)
                .map_err(|error| StartError::NotACommand(error.to_string()))?;
            let Some(program) = body.argv.first().cloned() else {
                return Err(StartError::NotACommand("it names no program".into()));
            };
            let mut command = of_argv(&body.argv);
            command.env_clear().envs(body.env).current_dir(&body.cwd);
            (command, program, format!(" in {}", body.cwd))
        }
    };
    for name in PRIVATE_ENV {
        command.env_remove(name);
    }
    describe(&mut command, job, socket);
    let stdin =
        if plan.handler == Handler::Command || job.body.is_empty() { Stdio::null() } else { Stdio::piped() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    die_with_us(&mut command);
    command.spawn().map_err(|error| StartError::System { program, place, error })
}

fn of_argv(argv: &[String]) -> Command {
    let mut command = Command::new(argv.first().map_or("", String::as_str));
    command.args(argv.get(1..).unwrap_or_default());
    command
}

/// Tells the command which job it runs.
fn describe(command: &mut Command, job: &ClaimedJob, socket: Option<&PathBuf>) {
    command
        .env("MUSHER_JOB_ID", job.lease.id.to_string())
        .env("MUSHER_QUEUE", &job.queue)
        .env("MUSHER_ATTEMPT", job.lease.attempt.to_string())
        .env("MUSHER_MAX_ATTEMPTS", job.attempts.to_string())
        .env("MUSHER_LEASE_UNTIL", job.until_ms.to_string());
    if let Some(socket) = socket {
        command.env("MUSHER_SOCKET", socket);
    }
    for (name, value) in job.tags.iter().filter(|(_, value)| !value.contains('\0')) {
        command.env(tag_variable(name), value);
    }
}

/// The variable of a tag: `MUSHER_TAG_` and its name in capitals, with `_` for all but letters and digits.
pub(super) fn tag_variable(name: &str) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("MUSHER_TAG_{}", name.chars().map(letter).collect::<String>())
}

/// A SIGKILL of this process takes the child with it. The whole group is ended when the connection to the daemon
/// ends; this is for the moment in which nobody is left to do that. It follows the thread that forks, which is the
/// only one here and lives as long as the process.
fn die_with_us(command: &mut Command) {
    let parent = rustix::process::getpid();
    let set = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // The parent may have ended between the fork and the line above.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed: these are two bare system calls
    // (prctl and getppid), and building an error of a kind does not allocate.
    unsafe { command.pre_exec(set) };
}
