//! What was listed is a condition of the change: a job that is otherwise by then is left alone.

use crate::helper::{Daemon, Home, block_on};
use musher::protocol::Verdict;
use musher::protocol::admin::{AdminRequest, EditView};

const JOBS: u64 = 3_000;

async fn bury(daemon: &Daemon, ids: impl Iterator<Item = u64>) {
    let request = AdminRequest::Edit {
        edit: "bury".into(),
        ids: ids.collect(),
        state: None,
        queue: None,
        to: None,
        priority: None,
    };
    let views: Vec<EditView> = daemon.client.ask(request).await.unwrap();
    assert!(views.iter().all(|view| view.error.is_none() && !view.moved_on));
}

#[test]
fn an_edit_leaves_alone_what_has_moved_on_since_it_was_listed() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["a", "b", "c"]).await;
        daemon.submit("other", &["d"]).await;
        bury(&daemon, [1, 2, 4].into_iter()).await;
        let request = AdminRequest::Edit {
            edit: "delete".into(),
            ids: vec![1, 2, 3, 4, 99],
            state: Some("dead".into()),
            queue: Some("q".into()),
            to: None,
            priority: None,
        };
        let kick = AdminRequest::Edit {
            edit: "kick".into(),
            ids: vec![2],
            state: None,
            queue: None,
            to: None,
            priority: None,
        };
        daemon.client.ask::<Vec<EditView>>(kick).await.unwrap();
        let views: Vec<EditView> = daemon.client.ask(request).await.unwrap();
        let moved: Vec<_> = views.iter().map(|view| (view.moved_on, view.error.is_some())).collect();
        let (done, moved_on) = ((false, false), (true, false));
        assert_eq!(moved, [done, moved_on, moved_on, moved_on, moved_on]);
        let states = [daemon.state(1).await, daemon.state(2).await, daemon.state(4).await];
        assert_eq!(states, ["gone", "ready", "dead"]);
        daemon.stop().await;
    });
}

/// Thousands that one person had made ready were deleted by another who had listed them as dead.
#[test]
fn a_kick_beside_a_delete_of_the_dead_loses_nothing() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &vec!["x"; JOBS as usize]).await;
        bury(&daemon, 1..=JOBS).await;
        let args = ["delete", "--state", "dead", "--queue", "q", "--yes"];
        let delete = home.command().args(args).stderr(std::process::Stdio::piped()).spawn().unwrap();
        let kicked = home.musher(&["kick", "--state", "dead", "--queue", "q", "--yes"]);
        let deleted = delete.wait_with_output().unwrap();
        let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
        let count = |text: &str| -> u64 {
            let words: Vec<&str> = text.split_whitespace().collect();
            words
                .windows(2)
                .find(|pair| pair[1].starts_with("done"))
                .map_or(0, |pair| pair[0].replace(',', "").parse().unwrap())
        };
        let (kicks, deletes) = (said(&kicked), said(&deleted));
        let queue = daemon.queue("q").await;
        assert_eq!(queue.ready, count(&kicks), "{kicks} {deletes}");
        assert_eq!((queue.ready + count(&deletes), queue.dead), (JOBS, 0), "{kicks} {deletes}");
        daemon.stop().await;
    });
}

/// A verdict between the list and the change is a move as well.
#[test]
fn a_job_that_ended_meanwhile_has_moved_on() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["a"]).await;
        let job = daemon.claim("q", false, 0).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        let ready = Some("ready".to_owned());
        let request = AdminRequest::Edit {
            edit: "delete".into(),
            ids: vec![1],
            state: ready,
            queue: None,
            to: None,
            priority: None,
        };
        let views: Vec<EditView> = daemon.client.ask(request).await.unwrap();
        assert!(views[0].moved_on && views[0].error.is_none(), "{views:?}");
        daemon.stop().await;
    });
}

#[test]
fn changes_say_in_json_what_became_of_each_job() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["x"]).await;
        let objects = |args: &[&str]| -> Vec<serde_json::Value> {
            let printed = String::from_utf8(home.musher(args).stdout).unwrap();
            printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        assert_eq!(objects(&["pause", "q", "--json"])[0]["paused"], true);
        assert_eq!(objects(&["resume", "q", "--json"])[0]["paused"], false);
        let both = objects(&["cancel", &id.to_string(), "99", "--json"]);
        assert_eq!((&both[0]["id"], &both[0]["done"]), (&id.into(), &true.into()));
        assert!(both[1]["done"] == false && both[1]["error"].as_str().unwrap().contains("99"), "{both:?}");
        daemon.submit("q", &["y"]).await;
        assert_eq!(objects(&["purge", "q", "--yes", "--json"])[0]["deleted"], 1);
        assert_eq!(objects(&["queue", "delete", "q", "--json"])[0]["deleted"], true);
        assert_eq!(objects(&["drain", "--json"])[0]["draining"], true);
        assert_eq!(objects(&["undrain", "--json"])[0]["draining"], false);
        daemon.stop().await;
    });
}
