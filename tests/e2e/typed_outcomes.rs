//! The library's workers: what a handler gets of its job, and what becomes of the job by what it says.

use crate::helper::{Daemon, Home, block_on, until};
use crate::typed_worker::{Said, Working, kept, until_said};
use musher::client::ClientError;
use musher::client::worker::{Context, Job, Outcome, Worker};
use musher::protocol::admin::JobView;
use musher::protocol::{ErrorCode, JobOptions, SubmitGroup};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Say {
    Done,
    Fail,
    RetryAfter,
    Later,
    LaterIn,
    Dead,
    Panic,
}

async fn say(job: Job<Say>, _: Context) -> Result<Outcome, String> {
    let hour = Duration::from_secs(3_600);
    match job.body {
        Say::Done => Ok(Outcome::Done),
        Say::Fail => Err("it is broken".into()),
        Say::RetryAfter => Ok(Outcome::retry_after("busy", hour)),
        Say::Later => Ok(Outcome::later("not yet")),
        Say::LaterIn => Ok(Outcome::later_in("not yet", hour)),
        Say::Dead => Ok(Outcome::dead("no use")),
        Say::Panic => panic!("ouch {}", job.id),
    }
}

async fn judged(daemon: &Daemon, id: u64) -> JobView {
    let look = async || daemon.show(id).await.filter(|job| !matches!(job.state.as_str(), "ready" | "leased"));
    until(&format!("job {id} is judged"), look).await
}

#[test]
fn what_a_handler_says_becomes_of_its_job() {
    block_on(async {
        let home = Home::new(
            "[queues.q]\nbackoff = { kind = \"fixed\", base = \"10h\", jitter = 0.0 }\nkeep = { done = \"1h\" }\n",
        );
        let daemon = home.serve().await;
        let working = Working::start(Worker::new(daemon.socket()).handle("q", say));
        let unreadable = "its body is not what its worker takes: unknown variant `what`";
        // What is sent, the state, failed attempts, times of again later, what is remembered, and hours until the next attempt.
        for (body, state, failed, later, error, hours) in [
            ("\"done\"", "done", 0, 0, "", 0),
            ("\"fail\"", "scheduled", 1, 0, "it is broken", 10),
            ("\"retry_after\"", "scheduled", 1, 0, "busy", 1),
            ("\"later\"", "scheduled", 0, 1, "not yet", 10),
            ("\"later_in\"", "scheduled", 0, 1, "not yet", 1),
            ("\"dead\"", "dead", 1, 0, "no use", 0),
            ("\"panic\"", "scheduled", 1, 0, "panicked: ouch 7", 10),
            ("\"what\"", "dead", 1, 0, unreadable, 0),
            ("", "dead", 1, 0, "its body is not what its worker takes: EOF", 0),
            ("\"done\"", "done", 0, 0, "", 0),
        ] {
            let id = daemon.submit("q", &[body]).await;
            let job = judged(&daemon, id).await;
            assert_eq!(
                (job.state.as_str(), job.failed, job.later),
                (state, failed, later),
                "{body}: {job:?}"
            );
            let remembered = job.failures.first().map_or("", |failure| &failure.error);
            assert!(
                remembered.starts_with(error) && error.is_empty() == remembered.is_empty(),
                "{remembered}"
            );
            let wait = job.due_at.map_or(0, |due| (due - job.submitted_at) / 1_000);
            assert!((hours * 3_600..=hours * 3_600 + 60).contains(&wait), "{body}: {wait} s");
        }
        working.stop().await;
    });
}

#[test]
fn a_handler_knows_its_job_and_says_how_far_it_is() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let said = Said::default();
        let (told, looked) = (said.clone(), Arc::new(Notify::new()));
        let go_on = looked.clone();
        let worker = Worker::new(daemon.socket()).handle("q", move |job: Job<Vec<u8>>, cx| {
            let (said, go_on) = (told.clone(), go_on.clone());
            async move {
                let left = cx.time_left().unwrap();
                assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
                assert!(cx.deadline_ms().is_some() && cx.reason().is_none() && !cx.token().is_cancelled());
                cx.progress(40, "page 2 of 5").await.map_err(|error| error.to_string())?;
                let (id, queue, tag) = (cx.id(), cx.queue().to_owned(), cx.tag("shop").map(str::to_owned));
                let attempts = (cx.attempt(), cx.max_attempts(), cx.priority());
                let facts =
                    format!("{id} {} {queue} {tag:?} {:?} {attempts:?} {:?}", job.id, cx.key(), job.body);
                said.lock().unwrap().push(facts);
                cx.token().cancel();
                cx.cancelled().await;
                assert_eq!(cx.reason(), None, "to cancel its own token tells nobody else");
                // Until the test has looked.
                go_on.notified().await;
                Ok::<_, String>(())
            }
        });
        let working = Working::start(worker);
        let options = JobOptions {
            queue: "q".into(),
            priority: Some(7),
            attempts: Some(3),
            timeout_ms: Some(60_000),
            deadline_ms: Some(3_600_000),
            tags: vec![("shop".into(), "9".into())],
            key: Some("k".into()),
            ..JobOptions::default()
        };
        let group = SubmitGroup { options, bodies: vec!["[1, 2]".into()] };
        let id = daemon.client.submit(vec![group]).await.unwrap().first_id();
        let facts = until_said(&said, 1).await;
        assert_eq!(facts[0], format!("{id} {id} q Some(\"9\") Some(\"k\") (1, 3, 7) [1, 2]"));
        let progress = daemon.show(id).await.unwrap().progress.unwrap();
        assert_eq!((progress.percent, progress.text.as_str()), (40, "page 2 of 5"));
        looked.notify_one();
        daemon.until_state(id, "done").await;
        working.stop().await;
    });
}

#[test]
fn what_follows_is_there_with_the_end_of_its_job_or_not_at_all() {
    block_on(async {
        let daemon = kept("[queues.small]\nbacklog = 1\n").serve_owned().await;
        let worker = Worker::new(daemon.socket()).handle("q", |job: Job<String>, cx| async move {
            let options = JobOptions { queue: job.body, ..JobOptions::default() };
            let group = SubmitGroup { options, bodies: vec!["next".into()] };
            match cx.complete_and_submit(vec![group]).await {
                // What it says after that counts no more.
                Ok(receipts) => Err(format!("{} is complete, and {} follows", cx.id(), receipts.first_id())),
                Err(ClientError::Refused(fault)) if fault.code == ErrorCode::QueueFull => {
                    Ok(Outcome::later_in("no room", Duration::from_secs(3_600)))
                }
                Err(error) => Ok(Outcome::dead(error)),
            }
        });
        let working = Working::start(worker);
        for (queue, state, next) in [("small", "done", 1), ("small", "scheduled", 1), ("other", "done", 1)] {
            let id = daemon.submit("q", &[&format!("{queue:?}")]).await;
            let job = judged(&daemon, id).await;
            assert_eq!((job.state.as_str(), job.failed), (state, 0), "{job:?}");
            assert_eq!(daemon.queue(queue).await.ready, next);
        }
        working.stop().await;
        let queue = daemon.queue("q").await;
        assert_eq!((queue.leased, queue.done), (0, 2));
    });
}

#[test]
fn a_handler_goes_on_at_its_checkpoint_and_leaves_a_result() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let worker = Worker::new(daemon.socket()).handle("q", |_: Job<String>, cx: Context| async move {
            match cx.last_checkpoint() {
                None => {
                    cx.checkpoint("page 12").await.unwrap();
                    Outcome::retry_after("the power has failed", Duration::ZERO)
                }
                Some(page) => {
                    let result = [b"from ", &page[..]].concat();
                    let too_long = cx.complete_with(vec![0; 2 << 20]).await;
                    assert!(too_long.unwrap_err().to_string().contains("limits.result"));
                    cx.complete_with(result).await.unwrap();
                    Outcome::dead("what it says now does not count")
                }
            }
        });
        let working = Working::start(worker);
        let id = daemon.submit("q", &["\"book\""]).await;
        daemon.until_state(id, "done").await;
        let result = daemon.client.beside(id, musher::protocol::Beside::Result).await.unwrap();
        assert_eq!(&result[..], b"from page 12");
        working.stop().await;
    });
}
