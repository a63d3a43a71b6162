//! Comparing what the nodes have.

use super::{Configured, runtime, shards};
use crate::cli::exit::{End, Failure};
use crate::cli::output::{self, safe};
use crate::cluster::{Verified, verify};
use crate::words;
use serde_json::{Value, json};
use std::process::ExitCode;

pub(super) fn run(cluster: &Configured, json: bool) -> End {
    let (shards, runtime) = (shards(cluster), runtime()?);
    let (mut all, mut views) = (Vec::new(), Vec::new());
    let mut failed = None;
    for shard in &shards {
        let verified = match runtime.block_on(verify(shard)) {
            Ok(verified) => verified,
            // Others may be compared all the same.
            Err(error) => {
                let of = shard.shard.map_or_else(String::new, |shard| format!("shard {shard}: "));
                failed.get_or_insert(format!("{of}{error}"));
                continue;
            }
        };
        all.push(verified.is_same());
        match (json, shard.shard) {
            (true, _) => views.push(view(&verified, shard.shard)),
            (false, None) => show(&verified)?,
            (false, Some(shard)) => {
                output::line(&format!("shard {shard}"))?;
                show(&verified)?;
                output::line("")?;
            }
        }
    }
    if let Some(failed) = failed.filter(|_| !json || views.is_empty()) {
        return Err(Failure::failed(failed));
    }
    if json {
        let whole = match shards.len() {
            1 => views.remove(0),
            _ => json!({ "shards": views }),
        };
        output::json(&whole)?;
        return Ok(ExitCode::from(u8::from(
            all.len() < shards.len() || all.iter().any(|same| *same != Some(true)),
        )));
    }
    if all.contains(&Some(false)) {
        return Err(Failure::failed("nodes differ: docs/cluster.md (`Looking at it`) says what to do"));
    }
    if all.contains(&None) {
        return Err(Failure::failed("no other node stands by with which the owner could be compared"));
    }
    Ok(ExitCode::SUCCESS)
}

fn view(verified: &Verified, shard: Option<usize>) -> Value {
    let Verified { commit, findings, missing } = verified;
    let mut view =
        json!({ "same": verified.is_same(), "commit": commit, "nodes": findings, "missing": missing });
    if let Some(shard) = shard {
        view["shard"] = shard.into();
    }
    view
}

fn show(verified: &Verified) -> std::io::Result<()> {
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
    match verified.is_same() {
        Some(true) => output::line(&format!("the same after commit {at}")),
        Some(false) => output::line(&format!("the nodes differ after commit {at}")),
        None => Ok(()),
    }
}
