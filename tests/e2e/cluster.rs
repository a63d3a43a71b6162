//! Several daemons with the same jobs, on real servers: one of them runs the queue, any of them takes requests, and when it is gone
//! another one goes on with everything that was acknowledged.

use crate::helper::{Daemon, Home, block_on, claim, until};
use crate::nats::Servers;
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, JobView, QueueView, StatusView};
use musher::protocol::{JobOptions, SubmitGroup, Verdict};
use rustix::process::Signal;
use std::fs;
use std::path::Path;

/// Nodes of one cluster, each with a directory of its own.
struct Cluster {
    servers: Servers,
    homes: Vec<Home>,
}

impl Cluster {
    /// So many servers, and nodes with this in their configuration. `None` where there are no servers.
    fn new(servers: usize, nodes: usize, more: &str) -> Option<Cluster> {
        let servers = Servers::start(servers)?;
        let homes = (0..nodes).map(|nth| Home::new(&configuration(&servers, nodes, nth, more))).collect();
        Some(Cluster { servers, homes })
    }

    async fn serve_all(&self) -> Vec<Option<Daemon>> {
        let mut daemons = Vec::new();
        for home in &self.homes {
            daemons.push(Some(home.serve().await));
        }
        daemons
    }

    /// Which node has taken over last, once `count` have.
    async fn owner_after(&self, takeovers: usize) -> usize {
        let epochs = |home: &Home| -> Vec<usize> {
            let log = home.log();
            let lines =
                log.lines().filter_map(|line| line.split_once("has taken over")?.1.split_once("epoch="));
            lines.map(|(_, rest)| rest.split(' ').next().unwrap().parse().unwrap()).collect()
        };
        until(&format!("{takeovers} nodes have taken over"), async || {
            self.homes.iter().position(|home| epochs(home).iter().any(|epoch| *epoch >= takeovers))
        })
        .await
    }
}

/// The lease is longer than a busy machine may make anybody silent: in tests nobody takes over who is not to.
fn configuration(servers: &Servers, nodes: usize, nth: usize, more: &str) -> String {
    let nodes: Vec<String> = (0..nodes).map(|nth| format!("\"n{nth}\"")).collect();
    format!(
        "{more}\n[cluster]\nlease = \"1500ms\"\nnode = \"n{nth}\"\nnodes = [{}]\nnats = {:?}\nreplicas = {}\nsync = \"always\"\n",
        nodes.join(", "),
        servers.urls(),
        servers.urls().len()
    )
}

/// Submits by whichever socket, until it is acknowledged.
async fn submit(socket: &Path, key: &str) -> u64 {
    let options = JobOptions { queue: "q".into(), ..JobOptions::default() };
    let groups = vec![SubmitGroup { options, bodies: vec![key.to_owned().into()] }];
    until("a submit is acknowledged", async || {
        let client = Client::connect(socket).await.ok()?;
        Some(client.submit_once(key, groups.clone()).await.ok()?.first_id())
    })
    .await
}

async fn states(socket: &Path, ids: &[u64]) -> Vec<String> {
    let mut states = Vec::new();
    for id in ids {
        let show = AdminRequest::Show { id: *id };
        let job: JobView = until("a job is shown", async || {
            Client::connect(socket).await.ok()?.ask(show.clone()).await.ok()
        })
        .await;
        states.push(job.state);
    }
    states
}

/// On three servers, of which the stream is on all.
#[test]
fn whoever_is_killed_another_node_has_all_that_was_acknowledged() {
    let Some(cluster) = Cluster::new(3, 3, "") else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let (mut ids, mut submitted) = (Vec::new(), 0);
        for round in 1..=4 {
            let owner = cluster.owner_after(round).await;
            for nth in 0..30 {
                submitted += 1;
                ids.push(submit(&cluster.homes[nth % 3].socket(), &submitted.to_string()).await);
            }
            if round % 2 == 0 {
                // It is silent, and comes to itself when another one is the owner.
                let daemon = daemons[owner].take().unwrap();
                daemon.signal(Signal::STOP);
                cluster.owner_after(round + 1).await;
                daemon.signal(Signal::CONT);
                assert_eq!(daemon.ended().await.code(), Some(1));
                let log = cluster.homes[owner].log();
                assert!(
                    log.contains("another node has taken over") || log.contains("cut off from the servers"),
                    "{log}"
                );
            } else {
                daemons[owner].take().unwrap().kill().await;
            }
            for nth in 0..30 {
                submitted += 1;
                ids.push(
                    submit(&cluster.homes[(owner + 1 + nth % 2) % 3].socket(), &submitted.to_string()).await,
                );
            }
            daemons[owner] = Some(cluster.homes[owner].serve().await);
        }
        let numbers: Vec<u64> = (1..=submitted).collect();
        assert_eq!(ids, numbers, "none is lost, and none is there twice");
        for home in &cluster.homes {
            assert_eq!(states(&home.socket(), &[1, submitted]).await, ["ready", "ready"]);
        }
        // All servers and all nodes at once.
        let mut servers = cluster.servers;
        drop(daemons);
        (0..3).for_each(|nth| servers.kill(nth));
        (0..3).for_each(|nth| servers.start_again(nth));
        let daemon = cluster.homes[0].serve().await;
        assert_eq!(daemon.queue("q").await.ready, submitted);
        drop(daemon);
    });
}

#[test]
fn an_owner_that_is_stopped_hands_over_at_once() {
    let Some(cluster) = Cluster::new(1, 2, "") else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let first = cluster.owner_after(1).await;
        submit(&cluster.homes[1 - first].socket(), "one").await;
        let daemon = daemons[first].take().unwrap();
        daemon.stop().await;
        let second = cluster.owner_after(2).await;
        assert_eq!(second, 1 - first);
        submit(&cluster.homes[second].socket(), "two").await;
        let daemon = daemons[second].take().unwrap();
        let client = Client::connect(daemon.socket()).await.unwrap();
        let status: StatusView = client.ask(AdminRequest::Status {}).await.unwrap();
        assert_eq!(status.pid, daemon.pid());
        drop(client);
        daemon.stop().await;
        // Nobody is left: the next one goes on by itself.
        let daemon = cluster.homes[first].serve().await;
        assert_eq!(daemon.queue("q").await.ready, 2);
    });
}

/// A worker at a node that stands by holds its jobs through a change of the owner.
#[test]
fn a_worker_goes_on_under_the_next_owner() {
    let Some(cluster) = Cluster::new(1, 3, "") else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        let edge = &cluster.homes[(owner + 1) % 3];
        let (ran, go) = (edge.path("ran"), edge.path("go"));
        let script =
            format!("echo x >> {}; until test -e {}; do sleep 0.05; done", ran.display(), go.display());
        let mut worker = edge.command();
        let worker = worker.args(["work", "q", "--", "sh", "-c", &script]);
        let mut worker = worker.stderr(fs::File::create(edge.path("worker")).unwrap()).spawn().unwrap();
        submit(&edge.socket(), "one").await;
        until("it runs", async || ran.exists().then_some(())).await;
        daemons[owner].take().unwrap().kill().await;
        let next = cluster.owner_after(2).await;
        fs::write(&go, "").unwrap();
        let daemon = daemons[next].as_ref().unwrap();
        until("it is done", async || {
            let client = Client::connect(daemon.socket()).await.ok()?;
            client.ask::<JobView>(AdminRequest::Show { id: 1 }).await.is_err().then_some(())
        })
        .await;
        assert_eq!(fs::read_to_string(ran).unwrap(), "x\n", "it ran once");
        let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&worker), Signal::TERM);
        worker.wait().unwrap();
    });
}

/// What the daemon itself runs goes on when it is killed, and its node stands by after the next start: it is connected to the next owner.
#[test]
fn a_command_of_a_killed_owner_ends_under_the_next_one() {
    let more = "[queues.commands]\nworkers = 2\nhandler = \"command\"\nkeep = { done = \"1h\" }\n";
    let Some(cluster) = Cluster::new(1, 2, more) else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        let home = &cluster.homes[owner];
        let (ran, go) = (home.path("ran"), home.path("go"));
        let script =
            format!("echo x >> {}; until test -e {}; do sleep 0.05; done", ran.display(), go.display());
        assert!(home.musher(&["run", "--", "sh", "-c", &script]).status.success());
        until("it runs", async || ran.exists().then_some(())).await;
        daemons[owner].take().unwrap().kill().await;
        cluster.owner_after(2).await;
        daemons[owner] = Some(home.serve().await);
        cluster.homes[1 - owner].until_logged("a worker is back with 1 job").await;
        fs::write(&go, "").unwrap();
        let job = until("it is done", async || {
            let client = Client::connect(home.socket()).await.ok()?;
            let job: JobView = client.ask(AdminRequest::Show { id: 1 }).await.ok()?;
            (job.state == "done").then_some(job)
        })
        .await;
        assert_eq!((job.attempt, job.crashes, job.failed), (1, 0, 0), "{job:?}");
        assert_eq!(fs::read_to_string(ran).unwrap(), "x\n", "it ran once");
    });
}

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
        until("the second one runs the queue", async || {
            let client = Client::connect(second.socket()).await.ok()?;
            let status: StatusView = client.ask(AdminRequest::Status {}).await.ok()?;
            (status.pid == second.pid()).then_some(())
        })
        .await;
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
        until("the third one runs the queue", async || {
            let client = Client::connect(other.socket()).await.ok()?;
            let status: StatusView = client.ask(AdminRequest::Status {}).await.ok()?;
            (status.pid == other.pid()).then_some(())
        })
        .await;
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

#[test]
fn the_cluster_is_shown_whatever_is_wrong_with_it() {
    let Some(cluster) = Cluster::new(1, 2, "") else { return };
    block_on(async {
        let home = &cluster.homes[0];
        let config = home.path("musher.toml");
        let status = |more: &[&str]| {
            home.musher(&[&["cluster", "status", "--config", config.to_str().unwrap()], more].concat())
        };
        let text = |output: &std::process::Output| {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        // There is no stream yet.
        let output = status(&[]);
        assert!(
            output.status.code() == Some(1) && text(&output).contains("`musher` cannot be used"),
            "{}",
            text(&output)
        );
        let daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        submit(&home.socket(), "one").await;
        let found = until("both are seen, with all commits", async || {
            let output = status(&[]);
            let said = text(&output);
            let lines: Vec<&str> = said.lines().collect();
            let is_there = lines.iter().any(|line| line.contains("standby"))
                && lines.iter().any(|line| line.contains("owner"));
            (output.status.code() == Some(0) && is_there).then_some(said)
        })
        .await;
        assert!(found.contains(&format!("n{owner} runs the queue, in ownership 1")), "{found}");
        let json: serde_json::Value = serde_json::from_slice(&status(&["--json"]).stdout).unwrap();
        assert_eq!(json["owner"], format!("n{owner}"));
        drop(daemons);
        let found = until("nobody is there", async || {
            let output = status(&[]);
            (output.status.code() == Some(1)).then(|| text(&output))
        })
        .await;
        assert!(found.contains("absent") && found.contains("no node runs the queue"), "{found}");
        let alone = Home::new("");
        let output =
            alone.musher(&["cluster", "status", "--config", alone.path("musher.toml").to_str().unwrap()]);
        assert!(
            output.status.code() == Some(2) && text(&output).contains("has no [cluster]"),
            "{}",
            text(&output)
        );
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
