//! `/flows`, `/groups`, `/topics`: jobs that wait for each other, or are waited for together, and names to which jobs are submitted.

use super::jobs::WAIT_MAX_MS;
use super::taken::{SubmitHead, json_text};
use super::{ApiError, Asker, At, Done, Made, Reply, Routes, Sent, Told, ToldAll};
use crate::client::ClientError;
use crate::http::described::{JSON, Signature, Taken};
use crate::http::serving::Front;
use crate::protocol::admin::{AdminRequest, GroupEndView, GroupView, JobView, TopicView, WaitForGroups};
use crate::protocol::{Receipt, Received};
use crate::written::flow::Document;
use crate::written::json::Line;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

/// How many jobs of a flow are shown at most.
const SHOWN_MAX: usize = 10_000;

pub(super) fn routes() -> Routes {
    Routes::new()
        .post(
            "/flows",
            "Submits all jobs of a document, which wait for each other by name",
            &[404, 409, 429, 507],
            submit,
        )
        .get("/groups/{name}/flow", "A group and its jobs", &[404], flow)
        .post("/groups/{name}/wait", "Waits until a group has ended, or the time is over", &[404], wait)
        .get("/groups", "All groups", &[], groups)
        .get("/groups/{name}", "One group", &[404], show)
        .delete("/groups/{name}", "Forgets a group of which all jobs have ended", &[404, 409], forget)
        .post("/groups/{name}/seal", "Lets a group take no more jobs", &[404], seal)
        .get("/topics", "All topics, and the queues that are bound to them", &[], topics)
        .post("/topics/{topic}", "Binds queues to a topic, or to those of a pattern", &[409], bind)
        .delete("/topics/{topic}", "Lets go of queues that were bound: of these, or of all", &[404], unbind)
}

/// What `musher flow submit` takes.
struct Flow(Document);

impl FromRequest<Front> for Flow {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Flow, ApiError> {
        let text = json_text(request, front).await?;
        Document::read(&text.bytes, None).map(Flow).map_err(ApiError::malformed)
    }
}

impl Taken for Flow {
    fn describe(signature: &mut Signature) {
        // Each job has what a job that is submitted alone has, and a name.
        signature.schema::<Line<'_>>();
        let about_jobs = "A job has a name, and what one has that is submitted alone (Job); its `after` names other jobs of the \
                          document, in any order, or ids of jobs that are there.";
        let job = json!({
            "type": "object", "required": ["name", "queue"], "description": about_jobs,
            "properties": { "name": { "type": "string", "minLength": 1 }, "queue": { "type": "string" } },
        });
        let group = json!({ "type": ["string", "null"], "description": "The group of all jobs, which is sealed with them." });
        let document = json!({
            "type": "object", "required": ["jobs"], "additionalProperties": false,
            "properties": { "group": group, "jobs": { "type": "array", "minItems": 1, "items": job } },
        });
        signature.body(JSON, document, true);
    }
}

/// What became of a job of a document.
#[derive(Serialize, ToSchema)]
struct StepView {
    id: u64,
    /// Its name in the document.
    name: String,
    /// Whether it is new; else it was there, with the same unique key.
    new: bool,
}

/// What became of the jobs of a document, each behind those that it waits for.
#[derive(Serialize, ToSchema)]
struct StepsView {
    jobs: Vec<StepView>,
}

async fn submit(
    asker: Asker,
    head: SubmitHead,
    Flow(Document { names, groups }): Flow,
) -> Reply<Made<StepsView>> {
    let most = asker.0.limits().batch;
    if names.len() > most {
        let message =
            format!("the document has {} jobs, at most {most} are one request (limits.batch)", names.len());
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
    }
    let receipts = asker.submit(head, groups).await?;
    let one = |(receipt, name): (Receipt, String)| StepView {
        id: receipt.id,
        name,
        new: receipt.what == Received::New,
    };
    Ok(Made(Told::of(&StepsView { jobs: receipts.iter().zip(names).map(one).collect() })))
}

/// A group and its jobs.
#[derive(Serialize, ToSchema)]
struct FlowView {
    group: GroupView,
    /// The first 10,000; those of a document have the tags `step` and `needs`.
    jobs: Vec<JobView>,
    /// Whether there may be more.
    more: bool,
}

async fn flow(asker: Asker, At(name): At<String>) -> Reply<Told<FlowView>> {
    let group: GroupView = asker.0.ask(AdminRequest::GroupShow { name: name.clone() }).await?;
    let (jobs, more) = asker.0.jobs_of_group(&name, SHOWN_MAX).await?;
    Ok(Told::of(&FlowView { group, jobs, more }))
}

/// Until when a group is waited for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WaitForOne {
    /// Whether it is waited for no longer once one of its jobs has ended otherwise than done.
    #[serde(default)]
    first_error: bool,
    /// Wait at most so long; 300,000 is the most, and if it is not said.
    timeout_ms: Option<u64>,
}

async fn wait(
    asker: Asker,
    At(name): At<String>,
    Sent(WaitForOne { first_error, timeout_ms }): Sent<WaitForOne>,
) -> Reply<Told<GroupEndView>> {
    let timeout_ms = Some(timeout_ms.unwrap_or(WAIT_MAX_MS).min(WAIT_MAX_MS));
    let wait = WaitForGroups { groups: vec![name], first_error, timeout_ms };
    let ends: Vec<GroupEndView> = asker.wait_for(AdminRequest::WaitForGroups(wait)).await?;
    let end = ends.first().ok_or(ClientError::Unexpected)?;
    Ok(Told::of(end))
}

async fn groups(asker: Asker) -> Reply<ToldAll<GroupView>> {
    asker.ask_for_all(AdminRequest::Groups {}).await
}

async fn show(asker: Asker, At(name): At<String>) -> Reply<Told<GroupView>> {
    asker.ask(AdminRequest::GroupShow { name }).await
}

async fn forget(asker: Asker, At(name): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::GroupDelete { name }).await
}

async fn seal(asker: Asker, At(name): At<String>) -> Reply<Done> {
    asker.done(AdminRequest::GroupSeal { name }).await
}

async fn topics(asker: Asker) -> Reply<ToldAll<TopicView>> {
    asker.ask_for_all(AdminRequest::Topics {}).await
}

/// Queues of a topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Queues {
    /// Their names.
    #[serde(default)]
    queues: Vec<String>,
}

async fn bind(asker: Asker, At(topic): At<String>, Sent(Queues { queues }): Sent<Queues>) -> Reply<Done> {
    asker.done(AdminRequest::TopicBind { topic, queues }).await
}

async fn unbind(asker: Asker, At(topic): At<String>, Sent(Queues { queues }): Sent<Queues>) -> Reply<Done> {
    asker.done(AdminRequest::TopicUnbind { topic, queues }).await
}
