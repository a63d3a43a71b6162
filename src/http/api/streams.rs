//! `/events` and `/jobs/ID/output`: answers that go on while something happens.

use super::taken::Follower;
use super::{Asked, At, Reply, Routes};
use crate::http::streams::{Events, Printed};
use crate::protocol::Request;
use serde::Deserialize;
use std::time::Duration;
use utoipa::IntoParams;

/// How long an answer that goes on waits for what it begins with.
const SOON: Duration = Duration::from_millis(500);

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/events", "What becomes of jobs, as it happens: server-sent events", &[404], events)
        .get("/jobs/{id}/output", "What a job has printed", &[404], output)
}

/// Of which jobs.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Of {
    /// Only of this queue.
    queue: Option<String>,
    /// Only of this job.
    job: Option<u64>,
}

async fn events(follower: Follower, Asked(Of { queue, job }): Asked<Of>) -> Reply<Events> {
    let (_, stream) = follower.open(&Request::Changes { queue, job }, Duration::MAX).await?;
    Ok(Events::new(stream))
}

/// For how long.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Until {
    /// Go on until the job has ended.
    #[serde(default)]
    follow: bool,
}

async fn output(
    follower: Follower,
    At(id): At<u64>,
    Asked(Until { follow }): Asked<Until>,
) -> Reply<Printed> {
    // A refusal comes at once. What the job prints may come much later, and its reader is told meanwhile that he is being served.
    let patience = if follow { SOON } else { Duration::MAX };
    let (first, stream) = follower.open(&Request::Logs { id, follow }, patience).await?;
    Ok(Printed::new(first, stream))
}
