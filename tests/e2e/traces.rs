//! Traces: what says which one a job belongs to goes with it, from whoever submits it to whoever runs it.

use crate::helper::{Home, block_on};
use crate::http::site::{OWN, Site};
use serde_json::{Value, json};
use std::process::Output;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn parent(span: u32) -> String {
    format!("00-{TRACE}-{span:016x}-01")
}

/// Runs a verb in a span.
fn traced(home: &Home, args: &[&str], parent: &str) -> Output {
    let mut command = home.command();
    command.args(args).env("TRACEPARENT", parent).env("TRACESTATE", "vendor=1");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    output
}

fn printed(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_command_is_told_of_the_trace_that_it_was_submitted_in() {
    block_on(async {
        let config = "[queues.run]\nhandler = \"command\"\nworkers = 1\n[queues.lines]\nworkers = 1\n\
                      handler = { exec = [\"sh\", \"-c\", \"echo $TRACEPARENT $TRACESTATE\"] }\n";
        let home = Home::new(config);
        // One that is started in a span of its own does not hand that on.
        let mut command = home.serve_command();
        command.env("TRACEPARENT", parent(9));
        let daemon = home.start(command).await;
        let script = ["run", "--queue", "run", "--wait", "--", "sh", "-c", "echo $TRACEPARENT $TRACESTATE"];
        let output = traced(&home, &script, &parent(1));
        assert_eq!(printed(&output), format!("{} vendor=1\n", parent(1)));
        let told = |id: &str| {
            assert_eq!(home.musher(&["wait", id]).status.code(), Some(0));
            printed(&home.musher(&["logs", id]))
        };
        let without = daemon.submit("lines", &["z"]).await;
        assert_eq!(told(&without.to_string()), "\n");
        // What a job submits in its turn belongs to the span that says so.
        for args in [&["submit", "lines", "x"][..], &["submit", "lines", "y", "--tag", "traceparent=mine"]] {
            let id = printed(&traced(&home, args, &parent(2)));
            let expected =
                if args.len() == 3 { format!("{} vendor=1\n", parent(2)) } else { "mine\n".into() };
            assert_eq!(told(id.trim()), expected);
        }
        // What is no trace is no reason to refuse a job, and no tag.
        let id = printed(&traced(&home, &["submit", "other", "x"], "nonsense"));
        assert!(daemon.show(id.trim().parse().unwrap()).await.unwrap().tags.is_empty());
        daemon.stop().await;
    });
}

#[test]
fn by_http_it_stands_above_the_request_and_a_repeated_one_may_have_another() {
    block_on(async {
        let site = Site::new("").await;
        let submit = async |path: &str, body: &Value, key: &str, span| {
            let lines = format!(
                "Host: localhost\r\nAuthorization: Bearer {OWN}\r\nIdempotency-Key: {key}\r\ntraceparent: {}\r\n",
                parent(span)
            );
            let what = format!("POST /api/v1/{path}");
            let reply = site.send(&what, &lines, body.to_string().as_bytes()).await;
            assert_eq!(reply.status, 201, "{}", reply.json());
            reply.json()["jobs"][0]["id"].as_u64().unwrap()
        };
        let job = json!({ "queue": "q", "body": "x", "tags": { "a": "b" } });
        let id = submit("jobs", &job, "one", 1).await;
        assert_eq!(submit("jobs", &job, "one", 2).await, id);
        let claimed = site.json("POST /claim", json!({ "queues": ["q"], "max": 9 })).await;
        assert_eq!(claimed["jobs"].as_array().unwrap().len(), 1);
        let tags = serde_json::to_value(site.daemon.show(id).await.unwrap().tags).unwrap();
        assert_eq!(tags, json!([["a", "b"], ["traceparent", parent(1)]]));
        // Without a span it is the same request, too; and other jobs are others.
        let again = format!("Host: localhost\r\nAuthorization: Bearer {OWN}\r\nIdempotency-Key: one\r\n");
        let reply = site.send("POST /api/v1/jobs", &again, job.to_string().as_bytes()).await;
        assert_eq!((reply.status, reply.json()["jobs"][0]["id"].as_u64()), (201, Some(id)));
        let other = json!({ "queue": "q", "body": "y" });
        let reply = site.send("POST /api/v1/jobs", &again, other.to_string().as_bytes()).await;
        assert_eq!(reply.status, 409, "{}", reply.json());

        let flow = json!({ "jobs": [{ "name": "build", "queue": "q", "body": "x" }] });
        let id = submit("flows", &flow, "two", 3).await;
        let tags = serde_json::to_value(site.daemon.show(id).await.unwrap().tags).unwrap();
        assert!(tags.as_array().unwrap().contains(&json!(["traceparent", parent(3)])), "{tags}");
        site.daemon.stop().await;
    });
}
