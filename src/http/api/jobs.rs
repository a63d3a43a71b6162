//! `/jobs`: submits, lists, single jobs and what is kept of them, changes, signals, waits.

use super::taken::{Place, SubmitHead};
use super::{ApiError, Asked, Asker, At, Done, Made, Octets, Raw, Reply, Routes, Sent, Told, ToldAll};
use crate::http::described::{JSON, Signature, Taken};
use crate::http::serving::Front;
use crate::protocol::admin::{AdminRequest, EditView, EndView, ExplainView, JobView, JobsView, ListQuery};
use crate::protocol::{Beside, JobOptions, Receipt, Received, SubmitGroup, WIRE_STATES};
use crate::written::json as written;
use crate::written::options::JobArgs;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// How many jobs a page has if nobody says how many, and the most.
const PAGE: u32 = 100;
/// The longest wait for jobs, for their ends or those of groups, in milliseconds: more is asked for again, so that nothing in between gives up.
pub(super) const WAIT_MAX_MS: u64 = 300_000;

pub(super) fn routes() -> Routes {
    Routes::new()
        .get("/jobs", "A page of jobs, by id", &[], list)
        .post("/jobs", "Submits a job, or a list of them: all or none", &[404, 409, 429, 507], submit)
        .post("/jobs/edit", "Changes jobs, each that allows it", &[], edit)
        .post("/jobs/wait", "Waits until jobs have ended, or the time is over", &[404], wait)
        .get("/jobs/{id}", "One job", &[404], show)
        .get("/jobs/{id}/explain", "Why a job is not running", &[404], explain)
        .get("/jobs/{id}/body", "Its body", &[404], body)
        .put("/jobs/{id}/body", "Gives a job that waits another body", &[404, 409, 507], replace_body)
        .get("/jobs/{id}/result", "What it has come to", &[404, 409], result)
        .get("/jobs/{id}/checkpoint", "How far it is, for its next attempt", &[404], checkpoint)
        .post(
            "/jobs/{id}/signals/{name}",
            "Tells a job something that it waits for, or will",
            &[404, 409],
            signal,
        )
        .post("/jobs/{id}/{edit}", "Changes a job, if it allows that", &[], edit_one)
}

/// What was submitted: one job, or a list.
struct Jobs(Raw);

impl FromRequest<Front> for Jobs {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Jobs, ApiError> {
        Raw::from_request(request, front).await.map(Jobs)
    }
}

impl Jobs {
    /// Reads them, of which there may be so many.
    fn read(&self, most: usize) -> Result<Vec<SubmitGroup>, ApiError> {
        let text = &self.0.bytes;
        let jobs: Vec<&RawValue> = match text.trim_ascii_start().first() {
            Some(b'[') => written::parse_list(text, most).map_err(ApiError::malformed)?,
            _ => vec![written::parse(text).map_err(ApiError::malformed)?],
        };
        if jobs.len() > most {
            let message =
                format!("more than {most} jobs of one request (limits.batch): send fewer at a time");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message));
        }
        let mut groups: Vec<SubmitGroup> = Vec::new();
        for (nth, job) in jobs.iter().enumerate() {
            let wrong = |why: String| ApiError::malformed(format!("job {nth}: {why}"));
            let read = written::read(job.get().as_bytes(), &JobArgs::default(), "").map_err(wrong)?;
            let (options, body) = read.ok_or_else(|| wrong("it is empty".into()))?;
            if options.queue.is_empty() {
                return Err(wrong("queue: is missing; say which".into()));
            }
            add(&mut groups, options, body);
        }
        Ok(groups)
    }
}

impl Taken for Jobs {
    fn describe(signature: &mut Signature) {
        let job = signature.schema::<written::Line<'_>>();
        let one = json!({ "allOf": [job, { "required": ["queue"] }] });
        let list = json!({ "type": "array", "minItems": 1, "items": one });
        signature.body(JSON, json!({ "oneOf": [one, list] }), true);
    }
}

/// What became of a job that was submitted.
#[derive(Serialize, ToSchema)]
struct ReceiptView {
    /// Its id.
    id: u64,
    /// Whether it is new; else it was there, with the same unique key.
    new: bool,
    /// Whether it has changed, if it was there.
    #[serde(skip_serializing_if = "Option::is_none")]
    changed: Option<bool>,
}

/// What became of jobs that were submitted, in their order.
#[derive(Serialize, ToSchema)]
struct ReceiptsView {
    jobs: Vec<ReceiptView>,
}

async fn submit(asker: Asker, head: SubmitHead, jobs: Jobs) -> Reply<Made<ReceiptsView>> {
    let groups = jobs.read(asker.0.limits().batch)?;
    let receipts = asker.submit(head, groups).await?;
    let one = |Receipt { id, what }| ReceiptView {
        id,
        new: what == Received::New,
        changed: (what != Received::New).then_some(what == Received::Changed),
    };
    Ok(Made(Told::of(&ReceiptsView { jobs: receipts.iter().map(one).collect() })))
}

/// Jobs that are alike, one behind the other, are one group.
fn add(groups: &mut Vec<SubmitGroup>, options: JobOptions, body: Bytes) {
    match groups.last_mut().filter(|group| group.options == options) {
        Some(group) => group.bodies.push(body),
        None => groups.push(SubmitGroup { options, bodies: vec![body] }),
    }
}

/// What a list is asked for by.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Query {
    /// Only of this queue.
    queue: Option<String>,
    /// Only in this state.
    #[param(inline, value_type = Option<StateName>)]
    state: Option<String>,
    /// Only with this tag, `NAME=VALUE`; several are separated by commas.
    #[param(pattern = "^[^=,]+=[^,]*(,[^=,]+=[^,]*)*$")]
    tag: Option<String>,
    /// Only with this key.
    key: Option<String>,
    /// Only of this group.
    group: Option<String>,
    /// Only if they were submitted longer ago than so many milliseconds.
    older_ms: Option<u64>,
    /// Only if the error of their newest failure has this text in it.
    error: Option<String>,
    /// Only with a higher id than this.
    #[serde(default)]
    after: u64,
    /// Only with a lower id than this.
    before: Option<u64>,
    /// The highest ids first, else the lowest.
    #[serde(default)]
    newest: bool,
    /// Say what commands are, of so many as can be read quickly; the page may be shorter for it.
    #[serde(default)]
    commands: bool,
    /// At most so many: 100 if it is not said.
    limit: Option<u32>,
}

/// The name of a state.
struct StateName;

impl PartialSchema for StateName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(WIRE_STATES)).build().into()
    }
}

impl ToSchema for StateName {}

async fn list(asker: Asker, Asked(query): Asked<Query>) -> Reply<Told<JobsView>> {
    let tag = |text: &str| match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(ApiError::malformed("tag: write it like order=42")),
    };
    let tags = query.tag.iter().flat_map(|tags| tags.split(',')).map(tag).collect::<Result<_, _>>()?;
    let Query { queue, state, key, group, older_ms, error, after, before, newest, commands, limit, .. } =
        query;
    let limit = limit.unwrap_or(PAGE);
    let query =
        ListQuery { queue, state, tags, key, group, older_ms, error, after, before, newest, commands, limit };
    asker.ask(AdminRequest::List(query)).await
}

async fn show(asker: Asker, At(id): At<u64>) -> Reply<Told<JobView>> {
    asker.ask(AdminRequest::Show { id }).await
}

async fn explain(asker: Asker, At(id): At<u64>) -> Reply<Told<ExplainView>> {
    asker.ask(AdminRequest::Explain { id }).await
}

async fn body(asker: Asker, At(id): At<u64>) -> Reply<Octets> {
    Ok(Octets(asker.0.body(id).await?))
}

async fn replace_body(asker: Asker, At(id): At<u64>, body: Raw) -> Reply<Done> {
    asker.0.replace_body(id, body.bytes).await?;
    Ok(Done)
}

async fn result(asker: Asker, At(id): At<u64>) -> Reply<Octets> {
    Ok(Octets(asker.0.beside(id, Beside::Result).await?))
}

async fn checkpoint(asker: Asker, At(id): At<u64>) -> Reply<Octets> {
    Ok(Octets(asker.0.beside(id, Beside::Checkpoint).await?))
}

async fn signal(asker: Asker, At((id, name)): At<(u64, String)>, body: Raw) -> Reply<Done> {
    asker.0.signal(id, name, body.bytes).await?;
    Ok(Done)
}

/// The changes that jobs may be asked for.
#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "the loop reads the names")]
enum EditName {
    Cancel,
    Retry,
    Kick,
    Bury,
    Delete,
    Move,
    Prioritize,
}

/// What is to be changed, and in which jobs.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Edit {
    #[schema(value_type = EditName)]
    edit: String,
    ids: Vec<u64>,
    /// Only those that are in this state still.
    #[schema(value_type = Option<StateName>)]
    state: Option<String>,
    /// Only those that are of this queue still.
    queue: Option<String>,
    /// Of a move, and needed there: the queue that they go to.
    to: Option<String>,
    /// To prioritize, and needed there: the new priority.
    priority: Option<u32>,
}

async fn edit(asker: Asker, Sent(edit): Sent<Edit>) -> Reply<ToldAll<EditView>> {
    let Edit { edit, ids, state, queue, to, priority } = edit;
    asker.ask_for_all(AdminRequest::Edit { edit, ids, state, queue, to, priority }).await
}

/// A change, as a part of an address.
#[derive(Debug, Deserialize)]
struct Change(String);

impl Place for Change {
    fn describe(signature: &mut Signature) {
        let schema = signature.schema::<EditName>();
        signature.at(schema);
    }
}

/// Where the job goes, or what priority it gets.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EditOne {
    /// Of a move, and needed there: the queue.
    to: Option<String>,
    /// To prioritize, and needed there: the new priority.
    priority: Option<u32>,
}

async fn edit_one(
    asker: Asker,
    At((id, Change(edit))): At<(u64, Change)>,
    Sent(EditOne { to, priority }): Sent<EditOne>,
) -> Reply<ToldAll<EditView>> {
    let (ids, state, queue) = (vec![id], None, None);
    asker.ask_for_all(AdminRequest::Edit { edit, ids, state, queue, to, priority }).await
}

/// Which jobs are waited for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Wait {
    ids: Vec<u64>,
    /// Wait at most so long; 300,000 is the most, and if it is not said.
    timeout_ms: Option<u64>,
}

async fn wait(asker: Asker, Sent(Wait { ids, timeout_ms }): Sent<Wait>) -> Reply<ToldAll<EndView>> {
    let timeout_ms = Some(timeout_ms.unwrap_or(WAIT_MAX_MS).min(WAIT_MAX_MS));
    Ok(ToldAll(asker.wait(AdminRequest::Wait { ids, timeout_ms }).await?))
}
