//! One daemon after the other: what was sent to the one that ends is answered, and on a socket that stays, as a
//! service manager's does, nobody who submits notices that there were two.

use crate::helper::{DEADLINE, Home, block_on, until};
use bytes::BytesMut;
use musher::client::{Client, Receipts};
use musher::protocol::admin::{AdminRequest, StatusView};
use musher::protocol::{JobOptions, Request, SubmitGroup, Verdict, split_frame};
use rustix::process::Signal;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn one_job(body: String) -> Vec<SubmitGroup> {
    let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
    vec![SubmitGroup { options, bodies: vec![body.into()] }]
}

#[test]
fn no_submit_is_refused_or_lost_while_daemons_follow_each_other_on_one_socket() {
    const RESTARTS: usize = 10;
    let home = Home::new("");
    let listener = UnixListener::bind(home.socket()).unwrap();
    let (acknowledged, over) = (RefCell::new(BTreeMap::new()), Cell::new(false));
    let produce = async |producer: &str| {
        for n in 0.. {
            if over.get() {
                return;
            }
            let body = format!("{producer}{n}");
            let client = Client::connect(home.socket()).await.expect("every connection is taken");
            let id = client.submit(one_job(body.clone())).await.expect("no submit is refused").first_id();
            assert_eq!(acknowledged.borrow_mut().insert(id, body), None, "an id is given once");
        }
    };
    let restart = async {
        for _ in 0..RESTARTS {
            let daemon = home.serve_on(&listener).await;
            let enough = acknowledged.borrow().len() + 50;
            until("submits go on", async || (acknowledged.borrow().len() >= enough).then_some(())).await;
            daemon.stop().await;
        }
        let daemon = home.serve_on(&listener).await;
        over.set(true);
        daemon
    };
    block_on(async {
        let (daemon, ..) = tokio::join!(restart, produce("a"), produce("b"), produce("c"), produce("d"));
        let acknowledged = acknowledged.take();
        assert_eq!(daemon.queue("q").await.ready, acknowledged.len() as u64, "each is there once");
        for (id, body) in acknowledged {
            assert_eq!(daemon.client.body(id).await.unwrap(), body);
        }
    });
}

#[test]
fn a_daemon_that_drains_on_a_socket_that_stays_takes_submits_for_the_next_one() {
    let home = Home::new("[daemon]\ndrain_timeout = \"10m\"\n");
    let listener = UnixListener::bind(home.socket()).unwrap();
    block_on(async {
        let daemon = home.serve_on(&listener).await;
        daemon.submit("q", &["held"]).await;
        let held = daemon.claim("q", true, 0).await.unwrap();
        daemon.signal(Signal::TERM);
        until("it drains", async || {
            let status: StatusView = daemon.client.ask(AdminRequest::Status {}).await.ok()?;
            (status.mode == "stopping").then_some(())
        })
        .await;
        let producer = Client::connect(home.socket()).await.unwrap();
        assert_eq!(
            producer.submit(one_job("new".into())).await.unwrap(),
            Receipts::New { first: 2, count: 1 }
        );
        assert!(daemon.settle(held.lease, Verdict::Complete).await);
        assert_eq!(daemon.ended().await.code(), Some(0));
        let daemon = home.serve_on(&listener).await;
        assert_eq!(daemon.state(2).await, "ready");
    });
}

/// Sends requests without waiting for answers until that fails; returns how many left as a whole.
fn send_all(mut stream: &UnixStream, answered: &AtomicUsize) -> usize {
    for sent in 0.. {
        // Never far ahead, or the daemon stops to read before it stops.
        while sent > answered.load(Ordering::Relaxed) + 1_000 {
            std::thread::yield_now();
        }
        let mut frame = Vec::new();
        Request::Submit(one_job(sent.to_string())).encode(sent as u32 + 1, &mut frame);
        if stream.write_all(&frame).is_err() {
            return sent;
        }
    }
    unreachable!("the daemon ends first")
}

/// Counts answers until the connection ends.
fn count_all(mut stream: &UnixStream, answered: &AtomicUsize) {
    let mut buffer = BytesMut::new();
    let mut piece = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut piece) {
        buffer.extend_from_slice(&piece[..n]);
        while let Some((header, _)) = split_frame(&mut buffer, 1 << 20).unwrap() {
            // What is said unasked has no number.
            answered.fetch_add(usize::from(header.request != 0), Ordering::Relaxed);
        }
    }
}

#[test]
fn every_request_that_was_sent_before_the_end_is_answered() {
    block_on(async {
        let home = Home::new("");
        for _ in 0..5 {
            let daemon = home.serve().await;
            let stream = Arc::new(UnixStream::connect(home.socket()).unwrap());
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let mut hello = Vec::new();
            Request::hello("test").encode(0, &mut hello);
            (&*stream).write_all(&hello).unwrap();
            let answered = Arc::new(AtomicUsize::new(0));
            let (s, a) = (stream.clone(), answered.clone());
            let counting = std::thread::spawn(move || count_all(&s, &a));
            let (s, a) = (stream.clone(), answered.clone());
            let sending = std::thread::spawn(move || send_all(&s, &a));
            until("requests flow", async || (answered.load(Ordering::Relaxed) > 500).then_some(())).await;
            daemon.stop().await;
            counting.join().unwrap();
            let sent = sending.join().unwrap();
            assert_eq!(answered.load(Ordering::Relaxed), sent);
        }
    });
}
