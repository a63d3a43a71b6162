//! Signals over the real socket, across the daemon's death, and as commands see them.

use crate::helper::{Daemon, Home, block_on, until};
use musher::client::ClientError;
use musher::client::worker::{Context, Job, Outcome, Worker};
use musher::protocol::{ErrorCode, JobOptions, LeaseRef, SubmitGroup, Verdict};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const KEPT: &str = "[queues.q]\nkeep.done = \"1h\"\nlease = \"1m\"\n";

fn wait_for(signal: &str, timeout_ms: u64) -> Verdict {
    Verdict::Await { signal: signal.into(), timeout_ms }
}

async fn refused(daemon: &Daemon, id: u64, name: &str, body: Vec<u8>) -> ErrorCode {
    match daemon.client.signal(id, name, body.into()).await {
        Err(ClientError::Refused(fault)) => fault.code,
        other => panic!("{other:?}"),
    }
}

/// Half of the signals come first, half when they are waited for, and the daemon is killed at every turn: each job gets what was
/// acknowledged for it.
#[test]
fn no_signal_is_lost_whatever_dies_and_whichever_comes_first() {
    const JOBS: u64 = 40;
    block_on(async {
        let home = Home::new(KEPT);
        let mut daemon = home.serve().await;
        let bodies: Vec<String> = (1..=JOBS).map(|n| format!("job {n}")).collect();
        daemon.submit("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let says = |id: u64| {
            let len = if id.is_multiple_of(10) { 16_000 } else { 9 };
            format!("yes to {id};").into_bytes().into_iter().cycle().take(len).collect::<Vec<u8>>()
        };
        let mut jobs = Vec::new();
        for _ in 1..=JOBS {
            jobs.push(daemon.claim("q", false, 5_000).await.unwrap());
        }
        for job in jobs {
            let id = job.lease.id;
            assert_eq!(job.signal, None);
            if id.is_multiple_of(2) {
                daemon.client.signal(id, "go", says(id).into()).await.unwrap();
                daemon.client.signal(id, "other", "no".into()).await.unwrap();
            }
            if id.is_multiple_of(8) {
                daemon.kill().await;
                daemon = home.serve().await;
            }
            assert!(daemon.settle(job.lease, wait_for("go", 3_600_000)).await);
        }
        for id in (1..=JOBS).filter(|id| !id.is_multiple_of(2)) {
            assert_eq!(daemon.show(id).await.unwrap().until_signal.as_deref(), Some("go"));
            daemon.client.signal(id, "go", says(id).into()).await.unwrap();
            if id % 8 == 7 {
                daemon.kill().await;
                daemon = home.serve().await;
            }
        }
        let (mut found, mut others) = (BTreeMap::new(), 0);
        while let Some(job) = daemon.claim("q", false, 0).await {
            let (name, body) = job.signal.expect("it came");
            let id = job.lease.id;
            if name == "other" {
                others += 1;
                assert_eq!((&*body, job.lease.attempt), (&b"no"[..], 3));
            } else {
                assert_eq!((name.as_str(), job.lease.attempt), ("go", 2));
                assert_eq!(found.insert(id, body.to_vec()), None, "job {id} gets it once");
            }
            // This one came before as well, for half of the jobs.
            let then = match id.is_multiple_of(2) && name == "go" {
                true => wait_for("other", 3_600_000),
                false => Verdict::Complete,
            };
            assert!(daemon.settle(job.lease, then).await);
        }
        assert_eq!(others, JOBS / 2);
        assert_eq!(found, (1..=JOBS).map(|id| (id, says(id))).collect());
        daemon.stop().await;
        let verified = home.command().arg("verify").arg("--data").arg(home.path("data")).output().unwrap();
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    });
}

#[test]
fn what_is_wrong_with_a_signal_is_said_and_changes_nothing() {
    block_on(async {
        let home = Home::new(KEPT);
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["x"]).await;
        assert_eq!(refused(&daemon, 99, "go", vec![]).await, ErrorCode::NotFound);
        assert_eq!(refused(&daemon, id, "not a name", vec![]).await, ErrorCode::Invalid);
        assert_eq!(refused(&daemon, id, &"x".repeat(33), vec![]).await, ErrorCode::Invalid);
        assert_eq!(refused(&daemon, id, "go", vec![0; (16 << 10) + 1]).await, ErrorCode::TooLarge);
        for nth in 0..8 {
            daemon.client.signal(id, format!("s{nth}"), "x".into()).await.unwrap();
        }
        assert_eq!(refused(&daemon, id, "go", vec![]).await, ErrorCode::Busy);
        let shown = daemon.show(id).await.unwrap();
        assert_eq!((shown.signals_kept.len(), shown.until_signal, shown.signal), (8, None, None));
        let job = daemon.claim("q", false, 5_000).await.unwrap();
        assert!(!daemon.settle(LeaseRef { attempt: 7, ..job.lease }, wait_for("go", 1)).await);
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        assert_eq!(refused(&daemon, id, "go", vec![]).await, ErrorCode::WrongState);
        let output = home.musher(&["signal", "1", "go"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains("job 1 is done: nobody waits for its signals"),
            "{said}"
        );
        let output = home.musher(&["release", "1@1", "--until-signal", "go"]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("--timeout"), "a wait has an end");
        daemon.stop().await;
    });
}

/// A command gives its own job back by the lease that it is told of, and finds the signal when it runs again.
#[test]
fn a_command_waits_for_a_signal_and_reads_it() {
    block_on(async {
        let home = Home::new("");
        let said = home.path("said");
        let script = home.path("script");
        let musher = env!("CARGO_BIN_EXE_musher");
        fs::write(
            &script,
            format!(
                "#!/bin/sh\nif [ -z \"$MUSHER_SIGNAL\" ]; then\n  exec {musher} release \"$MUSHER_LEASE\" --until-signal go --timeout 1h\nfi\n\
                 echo \"$MUSHER_SIGNAL $(cat \"$MUSHER_SIGNAL_FILE\")\" > {said}.new && mv {said}.new {said}\n",
                said = said.display()
            ),
        )
        .unwrap();
        let daemon = home.serve().await;
        let script = script.display().to_string();
        let output = home.musher(&["run", "--", "sh", &script]);
        assert!(output.status.success(), "{output:?}");
        until("it waits", async || {
            daemon.show(1).await.is_some_and(|job| job.until_signal.is_some()).then_some(())
        })
        .await;
        assert!(home.musher(&["signal", "1", "go", "at once"]).status.success());
        until("it has read it", async || said.exists().then_some(())).await;
        assert_eq!(fs::read_to_string(&said).unwrap(), "go at once\n");
        daemon.stop().await;
    });
}

#[test]
fn a_handler_of_a_program_waits_for_a_signal() {
    block_on(async {
        let home = Home::new(KEPT);
        let daemon = home.serve().await;
        let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
        let bodies = vec!["\"x\"".into()];
        daemon.client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap();
        let handler = async |_: Job<String>, cx: Context| match cx.signal() {
            None => Outcome::until_signal("go", Duration::from_secs(3_600)),
            Some((name, says)) => Outcome::dead(format!("{name} {}", String::from_utf8_lossy(says))),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let worker = Worker::new(daemon.socket()).handle("q", handler).run_until(async {
            let _ = stopped.await;
        });
        let play = async {
            daemon.until_state(1, "scheduled").await;
            daemon.client.signal(1, "go", "now".into()).await.unwrap();
            daemon.until_state(1, "dead").await;
            assert_eq!(daemon.show(1).await.unwrap().failures[0].error, "go now");
            stop.send(()).unwrap();
        };
        let (ended, ()) = tokio::join!(worker, play);
        ended.unwrap();
        daemon.stop().await;
    });
}
