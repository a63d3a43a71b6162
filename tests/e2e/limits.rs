//! Limits of queues, with real time and real deaths: how many at a time, and how fast.

use crate::helper::{Daemon, Home, block_on, until};
use musher::clock::monotonic;
use musher::protocol::{Claim, ClaimedJob, Verdict};
use std::time::Duration;

async fn claim_all(daemon: &Daemon, bound: bool) -> Vec<ClaimedJob> {
    let mut jobs = Vec::new();
    while let Some(job) = daemon.claim("q", bound, 0).await {
        jobs.push(job);
    }
    jobs
}

/// A permit that its worker takes to the grave is what queues with counted semaphores are known for. Here nothing is
/// counted but the leases themselves.
#[test]
fn a_worker_or_daemon_that_dies_takes_no_place_with_it() {
    block_on(async {
        let home = Home::new("[queues.q]\nconcurrency = 3\n");
        let daemon = home.serve().await;
        let first = daemon.submit("q", &["a", "b", "c", "d", "e"]).await;
        assert_eq!(claim_all(&daemon, true).await.len(), 3);
        let explained = home.musher(&["explain", &(first + 3).to_string()]);
        let words = String::from_utf8_lossy(&explained.stdout).into_owned();
        assert!(
            words.contains("at its limit of jobs that run at a time: 3 of 3 (queues.q.concurrency)"),
            "{words}"
        );
        daemon.kill().await;

        let daemon = home.serve().await;
        let jobs = claim_all(&daemon, false).await;
        assert_eq!(jobs.len(), 3, "the connection that had them is gone");
        daemon.kill().await;

        let daemon = home.serve().await;
        assert_eq!(claim_all(&daemon, false).await.len(), 0, "these leases live on, with their places");
        // Whoever waits gets the place of one that ends, at once and not by a timeout.
        let (waits, settles) = (daemon.claim("q", true, 60_000), async {
            until("it waits", async || (daemon.queue("q").await.waiting_claims > 0).then_some(())).await;
            assert!(daemon.settle(jobs[0].lease, Verdict::Complete).await);
        });
        let (got, ()) = tokio::join!(waits, settles);
        assert!(got.is_some());
        daemon.stop().await;
    });
}

#[test]
fn a_rate_holds_whatever_dies() {
    block_on(async {
        let home = Home::new("[queues.q]\nrate = \"10/s\"\n");
        let mut daemon = home.serve().await;
        daemon.submit("q", &["job"; 20]).await;
        let begun = monotonic();
        for given in 1..=12 {
            assert!(daemon.claim("q", false, 60_000).await.is_some());
            if given % 4 == 0 {
                daemon.kill().await;
                daemon = home.serve().await;
            }
        }
        let took = monotonic() - begun;
        assert!(took >= Duration::from_millis(1_080), "12 leases at 10/s within {took:?}");
        daemon.stop().await;
    });
}

#[test]
fn a_reload_changes_limits_for_claims_that_wait() {
    block_on(async {
        let home = Home::new("[queues.q]\nrate = \"1/d\"\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["a", "b"]).await;
        assert!(daemon.claim("q", true, 0).await.is_some());
        let (waits, reload) = (daemon.claim("q", true, 60_000), async {
            until("it waits", async || (daemon.queue("q").await.waiting_claims > 0).then_some(())).await;
            home.configure("[queues.q]\nconcurrency = 2\n");
            daemon.signal(rustix::process::Signal::HUP);
        });
        let (got, ()) = tokio::join!(waits, reload);
        assert!(got.is_some());
        daemon.stop().await;
    });
}

/// What a claim for several queues gets of each is a matter of their weights, over kills as well: the turn is a count that is durable.
#[test]
fn weights_share_out_a_claim() {
    block_on(async {
        let home = Home::new("[queues.often]\nweight = 3\n");
        let mut daemon = home.serve().await;
        daemon.submit("often", &["job"; 100]).await;
        daemon.submit("seldom", &["job"; 100]).await;
        let mut often = 0;
        for _ in 0..5 {
            let queues = vec!["seldom".to_owned(), "often".to_owned()];
            let claim = Claim { queues, max: 16, ..Claim::default() };
            let jobs = daemon.client.claim(claim).await.unwrap();
            assert_eq!(jobs.len(), 16);
            often += jobs.iter().filter(|job| &*job.queue == "often").count();
            daemon.kill().await;
            daemon = home.serve().await;
        }
        assert!((55..=65).contains(&often), "{often} of 80, not 60");
        assert!(home.musher(&["queue", "set", "often", "weight=0"]).status.success());
        let queues = vec!["seldom".to_owned(), "often".to_owned()];
        let jobs = daemon.client.claim(Claim { queues, max: 9, ..Claim::default() }).await.unwrap();
        assert!(jobs.iter().all(|job| &*job.queue == "seldom"), "in the order in which they are named");
        daemon.stop().await;
    });
}
