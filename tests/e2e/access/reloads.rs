//! Rules that change hold at once, for what is under way too.

use super::town::{ALICE, BOB, MAILERS, RULES, Said, Town, as_root};
use crate::helper::{hears_sigterm, until};
use std::io::Write;
use std::process::Stdio;

#[test]
fn a_reload_holds_for_connections_that_are_open() {
    as_root(async {
        let town = Town::new(RULES);
        let daemon = town.serve().await;
        let job = daemon.submit("mails", &["first"]).await;
        let mut waits = town
            .command(BOB, &[MAILERS], &["wait", &job.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut claims = town
            .command(BOB, &[MAILERS], &["claim", "misc", "--wait", "10m"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("the claim waits", async || (daemon.status().await.waiting_claims == 1).then_some(())).await;
        until("the wait waits", async || (daemon.status().await.connections == 4).then_some(())).await;
        town.reload(&daemon, "[[access]]\nusers = [64001]\nqueues = ['*']\nmay = ['submit']\n").await;
        until("the claim ends", async || claims.try_wait().unwrap()).await;
        Said::of(claims.wait_with_output().unwrap()).refused(&["may not work on queue `misc`"]);
        until("the wait ends", async || waits.try_wait().unwrap()).await;
        Said::of(waits.wait_with_output().unwrap()).refused(&["job 1 "]);
        assert_eq!(daemon.state(job).await, "ready");
    });
}

/// A wait for a group as well.
#[test]
fn a_reload_ends_waits_for_groups_that_are_not_to_be_seen_any_more() {
    as_root(async {
        let town = Town::new("[[access]]\nusers = [64002]\nqueues = ['*']\nmay = ['read']\n");
        let daemon = town.serve().await;
        assert!(town.home.musher(&["submit", "q", "x", "--group", "roots"]).status.success());
        let mut waits = town
            .command(BOB, &[], &["wait", "--group", "roots"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("the wait waits", async || hears_sigterm(&waits).then_some(())).await;
        town.reload(&daemon, "[[access]]\nusers = [64001]\nqueues = ['*']\nmay = ['submit']\n").await;
        until("the wait ends", async || waits.try_wait().unwrap()).await;
        Said::of(waits.wait_with_output().unwrap()).refused(&["no such group: `roots`"]);
        daemon.stop().await;
    });
}

/// What a connection has submitted before is allowed no longer than the rules say.
#[test]
fn a_reload_holds_for_submits_like_those_before_it() {
    as_root(async {
        let town = Town::new(RULES);
        let daemon = town.serve().await;
        let mut submits = town
            .command(ALICE, &[], &["submit", "mails", "--lines"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = submits.stdin.take().unwrap();
        lines.write_all(b"x\n").unwrap();
        until("a job was taken", async || {
            daemon.status().await.queues.iter().any(|queue| queue.queue == "mails").then_some(())
        })
        .await;
        town.reload(&daemon, "[[access]]\nusers = [64002]\nqueues = ['*']\nmay = ['submit']\n").await;
        lines.write_all(b"x\n").unwrap();
        drop(lines);
        let said = Said::of(submits.wait_with_output().unwrap());
        said.refused(&["may not submit to queue `mails`", "1 job was taken"]);
    });
}
