//! `/status`, `/cluster`, `/stats`, `/drain`, `/log-level`: the daemon as a whole; and the document of all that may be asked for.

use super::{ApiError, Asked, Asker, Reply, Routes, Sent, Told};
use crate::http::described::Document;
use crate::http::serving::Front;
use crate::protocol::admin::{AdminRequest, ClusterView, DrainView, LogLevelView, StatsView, StatusView};
use axum::extract::State;
use axum::http::StatusCode;
use bytes::Bytes;
use serde::Deserialize;
use std::sync::OnceLock;
use utoipa::{IntoParams, ToSchema};

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/status", "How the daemon is, and its queues", &[], status)
        .get("/cluster", "How the cluster looks from this node", &[404], cluster)
        .get("/stats", "What has happened, step by step", &[404], stats)
        .get("/log-level", "What is logged", &[], log_level)
        .put("/log-level", "Logs by another filter, until a restart", &[], set_log_level)
        .delete("/log-level", "Logs as at the start again", &[], reset_log_level)
        .put("/drain", "Gives out and takes no more jobs, until told otherwise or a restart", &[], drain)
        .delete("/drain", "Gives out and takes jobs again", &[], undrain)
        .get("/openapi.json", "This document", &[], openapi)
}

async fn status(asker: Asker) -> Reply<Told<StatusView>> {
    asker.ask(AdminRequest::Status {}).await
}

/// This node says it itself: it can when nobody runs the queue.
async fn cluster(
    State(front): State<Front>,
    Asked(OfShard { shard }): Asked<OfShard>,
) -> Reply<Told<ClusterView>> {
    let seen = front.sight.as_ref().map(|sight| sight());
    match seen.map(|seen| (seen.len(), seen.into_iter().nth(shard as usize))) {
        Some((_, Some(view))) => Ok(Told::of(&view)),
        Some((count, None)) => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("there is no shard {shard}: this cluster has {count}, from 0 on"),
        )),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "this daemon is no node of a cluster: its configuration has no [cluster]",
        )),
    }
}

/// Which shard, in a cluster of several.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct OfShard {
    /// Its number, from 0 on.
    #[serde(default)]
    shard: u32,
}

/// Of what, and from how long ago on.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Stats {
    /// From so long ago on: an hour if it is not said, at most a day.
    #[serde(default = "an_hour")]
    since_ms: u64,
    /// Only this queue.
    queue: Option<String>,
}

fn an_hour() -> u64 {
    3_600_000
}

async fn stats(asker: Asker, Asked(Stats { since_ms, queue }): Asked<Stats>) -> Reply<Told<StatsView>> {
    asker.ask(AdminRequest::Stats { since_ms, queue }).await
}

async fn log_level(asker: Asker) -> Reply<Told<LogLevelView>> {
    asker.ask(AdminRequest::LogLevel { filter: None }).await
}

/// What is logged.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Level {
    /// As in RUST_LOG: a level, or several with targets.
    filter: String,
}

async fn set_log_level(asker: Asker, Sent(Level { filter }): Sent<Level>) -> Reply<Told<LogLevelView>> {
    asker.ask(AdminRequest::LogLevel { filter: Some(filter) }).await
}

async fn reset_log_level(asker: Asker) -> Reply<Told<LogLevelView>> {
    asker.ask(AdminRequest::LogLevel { filter: Some(String::new()) }).await
}

async fn drain(asker: Asker) -> Reply<Told<DrainView>> {
    asker.ask(AdminRequest::Drain {}).await
}

async fn undrain(asker: Asker) -> Reply<Told<DrainView>> {
    asker.ask(AdminRequest::Undrain {}).await
}

async fn openapi(_: Asker) -> Reply<Told<Document>> {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    Ok(Told::raw(TEXT.get_or_init(|| crate::http::document().to_string().into()).clone()))
}
