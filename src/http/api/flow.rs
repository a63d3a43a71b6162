//! `/groups`, `/topics`: jobs that are waited for together, and names to which jobs are submitted.

use super::{Asker, At, Front, Reply, Sent};
use crate::protocol::admin::AdminRequest;
use axum::Router;
use axum::routing::{get, post};
use serde::Deserialize;

pub(super) fn routes() -> Router<Front> {
    Router::new()
        .route("/groups", get(async |asker: Asker| -> Reply { asker.ask(AdminRequest::Groups {}).await }))
        .route("/groups/{name}", get(show).delete(forget))
        .route("/groups/{name}/seal", post(seal))
        .route("/topics", get(async |asker: Asker| -> Reply { asker.ask(AdminRequest::Topics {}).await }))
        .route("/topics/{topic}", post(bind).delete(unbind))
}

async fn show(asker: Asker, At(name): At<String>) -> Reply {
    asker.ask(AdminRequest::GroupShow { name }).await
}

async fn forget(asker: Asker, At(name): At<String>) -> Reply {
    asker.done(AdminRequest::GroupDelete { name }).await
}

async fn seal(asker: Asker, At(name): At<String>) -> Reply {
    asker.done(AdminRequest::GroupSeal { name }).await
}

/// Queues of a topic.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Queues {
    #[serde(default)]
    queues: Vec<String>,
}

async fn bind(asker: Asker, At(topic): At<String>, Sent(Queues { queues }): Sent<Queues>) -> Reply {
    asker.done(AdminRequest::TopicBind { topic, queues }).await
}

async fn unbind(asker: Asker, At(topic): At<String>, Sent(Queues { queues }): Sent<Queues>) -> Reply {
    asker.done(AdminRequest::TopicUnbind { topic, queues }).await
}
