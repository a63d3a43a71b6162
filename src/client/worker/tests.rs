//! Tests of what needs no daemon; `tests/e2e/typed_worker.rs` has those that do.

use super::*;
use crate::protocol::{ErrorCode, Fault};
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

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
