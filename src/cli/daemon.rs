//! The daemon itself, its configuration, and completions.

use super::ask::Target;
use super::exit::{End, Failure, USAGE};
use super::output;
use crate::config::{Config, ConfigErrors, Loaded, Overrides, Problem, WORKERS_MAX};
use crate::daemon::{ServeError, ServeOptions, serve};
#[cfg(any(test, feature = "cluster"))]
use crate::daemon::{ShardOptions, serve_shard};
use crate::process::{self, Inherited};
use crate::telemetry;
use crate::words;
use crate::worker::run_pool;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
#[cfg(any(test, feature = "cluster"))]
use std::time::Duration;

const SERVE: &str = "\
Data: $STATE_DIRECTORY, else $XDG_STATE_HOME/musher, else /var/lib/musher for root, else ~/.local/state/musher.
SIGTERM, SIGINT: drain and exit; a second one cuts the wait short. SIGHUP: read the configuration again.
SIGUSR1: write the state to the log. MUSHER_LOG=debug says more, MUSHER_LOG_FORMAT=json says it to programs.

Examples:
  musher serve
  musher serve --config /etc/musher/musher.toml
  musher serve --data /tmp/musher --socket /tmp/musher.sock --workers 2";

#[derive(Debug, Args)]
#[command(after_help = SERVE)]
pub(super) struct Serve {
    /// The configuration [default: $MUSHER_CONFIG, else musher.toml in /etc/musher or ~/.config/musher]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory of the jobs
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many jobs the daemon runs at a time, for each queue that has a handler and sets no number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=i64::from(WORKERS_MAX)))]
    workers: Option<u32>,
}

impl Serve {
    pub(super) fn run(self, to: &Target) -> End {
        served(serve(&self.options(to)))
    }

    fn options(self, to: &Target) -> ServeOptions {
        let overrides = Overrides { data: self.data, socket: to.socket.clone(), workers: self.workers };
        ServeOptions { config: self.config, overrides, shard: None }
    }
}

fn served(ended: Result<(), ServeError>) -> End {
    ended.map(|()| ExitCode::SUCCESS).map_err(|error| match error {
        ServeError::Config(_) | ServeError::Log(_) => Failure::usage(error),
        error => Failure::failed(error),
    })
}

/// One shard of a node that has several: its process.
#[cfg(any(test, feature = "cluster"))]
#[derive(Debug, Args)]
pub(super) struct Shard {
    /// Which
    shard: usize,
    /// Of how many
    #[arg(long)]
    of: usize,
    /// The process that has started it
    #[arg(long)]
    parent: u32,
    /// The umask of jobs, as a decimal number
    #[arg(long)]
    umask: u32,
    /// How many files a job may have open; no limit if not given
    #[arg(long)]
    files: Option<u64>,
    /// Whether somebody keeps the socket for the next daemon
    #[arg(long)]
    socket_stays: bool,
    /// How long it may say nothing
    #[arg(long)]
    watchdog_ms: Option<u64>,
    #[command(flatten)]
    serve: Serve,
}

#[cfg(any(test, feature = "cluster"))]
impl Shard {
    pub(super) fn run(self, to: &Target) -> End {
        served(serve_shard(&ShardOptions {
            serve: self.serve.options(to),
            shard: (self.shard, self.of),
            parent: self.parent,
            inherited: Inherited { umask: self.umask, files: self.files },
            socket_stays: self.socket_stays,
            watchdog: self.watchdog_ms.map(Duration::from_millis),
        }))
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  musher config check /etc/musher/musher.toml\n  musher config show\n  musher config template > musher.toml"
)]
pub(super) struct ConfigVerb {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Report every error and warning of a configuration
    #[command(after_help = "Example:\n  musher config check musher.toml")]
    Check {
        /// The file [default: the one that `serve` would read]
        file: Option<PathBuf>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Print the configuration with all defaults
    #[command(after_help = "Example:\n  musher config show > musher.toml")]
    Show {
        /// The file [default: the one that `serve` would read]
        file: Option<PathBuf>,
    },
    /// Say what every key means, as Markdown; `musher man musher.toml` is the same as a man page
    #[command(after_help = "Example:\n  musher config reference | less")]
    Reference,
    /// Print a file to begin with: every key with what it means, as comments
    #[command(after_help = "Example:\n  musher config template > musher.toml")]
    Template,
}

impl ConfigVerb {
    pub(super) fn run(&self) -> End {
        let file = match &self.what {
            What::Check { file, .. } | What::Show { file } => file,
            What::Reference => return printed(&Config::reference()),
            What::Template => return printed(&Config::template()),
        };
        let loaded = Config::load(file.as_deref(), &Overrides::default());
        if let What::Check { json: true, .. } = self.what {
            return checked(loaded);
        }
        let loaded = loaded.map_err(Failure::usage)?;
        for warning in &loaded.warnings {
            eprintln!("warning: {warning}");
        }
        match self.what {
            What::Check { .. } => {
                let from = loaded.file.map_or("the defaults".into(), |file| file.display().to_string());
                let warnings = words::counted(loaded.warnings.len() as u64, "warning", "warnings");
                eprintln!("{from}: ok, {warnings}");
                loaded.config.who_may().iter().try_for_each(|line| output::line(line))?;
                output::line("more: docs/access.md, and `musher man musher.toml`")?;
            }
            _ => output::line(loaded.config.show().trim_end())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn printed(text: &str) -> End {
    output::text(text)?;
    Ok(ExitCode::SUCCESS)
}

/// What a check has found, as an object.
fn checked(loaded: Result<Loaded, ConfigErrors>) -> End {
    let view = |problems: &[Problem]| -> Vec<serde_json::Value> {
        let view = |Problem { place, key, message }: &Problem| json!({ "place": place, "key": key, "message": message });
        problems.iter().map(view).collect()
    };
    match loaded {
        Ok(Loaded { config, warnings, file }) => {
            let who = config.who_may();
            output::json(&json!({ "ok": true, "file": file, "warnings": view(&warnings), "who_may": who }))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(ConfigErrors(errors)) => {
            output::json(&json!({ "ok": false, "errors": view(&errors) }))?;
            Err(Failure::silent(USAGE))
        }
    }
}

/// The daemon's own workers.
#[derive(Debug, Args)]
pub(super) struct Pool {
    /// The umask of jobs, as a decimal number
    #[arg(long)]
    umask: u32,
    /// How many files a job may have open; no limit if not given
    #[arg(long)]
    files: Option<u64>,
}

impl Pool {
    pub(super) fn run(self) -> End {
        process::restore(Inherited { umask: self.umask, files: self.files })?;
        let _log = telemetry::init(|name| std::env::var_os(name)).map_err(Failure::usage)?;
        run_pool().map(|()| ExitCode::SUCCESS).map_err(Failure::failed)
    }
}
