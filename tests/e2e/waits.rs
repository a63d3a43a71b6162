//! Waiting for the end of jobs that may have ended already.

use crate::helper::{Home, block_on};
use musher::client::Receipts;
use musher::protocol::admin::{AdminRequest, EndView};
use musher::protocol::{Claim, JobOptions, Settle, SubmitGroup, Verdict};

const JOBS: usize = 1_000;

fn group(queue: &str, bodies: usize) -> Vec<SubmitGroup> {
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    vec![SubmitGroup { options, bodies: vec!["x".into(); bodies] }]
}

/// Some were said to be gone: a worker had ended them between the submit and the wait.
#[test]
fn a_submit_that_waits_misses_no_end_however_quick_the_worker_is() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let producer = async {
            for round in 0..JOBS as u64 {
                let pending = daemon.client.submit_and_wait(group("q", 1), None).await.unwrap();
                assert_eq!(pending.receipts, Receipts::New { first: round + 1, count: 1 });
                let ends = pending.ends().await.unwrap();
                assert_eq!((ends[0].id, ends[0].state.as_str()), (round + 1, "done"));
                assert_eq!(ends[0].exit_status, Some(0));
            }
        };
        let worker = async {
            let client = musher::client::Client::connect(home.socket()).await.unwrap();
            let asked = Claim {
                queues: vec!["q".into()],
                max: 10,
                wait_ms: u64::MAX,
                bound: true,
                ..Claim::default()
            };
            loop {
                let jobs = client.claim(asked.clone()).await.unwrap();
                let settle = |job: musher::protocol::ClaimedJob| Settle {
                    lease: job.lease,
                    verdict: Verdict::Complete,
                };
                client.settle(jobs.into_iter().map(settle).collect()).await.unwrap();
            }
        };
        tokio::select! {
            () = producer => {}
            () = worker => {}
        }
        daemon.stop().await;
    });
}

#[test]
fn a_submit_that_waits_is_answered_when_its_time_is_over() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let pending = daemon.client.submit_and_wait(group("q", 2), Some(50)).await.unwrap();
        let ends = pending.ends().await.unwrap();
        assert_eq!(ends.iter().map(|end| end.state.as_str()).collect::<Vec<_>>(), ["ready", "ready"]);
        let refused = daemon.client.submit_and_wait(group("no queue", 1), None).await;
        assert!(refused.is_err());
        daemon.stop().await;
    });
}

/// `id=$(musher submit …); wait $id` was told that the job is gone whenever it had ended.
#[test]
fn a_job_that_has_ended_lately_is_known_how() {
    block_on(async {
        let home = Home::new("[queues.q]\nattempts = 1\nkeep = { done = \"no\", dead = \"no\" }\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["done", "dead", "cancelled", "waits"]).await;
        for verdict in [Verdict::Complete, Verdict::FailDead { error: "it broke".into(), exit: None }] {
            let job = daemon.claim("q", false, 0).await.unwrap();
            assert!(daemon.settle(job.lease, verdict).await);
        }
        assert!(home.musher(&["cancel", "3"]).status.success());
        assert!(home.musher(&["delete", "4"]).status.success());
        let wait = || AdminRequest::Wait { ids: vec![1, 2, 3, 4], timeout_ms: None };
        let ends: Vec<EndView> = daemon.client.ask(wait()).await.unwrap();
        let said: Vec<_> = ends.iter().map(|end| (end.state.as_str(), end.error.as_deref())).collect();
        let known = [("done", None), ("dead", Some("it broke")), ("cancelled", None), ("gone", None)];
        assert_eq!(said, known);
        assert_eq!(ends[0].exit_status, Some(0));
        assert_eq!(home.musher(&["wait", "1"]).status.code(), Some(0));

        // As long as the log has them, a daemon that was killed knows them as well.
        daemon.kill().await;
        let daemon = home.serve().await;
        let ends: Vec<EndView> = daemon.client.ask(wait()).await.unwrap();
        assert!(ends.iter().all(|end| end.state == "gone" || known.iter().any(|known| known.0 == end.state)));
        daemon.stop().await;
    });
}
