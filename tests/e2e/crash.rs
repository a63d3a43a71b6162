//! SIGKILL at random moments: whatever was acknowledged is there, whole, once.

use crate::helper::{Home, block_on, until};
use musher::client::Client;
use musher::protocol::{Claim, JobOptions, LeaseRef, Settle, SubmitGroup, Verdict};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// A number that differs from kill to kill; printed, so that a failure can be thought through.
fn moment(n: u64) -> Duration {
    let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(std::process::id());
    Duration::from_millis(20 + mixed.rotate_left(17) % 300)
}

#[test]
fn ten_thousand_jobs_survive_twenty_kills() {
    const JOBS: u64 = 10_000;
    const KILLS: u64 = 20;
    block_on(async {
        let home = Home::new("");
        let ran = home.path("ran");
        std::fs::write(&ran, "").unwrap();
        let script = format!("read n; echo $n >> {}", ran.display());
        home.configure(&format!(
            "[queues.q]\nworkers = 8\nhandler = {{ exec = [\"sh\", \"-c\", {script:?}] }}\nkeep = {{ done = \"no\" }}\n"
        ));
        let count = || {
            let text = std::fs::read_to_string(&ran).unwrap();
            text.lines().map(str::to_owned).collect::<HashSet<_>>().len() as u64
        };
        let mut acknowledged = 0;
        let (mut next, mut kills) = (0, 0);
        loop {
            let daemon = home.serve().await;
            // What was not acknowledged may be there twice in the end, but never missing.
            let submitting = async {
                while next < JOBS {
                    let bodies = (next..next + 50).map(|n| format!("{n}\n").into()).collect();
                    let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
                    if daemon.client.submit(vec![SubmitGroup { options, bodies }]).await.is_err() {
                        return;
                    }
                    next += 50;
                    acknowledged = next;
                }
                std::future::pending().await
            };
            if kills < KILLS {
                let _ = tokio::time::timeout(moment(kills), submitting).await;
                daemon.kill().await;
                kills += 1;
                continue;
            }
            let _ = tokio::time::timeout(Duration::from_secs(5), submitting).await;
            // So many processes take a busy machine its time: it must only go on.
            let mut left = JOBS;
            while left > 0 {
                left = until("more jobs have run", async || {
                    let queue = daemon.queue("q").await;
                    let now = queue.ready + queue.scheduled + queue.leased;
                    (now == 0 || now + 500 <= left).then_some(now)
                })
                .await;
            }
            assert_eq!(daemon.queue("q").await.dead, 0);
            break;
        }
        assert_eq!((acknowledged, count()), (JOBS, JOBS));
    });
}

#[test]
fn a_submit_that_is_killed_is_there_whole_or_not_at_all() {
    block_on(async {
        let home = Home::new("");
        let mut known = 0;
        for round in 0..6u64 {
            let daemon = home.serve().await;
            let bodies = (0..10_000).map(|n| format!("{round}-{n}").into()).collect();
            let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
            let submit = daemon.client.submit(vec![SubmitGroup { options, bodies }]);
            let _ = tokio::time::timeout(Duration::from_millis(3 * round), submit).await;
            daemon.kill().await;
            let daemon = home.serve().await;
            let queues: Vec<musher::protocol::admin::QueueView> =
                daemon.client.ask(musher::protocol::admin::AdminRequest::Queues {}).await.unwrap();
            let ready = queues.iter().find(|queue| queue.queue == "q").map_or(0, |queue| queue.ready);
            assert!(ready == known || ready == known + 10_000, "{ready} jobs, {known} were there before");
            known = ready;
            daemon.stop().await;
        }
    });
}

#[test]
fn bodies_are_whole_through_checkpoints_reused_log_files_and_kills() {
    block_on(async {
        let home = Home::new("");
        let mut bodies: HashMap<u64, Vec<u8>> = HashMap::new();
        let mut settled: HashSet<u64> = HashSet::new();
        for round in 0..8u64 {
            let daemon = home.serve().await;
            let work = churn(&daemon.client, round, &mut bodies, &mut settled);
            let _ = tokio::time::timeout(moment(round + 100), work).await;
            daemon.kill().await;
        }
        let daemon = home.serve().await;
        let mut left: HashMap<u64, Vec<u8>> = bodies;
        left.retain(|id, _| !settled.contains(id));
        loop {
            let claim = Claim { queues: vec!["q".into()], max: 500, bound: true, ..Claim::default() };
            let jobs = daemon.client.claim(claim).await.unwrap();
            if jobs.is_empty() {
                break;
            }
            for job in jobs {
                if let Some(body) = left.remove(&job.lease.id) {
                    assert!(job.body == body, "the body of job {} has changed", job.lease.id);
                }
            }
        }
        assert!(left.is_empty(), "{} acknowledged jobs are missing", left.len());
    });
}

/// Submits bodies of all sizes, and completes some of the jobs.
async fn churn(client: &Client, round: u64, bodies: &mut HashMap<u64, Vec<u8>>, settled: &mut HashSet<u64>) {
    for n in 0.. {
        let size = [10, 200, 3_000, 70_000, 400_000][(n + round) as usize % 5];
        let body = vec![(n % 251) as u8; size];
        let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
        let group = SubmitGroup { options, bodies: vec![body.clone().into()] };
        let Ok(receipts) = client.submit(vec![group]).await else { return };
        let id = receipts.first_id();
        bodies.insert(id, body);
        if n % 3 == 0 {
            let claim = Claim { queues: vec!["q".into()], max: 2, bound: true, ..Claim::default() };
            let Ok(jobs) = client.claim(claim).await else { return };
            let leases: Vec<LeaseRef> = jobs.iter().map(|job| job.lease).collect();
            // Whether they were settled is not known if the answer does not come.
            settled.extend(leases.iter().map(|lease| lease.id));
            let items =
                leases.iter().map(|lease| Settle { lease: *lease, verdict: Verdict::Complete }).collect();
            if client.settle(items).await.is_err() {
                return;
            }
        }
    }
}
