//! `/queues`: queues, and their settings.

use super::{Asker, At, Done, Reply, Routes, Sent, Told, ToldAll};
use crate::protocol::admin::{AdminRequest, PurgeView, QueueSettingsView, QueueView};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/queues", "All queues", &[], queues)
        .delete("/queues/{queue}", "Forgets a queue that has no jobs", &[404, 409], forget)
        .get("/queues/{queue}/settings", "The settings of a queue", &[404], settings)
        .patch("/queues/{queue}/settings", "Sets those that are named", &[404], set)
        .post("/queues/{queue}/pause", "Lets a queue give out nothing", &[404], pause)
        .delete("/queues/{queue}/pause", "Lets it give out jobs again", &[404], resume)
        .post("/queues/{queue}/purge", "Deletes what waits in a queue, a bounded part of it", &[404], purge)
        .post("/queues/{queue}/circuit/reset", "Closes the circuit of a queue", &[404, 409], reset)
}

async fn queues(asker: Asker) -> Reply<ToldAll<QueueView>> {
    asker.ask_for_all(AdminRequest::Queues {}).await
}

async fn forget(asker: Asker, At(queue): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::DeleteQueue { queue }).await
}

async fn settings(asker: Asker, At(queue): At<String>) -> Reply<Told<QueueSettingsView>> {
    asker.ask(AdminRequest::QueueShow { queue }).await
}

/// Settings to change: a value, as the configuration has it, or null for what the configuration says.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(transparent)]
struct Settings(BTreeMap<String, Value>);

async fn set(asker: Asker, At(queue): At<String>, Sent(Settings(settings)): Sent<Settings>) -> Reply<Done> {
    let (mut set, mut unset) = (Vec::new(), Vec::new());
    for (key, value) in settings {
        match value {
            Value::Null => unset.push(key),
            Value::String(text) => set.push((key, text)),
            other => set.push((key, other.to_string())),
        }
    }
    asker.done(AdminRequest::QueueSet { queue, set, unset }).await
}

/// How long a queue is to be paused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Pause {
    /// In milliseconds; without it until it is resumed.
    for_ms: Option<u64>,
}

async fn pause(asker: Asker, At(queue): At<String>, Sent(Pause { for_ms }): Sent<Pause>) -> Reply<Done> {
    asker.done(AdminRequest::Pause { queue, for_ms }).await
}

async fn resume(asker: Asker, At(queue): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::Resume { queue }).await
}

async fn purge(asker: Asker, At(queue): At<String>) -> Reply<Told<PurgeView>> {
    asker.ask(AdminRequest::Purge { queue }).await
}

async fn reset(asker: Asker, At(queue): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::ResetCircuit { queue }).await
}
