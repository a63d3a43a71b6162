//! `musher cluster`: looks at the cluster of a configuration, and gives the queue to another node. It asks the servers and the nodes
//! itself, so it needs no daemon.

use super::exit::{End, Failure};
use super::output::{self, safe};
use crate::clock::monotonic;
use crate::cluster::{Verified, hand_over, look, verify};
use crate::config::{Cluster as Configured, Config, Overrides};
use crate::store::{NodeDirectory, Options};
use crate::views::{ClusterView, StreamView};
use crate::words;
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long there may be no owner: longer than servers elect.
const NOBODY: Duration = Duration::from_secs(30);
/// How long to wait before the nodes are listened to again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const EXAMPLES: &str = "\
docs/cluster.md says what a cluster is, how it is set up, and what to do when something is wrong.

Examples:
  musher cluster status
  musher cluster status --config /etc/musher/musher.toml --json | jq -r .owner";

const STATUS: &str = "\
It listens to the nodes for a second, and asks the servers. COMMIT is the newest commit that a
node has, BEHIND how many the owner has more, NEEDS the first record of the log that it still
needs: the log is kept from the least of them on. Exit code 1 if no node runs the queue.

Examples:
  musher cluster status
  watch -n 5 musher cluster status";

const MOVE: &str = "\
The owner drains, as at `systemctl stop`: running jobs have daemon.drain_timeout to end, and no new ones
are taken until the other node has the queue. Then it stands by. The command waits until that is done.

Example:
  musher cluster move two";

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
            Verb::Status { config, json } => status(config.as_deref(), *json),
            Verb::Move { node, config } => move_to(config.as_deref(), node),
            Verb::Verify { config, json } => compare(config.as_deref(), *json),
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

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn move_to(config: Option<&Path>, to: &str) -> End {
    let (cluster, runtime) = (configured(config)?, runtime()?);
    let (from, epoch) = runtime.block_on(hand_over(&cluster, to)).map_err(Failure::failed)?;
    eprintln!("{} drains, and gives the queue to {}", safe(&from), safe(to));
    let owner = runtime.block_on(next_owner(&cluster, epoch));
    let owner = owner.ok_or_else(|| Failure::failed("nobody has taken over: see `musher cluster status`"))?;
    match owner == to {
        true => output::line(&format!("{} runs the queue", safe(&owner)))?,
        false => return Err(Failure::failed(format!("{} has taken over instead", safe(&owner)))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Who runs the queue after an ownership, or nobody for a while.
async fn next_owner(cluster: &Configured, epoch: u64) -> Option<String> {
    let mut last_seen = monotonic();
    while monotonic() - last_seen < NOBODY {
        // It listens for a second. The servers may be away, too.
        if let Ok(ClusterView { owner: Some(owner), epoch: now, .. }) = look(cluster).await {
            if now > epoch {
                return Some(owner);
            }
            last_seen = monotonic();
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    None
}

fn compare(config: Option<&Path>, json: bool) -> End {
    let (cluster, runtime) = (configured(config)?, runtime()?);
    let verified = runtime.block_on(verify(&cluster)).map_err(Failure::failed)?;
    let is_same = verified.is_same();
    if json {
        let Verified { commit, findings, missing } = &verified;
        output::json(&json!({ "same": is_same, "commit": commit, "nodes": findings, "missing": missing }))?;
        return Ok(ExitCode::from(u8::from(is_same != Some(true))));
    }
    let rows = verified.findings.iter();
    let rows: Vec<_> =
        rows.map(|found| vec![safe(&found.node), words::count(found.jobs), safe(&found.digest)]).collect();
    output::table_without(&["NODE", "JOBS", "DIGEST"], &rows, &[])?;
    output::line("")?;
    if !verified.missing.is_empty() {
        let names: Vec<_> = verified.missing.iter().map(|name| safe(name)).collect();
        output::line(&format!("not compared, since away or behind: {}", names.join(", ")))?;
    }
    let at = words::count(verified.commit);
    match is_same {
        Some(true) => output::line(&format!("the same after commit {at}"))?,
        Some(false) => {
            return Err(Failure::failed(format!(
                "the nodes differ after commit {at}: docs/cluster.md (`Looking at it`) says what to do"
            )));
        }
        None => {
            return Err(Failure::failed("no other node stands by with which the owner could be compared"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn status(config: Option<&Path>, json: bool) -> End {
    let (cluster, runtime) = (configured(config)?, runtime()?);
    let seen = runtime.block_on(look(&cluster)).map_err(Failure::failed)?;
    match json {
        true => output::json(&serde_json::to_value(&seen).map_err(Failure::failed)?)?,
        false => show(&seen)?,
    }
    Ok(ExitCode::from(u8::from(seen.owner.is_none())))
}

fn show(seen: &ClusterView) -> std::io::Result<()> {
    let number = |number: Option<u64>| number.map_or(String::new(), words::count);
    let rows = seen.nodes.iter().map(|node| {
        let version = node.version.as_deref().map_or(String::new(), safe);
        let numbers = [node.commit, node.behind, node.needs].map(number);
        [safe(&node.node), safe(&node.role)].into_iter().chain(numbers).chain([version]).collect::<Vec<_>>()
    });
    output::table_without(
        &["NODE", "ROLE", "COMMIT", "BEHIND", "NEEDS", "VERSION"],
        &rows.collect::<Vec<_>>(),
        &["VERSION", "NEEDS"],
    )?;
    output::line("")?;
    let StreamView { name, bytes, leader, error, .. } = &seen.stream;
    if let Some(records) = seen.stream.records() {
        let records = words::counted(records, "record", "records");
        let leader = leader.as_ref().map_or(String::new(), |leader| format!("; `{}` leads it", safe(leader)));
        let (name, bytes) = (safe(name), words::size(bytes.unwrap_or(0)));
        output::line(&format!("log `{name}`: {records}, {bytes}{leader}"))?;
    }
    if let Some(error) = error {
        output::line(&safe(error))?;
    }
    match &seen.owner {
        Some(owner) => output::line(&format!("{} runs the queue, in ownership {}", safe(owner), seen.epoch)),
        None => output::line("no node runs the queue: see the logs of the nodes, and docs/cluster.md"),
    }
}
