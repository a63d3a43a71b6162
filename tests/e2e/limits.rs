//! Limits of queues, with real time and real deaths: how many at a time, and how fast.

use crate::helper::{Daemon, Home, block_on, until};
use bytes::Bytes;
use musher::clock::monotonic;
use musher::protocol::{Claim, ClaimedJob, JobOptions, SubmitGroup, Verdict};
use std::collections::{HashMap, HashSet};
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

/// Submits a job with each of these keys, in order.
async fn submit_keyed(daemon: &Daemon, keys: impl Iterator<Item = String>) {
    let group = |key: String| {
        let options = JobOptions { queue: "q".into(), key: Some(key.clone()), ..JobOptions::default() };
        SubmitGroup { options, bodies: vec![key.into()] }
    };
    daemon.client.submit(keys.map(group).collect()).await.unwrap();
}

/// In no window does a key get more leases than its rate allows, however often the daemon is killed.
#[test]
fn the_rate_of_a_key_holds_whatever_dies() {
    const KEYS: usize = 3;
    block_on(async {
        let home = Home::new("[queues.q]\nper_key_rate = \"5/s burst 2\"\n");
        let mut daemon = home.serve().await;
        submit_keyed(&daemon, (0..12 * KEYS).map(|nth| (nth % KEYS).to_string())).await;
        // Before a lease was asked for, and after it came: it was given in between.
        let mut given: HashMap<Bytes, Vec<(Duration, Duration)>> = HashMap::new();
        for nth in 1..=8 * KEYS {
            let before = monotonic();
            let job = daemon.claim("q", false, 60_000).await.unwrap();
            given.entry(job.body).or_default().push((before, monotonic()));
            if nth % 5 == 0 {
                daemon.kill().await;
                daemon = home.serve().await;
            }
        }
        for (key, leases) in &given {
            // Two at once, and one more each 200 ms: `n` leases after another one take at least n - 1 times that. The time of a
            // lease is that of the loop's turn, which on a busy machine is a little older.
            for (first, (began, _)) in leases.iter().enumerate() {
                for (n, (_, came)) in leases[first..].iter().enumerate().skip(2) {
                    let least = Duration::from_millis(200) * (n as u32 - 1) - Duration::from_millis(100);
                    assert!(*came - *began >= least, "key {key:?}: {} leases in {:?}", n + 1, *came - *began);
                }
            }
        }
        assert!(given.len() == KEYS && given.values().all(|leases| leases.len() >= 6), "{given:?}");
        daemon.stop().await;
    });
}

/// The turns go on where they were: no key is served twice before another one that waits, however often the daemon is killed.
#[test]
fn keys_take_turns_whatever_dies() {
    const KEYS: usize = 7;
    block_on(async {
        let home = Home::new("[queues.q]\nfair = true\n");
        let mut daemon = home.serve().await;
        // The first key has most of the jobs, and all of them are before those of others.
        let big = (0..60).map(|_| "0".to_owned());
        submit_keyed(&daemon, big.chain((0..10 * KEYS).map(|nth| (nth % KEYS).to_string()))).await;
        let mut served: Vec<Bytes> = Vec::new();
        for nth in 1..=6 * KEYS {
            let job = daemon.claim("q", false, 0).await.unwrap();
            if nth % 3 == 0 {
                assert!(daemon.settle(job.lease, Verdict::Complete).await);
            }
            served.push(job.body);
            if nth % 4 == 0 {
                daemon.kill().await;
                daemon = home.serve().await;
            }
        }
        for (round, turn) in served.chunks(KEYS).enumerate() {
            let keys: HashSet<&Bytes> = turn.iter().collect();
            assert_eq!(keys.len(), KEYS, "round {round}: {turn:?}");
        }
        daemon.stop().await;
    });
}

/// A deadline is a moment, and comes when it comes: whatever is killed in between, no job runs after it.
#[test]
fn a_deadline_comes_whatever_dies() {
    block_on(async {
        let home = Home::new("[queues.q]\nkeep.done = \"1h\"\nlease = \"2s\"\n");
        let mut daemon = home.serve().await;
        let options = |deadline_ms| JobOptions { queue: "q".into(), deadline_ms, ..JobOptions::default() };
        let group = |deadline| SubmitGroup { options: options(deadline), bodies: vec!["x".into()] };
        let groups = vec![group(Some(1_500)), group(Some(1_500)), group(None)];
        let first = daemon.client.submit(groups).await.unwrap().first_id();
        let due = daemon.show(first).await.unwrap().deadline.unwrap();
        let leased = daemon.claim("q", false, 0).await.unwrap();
        assert_eq!(leased.lease.id, first);
        while daemon.state(first).await != "expired" {
            daemon.kill().await;
            daemon = home.serve().await;
            assert!(daemon.show(first).await.unwrap().deadline == Some(due), "it is the same moment");
        }
        daemon.until_state(first + 1, "expired").await;
        assert!(!daemon.settle(leased.lease, Verdict::Complete).await, "its lease is gone");
        assert_eq!(daemon.claim("q", false, 0).await.unwrap().lease.id, first + 2);
        assert!(daemon.claim("q", false, 0).await.is_none());
        daemon.stop().await;
    });
}
