//! Export and import with the real program: out of one daemon, into another, and every line that is wrong.

use crate::helper::{Home, block_on};
use musher::client::Client;
use musher::clock::wall;
use musher::protocol::admin::{AdminRequest, JobView, JobsView, ListQuery};
use musher::protocol::{JobOptions, Start, SubmitGroup, Verdict, WireBackoff};
use std::fs::{self, File};
use std::process::Output;

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Runs `musher import` on these lines.
fn import(home: &Home, lines: &[u8], more: &[&str]) -> Output {
    fs::write(home.path("lines"), lines).unwrap();
    let mut command = home.command();
    command.arg("import").args(more).stdin(File::open(home.path("lines")).unwrap());
    command.output().unwrap()
}

async fn jobs(client: &Client) -> Vec<JobView> {
    let all = AdminRequest::List(ListQuery { limit: 1000, ..ListQuery::default() });
    client.ask::<JobsView>(all).await.unwrap().jobs
}

fn bodies() -> Vec<Vec<u8>> {
    vec![
        b"".to_vec(),
        b"plain".to_vec(),
        b"two\nlines\r\n\n".to_vec(),
        br#"{"quotes": "\"\\", "n": 1}"#.to_vec(),
        "ä€😀\u{0}\u{1b}[2J\u{2028}".into(),
        vec![0xff, 0xfe, 0, b'\n', b'"'],
        (0..=255).collect(),
        (0..64 << 10).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
        "long text \n".repeat(6000).into_bytes(),
    ]
}

fn options() -> Vec<JobOptions> {
    let plain = JobOptions { queue: "q".into(), ..JobOptions::default() };
    let tags = vec![("order".into(), "42".into()), ("odd \"name\"".into(), "=\n".into())];
    let backoff = |growth| Some(WireBackoff { growth, base_ms: 1500, max_ms: 90_000, jitter_permille: 77 });
    vec![
        plain.clone(),
        JobOptions { priority: Some(u32::MAX), tags, ..plain.clone() },
        JobOptions { start: Start::After(3_600_000), ttl_ms: Some(7_200_000), ..plain.clone() },
        JobOptions { attempts: Some(3), timeout_ms: Some(12_345), backoff: backoff(0), ..plain.clone() },
        JobOptions { backoff: backoff(1), ttl_ms: Some(3_600_000), ..plain.clone() },
        JobOptions { queue: "other-queue".into(), backoff: backoff(2), ..plain },
    ]
}

fn assert_same_wish(old: &JobView, new: &JobView) {
    let wish = |job: &JobView| {
        let of_job = (job.queue.clone(), job.state.clone(), job.priority, job.attempts, job.timeout_ms);
        (of_job, job.backoff.clone(), job.tags.clone(), job.due_at)
    };
    assert_eq!(wish(old), wish(new));
    match (old.expires_at, new.expires_at) {
        (Some(old), Some(new)) => assert!(old.abs_diff(new) < 60_000, "{old} and {new}"),
        (old, new) => assert_eq!(old, new),
    }
}

#[test]
fn every_body_and_every_option_comes_through_into_another_daemon() {
    block_on(async {
        let (home, other) = (Home::new(""), Home::new(""));
        let (from, to) = (home.serve().await, other.serve().await);
        for options in options() {
            let bodies = bodies().into_iter().map(Into::into).collect();
            from.client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap();
        }
        let exported = home.musher(&["export"]);
        assert_eq!(code(&exported), 0, "{exported:?}");
        assert_eq!(said(&exported), "54 jobs exported\n");
        assert_eq!(exported.stdout.split(|byte| *byte == b'\n').count(), 54 + 1, "a job a line");
        let imported = import(&other, &exported.stdout, &["--json"]);
        assert_eq!(code(&imported), 0, "{imported:?}");
        assert_eq!(imported.stdout, b"{\"submitted\":54,\"left_out\":0}\n");

        let (old, new) = (jobs(&from.client).await, jobs(&to.client).await);
        assert_eq!((old.len(), new.len()), (54, 54));
        for (old, new) in old.iter().zip(&new) {
            assert_same_wish(old, new);
            let (body, copy) =
                (from.client.body(old.id).await.unwrap(), to.client.body(new.id).await.unwrap());
            assert!(body == copy, "the body of job {}", old.id);
        }
        from.stop().await;
        to.stop().await;
    });
}

#[test]
fn filters_choose_and_ended_jobs_run_again_only_if_asked() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("a", &["a1", "a2"]).await;
        let options = JobOptions { queue: "b".into(), ttl_ms: Some(3_600_000), ..JobOptions::default() };
        let group = SubmitGroup { options, bodies: vec!["b1".into(), "b2".into()] };
        daemon.client.submit(vec![group]).await.unwrap();
        let job = daemon.claim("b", true, 1000).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::FailDead { error: "no".into(), exit: None }).await);

        let lines = |args: &[&str]| {
            let output = home.musher(&[&["export"], args].concat());
            assert_eq!(code(&output), 0, "{output:?}");
            let text = String::from_utf8(output.stdout).unwrap();
            let body = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["body"].to_string();
            (text.lines().map(body).collect::<Vec<_>>().join(" "), text)
        };
        assert_eq!(lines(&[]).0, r#""a1" "a2" "b1" "b2""#);
        assert_eq!(lines(&["--queue", "b"]).0, r#""b1" "b2""#);
        assert_eq!(lines(&["--state", "ready"]).0, r#""a1" "a2" "b2""#);
        assert_eq!(lines(&["--queue", "none"]).0, "");
        let (bodies, dead) = lines(&["--queue", "b", "--state", "dead"]);
        assert_eq!(bodies, r#""b1""#);
        assert_eq!(code(&home.musher(&["export", "--state", "asleep"])), 2);

        let left_out = import(&home, dead.as_bytes(), &[]);
        assert_eq!(code(&left_out), 0);
        assert!(said(&left_out).contains("0 jobs submitted under new ids, 1 left out"), "{left_out:?}");
        assert_eq!(code(&import(&home, dead.as_bytes(), &["--ended", "--json"])), 0);
        let again = daemon.show(5).await.unwrap();
        assert_eq!((again.state.as_str(), again.expires_at), ("ready", None));
        assert_eq!(daemon.client.body(5).await.unwrap(), "b1");
        daemon.stop().await;
    });
}

/// One that has begun in time is as free of its time to live there as here, and has its deadline.
#[test]
fn what_has_begun_does_not_expire_after_an_import() {
    block_on(async {
        let home = Home::new("[queues.q]\nbackoff = { base = \"1h\" }\nkeep = { done = \"1h\" }\n");
        let daemon = home.serve().await;
        let (ttl_ms, deadline_ms) = (Some(1_500), Some(3_600_000));
        let options = JobOptions { queue: "q".into(), ttl_ms, deadline_ms, ..JobOptions::default() };
        let group = SubmitGroup { options, bodies: vec!["begun".into(), "leased".into(), "fresh".into()] };
        let first = daemon.client.submit(vec![group]).await.unwrap().first_id();
        let job = daemon.claim("q", false, 30_000).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::Fail { error: "no".into(), exit: None }).await);
        daemon.claim("q", false, 30_000).await.unwrap();
        daemon.until_state(first + 2, "expired").await;
        assert_eq!(daemon.state(first).await, "scheduled", "it has begun");
        let lines = home.musher(&["export"]).stdout;
        let imported = import(&home, &lines, &["--json"]);
        assert_eq!(code(&imported), 0, "{imported:?}");
        for (id, state) in [(first + 3, "scheduled"), (first + 4, "ready")] {
            let view = daemon.show(id).await.unwrap();
            assert_eq!((view.state.as_str(), view.expires_at), (state, None));
            let deadline = daemon.show(first).await.unwrap().deadline.unwrap();
            assert!(view.deadline.unwrap().abs_diff(deadline) < 1_000);
        }
        daemon.stop().await;
    });
}

#[test]
fn an_export_into_its_own_daemon_ends() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        for _ in 0..3 {
            daemon.submit("q", &["x"; 1000]).await;
        }
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "\"$0\" export | \"$0\" import", env!("CARGO_BIN_EXE_musher")]);
        let output = command.env("MUSHER_SOCKET", home.socket()).output().unwrap();
        assert_eq!(code(&output), 0, "{output:?}");
        assert_eq!(daemon.queue("q").await.ready, 6000);
        daemon.stop().await;
    });
}

#[test]
fn a_line_that_is_wrong_is_named_and_nothing_of_its_batch_is_taken() {
    block_on(async {
        let home = Home::new("batch = 2\n");
        let daemon = home.serve().await;
        let wrong = [
            ("{\"queue\": \"q\", \"body\": }", "expected value"),
            ("no JSON", "expected ident"),
            ("{\"body\": \"x\"}", "missing field `queue`"),
            ("{\"queue\": \"q\"}", "either `body` or `body_base64`"),
            ("{\"queue\": \"q\", \"body\": \"x\", \"body_base64\": \"\"}", "either `body` or `body_base64`"),
            ("{\"queue\": \"q\", \"body_base64\": \"?\"}", "`body_base64`: Invalid symbol 63"),
            ("{\"queue\": \"q\", \"body\": \"x\", \"priority\": -1}", "invalid value"),
            (
                "{\"queue\": \"q\", \"body\": \"x\", \"backoff\": {\"kind\": \"fast\", \"base_ms\": 1, \"max_ms\": 1, \
                 \"jitter_permille\": 0}}",
                "`fast` is not a kind of backoff",
            ),
        ];
        for (nth, (line, why)) in wrong.iter().enumerate() {
            let good = |n| format!("{{\"queue\": \"q{nth}\", \"body\": \"{n}\"}}\n");
            let text = [good(1), good(2), "\n".into(), good(3), line.to_string()].concat();
            let output = import(&home, text.as_bytes(), &[]);
            assert_eq!(code(&output), 2, "{output:?}");
            let said = said(&output);
            assert!(said.contains("line 5: ") && said.contains(why), "{said}");
            assert!(said.contains("2 jobs were taken; go on with line 4"), "{said}");
            assert_eq!(daemon.queue(&format!("q{nth}")).await.ready, 2);
        }
        // What only the daemon can refuse.
        let text = "{\"queue\": \"r\", \"body\": \"1\"}\n{\"queue\": \"no such name!\", \"body\": \"2\"}\n";
        let output = import(&home, text.as_bytes(), &[]);
        assert_eq!(code(&output), 2, "{output:?}");
        assert!(
            said(&output).contains("lines 1 to 2: ") && said(&output).contains("no jobs were taken"),
            "{output:?}"
        );
        let submitted = jobs(&daemon.client).await.len();
        assert_eq!(submitted, 2 * wrong.len());
        daemon.stop().await;
    });
}

#[test]
fn small_frames_make_small_batches() {
    block_on(async {
        let home = Home::new("frame = \"8KiB\"\nbody = \"4KiB\"\n");
        let daemon = home.serve().await;
        let due = wall().0 + 3_600_000;
        let line = |n| {
            let tags = vec![("t", "x".repeat(40)); 10];
            let body = "y".repeat(n);
            serde_json::json!({ "queue": "q", "body": body, "due_at": due, "tags": tags, "mine": 1 })
                .to_string()
        };
        let text = (0..100).map(|n| line(n * 20) + "\n").collect::<String>();
        let output = import(&home, text.as_bytes(), &[]);
        assert_eq!(code(&output), 0, "{output:?}");
        assert_eq!(daemon.queue("q").await.scheduled, 100);
        let mut submit = home.command();
        submit.args(["submit", "bulk", "--lines"]).stdin(File::open(home.path("lines")).unwrap());
        assert_eq!(code(&submit.output().unwrap()), 0);
        assert_eq!(daemon.queue("bulk").await.ready, 100);
        daemon.stop().await;
    });
}

#[test]
fn without_a_daemon_both_say_so() {
    let home = Home::new("");
    for verb in ["export", "import"] {
        let output = home.musher(&[verb]);
        assert_eq!(code(&output), 69);
        assert!(said(&output).contains("no daemon answers"), "{output:?}");
    }
}

#[test]
fn a_job_of_another_user_is_imported_only_on_purpose() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let own = rustix::process::geteuid().as_raw();
        let line = |owner: u32| format!("{{\"queue\": \"q\", \"body\": \"b\", \"owner\": {owner}}}\n");
        let (his, other) = (line(own), line(own + 1));
        let output = import(&home, (his.clone() + &other).as_bytes(), &[]);
        assert_eq!(code(&output), 2);
        assert!(said(&output).contains("line 2: a job of user"), "{}", said(&output));
        assert!(said(&output).contains("--as-mine"), "{}", said(&output));
        assert_eq!(jobs(&daemon.client).await.len(), 0, "nothing of the batch was taken");
        assert_eq!(code(&import(&home, (his + &other).as_bytes(), &["--as-mine"])), 0);
        assert_eq!(jobs(&daemon.client).await.len(), 2);
    });
}
