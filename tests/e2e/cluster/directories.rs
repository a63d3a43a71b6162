//! What a node brings with it, and what it leaves with: directories that are empty, lost, behind, or have jobs of their own.

use super::{Cluster, configuration, states, submit, until_owner};
use crate::helper::{Home, block_on, claim, until};
use crate::nats::Servers;
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, QueueView};
use musher::protocol::{JobOptions, SubmitGroup, Verdict};
use std::fs;

/// What all nodes have at home is let go on the servers; a node that comes later copies it from the owner, bodies and all.
#[test]
fn a_new_node_copies_what_the_stream_has_no_more() {
    let Some(cluster) = Cluster::new(1, 2, "") else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        cluster.owner_after(1).await;
        let client = Client::connect(cluster.homes[0].socket()).await.unwrap();
        let body = "b".repeat(2_000);
        for nth in 0..1_500 {
            let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
            let body = format!("{nth} {body}").into();
            client.submit(vec![SubmitGroup { options, bodies: vec![body] }]).await.unwrap();
        }
        drop(client);
        let status = || {
            cluster.homes[0].musher(&[
                "cluster",
                "status",
                "--json",
                "--config",
                cluster.homes[0].path("musher.toml").to_str().unwrap(),
            ])
        };
        until("the stream is trimmed", async || {
            let status: serde_json::Value = serde_json::from_slice(&status().stdout).ok()?;
            (status["stream"]["first"].as_u64()? > 1_000).then_some(())
        })
        .await;
        // The second one loses its disk.
        let second = daemons.pop().unwrap().unwrap();
        second.kill().await;
        fs::remove_dir_all(cluster.homes[1].path("data")).unwrap();
        // Others go on meanwhile: the copy is further than the stream was when the node came.
        let (socket, over) = (cluster.homes[0].socket(), std::rc::Rc::new(std::cell::Cell::new(false)));
        let tasks = tokio::task::LocalSet::new();
        let until_over = over.clone();
        let going_on = tasks.spawn_local(async move {
            let client = Client::connect(&socket).await.unwrap();
            let mut count = 0;
            while !until_over.get() {
                let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
                client.submit(vec![SubmitGroup { options, bodies: vec!["more".into()] }]).await.unwrap();
                count += 1;
            }
            count
        });
        let (second, more) = tasks
            .run_until(async {
                let second = cluster.homes[1].serve().await;
                cluster.homes[1].until_logged("copies all jobs from the cluster's owner").await;
                cluster.homes[1].until_logged("standing by: this node").await;
                over.set(true);
                (second, going_on.await.unwrap())
            })
            .await;
        drop(daemons.pop());
        until_owner(&second).await;
        let client = Client::connect(second.socket()).await.unwrap();
        let states = states(second.socket(), &[1, 700, 1_500, 1_500 + more]).await;
        assert_eq!(states, ["ready"; 4]);
        let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await.unwrap();
        let queue = queues.iter().find(|queue| queue.queue == "q").unwrap();
        assert_eq!((queue.ready, queue.totals.submitted), (1_500 + more, 1_500 + more));
        let first = claim(&client, "q", true, 0, None).await.unwrap();
        assert_eq!(&first.body[..], format!("0 {body}").as_bytes());
        client
            .settle(vec![musher::protocol::Settle { lease: first.lease, verdict: Verdict::Complete }])
            .await
            .unwrap()[0]
            .as_ref()
            .unwrap();
        drop(client);
    });
}

#[test]
fn a_directory_with_jobs_begins_a_cluster_and_joins_none() {
    let Some(servers) = Servers::start(1) else { return };
    block_on(async {
        let [first, second, third] = [0, 1, 2].map(|_| Home::new(""));
        for home in [&first, &second] {
            let daemon = home.serve().await;
            daemon.submit("q", &["one", "two"]).await;
            daemon.stop().await;
        }
        for (nth, home) in [&first, &second, &third].into_iter().enumerate() {
            home.configure(&configuration(&servers, 3, nth, ""));
        }
        let daemon = first.serve().await;
        assert_eq!(daemon.queue("q").await.ready, 2);
        daemon.submit("q", &["three"]).await;
        // Another one with jobs of its own.
        let refused = second.serve_command().output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(
            !refused.status.success()
                && said.contains("has jobs")
                && said.contains("the stream `musher` has others"),
            "{said}"
        );
        // One without any copies those that were there before the cluster.
        let other = third.serve().await;
        third.until_logged("copies all jobs from the cluster's owner: the cluster began with").await;
        third.until_logged("standing by: this node").await;
        daemon.kill().await;
        until_owner(&other).await;
        let client = Client::connect(other.socket()).await.unwrap();
        assert_eq!(&claim(&client, "q", true, 0, None).await.unwrap().body[..], b"one");
        drop(client);
        drop(other);
        // A node's directory is none for a daemon that is alone.
        third.configure("");
        let refused = third.serve_command().output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("that of a node of a cluster"), "{said}");
    });
}

/// Two with jobs of their own begin at the same moment: one of them does, and the other one says that it cannot join.
#[test]
fn of_two_directories_with_jobs_one_begins_the_cluster() {
    let Some(servers) = Servers::start(1) else { return };
    block_on(async {
        let homes = [0, 1].map(|_| Home::new(""));
        for home in &homes {
            let daemon = home.serve().await;
            daemon.submit("q", &["one"]).await;
            daemon.stop().await;
        }
        for (nth, home) in homes.iter().enumerate() {
            home.configure(&configuration(&servers, 2, nth, ""));
        }
        let start = |home: &Home| {
            let log = fs::File::create(home.path("log.txt")).unwrap();
            home.serve_command().stderr(log).spawn().unwrap()
        };
        let mut started = [start(&homes[0]), start(&homes[1])];
        let loser = until("one of them ends", async || {
            started.iter_mut().position(|child| child.try_wait().unwrap().is_some())
        })
        .await;
        let log = homes[loser].log();
        assert!(log.contains("jobs of its own") || log.contains("has jobs"), "{log}");
        // It is not lost: it can be alone again.
        let data = homes[loser].path("data");
        let left = homes[loser].musher(&["cluster", "leave", "--data", data.to_str().unwrap()]);
        let is_alone_already = String::from_utf8_lossy(&left.stderr).contains("that of no node");
        assert!(left.status.success() || is_alone_already, "{left:?}");
        homes[loser].configure("");
        assert_eq!(homes[loser].serve().await.queue("q").await.ready, 1);
        let [first, second] = started;
        for mut child in [first, second] {
            let _ = child.kill();
            child.wait().unwrap();
        }
    });
}

/// The servers are gone for good, with their disks: what a node had taken in begins another cluster.
#[test]
fn a_node_begins_anew_when_there_is_no_stream_any_more() {
    let Some(cluster) = Cluster::new(1, 2, "") else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        let other = 1 - owner;
        for nth in 1..=20 {
            submit(&cluster.homes[other].socket(), &nth.to_string()).await;
        }
        daemons[owner].take().unwrap().kill().await;
        // It has taken over, and so has taken in all of it.
        cluster.owner_after(2).await;
        let Cluster { servers, homes } = cluster;
        let home = &homes[other];
        let data = home.path("data").to_str().unwrap().to_owned();
        let leave = || home.musher(&["cluster", "leave", "--data", &data]);
        let busy = leave();
        assert!(String::from_utf8_lossy(&busy.stderr).contains("is in use"), "{busy:?}");
        let daemon = daemons[other].take().unwrap();
        let client = Client::connect(daemon.socket()).await.unwrap();
        assert_eq!(claim(&client, "q", true, 0, None).await.unwrap().body[..], *b"1");
        drop(client);
        daemon.stop().await;
        drop(servers);
        let verified = home.musher(&["verify", "--data", &data]);
        assert!(verified.status.success(), "{verified:?}");
        let left = leave();
        assert!(left.status.success(), "{left:?}");
        let again = leave();
        assert!(String::from_utf8_lossy(&again.stderr).contains("that of no node"), "{again:?}");
        // By itself, and then as the first node on other servers.
        home.configure("");
        let daemon = home.serve().await;
        assert_eq!(daemon.queue("q").await.ready, 20);
        assert_eq!(daemon.submit("q", &["more"]).await, 21);
        daemon.stop().await;
        let servers = Servers::start(1).unwrap();
        home.configure(&configuration(&servers, 2, other, ""));
        let daemon = home.serve().await;
        assert_eq!(daemon.queue("q").await.ready, 21);
        drop(daemon);
    });
}
