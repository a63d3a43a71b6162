//! What the two sides of a connection agree upon: versions in common, none, and what only one of them knows.

use crate::helper::{DEADLINE, Home, block_on};
use musher::client::{Client, ClientError};
use musher::protocol::admin::WaitForGroups;
use musher::protocol::{
    Claim, ClaimedJob, ErrorCode, Fault, JobOptions, LeaseRef, Request, Response, SubmitGroup, Version,
    Versions, put_head,
};
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

async fn read_frame(stream: &mut UnixStream) -> (u8, u32, Vec<u8>) {
    let len = tokio::time::timeout(DEADLINE, stream.read_u32_le()).await.unwrap().unwrap();
    let (kind, request) = (stream.read_u8().await.unwrap(), stream.read_u32_le().await.unwrap());
    let mut payload = vec![0; len as usize - 5];
    stream.read_exact(&mut payload).await.unwrap();
    (kind, request, payload)
}

async fn read_answer(stream: &mut UnixStream) -> Response {
    let (kind, _, payload) = read_frame(stream).await;
    Response::decode(kind, payload.into()).unwrap()
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_head(&mut bytes, kind, 7, payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// What a daemon says to such a first request, and whether it goes on listening.
async fn greeted(socket: &Path, kind: u8, hello: &[u8]) -> (Response, bool) {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    stream.write_all(&frame(kind, hello)).await.unwrap();
    let answer = read_answer(&mut stream).await;
    let is_open = matches!(answer, Response::Welcome { .. });
    if !is_open {
        let end = tokio::time::timeout(DEADLINE, stream.read(&mut [0])).await.unwrap();
        assert_eq!(end.unwrap(), 0, "it is closed");
    }
    (answer, is_open)
}

#[test]
fn the_highest_version_that_both_sides_speak_is_taken() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let hello = |versions: [u8; 2], more: &[u8]| [&b"MUSH"[..], &versions, &[1, 0, b'x'], more].concat();
        for (versions, more, taken) in [
            ([1, 0], &[][..], 1),
            ([1, 1], &[], 1),
            ([2, 0], &[], 2),
            ([2, 1], &[], 2),
            ([9, 1], &[], 2),
            ([9, 2], &[0], 2),
            ([9, 2], &[100, 2, 1, 2, 0], 2),
        ] {
            let (answer, is_open) = greeted(daemon.socket(), 0x01, &hello(versions, more)).await;
            assert!(is_open, "{versions:?}: {answer:?}");
            assert!(matches!(answer, Response::Welcome { version, .. } if version == taken), "{answer:?}");
        }
        for (kind, hello, code, words) in [
            (
                1,
                hello([9, 3], &[]),
                ErrorCode::Version,
                "speaks versions 3 to 9 of the protocol, this daemon (musher",
            ),
            (1, hello([9, 3], &[]), ErrorCode::Version, "versions 1 to 2: update the daemon"),
            (1, hello([3, 0], &[]), ErrorCode::Version, "version 3 of"),
            (1, hello([0, 0], &[]), ErrorCode::Malformed, "versions 0 to 0"),
            (1, hello([1, 2], &[]), ErrorCode::Malformed, "versions 2 to 1"),
            (1, hello([2, 1], &[228, 0, 0]), ErrorCode::Unsupported, "option 100 of a greeting"),
            (1, hello([2, 1], &[1, 200, 0]), ErrorCode::Malformed, "ends before"),
            (1, b"HTTP/1.1".to_vec(), ErrorCode::Malformed, "MUSH"),
            (1, Vec::new(), ErrorCode::Malformed, "ends before"),
            (0x23, Vec::new(), ErrorCode::Malformed, "must be the greeting"),
            (0x42, Vec::new(), ErrorCode::Unsupported, "0x42"),
        ] {
            let (answer, is_open) = greeted(daemon.socket(), kind, &hello).await;
            let Response::Error(fault) = answer else { panic!("{answer:?}") };
            assert_eq!((fault.code, is_open), (code, false), "{fault}");
            assert!(fault.message.contains(words), "{fault}");
        }
    });
}

/// A client that is newer than the daemon learns what it cannot have, and goes on with the rest.
#[test]
fn what_a_daemon_does_not_know_is_refused_and_the_connection_goes_on() {
    block_on(async {
        let home = Home::new("[queues.q]\nworkers = 0\n");
        let daemon = home.serve().await;
        let mut stream = UnixStream::connect(daemon.socket()).await.unwrap();
        let mut hello = Vec::new();
        Request::hello("newer").encode(1, &mut hello);
        stream.write_all(&hello).await.unwrap();
        assert!(matches!(read_answer(&mut stream).await, Response::Welcome { version: 2, .. }));
        let submit = |options: &[u8]| {
            frame(
                0x10,
                &[&[0, 1, 0, 0, 0, 1, 0, b'q'], options, &[0, 1, 0, 0, 0, 2, 0, 0, 0, b'h', b'i']].concat(),
            )
        };
        // The first one may be remembered, and none of the others says the same.
        let submits = [
            submit(&[]),
            submit(&[]),
            submit(&[100, 1, 5]),
            submit(&[228, 1, 5]),
            submit(&[]),
            submit(&[1, 1, 9]),
        ];
        stream.write_all(&[frame(0x42, b"new"), submits.concat()].concat()).await.unwrap();
        for first in [None, Some(1), Some(2), Some(3), None, Some(4), Some(5)] {
            match (read_answer(&mut stream).await, first) {
                (Response::Error(fault), None) => {
                    assert_eq!(fault.code, ErrorCode::Unsupported);
                    assert!(fault.message.contains("update the daemon"), "{fault}");
                }
                (Response::Submitted { first, count: 1 }, Some(expected)) => assert_eq!(first, expected),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(daemon.show(3).await.unwrap().priority, 1024);
        assert_eq!(daemon.show(5).await.unwrap().priority, 9);
    });
}

/// As a daemon does that speaks nothing but version 1: it takes one version, and hangs up on whoever says another.
async fn old_daemon(listener: UnixListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (kind, number, hello) = read_frame(&mut stream).await;
        assert_eq!((kind, &hello[..4]), (0x01, &b"MUSH"[..]));
        let mut said = Vec::new();
        let version = u16::from_le_bytes([hello[4], hello[5]]);
        if version != 1 {
            let message =
                format!("protocol version {version} is not spoken here, only 1: update the older side");
            let refusal = Response::Error(Fault { code: ErrorCode::Version, message });
            Version::One.encode_response(&refusal, number, &mut said);
            stream.write_all(&said).await.unwrap();
            continue;
        }
        let welcome = Response::Welcome {
            version,
            frame_max: 1 << 20,
            body_max: 999,
            batch_max: 9,
            name: "old".into(),
        };
        Version::One.encode_response(&welcome, number, &mut said);
        stream.write_all(&said).await.unwrap();
        let (kind, number, payload) = read_frame(&mut stream).await;
        let asked = Version::One.decode_request(kind, payload.into(), 9).unwrap();
        let Request::Claim(claim) = asked else { panic!("{asked:?}") };
        let job = ClaimedJob {
            checkpoint: None,
            signal: None,
            lease: LeaseRef { id: 3, attempt: 1 },
            attempts: 5,
            timeout_ms: 6,
            lease_ms: 7,
            until_ms: 8,
            queue: claim.queues[0].as_str().into(),
            priority: 9,
            owner: 10,
            tags: vec![("a".into(), "b".into())],
            key: None,
            deadline_ms: None,
            body: "body".into(),
        };
        said.clear();
        Version::One.encode_response(&Response::Jobs(vec![job]), number, &mut said);
        stream.write_all(&said).await.unwrap();
        return;
    }
}

#[test]
fn a_client_speaks_version_1_with_a_daemon_that_speaks_no_other() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = async {
            let client = Client::connect(&socket).await.unwrap();
            assert_eq!((client.limits().body, client.limits().server.as_str()), (999, "old"));
            let claim = Claim { queues: vec!["q".into()], max: 1, wait_ms: 5, ..Claim::default() };
            let jobs = client.claim(claim).await.unwrap();
            assert_eq!((&*jobs[0].queue, jobs[0].until_ms, &jobs[0].body[..]), ("q", 8, &b"body"[..]));
        };
        let both = async { tokio::join!(old_daemon(listener), asked) };
        tokio::time::timeout(DEADLINE, both).await.unwrap();
    });
}

#[test]
fn where_there_is_one_connection_only_the_client_says_what_is_wrong() {
    block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let asked = async {
            let refused = Client::greet(UnixStream::connect(&socket).await.unwrap()).await.unwrap_err();
            assert!(
                matches!(&refused, ClientError::Refused(fault) if fault.code == ErrorCode::Version),
                "{refused}"
            );
            assert!(refused.to_string().contains("update the older side"));
        };
        tokio::select! {
            () = old_daemon(listener) => panic!("nobody speaks version 1"),
            () = asked => {}
        }
    });
}

/// One that speaks this version, and is older than a question in JSON.
#[test]
fn what_an_older_daemon_does_not_know_is_said_in_words() {
    block_on(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let daemon = async {
            let (_, number, _) = read_frame(&mut theirs).await;
            let mut said = Vec::new();
            let (frame_max, body_max) = (1 << 20, 1 << 20);
            let name = "older".into();
            Response::Welcome { version: 2, frame_max, body_max, batch_max: 9, name }
                .encode(number, &mut said);
            theirs.write_all(&said).await.unwrap();
            for name in ["wait_for_groups", "topic_bind", "topic_unbind"] {
                let (_, number, asked) = read_frame(&mut theirs).await;
                assert!(String::from_utf8(asked).unwrap().contains(&format!("\"do\":\"{name}\"")));
                let message = format!("its JSON: unknown variant `{name}`, expected one of `status`");
                let mut said = Vec::new();
                Response::Error(Fault { code: ErrorCode::Malformed, message }).encode(number, &mut said);
                theirs.write_all(&said).await.unwrap();
            }
        };
        let asked = async {
            let client = Client::greet(ours).await.unwrap();
            let told = client.wait_for_groups(WaitForGroups::default()).await.unwrap_err().to_string();
            assert_eq!(
                told,
                "the daemon is older than this program and knows no waiting for groups: update it"
            );
            let old = |error| matches!(error, ClientError::OldDaemon(_));
            assert!(old(client.bind_topic("t", ["q"]).await.unwrap_err()));
            assert!(old(client.unbind_topic("t", ["q"]).await.unwrap_err()));
        };
        tokio::join!(daemon, asked);
    });
}

/// A daemon that takes a version that was not offered is not spoken to.
#[test]
fn a_version_that_was_not_offered_is_not_spoken() {
    block_on(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut said = Vec::new();
        let welcome =
            Response::Welcome { version: 3, frame_max: 1, body_max: 1, batch_max: 1, name: "odd".into() };
        welcome.encode(1, &mut said);
        theirs.write_all(&said).await.unwrap();
        assert!(matches!(Client::greet(ours).await.unwrap_err(), ClientError::Unexpected));
        assert!(!Versions::OWN.have(3));
    });
}

/// The daemon's own clients meet it in the newest version.
#[test]
fn options_arrive_as_they_were_said() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let tags = vec![("order".to_owned(), "42".to_owned()), ("note".to_owned(), "é".repeat(150))];
        let options =
            JobOptions { queue: "q".into(), attempts: Some(3), tags: tags.clone(), ..JobOptions::default() };
        daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["x".into()] }]).await.unwrap();
        let job = daemon.claim("q", true, 0).await.unwrap();
        assert_eq!((job.attempts, job.tags), (3, tags));
    });
}
