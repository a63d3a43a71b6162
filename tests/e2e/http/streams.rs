//! Answers that go on: what becomes of jobs, and what a job prints; and waits whose clients hang up.

use super::site::{OTHER, OWN, Site};
use crate::helper::{DEADLINE, block_on, until};
use musher::client::Client;
use musher::clock::monotonic;
use musher::protocol::{Claim, JobOptions, LeaseRef, SubmitGroup, Verdict};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A request whose answer goes on. Asked for in HTTP/1.0, it comes without chunks.
struct Reading {
    stream: TcpStream,
    text: String,
}

impl Reading {
    async fn open(site: &Site, token: &str, version: &str, path: &str) -> Reading {
        let mut stream = TcpStream::connect(&site.address).await.unwrap();
        let head = format!(
            "GET /api/v1{path} {version}\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reading = Reading { stream, text: String::new() };
        let head = reading.until("\r\n\r\n").await.unwrap();
        assert!(head.contains(" 200 "), "{head}");
        reading
    }

    /// All up to that, which it takes too; `None` if it ends before.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.text.find(end) {
                let rest = self.text.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.text, rest));
            }
            let mut bytes = [0; 16 << 10];
            let read =
                timeout(DEADLINE, self.stream.read(&mut bytes)).await.expect("something comes, or the end");
            let count = read.unwrap_or(0);
            if count == 0 {
                return None;
            }
            self.text += std::str::from_utf8(&bytes[..count]).unwrap();
        }
    }

    /// The next event: its name, and what it says.
    async fn event(&mut self) -> Option<(String, Value)> {
        let deadline = monotonic() + DEADLINE;
        loop {
            let event = self.until("\n\n").await?;
            // Something comes now and then even if nothing happens.
            let Some(event) = event.strip_prefix("event: ") else {
                assert!(monotonic() < deadline, "no event has come");
                continue;
            };
            let (name, data) = event.split_once("\ndata: ").unwrap();
            return Some((name.to_owned(), serde_json::from_str(data).unwrap()));
        }
    }

    /// The next changes: jobs and their states.
    async fn changes(&mut self, count: usize) -> Vec<(u64, String)> {
        let mut changes = Vec::new();
        while changes.len() < count {
            let (name, data) = self.event().await.expect("it goes on");
            assert_eq!(name, "job", "{data}");
            changes.push((data["id"].as_u64().unwrap(), data["state"].as_str().unwrap().to_owned()));
        }
        changes
    }
}

fn states(changes: &[(u64, &str)]) -> Vec<(u64, String)> {
    changes.iter().map(|(id, state)| (*id, (*state).to_owned())).collect()
}

#[test]
fn who_follows_jobs_learns_what_becomes_of_those_that_he_may_see() {
    block_on(async {
        let site = Site::new("[queues.mails]\nkeep = { done = \"1h\" }\n").await;
        let mut all = Reading::open(&site, OWN, "HTTP/1.0", "/events").await;
        let mut builds = Reading::open(&site, OWN, "HTTP/1.0", "/events?queue=builds").await;
        let mut others = Reading::open(&site, OTHER, "HTTP/1.0", "/events").await;
        assert_eq!(site.ask("GET /events?job=1", &Value::Null).await.status, 404);
        let before = site.json("POST /jobs", json!({ "queue": "mails", "body": "one" })).await;
        assert_eq!(before["jobs"][0]["id"], 1);
        let mut first = Reading::open(&site, OWN, "HTTP/1.0", "/events?job=1").await;
        assert_eq!(site.ask_as(OTHER, "GET /events?job=1", b"").await.status, 404, "he may not see it");
        site.json("POST /jobs", json!({ "queue": "builds", "body": "two", "delay": "1h" })).await;
        let own = site.ask_as(OTHER, "POST /jobs", br#"{"queue": "mails", "body": "three"}"#).await;
        assert_eq!(own.status, 201);
        site.json("POST /claim", json!({ "queues": ["mails"], "max": 1 })).await;
        site.json("POST /settle", json!({ "items": [{ "lease": "1@1", "outcome": "done" }] })).await;
        site.json("POST /jobs/1/delete", Value::Null).await;
        let expected =
            [(1, "ready"), (2, "scheduled"), (3, "ready"), (1, "leased"), (1, "done"), (1, "gone")];
        assert_eq!(all.changes(6).await, states(&expected));
        assert_eq!(first.changes(3).await, states(&[(1, "leased"), (1, "done"), (1, "gone")]));
        site.json("POST /jobs/2/kick", Value::Null).await;
        assert_eq!(builds.changes(2).await, states(&[(2, "scheduled"), (2, "ready")]));
        site.json("POST /jobs/3/cancel", Value::Null).await;
        assert_eq!(others.changes(2).await, states(&[(3, "ready"), (3, "cancelled")]));
        let (_, change) = all.event().await.unwrap();
        assert_eq!((&change["id"], &change["queue"]), (&json!(2), &json!("builds")));
        let submitted = site.json("GET /jobs/2", Value::Null).await["submitted_at"].as_u64().unwrap();
        assert!(submitted.abs_diff(change["at_ms"].as_u64().unwrap()) < 60_000, "{change}");
        site.daemon.stop().await;
    });
}

#[test]
fn a_stream_ends_in_order_when_the_daemon_stops() {
    block_on(async {
        let site = Site::new("").await;
        let mut events = Reading::open(&site, OWN, "HTTP/1.1", "/events").await;
        // Drained by hand it serves on.
        site.json("PUT /drain", Value::Null).await;
        site.json("DELETE /drain", Value::Null).await;
        site.json("POST /jobs", json!({ "queue": "mails", "body": "one" })).await;
        assert!(events.until("event: job\n").await.is_some());
        site.daemon.stop().await;
        assert!(events.until("\r\n0\r\n\r\n").await.is_some(), "{}", events.text);
        assert!(events.until("more").await.is_none());
    });
}

/// Nothing that happens is passed over in silence, and a reader that stands still keeps nobody waiting.
#[test]
fn what_a_slow_reader_misses_is_counted() {
    block_on(async {
        const JOBS: usize = 100_000;
        let site = Site::new("").await;
        let mut events = Reading::open(&site, OWN, "HTTP/1.0", "/events").await;
        let client = Client::connect(site.daemon.socket()).await.unwrap();
        let mut slowest = Duration::ZERO;
        for _ in 0..JOBS / 1_000 {
            // Each of a queue of its own, so that they are not alike.
            let group = |nth: usize| SubmitGroup {
                options: JobOptions { queue: format!("q{}", nth % 7), ..JobOptions::default() },
                bodies: vec!["x".into()],
            };
            let begun = monotonic();
            client.submit((0..1_000).map(group).collect()).await.unwrap();
            slowest = slowest.max(monotonic() - begun);
        }
        assert!(slowest < Duration::from_secs(5), "{slowest:?}");
        let (mut told, mut missed) = (0, 0);
        while told + missed < JOBS as u64 {
            let (name, data) = events.event().await.expect("it goes on");
            match &*name {
                "job" => told += 1,
                "missed" => missed += data["count"].as_u64().unwrap(),
                other => panic!("{other}: {data}"),
            }
        }
        assert!(told > 0 && missed > 0, "{told} told, {missed} missed");
        assert_eq!(told + missed, JOBS as u64);
        site.daemon.stop().await;
    });
}

#[test]
fn what_a_job_prints_is_read_while_it_runs_and_afterwards() {
    block_on(async {
        let site = Site::new("[queues.q]\nkeep = { done = \"1h\" }\n").await;
        site.daemon.submit("q", &["x"]).await;
        let client = Client::connect(site.daemon.socket()).await.unwrap();
        let claim = Claim { queues: vec!["q".into()], max: 1, ..Claim::default() };
        let lease: LeaseRef = client.claim(claim).await.unwrap()[0].lease;
        // Its head comes before anything is printed.
        let mut early = Reading::open(&site, OWN, "HTTP/1.1", "/jobs/1/output?follow=true").await;
        client.output(lease, 1, "out, ".into()).await.unwrap();
        assert!(early.until("out, ").await.is_some());
        client.output(lease, 2, "err, ".into()).await.unwrap();
        let read = async || site.ask("GET /jobs/1/output", &Value::Null).await.body;
        assert_eq!(read().await, b"out, err, ");
        let mut follows = Reading::open(&site, OWN, "HTTP/1.1", "/jobs/1/output?follow=true").await;
        assert!(follows.until("err, ").await.is_some());
        client.output(lease, 1, "more".into()).await.unwrap();
        assert!(follows.until("more").await.is_some());
        assert!(site.daemon.settle(lease, Verdict::Complete).await);
        assert!(follows.until("\r\n0\r\n\r\n").await.is_some(), "it ends with the job: {}", follows.text);
        assert_eq!(read().await, b"out, err, more");
        assert_eq!(site.ask_as(OTHER, "GET /jobs/1/output", b"").await.status, 404);
        assert_eq!(site.ask("GET /jobs/2/output", &Value::Null).await.status, 404);
        assert_eq!(site.ask("GET /jobs/1/output?folow=true", &Value::Null).await.status, 400);
        site.daemon.stop().await;
    });
}

#[test]
fn flows_are_submitted_shown_and_waited_for() {
    block_on(async {
        let site = Site::new("").await;
        let document = json!({ "group": "release", "jobs": [
            { "name": "test", "queue": "q", "body": "all", "after": "build" }, { "name": "build", "queue": "q", "body": "1" } ] });
        let submitted = site.json("POST /flows", document).await;
        let expected = json!({ "jobs": [{ "id": 1, "name": "build", "new": true }, { "id": 2, "name": "test", "new": true }] });
        assert_eq!(submitted, expected);
        let flow = site.json("GET /groups/release/flow", Value::Null).await;
        assert_eq!((&flow["group"]["sealed"], &flow["more"]), (&json!(true), &json!(false)), "{flow}");
        assert_eq!(flow["jobs"][1]["waits_for"][0]["job"], 1, "{flow}");
        let early = site.json("POST /groups/release/wait", json!({ "timeout_ms": 1 })).await;
        assert_eq!((&early["state"], &early["live"]), (&json!("sealed"), &json!(2)));
        let work = async {
            for id in [1, 2] {
                let claimed = site.json("POST /claim", json!({ "queues": ["q"], "wait_ms": 60_000 })).await;
                assert_eq!(claimed["jobs"][0]["id"], id);
                let items = json!({ "items": [{ "lease": format!("{id}@1"), "outcome": "done" }] });
                site.json("POST /settle", items).await;
            }
        };
        let (ended, ()) = tokio::join!(site.json("POST /groups/release/wait", Value::Null), work);
        assert_eq!((&ended["state"], &ended["done"]), (&json!("done"), &json!(2)));
        for (document, told) in [
            (json!({ "jobs": [] }), "no jobs"),
            (json!({ "jobs": [{ "name": "a", "queue": "q", "body": "", "after": "b" }] }), "job `a`: after"),
        ] {
            let reply = site.ask("POST /flows", &document).await;
            assert!(reply.status == 400 && reply.json()["error"]["message"].as_str().unwrap().contains(told));
        }
        site.daemon.stop().await;
    });
}

#[test]
fn a_wait_whose_client_hangs_up_waits_no_more() {
    block_on(async {
        let site = Site::new("waiting = 3\n").await;
        site.json(
            "POST /jobs",
            json!([{ "queue": "q", "body": "a", "group": "g" }, { "queue": "q", "body": "b" }]),
        )
        .await;
        for (what, body) in
            [("/jobs/wait", json!({ "ids": [1, 2] })), ("/groups/g/wait", json!({ "timeout_ms": 60_000 }))]
        {
            for _ in 0..4 {
                drop(site.begin(OWN, &format!("POST {what}"), &body).await);
            }
        }
        // Who is still there has all the room.
        until("nothing waits any more", async || {
            let reply = site.ask("POST /jobs/wait", &json!({ "ids": [1, 2, 2], "timeout_ms": 1 })).await;
            (reply.status == 200).then_some(())
        })
        .await;
        site.daemon.stop().await;
    });
}
