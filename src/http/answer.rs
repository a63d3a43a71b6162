//! What is answered: JSON, and of what goes wrong a status, a word for programs and a text for people.

use crate::client::ClientError;
use crate::protocol::ErrorCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// What a handler answers.
pub(super) type Reply = Result<Response, ApiError>;

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
        let error = json!({ "error": { "code": self.code, "message": self.message } });
        let mut response = (self.status, to_json(&error)).into_response();
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

/// An answer in JSON.
pub(super) fn to_json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => ([(CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
