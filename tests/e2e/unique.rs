//! Jobs with unique keys, as producers meet them: one of each whatever dies, and what they are told of it.

use crate::client_input::feed;
use crate::helper::{Daemon, Home, block_on, until};
use musher::client::{Client, ClientError};
use musher::protocol::admin::{AdminRequest, JobView, JobsView, ListQuery};
use musher::protocol::{ErrorCode, Held, JobOptions, OnConflict, Received, SubmitGroup, Unique, Verdict};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const KEYS: usize = 300;
const PRODUCERS: usize = 6;
const KILLS: usize = 5;

fn group(key: &str, body: &str, held: Held, on_conflict: OnConflict) -> SubmitGroup {
    let unique = Some(Unique { key: key.into(), held, on_conflict });
    let options = JobOptions { queue: "q".into(), unique, ..JobOptions::default() };
    SubmitGroup { options, bodies: vec![body.to_owned().into()] }
}

fn one(key: usize, producer: usize) -> SubmitGroup {
    group(&key.to_string(), &format!("{key} of {producer}"), Held::Unfinished, OnConflict::Existing)
}

async fn all(daemon: &Daemon) -> Vec<JobView> {
    let query = ListQuery { limit: 1_000, ..ListQuery::default() };
    daemon.client.ask::<JobsView>(AdminRequest::List(query)).await.unwrap().jobs
}

/// Submits batches with all keys, in an order of its own, until the daemon is gone. What it was told is in `ids`.
async fn produce(client: Client, producer: usize, ids: Arc<Mutex<HashMap<usize, u64>>>) {
    for first in (0..).map(|round| round * 7) {
        let keys: Vec<usize> = (first..first + 10).map(|key| (key * (producer + 1)) % KEYS).collect();
        let groups = keys.iter().map(|key| one(*key, producer)).collect();
        let Ok(receipts) = client.submit(groups).await else { return };
        assert_eq!(receipts.len(), 10);
        for (key, receipt) in keys.into_iter().zip(receipts.iter()) {
            let known = *ids.lock().unwrap().entry(key).or_insert(receipt.id);
            assert_eq!(known, receipt.id, "key {key} has two jobs");
        }
    }
}

#[test]
fn of_each_key_there_is_one_job_whatever_dies() {
    block_on(async {
        let home = Home::new("");
        let ids: Arc<Mutex<HashMap<usize, u64>>> = Arc::default();
        for kill in 1..=KILLS {
            let daemon = home.serve().await;
            let mut producers = tokio::task::JoinSet::new();
            for producer in 0..PRODUCERS {
                let client = Client::connect(daemon.socket()).await.unwrap();
                producers.spawn(produce(client, producer, ids.clone()));
            }
            until("so many keys are known", async || {
                (ids.lock().unwrap().len() >= KEYS * kill / KILLS).then_some(())
            })
            .await;
            daemon.kill().await;
            while let Some(ended) = producers.join_next().await {
                ended.unwrap();
            }
        }
        let daemon = home.serve().await;
        let jobs = all(&daemon).await;
        assert_eq!(jobs.len(), KEYS);
        for job in jobs {
            let key: usize = job.unique.unwrap().parse().unwrap();
            assert_eq!(ids.lock().unwrap()[&key], job.id);
            let body = daemon.client.body(job.id).await.unwrap();
            let (of, _) = std::str::from_utf8(&body).unwrap().split_once(" of ").unwrap();
            assert_eq!(of, key.to_string(), "the body of another job");
        }
        daemon.stop().await;
    });
}

/// What is not new must take neither the ids nor the bodies of what is.
#[test]
fn bodies_and_tags_belong_to_those_that_are_new() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.client.submit(vec![one(1, 0), one(2, 0)]).await.unwrap();
        let mut tagged = one(3, 9);
        tagged.options.tags = vec![("nth".into(), "3".into())];
        let plain = SubmitGroup {
            options: JobOptions { queue: "q".into(), ..JobOptions::default() },
            bodies: vec!["first".into(), "second".into()],
        };
        let receipts =
            daemon.client.submit(vec![one(1, 9), plain, one(2, 9), tagged, one(4, 9)]).await.unwrap();
        let said: Vec<_> =
            receipts.iter().map(|receipt| (receipt.id, receipt.what == Received::New)).collect();
        assert_eq!(said, [(1, false), (3, true), (4, true), (2, false), (5, true), (6, true)]);
        for restarted in [false, true] {
            let bodies = ["1 of 0", "2 of 0", "first", "second", "3 of 9", "4 of 9"];
            for (id, body) in (1..).zip(bodies) {
                assert_eq!(daemon.client.body(id).await.unwrap(), body, "restarted: {restarted}");
            }
            let jobs = all(&daemon).await;
            let unique: Vec<_> = jobs.iter().map(|job| job.unique.as_deref()).collect();
            assert_eq!(unique, [Some("1"), Some("2"), None, None, Some("3"), Some("4")]);
            assert!(jobs.iter().all(|job| job.tags.is_empty() == (job.id != 5)));
        }
        daemon.kill().await;
        let daemon = home.serve().await;
        assert_eq!(daemon.client.body(5).await.unwrap(), "3 of 9");
        daemon.stop().await;
    });
}

#[test]
fn a_key_that_is_held_after_the_end_is_held_after_a_crash() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let kept = || vec![group("k", "b", Held::For(3_600_000), OnConflict::Existing)];
        daemon.client.submit(kept()).await.unwrap();
        let job = daemon.claim("q", true, 0).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        daemon.kill().await;
        let daemon = home.serve().await;
        let receipts = daemon.client.submit(kept()).await.unwrap();
        let receipt = receipts.iter().next().unwrap();
        assert_eq!((receipt.id, receipt.what), (1, Received::Existing));
        assert_eq!(daemon.show(1).await.unwrap().state, "done");
        daemon.stop().await;
    });
}

#[test]
fn a_conflict_that_is_refused_says_which_job_it_is() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let reject = |key| group(key, "b", Held::Unfinished, OnConflict::Reject);
        daemon.client.submit(vec![reject("k")]).await.unwrap();
        let refused = daemon.client.submit(vec![reject("other"), reject("k")]).await.unwrap_err();
        let ClientError::Refused(fault) = refused else { panic!("{refused}") };
        assert_eq!(fault.code, ErrorCode::NotUnique);
        assert!(
            fault.message.contains("is there already: job 1 of queue `q`; nothing was submitted"),
            "{fault}"
        );
        assert_eq!(all(&daemon).await.len(), 1);
        // And what makes no sense.
        let refused = |group| daemon.client.submit(vec![group]);
        let at_once = group("k", "b", Held::Waiting, OnConflict::Debounce { max_ms: None });
        let said = refused(at_once).await.unwrap_err().to_string();
        assert!(said.contains("to debounce without a delay"), "{said}");
        let said =
            refused(group("", "b", Held::Waiting, OnConflict::Existing)).await.unwrap_err().to_string();
        assert!(said.contains("an empty key"), "{said}");
    });
}

/// The last one counts, over crashes too, and whatever was in the same submit.
#[test]
fn a_job_that_waits_is_replaced_with_its_body() {
    block_on(async {
        let home = Home::new("");
        let mut daemon = home.serve().await;
        let say = |body: &str| group("k", body, Held::Unfinished, OnConflict::Replace);
        let plain = |body: &str| SubmitGroup {
            options: JobOptions { queue: "q".into(), ..JobOptions::default() },
            bodies: vec![body.to_owned().into()],
        };
        for round in 0..3 {
            let [one, two, other] = ["one", "two", "other"].map(|word| format!("{word} of {round}"));
            let receipts = daemon.client.submit(vec![say(&one), plain(&other), say(&two)]).await.unwrap();
            let ids: Vec<u64> = receipts.iter().map(|receipt| receipt.id).collect();
            assert_eq!(ids, [1, round + 2, 1]);
            assert_eq!(daemon.client.body(1).await.unwrap(), two);
            if round > 0 {
                daemon.kill().await;
                daemon = home.serve().await;
            }
            assert_eq!(daemon.client.body(1).await.unwrap(), two);
            assert_eq!(daemon.client.body(round + 2).await.unwrap(), other);
        }
        let job = daemon.claim("q", true, 0).await.unwrap();
        assert_eq!((job.lease.id, &job.body[..]), (1, &b"two of 2"[..]));
        let receipts = daemon.client.submit(vec![say("late")]).await.unwrap();
        let receipt = receipts.iter().next().unwrap();
        assert_eq!((receipt.id, receipt.what), (1, Received::Existing), "it runs");
        daemon.stop().await;
    });
}

/// A submit that waits does so for the job that is there.
#[test]
fn who_waits_for_a_job_that_is_not_new_waits_for_the_one_that_is_there() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        daemon.client.submit(vec![one(1, 0)]).await.unwrap();
        let pending = daemon.client.submit_and_wait(vec![one(1, 1)], None).await.unwrap();
        assert_eq!(pending.receipts.first_id(), 1);
        let job = daemon.claim("q", true, 0).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        let ends = pending.ends().await.unwrap();
        assert_eq!((ends[0].id, &*ends[0].state), (1, "done"));
    });
}

#[test]
fn the_command_line_says_whether_a_job_is_new() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let musher = |args: &[&str]| {
            let out = home.musher(args);
            (
                out.status.code(),
                String::from_utf8(out.stdout).unwrap(),
                String::from_utf8(out.stderr).unwrap(),
            )
        };
        let submit = ["submit", "q", "--unique", "page 7", "--json"];
        let with = |more: &[&str]| musher(&[&submit[..], more].concat());
        assert_eq!(with(&["--delay", "1h", "b"]).1, "{\"id\":1,\"new\":true}\n");
        assert_eq!(with(&["c"]).1, "{\"changed\":false,\"id\":1,\"new\":false}\n");
        let (code, out, _) = with(&["--on-conflict", "raise", "--priority", "1", "c"]);
        assert_eq!((code, out.as_str()), (Some(0), "{\"changed\":true,\"id\":1,\"new\":false}\n"));
        let (code, out, err) = with(&["--on-conflict", "reject", "c"]);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert!(err.contains("job 1 of queue `q`"), "{err}");
        assert_eq!(musher(&["submit", "q", "--unique", "page 7", "c"]).1, "1\n");
        let shown = musher(&["show", "1"]).1;
        assert!(shown.contains("page 7, held until it has ended"), "{shown}");
        let (code, _, err) = musher(&["submit", "q", "--on-conflict", "raise", "c"]);
        assert_eq!(code, Some(2));
        assert!(err.contains("--unique"), "{err}");
        // One line may have what another has not, and all of them are counted.
        let lines = "{\"body\":\"1\",\"unique\":\"a\"}\n{\"body\":\"2\",\"unique\":\"a\",\"unique_while\":\"waiting\"}\n{\"body\":\"3\"}\n";
        let out = feed(&home, &["submit", "q", "--jsonl", "--ids"], lines.as_bytes());
        assert_eq!(String::from_utf8(out.stdout).unwrap(), "2\n2\n3\n");
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(said.contains("2 jobs submitted to q; 1 job was there already, by unique keys"), "{said}");
        let bad = feed(&home, &["submit", "q", "--jsonl"], b"{\"body\":\"1\",\"unique_for\":\"1h\"}\n");
        let said = String::from_utf8(bad.stderr).unwrap();
        assert!(said.contains("line 1: unique: ") && bad.status.code() == Some(2), "{said}");
        // What was exported holds the key elsewhere, and not twice.
        let exported = home.musher(&["export"]).stdout;
        let out = feed(&home, &["import"], &exported);
        let said = String::from_utf8(out.stderr).unwrap();
        assert!(said.contains("2 left out because jobs with their unique keys are here"), "{said}");
        daemon.stop().await;
    });
}
