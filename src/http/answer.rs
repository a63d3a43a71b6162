//! What is answered: JSON, and of what goes wrong a status, a word for programs and a text for people.

use super::described::{Answered, JSON, OCTETS, Signature};
use crate::client::ClientError;
use crate::protocol::ErrorCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;
use std::marker::PhantomData;
use utoipa::ToSchema;

/// What a handler answers.
pub(super) type Reply<A> = Result<A, ApiError>;

/// A value in JSON, which is a `T`.
pub(super) struct Told<T> {
    pub(super) text: Bytes,
    of: PhantomData<fn() -> T>,
}

impl<T> Told<T> {
    /// What is in JSON already.
    pub(super) fn raw(text: Bytes) -> Told<T> {
        Told { text, of: PhantomData }
    }
}

impl<T: Serialize> Told<T> {
    pub(super) fn of(value: &T) -> Told<T> {
        Told::raw(serde_json::to_vec(value).expect("plain data always has a JSON form").into())
    }
}

impl<T> IntoResponse for Told<T> {
    fn into_response(self) -> Response {
        in_json(self.text)
    }
}

impl<T: ToSchema> Answered for Told<T> {
    fn describe(signature: &mut Signature) {
        let schema = signature.schema::<T>();
        signature.answers(200, Some((JSON, schema)));
    }
}

/// A list of such values.
pub(super) struct ToldAll<T>(pub(super) Told<T>);

impl<T> IntoResponse for ToldAll<T> {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl<T: ToSchema> Answered for ToldAll<T> {
    fn describe(signature: &mut Signature) {
        let schema = signature.schema::<T>();
        signature.answers(200, Some((JSON, json!({ "type": "array", "items": schema }))));
    }
}

/// The same of something that is there only now.
pub(super) struct Made<T>(pub(super) Told<T>);

impl<T> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        (StatusCode::CREATED, self.0).into_response()
    }
}

impl<T: ToSchema> Answered for Made<T> {
    fn describe(signature: &mut Signature) {
        let schema = signature.schema::<T>();
        signature.answers(201, Some((JSON, schema)));
    }
}

/// There is no more to say than that it is done.
pub(super) struct Done;

impl IntoResponse for Done {
    fn into_response(self) -> Response {
        StatusCode::NO_CONTENT.into_response()
    }
}

impl Answered for Done {
    fn describe(signature: &mut Signature) {
        signature.answers(204, None);
    }
}

/// Bytes.
pub(super) struct Octets(pub(super) Bytes);

impl IntoResponse for Octets {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, OCTETS)], self.0).into_response()
    }
}

impl Answered for Octets {
    fn describe(signature: &mut Signature) {
        signature.answers(200, Some((OCTETS, json!({}))));
    }
}

/// How a refusal is told.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorView {
    error: ErrorDetails,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetails {
    /// For programs.
    #[schema(value_type = String)]
    code: &'static str,
    /// For people: what, where, what to do.
    message: String,
}

/// Why a request is not answered as it was meant.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    /// For programs.
    code: &'static str,
    /// For people.
    message: String,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, code, message: message.into() }
    }

    /// The body of a request is longer than it may be.
    pub(super) fn too_long() -> ApiError {
        let message = "the body of the request is longer than limits.frame: send fewer jobs at a time";
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// What was asked for cannot be read.
    pub(super) fn malformed(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "malformed", message)
    }
}

impl From<ClientError> for ApiError {
    fn from(error: ClientError) -> ApiError {
        let (status, code) = match &error {
            ClientError::Refused(fault) => of_code(fault.code),
            ClientError::TooLarge { .. } => of_code(ErrorCode::TooLarge),
            ClientError::Connect { .. } | ClientError::Closed(_) => of_code(ErrorCode::Draining),
            ClientError::Malformed(_) | ClientError::Unexpected | ClientError::OldDaemon(_) => {
                of_code(ErrorCode::Internal)
            }
        };
        ApiError::new(status, code, error.to_string())
    }
}

/// The one table from the errors of the native wire to those of this one.
fn of_code(code: ErrorCode) -> (StatusCode, &'static str) {
    match code {
        ErrorCode::Malformed => (StatusCode::BAD_REQUEST, "malformed"),
        ErrorCode::Invalid => (StatusCode::BAD_REQUEST, "invalid"),
        ErrorCode::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        ErrorCode::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        ErrorCode::Forbidden => (StatusCode::FORBIDDEN, "forbidden"),
        ErrorCode::WrongState => (StatusCode::CONFLICT, "wrong_state"),
        ErrorCode::NotUnique => (StatusCode::CONFLICT, "not_unique"),
        ErrorCode::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
        ErrorCode::QueueFull => (StatusCode::TOO_MANY_REQUESTS, "queue_full"),
        ErrorCode::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
        ErrorCode::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
        ErrorCode::Version | ErrorCode::Unsupported | ErrorCode::Internal => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = ErrorView { error: ErrorDetails { code: self.code, message: self.message } };
        let mut response = (self.status, Told::of(&error)).into_response();
        let is_passing = matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::TOO_MANY_REQUESTS
                | StatusCode::INSUFFICIENT_STORAGE
        );
        if is_passing {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

fn in_json(text: Bytes) -> Response {
    ([(CONTENT_TYPE, JSON)], text).into_response()
}
