//! What may be asked for: an address for each request of the native wire, with the same names, and answers as `musher VERB --json`
//! prints them. Each handler reads what was sent and asks the loop; nothing is decided here.

mod daemon;
mod flow;
mod jobs;
mod queues;
mod schedules;
mod work;

use super::answer::{ApiError, Reply, to_json};
use super::serving::{BODY_TIME, Front};
use crate::access::Caller;
use crate::client::{Client, ClientError};
use crate::protocol::admin::AdminRequest;
use crate::written::json;
use axum::Router;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::timeout;

pub(super) fn routes() -> Router<Front> {
    Router::new()
        .merge(daemon::routes())
        .merge(jobs::routes())
        .merge(work::routes())
        .merge(queues::routes())
        .merge(schedules::routes())
        .merge(flow::routes())
}

/// The connection of the user whose token the request has.
struct Asker(Client);

impl FromRequestParts<Front> for Asker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Asker, ApiError> {
        // The guard has put it there, or has refused the request.
        let Some(caller) = parts.extensions.get::<Caller>() else {
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "this needs a token"));
        };
        Ok(Asker(front.client(caller).await?))
    }
}

impl Asker {
    /// Asks a question, and passes the answer on as it is.
    async fn ask(&self, question: AdminRequest) -> Reply {
        let answer: Box<RawValue> = self.0.ask(question).await?;
        Ok(to_json(&answer))
    }

    /// Asks for a change of which there is no more to say than that it is done.
    async fn done(&self, change: AdminRequest) -> Reply {
        self.0.done(change).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    }
}

/// A part of the address.
struct At<T>(T);

impl<T: DeserializeOwned + Send> FromRequestParts<Front> for At<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<At<T>, ApiError> {
        let wrong = |error: PathRejection| ApiError::malformed(error.body_text());
        Path::from_request_parts(parts, front).await.map(|Path(at)| At(at)).map_err(wrong)
    }
}

/// What stands behind the `?`.
struct Asked<T>(T);

impl<T: DeserializeOwned> FromRequestParts<Front> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, front: &Front) -> Result<Asked<T>, ApiError> {
        let wrong = |error: QueryRejection| ApiError::malformed(error.body_text());
        Query::from_request_parts(parts, front).await.map(|Query(asked)| Asked(asked)).map_err(wrong)
    }
}

/// The body, whatever it is.
struct Raw(Bytes);

impl FromRequest<Front> for Raw {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Raw, ApiError> {
        let wrong = |error: BytesRejection| match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_long(),
            _ => ApiError::malformed(error.body_text()),
        };
        match timeout(BODY_TIME, Bytes::from_request(request, front)).await {
            Ok(body) => body.map(Raw).map_err(wrong),
            Err(_) => {
                let message = "the body of the request has not come in 30 seconds";
                Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", message))
            }
        }
    }
}

/// The body in JSON. The error of a wrong one names the field.
struct Sent<T>(T);

impl<T: DeserializeOwned> FromRequest<Front> for Sent<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, front: &Front) -> Result<Sent<T>, ApiError> {
        let Raw(body) = Raw::from_request(request, front).await?;
        // A request without a body is one in which everything is left out.
        let text = if body.is_empty() { b"{}" } else { &body[..] };
        json::parse(text).map(Sent).map_err(ApiError::malformed)
    }
}

/// What was kept of a job, byte by byte.
fn bytes(found: Result<Bytes, ClientError>) -> Reply {
    Ok(([(axum::http::header::CONTENT_TYPE, "application/octet-stream")], found?).into_response())
}
