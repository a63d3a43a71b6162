//! Changes of many jobs at once, chosen by what they are: the filters, a count first, and not faster than asked.

use crate::helper::{Daemon, Home, block_on, until};
use musher::clock::monotonic;
use musher::protocol::admin::QueueView;
use musher::protocol::{JobOptions, SubmitGroup, Verdict};
use std::time::Duration;

/// Six jobs of `q`, of two keys; the first four are dead, with two errors.
async fn some(daemon: &Daemon) {
    for key in ["a", "b", "a", "b", "a", "b"] {
        let options = JobOptions { queue: "q".into(), key: Some(key.into()), ..JobOptions::default() };
        daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["x".into()] }]).await.unwrap();
    }
    for error in ["connection refused", "no such customer", "connection refused by peer", "no"] {
        let job = daemon.claim("q", false, 0).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::FailDead { error: error.into(), exit: None }).await);
    }
}

fn ids(home: &Home, args: &[&str]) -> Vec<u64> {
    let output = home.musher(&[&["list", "--json"], args].concat());
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64().unwrap();
    lines.lines().map(id).collect()
}

#[test]
fn jobs_are_chosen_by_key_age_and_error() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        some(&daemon).await;
        assert_eq!(ids(&home, &["--key", "a"]), [1, 3, 5]);
        assert_eq!(ids(&home, &["--key", "a", "--state", "dead"]), [1, 3]);
        assert_eq!(ids(&home, &["--key", "nosuch"]), [0u64; 0]);
        assert_eq!(ids(&home, &["--error", "refused"]), [1, 3]);
        assert_eq!(ids(&home, &["--error", "no", "--newest"]), [4, 2]);
        assert_eq!(ids(&home, &["--older", "1h"]), [0u64; 0]);
        until("they are older than a second", async || {
            (ids(&home, &["--older", "1s"]).len() == 6).then_some(())
        })
        .await;
        let both = home.musher(&["retry", "1", "--key", "a"]);
        assert_eq!(both.status.code(), Some(2), "ids, or what they are: {both:?}");
        daemon.kill().await;
    });
}

#[test]
fn a_dry_run_counts_and_changes_nothing() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        some(&daemon).await;
        // But for how old the oldest is.
        let counts = async || QueueView { oldest_ready_ms: None, ..daemon.queue("q").await };
        let before = counts().await;
        let said = home.musher(&["cancel", "--key", "a", "--dry-run"]);
        let text = "cancel would mean 3 jobs: 2 dead, 1 ready; nothing was changed\n";
        assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
        let said = home.musher(&["retry", "--error", "refused", "--dry-run", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(json, serde_json::json!({"dry_run": true, "jobs": 2, "states": {"dead": 2}}));
        assert_eq!(counts().await, before);
        assert!(home.musher(&["retry", "--error", "refused", "--yes"]).status.success());
        let queue = daemon.queue("q").await;
        assert_eq!((queue.dead, queue.ready), (2, 4));
        daemon.stop().await;
    });
}

/// What is stopped in the middle goes on where it was when it is called again: what was changed is not in that state any more.
#[test]
fn a_change_at_a_rate_takes_its_time_and_can_be_called_again_for_the_rest() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["x"; 40]).await;
        assert!(home.musher(&["bury", "1-40", "--yes"]).status.success());
        let args = ["retry", "--state", "dead", "--rate", "20/s", "--yes"];
        let mut first = home.command().args(args).stderr(std::process::Stdio::null()).spawn().unwrap();
        until("some are ready", async || (daemon.queue("q").await.ready > 4).then_some(())).await;
        first.kill().unwrap();
        first.wait().unwrap();
        let left = daemon.queue("q").await.dead;
        assert!(left > 0, "it did not take its time");
        let begun = monotonic();
        assert!(home.musher(&args).status.success());
        assert!(monotonic() - begun > Duration::from_millis(50) * (left as u32 - 2), "{left}");
        assert_eq!((daemon.queue("q").await.ready, daemon.queue("q").await.dead), (40, 0));
        daemon.stop().await;
    });
}

#[test]
fn jobs_are_moved_and_prioritized_and_a_crash_changes_nothing_of_that() {
    block_on(async {
        let home = Home::new("[queues.full]\nbacklog = 1\n");
        let daemon = home.serve().await;
        some(&daemon).await;
        let run = |args: &[&str]| {
            let output = home.musher(args);
            (output.status.code(), String::from_utf8(output.stderr).unwrap())
        };
        let before = daemon.show(3).await.unwrap();
        assert_eq!(run(&["move", "--key", "a", "--to", "slow", "--yes"]).0, Some(0));
        assert_eq!(run(&["priority", "5", "6", "--to", "7"]).0, Some(0));
        daemon.kill().await;
        let daemon = home.serve().await;
        let after = daemon.show(3).await.unwrap();
        assert_eq!(
            (after.queue.as_str(), &after.failures, &after.key),
            ("slow", &before.failures, &before.key)
        );
        assert_eq!(after.kept_until, before.kept_until);
        assert_eq!((daemon.show(5).await.unwrap().priority, daemon.show(6).await.unwrap().priority), (7, 7));
        let (queue, slow) = (daemon.queue("q").await, daemon.queue("slow").await);
        assert_eq!((queue.dead, queue.ready, slow.dead, slow.ready), (2, 1, 2, 1));
        // A claim that waits for the other queue gets it.
        let (job, moved) = tokio::join!(daemon.claim("other", false, 30_000), async {
            // The daemon's own workers have one as well.
            until("the claim waits", async || (daemon.status().await.waiting_claims == 2).then_some(()))
                .await;
            run(&["move", "5", "--to", "other"]).0
        });
        let job = job.unwrap();
        assert_eq!((moved, job.lease.id, job.key.as_deref()), (Some(0), 5, Some("a")));
        let (code, said) = run(&["move", "5", "--to", "q"]);
        assert!(
            code == Some(1) && said.contains("cannot move job 5: it is leased and runs just now"),
            "{said}"
        );
        daemon.submit("full", &["x"]).await;
        let (code, said) = run(&["move", "6", "--to", "full"]);
        assert!(code == Some(1) && said.contains("queue `full` is full"), "{said}");
        assert_eq!(run(&["requeue", "1"]).0, Some(0), "as retry");
        daemon.until_state(1, "ready").await;
        daemon.kill().await;
    });
}
