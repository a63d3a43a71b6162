//! Tests of what needs no daemon; `tests/e2e/typed_worker.rs` has those that do.

use super::*;
use crate::protocol::{ClaimedJob, ErrorCode, Fault, LeaseRef, Request, Response, split_frame};
use bytes::BytesMut;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;

async fn nothing(_: Job<Bytes>, _: Context) {}

fn moves<T: Send>(it: T) -> T {
    it
}

#[tokio::test]
async fn a_worker_that_is_set_up_wrongly_says_so_and_calls_nobody() {
    let worker = || Worker::connecting_by(|| async { panic!("nobody is to be called") });
    let none = worker().run().await.unwrap_err().to_string();
    assert!(none.contains("has no queues"), "{none}");
    let slots = worker().concurrency(0).handle_bytes("a", nothing).run().await.unwrap_err().to_string();
    assert!(slots.contains("0 jobs of queue `a`"), "{slots}");
    let own = worker().handle_bytes(QueueOptions::new("b").concurrency(0), nothing);
    assert!(matches!(own.run().await, Err(WorkerError::NoSlots { queue }) if queue == "b"));
    let two = worker().handle_bytes("a", nothing).handle("a", |_: Job<u8>, _| async {});
    assert!(matches!(two.run().await, Err(WorkerError::TwoHandlers { queue }) if queue == "a"));
}

#[tokio::test]
async fn a_daemon_that_is_not_there_yet_is_waited_for_and_one_that_refuses_is_not() {
    let calls = Arc::new(AtomicU32::new(0));
    let refused = |code| ClientError::Refused(Fault { code, message: "no".into() });
    let counted = calls.clone();
    let worker = Worker::connecting_by(move || {
        let call = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            Err(match call {
                0 => ClientError::Connect { path: "s".into(), source: io::ErrorKind::NotFound.into() },
                1 => ClientError::Closed(String::new()),
                2 => refused(ErrorCode::Busy),
                _ => refused(ErrorCode::Version),
            })
        }
    });
    let end = moves(worker.handle_bytes("a", nothing).run()).await;
    assert!(matches!(end, Err(WorkerError::Client(ClientError::Refused(_)))), "{end:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_socket_that_stays_closed_to_us_is_an_error() {
    let denied = || ClientError::Connect { path: "s".into(), source: io::ErrorKind::PermissionDenied.into() };
    let worker = Worker::connecting_by(move || async move { Err(denied()) }).handle_bytes("a", nothing);
    assert!(matches!(worker.run().await, Err(WorkerError::Client(ClientError::Connect { .. }))));
}

#[tokio::test]
async fn a_worker_without_a_daemon_stops_when_it_is_told_to() {
    let nobody = || async { Err(ClientError::Closed(String::new())) };
    let worker = Worker::connecting_by(nobody).handle_bytes("a", nothing);
    let told = tokio::time::sleep(Duration::from_millis(150));
    assert!(worker.run_until(told).await.is_ok());
}

/// Gives out one job as a daemon does that knows of no worker that outlives it, and ends with `gone`.
async fn old_daemon(mut stream: UnixStream, gone: Arc<Notify>) {
    let (mut buffer, mut out, mut job) = (BytesMut::new(), Vec::new(), Some(job()));
    loop {
        while let Some((header, payload)) = split_frame(&mut buffer, 1 << 20).unwrap() {
            let answer = match Request::decode(header.kind, payload, 10).unwrap() {
                Request::Hello { .. } => Response::Welcome {
                    version: 2,
                    frame_max: 1 << 20,
                    body_max: 1 << 20,
                    batch_max: 10,
                    name: "old".into(),
                },
                Request::Claim(_) if job.is_none() => continue,
                Request::Claim(_) => Response::Jobs(job.take().into_iter().collect()),
                _ => Response::Error(Fault { code: ErrorCode::Unsupported, message: "what?".into() }),
            };
            answer.encode(header.request, &mut out);
        }
        stream.write_all(&std::mem::take(&mut out)).await.unwrap();
        tokio::select! {
            read = stream.read_buf(&mut buffer) => if read.unwrap() == 0 { return },
            () = gone.notified() => return,
        }
    }
}

fn job() -> ClaimedJob {
    ClaimedJob {
        checkpoint: None,
        signal: None,
        lease: LeaseRef { id: 7, attempt: 1 },
        attempts: 5,
        timeout_ms: 0,
        lease_ms: 60_000,
        until_ms: 1_700_000_000_000,
        queue: "a".into(),
        priority: 0,
        owner: 0,
        tags: Vec::new(),
        key: None,
        deadline_ms: None,
        body: Bytes::new(),
    }
}

#[tokio::test]
async fn leases_of_a_daemon_that_knows_of_no_worker_that_outlives_it_end_with_the_connection() {
    let (calls, gone, said) = (AtomicU32::new(0), Arc::new(Notify::new()), Arc::new(Mutex::new(Vec::new())));
    let (ends, says) = (gone.clone(), said.clone());
    let worker = Worker::connecting_by(move || {
        let (call, gone) = (calls.fetch_add(1, Ordering::SeqCst), gone.clone());
        async move {
            if call > 0 {
                return Err(ClientError::Refused(Fault { code: ErrorCode::Version, message: "no".into() }));
            }
            let (ours, theirs) = UnixStream::pair().unwrap();
            tokio::spawn(old_daemon(theirs, gone));
            Client::greet(ours).await
        }
    });
    let worker = worker.handle_bytes("a", move |_, cx: Context| {
        let (ends, says) = (ends.clone(), says.clone());
        async move {
            ends.notify_one();
            cx.cancelled().await;
            let asked = [cx.client().await.is_err(), cx.checkpoint("x").await.is_err()];
            says.lock().unwrap().push((cx.reason(), asked));
        }
    });
    let end = worker.run().await;
    assert!(matches!(end, Err(WorkerError::Client(ClientError::Refused(_)))), "{end:?}");
    assert_eq!(*said.lock().unwrap(), [(Some(Reason::Disconnected), [true, true])]);
}
