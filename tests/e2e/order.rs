//! Who runs next, with real time between the attempts: jobs that come back and fresh ones.

use crate::helper::{Daemon, Home, block_on};
use musher::clock::monotonic;
use musher::protocol::Verdict;
use std::time::Duration;

/// Works off a queue in which 40 jobs that fail at once stand before 200 good ones. Returns how many attempts it took
/// until the good ones were done, or `None` if they were not within 600.
async fn attempts_until_the_good_are_done(daemon: &Daemon) -> Option<u32> {
    let bad = daemon.submit("q", &["bad"; 40]).await;
    daemon.submit("q", &["good"; 200]).await;
    let mut done = 0;
    for attempts in 1..=600 {
        let job = daemon.claim("q", true, 30_000).await.unwrap();
        if job.lease.id < bad + 40 {
            // They are back before all others have had a turn.
            let verdict = Verdict::FailRetryAfter { error: "at once".into(), exit: None, wait_ms: 1 };
            assert!(daemon.settle(job.lease, verdict).await);
            let until = monotonic() + Duration::from_millis(1);
            while monotonic() < until {
                daemon.status().await;
            }
            continue;
        }
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        done += 1;
        if done == 200 {
            return Some(attempts);
        }
    }
    None
}

#[test]
fn jobs_that_fail_at_once_do_not_keep_the_good_ones_behind_them_from_running() {
    block_on(async {
        let daemon = Home::new("[queues.q]\nattempts = 1000\n").serve_owned().await;
        let attempts = attempts_until_the_good_are_done(&daemon).await;
        assert!(attempts.is_some_and(|attempts| attempts <= 2 * 240), "{attempts:?}");
        let line = Home::new("[queues.q]\nattempts = 1000\nretries = \"behind\"\n").serve_owned().await;
        assert_eq!(attempts_until_the_good_are_done(&line).await, Some(240));
        let old = Home::new("[queues.q]\nattempts = 1000\nretries = \"place\"\n").serve_owned().await;
        assert_eq!(attempts_until_the_good_are_done(&old).await, None, "a choice, and what it means");
    });
}
