//! Changes of many jobs at once, chosen by what they are: the filters, a count first, and not faster than asked.

use crate::helper::{Daemon, Home, block_on, until};
use musher::clock::monotonic;
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
        let before = daemon.queue("q").await;
        let said = home.musher(&["cancel", "--key", "a", "--dry-run"]);
        let text = "cancel would mean 3 jobs: 2 dead, 1 ready; nothing was changed\n";
        assert_eq!(String::from_utf8(said.stdout).unwrap(), text);
        let said = home.musher(&["retry", "--error", "refused", "--dry-run", "--json"]);
        let json: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(json, serde_json::json!({"dry_run": true, "jobs": 2, "states": {"dead": 2}}));
        assert_eq!(daemon.queue("q").await, before);
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
