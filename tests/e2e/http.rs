//! JSON over HTTP: what may be asked for, what is said of mistakes, and that nothing is lost with a connection.

mod crowds;
mod document;
mod elsewhere;
mod guard;
mod open;
pub(crate) mod site;
mod streams;

use crate::helper::{block_on, until};
use serde_json::{Value, json};
use site::{OWN, Site, started};

#[test]
fn a_job_is_submitted_claimed_and_completed() {
    block_on(async {
        let site = Site::new("[queues.q]\nkeep = { done = \"1h\" }\n").await;
        let one = json!({ "queue": "q", "body": "whole", "tags": { "order": "7" }, "key": "k" });
        let submitted = site.json("POST /jobs", one).await;
        assert_eq!(submitted, json!({ "jobs": [{ "id": 1, "new": true }] }));
        let many = json!([{ "queue": "q", "body": { "a": 1 }, "priority": 1 }, { "queue": "r", "body_base64": "AAE=" }]);
        assert_eq!(site.json("POST /jobs", many).await["jobs"].as_array().unwrap().len(), 2);
        assert_eq!(site.ask("GET /jobs/3/body", &Value::Null).await.body, [0, 1]);
        assert_eq!(site.json("GET /jobs?queue=q&tag=order=7", Value::Null).await["jobs"][0]["id"], 1);
        let explained = site.json("GET /jobs/1/explain", Value::Null).await;
        assert_eq!(explained["id"], 1, "{explained}");

        let claimed =
            site.json("POST /claim", json!({ "queues": ["q"], "max": 10, "lease_ms": 60_000 })).await;
        let first = &claimed["jobs"].as_array().unwrap().iter().find(|job| job["id"] == 1).unwrap().clone();
        assert_eq!(
            (&first["lease"], &first["body"], &first["key"]),
            (&json!("1@1"), &json!("whole"), &json!("k"))
        );
        site.done("PUT /leases/1@1/progress", json!({ "percent": 40, "text": "half" })).await;
        let stored = site.ask_as(OWN, "PUT /leases/1@1/checkpoint", b"page 3").await;
        assert_eq!((stored.status, stored.json()["ok"].as_bool()), (200, Some(true)));
        assert_eq!(site.ask("GET /jobs/1/checkpoint", &Value::Null).await.body, b"page 3");
        let extended = site.json("POST /extend", json!({ "leases": ["1@1", "1@7"] })).await;
        let oks: Vec<_> =
            extended["results"].as_array().unwrap().iter().map(|one| one["ok"].as_bool()).collect();
        assert_eq!(oks, [Some(true), Some(false)], "{extended}");
        let items = json!([{ "lease": "1@1", "outcome": "done", "result": "sum" },
            { "lease": "2@1", "outcome": "failed", "error": "no", "wait_ms": 1 }, { "lease": "9@1", "outcome": "dead", "error": "no" }]);
        let settled = site.json("POST /settle", json!({ "items": items })).await;
        let oks: Vec<_> =
            settled["results"].as_array().unwrap().iter().map(|one| one["ok"].as_bool()).collect();
        assert_eq!(oks, [Some(true), Some(true), Some(false)], "{settled}");
        assert_eq!(site.ask("GET /jobs/1/result", &Value::Null).await.body, b"sum");
        assert_eq!(site.json("GET /jobs/1", Value::Null).await["state"], "done");

        // Once, however often it is sent.
        let lines = format!("Host: localhost\r\nAuthorization: bearer {OWN}\r\nIdempotency-Key: order-8\r\n");
        let body = br#"{"queue": "q", "body": "8"}"#;
        let [first, again] = [
            site.send("POST /api/v1/jobs", &lines, body).await,
            site.send("POST /api/v1/jobs", &lines, body).await,
        ];
        assert_eq!((first.status, first.json()), (201, again.json()));

        // What was acknowledged is there after a kill.
        site.daemon.kill().await;
        let (daemon, address) = started(&site.home).await;
        let site = Site { daemon, address, ..site };
        assert_eq!(site.json("GET /jobs/1", Value::Null).await["state"], "done");
        site.daemon.stop().await;
    });
}

#[test]
fn mistakes_are_told_with_their_place() {
    block_on(async {
        let site = Site::new("body = \"1KiB\"\n").await;
        for (what, body, status, code, told) in [
            ("POST /jobs", "{", 400, "malformed", "EOF"),
            ("POST /jobs", "[]", 400, "invalid", "no jobs"),
            ("POST /jobs", r#"{"body": "x"}"#, 400, "malformed", "job 0: queue: is missing"),
            (
                "POST /jobs",
                r#"[{"queue": "q", "body": "x"}, {"queue": "q", "body": "x", "prio": 1}]"#,
                400,
                "malformed",
                "job 1: ",
            ),
            ("POST /jobs", r#"{"queue": "no good", "body": "x"}"#, 400, "invalid", "queue"),
            ("GET /jobs/0", "", 404, "not_found", "0"),
            ("GET /jobs/x", "", 400, "malformed", "x"),
            ("GET /jobs?limit=x", "", 400, "malformed", "limit"),
            ("GET /jobs?prio=1", "", 400, "malformed", "prio"),
            ("GET /jobs?tag=order", "", 400, "malformed", "order=42"),
            ("POST /claim", r#"{"queues": []}"#, 400, "invalid", "queue"),
            ("POST /claim", "{}", 400, "malformed", "queues"),
            (
                "POST /settle",
                r#"{"items": [{"lease": "1", "outcome": "done"}]}"#,
                400,
                "malformed",
                "ID@ATTEMPT",
            ),
            ("POST /settle", r#"{"items": [{"lease": "1@1", "outcome": "good"}]}"#, 400, "malformed", "good"),
            (
                "POST /settle",
                r#"{"items": [{"lease": "1@1", "outcome": "failed"}]}"#,
                400,
                "malformed",
                "items[0]: `failed` needs `error`",
            ),
            (
                "POST /settle",
                r#"{"items": [{"lease": "1@1", "outcome": "done", "delay_ms": 1}]}"#,
                400,
                "malformed",
                "`done` takes no `delay_ms`",
            ),
            ("PUT /leases/1/progress", r#"{"percent": 1}"#, 400, "malformed", "ID@ATTEMPT"),
            ("PUT /leases/1@1/checkpoint", "x", 409, "lease_lost", "1"),
            ("POST /jobs/1/explode", "", 400, "invalid", "explode"),
            ("PATCH /queues/q/settings", r#"{"rate": "fast"}"#, 400, "invalid", "rate"),
            ("GET /schedules/none", "", 404, "not_found", "none"),
            ("GET /groups/none", "", 404, "not_found", "none"),
        ] {
            let reply = site.ask_as(OWN, what, body.as_bytes()).await;
            let said = String::from_utf8_lossy(&reply.body);
            assert_eq!((reply.status, &*reply.code()), (status, code), "{what} {body}: {said}");
            assert!(
                reply.json()["error"]["message"].as_str().unwrap().contains(told),
                "{what} {body}: {said}"
            );
        }
        let long = json!({ "queue": "q", "body": "x".repeat(2_000) });
        assert_eq!(site.ask("POST /jobs", &long).await.code(), "too_large");
        site.daemon.stop().await;
    });
}

#[test]
fn queues_schedules_groups_and_topics_are_managed() {
    block_on(async {
        let site = Site::new("").await;
        site.done("PATCH /queues/q/settings", json!({ "rate": "50/s", "concurrency": 5 })).await;
        let settings = site.json("GET /queues/q/settings", Value::Null).await;
        let of = |settings: &Value, key: &str| {
            settings["settings"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap().clone()
        };
        assert_eq!(
            (&of(&settings, "rate")["value"], &of(&settings, "concurrency")["value"]),
            (&json!("50/s"), &json!("5"))
        );
        site.done("PATCH /queues/q/settings", json!({ "rate": null })).await;
        assert_eq!(of(&site.json("GET /queues/q/settings", Value::Null).await, "rate")["from"], "default");
        site.done("POST /queues/q/pause", Value::Null).await;
        site.json(
            "POST /jobs",
            json!([{ "queue": "q", "body": "a", "group": "g" }, { "queue": "q", "body": "b" }]),
        )
        .await;
        let queues = site.json("GET /queues", Value::Null).await;
        assert!(
            queues.as_array().unwrap().iter().any(|one| one["queue"] == "q" && one["paused"] == true),
            "{queues}"
        );
        site.done("POST /queues/q/pause", json!({ "for_ms": 3_600_000 })).await;
        let queues = site.json("GET /queues", Value::Null).await;
        let of_q = queues.as_array().unwrap().iter().find(|one| one["queue"] == "q").unwrap();
        assert!(of_q["paused_until"].as_u64().is_some(), "{of_q}");
        site.done("DELETE /queues/q/pause", Value::Null).await;
        site.json("POST /jobs/2/cancel", Value::Null).await;
        let edit = json!({ "edit": "move", "ids": [1], "to": "r" });
        site.json("POST /jobs/edit", edit).await;
        assert_eq!(site.json("GET /jobs/1", Value::Null).await["queue"], "r");
        assert_eq!(site.json("GET /groups/g", Value::Null).await["live"], 1);
        site.done("POST /groups/g/seal", Value::Null).await;
        site.done("POST /topics/order.*", json!({ "queues": ["q", "r"] })).await;
        assert_eq!(site.json("GET /topics", Value::Null).await[0]["queues"], json!(["q", "r"]));
        site.done("DELETE /topics/order.*", Value::Null).await;

        let schedule = json!({ "name": "nightly", "every_ms": 86_400_000, "queue": "q", "body": "all" });
        let added = site.ask("POST /schedules", &schedule).await;
        assert_eq!(added.status, 200, "{}", added.json());
        assert_eq!(
            site.json("GET /schedules/nightly/next?count=2", Value::Null).await.as_array().unwrap().len(),
            2
        );
        site.done("POST /schedules/nightly/pause", Value::Null).await;
        assert!(site.json("POST /schedules/nightly/trigger", Value::Null).await["id"].as_u64().is_some());
        site.done("DELETE /schedules/nightly", Value::Null).await;
        let ends = site.json("POST /jobs/wait", json!({ "ids": [2], "timeout_ms": 1 })).await;
        assert_eq!(ends[0]["state"], "cancelled");
        site.daemon.stop().await;
    });
}

#[test]
fn a_claim_whose_client_hangs_up_takes_no_job() {
    block_on(async {
        let site = Site::new("").await;
        // So that there are these queues.
        for queue in ["q", "late"] {
            site.daemon.submit(queue, &["first"]).await;
            assert!(site.daemon.claim(queue, false, 0).await.is_some());
        }
        let claim = json!({ "queues": ["q"], "wait_ms": 300_000 });
        let stream = site.begin(OWN, "POST /claim", &claim).await;
        let waiting =
            async |queue: &str| site.daemon.try_queue(queue).await.map_or(0, |queue| queue.waiting_claims);
        until("it waits", async || (waiting("q").await == 1).then_some(())).await;
        drop(stream);
        until("it waits no more", async || (waiting("q").await == 0).then_some(())).await;
        let id = site.json("POST /jobs", json!({ "queue": "q", "body": "x" })).await["jobs"][0]["id"].clone();
        let job = site.json(&format!("GET /jobs/{id}"), Value::Null).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("ready"), &json!(0)));
        // And who waits gets a job that comes.
        let (claimed, ()) =
            tokio::join!(site.json("POST /claim", json!({ "queues": ["late"], "wait_ms": 60_000 })), async {
                until("it waits", async || (waiting("late").await == 1).then_some(())).await;
                site.daemon.submit("late", &["now"]).await;
            });
        assert_eq!(claimed["jobs"][0]["body"], "now");
        site.daemon.stop().await;
    });
}
