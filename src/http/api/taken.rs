//! What handlers take of a request, with the errors of this interface where it is not as it should be.

use super::super::answer::{ApiError, Done, Reply, Told, ToldAll};
use super::super::bodies::Raw;
use super::super::described::{JSON, OCTETS, Signature, Taken, plain};
use super::super::serving::Front;
use super::super::streams::Stream;
use crate::access::Caller;
use crate::client::{Client, ClientError, Receipts};
use crate::protocol::admin::AdminRequest;
use crate::protocol::{self as wire, LeaseRef, SubmitGroup, TRACEPARENT, TRACESTATE, Trace};
use crate::written::claimed::lease;
use crate::written::json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::time::Duration;
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{Object, RefOr, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The connection of the user whose token the request has.
pub(super) struct Asker(pub(super) Client);

impl FromRequestParts<Front> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Asker, ApiError> {
        Ok(Asker(front.client(&caller(parts)?).await?))
    }
}

impl Taken for Asker {
    fn describe(_: &mut Signature) {}
}

impl Asker {
    /// Asks a question that is answered with a `T`, and passes the answer on as it is.
    pub(super) async fn ask<T>(&self, question: AdminRequest) -> Reply<Told<T>> {
        Ok(Told::raw(self.0.ask_for_json(question).await?))
    }

    /// The same of something that may be answered late.
    pub(super) async fn wait<T>(&self, question: AdminRequest) -> Reply<Told<T>> {
        let (number, answer) = self.0.start_ask(question)?;
        let mut waiting = Waiting { client: self.0.clone(), number: Some(number) };
        let answer = answer.await?;
        waiting.number = None;
        Ok(Told::raw(answer))
    }

    /// The same where the answer is a list of them.
    pub(super) async fn ask_for_all<T>(&self, question: AdminRequest) -> Reply<ToldAll<T>> {
        Ok(ToldAll(self.ask(question).await?))
    }

    /// The same, read.
    pub(super) async fn wait_for<T: DeserializeOwned>(&self, question: AdminRequest) -> Result<T, ApiError> {
        let Told { text, .. } = self.wait::<T>(question).await?;
        serde_json::from_slice(&text).map_err(|_| ClientError::Unexpected.into())
    }

    /// Submits jobs, once if there is a key for that.
    pub(super) async fn submit(
        &self,
        SubmitHead { key, trace }: SubmitHead,
        mut groups: Vec<SubmitGroup>,
    ) -> Result<Receipts, ApiError> {
        if let Some(trace) = trace {
            groups.iter_mut().for_each(|group| trace.put(&mut group.options));
        }
        Ok(match key {
            Some(key) => self.0.submit_once(key, groups).await?,
            None => self.0.submit(groups).await?,
        })
    }

    /// Asks for a change of which there is no more to say than that it is done.
    pub(super) async fn done(&self, change: AdminRequest) -> Reply<Done> {
        self.0.done(change).await?;
        Ok(Done)
    }
}

/// A question that may be answered late: whoever asked may hang up meanwhile, and then nobody waits any more.
struct Waiting {
    client: Client,
    /// `None` once it has been answered.
    number: Option<u32>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let client = self.client.clone();
            // Without a connection there is nothing to end.
            tokio::spawn(async move { drop(client.unwait(number).await) });
        }
    }
}

/// Who asks for an answer that goes on.
pub(super) struct Follower {
    front: Front,
    caller: Caller,
}

impl FromRequestParts<Front> for Follower {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Follower, ApiError> {
        Ok(Follower { front: front.clone(), caller: caller(parts)? })
    }
}

impl Taken for Follower {
    fn describe(_: &mut Signature) {}
}

impl Follower {
    /// The first piece of the answer, if it comes within `patience`, and what follows.
    pub(super) async fn open(
        &self,
        request: &wire::Request,
        patience: Duration,
    ) -> Result<(Option<wire::Response>, Stream), ApiError> {
        self.front.open_stream(&self.caller, request, patience).await
    }
}

fn caller(parts: &Parts) -> Result<Caller, ApiError> {
    // The guard has put it there, or has refused the request.
    let none = || ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "this needs a token");
    parts.extensions.get::<Caller>().cloned().ok_or_else(none)
}

/// A part of the address, or several.
pub(super) struct At<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Front> for At<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<At<T>, ApiError> {
        let wrong = |error: PathRejection| ApiError::malformed(error.body_text());
        Path::from_request_parts(parts, front).await.map(|Path(at)| At(at)).map_err(wrong)
    }
}

impl<T: Place> Taken for At<T> {
    fn describe(signature: &mut Signature) {
        T::describe(signature);
    }
}

/// What a part of an address may be.
pub(super) trait Place {
    fn describe(signature: &mut Signature);
}

impl Place for u64 {
    fn describe(signature: &mut Signature) {
        signature.at(json!({ "type": "integer", "minimum": 0, "maximum": u64::MAX }));
    }
}

impl Place for String {
    fn describe(signature: &mut Signature) {
        signature.at(json!({ "type": "string", "minLength": 1 }));
    }
}

impl<A: Place, B: Place> Place for (A, B) {
    fn describe(signature: &mut Signature) {
        A::describe(signature);
        B::describe(signature);
    }
}

/// A lease: `42@1`.
#[derive(Debug, Deserialize)]
pub(super) struct Lease(#[serde(deserialize_with = "lease")] pub(super) LeaseRef);

impl PartialSchema for Lease {
    fn schema() -> RefOr<Schema> {
        let text = Object::builder().schema_type(Type::String).pattern(Some("^[0-9]{1,18}@[0-9]{1,9}$"));
        text.description(Some("A job and its attempt: 42@1.")).examples([json!("1@1")]).into()
    }
}

impl ToSchema for Lease {}

impl Place for Lease {
    fn describe(signature: &mut Signature) {
        let schema = signature.schema::<Lease>();
        signature.at(schema);
    }
}

/// What stands behind the `?`.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Front> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Asked<T>, ApiError> {
        let wrong = |error: QueryRejection| ApiError::malformed(error.body_text());
        Query::from_request_parts(parts, front).await.map(|Query(asked)| Asked(asked)).map_err(wrong)
    }
}

impl<T: IntoParams> Taken for Asked<T> {
    fn describe(signature: &mut Signature) {
        for parameter in T::into_params(|| Some(ParameterIn::Query)) {
            signature.parameter(plain(&parameter));
        }
    }
}

impl Taken for Raw {
    fn describe(signature: &mut Signature) {
        signature.body(OCTETS, json!({}), false);
    }
}

/// The longest JSON that is no jobs. In memory it may take twenty times as much.
const JSON_MAX: usize = 8 << 20;

/// A body that is JSON, not read yet.
pub(super) async fn json_text(request: Request, front: &Front) -> Result<Raw, ApiError> {
    let body = Raw::from_request(request, front).await?;
    if body.bytes.len() <= JSON_MAX {
        return Ok(body);
    }
    let message =
        format!("{} bytes of JSON: at most {JSON_MAX} are taken here; ask in parts", body.bytes.len());
    Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message))
}

/// The body in JSON. The error of a wrong one names the field.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Front> for Sent<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Sent<T>, ApiError> {
        let body = json_text(request, front).await?;
        // A request without a body is one in which everything is left out.
        let text = if body.bytes.is_empty() { b"{}" } else { &body.bytes[..] };
        json::parse(text).map(|json::Object(sent)| Sent(sent)).map_err(ApiError::malformed)
    }
}

impl<T: ToSchema> Taken for Sent<T> {
    fn describe(signature: &mut Signature) {
        let schema = signature.schema::<T>();
        let required = matches!(T::schema(), RefOr::T(Schema::Object(object)) if !object.required.is_empty());
        signature.body(JSON, schema, required);
    }
}

/// What stands above jobs that are submitted.
pub(super) struct SubmitHead {
    /// The key under which the request may be sent again, and is done once.
    key: Option<String>,
    /// Where in a trace that happens.
    trace: Option<Trace>,
}

impl FromRequestParts<Front> for SubmitHead {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Front) -> Result<SubmitHead, ApiError> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let trace = Trace::read(text(TRACEPARENT), text(TRACESTATE));
        match parts.headers.get("idempotency-key").map(|key| key.to_str()) {
            None => Ok(SubmitHead { key: None, trace }),
            Some(Ok(key)) => Ok(SubmitHead { key: Some(key.to_owned()), trace }),
            Some(Err(_)) => Err(ApiError::malformed("Idempotency-Key: use printable ASCII characters")),
        }
    }
}

impl Taken for SubmitHead {
    fn describe(signature: &mut Signature) {
        signature.parameter(json!({
            "name": "Idempotency-Key", "in": "header", "required": false, "schema": { "type": "string" },
            "description": "The same request may be sent again under it, and is done once.",
        }));
        let about = "Where in a trace that happens (W3C Trace Context). It becomes a tag of the jobs, and their workers are told.";
        for name in [TRACEPARENT, TRACESTATE] {
            signature.parameter(json!({
                "name": name, "in": "header", "required": false, "schema": { "type": "string" }, "description": about,
            }));
        }
    }
}
