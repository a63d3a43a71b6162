//! Clients that stall, flood and lie: what they may hold is bounded, the others are served, and they are told.

use crate::helper::{DEADLINE, Daemon, Home, block_on, until};
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, StatusView};
use musher::protocol::{Claim, ErrorCode, HEADER, JobOptions, Request, Response, SubmitGroup};
use std::io::ErrorKind;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// A connection that knows the protocol as bytes and has greeted.
async fn greeted(socket: &Path) -> UnixStream {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(&frame(1, &Request::hello("hostile"))).await.unwrap();
    let len = stream.read_u32_le().await.unwrap();
    stream.read_exact(&mut vec![0; len as usize]).await.unwrap();
    stream
}

fn frame(number: u32, request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(number, &mut bytes);
    bytes
}

/// Submits a job with a body of so many bytes.
async fn submit_long(daemon: &Daemon, len: usize) -> u64 {
    let options = JobOptions { queue: "long".into(), ..JobOptions::default() };
    let bodies = vec![vec![b'x'; len].into()];
    daemon.client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap().first_id()
}

async fn waiting(client: &Client) -> u64 {
    client.ask::<StatusView>(AdminRequest::Status {}).await.unwrap().waiting_claims
}

/// Half frames once took what they liked; now they take their part of the room, and who holds it gives way.
#[test]
fn a_long_request_gets_the_room_that_half_frames_hold() {
    block_on(async {
        let home = Home::new("frame = \"1MiB\"\nbody = \"512KiB\"\nbuffers = \"1MiB\"\n");
        let daemon = home.serve().await;
        let mut half = greeted(daemon.socket()).await;
        half.write_all(&(1u32 << 20).to_le_bytes()).await.unwrap();
        half.write_all(&[0; 100 << 10]).await.unwrap();
        // Short requests never wait for that room.
        assert_eq!(daemon.submit("q", &["short"]).await, 1);
        let long = submit_long(&daemon, 400 << 10);
        assert_eq!(tokio::time::timeout(DEADLINE, long).await.expect("it gets room"), 2);
        let mut said = Vec::new();
        let end = tokio::time::timeout(DEADLINE, half.read_to_end(&mut said)).await.expect("it is closed");
        // Where the daemon has not read all of it before, the end is a reset, behind what it says.
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
        assert!(String::from_utf8_lossy(&said).contains("limits.buffers"), "it is told why it was closed");
        home.until_logged("limits.buffers").await;
    });
}

/// Each answer may be as long as a body; a connection that reads none of them is not given more and more.
#[test]
fn clients_that_never_read_give_way_and_the_others_are_served() {
    block_on(async {
        let home = Home::new("frame = \"2MiB\"\nbuffers = \"2MiB\"\n[queues.commands]\nworkers = 0\n");
        let daemon = home.serve().await;
        let id = submit_long(&daemon, 1 << 20).await;
        let ask: Vec<u8> = frame(7, &Request::Body { id }).repeat(500);
        let mut deaf = Vec::new();
        for _ in 0..6 {
            let mut stream = greeted(daemon.socket()).await;
            stream.write_all(&ask).await.unwrap();
            deaf.push(stream);
        }
        until("one gives way", async || home.log().contains("limits.buffers").then_some(())).await;
        // It is closed whether it reads or not: one that is only forgotten is not counted and keeps its socket.
        until("its socket is closed", async || {
            let closed = |stream: &UnixStream| {
                stream.try_write(b"?").err()?.kind().eq(&ErrorKind::BrokenPipe).then_some(())
            };
            deaf.iter().find_map(closed)
        })
        .await;
        assert!(daemon.submit("q", &["x"]).await > id);
        // 3,000 bodies of 1 MiB were asked for. What is left is the room, what a turn collects, and the daemon itself.
        let status: StatusView = daemon.client.ask(AdminRequest::Status {}).await.unwrap();
        assert!(status.memory < 400 << 20, "{} MiB", status.memory >> 20);
    });
}

/// The second long answer was fetched before anybody had looked whether the first was taken.
#[test]
fn who_has_not_taken_one_long_answer_gets_no_other() {
    block_on(async {
        let home = Home::new("frame = \"2MiB\"\nbuffers = \"4MiB\"\n[queues.commands]\nworkers = 0\n");
        let daemon = home.serve().await;
        let id = submit_long(&daemon, 1 << 20).await;
        let mut deaf = Vec::new();
        for _ in 0..3 {
            let mut stream = greeted(daemon.socket()).await;
            stream.write_all(&frame(7, &Request::Body { id }).repeat(100)).await.unwrap();
            deaf.push(stream);
        }
        // Far more turns than they need for another one each.
        for _ in 0..100 {
            daemon.submit("q", &["x"]).await;
        }
        assert!(!home.log().contains("limits.buffers"), "{}", home.log());
        // Whoever takes them gets them all.
        let mut read = vec![0; 1 << 20];
        let mut left = 100 * (HEADER + (1 << 20));
        while left > 0 {
            let part = left.min(read.len());
            let got = tokio::time::timeout(DEADLINE, deaf[0].read(&mut read[..part])).await.unwrap().unwrap();
            assert!(got > 0, "it was closed: {}", home.log());
            left -= got;
        }
    });
}

#[test]
fn claims_and_waits_are_counted_by_what_they_wait_for() {
    block_on(async {
        let home = Home::new("waiting = 120\n[queues.commands]\nworkers = 0\n");
        let daemon = home.serve().await;
        let hostile = std::rc::Rc::new(Client::connect(daemon.socket()).await.unwrap());
        let queues: Vec<String> = (0..60).map(|nth| format!("q/{nth}")).collect();
        let asked =
            || Claim { queues: queues.clone(), max: 1, wait_ms: u64::MAX, bound: true, ..Claim::default() };
        let tasks = tokio::task::LocalSet::new();
        for _ in 0..2 {
            let (hostile, asked) = (hostile.clone(), asked());
            tasks.spawn_local(async move { hostile.claim(asked).await.map(|_| ()) });
        }
        tasks
            .run_until(async {
                until("both wait", async || (waiting(&daemon.client).await == 2).then_some(())).await;
                let third = tokio::time::timeout(DEADLINE, hostile.claim(asked()));
                let refused = third.await.expect("it is answered").unwrap_err().to_string();
                assert!(refused.contains("limits.waiting"), "{refused}");
                let refused = hostile.ask::<()>(AdminRequest::Wait { ids: vec![1], timeout_ms: None }).await;
                assert!(refused.is_err());
                // Another connection has a count of its own, and this one again when it has ended.
                let other = Client::connect(daemon.socket()).await.unwrap();
                assert!(other.claim(Claim { wait_ms: 1, ..asked() }).await.unwrap().is_empty());
            })
            .await;
        drop((tasks, hostile));
        until("nobody waits", async || (waiting(&daemon.client).await == 0).then_some(())).await;
    });
}

/// Requests that say the same are decided together. One among them that is wrong, or says something else, or is one too
/// many, is answered as if it stood alone.
#[test]
fn in_a_row_of_submits_each_gets_its_own_answer() {
    block_on(async {
        let home = Home::new("body = \"1KiB\"\n[queues.q]\nbacklog = 290\nworkers = 0\n");
        let daemon = home.serve().await;
        let submit = |queue: &str, bodies: &[&[u8]]| {
            let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
            let bodies = bodies.iter().map(|body| body.to_vec().into()).collect();
            Request::Submit(vec![SubmitGroup { options, bodies }])
        };
        let mut sent = Vec::new();
        for number in 1..=300u32 {
            let mut frame = match number {
                50 => frame(number, &submit("q", &[&[b'x'; 1025]])),
                100 => frame(number, &submit("other", &[b"x"])),
                150 => frame(number, &submit("q", &[])),
                250 => frame(number, &submit("q", &[b"x", b"y"])),
                _ => frame(number, &submit("q", &[b"x"])),
            };
            if number == 200 {
                // One byte more than the body says.
                let len = u32::from_le_bytes(*frame.first_chunk().unwrap()) + 1;
                frame[..4].copy_from_slice(&len.to_le_bytes());
                frame.push(b'!');
            }
            sent.extend(frame);
        }
        let mut stream = greeted(daemon.socket()).await;
        stream.write_all(&sent).await.unwrap();
        let (mut next, mut refused) = (1, Vec::new());
        for number in 1..=300u32 {
            let len = stream.read_u32_le().await.unwrap();
            let mut frame = vec![0; len as usize];
            stream.read_exact(&mut frame).await.unwrap();
            let request = u32::from_le_bytes(*frame[1..].first_chunk().unwrap());
            assert_eq!(request, number, "answers come in the order of the requests");
            match Response::decode(frame[0], frame.split_off(5).into()).unwrap() {
                Response::Submitted { first, count } => {
                    assert_eq!((first, count), (next, if number == 250 { 2 } else { 1 }));
                    next += count;
                }
                Response::Error(fault) => refused.push((number, fault.code)),
                other => panic!("{other:?}"),
            }
        }
        let full = (294..=300).map(|number| (number, ErrorCode::QueueFull));
        let wrong =
            [(50, ErrorCode::TooLarge), (150, ErrorCode::Invalid), (200, ErrorCode::Malformed)].into_iter();
        assert_eq!(refused, wrong.chain(full).collect::<Vec<_>>());
    });
}

/// The ten seconds of a greeting once began anew with each byte.
#[test]
fn a_greeting_that_comes_byte_by_byte_is_ended() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let mut slow = UnixStream::connect(daemon.socket()).await.unwrap();
        let greeting = frame(1, &Request::hello("slow".repeat(1_000)));
        let (mut read, mut bytes) = (vec![0; 1 << 10], greeting.iter());
        let said = until("it is closed", async || {
            tokio::select! {
                len = slow.read(&mut read) => return Some(len.unwrap()),
                () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {}
            }
            // If it was closed in this moment, the next read says so, and why.
            let _ = slow.write_all(&[*bytes.next().unwrap()]).await;
            None
        })
        .await;
        assert!(String::from_utf8_lossy(&read[..said]).contains("10 seconds"));
    });
}
