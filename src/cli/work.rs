//! `musher work`: this process is a worker.

use super::ask::Target;
use super::exit::{End, FAILED, Failure};
use crate::process;
use crate::telemetry;
use crate::worker::{Handler, KEPT_ENV, Plan, WorkOptions, keep, obstacle, run_kept};
use crate::written::options::{millis, parse_lease_time};
use clap::Args;
use signal_hook::consts::SIGHUP;
use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::Duration;

const EXAMPLES: &str = "\
The command gets the job's body on standard input, and MUSHER_JOB_ID, MUSHER_QUEUE, MUSHER_ATTEMPT,
MUSHER_MAX_ATTEMPTS, MUSHER_LEASE (for `musher progress`), MUSHER_LEASE_UNTIL, MUSHER_SOCKET, MUSHER_KEY,
MUSHER_DEADLINE and MUSHER_TAG_<NAME> in its environment.
Exit status 0: done. 75: again later, each time after a longer wait. 65: dead at once. Anything else: a failed attempt.
The queue's `on_exit` in the daemon's configuration can say otherwise of each status but 0, and of signals.
No daemon at the start: exit status 69. When it is killed later, running jobs run on, and the worker takes them up again
with the next daemon; those that this one has given up meanwhile are killed (`daemon.resume_within`).
SIGTERM: no more jobs are claimed; running ones have 30 s. A second one: running jobs are given back at once.

Examples:
  musher work mails -- ./send-mail
  musher work urgent normal -j 4 -- sh -c 'convert - out/$MUSHER_JOB_ID.png'";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Work {
    /// Where to look for jobs, in this order
    #[arg(required = true, value_name = "QUEUE")]
    queues: Vec<String>,
    /// How many jobs at a time
    #[arg(short, long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    jobs: u32,
    /// How long a lease lasts; it is extended while the job runs [default: the queue's]
    #[arg(long, value_name = "TIME", value_parser = parse_lease_time)]
    lease: Option<Duration>,
    /// Raise the jobs' oom_score_adj by this much: the kernel kills them first when memory runs out
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    oom_score_adj: u16,
    /// Do not print what jobs print
    #[arg(short, long)]
    quiet: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

impl Work {
    pub(super) fn run(self, to: &Target) -> End {
        // Started by nohup, it must not end with the terminal.
        let hears_hangup = process::ignored_signals().is_none_or(|ignored| ignored >> (SIGHUP - 1) & 1 == 0);
        process::begin_clean();
        let handler = Handler::Exec(self.command);
        if env::var_os(KEPT_ENV).is_none() {
            // Later it may go away for a while; now it is a mistake.
            if let Some(obstacle) = obstacle(&handler) {
                return Err(Failure::usage(obstacle));
            }
            let ended = keep(hears_hangup)?;
            let signal = || ended.signal().map_or(FAILED, |signal| 128 + signal as u8); // at most 64
            return Ok(ExitCode::from(ended.code().map_or_else(signal, |code| code as u8)));
        }
        let _log = telemetry::init(|name| env::var_os(name)).map_err(Failure::usage)?;
        let plan = Plan {
            queues: self.queues,
            slots: self.jobs,
            handler,
            lease_ms: self.lease.map(millis),
            output_max: 1 << 20,
            echo: !self.quiet,
            result_max: 0,
        };
        run_kept(&WorkOptions { socket: to.path(), plan, oom_score_adj: self.oom_score_adj })??;
        Ok(ExitCode::SUCCESS)
    }
}
