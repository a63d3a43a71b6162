//! Nodes of several versions: what a newer one has written and this one cannot read.

use super::{Cluster, submit};
use crate::helper::block_on;
use musher::client::Client;
use musher::protocol::{JobOptions, SubmitGroup};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// Puts a message into the stream, as a node of another version would.
fn publish(url: &str, message: &[u8]) {
    let mut stream = TcpStream::connect(url.trim_start_matches("nats://")).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    stream.write_all(b"CONNECT {\"verbose\":false,\"pedantic\":false}\r\n").unwrap();
    let head = format!("PUB musher {}\r\n", message.len());
    stream.write_all(&[head.as_bytes(), message, b"\r\nPING\r\n"].concat()).unwrap();
    // All before it has been taken, then.
    assert!(lines.any(|line| line.unwrap() == "PONG"));
}

/// A record of version 2, which this program does not know: as a newer one takes over.
const NEWER: &[u8] = b"mur\x02\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0";

/// A record of this version, in the second ownership.
fn record(kind: u8, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut record = [b"mur\x01", &[kind, 0, 0, 0, 0, 0, 0, 0][..]].concat();
    record.extend(2u64.to_le_bytes());
    record.extend(number.to_le_bytes());
    record.extend(payload);
    let sum = crc32c::crc32c_append(crc32c::crc32c(&record[..8]), &record[12..]);
    record[8..12].copy_from_slice(&sum.to_le_bytes());
    record
}

#[test]
fn a_node_neither_takes_in_nor_owns_what_it_cannot_read() {
    const TAKEOVER: u8 = 1;
    const LAST_PART: u8 = 2;
    // Another way to write records; and the same one, with a commit of a version that this program does not know.
    let commit = [record(TAKEOVER, 1, &[7; 16]), record(LAST_PART, 2, &[200; 40])];
    for (messages, why) in [(&[NEWER.to_vec()][..], "a newer one has written it"), (&commit, "version 200")] {
        let Some(cluster) = Cluster::new(1, 2, "") else { return };
        block_on(async {
            let mut daemons = cluster.serve_all().await;
            cluster.owner_after(1).await;
            submit(&cluster.homes[0].socket(), "one").await;
            messages.iter().for_each(|message| publish(&cluster.servers.urls()[0], message));
            // The owner learns of it with its next commit.
            let socket = cluster.homes[0].socket();
            let unanswered = tokio::task::spawn(async move {
                let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
                let client = Client::connect(&socket).await?;
                client.submit(vec![SubmitGroup { options, bodies: vec!["two".into()] }]).await
            });
            for (daemon, home) in daemons.iter_mut().zip(&cluster.homes) {
                assert_eq!(daemon.take().unwrap().ended().await.code(), Some(1), "{}", home.log());
            }
            assert!(cluster.homes.iter().any(|home| home.log().contains(why)), "one has read it");
            assert!(unanswered.await.unwrap().is_err(), "nobody has it");
            for home in &cluster.homes {
                let refused = home.serve_command().output().unwrap();
                let said = String::from_utf8_lossy(&refused.stderr).into_owned();
                assert!(!refused.status.success() && said.contains(why), "{said}");
                assert!(said.contains("newer"), "{said}");
            }
        });
    }
}
