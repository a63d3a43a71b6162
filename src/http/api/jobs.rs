//! `/jobs`: submits, lists, single jobs and what is kept of them, changes, signals, waits.

use super::{ApiError, Asked, Asker, At, Front, Raw, Reply, Sent, bytes};
use crate::client::Receipts;
use crate::http::answer::to_json;
use crate::protocol::admin::{AdminRequest, ListQuery};
use crate::protocol::{Beside, JobOptions, Receipt, Received, SubmitGroup};
use crate::written::json as written;
use crate::written::options::JobArgs;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// How many jobs a page has if nobody says how many, and the most.
const PAGE: u32 = 100;
/// The longest wait for the ends of jobs, in milliseconds: more is asked for again, so that nothing in between gives up.
const WAIT_MAX_MS: u64 = 300_000;

pub(super) fn routes() -> Router<Front> {
    Router::new()
        .route("/jobs", get(list).post(submit))
        .route("/jobs/edit", post(edit))
        .route("/jobs/wait", post(wait))
        .route("/jobs/{id}", get(show))
        .route("/jobs/{id}/explain", get(explain))
        .route("/jobs/{id}/body", get(body).put(replace_body))
        .route("/jobs/{id}/result", get(result))
        .route("/jobs/{id}/checkpoint", get(checkpoint))
        .route("/jobs/{id}/signals/{name}", post(signal))
        .route("/jobs/{id}/{edit}", post(edit_one))
}

/// Jobs as `musher submit --jsonl` takes them: one, or a list, all of which are taken or none.
async fn submit(asker: Asker, headers: HeaderMap, Raw(text): Raw) -> Reply {
    let jobs: Vec<&RawValue> = match text.trim_ascii_start().first() {
        Some(b'[') => written::parse(&text).map_err(ApiError::malformed)?,
        _ => vec![written::parse(&text).map_err(ApiError::malformed)?],
    };
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
    let key = headers.get("idempotency-key").map(|key| key.to_str().map(str::to_owned));
    let receipts = match key {
        Some(Ok(key)) => asker.0.submit_once(key, groups).await?,
        Some(Err(_)) => return Err(ApiError::malformed("Idempotency-Key: use printable ASCII characters")),
        None => asker.0.submit(groups).await?,
    };
    Ok((StatusCode::CREATED, to_json(&json!({ "jobs": told(&receipts) }))).into_response())
}

/// Jobs that are alike, one behind the other, are one group.
fn add(groups: &mut Vec<SubmitGroup>, options: JobOptions, body: Bytes) {
    match groups.last_mut().filter(|group| group.options == options) {
        Some(group) => group.bodies.push(body),
        None => groups.push(SubmitGroup { options, bodies: vec![body] }),
    }
}

fn told(receipts: &Receipts) -> Vec<serde_json::Value> {
    let one = |Receipt { id, what }| match what {
        Received::New => json!({ "id": id, "new": true }),
        _ => json!({ "id": id, "new": false, "changed": what == Received::Changed }),
    };
    receipts.iter().map(one).collect()
}

/// What a list is asked for by.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    queue: Option<String>,
    state: Option<String>,
    /// `NAME=VALUE`; several are separated by commas.
    tag: Option<String>,
    key: Option<String>,
    group: Option<String>,
    older_ms: Option<u64>,
    error: Option<String>,
    #[serde(default)]
    after: u64,
    before: Option<u64>,
    #[serde(default)]
    newest: bool,
    #[serde(default)]
    commands: bool,
    limit: Option<u32>,
}

async fn list(asker: Asker, Asked(query): Asked<Query>) -> Reply {
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

async fn show(asker: Asker, At(id): At<u64>) -> Reply {
    asker.ask(AdminRequest::Show { id }).await
}

async fn explain(asker: Asker, At(id): At<u64>) -> Reply {
    asker.ask(AdminRequest::Explain { id }).await
}

async fn body(asker: Asker, At(id): At<u64>) -> Reply {
    bytes(asker.0.body(id).await)
}

async fn replace_body(asker: Asker, At(id): At<u64>, Raw(body): Raw) -> Reply {
    asker.0.replace_body(id, body).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn result(asker: Asker, At(id): At<u64>) -> Reply {
    bytes(asker.0.beside(id, Beside::Result).await)
}

async fn checkpoint(asker: Asker, At(id): At<u64>) -> Reply {
    bytes(asker.0.beside(id, Beside::Checkpoint).await)
}

async fn signal(asker: Asker, At((id, name)): At<(u64, String)>, Raw(body): Raw) -> Reply {
    asker.0.signal(id, name, body).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What is to be changed, and in which jobs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edit {
    edit: String,
    ids: Vec<u64>,
    state: Option<String>,
    queue: Option<String>,
    to: Option<String>,
    priority: Option<u32>,
}

async fn edit(asker: Asker, Sent(edit): Sent<Edit>) -> Reply {
    let Edit { edit, ids, state, queue, to, priority } = edit;
    asker.ask(AdminRequest::Edit { edit, ids, state, queue, to, priority }).await
}

/// Where the job goes, or what priority it gets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EditOne {
    to: Option<String>,
    priority: Option<u32>,
}

async fn edit_one(asker: Asker, At((id, edit)): At<(u64, String)>, Sent(more): Sent<EditOne>) -> Reply {
    let EditOne { to, priority } = more;
    asker.ask(AdminRequest::Edit { edit, ids: vec![id], state: None, queue: None, to, priority }).await
}

/// Which jobs are waited for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wait {
    ids: Vec<u64>,
    timeout_ms: Option<u64>,
}

async fn wait(asker: Asker, Sent(Wait { ids, timeout_ms }): Sent<Wait>) -> Reply {
    let timeout_ms = Some(timeout_ms.unwrap_or(WAIT_MAX_MS).min(WAIT_MAX_MS));
    asker.ask(AdminRequest::Wait { ids, timeout_ms }).await
}
