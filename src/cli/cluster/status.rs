//! How a cluster looks.

use super::{Configured, runtime, shards};
use crate::cli::exit::{End, Failure};
use crate::cli::output::{self, safe};
use crate::cluster::look;
use crate::views::{ClusterView, StreamView};
use crate::words;
use serde_json::json;
use std::collections::BTreeMap;
use std::process::ExitCode;
use tokio::task::JoinSet;

pub(super) fn run(cluster: &Configured, json: bool) -> End {
    let shards = shards(cluster);
    let seen = runtime()?.block_on(look_at_all(shards))?;
    let has_owners = seen.iter().all(|seen| seen.owner.is_some());
    match (&seen[..], json) {
        ([only], true) => output::json(&serde_json::to_value(only).map_err(Failure::failed)?)?,
        (all, true) => output::json(&json!({ "shards": all }))?,
        ([only], false) => show(only)?,
        (all, false) => show_shards(cluster, all)?,
    }
    Ok(ExitCode::from(u8::from(!has_owners)))
}

/// All at once: each takes a second.
async fn look_at_all(shards: Vec<Configured>) -> Result<Vec<ClusterView>, Failure> {
    let mut looking = JoinSet::new();
    for (place, shard) in shards.into_iter().enumerate() {
        looking.spawn(async move { (place, look(&shard).await) });
    }
    let mut seen = BTreeMap::new();
    while let Some(looked) = looking.join_next().await {
        let (place, view) = looked.map_err(Failure::failed)?;
        seen.insert(place, view.map_err(Failure::failed)?);
    }
    Ok(seen.into_values().collect())
}

/// A line for each shard, and one for each node.
fn show_shards(cluster: &Configured, all: &[ClusterView]) -> std::io::Result<()> {
    let number = |number: Option<u64>| number.map_or(String::new(), words::count);
    let rows = all.iter().map(|seen| {
        let standing_by = seen.nodes.iter().filter(|node| node.role == "standby");
        let names: Vec<_> = standing_by.clone().map(|node| safe(&node.node)).collect();
        let commit = seen.nodes.iter().filter_map(|node| node.commit).max();
        vec![
            number(seen.shard.map(u64::from)),
            seen.owner.as_deref().map_or_else(|| "nobody".to_owned(), safe),
            names.join(", "),
            number(commit),
            number(standing_by.filter_map(|node| node.behind).max()),
            number(seen.stream.records()),
            words::size(seen.stream.bytes.unwrap_or(0)),
            seen.stream.leader.as_deref().map_or(String::new(), safe),
        ]
    });
    let heads = ["SHARD", "OWNER", "STAND BY", "COMMIT", "BEHIND", "RECORDS", "BYTES", "LED BY"];
    output::table_without(&heads, &rows.collect::<Vec<_>>(), &["BYTES", "LED BY"])?;
    output::line("")?;
    let rows = cluster.nodes.iter().map(|name| {
        let own = |seen: &ClusterView| seen.nodes.iter().find(|node| node.node == *name).cloned();
        let with = |role: &str| {
            let is = |seen: &&ClusterView| own(seen).is_some_and(|node| node.role == role);
            all.iter().filter(is).count()
        };
        let version = all.iter().filter_map(own).find_map(|node| node.version);
        let counts = ["owner", "standby", "starting", "absent"].map(|role| with(role).to_string());
        [safe(name)]
            .into_iter()
            .chain(counts)
            .chain([version.map_or(String::new(), |it| safe(&it))])
            .collect()
    });
    let heads = ["NODE", "OWNS", "STANDS BY", "STARTS", "ABSENT", "VERSION"];
    output::table_without(&heads, &rows.collect::<Vec<Vec<_>>>(), &["VERSION"])?;
    for seen in all {
        let of = seen.shard.unwrap_or(0);
        if let Some(error) = &seen.stream.error {
            output::line(&format!("shard {of}: {}", safe(error)))?;
        }
        if seen.owner.is_none() {
            output::line(&format!(
                "no node runs shard {of}: see the logs of the nodes, and docs/cluster.md"
            ))?;
        }
    }
    Ok(())
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
