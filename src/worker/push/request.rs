//! What is sent for a job: its body as it is, and what there is to know of it as headers. What cannot stand in a header is
//! percent-encoded, so nothing that a job says can end a line or begin another header.

use super::target::{Secret, Target};
use crate::protocol::{ClaimedJob, is_of_trace};
use crate::web_client::AGENT;
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http_body_util::Full;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, USER_AGENT};
use hyper::{Method, Request};
use sha2::Sha256;
use std::fmt::Write;

/// The request for a job. `seconds` is the time, since 1970.
///
/// # Errors
/// The name of a tag is longer than any header's may be.
pub(super) fn of(
    target: &Target,
    job: &ClaimedJob,
    seconds: u64,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target.uri.clone())
        .header(CONTENT_TYPE, &target.content_type)
        .header(CONTENT_LENGTH, job.body.len())
        .header(USER_AGENT, AGENT);
    for (name, value) in headers(job) {
        request = request.header(HeaderName::from_bytes(name.as_bytes())?, value);
    }
    if let Some(secret) = &target.secret {
        request = request.header("musher-signature", signature(secret, seconds, &job.body));
    }
    request.body(Full::new(job.body.clone()))
}

/// What every job says of itself: the same as a process finds in its environment.
fn headers(job: &ClaimedJob) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = vec![
        ("musher-job-id".into(), job.lease.id.to_string()),
        ("musher-queue".into(), encoded_value(&job.queue)),
        ("musher-attempt".into(), job.lease.attempt.to_string()),
        ("musher-max-attempts".into(), job.attempts.to_string()),
    ];
    headers.extend(job.deadline_ms.map(|deadline| ("musher-deadline".into(), deadline.to_string())));
    headers.extend(job.key.iter().map(|key| ("musher-key".into(), encoded_value(key))));
    let tag = |(name, value): &(String, String)| {
        (format!("musher-tag-{}", encoded_name(name)), encoded_value(value))
    };
    headers.extend(job.tags.iter().map(tag));
    // Under the names that tracing libraries look for, too.
    let of_trace = job.tags.iter().filter(|(name, _)| is_of_trace(name));
    headers.extend(of_trace.map(|(name, value)| (name.clone(), encoded_value(value))));
    headers
}

/// Visible ASCII and spaces between them stay as they are; all else, and `%`, so that decoding gives back the value.
pub(super) fn encoded_value(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    encoded(text, |at, byte| match byte {
        b' ' => at != 0 && at != last,
        byte => byte.is_ascii_graphic(),
    })
}

/// The same for what may stand in a header's name (a `token`, RFC 9110).
pub(super) fn encoded_name(text: &str) -> String {
    encoded(text, |_, byte| byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte))
}

fn encoded(text: &str, may_stand: impl Fn(usize, u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, byte) in text.bytes().enumerate() {
        match byte != b'%' && may_stand(at, byte) {
            true => out.push(char::from(byte)),
            false => write!(out, "%{byte:02X}").expect("a String takes every write"),
        }
    }
    out
}

/// The time is part of what is signed, so that a receiver can refuse what somebody has kept and sends again.
pub(super) fn signature(secret: &Secret, seconds: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let mut text = format!("t={seconds},v1=");
    for byte in mac.finalize().into_bytes() {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
    text
}
