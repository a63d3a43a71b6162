//! Giving queues to another node: all of them, one shard, or what is another's by the order of the nodes.

use super::{Configured, runtime, shards};
use crate::cli::exit::{End, Failure};
use crate::cli::output::{self, safe};
use crate::clock::monotonic;
use crate::cluster::{hand_over, look};
use crate::views::ClusterView;
use std::process::ExitCode;
use std::time::Duration;

/// How long there may be no owner: longer than servers elect.
const NOBODY: Duration = Duration::from_secs(30);
/// How long to wait before the nodes are listened to again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(super) fn run(cluster: &Configured, to: &str, only: Option<usize>) -> End {
    let shards = shards(cluster);
    let Some(only) = only else {
        let runtime = runtime()?;
        for shard in &shards {
            // What it has already is not moved, where that is not all that was asked for.
            if shards.len() > 1
                && runtime.block_on(look(shard)).is_ok_and(|seen| seen.owner.as_deref() == Some(to))
            {
                continue;
            }
            runtime.block_on(move_one(shard, to))?;
        }
        return done(cluster, to);
    };
    let count = shards.len();
    let shard = shards.into_iter().nth(only).filter(|_| count > 1);
    let shard = shard.ok_or_else(|| {
        Failure::usage(match count {
            1 => "this cluster has no shards: leave --shard out".to_owned(),
            count => format!("there is no shard {only}: there are {count}, from 0 on"),
        })
    })?;
    runtime()?.block_on(move_one(&shard, to))?;
    output::line(&format!("{} runs shard {only}", safe(to)))?;
    Ok(ExitCode::SUCCESS)
}

fn done(cluster: &Configured, to: &str) -> End {
    match cluster.shards {
        1 => output::line(&format!("{} runs the queue", safe(to)))?,
        count => output::line(&format!("{} runs all {count} shards", safe(to)))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Moves each shard to the first node of its order that is there.
pub(super) fn spread(cluster: &Configured) -> End {
    let (shards, runtime) = (shards(cluster), runtime()?);
    let mut moved = 0;
    for shard in &shards {
        let seen = runtime.block_on(look(shard)).map_err(Failure::failed)?;
        let first = seen.nodes.iter().find(|node| node.role == "owner" || node.role == "standby");
        let first = first.map(|node| node.node.clone()).filter(|first| seen.owner.as_ref() != Some(first));
        if let Some(first) = first {
            runtime.block_on(move_one(shard, &first))?;
            moved += 1;
        }
    }
    output::line(&match moved {
        0 => "each shard is where it belongs".to_owned(),
        moved => format!("{} moved", crate::words::counted(moved, "shard", "shards")),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Returns once that node has it.
async fn move_one(cluster: &Configured, to: &str) -> Result<(), Failure> {
    let what = cluster.shard.map_or_else(|| "the queue".to_owned(), |shard| format!("shard {shard}"));
    let (from, epoch) = hand_over(cluster, to).await.map_err(Failure::failed)?;
    eprintln!("{} drains, and gives {what} to {}", safe(&from), safe(to));
    let owner = next_owner(cluster, epoch).await;
    let owner = owner.ok_or_else(|| {
        Failure::failed(format!("nobody has taken {what} over: see `musher cluster status`"))
    })?;
    match owner == to {
        true => Ok(()),
        false => Err(Failure::failed(format!("{} has taken {what} over instead", safe(&owner)))),
    }
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
