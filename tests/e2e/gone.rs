//! Readers that go away in the middle of a long answer: what was made for them ends with them.

use crate::helper::{Daemon, Home, block_on, until};
use musher::client::Client;
use musher::protocol::{JobOptions, Request, Response, SubmitGroup};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

/// A connection that asks for something long, lets the answer come until the socket is full, reads a little of it, and is
/// gone.
async fn ask_and_go(daemon: &Daemon, question: &Request, read: usize) {
    let mut stream = UnixStream::connect(daemon.socket()).unwrap();
    let mut said = Vec::new();
    Request::hello("hasty").encode(1, &mut said);
    question.encode(2, &mut said);
    stream.write_all(&said).unwrap();
    let mut before = 0;
    until("no more comes", async || {
        let there = rustix::io::ioctl_fionread(&stream).unwrap();
        (there > 64 << 10 && there == std::mem::replace(&mut before, there)).then_some(())
    })
    .await;
    stream.read_exact(&mut vec![0; read]).unwrap();
    // Clients end what they say before they close, and a kill closes at once.
    if read.is_multiple_of(2) {
        let open = daemon.status().await.connections;
        stream.shutdown(Shutdown::Write).unwrap();
        until("that is seen", async || (daemon.status().await.connections < open).then_some(())).await;
    }
}

/// Takes a backup to its end.
async fn backup(client: &Client) -> Result<usize, String> {
    let mut pieces = client.backup(None).await.unwrap();
    let mut len = 0;
    loop {
        match pieces.recv().await {
            Some(Ok(Response::Piece(piece))) => len += piece.len(),
            Some(Ok(_)) => return Ok(len),
            Some(Err(error)) => return Err(error.to_string()),
            None => return Err("no end".into()),
        }
    }
}

/// The backup waited for room in a buffer that nobody would ever empty, and no other one could begin.
#[test]
fn a_backup_ends_with_its_reader() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let workers_are_there = async || (daemon.status().await.connections == 2).then_some(());
        until("the workers are there", workers_are_there).await;
        for _ in 0..8 {
            let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
            let bodies = vec![vec![b'x'; 100 << 10].into(); 10];
            daemon.client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap();
        }
        for round in 0..20 {
            ask_and_go(&daemon, &Request::Backup { shard: None }, 100 + round).await;
            let len = until("the next one may begin", async || match backup(&daemon.client).await {
                Ok(len) => Some(len),
                Err(error) => {
                    assert!(error.contains("another backup is under way"), "{error}");
                    None
                }
            });
            assert!(len.await > 8_000_000);
        }
        daemon.stop().await;
    });
}

/// What a job printed was kept for ever for somebody who had long gone.
#[test]
fn a_follower_ends_with_its_reader() {
    block_on(async {
        let home = Home::new("output = \"8MiB\"\n");
        let daemon = home.serve().await;
        let workers_are_there = async || (daemon.status().await.connections == 2).then_some(());
        until("the workers are there", workers_are_there).await;
        for round in 0..10 {
            let id = daemon.submit("q", &["x"]).await;
            let job = daemon.claim("q", true, 1000).await.unwrap();
            for _ in 0..80 {
                daemon.client.output(job.lease, 1, vec![b'x'; 32 << 10].into()).await.unwrap();
            }
            let file = home.path("data/output/0").join(id.to_string());
            // A thread of the daemon writes it.
            until("what it printed is kept", async || file.exists().then_some(())).await;
            ask_and_go(&daemon, &Request::Logs { id, follow: true }, 100 + round).await;
            assert!(daemon.settle(job.lease, musher::protocol::Verdict::Complete).await);
            daemon.until_state(id, "gone").await;
            until("nobody reads it any more", async || (!file.exists()).then_some(())).await;
        }
        daemon.stop().await;
    });
}
