//! `/queues`: queues, and their settings.

use super::{Asker, At, Front, Reply, Sent};
use crate::protocol::admin::AdminRequest;
use axum::Router;
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn routes() -> Router<Front> {
    Router::new()
        .route("/queues", get(async |asker: Asker| -> Reply { asker.ask(AdminRequest::Queues {}).await }))
        .route("/queues/{queue}", delete(forget))
        .route("/queues/{queue}/settings", get(settings).patch(set))
        .route("/queues/{queue}/pause", post(pause).delete(resume))
        .route("/queues/{queue}/purge", post(purge))
        .route("/queues/{queue}/circuit/reset", post(reset))
}

async fn forget(asker: Asker, At(queue): At<String>) -> Reply {
    asker.done(AdminRequest::DeleteQueue { queue }).await
}

async fn settings(asker: Asker, At(queue): At<String>) -> Reply {
    asker.ask(AdminRequest::QueueShow { queue }).await
}

/// Settings to change: a value, or null for what the configuration says.
#[derive(Debug, Deserialize)]
struct Settings(BTreeMap<String, Value>);

async fn set(asker: Asker, At(queue): At<String>, Sent(Settings(settings)): Sent<Settings>) -> Reply {
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

async fn pause(asker: Asker, At(queue): At<String>) -> Reply {
    asker.done(AdminRequest::Pause { queue }).await
}

async fn resume(asker: Asker, At(queue): At<String>) -> Reply {
    asker.done(AdminRequest::Resume { queue }).await
}

async fn purge(asker: Asker, At(queue): At<String>) -> Reply {
    asker.ask(AdminRequest::Purge { queue }).await
}

async fn reset(asker: Asker, At(queue): At<String>) -> Reply {
    asker.done(AdminRequest::ResetCircuit { queue }).await
}
