//! Queues without room: what producers are told, what is dropped, and what a kill leaves of it.

use crate::helper::{Home, block_on, until};
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, StatusView};
use musher::protocol::{JobOptions, SubmitGroup};

fn group(body: &'static str) -> Vec<SubmitGroup> {
    let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
    vec![SubmitGroup { options, bodies: vec![body.into()] }]
}

/// A producer waits for room, in turn; the daemon's death is the end of its wait, and nothing comes of it.
#[test]
fn a_submit_waits_for_room() {
    block_on(async {
        let home = Home::new("[queues.q]\nbacklog = 1\nfull = \"wait 60s\"\n");
        let daemon = home.serve().await;
        daemon.submit("q", &["first"]).await;
        let other = Client::connect(home.socket()).await.unwrap();
        let (waits, claims) = (other.submit(group("second")), async {
            until("it waits", async || {
                let status = daemon.status().await;
                (status.waiting_submits == 1).then_some(())
            })
            .await;
            // Other requests of the same connection go on.
            other.ask::<StatusView>(AdminRequest::Status {}).await.unwrap();
            daemon.claim("q", false, 0).await.unwrap()
        });
        let (submitted, job) = tokio::join!(waits, claims);
        assert_eq!((submitted.unwrap().first_id(), &*job.body), (2, &b"first"[..]));

        let (waits, kill) = (other.submit(group("third")), async {
            until("it waits", async || (daemon.status().await.waiting_submits == 1).then_some(())).await;
            daemon.kill().await;
        });
        let (refused, ()) = tokio::join!(waits, kill);
        assert!(refused.is_err(), "it was never taken");
        let daemon = home.serve().await;
        assert_eq!(daemon.status().await.next_id, 3);
        let output = home.musher(&["queue", "set", "q", "full=wait 50ms"]);
        assert!(output.status.success());
        let output = home.musher(&["submit", "q", "fourth"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(75) && words.contains("queue `q` is full"), "{words}");
        daemon.stop().await;
    });
}

#[test]
fn what_is_dropped_is_counted_and_logged_and_stays_dropped() {
    block_on(async {
        let home = Home::new("[queues.q]\nbacklog = 2\nfull = \"drop-old\"\n");
        let daemon = home.serve().await;
        assert_eq!(daemon.submit("q", &["a", "b"]).await, 1);
        assert_eq!(daemon.submit("q", &["c"]).await, 3);
        assert!(daemon.show(1).await.is_none());
        assert!(home.musher(&["queue", "set", "q", "full=drop-new"]).status.success());
        assert_eq!(daemon.submit("q", &["d", "e"]).await, 4);
        home.until_logged("queue q is full: 1 job dropped").await;
        home.until_logged("queue q is full: 2 jobs dropped").await;
        daemon.kill().await;

        let daemon = home.serve().await;
        assert_eq!(daemon.queue("q").await.totals.dropped, 3);
        let words = String::from_utf8_lossy(&home.musher(&["queues"]).stdout).into_owned();
        assert!(words.contains("queue q: 3 jobs dropped for want of room"), "{words}");
        for (id, body) in [(2, "b"), (3, "c")] {
            let job = daemon.claim("q", false, 0).await.unwrap();
            assert_eq!((job.lease.id, &*job.body), (id, body.as_bytes()));
        }
        assert!(daemon.claim("q", false, 0).await.is_none());
        assert_eq!(daemon.submit("q", &["f"]).await, 6, "ids of dropped jobs are used up");
        daemon.stop().await;
    });
}

#[test]
fn bytes_are_bounded_over_restarts() {
    block_on(async {
        let home = Home::new("[queues.q]\nbacklog_bytes = \"10B\"\n");
        let mut daemon = home.serve().await;
        for body in ["1234", "123456"] {
            daemon.submit("q", &[body]).await;
            daemon.kill().await;
            daemon = home.serve().await;
        }
        let full = |words: &str| {
            let output = home.musher(&["submit", "q", "x"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(75) && said.contains(words), "{said}");
        };
        full("queue `q` is full (10 bytes, limits.backlog_bytes = 10)");
        let view = daemon.queue("q").await;
        assert_eq!(view.waiting_bytes, 10);
        daemon.claim("q", false, 0).await.unwrap();
        daemon.submit("q", &["x"]).await;
        home.configure("total_backlog_bytes = 7\n");
        daemon.signal(rustix::process::Signal::HUP);
        until("the reload", async || {
            let output = home.musher(&["submit", "other", "y"]);
            (output.status.code() == Some(75)).then_some(())
        })
        .await;
        daemon.stop().await;
    });
}
