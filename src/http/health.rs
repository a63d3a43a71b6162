//! For whoever watches the daemon: whether it lives, and whether it takes jobs. Anybody may ask, so neither says more, and both cost
//! little.

use super::answer::{ApiError, Told};
use super::described::{Answered, JSON, Routes, Signature, Taken};
use super::serving::Front;
use crate::client::Client;
use crate::protocol::admin::ClusterView;
use crate::protocol::admin::{AdminRequest, StatusView};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use utoipa::ToSchema;

/// How long an answer of the loop may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long an answer holds, however many ask.
const HOLDS: Duration = Duration::from_secs(1);

/// What was found last.
#[derive(Clone, Debug, Default)]
pub(super) struct Readiness(Arc<Mutex<Option<Found>>>);

#[derive(Debug)]
struct Found {
    at: Instant,
    /// Whether jobs are taken; if not, why.
    ready: Result<(), String>,
}

pub(super) fn routes() -> Routes {
    Routes::open().get("/healthz", "Whether the loop of the daemon turns", &[], healthz).get(
        "/readyz",
        "Whether it takes jobs",
        &[],
        readyz,
    )
}

impl Taken for State<Front> {
    fn describe(_: &mut Signature) {}
}

/// What was found.
#[derive(Serialize, ToSchema)]
struct Health {
    ok: bool,
    /// Why not, if not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let status = if self.ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Told::of(&self)).into_response()
    }
}

impl Answered for Health {
    fn describe(signature: &mut Signature) {
        let schema = signature.schema::<Health>();
        signature.answers(200, Some((JSON, schema.clone())));
        signature.answers_also(503, "It does not.", (JSON, schema));
    }
}

/// Whether the loop turns. A node that does not run the queue has none, and is well without: who restarts it because the servers elect
/// takes away one of those who could take over.
async fn healthz(State(front): State<Front>) -> Result<Health, ApiError> {
    // Where there are several shards, each has a process of its own that is looked after.
    let seen = front.sight.as_ref().map(|sight| sight());
    if seen.is_some_and(|seen| seen.len() > 1 || !seen.iter().any(ClusterView::is_of_owner)) {
        return said(&Ok(()));
    }
    // Nothing is extended by it, and yet it has gone through the loop.
    let asked = async { front.own().await?.extend(Vec::new(), None).await };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(_)) => said(&Ok(())),
        Ok(Err(error)) => said(&Err(error.to_string())),
        Err(_) => said(&Err("the loop does not answer".into())),
    }
}

/// Whether jobs are taken: the daemon does not drain, and there is room on the disk.
async fn readyz(State(front): State<Front>) -> Result<Health, ApiError> {
    let mut known = front.readiness.0.lock().await;
    let now = Instant::now();
    let found = match known.take().filter(|found| now.duration_since(found.at) < HOLDS) {
        Some(known) => known,
        None => {
            let asked = async { is_ready(front.own().await.map_err(|error| error.to_string())?).await };
            let ready = timeout(PATIENCE, asked).await;
            Found { at: now, ready: ready.unwrap_or_else(|_| Err("the loop does not answer".into())) }
        }
    };
    let response = said(&found.ready);
    *known = Some(found);
    response
}

async fn is_ready(client: Client) -> Result<(), String> {
    let asked = client.ask::<StatusView>(AdminRequest::Status {}).await;
    let status = asked.map_err(|error| error.to_string())?;
    match (&*status.mode, status.refusing) {
        (_, Some(why)) => Err(why),
        ("running", None) => Ok(()),
        (mode, None) => Err(format!("the daemon is {mode}")),
    }
}

fn said(found: &Result<(), String>) -> Result<Health, ApiError> {
    Ok(Health { ok: found.is_ok(), why: found.clone().err() })
}
