//! The library's workers: who gets jobs when, and what becomes of them when the worker, the daemon or the connection ends.

use crate::helper::{Daemon, Home, block_on, until};
use bytes::Bytes;
use musher::client::worker::{Context, Job, Outcome, QueueOptions, Worker, WorkerError};
use musher::client::{Client, ClientError};
use musher::protocol::admin::AdminRequest;
use musher::protocol::{ErrorCode, JobOptions, LeaseRef, Settle, SubmitGroup, Verdict};
use rustix::process::Signal;
use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;

#[path = "../../examples/typed_worker.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod example;

/// A worker that runs beside the test.
pub(crate) struct Working {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Working {
    pub(crate) fn start(worker: Worker) -> Working {
        let (stop, stopped) = oneshot::channel();
        let stopped = async { drop(stopped.await) };
        Working { stop, task: tokio::spawn(worker.run_until(stopped)) }
    }

    /// Tells it to stop, without waiting for its end.
    pub(crate) fn tell(self) -> JoinHandle<Result<(), WorkerError>> {
        self.stop.send(()).unwrap();
        self.task
    }

    pub(crate) async fn stop(self) {
        self.tell().await.unwrap().unwrap();
    }
}

/// What handlers of a test have said, in their order.
pub(crate) type Said = Arc<Mutex<Vec<String>>>;

pub(crate) async fn until_said(said: &Said, count: usize) -> Vec<String> {
    let look = async || {
        let said = said.lock().unwrap();
        (said.len() >= count).then(|| said.clone())
    };
    until("handlers say so much", look).await
}

pub(crate) fn kept(more: &str) -> Home {
    Home::new(&format!("{more}[queues.q]\nattempts = 5\nkeep = {{ done = \"1h\" }}\n"))
}

pub(crate) async fn cancel(daemon: &Daemon, id: u64) {
    let edit = AdminRequest::Edit {
        edit: "cancel".into(),
        ids: vec![id],
        state: None,
        queue: None,
        to: None,
        priority: None,
    };
    daemon.client.ask::<serde_json::Value>(edit).await.unwrap();
}

/// A handler that says when it begins and why it was told to end, and then returns an error.
pub(crate) async fn obedient(said: Said, cx: Context) -> Result<(), String> {
    said.lock().unwrap().push("begun".into());
    cx.cancelled().await;
    said.lock().unwrap().push(cx.reason().unwrap().to_string());
    Err("told to end".into())
}

fn obedient_worker(daemon: &Daemon, said: &Said) -> Worker {
    let said = said.clone();
    Worker::new(daemon.socket()).handle_bytes("q", move |_, cx| obedient(said.clone(), cx))
}

#[test]
fn the_example_sends_mails_and_files_them_and_leaves_when_told() {
    block_on(async {
        let home =
            Home::new("[queues.mails]\nkeep = { done = \"1h\" }\n[queues.sent]\nkeep = { done = \"1h\" }\n");
        let daemon = home.serve().await;
        let (stop, stopped) = oneshot::channel();
        let socket = daemon.socket().clone();
        let work = tokio::spawn(async move {
            example::work(&socket, async { drop::<Result<(), _>>(stopped.await) }).await
        });
        daemon.submit("mails", &[r#"{"to": "a@b.c", "text": "hello"}"#, r#"{"to": "?", "text": ""}"#]).await;
        daemon.until_state(1, "done").await;
        daemon.until_state(2, "dead").await;
        assert_eq!(daemon.show(2).await.unwrap().failures[0].error, "`?` is no address");
        daemon.until_state(3, "done").await;
        assert_eq!(&*daemon.client.body(3).await.unwrap(), b"a@b.c: hello");
        stop.send(()).unwrap();
        work.await.unwrap().unwrap();
    });
}

#[test]
fn a_handler_whose_job_is_cancelled_is_told_and_its_result_does_not_count() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let said = Said::default();
        let working = Working::start(obedient_worker(&daemon, &said));
        let id = daemon.submit("q", &["x"]).await;
        until_said(&said, 1).await;
        cancel(&daemon, id).await;
        assert_eq!(until_said(&said, 2).await[1], "the job was cancelled");
        working.stop().await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.state.as_str(), job.failed), ("cancelled", 0));
    });
}

#[test]
fn a_handler_is_told_of_its_timeout_and_its_deadline() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let said = Said::default();
        let working = Working::start(obedient_worker(&daemon, &said));
        let once = JobOptions { queue: "q".into(), attempts: Some(1), ..JobOptions::default() };
        let timeout = JobOptions { timeout_ms: Some(100), ..once.clone() };
        let deadline = JobOptions { deadline_ms: Some(300), ..once };
        for (options, reason, state, error) in [
            (timeout, "the attempt has timed out", "dead", "timed out after 100ms: told to end"),
            (deadline, "the job's deadline is over", "expired", "the job's deadline was over: told to end"),
        ] {
            let group = SubmitGroup { options, bodies: vec!["x".into()] };
            let id = daemon.client.submit(vec![group]).await.unwrap().first_id();
            daemon.until_state(id, state).await;
            assert_eq!(said.lock().unwrap().drain(..).collect::<Vec<_>>(), ["begun", reason]);
            let failures = daemon.show(id).await.unwrap().failures;
            assert!(failures.iter().all(|failure| failure.error == error), "{failures:?}");
            assert!(state == "expired" || failures.len() == 1, "{failures:?}");
        }
        working.stop().await;
    });
}

#[test]
fn a_handler_that_does_not_listen_is_ended_two_seconds_after_its_timeout() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let worker = Worker::new(daemon.socket()).handle_bytes("q", |_, _| pending::<()>());
        let working = Working::start(worker);
        let options = JobOptions {
            queue: "q".into(),
            attempts: Some(1),
            timeout_ms: Some(50),
            ..JobOptions::default()
        };
        let group = SubmitGroup { options, bodies: vec!["x".into()] };
        let id = daemon.client.submit(vec![group]).await.unwrap().first_id();
        daemon.until_state(id, "dead").await;
        assert_eq!(daemon.show(id).await.unwrap().failures[0].error, "timed out after 50ms");
        working.stop().await;
    });
}

#[test]
fn no_more_jobs_are_taken_than_run_and_each_queue_has_slots_of_its_own() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let (running, most, go) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (inside, peak, gate) = (running.clone(), most.clone(), go.clone());
        let worker = Worker::new(daemon.socket())
            .concurrency(1)
            .handle_bytes(QueueOptions::new("wide").concurrency(3), move |_, _| {
                let (inside, peak, gate) = (inside.clone(), peak.clone(), gate.clone());
                async move {
                    peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    gate.acquire().await.unwrap().forget();
                    inside.fetch_sub(1, Ordering::SeqCst);
                }
            })
            .handle_bytes("narrow", |_, _| pending::<()>())
            .grace(Duration::ZERO);
        daemon.submit("wide", &["x"; 40]).await;
        daemon.submit("narrow", &["x"; 3]).await;
        let working = Working::start(worker);
        until("three run", async || (running.load(Ordering::SeqCst) == 3).then_some(())).await;
        until("one of the other queue does", async || {
            (daemon.queue("narrow").await.leased == 1).then_some(())
        })
        .await;
        let (wide, narrow) = (daemon.queue("wide").await, daemon.queue("narrow").await);
        assert_eq!(
            (wide.leased, wide.ready, narrow.leased, narrow.ready),
            (3, 37, 1, 2),
            "nothing is hoarded"
        );
        go.add_permits(40);
        until("all have run", async || (daemon.queue("wide").await.totals.completed == 40).then_some(()))
            .await;
        assert_eq!(most.load(Ordering::SeqCst), 3);
        working.stop().await;
        let narrow = daemon.queue("narrow").await;
        assert_eq!((narrow.leased, narrow.ready), (0, 3));
    });
}

#[test]
fn a_worker_that_stops_lets_its_jobs_end_and_takes_no_more() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let (said, go) = (Said::default(), Arc::new(Semaphore::new(0)));
        let (says, gate) = (said.clone(), go.clone());
        let worker = Worker::new(daemon.socket()).concurrency(2).handle_bytes("q", move |job, _| {
            says.lock().unwrap().push(job.id.to_string());
            let gate = gate.clone();
            async move { gate.acquire().await.unwrap().forget() }
        });
        let working = Working::start(worker);
        let first = daemon.submit("q", &["x"; 5]).await;
        until_said(&said, 2).await;
        let end = working.tell();
        // Its claims are gone when nothing waits at the daemon; both slots are taken, so there are none from the start.
        go.add_permits(5);
        end.await.unwrap().unwrap();
        let queue = daemon.queue("q").await;
        assert_eq!((queue.done, queue.leased, queue.ready), (2, 0, 3));
        assert_eq!(daemon.show(first + 4).await.unwrap().attempt, 0, "it was never claimed");
    });
}

#[test]
fn a_worker_without_jobs_stops_at_once() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let worker = Worker::new(daemon.socket())
            .grace(Duration::from_secs(1_000_000))
            .handle_bytes("q", |_, _| async {});
        let working = Working::start(worker);
        // A queue is there from its first job on.
        daemon.submit("q", &["x"]).await;
        until("it waits for jobs", async || {
            daemon.try_queue("q").await.filter(|queue| queue.waiting_claims == 1).map(drop)
        })
        .await;
        working.stop().await;
        until("it waits no more", async || {
            daemon.try_queue("q").await.is_none_or(|queue| queue.waiting_claims == 0).then_some(())
        })
        .await;
    });
}

#[test]
fn what_outlasts_the_grace_is_given_back_and_counts_as_no_attempt() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let said = Said::default();
        let says = said.clone();
        // One listens to its token and one does not.
        let worker = Worker::new(daemon.socket()).concurrency(2).grace(Duration::ZERO).handle_bytes(
            "q",
            move |job: Job<Bytes>, cx| {
                let said = says.clone();
                async move {
                    if &*job.body == b"deaf" {
                        said.lock().unwrap().push("begun".into());
                        return pending().await;
                    }
                    obedient(said, cx).await
                }
            },
        );
        let working = Working::start(worker);
        let first = daemon.submit("q", &["deaf", "obedient"]).await;
        until_said(&said, 2).await;
        working.stop().await;
        assert_eq!(until_said(&said, 3).await[2], "the worker stops");
        for id in [first, first + 1] {
            let job = daemon.show(id).await.unwrap();
            assert_eq!((job.state.as_str(), job.failed, job.crashes, job.later), ("ready", 0, 0, 0));
        }
    });
}

#[test]
fn a_worker_that_is_dropped_leaves_its_jobs_as_if_it_were_killed() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let said = Said::default();
        let working = Working::start(obedient_worker(&daemon, &said));
        let id = daemon.submit("q", &["x"]).await;
        until_said(&said, 1).await;
        working.task.abort();
        daemon.until_state(id, "ready").await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.failed, job.crashes), (0, 1));
        assert_eq!(said.lock().unwrap().len(), 1, "the handler ended where it stood");
    });
}

#[test]
fn a_lease_is_extended_while_the_handler_runs_and_its_loss_is_told() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let said = Said::default();
        let says = said.clone();
        let options = QueueOptions::new("q").lease(Duration::from_millis(300));
        let worker =
            Worker::new(daemon.socket()).handle_bytes(options, move |_, cx| obedient(says.clone(), cx));
        let working = Working::start(worker);
        let id = daemon.submit("q", &["x"]).await;
        until_said(&said, 1).await;
        let first = daemon.show(id).await.unwrap().leased_until.unwrap();
        // Two leases later than the first one says.
        let extended = async || {
            daemon.show(id).await.unwrap().leased_until.filter(|until| *until > first + 600).map(drop)
        };
        until("the lease is extended", extended).await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.attempt, said.lock().unwrap().len()), (1, 1), "it is still the first attempt");
        // Another connection settles it, as nobody should.
        let other = Client::connect(daemon.socket()).await.unwrap();
        let settle =
            Settle { lease: LeaseRef { id, attempt: 1 }, verdict: Verdict::Release { delay_ms: 3_600_000 } };
        assert_eq!(other.settle(vec![settle]).await.unwrap(), [Ok(())]);
        assert_eq!(until_said(&said, 2).await[1], "the lease is lost");
        working.stop().await;
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.state.as_str(), job.failed), ("scheduled", 0));
    });
}

#[test]
fn no_job_is_lost_or_runs_twice_when_the_daemon_is_killed_under_a_worker() {
    const JOBS: usize = 600;
    block_on(async {
        let home = kept("");
        let daemon = home.serve().await;
        let runs = Arc::new(Mutex::new(HashMap::<u64, u32>::new()));
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let go = Arc::new(Semaphore::new(0));
        let (ran, here, peak, gate) = (runs.clone(), inside.clone(), most.clone(), go.clone());
        let worker = Worker::new(daemon.socket()).concurrency(8).handle("q", move |job: Job<u32>, cx| {
            let (ran, here, peak, gate) = (ran.clone(), here.clone(), peak.clone(), gate.clone());
            async move {
                peak.fetch_max(here.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                *ran.lock().unwrap().entry(job.id).or_default() += 1;
                // Each hundredth job goes on until there is another daemon.
                if job.body % 100 == 7 {
                    drop(gate.acquire().await.unwrap());
                }
                here.fetch_sub(1, Ordering::SeqCst);
                assert_eq!(cx.reason(), None);
            }
        });
        let bodies: Vec<String> = (0..JOBS).map(|n| n.to_string()).collect();
        let first = daemon.submit("q", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let working = Working::start(worker);
        until("some have run", async || (daemon.queue("q").await.done > 100).then_some(())).await;
        daemon.kill().await;
        let daemon = home.serve().await;
        home.until_logged("a worker is back").await;
        go.add_permits(1);
        until("all are done", async || (daemon.queue("q").await.done == JOBS as u64).then_some(())).await;
        for id in first..first + JOBS as u64 {
            assert_eq!(daemon.state(id).await, "done");
        }
        assert!(most.load(Ordering::SeqCst) <= 8, "the slots are the worker's, not the connection's");
        working.stop().await;
        let runs = runs.lock().unwrap();
        let again: Vec<_> = runs.iter().filter(|(_, runs)| **runs > 1).collect();
        assert_eq!((runs.len(), again.as_slice()), (JOBS, [].as_slice()));
    });
}

#[test]
fn a_daemon_that_drains_gets_its_jobs_back_and_the_next_one_gives_them_out() {
    block_on(async {
        let home = kept("[daemon]\ndrain_timeout = \"100ms\"\n");
        let daemon = home.serve().await;
        let said = Said::default();
        let working = Working::start(obedient_worker(&daemon, &said));
        let id = daemon.submit("q", &["x"]).await;
        until_said(&said, 1).await;
        daemon.signal(Signal::TERM);
        assert_eq!(daemon.ended().await.code(), Some(0));
        assert_eq!(until_said(&said, 2).await[1], "the worker stops");
        let daemon = home.serve().await;
        assert_eq!(until_said(&said, 3).await[2], "begun");
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.failed, job.crashes), (0, 0), "nothing is counted");
        cancel(&daemon, id).await;
        until_said(&said, 4).await;
        working.stop().await;
    });
}

#[test]
fn a_worker_that_may_not_work_says_so_after_what_runs_has_ended() {
    block_on(async {
        let daemon = kept("").serve_owned().await;
        let said = Said::default();
        let says = said.clone();
        let worker = Worker::new(daemon.socket()).handle_bytes("not a queue", |_, _| async {}).handle_bytes(
            "q",
            move |_, _| {
                says.lock().unwrap().push("ran".into());
                async { Outcome::Done }
            },
        );
        let id = daemon.submit("q", &["x"]).await;
        let error = worker.run().await.unwrap_err();
        let WorkerError::Client(ClientError::Refused(fault)) = error else { panic!("{error}") };
        assert_eq!(fault.code, ErrorCode::Invalid);
        // It has run to its end, or was given back, but nothing of it hangs in the air.
        let state = daemon.state(id).await;
        assert!(state == "done" || state == "ready", "{state}");
        assert_eq!(said.lock().unwrap().len(), usize::from(state == "done"));
    });
}
