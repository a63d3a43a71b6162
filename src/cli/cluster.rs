//! `musher cluster`: looks at the cluster of a configuration, and gives the queue to another node. It asks the servers and the nodes
//! itself, so it needs no daemon.

mod compare;
mod moving;
mod status;

use super::exit::{End, Failure};
use crate::config::{Cluster as Configured, Config, Overrides};
use crate::store::{NodeDirectory, Options};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::runtime::Runtime;

const EXAMPLES: &str = "\
docs/cluster.md says what a cluster is, how it is set up, and what to do when something is wrong.

Examples:
  musher cluster status
  musher cluster status --config /etc/musher/musher.toml --json | jq -r .owner";

const STATUS: &str = "\
It listens to the nodes for a second, and asks the servers. COMMIT is the newest commit that a
node has, BEHIND how many the owner has more, NEEDS the first record of the log that it still
needs: the log is kept from the least of them on. Exit code 1 if no node runs the queue. Where
there are several shards there is a line for each, and the nodes with the shards that they run.

Examples:
  musher cluster status
  watch -n 5 musher cluster status";

const MOVE: &str = "\
The owner drains, as at `systemctl stop`: running jobs have daemon.drain_timeout to end, and no new ones
are taken until the other node has the queue. Then it stands by. The command waits until that is done.
Where there are several shards it does so with all of them, one after the other, or with one.

Examples:
  musher cluster move two
  musher cluster move two --shard 3";

const SPREAD: &str = "\
Each shard has the nodes in an order of its own, and whoever comes first takes it. So after nodes were
restarted some of them may run many shards, and others none. This moves each shard to the first node in
its order that is there, as `move` does.

Example:
  musher cluster spread";

const VERIFY: &str = "\
Each node says what its jobs, queues, schedules, groups and topics come to after the same commit:
the same on all of them, or one is damaged. Bodies are not compared. The owner commits nothing
meanwhile, for about half a second with a million jobs. Exit code 1 if two nodes differ, or there
is no other one to compare with.

Example:
  musher cluster verify";

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
    /// Give the queue to another node, which stands by
    #[command(after_help = MOVE)]
    Move {
        /// The node that is to run the queue
        node: String,
        /// Only this shard, from 0 on
        #[arg(long, value_name = "N")]
        shard: Option<usize>,
        /// The configuration [default: the one that `serve` would read]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Divide the shards among the nodes
    #[command(after_help = SPREAD)]
    Spread {
        /// The configuration [default: the one that `serve` would read]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Compare what the nodes have
    #[command(after_help = VERIFY)]
    Verify {
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
            Verb::Status { config, json } => status::run(&configured(config.as_deref())?, *json),
            Verb::Move { node, shard, config } => moving::run(&configured(config.as_deref())?, node, *shard),
            Verb::Spread { config } => moving::spread(&configured(config.as_deref())?),
            Verb::Verify { config, json } => compare::run(&configured(config.as_deref())?, *json),
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

/// The cluster of a configuration.
fn configured(config: Option<&Path>) -> Result<Configured, Failure> {
    let loaded = Config::load(config, &Overrides::default()).map_err(Failure::usage)?;
    let from = loaded.file.map_or("the configuration".to_owned(), |file| file.display().to_string());
    let cluster = loaded.config.cluster;
    cluster.ok_or_else(|| Failure::usage(format!("{from} has no [cluster]; name another with --config")))
}

/// What each shard of it is; the cluster itself, if it has no more than one.
fn shards(cluster: &Configured) -> Vec<Configured> {
    match cluster.shards {
        1 => vec![cluster.clone()],
        count => (0..count).map(|shard| cluster.of_shard(shard)).collect(),
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
