//! Many connections: those on which nobody is served give way, and no user takes all.

use super::site::{OTHER, OWN, Site};
use crate::helper::{block_on, until};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

#[test]
fn a_crowd_of_idle_connections_keeps_nobody_out() {
    block_on(async {
        let site = Site::new("").await;
        let mut crowd = Vec::new();
        for nth in 0..600 {
            let mut stream = TcpStream::connect(&site.address).await.unwrap();
            if nth % 2 == 0 {
                // It may have been closed already.
                let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHos").await;
            }
            crowd.push(stream);
        }
        // Before half a request has had its time, and closes by itself.
        let status = timeout(Duration::from_secs(8), site.json("GET /status", Value::Null)).await;
        assert_eq!(status.expect("it is served at once")["mode"], "running");
        let mut byte = [0];
        until("the first has given way", async || {
            (!matches!(crowd[0].read(&mut byte).await, Ok(1))).then_some(())
        })
        .await;
        site.daemon.stop().await;
    });
}

#[test]
fn one_user_does_not_take_all_connections() {
    block_on(async {
        let site = Site::new("").await;
        let claim = json!({ "queues": ["q"], "wait_ms": 60_000 });
        site.daemon.submit("q", &["first"]).await;
        assert!(site.daemon.claim("q", false, 0).await.is_some());
        let mut own = Vec::new();
        for _ in 0..128 {
            own.push(site.begin(OWN, "POST /claim", &claim).await);
        }
        until("all wait", async || {
            let queue = site.daemon.try_queue("q").await?;
            (queue.waiting_claims == 128).then_some(())
        })
        .await;
        let refused = site.ask("GET /status", &Value::Null).await;
        assert_eq!((refused.status, &*refused.code()), (503, "busy"));
        assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
        assert_eq!(site.ask_as(OTHER, "GET /status", b"").await.status, 200);
        own.pop();
        until("there is room again", async || {
            (site.ask("GET /status", &Value::Null).await.status == 200).then_some(())
        })
        .await;
        drop(own);
        site.daemon.stop().await;
    });
}

/// The last place is for whoever comes, one after the other.
#[test]
fn who_comes_when_nearly_all_are_being_served_is_served() {
    block_on(async {
        let site = Site::new("").await;
        let submitted = site.ask_as(OTHER, "POST /jobs", br#"{"queue": "q", "body": "x"}"#).await;
        let wait = json!({ "ids": [submitted.json()["jobs"][0]["id"]], "timeout_ms": 300_000 });
        let mut busy = Vec::new();
        for nth in 0..255 {
            let token = if nth % 2 == 0 { OWN } else { OTHER };
            busy.push(site.begin(token, "POST /jobs/wait", &wait).await);
        }
        until("one more than there may be of a user is refused", async || {
            (site.ask("GET /status", &Value::Null).await.status == 503).then_some(())
        })
        .await;
        for _ in 0..20 {
            assert_eq!(site.send("GET /healthz", "Host: localhost\r\n", b"").await.status, 200);
        }
        drop(busy);
        site.daemon.stop().await;
    });
}

#[test]
fn streams_have_a_bound_of_their_own() {
    block_on(async {
        let site = Site::new("").await;
        let mut own = Vec::new();
        for _ in 0..32 {
            let mut stream = site.begin(OWN, "GET /events", &Value::Null).await;
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            assert_eq!(&start, b"HTTP/1.1 200");
            own.push(stream);
        }
        let refused = site.ask("GET /events", &Value::Null).await;
        assert_eq!((refused.status, &*refused.code()), (503, "busy"));
        own.clear();
        until("there is room again", async || {
            let mut stream = site.begin(OWN, "GET /events", &Value::Null).await;
            let mut start = [0; 12];
            stream.read_exact(&mut start).await.unwrap();
            (&start == b"HTTP/1.1 200").then_some(())
        })
        .await;
        site.daemon.stop().await;
    });
}

/// A server in front that reads the length in the other way would take what follows for another client's request.
#[test]
fn what_is_hidden_behind_a_length_that_can_be_read_in_two_ways_is_not_done() {
    block_on(async {
        let site = Site::new("").await;
        site.daemon.submit("q", &["first"]).await;
        let token = format!("Host: localhost\r\nAuthorization: Bearer {OWN}\r\n");
        let inside = format!("POST /api/v1/queues/q/pause HTTP/1.1\r\n{token}Content-Length: 0\r\n\r\n");
        for lengths in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: 5, 5\r\n",
            "Transfer-Encoding:\x0bchunked\r\n",
            "Transfer-Encoding : chunked\r\n",
        ] {
            let mut stream = TcpStream::connect(&site.address).await.unwrap();
            let outside = format!("POST /api/v1/topics/t HTTP/1.1\r\n{token}{lengths}\r\n0\r\n\r\n");
            stream.write_all(format!("{outside}{inside}").as_bytes()).await.unwrap();
            let mut said = Vec::new();
            // What it has not read may make the end a reset.
            let _ = stream.read_to_end(&mut said).await;
            let said = String::from_utf8_lossy(&said);
            assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{lengths}: {said}");
            assert!(said.starts_with("HTTP/1.1 400"), "{lengths}: {said}");
            assert!(!site.daemon.queue("q").await.paused, "{lengths}");
        }
        site.daemon.stop().await;
    });
}

#[test]
fn many_slow_and_rude_clients_hold_up_nobody() {
    block_on(async {
        let site = Site::new("").await;
        let mut idle = Vec::new();
        for _ in 0..100 {
            let mut stream = TcpStream::connect(&site.address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHos").await.unwrap();
            idle.push(stream);
        }
        for rude in [
            &b"\x00\x01\x02\r\n\r\n"[..],
            b"GET / HTTP/9.9\r\n\r\n",
            &[b'a'; 100_000],
            b"\xff\xfe",
            b"POST /api/v1/jobs HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        ] {
            let mut stream = TcpStream::connect(&site.address).await.unwrap();
            // It may be refused before all of it is sent.
            let _ = stream.write_all(rude).await;
        }
        // What is too long by what it says of itself is refused before it comes.
        let lines = format!("Host: localhost\r\nAuthorization: Bearer {OWN}\r\n");
        let head = format!("POST /api/v1/jobs HTTP/1.1\r\n{lines}Content-Length: {}\r\n\r\n", 40 << 20);
        let mut stream = TcpStream::connect(&site.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut start = [0; 12];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 413");
        assert_eq!(site.json("GET /status", Value::Null).await["mode"], "running");
        drop(idle);
        site.daemon.stop().await;
    });
}
