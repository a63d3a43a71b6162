//! JSON over HTTP: who gets in, what may be asked for, what is said of mistakes, and that nothing is lost with a connection.

use crate::helper::{Daemon, Home, block_on, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Of the daemon's own user.
const OWN: &str = "0123456789abcdef0123456789abcdef-own";
/// Of somebody with no rights but those that everybody has.
const OTHER: &str = "0123456789abcdef0123456789abcdef-other";
const OTHER_USER: u32 = 4_242;

struct Site {
    home: Home,
    daemon: Daemon,
    address: String,
}

/// What came back: the status, what stands above the body, and that.
struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// The word for programs of an error.
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

async fn started(home: &Home) -> (Daemon, String) {
    let lives = home.log().matches("serving HTTP at ").count();
    let daemon = home.serve().await;
    let address = until("HTTP is served", async || {
        let log = home.log();
        let line = log.split("serving HTTP at ").nth(lives + 1)?;
        line.split(',').next().map(str::to_owned)
    })
    .await;
    (daemon, address)
}

impl Site {
    async fn new(more: &str) -> Site {
        let home = Home::new("");
        let tokens = home.path("tokens");
        let own = rustix::process::geteuid().as_raw();
        std::fs::write(&tokens, format!("{own} {OWN}\n{OTHER_USER} {OTHER}\n")).unwrap();
        std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
        home.configure(&format!("{more}[daemon]\nhttp = \"127.0.0.1:0\"\nhttp_tokens = {tokens:?}\n"));
        let (daemon, address) = started(&home).await;
        Site { home, daemon, address }
    }

    /// Sends a request with these lines above its body.
    async fn send(&self, what: &str, lines: &str, body: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let length = body.len();
        let head = format!("{what} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{lines}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_lowercase(), body: all[end + 4..].to_vec() }
    }

    async fn ask_as(&self, token: &str, what: &str, body: &[u8]) -> Reply {
        let (method, path) = what.split_once(' ').unwrap();
        let lines = format!("Host: {}\r\nAuthorization: Bearer {token}\r\n", self.address);
        self.send(&format!("{method} /api/v1{path}"), &lines, body).await
    }

    /// Asks as the daemon's own user.
    async fn ask(&self, what: &str, body: &Value) -> Reply {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.ask_as(OWN, what, &body).await
    }

    /// The same of what is expected to be answered with JSON.
    async fn json(&self, what: &str, body: Value) -> Value {
        let reply = self.ask(what, &body).await;
        assert!((200..300).contains(&reply.status), "{what}: {} {}", reply.status, reply.json());
        reply.json()
    }

    /// The same of what has no more to say than that it is done.
    async fn done(&self, what: &str, body: Value) {
        let reply = self.ask(what, &body).await;
        assert_eq!((reply.status, &*reply.body), (204, &b""[..]), "{what}");
    }
}

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
fn who_has_no_token_or_comes_from_elsewhere_gets_nowhere() {
    block_on(async {
        let site = Site::new("").await;
        let (host, token) =
            (format!("Host: {}\r\n", site.address), format!("Authorization: Bearer {OWN}\r\n"));
        let wrong = format!("Authorization: Bearer {}x\r\n", &OWN[..OWN.len() - 1]);
        for (lines, status) in [
            (format!("{host}{token}"), 200),
            (format!("Host: localhost\r\n{token}"), 200),
            (host.clone(), 401),
            (format!("{host}{wrong}"), 401),
            (format!("{host}Authorization: Basic {OWN}\r\n"), 401),
            (format!("Host: evil.example\r\n{token}"), 421),
            (format!("{host}{token}Origin: http://{}\r\n", site.address), 200),
            (format!("{host}{token}Origin: http://evil.example\r\n"), 403),
        ] {
            let reply = site.send("GET /api/v1/status", &lines, b"").await;
            assert_eq!(reply.status, status, "{lines}");
            assert!(reply.head.contains("x-content-type-options: nosniff"), "{}", reply.head);
        }
        // An address that is not there tells those without a token no more than one that is.
        assert_eq!(site.send("GET /api/v1/nothing", &host, b"").await.status, 404);
        assert_eq!(site.ask("DELETE /status", &Value::Null).await.code(), "method_not_allowed");

        // A token has the rights of its user.
        let id =
            site.json("POST /jobs", json!({ "queue": "q", "body": "secret" })).await["jobs"][0]["id"].clone();
        assert_eq!(site.ask_as(OTHER, &format!("GET /jobs/{id}/body"), b"").await.status, 404);
        assert_eq!(site.ask_as(OTHER, "POST /queues/q/pause", b"").await.code(), "forbidden");
        let own = site.ask_as(OTHER, "POST /jobs", br#"{"queue": "q", "body": "mine"}"#).await;
        assert_eq!(own.status, 201);
        assert_eq!(site.json("GET /jobs/2", Value::Null).await["owner"], OTHER_USER);

        // They are read again at a reload; wrong ones change nothing.
        let tokens = site.home.path("tokens");
        let before = std::fs::read_to_string(&tokens).unwrap();
        std::fs::write(&tokens, "0 short\n").unwrap();
        site.daemon.signal(rustix::process::Signal::HUP);
        site.home.until_logged("the tokens of HTTP are as they were").await;
        assert_eq!(site.ask("GET /status", &Value::Null).await.status, 200);
        std::fs::write(&tokens, before.lines().last().unwrap()).unwrap();
        site.daemon.signal(rustix::process::Signal::HUP);
        until("the token is gone", async || {
            (site.ask("GET /status", &Value::Null).await.status == 401).then_some(())
        })
        .await;
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
        let body = json!({ "queues": ["q"], "wait_ms": 300_000 }).to_string();
        let head = format!(
            "POST /api/v1/claim HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OWN}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(&site.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
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

#[test]
fn health_is_for_everybody_and_says_whether_jobs_are_taken() {
    block_on(async {
        let site = Site::new("").await;
        let look = async |path: &str| {
            let reply = site.send(&format!("GET {path}"), "Host: localhost\r\n", b"").await;
            (reply.status, reply.json())
        };
        assert_eq!(look("/healthz").await, (200, json!({ "ok": true })));
        assert_eq!(look("/readyz").await, (200, json!({ "ok": true })));
        site.json("PUT /drain", Value::Null).await;
        until("it is not ready", async || {
            let (status, said) = look("/readyz").await;
            (status == 503 && said["why"] == "the daemon is draining").then_some(())
        })
        .await;
        assert_eq!(look("/healthz").await.0, 200);
        site.json("DELETE /drain", Value::Null).await;
        until("it is ready again", async || (look("/readyz").await.0 == 200).then_some(())).await;
        site.daemon.stop().await;
    });
}

#[test]
fn many_slow_and_rude_clients_hold_up_nobody() {
    block_on(async {
        let site = Site::new("").await;
        let mut idle = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(&site.address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHos").await.unwrap();
            idle.push(stream);
        }
        for rude in [
            &b"\x00\x01\x02\r\n\r\n"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            &[b'a'; 100_000],
            b"\xff\xfe",
            b"POST /api/v1/jobs HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(&site.address).await.unwrap();
            // It may be refused before all of it is sent.
            let _ = stream.write_all(rude).await;
        }
        // What is too long by what it says of itself is refused before it comes.
        let lines = format!("Host: localhost\r\nAuthorization: Bearer {OWN}\r\n");
        let head = format!("POST /api/v1/jobs HTTP/1.1\r\n{lines}Content-Length: {}\r\n\r\n", 40 << 20);
        let mut stream = TcpStream::connect(&site.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 413");
        assert_eq!(site.json("GET /status", Value::Null).await["mode"], "running");
        drop(idle);
        site.daemon.stop().await;
    });
}

#[test]
fn what_cannot_be_served_is_told_at_the_start() {
    block_on(async {
        let home = Home::new("");
        let tokens = home.path("tokens");
        std::fs::write(&tokens, format!("0 {OWN}\n")).unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let start = |mode| {
            std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(mode)).unwrap();
            home.configure(&format!(
                "[daemon]\nhttp = \"{}\"\nhttp_tokens = {tokens:?}\n",
                taken.local_addr().unwrap()
            ));
            let mut command: Command = home.serve_command();
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert!(!output.status.success());
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let said = start(0o644);
        assert!(said.contains("daemon.http_tokens: ") && said.contains("read by everybody"), "{said}");
        let said = start(0o600);
        assert!(said.contains("cannot serve HTTP at 127.0.0.1:") && said.contains("in use"), "{said}");
    });
}
