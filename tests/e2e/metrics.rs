//! What is counted, as people and Prometheus see it: over HTTP, over a restart, and only what somebody may see.

use crate::helper::{Home, block_on, skipped, until};
use crate::http::site::{OTHER, OWN, Site};
use musher::protocol::Verdict;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The other user may see one queue only.
const HIDDEN: &str = "[[access]]\nusers = [4242]\nqueues = [\"public\"]\nmay = [\"read\"]\n";

/// Checks something with promtool, if there is one.
fn promtool(args: &[&str], input: &[u8]) {
    let mut command = Command::new("promtool");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(_) => return skipped("there is no promtool (Debian: prometheus)"),
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    if args[0] == "check" {
        assert_eq!(said, "", "it is to be silent");
    }
}

#[test]
fn alert_rules_come_when_they_should() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/prometheus");
    promtool(&["test", "rules", rules.join("alerts_test.yml").to_str().unwrap()], b"");
}

/// The value of a sample.
fn value(text: &str, sample: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {sample} in:\n{text}")).parse().unwrap()
}

#[test]
fn a_scrape_has_what_happened_and_prometheus_has_nothing_to_say() {
    block_on(async {
        let site = Site::new(&format!("backlog = 3\nmetrics_queues = 2\n{HIDDEN}")).await;
        let daemon = &site.daemon;
        daemon.submit("mails", &["a", "b", "c"]).await;
        for verdict in [Verdict::Complete, Verdict::FailDead { error: "no".into(), exit: None }] {
            let job = daemon.claim("mails", false, 0).await.unwrap();
            assert!(daemon.settle(job.lease, verdict).await);
        }
        for queue in ["more", "many", "most"] {
            daemon.submit(queue, &["x"]).await;
        }
        let full =
            json!((0..4).map(|n| json!({ "queue": "more", "body": n.to_string() })).collect::<Vec<_>>());
        assert_eq!(site.ask("POST /jobs", &full).await.code(), "queue_full");

        let text = site.metrics(OWN).await;
        for (sample, expected) in [
            ("musher_jobs_submitted_total{queue=\"mails\"}", 3.0),
            ("musher_attempts_started_total{queue=\"mails\"}", 2.0),
            ("musher_jobs_completed_total{queue=\"mails\"}", 1.0),
            ("musher_attempts_failed_total{queue=\"mails\"}", 1.0),
            ("musher_jobs_dead_total{queue=\"mails\"}", 1.0),
            ("musher_queue_jobs{queue=\"mails\",state=\"ready\"}", 1.0),
            ("musher_queue_jobs{queue=\"(others)\",state=\"ready\"}", 2.0),
            ("musher_jobs_submitted_total{queue=\"(others)\"}", 2.0),
            ("musher_job_wait_seconds_count{queue=\"mails\"}", 2.0),
            ("musher_job_run_seconds_bucket{queue=\"mails\",le=\"+Inf\"}", 2.0),
            ("musher_limits_hit_total{limit=\"limits.backlog\"}", 1.0),
            ("musher_queues", 4.0),
            ("musher_refusing", 0.0),
        ] {
            assert_eq!(value(&text, sample), expected, "{sample}");
        }
        assert!(value(&text, "musher_queue_oldest_ready_seconds{queue=\"mails\"}") < 60.0);
        assert!(value(&text, "musher_commit_seconds_count") >= 8.0);
        assert!(value(&text, "musher_commit_size_bytes_sum") > 100.0);
        assert!(value(&text, "process_resident_memory_bytes") > 1e6);
        promtool(&["check", "metrics"], text.as_bytes());

        // A token is needed, and shows what its user may see.
        let lines = format!("Host: {}\r\n", site.address);
        assert_eq!(site.send("GET /metrics", &lines, b"").await.status, 401);
        let text = site.metrics(OTHER).await;
        assert!(!text.contains("mails") && !text.contains("(others)"), "{text}");

        // What has no numbers of its own gets some when there may be more of them, whether anything happens to it or not.
        let limit = |most: &str| format!("musher_limits_hit_total{{limit=\"{most}\"}}");
        assert_eq!(value(&site.metrics(OWN).await, &limit("limits.schedules")), 0.0, "it is there to rise");
        let file = site.home.path("musher.toml");
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, before.replace("metrics_queues = 2", "metrics_queues = 10")).unwrap();
        site.daemon.reload(&site.home).await;
        let ready = |queue: &str| format!("musher_queue_jobs{{queue=\"{queue}\",state=\"ready\"}}");
        let text = site.metrics(OWN).await;
        assert_eq!((value(&text, &ready("many")), value(&text, &ready("most"))), (1.0, 1.0));
        // And so has a queue to which jobs are moved.
        let id = site.json("GET /jobs?queue=most", Value::Null).await["jobs"][0]["id"].clone();
        site.json(&format!("POST /jobs/{id}/move"), json!({ "to": "new" })).await;
        assert_eq!(value(&site.metrics(OWN).await, &ready("new")), 1.0);
        site.daemon.stop().await;
    });
}

fn numbers(list: &Value) -> u64 {
    list.as_array().unwrap().iter().filter_map(Value::as_u64).sum()
}

/// Steps are of ten seconds: this test waits for the end of one.
#[test]
fn the_past_is_shown_and_outlives_a_restart() {
    block_on(async {
        let site = Site::new(HIDDEN).await;
        site.daemon.submit("mails", &["a", "b", "c"]).await;
        let job = site.daemon.claim("mails", false, 0).await.unwrap();
        assert!(site.daemon.settle(job.lease, Verdict::Complete).await);
        let past = until("a step is over", async || {
            let past = site.json("GET /stats?since_ms=60000", Value::Null).await;
            let queue =
                past["queues"].as_array().unwrap().iter().find(|queue| queue["queue"] == "mails")?.clone();
            (numbers(&queue["submitted"]) == 3).then_some((past, queue))
        });
        let (past, queue) = past.await;
        assert_eq!((&past["step_ms"], queue["submitted"].as_array().unwrap().len()), (&json!(10_000), 6));
        assert_eq!(
            (numbers(&queue["started"]), numbers(&queue["completed"]), numbers(&queue["dead"])),
            (1, 1, 0)
        );
        assert_eq!(queue["ready"].as_array().unwrap().last().unwrap(), 2);
        assert!(queue["wait_p50_ms"].as_array().unwrap().iter().any(Value::is_u64), "{queue}");
        assert!(queue["submitted"].as_array().unwrap()[0].is_null(), "nothing ran then: {queue}");

        // People see it as plots and numbers, as wide as there is room, without colours.
        let shown = site.home.musher(&["stats", "--since", "1m"]);
        let shown = String::from_utf8(shown.stdout).unwrap();
        assert!(
            shown.contains("mails\ncompleted") && shown.contains('█') && !shown.contains('\x1b'),
            "{shown}"
        );
        assert!(shown.lines().all(|line| line.chars().count() <= 120), "{shown}");
        let lines: Value =
            serde_json::from_slice(&site.home.musher(&["stats", "mails", "--json"]).stdout).unwrap();
        assert_eq!(numbers(&lines["queues"][0]["completed"]), 1);
        let unknown = site.home.musher(&["stats", "mials"]);
        assert!(!unknown.status.success());
        assert!(String::from_utf8_lossy(&unknown.stderr).contains("mials"), "{unknown:?}");

        // Who may not see a queue sees nothing of its past.
        let hidden = site.ask_as(OTHER, "GET /stats?since_ms=60000", b"").await.json();
        assert_eq!(hidden["queues"], json!([]));
        assert_eq!(site.ask_as(OTHER, "GET /stats?queue=mails", b"").await.code(), "not_found");
        assert_eq!(site.ask("GET /stats?since_ms=x", &Value::Null).await.code(), "malformed");

        let Site { home, daemon, .. } = site;
        daemon.stop().await;
        assert!(home.path("data/numbers").exists());
        let daemon = home.serve().await;
        let after = home.musher(&["stats", "mails", "--since", "1h", "--json"]);
        let after: Value = serde_json::from_slice(&after.stdout).unwrap();
        assert_eq!(numbers(&after["queues"][0]["submitted"]), 3, "{after}");
        daemon.stop().await;

        // A file that is damaged is no reason not to start.
        std::fs::write(home.path("data/numbers"), b"mushtat1, or so").unwrap();
        let daemon = home.serve().await;
        home.until_logged("the past begins anew").await;
        daemon.stop().await;
    });
}

/// What can be asked for without HTTP, too.
#[test]
fn nothing_has_happened_yet() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let shown = home.musher(&["stats"]);
        assert!(shown.status.success());
        assert!(String::from_utf8_lossy(&shown.stdout).contains("nothing has happened"), "{shown:?}");
        daemon.stop().await;
    });
}

/// Over a restart, too.
#[test]
fn the_status_is_watched_until_somebody_has_seen_enough() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let mut command = home.command();
        let out = std::fs::File::create(home.path("watched")).unwrap();
        command.args(["status", "--watch", "100ms", "--json"]).stdout(out).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let seen = || -> Vec<Value> {
            let text = std::fs::read_to_string(home.path("watched")).unwrap();
            text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
        };
        until("it is shown twice", async || (seen().len() >= 2).then_some(())).await;
        let pid = seen()[0]["pid"].clone();
        daemon.stop().await;
        let daemon = home.serve().await;
        until("it is shown again", async || seen().iter().any(|status| status["pid"] != pid).then_some(()))
            .await;
        child.kill().unwrap();
        child.wait().unwrap();
        daemon.stop().await;
    });
}
