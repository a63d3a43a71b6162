//! Submits with an idempotency key: who repeats one whose answer was lost gets it, and no second jobs.

use crate::helper::{Home, block_on, until};
use musher::client::{Client, ClientError, Receipts};
use musher::protocol::admin::{AdminRequest, JobsView, ListQuery};
use musher::protocol::{ErrorCode, JobOptions, SubmitGroup};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PRODUCERS: u64 = 6;
const EACH: u64 = 60;
const KILLS: u64 = 5;

fn jobs(key: &str, count: usize) -> Vec<SubmitGroup> {
    let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
    vec![SubmitGroup { options, bodies: vec![key.to_owned().into(); count] }]
}

/// Submits one after the other, each until it has an answer, and asks for some answers twice.
async fn produce(socket: PathBuf, producer: u64, answered: Arc<AtomicU64>) -> Vec<u64> {
    let (mut ids, mut client) = (Vec::new(), None);
    for nth in 0..EACH {
        let key = format!("{producer} {nth}");
        let first = loop {
            let Some(connected) = &client else {
                client = Client::connect(&socket).await.ok();
                tokio::task::yield_now().await;
                continue;
            };
            match connected.submit_once(&key, jobs(&key, 2)).await {
                Ok(receipts) => break receipts,
                Err(error) if error.is_disconnect() => client = None,
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(first.len(), 2);
        ids.extend(first.iter().map(|receipt| receipt.id));
        answered.fetch_add(1, Ordering::Relaxed);
        if let Some(connected) = client.as_ref().filter(|_| nth % 7 == 0)
            && let Ok(again) = connected.submit_once(&key, jobs(&key, 2)).await
        {
            assert_eq!(again, first, "the same answer");
        }
    }
    ids
}

#[test]
fn a_submit_that_is_repeated_until_it_is_answered_is_done_once() {
    let local = tokio::task::LocalSet::new();
    block_on(local.run_until(async {
        let home = Home::new("");
        let mut daemon = home.serve().await;
        let answered: Arc<AtomicU64> = Arc::default();
        let mut producers = tokio::task::JoinSet::new();
        for producer in 0..PRODUCERS {
            producers.spawn_local(produce(daemon.socket().clone(), producer, answered.clone()));
        }
        for kill in 1..=KILLS {
            until("so many are answered", async || {
                let enough = PRODUCERS * EACH * kill / (KILLS + 1);
                (answered.load(Ordering::Relaxed) >= enough).then_some(())
            })
            .await;
            daemon.kill().await;
            daemon = home.serve().await;
        }
        let mut ids = Vec::new();
        while let Some(own) = producers.join_next().await {
            ids.extend(own.unwrap());
        }
        ids.sort_unstable();
        let query = ListQuery { limit: 1_000, ..ListQuery::default() };
        let listed: JobsView = daemon.client.ask(AdminRequest::List(query)).await.unwrap();
        let there: Vec<u64> = listed.jobs.iter().map(|job| job.id).collect();
        assert_eq!(there, ids, "each job was answered for, and there is no other");
        daemon.stop().await;
    }));
}

#[test]
fn an_answer_is_remembered_over_a_backup_and_its_time_ends() {
    block_on(async {
        let home = Home::new("idempotency = \"1h\"\n");
        let daemon = home.serve().await;
        let first = daemon.client.submit_once("k", jobs("k", 3)).await.unwrap();
        assert_eq!(first, Receipts::New { first: 1, count: 3 });
        let copy = home.path("copy");
        let backup = home.musher(&["backup", copy.to_str().unwrap()]);
        assert!(backup.status.success(), "{backup:?}");
        daemon.kill().await;
        let restored = Home::new("");
        let out = restored.musher(&[
            "restore",
            copy.to_str().unwrap(),
            "--data",
            restored.path("data").to_str().unwrap(),
        ]);
        assert!(out.status.success(), "{out:?}");
        let daemon = restored.serve().await;
        assert_eq!(daemon.client.submit_once("k", jobs("k", 3)).await.unwrap(), first);
        daemon.stop().await;
        // A moment is over soon.
        restored.configure("idempotency = \"1ms\"\n");
        let daemon = restored.serve().await;
        let other = daemon.client.submit_once("other", jobs("k", 1)).await.unwrap();
        until("it is forgotten", async || {
            let again = daemon.client.submit_once("other", jobs("k", 1)).await.unwrap();
            (again != other).then_some(())
        })
        .await;
        daemon.stop().await;
    });
}

#[test]
fn other_jobs_under_the_same_key_are_refused() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.client.submit_once("k", jobs("k", 1)).await.unwrap();
        let refused = daemon.client.submit_once("k", jobs("other", 1)).await.unwrap_err();
        let ClientError::Refused(fault) = refused else { panic!("{refused}") };
        assert_eq!(fault.code, ErrorCode::NotUnique);
        assert!(
            fault.message.contains("other jobs were submitted with this idempotency key before"),
            "{fault}"
        );
        let said = daemon.client.submit_once("k".repeat(257), jobs("k", 1)).await.unwrap_err().to_string();
        assert!(said.contains("the idempotency key has 257 bytes, at most 256"), "{said}");
        // A submit without one, and one like it: the fast path for submits that are alike must not take either for the other.
        daemon.client.submit(jobs("k", 1)).await.unwrap();
        assert_eq!(daemon.client.submit_once("k", jobs("k", 1)).await.unwrap().first_id(), 1);

        let submit = ["submit", "q", "--idempotency-key", "order 7", "b"];
        let once = home.musher(&submit).stdout;
        assert_eq!(home.musher(&submit).stdout, once);
        let other = home.musher(&["submit", "q", "--idempotency-key", "order 7", "c"]);
        assert_eq!((other.status.code(), other.stdout.len()), (Some(1), 0));
        daemon.stop().await;
    });
}
