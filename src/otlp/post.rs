//! One request to the collector, and what its answer means.

use crate::web_client::{self, AGENT, WebClient};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, Request, StatusCode, Uri};
use rustls::RootCertStore;
use serde_json::Value;
use std::error::Error;
use std::time::Duration;
use tokio::time::timeout;

/// How long a request may take.
const TIME: Duration = Duration::from_secs(10);
/// How much of an answer is read.
const ANSWER_MAX: usize = 64 << 10;
/// How many characters of one are shown to people.
const SHOWN_MAX: usize = 200;

/// What has become of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// The collector has them, all but so many.
    Taken { rejected: u64 },
    /// It will never take them.
    Refused { why: String },
    /// It may take them later: after this time, if it says so.
    Later { why: String, after: Option<Duration> },
}

/// Where spans are sent.
pub(super) struct Collector {
    url: Uri,
    client: WebClient,
}

impl Collector {
    pub(super) fn new(url: Uri, roots: RootCertStore) -> Collector {
        Collector { url, client: web_client::client(roots) }
    }

    /// For people.
    pub(super) fn place(&self) -> &Uri {
        &self.url
    }

    pub(super) async fn post(&self, body: Bytes) -> Posted {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, AGENT)
            .body(Full::new(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Posted::Refused { why: error.to_string() },
        };
        let answered = async {
            let (head, body) =
                self.client.request(request).await.map_err(|error| root_of(&error))?.into_parts();
            Ok((head, read(body).await))
        };
        match timeout(TIME, answered).await {
            Ok(Ok((head, body))) => posted(head.status, &head.headers, &body),
            Ok(Err(why)) => Posted::Later { why, after: None },
            Err(_) => Posted::Later { why: format!("no answer within {} s", TIME.as_secs()), after: None },
        }
    }
}

/// What is said first: the rest is which layer says it.
fn root_of(mut error: &dyn Error) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The answer, if it is not too long.
async fn read<B: Body<Data = Bytes, Error = hyper::Error>>(body: B) -> Bytes {
    let read = Limited::new(body, ANSWER_MAX).collect().await;
    read.map(|body| body.to_bytes()).unwrap_or_default()
}

/// As OTLP has it: what can be sent again is 429, 502, 503 and 504, and nothing else.
fn posted(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Posted {
    if status.is_success() {
        return Posted::Taken { rejected: rejected(body) };
    }
    let mut why = format!("it answers {status}");
    let text = String::from_utf8_lossy(body);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if !text.is_empty() {
        why = format!("{why}: {}", text.chars().take(SHOWN_MAX).collect::<String>());
    }
    match status.as_u16() {
        429 | 502..=504 => {
            let seconds = headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok()?.trim().parse().ok());
            Posted::Later { why, after: seconds.map(Duration::from_secs) }
        }
        _ => Posted::Refused { why },
    }
}

/// How many spans the collector has not taken though it says that all is well (`partialSuccess`).
fn rejected(body: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    // A number of 64 bits is a text in this kind of JSON, and some write it as a number.
    match &answer["partialSuccess"]["rejectedSpans"] {
        Value::String(text) => text.parse().unwrap_or(0),
        number => number.as_u64().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_means() {
        let means = |status: u16, body: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, "7".parse().unwrap());
            posted(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
        };
        assert_eq!(means(200, "{}"), Posted::Taken { rejected: 0 });
        assert_eq!(means(200, "not JSON"), Posted::Taken { rejected: 0 });
        let partial = |rejected| {
            format!(r#"{{"partialSuccess": {{"rejectedSpans": {rejected}, "errorMessage": "x"}}}}"#)
        };
        assert_eq!(means(200, &partial("\"3\"")), Posted::Taken { rejected: 3 });
        assert_eq!(means(202, &partial("3")), Posted::Taken { rejected: 3 });
        let after = Some(Duration::from_secs(7));
        let why = "it answers 503 Service Unavailable: too many".to_owned();
        assert_eq!(means(503, " too\n many "), Posted::Later { why, after });
        let why = "it answers 400 Bad Request".to_owned();
        assert_eq!(means(400, ""), Posted::Refused { why });
        for status in [301, 401, 404, 500] {
            assert!(matches!(means(status, "x"), Posted::Refused { .. }), "{status}");
        }
    }
}
