//! Jobs that the daemon's own workers send to a web server, one request each.

pub(crate) mod hook;

use crate::helper::{Daemon, Home, block_on, until};
use hmac::{Hmac, Mac};
use hook::{Hook, Say, answer};
use musher::protocol::{JobOptions, SubmitGroup};
use rustix::process::Signal;
use sha2::Sha256;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};

/// A home whose queue `q` sends its jobs to a URL, and comes back to them soon.
fn home(url: &str, of_handler: &str, more: &str) -> Home {
    let home = Home::new("");
    configure(&home, url, of_handler, more);
    home
}

fn configure(home: &Home, url: &str, of_handler: &str, more: &str) {
    home.configure(&format!(
        "[queues.q]\nworkers = 2\nhandler = {{ http = \"{url}\"{of_handler} }}\n\
         backoff = {{ base = \"10ms\", max = \"10ms\", jitter = 0 }}\n{more}\n"
    ));
}

async fn submit(daemon: &Daemon, body: &str, options: JobOptions) -> u64 {
    let options = JobOptions { queue: "q".into(), ..options };
    let group = SubmitGroup { options, bodies: vec![body.to_owned().into()] };
    daemon.client.submit(vec![group]).await.unwrap().first_id()
}

/// The error of a job's last attempt, once there is one.
async fn error_of(daemon: &Daemon, id: u64) -> String {
    until("an attempt fails", async || Some(daemon.show(id).await?.failures.last()?.error.clone())).await
}

fn ok() -> Say {
    answer("200 OK", "", "thanks")
}

/// Answers that wait until the test says so, once for each.
fn gate(then: fn() -> Say) -> (Sender<()>, impl Fn(usize, &hook::Request) -> Say + Send + Sync + 'static) {
    let (open, gate) = channel();
    let gate = Mutex::new(gate);
    (open, move |_, _| {
        let _ = gate.lock().unwrap().recv();
        then()
    })
}

#[test]
fn a_job_is_posted_with_what_there_is_to_know_of_it_on_a_connection_that_is_kept() {
    block_on(async {
        let hook = Hook::new(|_, _| ok());
        let home = home(&hook.url(), ", content_type = \"text/plain\"", "attempts = 7");
        let daemon = home.serve().await;
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let tags = [
            ("size", "200"),
            ("traceparent", trace),
            ("na me\r\nX-Injected: 1", "a\r\nX-Injected: 1\r\n\r\nGET / é%"),
        ];
        let tags = tags.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = JobOptions { tags, key: Some("customer 7 ".into()), ..JobOptions::default() };
        let options = JobOptions { deadline_ms: Some(600_000), ..options };
        let id = submit(&daemon, "line\r\n\0", options).await;
        daemon.until_state(id, "done").await;
        let request = hook.requests().remove(0);
        assert_eq!(request.line, "POST /hook?a=b HTTP/1.1");
        assert_eq!(request.body, b"line\r\n\0");
        let deadline = daemon.show(id).await.unwrap().deadline.unwrap().to_string();
        let expected = [
            ("content-type", "text/plain"),
            ("host", &*format!("localhost:{}", hook.port)),
            ("musher-job-id", "1"),
            ("musher-queue", "q"),
            ("musher-attempt", "1"),
            ("musher-max-attempts", "7"),
            ("musher-deadline", &deadline),
            ("musher-key", "customer 7%20"),
            ("musher-tag-size", "200"),
            ("musher-tag-traceparent", trace),
            ("traceparent", trace),
            ("musher-tag-na%20me%0d%0ax-injected%3a%201", "a%0D%0AX-Injected: 1%0D%0A%0D%0AGET / %C3%A9%25"),
        ];
        for (name, value) in expected {
            assert_eq!(request.header(name), Some(value), "{name}: {request:?}");
        }
        assert!(!request.headers.iter().any(|(name, _)| name == "x-injected" || name == "musher-signature"));

        let id = submit(&daemon, "", JobOptions::default()).await;
        daemon.until_state(id, "done").await;
        let second = hook.requests().remove(1);
        assert_eq!((second.connection, second.body.len()), (request.connection, 0), "{second:?}");
        assert_eq!(second.header("content-length"), Some("0"));
        daemon.stop().await;
    });
}

#[test]
fn a_failed_answer_is_an_attempt_with_its_words() {
    block_on(async {
        let hook = Hook::new(|nth, _| match nth {
            0 => answer("500 Whatever", "", "it \u{1b}[31mbroke\r\nTrace: …"),
            1 => answer("302 Found", "Location: http://127.0.0.1:1/there\r\n", ""),
            2 => answer("404 Not Found", "", &"x".repeat(200_000)),
            3 => Say::Last("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe first wor".to_owned()),
            4 => Say::Last(String::new()),
            5 => Say::Last("what is this?\r\n\r\n".to_owned()),
            _ => ok(),
        });
        let home = home(&hook.url(), "", "attempts = 10");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        daemon.until_state(id, "done").await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.failed, job.attempt), (6, 7));
        let said: Vec<&str> = job.failures.iter().map(|failure| &*failure.error).collect();
        let expected = [
            "answered 500 Internal Server Error: it [31mbroke",
            "answered 302 Found, which points to http://127.0.0.1:1/there; redirects are not followed",
            "answered 404 Not Found: xxx",
            &format!("the answer of localhost:{} (200 OK) broke off: ", hook.port),
            &format!("no answer from localhost:{}: ", hook.port),
            &format!("no answer from localhost:{}: ", hook.port),
        ];
        // As many as are remembered of a job.
        for (said, expected) in said.iter().rev().zip(expected.iter().rev()) {
            assert!(said.starts_with(expected), "{said:?}");
        }
        daemon.stop().await;
    });
}

#[test]
fn a_busy_server_says_when_to_come_again_and_one_that_is_gone_ends_the_job() {
    block_on(async {
        let hook = Hook::new(|_, request| match &*request.body {
            b"busy" => answer("429 Too Many Requests", "Retry-After: 3600\r\n", "slowly"),
            b"away" => answer("503 Service Unavailable", "", ""),
            b"gone" => answer("410 Gone", "", "for good"),
            b"known" => answer("409 Conflict", "", ""),
            _ => answer("400 Bad Request", "Retry-After: 3600\r\n", ""),
        });
        let home = home(&hook.url(), ", on_status = { \"409\" = \"done\" }", "later_max = 2");
        let daemon = home.serve().await;
        let [busy, away, gone, known, bad] = ["busy", "away", "gone", "known", "bad"];
        let mut ids = Vec::new();
        for body in [busy, away, gone, known, bad] {
            ids.push(submit(&daemon, body, JobOptions::default()).await);
        }
        assert_eq!(error_of(&daemon, ids[0]).await, "answered 429 Too Many Requests: slowly");
        let job = daemon.show(ids[0]).await.unwrap();
        let wait = job.due_at.unwrap() - job.failures[0].at;
        assert_eq!((&*job.state, job.failed, job.later, wait), ("scheduled", 0, 1, 3_600_000));
        daemon.until_state(ids[1], "dead").await;
        let said = error_of(&daemon, ids[1]).await;
        assert!(
            said.contains("more than later_max = 2") && said.ends_with("answered 503 Service Unavailable"),
            "{said}"
        );
        daemon.until_state(ids[2], "dead").await;
        let job = daemon.show(ids[2]).await.unwrap();
        assert_eq!((job.failed, &*job.failures[0].error), (1, "answered 410 Gone: for good"));
        daemon.until_state(ids[3], "done").await;
        assert_eq!(error_of(&daemon, ids[4]).await, "answered 400 Bad Request");
        let job = daemon.show(ids[4]).await.unwrap();
        assert_eq!((job.failed, job.due_at.unwrap() - job.failures[0].at), (1, 3_600_000));
        daemon.stop().await;
    });
}

#[test]
fn a_server_that_is_not_there_or_does_not_answer_is_a_failed_attempt() {
    block_on(async {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = home(&format!("http://127.0.0.1:{port}/"), "", "timeout = \"200ms\"\nattempts = 1");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        daemon.until_state(id, "dead").await;
        assert_eq!(
            error_of(&daemon, id).await,
            format!("cannot connect to 127.0.0.1:{port}: Connection refused")
        );

        let hook = Hook::new(|_, _| Say::Nothing);
        daemon.stop().await;
        configure(&home, &hook.url(), "", "timeout = \"200ms\"\nattempts = 1");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        daemon.until_state(id, "dead").await;
        assert_eq!(error_of(&daemon, id).await, "timed out after 200ms");
        until("the request is dropped", async || (hook.dropped() == 1).then_some(())).await;
        daemon.stop().await;
    });
}

#[test]
fn a_request_ends_with_its_job_and_with_its_worker() {
    block_on(async {
        let hook = Hook::new(|nth, _| if nth < 2 { Say::Nothing } else { ok() });
        let home = home(&hook.url(), "", "lease = \"1s\"");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        until("it is sent", async || (hook.requests().len() == 1).then_some(())).await;
        assert_eq!(home.musher(&["cancel", &id.to_string()]).status.code(), Some(0));
        until("the request is dropped", async || (hook.dropped() == 1).then_some(())).await;
        assert_eq!(daemon.state(id).await, "cancelled");

        let id = submit(&daemon, "b", JobOptions::default()).await;
        until("it is sent", async || (hook.requests().len() == 2).then_some(())).await;
        crate::processes::kill_with_pool(daemon).await;
        until("the request is dropped", async || (hook.dropped() == 2).then_some(())).await;
        let daemon = home.serve().await;
        daemon.until_state(id, "done").await;
        let request = hook.requests().remove(2);
        assert_eq!((&request.body[..], request.header("musher-attempt")), (&b"b"[..], Some("2")));
        daemon.stop().await;
    });
}

#[test]
fn a_drain_waits_for_an_answer_inside_its_time() {
    block_on(async {
        let (open, answers) = gate(ok);
        let hook = Hook::new(answers);
        let home = home(&hook.url(), "", "[daemon]\ndrain_timeout = \"1m\"");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        until("it is sent", async || (hook.requests().len() == 1).then_some(())).await;
        daemon.signal(Signal::TERM);
        home.until_logged("draining").await;
        open.send(()).unwrap();
        assert_eq!(daemon.ended().await.code(), Some(0));
        let daemon = home.serve().await;
        assert_eq!((daemon.state(id).await.as_str(), hook.requests().len()), ("done", 1));
        daemon.stop().await;
    });
}

#[test]
fn a_lease_is_extended_while_a_request_runs_and_a_drain_takes_back_what_does_not_end() {
    block_on(async {
        let hook = Hook::new(|_, _| Say::Nothing);
        let home = home(&hook.url(), "", "lease = \"1s\"\n[daemon]\ndrain_timeout = \"10ms\"");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        let first = until("it is leased", async || daemon.show(id).await?.leased_until).await;
        let extended = async || daemon.show(id).await?.leased_until.filter(|until| *until > first + 1_000);
        until("its lease is extended", extended).await;
        daemon.stop().await;
        until("the request is dropped", async || (hook.dropped() == 1).then_some(())).await;
        let daemon = home.serve().await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.failed, job.crashes), (0, 0), "a drain is not the job's fault");
    });
}

#[test]
fn a_reload_sends_jobs_elsewhere() {
    block_on(async {
        let hooks = [Hook::new(|_, _| ok()), Hook::new(|_, _| ok())];
        let home = home(&hooks[0].url(), "", "");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        daemon.until_state(id, "done").await;
        configure(&home, &hooks[1].url(), "", "");
        daemon.reload(&home).await;
        // The workers hear of it a moment later.
        until("a job goes there", async || {
            let id = submit(&daemon, "b", JobOptions::default()).await;
            daemon.until_state(id, "done").await;
            hooks[1].requests().pop()
        })
        .await;
        daemon.stop().await;
    });
}

fn write_secret(path: &Path, mode: u32) {
    fs::write(path, "secret\n").unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn requests_are_signed_and_without_the_secret_no_job_suffers() {
    block_on(async {
        let hook = Hook::new(|_, _| ok());
        let home = Home::new("");
        let secret = home.path("secret");
        let of_handler = format!(", secret_file = {:?}", secret.display().to_string());
        configure(&home, &hook.url(), &of_handler, "");
        let config = home.path("musher.toml").display().to_string();

        let daemon = home.serve().await;
        let id = submit(&daemon, "hello", JobOptions::default()).await;
        let why = until("it is told", async || daemon.queue("q").await.held).await;
        assert!(
            why.contains(&format!("cannot read the secret in {}: No such file", secret.display())),
            "{why}"
        );
        assert_eq!((daemon.show(id).await.unwrap().failed, hook.requests().len()), (0, 0));
        write_secret(&secret, 0o600);
        daemon.until_state(id, "done").await;
        let request = hook.requests().remove(0);
        let (time, signature) = request.header("musher-signature").unwrap().split_once(",v1=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").unwrap();
        mac.update(format!("{}.hello", time.strip_prefix("t=").unwrap()).as_bytes());
        let expected: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(signature, expected);
        until("nothing is held", async || daemon.queue("q").await.held.is_none().then_some(())).await;
        let shown = home.musher(&["config", "show", &config]);
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(shown.contains(&format!("secret_file = \"{}\"", secret.display())), "{shown}");
        daemon.stop().await;

        write_secret(&secret, 0o644);
        let output = home.musher(&["config", "check", &config]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("is open to every user of this machine"), "{said}");
    });
}

#[test]
fn a_refused_connection_is_an_attempt_also_after_there_was_no_secret() {
    block_on(async {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = Home::new("");
        let secret = home.path("secret");
        let of_handler = format!(", secret_file = {:?}", secret.display().to_string());
        configure(&home, &format!("http://127.0.0.1:{port}/"), &of_handler, "attempts = 2");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        until("it is told", async || daemon.queue("q").await.held).await;
        write_secret(&secret, 0o600);
        daemon.until_state(id, "dead").await;
        until("nothing is held", async || daemon.queue("q").await.held.is_none().then_some(())).await;
        daemon.stop().await;
    });
}

#[test]
fn tls_is_spoken_with_those_whose_certificate_is_trusted() {
    block_on(async {
        let hook = Hook::with_tls(|_, _| ok());
        let trusted = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tls/certificate.pem");
        let home = home(&hook.url(), &format!(", ca_file = {trusted:?}"), "attempts = 1");
        let daemon = home.serve().await;
        let id = submit(&daemon, "a", JobOptions::default()).await;
        daemon.until_state(id, "done").await;
        assert_eq!(hook.requests()[0].body, b"a");

        // The certificate is not for this name.
        let other = hook.url().replace("localhost", "127.0.0.1");
        daemon.stop().await;
        configure(&home, &other, &format!(", ca_file = {trusted:?}"), "attempts = 1");
        let daemon = home.serve().await;
        let id = submit(&daemon, "b", JobOptions::default()).await;
        daemon.until_state(id, "dead").await;
        let said = error_of(&daemon, id).await;
        let expected = format!("cannot connect to 127.0.0.1:{}: invalid peer certificate", hook.port);
        assert!(said.starts_with(&expected), "{said}");
        assert_eq!(hook.requests().len(), 1);
        daemon.stop().await;
    });
}

/// What is answered to a job that is done is its result; what is too long for one costs nothing but that.
#[test]
fn the_answer_is_the_result_of_the_job() {
    block_on(async {
        let hook = Hook::new(|_, request| match &request.body[..] {
            b"long" => answer("200 OK", "", &"x".repeat(5_000)),
            b"none" => answer("204 No Content", "", ""),
            b"wrong" => answer("400 Bad Request", "", "no"),
            _ => answer("201 Created", "", "{\"sum\": 42}"),
        });
        let home = Home::new("");
        home.configure(&format!(
            "result = \"4KiB\"\n[queues.q]\nhandler = {{ http = \"{}\" }}\nattempts = 1\n",
            hook.url()
        ));
        let daemon = home.serve().await;
        for (body, state, wanted) in [
            ("sum", "done", Some(&b"{\"sum\": 42}"[..])),
            ("long", "done", None),
            ("none", "done", None),
            ("wrong", "dead", None),
        ] {
            let id = submit(&daemon, body, JobOptions::default()).await;
            daemon.until_state(id, state).await;
            let found = daemon.client.beside(id, musher::protocol::Beside::Result).await;
            assert_eq!(found.ok().as_deref(), wanted, "{body}");
        }
        home.until_logged("longer than limits.result = 4096").await;
        daemon.stop().await;
    });
}
