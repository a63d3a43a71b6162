//! Queues for tests of programs: nothing becomes ready but by their clock, and nothing runs but when it is told to.

use crate::helper::{DEADLINE, Home, block_on, claim};
use musher::client::Client;
use musher::client::worker::{Context, Job, Outcome, Worker, WorkerError};
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, EditView, JobView};
use musher::protocol::{After, AfterWhat, Condition, JobOptions, Settle, Start, SubmitGroup, Ties, Verdict};
use musher::testing::{Ran, TestQueue};
use std::path::PathBuf;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

async fn submit(client: &Client, options: JobOptions, body: &str) -> u64 {
    let bodies = vec![body.to_owned().into()];
    client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap().first_id()
}

fn of(queue: &str) -> JobOptions {
    JobOptions { queue: queue.into(), ..JobOptions::default() }
}

async fn state(client: &Client, id: u64) -> String {
    client.ask::<JobView>(AdminRequest::Show { id }).await.map_or("gone".into(), |job| job.state)
}

/// Fails with its body, or not if that is empty.
async fn fail(job: Job<String>, _: Context) -> Result<(), String> {
    if job.body.is_empty() { Ok(()) } else { Err(job.body) }
}

fn ids(ran: &[Ran]) -> Vec<u64> {
    ran.iter().map(|ran| ran.id).collect()
}

#[test]
fn attempts_and_delays_wait_for_the_clock() {
    block_on(async {
        let configuration =
            "[queues.q]\nattempts = 3\nbackoff = { kind = \"fixed\", base = \"1h\", jitter = 0.0 }\n";
        let queue = TestQueue::open(configuration).await.unwrap();
        let client = queue.client().await.unwrap();
        let worker = queue.worker().handle("q", fail);
        let id = submit(&client, of("q"), "\"no\"").await;
        let delayed = JobOptions { start: Start::After(90 * 60_000), ..of("q") };
        let later = submit(&client, delayed, "\"\"").await;
        let failed = Some(Outcome::Failed { error: "no".into(), retry_after: None });
        for attempt in 1..=3 {
            let mut ran = worker.run_ready().await.unwrap();
            ran.sort_by_key(|ran| ran.id);
            let expected = Ran { id, queue: "q".into(), attempt, outcome: failed.clone() };
            assert_eq!(ran[0], expected);
            assert_eq!(ids(&ran[1..]), if attempt == 3 { vec![later] } else { vec![] });
            queue.advance(HOUR - Duration::from_millis(1)).await.unwrap();
            assert!(attempt == 2 || worker.run_ready().await.unwrap().is_empty(), "attempt {attempt}");
            queue.advance(Duration::from_millis(1)).await.unwrap();
        }
        assert_eq!((state(&client, id).await, state(&client, later).await), ("dead".into(), "gone".into()));
        assert!(worker.run_ready().await.unwrap().is_empty());
        queue.close().await.unwrap();
    });
}

/// Berlin sets its clocks in this night: two o'clock in the morning does not exist.
#[test]
fn schedules_wait_for_the_clock_which_stands_where_the_test_says() {
    block_on(async {
        let configuration = "[schedules.nightly]\ncron = \"30 2 * * *\"\nzone = \"Europe/Berlin\"\nqueue = \"q\"\n\
                             body = '\"\"'\n[schedules.often]\nevery = \"10m\"\nqueue = \"often\"\nbody = '\"\"'\n";
        // 2026-03-28, 23:00 UTC.
        let midnight = 1_774_738_800_000;
        let queue = TestQueue::open_at(configuration, midnight).await.unwrap();
        let worker = queue.worker().handle("q", fail);
        queue.advance(2 * HOUR - SECOND).await.unwrap();
        assert!(worker.run_ready().await.unwrap().is_empty());
        queue.advance(HOUR).await.unwrap();
        assert_eq!(worker.run_ready().await.unwrap().len(), 1);
        queue.advance(20 * HOUR).await.unwrap();
        assert!(worker.run_ready().await.unwrap().is_empty());
        assert_eq!(queue.now_ms(), midnight + 23 * 3_600_000 - 1_000);

        // An hour in one leap is one job, as `catch_up` says, and in six steps it is six.
        let often = queue.worker().handle("often", fail);
        often.run_ready().await.unwrap();
        queue.advance(HOUR).await.unwrap();
        assert_eq!(often.run_ready().await.unwrap().len(), 1);
        for _ in 0..6 {
            queue.advance(HOUR / 6).await.unwrap();
        }
        assert_eq!(often.run_ready().await.unwrap().len(), 6);
    });
}

#[test]
fn deadlines_and_rates_wait_for_the_clock() {
    block_on(async {
        let queue = TestQueue::open("[queues.q]\nrate = \"2/m burst 2\"\n").await.unwrap();
        let client = queue.client().await.unwrap();
        let worker = queue.worker().handle("q", fail).handle("r", fail);
        let expires = submit(&client, JobOptions { deadline_ms: Some(60_000), ..of("r") }, "\"\"").await;
        for _ in 0..5 {
            submit(&client, of("q"), "\"\"").await;
        }
        queue.advance(61 * SECOND).await.unwrap();
        assert_eq!(state(&client, expires).await, "gone");
        assert_eq!(worker.run_ready().await.unwrap().len(), 2, "no more without more time");
        queue.advance(30 * SECOND).await.unwrap();
        assert_eq!(worker.run_ready().await.unwrap().len(), 1);
        queue.advance(HOUR).await.unwrap();
        assert_eq!(worker.run_ready().await.unwrap().len(), 2);
    });
}

#[test]
fn what_becomes_ready_by_what_ran_runs_too_and_its_end_is_told() {
    block_on(async {
        let queue = TestQueue::open("").await.unwrap();
        let client = queue.client().await.unwrap();
        let worker = queue
            .worker()
            .handle("first", |_: Job<u8>, cx: Context| async move {
                let bodies = vec!["7".into()];
                cx.complete_and_submit(vec![SubmitGroup { options: of("next"), bodies }]).await.map(drop)
            })
            .handle("last", |_: Job<u8>, _: Context| async { Outcome::later_in("not now", SECOND) })
            .handle("next", |_: Job<u8>, _: Context| async {
                if true {
                    panic!("ouch");
                }
            })
            .handle("typed", |_: Job<u8>, _: Context| async {});
        let first = submit(&client, of("first"), "1").await;
        let after = vec![After { on: AfterWhat::Job(first), when: Condition::Done }];
        submit(&client, JobOptions { ties: Some(Ties { after, ..Ties::default() }), ..of("last") }, "2")
            .await;
        submit(&client, of("typed"), "\"x\"").await;
        let ran = worker.run_ready().await.unwrap();
        let said: Vec<_> = ran.iter().map(|ran| (&*ran.queue, ran.outcome.clone().unwrap())).collect();
        let later = Outcome::Later { why: "not now".into(), after: Some(SECOND) };
        let panicked = Outcome::Failed { error: "panicked: ouch".into(), retry_after: None };
        assert_eq!(said[..3], [("first", Outcome::Done), ("last", later), ("next", panicked)]);
        assert!(
            matches!(&said[3..], [("typed", Outcome::Dead { error })] if error.contains("invalid type")),
            "{said:?}"
        );
    });
}

#[test]
fn what_was_submitted_is_there_with_its_body() {
    block_on(async {
        let queue = TestQueue::open("").await.unwrap();
        let client = queue.client().await.unwrap();
        let bodies: Vec<_> = (0..1_200).map(|n: u32| n.to_string().into()).collect();
        client.submit(vec![SubmitGroup { options: of("q"), bodies }]).await.unwrap();
        let delayed = JobOptions { start: Start::After(1_000), key: Some("k".into()), ..of("other") };
        submit(&client, delayed, "x").await;
        let jobs = queue.jobs("q").await.unwrap();
        let bodies: Vec<_> = jobs.iter().map(|job| std::str::from_utf8(&job.body).unwrap()).collect();
        assert_eq!(bodies, (0..1_200).map(|n| n.to_string()).collect::<Vec<_>>());
        let other = queue.jobs("other").await.unwrap();
        assert_eq!((other[0].view.state.as_str(), other[0].view.key.as_deref()), ("scheduled", Some("k")));
        assert!(queue.jobs("none").await.unwrap().is_empty());
    });
}

#[test]
fn a_job_that_is_cancelled_while_it_runs_counts_for_nothing() {
    block_on(async {
        let queue = TestQueue::open("").await.unwrap();
        let worker = queue.worker().handle("q", |job: Job<u8>, cx: Context| async move {
            let (edit, ids) = ("cancel".into(), vec![job.id]);
            let edit = AdminRequest::Edit { edit, ids, state: None, queue: None, to: None, priority: None };
            cx.client().await.unwrap().ask::<Vec<EditView>>(edit).await.unwrap();
            cx.cancelled().await;
        });
        submit(&queue.client().await.unwrap(), of("q"), "1").await;
        assert_eq!(worker.run_ready().await.unwrap()[0].outcome, None);
    });
}

/// Time stands still, so whoever waits for it to pass would wait for ever.
#[test]
fn it_ends_at_once_whoever_still_has_a_job_and_leaves_nothing_behind() {
    block_on(async {
        let begun = monotonic();
        for close in [false, true] {
            let queue = TestQueue::open("").await.unwrap();
            let client = queue.client().await.unwrap();
            submit(&client, of("q"), "1").await;
            let job = claim(&client, "q", true, 0, None).await.unwrap();
            // A leap is no lapse: the lease lasts a minute, and is in force.
            queue.advance(HOUR).await.unwrap();
            let release = Settle { lease: job.lease, verdict: Verdict::Release { delay_ms: 0 } };
            assert_eq!(client.settle(vec![release]).await.unwrap(), [Ok(())]);
            assert!(claim(&client, "q", true, 0, None).await.is_some());
            if close {
                queue.close().await.unwrap();
            }
        }
        assert!(monotonic() - begun < DEADLINE);
        assert!(TestQueue::open("[queues.q]\nno_such_key = 1\n").await.is_err());
        let queue = TestQueue::open("").await.unwrap();
        let shown = format!("{queue:?}");
        let directory = shown.split('"').nth(1).map(PathBuf::from).unwrap();
        assert!(directory.is_dir(), "{shown}");
        drop(queue);
        assert!(!directory.exists(), "{shown}");
    });
}

#[test]
fn a_worker_of_a_daemon_runs_what_is_ready_as_well() {
    block_on(async {
        let home = Home::new("");
        let none = Worker::new(home.socket()).run_ready().await.unwrap_err();
        assert!(matches!(none, WorkerError::NoQueues), "{none}");
        let nobody = Worker::new(home.socket()).handle("q", fail).run_ready().await.unwrap_err();
        assert!(matches!(nobody, WorkerError::Client(ref error) if error.is_disconnect()), "{nobody}");
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["\"\"", "\"no\"", "\"\""]).await;
        let ran = Worker::new(home.socket()).handle("q", fail).run_ready().await.unwrap();
        assert_eq!(ids(&ran), [id, id + 1, id + 2]);
        assert_eq!(daemon.state(id + 1).await, "scheduled");
        daemon.stop().await;
    });
}
