//! Workers on queues of several shards.

use super::*;
use crate::client::Identity;

#[test]
fn a_worker_takes_jobs_of_several_shards() {
    with(async |cluster| {
        let client = cluster.client().await;
        let mut expected: Vec<u64> = Vec::new();
        for shard in [0, 1, 1, 2] {
            expected.push(submit(&client, shard).await);
        }
        let (mut ids, mut leases) = (Vec::new(), Vec::new());
        for (most, count) in [(3, 3), (3, 1), (3, 0)] {
            let jobs = client.claim(all_queues(most, 0)).await.unwrap();
            assert_eq!(jobs.len(), count);
            ids.extend(jobs.iter().map(|job| job.lease.id));
            leases.extend(jobs.into_iter().map(|job| job.lease));
        }
        let in_order: Vec<u64> = ids.clone();
        ids.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ids, expected);
        let first = shards().of_name(QUEUES[0]);
        assert_eq!(shards().of_job(in_order[0]), Some(first), "as the queues are named");
        let mut settles: Vec<_> =
            leases.iter().map(|lease| Settle { lease: *lease, verdict: Verdict::Complete }).collect();
        settles.insert(2, Settle { lease: LeaseRef { id: 99, attempt: 1 }, verdict: Verdict::Complete });
        let settled = client.settle(settles).await.unwrap();
        assert_eq!(settled.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true, true]);
    });
}

#[test]
fn a_claim_waits_at_all_shards_and_takes_no_more_than_it_wants() {
    with(async |cluster| {
        let (client, producer) = (cluster.client().await, cluster.client().await);
        let wait = |client: Client| async move { client.claim(all_queues(1, u64::MAX)).await.unwrap() };
        for round in 0..20 {
            let (jobs, ()) = tokio::join!(wait(client.clone()), async {
                // At two shards at once: one of them is given back.
                let (one, other) = (round % 3, (round + 1) % 3);
                tokio::join!(submit(&producer, one), submit(&producer, other));
            });
            assert_eq!(jobs.len(), 1);
            complete(&client, jobs[0].lease).await;
            let jobs = wait(client.clone()).await;
            assert_eq!((jobs.len(), jobs[0].lease.attempt <= 2), (1, true));
            complete(&client, jobs[0].lease).await;
        }
        let nothing = client.claim(all_queues(5, 30)).await.unwrap();
        assert!(nothing.is_empty());
    });
}

#[test]
fn a_claim_of_several_shards_is_answered_at_once_when_that_is_wished() {
    with(async |cluster| {
        let client = cluster.client().await;
        for wait in [0, 1, 5, 50] {
            let claim = client.start_claim(all_queues(1, u64::MAX)).unwrap();
            tokio::time::sleep(Duration::from_millis(wait)).await;
            client.unwait(claim.number).await.unwrap();
            let jobs =
                timeout(Duration::from_secs(10), claim.answer).await.expect("it waits no longer").unwrap();
            assert!(jobs.is_empty());
        }
        submit(&client, 2).await;
        assert_eq!(client.claim(all_queues(1, u64::MAX)).await.unwrap().len(), 1);
    });
}

/// A worker whose connection ends because one shard has broken keeps what it has of the others.
#[test]
fn a_shard_that_breaks_costs_a_worker_nothing_of_the_others() {
    with(async |cluster| {
        let worker = Identity::new("w").unwrap();
        let client = cluster.client().await;
        assert!(client.take_up(&worker, Vec::new()).await.unwrap().is_some());
        submit(&client, 0).await;
        submit(&client, 1).await;
        let jobs = client.claim(Claim { bound: true, ..all_queues(2, 0) }).await.unwrap();
        let mut leases: Vec<_> = jobs.iter().map(|job| job.lease).collect();
        leases.sort_unstable();
        assert_eq!(leases, [lease(0, 0), lease(1, 0)].map(|it| LeaseRef { id: it.id.max(1), ..it }));
        cluster.cut(1);
        client.closed().await;
        cluster.inside.connections.borrow_mut()[0].clear();
        let client = cluster.client().await;
        let back = client.take_up(&worker, leases.clone()).await.unwrap().unwrap();
        let in_force: Vec<_> = back.leases.iter().map(Result::is_ok).collect();
        // That of the broken connection has ended with it: its daemon lives.
        assert_eq!(in_force, [true, false]);
        complete(&client, leases[0]).await;
    });
}
