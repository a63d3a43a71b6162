//! The library's workers while the daemon is away: their handlers run on, what they ask waits for the next daemon as long as the
//! lease lasts, and what they come to it is told once.

use crate::helper::{Daemon, Home, block_on, until};
use crate::resume::at_least;
use crate::typed_worker::{Said, Working, cancel, kept, obedient, until_said};
use bytes::Bytes;
use musher::client::worker::{Context, Job, Outcome, QueueOptions, Worker, WorkerError};
use musher::client::{Client, ClientError};
use musher::clock::monotonic;
use musher::protocol::{Beside, JobOptions, SubmitGroup};
use std::collections::HashSet;
use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How many daemons follow one another, and how many handlers run under them.
const DAEMONS: usize = 10;
const HANDLERS: usize = 50;

fn say(said: &Said, what: impl Into<String>) {
    said.lock().unwrap().push(what.into());
}

/// What the handlers of the test with many daemons tell it.
#[derive(Clone, Default)]
struct Told {
    begun: Said,
    /// A line for each checkpoint that is stored.
    stored: Said,
    ended: Said,
}

/// Stores each number that it hears as a checkpoint, and completes its job when there are no more.
async fn follow(
    told: Told,
    mut numbers: watch::Receiver<Option<usize>>,
    cx: Context,
) -> Result<(), ClientError> {
    say(&told.begun, cx.id().to_string());
    loop {
        let number = *numbers.borrow_and_update();
        let Some(number) = number else { break };
        cx.progress(1, format!("at {number}")).await?;
        cx.checkpoint(number.to_string()).await?;
        say(&told.stored, format!("{number} of {}", cx.id()));
        numbers.changed().await.unwrap();
    }
    say(&told.ended, cx.id().to_string());
    match cx.id() % 3 {
        0 => cx.complete_with(format!("result of {}", cx.id())).await,
        1 => cx.complete_and_submit(vec![of("next", "x")]).await.map(drop),
        _ => Ok(()),
    }
}

fn of(queue: &str, body: &'static str) -> SubmitGroup {
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    SubmitGroup { options, bodies: vec![body.into()] }
}

#[test]
fn handlers_run_once_and_to_the_end_under_ten_daemons_that_are_killed() {
    block_on(async {
        let home = kept("");
        let mut daemon = home.serve().await;
        let (told, (number, numbers), since) = (Told::default(), watch::channel(Some(0)), monotonic());
        let tells = told.clone();
        let handler = move |_: Job<Bytes>, cx| follow(tells.clone(), numbers.clone(), cx);
        let worker = Worker::new(daemon.socket()).concurrency(HANDLERS as u32).handle_bytes("q", handler);
        let working = Working::start(worker);
        let first = daemon.submit("q", &["x"; HANDLERS]).await;
        until_said(&told.stored, HANDLERS).await;
        let mut nth = 1;
        while nth < DAEMONS || monotonic() - since < at_least() {
            // Some of these are asked for before it ends, are under way, or have an answer; and others are asked for afterwards.
            number.send(Some(nth)).unwrap();
            until_said(&told.stored, nth * HANDLERS + nth % 3).await;
            daemon.kill().await;
            daemon = home.serve().await;
            let is_back = async || (home.log().matches("a worker is back").count() >= nth).then_some(());
            until("the worker is back", is_back).await;
            until_said(&told.stored, (nth + 1) * HANDLERS).await;
            nth += 1;
        }
        // And once more while they end.
        number.send(None).unwrap();
        until_said(&told.ended, 1).await;
        daemon.kill().await;
        let daemon = home.serve().await;
        for id in first..first + HANDLERS as u64 {
            daemon.until_state(id, "done").await;
            let job = daemon.show(id).await.unwrap();
            assert_eq!((job.attempt, job.crashes, job.failed), (1, 0, 0), "{job:?}");
            if id % 3 == 0 {
                let result = daemon.client.beside(id, Beside::Result).await.unwrap();
                assert_eq!(result, format!("result of {id}"));
            }
        }
        let follow = (first..first + HANDLERS as u64).filter(|id| id % 3 == 1).count();
        assert_eq!(daemon.queue("next").await.ready, follow as u64);
        working.stop().await;
        for said in [&told.begun, &told.ended] {
            let said = said.lock().unwrap();
            assert_eq!((said.len(), said.iter().collect::<HashSet<_>>().len()), (HANDLERS, HANDLERS));
        }
        assert_eq!(told.stored.lock().unwrap().len(), nth * HANDLERS);
    });
}

/// A handler that ends as its body says, when it is let.
async fn end(said: Said, go: Arc<Semaphore>, job: Job<String>, cx: Context) -> Outcome {
    say(&said, "begun");
    if job.body == "never" {
        pending::<()>().await;
    }
    go.acquire().await.unwrap().forget();
    say(&said, "ends");
    match job.body.as_str() {
        "result" => cx.complete_with("its result").await.into(),
        "follow" => cx.complete_and_submit(vec![of("next", "x")]).await.map(drop).into(),
        "bad" => Outcome::dead("no use"),
        _ => Outcome::Done,
    }
}

fn ending_worker(worker: Worker, said: &Said, go: &Arc<Semaphore>) -> Worker {
    let (said, go) = (said.clone(), go.clone());
    worker.concurrency(10).handle("q", move |job, cx| end(said.clone(), go.clone(), job, cx))
}

#[test]
fn what_handlers_come_to_while_there_is_no_daemon_the_next_one_is_told_once() {
    block_on(async {
        let home = kept("");
        let daemon = home.serve().await;
        let (said, go) = (Said::default(), Arc::new(Semaphore::new(0)));
        let working = Working::start(ending_worker(Worker::new(daemon.socket()), &said, &go));
        daemon.submit("q", &["\"well\"", "\"bad\"", "\"result\"", "\"follow\""]).await;
        until_said(&said, 4).await;
        daemon.kill().await;
        go.add_permits(4);
        until_said(&said, 8).await;
        let daemon = home.serve().await;
        for (id, state, failed) in [(1, "done", 0), (2, "dead", 1), (3, "done", 0), (4, "done", 0)] {
            daemon.until_state(id, state).await;
            let job = daemon.show(id).await.unwrap();
            assert_eq!((job.attempt, job.failed, job.crashes), (1, failed, 0), "{job:?}");
        }
        assert_eq!(&daemon.client.beside(3, Beside::Result).await.unwrap()[..], b"its result");
        assert_eq!(daemon.queue("next").await.ready, 1);
        working.stop().await;
        assert_eq!(said.lock().unwrap().len(), 8, "none ran again");
    });
}

#[test]
fn what_a_handler_asks_while_the_daemon_is_away_waits_for_it() {
    block_on(async {
        let home = kept("");
        let daemon = home.serve().await;
        let (said, go) = (Said::default(), Arc::new(Semaphore::new(0)));
        let (says, gate) = (said.clone(), go.clone());
        let worker = Worker::new(daemon.socket()).handle_bytes("q", move |_, cx: Context| {
            let (said, go) = (says.clone(), gate.clone());
            async move {
                say(&said, "begun");
                go.acquire().await.unwrap().forget();
                cx.progress(40, "nearly half").await?;
                say(&said, "it did not wait to say how far it is");
                cx.checkpoint("page 9").await?;
                say(&said, "stored");
                let client = cx.client().await?;
                client.submit(vec![of("next", "x")]).await?;
                cx.ask(|client| async move { client.signal(2, "go", Bytes::new()).await }).await?;
                say(&said, "asked");
                go.acquire().await.unwrap().forget();
                Ok::<_, ClientError>(())
            }
        });
        let working = Working::start(worker);
        daemon.submit("q", &["x"]).await;
        daemon.submit("waits", &["x"]).await;
        until_said(&said, 1).await;
        daemon.kill().await;
        go.add_permits(1);
        let so_far = until_said(&said, 2).await;
        assert_eq!(so_far.len(), 2, "{so_far:?}");
        let daemon = home.serve().await;
        until_said(&said, 4).await;
        let progress = async || daemon.show(1).await?.progress.map(|progress| progress.text);
        assert_eq!(until("it is said how far it is", progress).await, "nearly half");
        assert_eq!(&daemon.client.beside(1, Beside::Checkpoint).await.unwrap()[..], b"page 9");
        assert_eq!(daemon.queue("next").await.ready, 1);
        go.add_permits(1);
        daemon.until_state(1, "done").await;
        assert_eq!(daemon.show(1).await.unwrap().attempt, 1);
        working.stop().await;
    });
}

/// A worker that cannot see the daemon while it must not.
fn shut_out(daemon: &Daemon, may_see: &Arc<AtomicBool>) -> Worker {
    let (socket, may_see) = (daemon.socket().clone(), may_see.clone());
    Worker::connecting_by(move || {
        let (path, sees) = (socket.clone(), may_see.load(Ordering::SeqCst));
        async move {
            let source = ErrorKind::NotFound.into();
            if sees { Client::connect(path).await } else { Err(ClientError::Connect { path, source }) }
        }
    })
}

#[test]
fn handlers_of_a_worker_that_comes_back_too_late_are_told_and_their_jobs_run_again_once() {
    block_on(async {
        let home = kept("[daemon]\nresume_within = \"50ms\"\n");
        let daemon = home.serve().await;
        let (said, may_see) = (Said::default(), Arc::new(AtomicBool::new(true)));
        let says = said.clone();
        let worker = shut_out(&daemon, &may_see).handle_bytes("q", move |_, cx| obedient(says.clone(), cx));
        let working = Working::start(worker);
        let id = daemon.submit("q", &["x"]).await;
        until_said(&said, 1).await;
        may_see.store(false, Ordering::SeqCst);
        daemon.kill().await;
        let daemon = home.serve().await;
        // Not this worker's: it does not see the daemon.
        daemon.until_state(id, "ready").await;
        assert_eq!(said.lock().unwrap().len(), 1, "it runs on");
        may_see.store(true, Ordering::SeqCst);
        assert_eq!(until_said(&said, 3).await[1..], ["the lease is lost", "begun"]);
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.attempt, job.crashes, job.failed), (2, 1, 0), "{job:?}");
        cancel(&daemon, id).await;
        working.stop().await;
        assert_eq!(said.lock().unwrap().len(), 4);
    });
}

#[test]
fn a_lease_that_ends_while_there_is_no_daemon_is_lost_and_its_handler_is_told() {
    block_on(async {
        let home = kept("[daemon]\nresume_within = \"100ms\"\n");
        let daemon = home.serve().await;
        let (said, go) = (Said::default(), Arc::new(Semaphore::new(0)));
        let (says, gate) = (said.clone(), go.clone());
        let queue = QueueOptions::new("q").lease(Duration::from_millis(200));
        let worker = Worker::new(daemon.socket()).handle_bytes(queue, move |_, cx: Context| {
            let (said, go) = (says.clone(), gate.clone());
            async move {
                say(&said, "begun");
                go.acquire().await.unwrap().forget();
                for error in [
                    cx.checkpoint("x").await.err(),
                    cx.client().await.err(),
                    cx.complete_with("x").await.err(),
                    cx.ask(|client| async move { client.signal(1, "go", Bytes::new()).await }).await.err(),
                ] {
                    say(&said, error.map_or("it is not lost".into(), |error| error.to_string()));
                }
                say(&said, cx.reason().unwrap().to_string());
            }
        });
        let working = Working::start(worker);
        let id = daemon.submit("q", &["x"]).await;
        until_said(&said, 1).await;
        daemon.kill().await;
        go.add_permits(1);
        let all = until_said(&said, 6).await;
        assert!(all[1..5].iter().all(|said| said.contains("lease of job 1, attempt 1, is lost")), "{all:?}");
        assert_eq!(all[5], "the lease is lost");
        let daemon = home.serve().await;
        assert_eq!(until_said(&said, 7).await[6], "begun");
        let job = daemon.show(id).await.unwrap();
        assert_eq!((job.attempt, job.failed), (2, 0), "{job:?}");
        cancel(&daemon, id).await;
        go.add_permits(1);
        working.stop().await;
    });
}

#[test]
fn a_worker_that_stops_while_the_daemon_is_away_waits_for_it_to_tell_how_handlers_have_ended() {
    block_on(async {
        let home = kept("");
        let daemon = home.serve().await;
        let (said, go) = (Said::default(), Arc::new(Semaphore::new(0)));
        let working = Working::start(ending_worker(Worker::new(daemon.socket()), &said, &go));
        daemon.submit("q", &["\"well\"", "\"result\""]).await;
        until_said(&said, 2).await;
        daemon.kill().await;
        let ended = working.tell();
        go.add_permits(2);
        until_said(&said, 4).await;
        assert!(!ended.is_finished());
        let daemon = home.serve().await;
        ended.await.unwrap().unwrap();
        for id in [1, 2] {
            assert_eq!((daemon.state(id).await, daemon.show(id).await.unwrap().attempt), ("done".into(), 1));
        }
    });
}

#[test]
fn a_worker_that_stops_says_what_it_could_not_tell_a_daemon_that_is_away() {
    block_on(async {
        let home = kept("[daemon]\nresume_within = \"50ms\"\n");
        let daemon = home.serve().await;
        let (said, go) = (Said::default(), Arc::new(Semaphore::new(0)));
        let worker = Worker::new(daemon.socket()).grace(Duration::from_millis(100));
        let working = Working::start(ending_worker(worker, &said, &go));
        daemon.submit("q", &["\"well\"", "\"never\""]).await;
        until_said(&said, 2).await;
        daemon.kill().await;
        go.add_permits(1);
        until_said(&said, 3).await;
        let end = working.tell().await.unwrap().unwrap_err();
        assert!(end.to_string().ends_with("gives them out again: 1"), "{end}");
        assert!(matches!(end, WorkerError::Untold { jobs } if jobs == [1]));
        let daemon = home.serve().await;
        for id in [1, 2] {
            daemon.until_state(id, "ready").await;
            assert_eq!(daemon.show(id).await.unwrap().crashes, 1);
        }
    });
}

/// As any worker whose daemon does not let its leases outlive it.
#[test]
fn jobs_of_a_program_that_is_killed_with_a_living_daemon_are_ready_at_once() {
    block_on(async {
        let daemon = Home::new("[daemon]\nresume_within = \"1h\"\n").serve_owned().await;
        let said = Said::default();
        let says = said.clone();
        let worker = Worker::new(daemon.socket()).handle_bytes("q", move |_, cx| obedient(says.clone(), cx));
        let work = tokio::spawn(worker.run());
        let id = daemon.submit("q", &["x"]).await;
        until_said(&said, 1).await;
        work.abort();
        daemon.until_state(id, "ready").await;
    });
}
