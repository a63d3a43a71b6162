//! A long test of the real daemon: producers and workers go on while the worst happens, and after each start everything that
//! was acknowledged must be there. `cargo run --profile soak --example soak -- kill --rounds 1000`.
//!
//! Ends with 0 if every promise was kept, with 1 if not (seed, round, what was lost and where the directory is are said),
//! with 2 if this program could not do its work, and with 77 where the machine cannot do what is needed. `account.rs` says what must be there, `plan.rs` and `load.rs`
//! what is sent, `check.rs` how it is looked after; each verb has a file of its own.

mod account;
mod blocks;
mod check;
mod cluster;
mod daemon;
mod disk;
mod errors;
mod image;
mod kill;
#[path = "../../tests/support/links.rs"]
mod links;
mod load;
#[path = "../../tests/support/nats.rs"]
mod nats;
#[path = "../../tests/support/network.rs"]
mod network;
mod plan;
mod power;
mod recorder;
mod world;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tokio::io::AsyncReadExt;
use world::{Failure, World};

/// What automake and others call a test that was not run.
const SKIPPED: u8 = 77;
/// A promise was not kept.
const BROKEN: u8 = 1;
/// This program could not do its work.
const TROUBLE: u8 = 2;

/// Kills, cuts and breaks the daemon, and looks whether anything was lost.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Says what is sent and when the fault comes; another one each time if not given.
    #[arg(long, global = true)]
    seed: Option<u64>,
    /// Where the data are, if not in the directory for temporary files.
    #[arg(long, global = true)]
    dir: Option<std::path::PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// SIGKILL at random moments.
    Kill {
        /// How many lives.
        #[arg(long, default_value_t = 100)]
        rounds: u64,
    },
    /// Power cuts: what was not synced is lost. Needs root.
    Power {
        /// How many lives.
        #[arg(long, default_value_t = 50)]
        rounds: u64,
    },
    /// Power cuts at any point of what a disk was asked to do, with any part of what was not flushed. Needs root.
    Blocks {
        /// How many power cuts.
        #[arg(long, default_value_t = 250)]
        points: usize,
        /// Takes a precaution away: jobs must be lost then.
        #[arg(long = "break")]
        broken: Option<blocks::Break>,
    },
    /// Nodes of a cluster and their servers that are killed, stopped, told to end and cut off.
    Cluster {
        /// How many owners are lost.
        #[arg(long, default_value_t = 50)]
        rounds: u64,
        /// How many shards there are; with several, processes of shards are lost as well as whole nodes.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
        shards: u64,
        #[command(flatten)]
        wanted: cluster::Wanted,
    },
    /// Writes and syncs that fail, and a file system that turns read-only.
    Errors {
        /// How many lives.
        #[arg(long, default_value_t = 100)]
        rounds: u64,
    },
}

/// It is said with what is skipped.
fn skipped(_: &str) {}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let has_shards = matches!(&arguments.verb, Verb::Cluster { shards: 2.., .. });
    let seed = plan::seed(arguments.seed.unwrap_or_else(|| fastrand::u64(..)), has_shards);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(Failure::from).and_then(|runtime| {
        tokio::task::LocalSet::new().block_on(&runtime, async {
            tokio::select! {
                ended = run(&arguments, seed) => ended,
                interrupted = interrupted() => Err(interrupted),
            }
        })
    });
    match ended {
        Ok(summary) => {
            println!("ok: {summary}; seed {seed}");
            ExitCode::SUCCESS
        }
        Err(Failure::Skipped(why)) => {
            println!("skipped: {why}");
            ExitCode::from(SKIPPED)
        }
        Err(failure) => {
            eprintln!("FAILED: {failure}; seed {seed}");
            ExitCode::from(if matches!(failure, Failure::Broken(_)) { BROKEN } else { TROUBLE })
        }
    }
}

async fn run(arguments: &Arguments, seed: u64) -> Result<String, Failure> {
    let mut world = World::new(seed, arguments.dir.as_deref())?;
    let ended = match arguments.verb {
        Verb::Kill { rounds } => kill::run(&mut world, rounds).await,
        Verb::Cluster { rounds, shards: 1, wanted } => cluster::run(&mut world, rounds, wanted).await,
        Verb::Cluster { rounds, shards, .. } => {
            cluster::run_sharded(&mut world, rounds, shards as usize).await
        }
        Verb::Power { rounds } => power::run(&mut world, rounds).await,
        Verb::Blocks { points, broken } => blocks::run(&mut world, points, broken).await,
        Verb::Errors { rounds } => errors::run(&mut world, rounds).await,
    };
    // What is lost without a precaution is nothing to look into.
    let as_wanted = matches!(arguments.verb, Verb::Blocks { broken: Some(_), .. });
    ended.map_err(|failure| if as_wanted { failure } else { world.keep(failure) })
}

/// Returns when somebody wants this program to end, so that everything is cleaned up behind it.
async fn interrupted() -> Failure {
    let heard = async {
        let (mut read, write) = tokio::net::UnixStream::pair()?;
        let write = write.into_std()?;
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        read.read_u8().await
    };
    match heard.await {
        Ok(_) => Failure::Interrupted,
        Err(error) => error.into(),
    }
}
