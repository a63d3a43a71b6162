//! Jobs that were claimed, and their leases, as JSON and as text.

use crate::protocol::{ClaimedJob, LeaseRef};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::json;

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

/// What somebody who has claimed a job is given. What is no text is in base64.
pub(crate) fn claimed(job: &ClaimedJob) -> serde_json::Value {
    let mut view = json!({
        "lease": lease_text(job.lease),
        "id": job.lease.id, "attempt": job.lease.attempt, "attempts": job.attempts, "queue": *job.queue,
        "priority": job.priority, "lease_until": job.until_ms, "timeout_ms": job.timeout_ms, "tags": job.tags, "key": job.key,
    });
    let mut put = |name: &str, bytes: &[u8]| match std::str::from_utf8(bytes) {
        Ok(text) => view[name] = text.into(),
        Err(_) => view[format!("{name}_base64")] = BASE64_STANDARD.encode(bytes).into(),
    };
    put("body", &job.body);
    if let Some(checkpoint) = &job.checkpoint {
        put("checkpoint", checkpoint);
    }
    if let Some((name, body)) = &job.signal {
        put("signal_body", body);
        view["signal"] = name.as_str().into();
    }
    view
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
