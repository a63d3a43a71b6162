//! The command line: every verb, and how its end becomes an exit code. Each verb turns arguments into requests of
//! the client library and answers into text or JSON; it knows nothing of the daemon's internals.

/// Says a line to people. Unlike the one of the standard library, which panics, it goes on where nobody reads any more:
/// then there is nobody to tell, and what was asked for is done all the same.
macro_rules! eprintln {
    () => { eprintln!("") };
    ($($text:tt)*) => {{
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{}\n", format_args!($($text)*)));
    }};
}

mod ask;
mod backup;
mod batches;
mod bench;
mod beside;
mod change;
#[cfg(any(test, feature = "cluster"))]
mod cluster;
mod complete;
mod daemon;
mod demo;
mod edit;
mod ends;
mod exit;
mod flow;
mod follow;
mod group;
mod handover;
mod help;
mod interrupt;
mod lease;
mod lines;
mod list;
mod log_level;
mod logs;
mod look;
mod man;
mod moving;
mod output;
mod own_daemon;
mod past;
mod progress;
mod queue;
mod run;
mod schedule;
mod show;
mod stats;
mod steady;
mod submit;
mod table;
mod top;
mod topic;
mod traced;
mod transfer;
mod unreachable;
mod verify;
mod wait;
mod which;
#[cfg(not(any(test, feature = "cluster")))]
mod without_cluster;
mod work;

use crate::protocol::Version;
use crate::store;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use exit::{End, Failure};
use std::path::PathBuf;
use std::process::ExitCode;

const AFTER_HELP: &str = "\
Begin:
  musher serve                          the daemon, with everything at its default
  musher submit mails 'hello'           enqueue a job; prints its id
  musher work mails -- ./send-mail      run jobs: the body on standard input
  musher run --wait -- make backup      enqueue a command and see its output
  musher status                         what is going on

Exit codes: 0 ok, 1 failed, 2 wrong usage, 4 the job has ended and nothing is kept of it, 69 no daemon, 75 try again
later, 130 Ctrl-C. `run --wait` ends as its command does: with its exit status, or 128 and the signal.
More in `musher VERB --help`, README.md and docs/.";

/// A persistent job queue: nothing acknowledged is ever lost.
#[derive(Debug, Parser)]
#[command(name = "musher", version, long_version = long_version(), after_help = AFTER_HELP, disable_help_subcommand = true)]
struct Cli {
    /// The daemon's socket [default: the first that exists of $XDG_RUNTIME_DIR/musher/musher.sock, musher.sock in the
    /// default data directory, /run/musher/musher.sock]
    #[arg(long, global = true, value_name = "PATH", env = "MUSHER_SOCKET", hide_env_values = true)]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What else one asks before another version is installed.
fn long_version() -> String {
    let (version, protocol) = (env!("CARGO_PKG_VERSION"), Version::NEWEST.number());
    format!("{version}\ndata format {}, protocol {protocol}", store::DATA_FORMAT)
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon
    Serve(daemon::Serve),
    /// Enqueue jobs
    Submit(submit::Submit),
    /// Enqueue a command with its directory and environment as they are now
    Run(run::Run),
    /// Be a worker: claim jobs, run a command for each, settle by its exit status
    Work(work::Work),
    /// Lease jobs by hand, for scripts
    Claim(lease::Claim),
    /// Settle a leased job: done
    Complete(lease::Complete),
    /// Settle a leased job: failed; it is retried, or dead
    Fail(lease::Fail),
    /// Extend a lease
    Extend(lease::Extend),
    /// Say how far a leased job is, for people who look at it
    Progress(lease::Progress),
    /// Store how far a leased job is, for its next attempt
    Checkpoint(beside::Checkpoint),
    /// Give a leased job back; the attempt is not counted
    Release(lease::Release),
    /// Tell a job something that it waits for, or will
    Signal(beside::Signal),
    /// Show the daemon and its queues
    Status(look::Status),
    /// List the queues
    Queues(look::Queues),
    /// Show what happened lately: rates, failures, waits, with a plot
    Stats(stats::Stats),
    /// Watch queues, jobs and schedules on a screen, and act on them
    Top(top::Top),
    /// List jobs, by id
    List(list::List),
    /// Show one job
    Show(show::Show),
    /// Wait until jobs, or groups of them, have ended
    Wait(wait::Wait),
    /// Print the result that a job has come to
    Result(beside::ResultOf),
    /// Show what a job printed
    Logs(logs::Logs),
    /// Explain why a job is not running
    Explain(show::Explain),
    /// Stop jobs for good, running ones too
    Cancel(change::Cancel),
    /// Run ended jobs again
    #[command(visible_alias = "requeue")]
    Retry(change::Retry),
    /// Run dead, scheduled or waiting jobs now
    Kick(change::Kick),
    /// Set jobs aside as dead
    Bury(change::Bury),
    /// Forget jobs
    Delete(change::Delete),
    /// Bring jobs into another queue
    Move(change::Move),
    /// Give a job another body
    Edit(edit::Edit),
    /// Give jobs another priority
    Priority(change::Priority),
    /// Stop giving out a queue's jobs
    Pause(change::Pause),
    /// Give out a queue's jobs again
    Resume(change::Resume),
    /// Delete all jobs that wait in a queue
    Purge(change::Purge),
    /// Forget an empty queue (`queue delete`)
    Queue(queue::Queue),
    /// Jobs that are waited for together: look at groups, seal, cancel them
    Group(group::Group),
    /// Submit a graph of jobs from one document, and look at it
    Flow(flow::Flow),
    /// Bind queues to topics, names to which jobs are submitted; look at them
    Topic(topic::Topic),
    /// Submit jobs by the clock
    Schedule(schedule::Schedule),
    /// Stop taking jobs and giving them out
    Drain(change::Drain),
    /// End a drain: take and give out jobs again
    Undrain(change::Undrain),
    /// Show what the daemon logs, or change it while it runs
    LogLevel(log_level::LogLevel),
    /// Back up everything to a file, while the daemon runs
    Backup(backup::Backup),
    /// Create a data directory from a backup
    Restore(backup::Restore),
    /// Check a data directory or a backup completely, and report every defect
    Verify(verify::Verify),
    /// Print jobs with their bodies as lines of JSON
    Export(transfer::Export),
    /// Submit jobs from lines of JSON, or move in from another queue
    Import(transfer::Import),
    /// Bring a data directory to the newest format
    Migrate(backup::Migrate),
    /// Look at a cluster: its nodes, who runs the queue, the log
    #[cfg(any(test, feature = "cluster"))]
    Cluster(cluster::Cluster),
    /// Clusters, which this program has not
    #[cfg(not(any(test, feature = "cluster")))]
    #[command(hide = true, disable_help_flag = true)]
    Cluster(without_cluster::WithoutCluster),
    /// Check or show the configuration
    Config(daemon::ConfigVerb),
    /// Print completions for a shell
    Completions(complete::Completions),
    /// Print a man page: of this program, a verb, or the configuration
    Man(man::Man),
    /// Measure a daemon: submits, claims, settles, and the time from a submit to a waiting worker
    Bench(bench::Bench),
    /// See it work: a real daemon, real jobs, a kill -9 in the middle, and a summary
    Demo(demo::Demo),
    /// The daemon's own workers; started by the daemon
    #[command(hide = true)]
    Pool(daemon::Pool),
    #[cfg(any(test, feature = "cluster"))]
    #[command(hide = true)]
    Shard(daemon::Shard),
}

/// Runs the program.
pub fn run() -> ExitCode {
    if let Some(code) = complete::answer(Cli::command) {
        return code;
    }
    let parsed = help::grouped(Cli::command()).try_get_matches();
    let cli = match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may read it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { 0 });
        }
    };
    match go(cli) {
        Ok(code) => code,
        Err(Failure { code, message }) => {
            if !message.is_empty() {
                // Lines are its own; what is in them may come from jobs.
                let lines: Vec<String> = message.lines().map(output::safe).collect();
                eprintln!("musher: {}", lines.join("\n"));
            }
            ExitCode::from(code)
        }
    }
}

fn go(cli: Cli) -> End {
    let to = ask::Target { socket: cli.socket };
    match cli.verb.unwrap_or(Verb::Status(look::Status::once())) {
        Verb::Serve(serve) => serve.run(&to),
        Verb::Submit(submit) => to.talk(async |client| submit.run(&to, client).await),
        Verb::Run(run) => to.talk(async |client| run.run(&to, client).await),
        Verb::Work(work) => work.run(&to),
        Verb::Claim(claim) => to.talk(async |client| claim.run(&client).await),
        Verb::Complete(complete) => to.talk(async |client| complete.run(&client).await),
        Verb::Fail(fail) => to.talk(async |client| fail.run(&client).await),
        Verb::Extend(extend) => to.talk(async |client| extend.run(&client).await),
        Verb::Checkpoint(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Progress(progress) => to.talk(async |client| progress.run(&client).await),
        Verb::Release(release) => to.talk(async |client| release.run(&client).await),
        Verb::Signal(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Status(status) => to.talk(async |client| status.run(&to, client).await),
        Verb::Queues(queues) => to.talk(async |client| queues.run(&client).await),
        Verb::Stats(stats) => to.talk(async |client| stats.run(&client).await),
        Verb::Top(top) => {
            top::Top::check()?;
            to.talk(async |client| top.run(&to, client).await)
        }
        Verb::List(list) => to.talk(async |client| list.run(&client).await),
        Verb::Show(show) => to.talk(async |client| show.run(&client).await),
        Verb::Result(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Wait(wait) => to.talk(async |client| wait.run(&to, client).await),
        Verb::Logs(logs) => to.talk(async |client| logs.run(&to, client).await),
        Verb::Explain(explain) => to.talk(async |client| explain.run(&client).await),
        Verb::Cancel(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Retry(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Kick(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Bury(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Delete(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Move(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Edit(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Priority(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Pause(pause) => to.talk(async |client| pause.run(&client).await),
        Verb::Resume(resume) => to.talk(async |client| resume.run(&client).await),
        Verb::Purge(purge) => to.talk(async |client| purge.run(&client).await),
        Verb::Queue(queue) => to.talk(async |client| queue.run(&client).await),
        Verb::Group(group) => to.talk(async |client| group.run(&client).await),
        Verb::Flow(flow) => to.talk(async |client| flow.run(&client).await),
        Verb::Topic(topic) => to.talk(async |client| topic.run(&client).await),
        Verb::Schedule(schedule) => to.talk(async |client| schedule.run(&client).await),
        Verb::Drain(drain) => to.talk(async |client| drain.run(&client).await),
        Verb::Undrain(undrain) => to.talk(async |client| undrain.run(&client).await),
        Verb::LogLevel(verb) => to.talk(async |client| verb.run(&client).await),
        Verb::Backup(backup) => backup.run(&to),
        Verb::Restore(restore) => restore.run(),
        Verb::Verify(verify) => verify.run(),
        Verb::Export(export) => to.talk(async |client| export.run(&client).await),
        Verb::Import(import) => to.talk(async |client| import.run(&client).await),
        Verb::Migrate(migrate) => migrate.run(),
        #[cfg(any(test, feature = "cluster"))]
        Verb::Cluster(cluster) => cluster.run(),
        #[cfg(not(any(test, feature = "cluster")))]
        Verb::Cluster(without) => without.run(),
        Verb::Config(config) => config.run(),
        Verb::Completions(completions) => completions.run(),
        Verb::Man(man) => man.run(Cli::command()),
        Verb::Bench(bench) => bench.run(&to),
        Verb::Demo(demo) => demo.run(),
        Verb::Pool(pool) => pool.run(),
        #[cfg(any(test, feature = "cluster"))]
        Verb::Shard(shard) => shard.run(&to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_verb_shows_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let example = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(example.contains("musher "), "`musher {} --help` has no example", verb.get_name());
        }
    }

    #[test]
    fn every_verb_has_a_man_page() {
        let mut command = Cli::command();
        command.build();
        for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let page = man::render(verb.clone()).unwrap();
            assert!(page.contains(&format!(".TH musher-{}", verb.get_name())), "{page}");
            assert!(page.contains("Example"), "{page}");
        }
        assert!(man::render(command).unwrap().contains(".TH musher 1"));
    }
}
