//! Spans: what a collector of OpenTelemetry is sent of jobs that belong to traces.

use crate::helper::{Daemon, Home, block_on, until};
use crate::http::site::{OWN, Site};
use crate::push::hook::{Hook, Say, answer};
use serde_json::{Value, json};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn ok() -> Say {
    answer("200 OK", "Content-Type: application/json\r\n", "{}")
}

fn config(port: u16) -> String {
    format!("[daemon]\notlp = \"http://127.0.0.1:{port}\"\n")
}

/// Submits a job that belongs to the trace, or to one that is not recorded.
fn submit(home: &Home, queue: &str, is_sampled: bool) -> u64 {
    let flags = u8::from(is_sampled);
    let mut command = home.command();
    command.args(["submit", queue, "x"]).env("TRACEPARENT", format!("00-{TRACE}-{PARENT}-{flags:02}"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// All spans that have come, in order.
fn spans(collector: &Hook) -> Vec<Value> {
    let mut all = Vec::new();
    for request in collector.requests() {
        assert_eq!(request.line, "POST /v1/traces HTTP/1.1");
        assert_eq!(request.header("content-type"), Some("application/json"));
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        all.extend(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
    }
    all
}

fn attribute(span: &Value, key: &str) -> Value {
    let all = span["attributes"].as_array().unwrap();
    all.iter().find(|one| one["key"] == key).map_or(Value::Null, |one| one["value"].clone())
}

/// Name, job, and how it ended, of each.
fn named(spans: &[Value]) -> Vec<(String, String, Value)> {
    let of = |span: &Value| {
        let id = attribute(span, "messaging.message.id")["stringValue"].as_str().unwrap().to_owned();
        (span["name"].as_str().unwrap().to_owned(), id, attribute(span, "musher.end")["stringValue"].clone())
    };
    spans.iter().map(of).collect()
}

async fn claim_and_complete(daemon: &Daemon, queue: &str) {
    let job = daemon.claim(queue, false, 5_000).await.unwrap();
    assert!(daemon.settle(job.lease, musher::protocol::Verdict::Complete).await);
}

#[test]
fn jobs_of_a_trace_are_spans_of_it() {
    block_on(async {
        let collector = Hook::new(|_, _| ok());
        let home = Home::new(&format!(
            "{}[queues.bad]\nworkers = 1\nattempts = 1\nhandler = {{ exec = [\"sh\", \"-c\", \"echo no >&2; exit 7\"] }}\n",
            config(collector.port)
        ));
        let daemon = home.serve().await;
        // Neither one that belongs to no trace nor one of a trace that is not recorded.
        daemon.submit("good", &["x"]).await;
        submit(&home, "good", false);
        let good = submit(&home, "good", true);
        for _ in 0..3 {
            claim_and_complete(&daemon, "good").await;
        }
        let bad = submit(&home, "bad", true);
        let name =
            |verb: &str, queue: &str, id: u64, end: Value| (format!("{verb} {queue}"), id.to_string(), end);
        let mut expected = vec![
            name("submit", "good", good, Value::Null),
            name("wait", "good", good, Value::Null),
            name("run", "good", good, json!("completed")),
            name("submit", "bad", bad, Value::Null),
            name("wait", "bad", bad, Value::Null),
            name("run", "bad", bad, json!("failed")),
        ];
        expected.sort_by_key(|span| (span.0.clone(), span.1.clone()));
        let all = until("all spans have come", async || {
            let all = spans(&collector);
            (all.len() >= expected.len()).then_some(all)
        })
        .await;
        let mut found = named(&all);
        found.sort_by_key(|span| (span.0.clone(), span.1.clone()));
        assert_eq!(found, expected);
        for span in &all {
            assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!(PARENT)));
            let time = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
            assert!(time("startTimeUnixNano") <= time("endTimeUnixNano"), "{span}");
        }
        let mut ids: Vec<_> = all.iter().map(|span| span["spanId"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
        let failed = all.iter().find(|span| span["name"] == "run bad").unwrap();
        assert_eq!(failed["status"]["code"], 2);
        assert!(failed["status"]["message"].as_str().unwrap().contains("exit status 7"), "{failed}");

        // What has just happened when the daemon stops is sent before it ends.
        let last = submit(&home, "good", true);
        daemon.stop().await;
        assert!(named(&spans(&collector)).contains(&name("submit", "good", last, Value::Null)));
    });
}

#[test]
fn a_collector_that_takes_nothing_holds_up_nobody_and_gets_them_later() {
    block_on(async {
        let collector = Hook::new(|nth, _| match nth {
            0 => Say::Last(String::new()),
            1 => answer("503 Service Unavailable", "Retry-After: 0\r\n", "later"),
            _ => ok(),
        });
        let home = Home::new(&config(collector.port));
        let daemon = home.serve().await;
        submit(&home, "q", true);
        claim_and_complete(&daemon, "q").await;
        home.until_logged("spans cannot be sent to http://127.0.0.1").await;
        home.until_logged("spans are sent again").await;
        // The same again and again until it was taken, and what has come since then.
        let requests = collector.requests();
        assert!(requests[0].body == requests[1].body && requests[1].body == requests[2].body);
        let tries = named(&spans(&collector)[..]).iter().filter(|(name, ..)| name == "submit q").count();
        assert_eq!(tries, 3);
        until("all have come", async || {
            let all = named(&spans(&collector));
            all.iter().any(|(name, ..)| name == "run q").then_some(())
        })
        .await;
        assert_eq!(home.log().matches("cannot be sent").count(), 1);
        daemon.stop().await;
    });
}

#[test]
fn what_the_collector_refuses_is_lost_and_counted() {
    block_on(async {
        let collector = Hook::new(|_, _| answer("400 Bad Request", "", "I speak no JSON"));
        let site = Site::with("", &format!("otlp = \"http://127.0.0.1:{}\"\n", collector.port)).await;
        submit(&site.home, "q", true);
        site.home.until_logged("it answers 400 Bad Request: I speak no JSON; they are lost").await;
        until("it is counted", async || {
            let metrics = site.metrics(OWN).await;
            let (sent, lost) = ("\nmusher_spans_sent_total 0\n", "\nmusher_spans_lost_total 1\n");
            (metrics.contains(sent) && metrics.contains(lost)).then_some(())
        })
        .await;
        assert_eq!(collector.requests().len(), 1);
        site.daemon.stop().await;
    });
}

#[test]
fn a_collector_that_says_nothing_does_not_keep_the_daemon_from_stopping() {
    block_on(async {
        let collector = Hook::new(|_, _| Say::Nothing);
        let home = Home::new(&config(collector.port));
        let daemon = home.serve().await;
        submit(&home, "q", true);
        until("it is asked", async || (!collector.requests().is_empty()).then_some(())).await;
        daemon.stop().await;
    });
}
