//! What becomes of jobs, on the native wire: it begins, it tells, and it ends when it is taken back or the daemon stops.

use crate::helper::{DEADLINE, Daemon, Home, block_on};
use bytes::BytesMut;
use musher::client::{Client, ClientError};
use musher::protocol::{ErrorCode, Request, Response, split_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// The wire as bytes.
struct Raw {
    stream: UnixStream,
    buffer: BytesMut,
}

impl Raw {
    async fn new(daemon: &Daemon) -> Raw {
        let stream = UnixStream::connect(daemon.socket()).await.unwrap();
        let mut raw = Raw { stream, buffer: BytesMut::new() };
        raw.send(1, &Request::hello("changes")).await;
        assert!(matches!(raw.next().await, (1, Response::Welcome { .. })));
        raw
    }

    async fn send(&mut self, number: u32, request: &Request) {
        let mut bytes = Vec::new();
        request.encode(number, &mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    async fn next(&mut self) -> (u32, Response) {
        loop {
            if let Some((header, payload)) = split_frame(&mut self.buffer, 1 << 20).unwrap() {
                return (header.request, Response::decode(header.kind, payload).unwrap());
            }
            let read = timeout(DEADLINE, self.stream.read_buf(&mut self.buffer)).await;
            assert!(read.expect("something comes").unwrap() > 0, "the daemon has hung up");
        }
    }
}

#[test]
fn changes_are_told_until_they_are_taken_back() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let mut raw = Raw::new(&daemon).await;
        raw.send(2, &Request::Changes { queue: Some("mails".into()), job: None }).await;
        assert_eq!(
            raw.next().await,
            (2, Response::Changes { missed: 0, changes: Vec::new() }),
            "it has begun"
        );
        daemon.submit("builds", &["other"]).await;
        daemon.submit("mails", &["one", "two"]).await;
        let (2, Response::Changes { missed: 0, changes }) = raw.next().await else { panic!("changes") };
        let told: Vec<_> = changes.iter().map(|one| (one.first, one.count, one.state_name())).collect();
        assert_eq!(told, [(2, 2, "ready")]);
        raw.send(3, &Request::Unwait { request: 2 }).await;
        let mut ends = [raw.next().await, raw.next().await];
        ends.sort_by_key(|(number, _)| *number);
        assert_eq!(ends, [(2, Response::Ok), (3, Response::Ok)]);
        daemon.submit("mails", &["three"]).await;
        raw.send(4, &Request::Changes { queue: None, job: Some(9) }).await;
        let (4, Response::Error(refused)) = raw.next().await else { panic!("there is no such job") };
        assert_eq!(refused.code, ErrorCode::NotFound);
        daemon.stop().await;
    });
}

#[test]
fn the_end_of_the_daemon_is_the_end_of_the_answer() {
    block_on(async {
        let daemon = Home::new("").serve_owned().await;
        let client = Client::connect(daemon.socket()).await.unwrap();
        let mut pieces = client.changes(None, None).await.unwrap();
        assert!(matches!(pieces.recv().await, Some(Ok(Response::Changes { .. }))));
        let mut refused = client.changes(Some("no good".into()), None).await.unwrap();
        let Some(Err(ClientError::Refused(fault))) = refused.recv().await else { panic!("it is no name") };
        assert_eq!(fault.code, ErrorCode::Invalid);
        daemon.stop().await;
        assert!(matches!(pieces.recv().await, Some(Ok(Response::Ok))));
    });
}
