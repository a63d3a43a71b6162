//! `musher wait --group`: groups are waited for as jobs are, whatever dies, and however large they are.

use crate::helper::{Daemon, Home, block_on, hears_sigterm, until};
use musher::client::ClientError;
use musher::protocol::admin::{AdminRequest, GroupEndView, GroupView, PurgeView, WaitForGroups};
use musher::protocol::{Claim, ErrorCode, JobOptions, LeaseRef, Settle, SubmitGroup, Ties, Verdict};
use std::process::{Child, Command, Stdio};

const LARGE: usize = 10_000;

async fn members(daemon: &Daemon, queue: &str, group: &str, count: usize) {
    let ties = Some(Ties { group: Some(group.into()), ..Ties::default() });
    let options = JobOptions { queue: queue.into(), ties, ..JobOptions::default() };
    daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["x".into(); count] }]).await.unwrap();
}

async fn leases(daemon: &Daemon, queue: &str, count: usize) -> Vec<LeaseRef> {
    let claim = Claim { queues: vec![queue.into()], max: count as u32, ..Claim::default() };
    let jobs = daemon.client.claim(claim).await.unwrap();
    assert_eq!(jobs.len(), count);
    jobs.iter().map(|job| job.lease).collect()
}

async fn seal(daemon: &Daemon, group: &str) {
    daemon.client.done(AdminRequest::GroupSeal { name: group.into() }).await.unwrap();
}

fn dead() -> Verdict {
    Verdict::FailDead { error: "no".into(), exit: None }
}

fn text(home: &Home, args: &[&str]) -> (i32, String, String) {
    let output = home.musher(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn start(home: &Home, args: &[&str]) -> Child {
    let mut command: Command = home.command();
    command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn ended(mut child: Child) -> (i32, String, String) {
    until("the wait ends", async || child.try_wait().unwrap()).await;
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// Until the verb waits, or is about to.
async fn until_it_waits(child: &Child) {
    until("it waits", async || hears_sigterm(child).then_some(())).await;
}

#[test]
fn a_group_is_waited_for_as_a_job_is() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        members(&daemon, "q", "album", 3).await;
        let (code, _, told) = text(&home, &["wait", "--group", "album", "--timeout", "10ms"]);
        let open = "musher: group album is still open after 10ms: it takes jobs until `musher group seal album`, and has 3 left of 3 jobs\n";
        assert_eq!((code, &*told), (75, open));
        seal(&daemon, "album").await;
        let (code, _, told) = text(&home, &["wait", "--group", "album", "--timeout", "0s"]);
        assert_eq!((code, &*told), (75, "musher: group album has not ended after 0s: 3 left of 3 jobs\n"));
        let unknown = text(&home, &["wait", "--group", "albun"]);
        assert!(unknown.0 == 1 && unknown.2.contains("no such group: `albun`"), "{unknown:?}");
        assert_eq!(text(&home, &["wait", "--group", "two words"]).0, 2);
        assert_eq!(text(&home, &["wait", "--group", "album", "1", "--result"]).0, 2);
        assert_eq!(text(&home, &["wait"]).0, 2);

        // Beside a job, and after it has ended.
        let waits = start(&home, &["wait", "1", "--group", "album", "--json"]);
        until_it_waits(&waits).await;
        for lease in leases(&daemon, "q", 3).await {
            assert!(daemon.settle(lease, Verdict::Complete).await);
        }
        let (code, json, told) = ended(waits).await;
        let group = "{\"group\":\"album\",\"state\":\"done\",\"total\":3,\"live\":0,\"done\":3,\"dead\":0,\"cancelled\":0,\"expired\":0,\"gone\":0}";
        assert_eq!(
            (code, &*json, &*told),
            (0, &*format!("{{\"id\":1,\"state\":\"done\",\"exit_status\":0}}\n{group}\n"), "")
        );
        assert_eq!(text(&home, &["wait", "--group", "album"]), (0, String::new(), String::new()));

        // The first of several.
        members(&daemon, "q", "open", 1).await;
        let first = text(&home, &["wait", "4", "--group", "open", "--group", "album", "--any"]);
        assert_eq!(first, (0, "album\n".into(), String::new()));
        let none = text(&home, &["wait", "4", "--group", "open", "--any", "--timeout", "1ms"]);
        assert!(
            none.0 == 75 && none.2.contains("job 4 is still ready") && none.2.contains("group open"),
            "{none:?}"
        );

        // What else may become of one.
        members(&daemon, "r", "bad", 4).await;
        let leases = leases(&daemon, "r", 2).await;
        assert!(daemon.settle(leases[0], dead()).await);
        assert_eq!(text(&home, &["cancel", "6", "7"]).0, 0);
        seal(&daemon, "bad").await;
        assert_eq!(text(&home, &["wait", "--group", "bad", "--timeout", "0s"]).0, 75, "not its first error");
        assert_eq!(text(&home, &["delete", "8"]).0, 0);
        let (code, _, told) = text(&home, &["wait", "--group", "bad"]);
        let bad = "musher: group bad has failed: 1 dead, 2 cancelled, 1 deleted before the end of 4 jobs\n";
        assert_eq!((code, &*told), (1, bad));
        members(&daemon, "s", "lost", 1).await;
        let lost = WaitForGroups { groups: vec!["lost".into()], ..WaitForGroups::default() };
        let deleted = async {
            let verb = AdminRequest::Purge { queue: "s".into() };
            daemon.client.ask::<PurgeView>(verb).await.unwrap();
            daemon.client.done(AdminRequest::GroupDelete { name: "lost".into() }).await.unwrap();
        };
        let (ends, ()) = tokio::join!(daemon.client.wait_for_groups(lost), deleted);
        let end = ends.unwrap().pop().unwrap();
        assert_eq!((&*end.state, end.counts.gone, end.counts.total), ("gone", 1, 1));
        members(&daemon, "s", "thin", 1).await;
        assert_eq!(text(&home, &["delete", "10"]).0, 0);
        seal(&daemon, "thin").await;
        let (code, _, told) = text(&home, &["wait", "--group", "thin"]);
        assert_eq!((code, &*told), (4, "musher: group thin: 1 deleted before the end of 1 job\n"));
        daemon.stop().await;
    });
}

#[test]
fn the_first_job_that_fails_ends_the_wait_and_the_rest_is_cancelled() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        members(&daemon, "q", "album", 1_500).await;
        members(&daemon, "r", "other", 2).await;
        let alone = daemon.submit("q", &["alone"]).await;
        let waits = start(
            &home,
            &["wait", "--first-error", "--group", "album", "--group", "other", &alone.to_string(), "--json"],
        );
        until_it_waits(&waits).await;
        let leases = leases(&daemon, "q", 2).await;
        assert!(daemon.settle(leases[0], Verdict::Complete).await);
        assert!(daemon.settle(leases[1], dead()).await);
        let (code, json, told) = ended(waits).await;
        assert_eq!(code, 1, "{told}");
        let end: GroupEndView = serde_json::from_str(json.trim()).unwrap();
        assert_eq!(
            (&*end.group, &*end.state, end.counts.done, end.counts.dead, end.counts.live),
            ("album", "failed", 1, 1, 1_498)
        );
        let wanted =
            "musher: 1,501 other jobs were cancelled\nmusher: group album has failed: 1 dead of 1,500 jobs\n";
        assert_eq!(told, wanted);
        let group = async |name: &str| -> GroupView {
            daemon.client.ask(AdminRequest::GroupShow { name: name.into() }).await.unwrap()
        };
        let album = group("album").await;
        assert_eq!(
            (album.counts.live, album.counts.done, album.counts.dead, album.counts.cancelled),
            (0, 1, 1, 1_498)
        );
        assert_eq!(group("other").await.counts.cancelled, 2);
        assert_ne!(daemon.state(alone).await, "ready");
        seal(&daemon, "album").await;
        let again = text(&home, &["wait", "--first-error", "--group", "album"]);
        assert_eq!((again.0, again.2.lines().count()), (1, 1), "nothing is left to cancel: {again:?}");
        daemon.stop().await;
    });
}

/// Nobody looks at its jobs: each waiter costs one answer, at the end.
#[test]
fn a_large_group_is_waited_for_by_many() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        members(&daemon, "q", "large", LARGE).await;
        seal(&daemon, "large").await;
        let mut waits = tokio::task::JoinSet::new();
        for nth in 0..1_000 {
            let (client, first_error) = (daemon.client.clone(), nth % 2 == 0);
            waits.spawn(async move {
                let wait = WaitForGroups { groups: vec!["large".into()], first_error, timeout_ms: None };
                client.wait_for_groups(wait).await.unwrap()
            });
        }
        let leases = leases(&daemon, "q", LARGE).await;
        for part in leases.chunks(500) {
            assert!(waits.try_join_next().is_none(), "it has not ended");
            let settles = part.iter().map(|lease| Settle { lease: *lease, verdict: Verdict::Complete });
            assert!(daemon.client.settle(settles.collect()).await.unwrap().iter().all(Result::is_ok));
        }
        let mut told = 0;
        while let Some(ends) = waits.join_next().await {
            let ends = ends.unwrap();
            assert_eq!((&*ends[0].state, ends[0].counts.done, ends.len()), ("done", LARGE as u64, 1));
            told += 1;
        }
        assert_eq!(told, 1_000);
        let refused = daemon.client.wait_for_groups(WaitForGroups {
            groups: vec!["large".into(), "none".into()],
            ..WaitForGroups::default()
        });
        let refused = refused.await.unwrap_err();
        assert!(matches!(refused, ClientError::Refused(fault) if fault.code == ErrorCode::NotFound));
        daemon.stop().await;
    });
}
