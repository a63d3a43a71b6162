//! `musher cluster`: looks at the cluster of a configuration. It asks the servers and listens to the nodes, so it needs no daemon.

use super::exit::{End, Failure};
use super::output::{self, safe};
use crate::cluster::{Role, Seen, look};
use crate::config::{Cluster as Configured, Config, Overrides};
use crate::store::{NodeDirectory, Options};
use crate::words;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const EXAMPLES: &str = "\
docs/cluster.md says what a cluster is, how it is set up, and what to do when something is wrong.

Examples:
  musher cluster status
  musher cluster status --config /etc/musher/musher.toml --json | jq .owner";

const STATUS: &str = "\
It listens to the nodes for a second, and asks the servers. COMMIT is the newest commit that a
node has, BEHIND how many the owner has more, NEEDS the first record of the log that it still
needs: the log is kept from the least of them on. Exit code 1 if no node runs the queue.

Examples:
  musher cluster status
  watch -n 5 musher cluster status";

const LEAVE: &str = "\
The directory has what this node had taken in and written when it ended: all of it if it stood by
and was told to end (SIGTERM). Of several nodes take the one with the highest number; what was
confirmed after that is not in it. It can begin another cluster. Do not use two such directories
of one cluster: both have the same jobs.

Example:
  musher cluster leave --data /var/lib/musher";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Cluster {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show the nodes, which of them runs the queue, and the log on the servers
    #[command(after_help = STATUS)]
    Status {
        /// The configuration [default: the one that `serve` would read]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make a node's data directory that of a daemon which is alone, when there is no cluster any more
    #[command(after_help = LEAVE)]
    Leave {
        /// The data directory; no daemon may have it open
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

impl Cluster {
    pub(super) fn run(&self) -> End {
        match &self.verb {
            Verb::Status { config, json } => status(config.as_deref(), *json),
            Verb::Leave { data } => {
                // No settings of a daemon's are needed, and nothing is to be kept free.
                let options = Options { disk_reserve_bytes: 0, ballast_bytes: 0, ..Options::default() };
                let commit = NodeDirectory::leave(data, &options).map_err(Failure::failed)?;
                eprintln!("{} has all commits up to {}, and is no node's any more", data.display(), commit.0);
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn status(config: Option<&Path>, json: bool) -> End {
    let loaded = Config::load(config, &Overrides::default()).map_err(Failure::usage)?;
    let from = loaded.file.map_or("the configuration".to_owned(), |file| file.display().to_string());
    let cluster = loaded.config.cluster;
    let cluster = cluster
        .ok_or_else(|| Failure::usage(format!("{from} has no [cluster]; name another with --config")))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(look(&cluster)).map_err(Failure::failed)?;
    match json {
        true => output::json(&as_json(&cluster, &seen))?,
        false => show(&cluster, &seen)?,
    }
    Ok(ExitCode::from(u8::from(seen.owner().is_none())))
}

fn as_json(cluster: &Configured, seen: &Seen) -> serde_json::Value {
    let stream = match &seen.stream {
        Ok(stream) => json!({
            "name": cluster.stream,
            "first": stream.first.0,
            "last": stream.last.0,
            "bytes": stream.bytes,
            "leader": stream.leader,
        }),
        Err(error) => json!({ "name": cluster.stream, "error": error.to_string() }),
    };
    json!({
        "owner": seen.owner().map(|owner| &owner.node),
        "epoch": seen.owner().map(|owner| owner.epoch),
        "nodes": seen.nodes.iter().map(|(name, beat)| json!({ "node": name, "seen": beat })).collect::<Vec<_>>(),
        "stream": stream,
    })
}

fn show(cluster: &Configured, seen: &Seen) -> std::io::Result<()> {
    let newest = seen.owner().map(|owner| owner.commit);
    let rows = seen.nodes.iter().map(|(name, beat)| {
        let Some(beat) = beat else {
            return [&safe(name), "absent", "", "", "", ""].map(str::to_owned).to_vec();
        };
        let behind = match (beat.role, newest) {
            (Role::Owner, _) | (_, None) => String::new(),
            (_, Some(newest)) => words::count(newest.saturating_sub(beat.commit)),
        };
        let (commit, needs) = (words::count(beat.commit), words::count(beat.home.saturating_add(1)));
        vec![safe(name), beat.role.word().to_owned(), commit, behind, needs, safe(&beat.version)]
    });
    output::table_without(
        &["NODE", "ROLE", "COMMIT", "BEHIND", "NEEDS", "VERSION"],
        &rows.collect::<Vec<_>>(),
        &["VERSION", "NEEDS"],
    )?;
    output::line("")?;
    match &seen.stream {
        Ok(stream) => {
            let records =
                words::counted((stream.last.0 + 1).saturating_sub(stream.first.0), "record", "records");
            let leader = stream
                .leader
                .as_ref()
                .map_or(String::new(), |leader| format!("; `{}` leads it", safe(leader)));
            let (name, bytes) = (safe(&cluster.stream), words::size(stream.bytes));
            output::line(&format!("log `{name}`: {records}, {bytes}{leader}"))?;
        }
        Err(error) => output::line(&safe(&error.to_string()))?,
    }
    match seen.owner() {
        Some(owner) => {
            output::line(&format!("{} runs the queue, in ownership {}", safe(&owner.node), owner.epoch))
        }
        None => output::line("no node runs the queue: see the logs of the nodes, and docs/cluster.md"),
    }
}
