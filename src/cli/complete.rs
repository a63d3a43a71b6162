//! Shell completion. The script of `musher completions SHELL` calls this program, which knows the verbs and asks the
//! daemon for the rest: its queues, its newest jobs, its leases. If the daemon does not answer at once, nothing is
//! offered: a key press must never hang.

use super::ask::Target;
use super::exit::{End, Failure};
use crate::client::{Client, ClientError};
use crate::core::for_shell;
use crate::protocol::WIRE_STATES;
use crate::protocol::admin::{AdminRequest, JobView, JobsView, ListQuery, StatusView};
use clap::{Args, Command, ValueHint};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::timeout;

/// The variable by which the script says that this is a question, and for which shell.
const VAR: &str = "MUSHER_COMPLETE";
/// How long the daemon may take.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(500);
/// How many jobs are offered.
const JOBS: u32 = 50;

const EXAMPLES: &str = "\
Completions offer the queues, jobs and leases of the running daemon; without a daemon, only verbs and options.

Examples:
  source <(musher completions bash)             in ~/.bashrc
  source <(musher completions zsh)              in ~/.zshrc, after compinit
  musher completions fish | source              in ~/.config/fish/config.fish";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(&self) -> End {
        let shell = self.shell.to_string();
        let all = Shells::builtins();
        let shell = all.completer(&shell).ok_or_else(|| Failure::usage(format!("{shell} is not known")))?;
        let mut script = Vec::new();
        shell.write_registration(VAR, "musher", "musher", "musher", &mut script)?;
        std::io::stdout().lock().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Answers the script, if it was it that called: then this process has done what it was for.
pub(super) fn answer(command: impl Fn() -> Command) -> Option<ExitCode> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let dir = std::env::current_dir().ok();
    let completer = CompleteEnv::with_factory(|| offering(command())).var(VAR);
    match completer.try_complete(args, dir.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        // There is nobody to tell: a message would end up on the line that is being typed.
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// What nobody types: the names of hidden verbs, each once, for the engine offers those where nothing else fits.
const UNTYPED: [&str; 2] = ["\u{0}", "\u{1}"];

/// The command line with what may stand in each place.
fn offering(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let mut untyped = UNTYPED.into_iter();
    names.iter().fold(command, |command, name| {
        let is_hidden = command.find_subcommand(name).is_some_and(Command::is_hide_set);
        command.mut_subcommand(name, |verb| match is_hidden {
            // There are as many as hidden verbs; more would be found by the tests of completions.
            true => verb.name(untyped.next().unwrap_or_default()),
            false => offering_values(verb),
        })
    })
}

fn offering_values(verb: Command) -> Command {
    verb.mut_args(|arg| {
        let candidates: fn() -> Vec<CompletionCandidate> = match arg.get_id().as_str() {
            "queue" | "queues" => queues,
            "state" => states,
            "id" | "ids" => jobs,
            "leases" => leases,
            "command" => return arg.value_hint(ValueHint::AnyPath),
            _ => return arg,
        };
        arg.add(ArgValueCandidates::new(candidates))
    })
}

fn states() -> Vec<CompletionCandidate> {
    WIRE_STATES.iter().map(CompletionCandidate::new).collect()
}

fn queues() -> Vec<CompletionCandidate> {
    let status = ask(async |client| client.ask::<StatusView>(AdminRequest::Status {}).await);
    let queues = status.map(|status| status.queues).unwrap_or_default();
    // What a shell would take for something of its own is not put into a line by a key.
    let is_plain = |name: &&str| for_shell(name) == **name;
    queues.iter().map(|queue| &*queue.queue).filter(is_plain).map(CompletionCandidate::new).collect()
}

/// The newest jobs, the newest first.
fn jobs() -> Vec<CompletionCandidate> {
    let candidate = |job: &JobView| {
        CompletionCandidate::new(job.id.to_string())
            .help(Some(format!("{}, {}", job.queue, job.state).into()))
    };
    newest(None).iter().map(candidate).collect()
}

fn leases() -> Vec<CompletionCandidate> {
    let lease = |job: &JobView| CompletionCandidate::new(format!("{}@{}", job.id, job.attempt));
    newest(Some("leased")).iter().map(lease).collect()
}

fn newest(state: Option<&str>) -> Vec<JobView> {
    let query =
        ListQuery { state: state.map(str::to_owned), newest: true, limit: JOBS, ..ListQuery::default() };
    let page = ask(async |client| client.ask::<JobsView>(AdminRequest::List(query)).await);
    page.map(|page| page.jobs).unwrap_or_default()
}

/// Asks the daemon that the line means, as far as it has been typed.
fn ask<T>(question: impl AsyncFnOnce(Client) -> Result<T, ClientError>) -> Option<T> {
    let args: Vec<OsString> = std::env::args_os().collect();
    let named = args.iter().skip_while(|arg| *arg != "--socket").nth(1);
    let to = Target { socket: named.map(PathBuf::from) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let asked = async { question(Client::connect(to.path()).await?).await };
    runtime.block_on(async { timeout(ANSWER_TIME_MAX, asked).await }).ok()?.ok()
}
