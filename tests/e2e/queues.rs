//! A queue is created with its first job, also by a typing error; here is how such queues go away again.

use super::helper::{Home, block_on, until};
use musher::protocol::admin::{AdminRequest, QueueView};
use std::process::Output;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

async fn names(daemon: &super::helper::Daemon) -> Vec<String> {
    let queues: Vec<QueueView> = daemon.client.ask(AdminRequest::Queues {}).await.unwrap();
    queues.into_iter().map(|queue| queue.queue).collect()
}

#[test]
fn names_that_nobody_uses_make_room_for_others_and_stay_gone() {
    block_on(async {
        let home = Home::new("");
        home.configure("queues = 5\n[queues.configured]\n");
        let daemon = home.serve().await;
        for n in 0..20 {
            let queue = format!("typo-{n}");
            let id = daemon.submit(&queue, &["x"]).await;
            assert!(home.musher(&["delete", &id.to_string()]).status.success());
        }
        daemon.submit("kept", &["x"]).await;
        let known = names(&daemon).await;
        assert!(known.len() <= 6 && known.contains(&"kept".into()), "{known:?}");
        // A crash brings none of them back.
        daemon.kill().await;
        let daemon = home.serve().await;
        let mut after = names(&daemon).await;
        assert!(after.len() <= 6 && after.contains(&"kept".into()), "{after:?}");
        // Those that have jobs are never given up.
        for n in 0..4 {
            daemon.submit(&format!("full-{n}"), &["x"]).await;
        }
        let output = home.musher(&["submit", "one-more", "x"]);
        assert!(!output.status.success() && said(&output).contains("limits.queues"), "{}", said(&output));
        after = names(&daemon).await;
        assert!(
            ["full-0", "full-1", "full-2", "full-3", "kept"].iter().all(|q| after.contains(&(*q).into()))
        );
        daemon.stop().await;
    });
}

#[test]
fn a_queue_is_deleted_by_hand_when_it_is_empty() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let id = daemon.submit("mials", &["x"]).await;
        let output = home.musher(&["queue", "delete", "mials"]);
        assert!(output.status.code() == Some(1) && said(&output).contains("1 job"), "{}", said(&output));
        assert!(home.musher(&["delete", &id.to_string()]).status.success());
        assert!(home.musher(&["queue", "delete", "mials"]).status.success());
        assert!(!names(&daemon).await.contains(&"mials".into()));
        let output = home.musher(&["queue", "delete", "mials"]);
        assert!(output.status.code() == Some(1) && said(&output).contains("mials"), "{}", said(&output));
        daemon.stop().await;
    });
}

#[test]
fn a_queue_that_nobody_knows_is_not_paused_into_being() {
    block_on(async {
        let home = Home::new("[queues.configured]\n");
        let daemon = home.serve().await;
        for verb in [&["pause", "nosuch"][..], &["resume", "nosuch"], &["purge", "nosuch", "--yes"]] {
            let output = home.musher(verb);
            assert!(output.status.code() == Some(1) && said(&output).contains("nosuch"), "{}", said(&output));
        }
        assert!(!names(&daemon).await.contains(&"nosuch".into()));
        assert!(home.musher(&["pause", "configured"]).status.success());
        daemon.stop().await;
    });
}

#[test]
fn a_pause_with_an_end_outlives_a_kill_and_ends_by_itself() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["x"]).await;
        let output = home.musher(&["pause", "q", "--for", "1h"]);
        assert!(said(&output).contains("queue q is paused for 1h"), "{}", said(&output));
        let until = daemon.queue("q").await.paused_until.unwrap();
        daemon.kill().await;

        let daemon = home.serve().await;
        let still = daemon.queue("q").await.paused_until.unwrap();
        assert!(still.abs_diff(until) < 60_000, "{still} instead of {until}");
        assert!(daemon.claim("q", true, 0).await.is_none());
        let explained = printed(&home.musher(&["explain", &id.to_string()]));
        assert!(explained.contains("queue `q` is paused until 20"), "{explained}");
        let listed = printed(&home.musher(&["queues"]));
        assert!(listed.contains("q (paused; resumes in "), "{listed}");

        // Another one takes its place, and so does one without an end.
        assert!(home.musher(&["pause", "q"]).status.success());
        assert_eq!((daemon.queue("q").await.paused, daemon.queue("q").await.paused_until), (true, None));
        let output = home.musher(&["pause", "q", "--for", "300ms", "--json"]);
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told, serde_json::json!({"queue": "q", "paused": true, "for_ms": 300}));
        assert!(daemon.claim("q", true, 20_000).await.is_some(), "the claim waits until it is over");
        assert!(!daemon.queue("q").await.paused);

        for wrong in ["soon", "2 fortnights", ""] {
            let output = home.musher(&["pause", "q", "--for", wrong]);
            assert!(output.status.code() == Some(2) && said(&output).contains("--for"), "{}", said(&output));
        }
        daemon.stop().await;
    });
}

#[test]
fn an_idle_queue_is_forgotten_by_itself() {
    block_on(async {
        let home = Home::new("");
        home.configure("queue_idle = \"1s\"\n");
        let daemon = home.serve().await;
        let id = daemon.submit("once", &["x"]).await;
        assert!(home.musher(&["delete", &id.to_string()]).status.success());
        until("it is forgotten", async || (!names(&daemon).await.contains(&"once".into())).then_some(()))
            .await;
        daemon.stop().await;
    });
}

#[test]
fn a_queue_tells_how_long_its_oldest_ready_job_is_ready() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let oldest = async || daemon.queue("q").await.oldest_ready_ms;
        daemon.submit("always", &["x"]).await;
        let buried = daemon.submit("q", &["x"]).await;
        assert!(home.musher(&["bury", &buried.to_string()]).status.success());
        assert_eq!(oldest().await, None, "none is ready");
        let always = async || daemon.queue("always").await.oldest_ready_ms.filter(|age| *age >= 1_500);
        until("time has passed since its submit", always).await;
        assert!(home.musher(&["retry", &buried.to_string()]).status.success());
        // Not from its submit.
        let (back, always) = (oldest().await.unwrap(), always().await.unwrap());
        assert!(back + 1_500 <= always, "{back} ms, {always} ms");
        until("it grows", async || oldest().await.filter(|age| *age > 100)).await;
        let output = home.musher(&["queues", "--json"]);
        assert!(String::from_utf8_lossy(&output.stdout).contains("\"oldest_ready_ms\":"));
        daemon.claim("q", false, 0).await.unwrap();
        assert_eq!(oldest().await, None, "it is leased");
        daemon.stop().await;
    });
}

#[test]
fn a_queue_of_an_older_daemon_is_read() {
    let then = r#"{"queue":"q","paused":false,"workers":0,"waiting_claims":0,"ready":1,"scheduled":0,"leased":0,"done":0,"dead":0,"cancelled":0,
        "expired":0,"totals":{"submitted":1,"claimed":0,"completed":0,"failed":0,"died":0,"cancelled":0,"expired":0}}"#;
    let view: QueueView = serde_json::from_str(then).unwrap();
    assert_eq!((view.ready, view.oldest_ready_ms), (1, None));
}
