//! Jobs that were claimed, and their leases, as JSON and as text.

use crate::protocol::{ClaimedJob, LeaseRef};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error};
use std::sync::Arc;
use utoipa::ToSchema;

/// A lease as people and programs name it: `42@1`, the job and its attempt.
pub(crate) fn lease_text(LeaseRef { id, attempt }: LeaseRef) -> String {
    format!("{id}@{attempt}")
}

/// Reads what [`lease_text`] has written.
pub(crate) fn parse_lease(text: &str) -> Result<LeaseRef, String> {
    let parse = || {
        let (id, attempt) = text.split_once('@')?;
        Some(LeaseRef { id: id.parse().ok()?, attempt: attempt.parse().ok()? })
    };
    parse().ok_or_else(|| "write it as `musher claim` prints it: ID@ATTEMPT, such as 42@1".into())
}

/// The same as a value of JSON.
pub(crate) fn lease<'de, D: Deserializer<'de>>(reader: D) -> Result<LeaseRef, D::Error> {
    let text = String::deserialize(reader)?;
    parse_lease(&text).map_err(D::Error::custom)
}

/// What somebody who has claimed a job is given. What is no text is in base64. Times are in milliseconds since 1970 (UTC).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClaimedView {
    /// The job and its attempt: `42@1`.
    lease: String,
    id: u64,
    attempt: u32,
    /// How many it has in all.
    attempts: u32,
    #[schema(value_type = String)]
    queue: Arc<str>,
    priority: u32,
    /// When the lease ends.
    lease_until: u64,
    /// How long the attempt may run, in milliseconds; 0 for no limit.
    timeout_ms: u64,
    /// Names and values.
    tags: Vec<(String, String)>,
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The newest that an earlier attempt has left.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint_base64: Option<String>,
    /// The signal that it has waited for, if that came.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<String>,
    /// What that says.
    #[serde(skip_serializing_if = "Option::is_none")]
    signal_body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal_body_base64: Option<String>,
}

/// The same of a job.
pub(crate) fn claimed(job: &ClaimedJob) -> ClaimedView {
    let (body, body_base64) = text_or_base64(Some(&job.body));
    let (checkpoint, checkpoint_base64) = text_or_base64(job.checkpoint.as_ref());
    let (signal_body, signal_body_base64) = text_or_base64(job.signal.as_ref().map(|(_, body)| body));
    ClaimedView {
        lease: lease_text(job.lease),
        id: job.lease.id,
        attempt: job.lease.attempt,
        attempts: job.attempts,
        queue: job.queue.clone(),
        priority: job.priority,
        lease_until: job.until_ms,
        timeout_ms: job.timeout_ms,
        tags: job.tags.clone(),
        key: job.key.clone(),
        body,
        body_base64,
        checkpoint,
        checkpoint_base64,
        signal: job.signal.as_ref().map(|(name, _)| name.clone()),
        signal_body,
        signal_body_base64,
    }
}

/// One of both, if there is something.
fn text_or_base64(bytes: Option<&Bytes>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => (None, None),
        Some((_, Ok(text))) => (Some(text.to_owned()), None),
        Some((bytes, Err(_))) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_an_id_and_an_attempt() {
        assert_eq!(parse_lease("42@3"), Ok(LeaseRef { id: 42, attempt: 3 }));
        for bad in ["42", "@", "42@", "x@1", "42@1@2"] {
            assert!(parse_lease(bad).is_err(), "{bad}");
        }
    }
}
