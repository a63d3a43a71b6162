//! What a request says: spans as OTLP's JSON has them (opentelemetry-proto, `ExportTraceServiceRequest`), with the attributes that
//! OpenTelemetry's conventions for messaging name.

use crate::spans::{Span, What};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// `SpanKind`.
const INTERNAL: u8 = 1;
const PRODUCER: u8 = 4;
const CONSUMER: u8 = 5;
/// `StatusCode`.
const ERROR: u8 = 2;
/// `SpanFlags`: the trace is recorded, and the parent is another program's.
const FLAGS: u32 = 0x301;

/// The body of a request.
pub(super) fn request(spans: &[Span]) -> Bytes {
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let version = env!("CARGO_PKG_VERSION");
    let request = json!({ "resourceSpans": [{
        "resource": { "attributes": *RESOURCE },
        "scopeSpans": [{ "scope": { "name": "musher", "version": version }, "spans": spans }],
    }] });
    request.to_string().into()
}

/// Who says it.
static RESOURCE: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    vec![
        text("service.name", "musher"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("host.name", &host),
    ]
});

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// A number of 64 bits is a text in this kind of JSON.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn span(span: &Span) -> Value {
    let queue = span.queue.as_str();
    let mut attributes = vec![
        text("messaging.system", "musher"),
        text("messaging.destination.name", queue),
        text("messaging.message.id", &span.job.to_string()),
    ];
    let (verb, kind) = match &span.what {
        What::Submit { jobs } => {
            attributes.push(text("messaging.operation.type", "send"));
            if *jobs > 1 {
                attributes.push(number("messaging.batch.message_count", *jobs));
            }
            ("submit", PRODUCER)
        }
        What::Wait { attempt } => {
            attributes.push(number("musher.attempt", attempt.0.into()));
            ("wait", INTERNAL)
        }
        What::Run { attempt, end, .. } => {
            attributes.push(text("messaging.operation.type", "process"));
            attributes.push(number("musher.attempt", attempt.0.into()));
            attributes.push(text("musher.end", end));
            ("run", CONSUMER)
        }
    };
    attributes.push(text("messaging.operation.name", verb));
    let mut status = json!({});
    if let What::Run { end, error: Some(error), .. } = &span.what {
        attributes.push(text("error.type", end));
        status = json!({ "code": ERROR, "message": error });
    }
    json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.id),
        "parentSpanId": format!("{:016x}", span.parent),
        "flags": FLAGS,
        "name": format!("{verb} {queue}"),
        "kind": kind,
        "startTimeUnixNano": nanos(span.begun),
        "endTimeUnixNano": nanos(span.ended),
        "attributes": attributes,
        "status": status,
    })
}

fn nanos(micros: u64) -> String {
    micros.saturating_mul(1_000).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Attempt, JobId, QueueName};

    fn one(what: What) -> Value {
        let queue = QueueName::new("mails").unwrap();
        let (trace, parent, id, job) = (0xab, 0xcd, 0xef, JobId(7));
        let (begun, ended) = (1_700_000_000_000_000, 1_700_000_000_000_250);
        let request = request(&[Span { trace, parent, id, begun, ended, queue, job, what }]);
        let request: Value = serde_json::from_slice(&request).unwrap();
        let resource = &request["resourceSpans"][0]["resource"]["attributes"];
        assert_eq!(resource[0], json!({ "key": "service.name", "value": { "stringValue": "musher" } }));
        request["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
    }

    fn attribute<'s>(span: &'s Value, key: &str) -> Option<&'s Value> {
        span["attributes"].as_array().unwrap().iter().find(|one| one["key"] == key).map(|one| &one["value"])
    }

    #[test]
    fn ids_are_hexadecimal_and_long_numbers_are_texts() {
        let span = one(What::Submit { jobs: 1 });
        assert_eq!(span["traceId"], format!("{:0>32}", "ab"));
        assert_eq!(span["spanId"], format!("{:0>16}", "ef"));
        assert_eq!(span["parentSpanId"], format!("{:0>16}", "cd"));
        assert_eq!((&span["name"], &span["kind"]), (&json!("submit mails"), &json!(4)));
        assert_eq!(span["startTimeUnixNano"], "1700000000000000000");
        assert_eq!(span["endTimeUnixNano"], "1700000000000250000");
        assert_eq!(attribute(&span, "messaging.message.id"), Some(&json!({ "stringValue": "7" })));
        assert_eq!(attribute(&span, "messaging.batch.message_count"), None);
        assert_eq!(span["status"], json!({}));
        let many = one(What::Submit { jobs: 9 });
        assert_eq!(attribute(&many, "messaging.batch.message_count"), Some(&json!({ "intValue": "9" })));
    }

    #[test]
    fn a_failure_is_an_error_with_its_words() {
        let (attempt, end) = (Attempt(2), "failed");
        let span = one(What::Run { attempt, end, error: Some("exit status 7".into()) });
        assert_eq!((&span["name"], &span["kind"]), (&json!("run mails"), &json!(5)));
        assert_eq!(span["status"], json!({ "code": 2, "message": "exit status 7" }));
        assert_eq!(attribute(&span, "error.type"), Some(&json!({ "stringValue": "failed" })));
        assert_eq!(attribute(&span, "musher.attempt"), Some(&json!({ "intValue": "2" })));
        let well = one(What::Run { attempt, end: "completed", error: None });
        assert_eq!(well["status"], json!({}));
        assert_eq!(attribute(&well, "error.type"), None);
        assert_eq!(one(What::Wait { attempt })["kind"], 1);
    }
}
