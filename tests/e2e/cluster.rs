//! Several daemons with the same jobs, on real servers: one of them runs the queue, any of them takes requests, and when it is gone
//! another one goes on with everything that was acknowledged.

mod directories;
mod divided;
mod examples;
mod partitions;
mod shards;
mod sight;
mod tls;
mod versions;

use crate::helper::{Daemon, Home, block_on, until};
use crate::nats::Servers;
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, JobView, StatusView};
use musher::protocol::{JobOptions, SubmitGroup};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::Path;
use std::process::Child;

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
    configuration_by(&servers.urls(), nodes, nth, more)
}

/// The same, for a node that has these ways to the servers.
fn configuration_by(urls: &[String], nodes: usize, nth: usize, more: &str) -> String {
    let nodes: Vec<String> = (0..nodes).map(|nth| format!("\"n{nth}\"")).collect();
    format!(
        "{more}\n[cluster]\nlease = \"1500ms\"\nnode = \"n{nth}\"\nnodes = [{}]\nnats = {:?}\nreplicas = {}\nsync = \"always\"\n",
        nodes.join(", "),
        urls,
        urls.len()
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

/// Whether a verb did what it should, and what it said.
fn said(home: &Home, args: &[&str]) -> (bool, String) {
    let output = home.musher(args);
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap()).concat();
    (output.status.success(), said)
}

/// A worker of the command line that appends a line to one file when a job begins, and ends it once another file is there.
struct Worker(Child);

impl Worker {
    fn start(home: &Home, ran: &Path, go: &Path) -> Worker {
        let script =
            format!("echo x >> {}; until test -e {}; do sleep 0.05; done", ran.display(), go.display());
        let mut command = home.command();
        let command = command.args(["work", "q", "--", "sh", "-c", &script]);
        let log = || fs::File::create(home.path("worker")).unwrap();
        Worker(command.stdout(log()).stderr(log()).spawn().unwrap())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Waits until this daemon runs the queue.
async fn until_owner(daemon: &Daemon) {
    until("it runs the queue", async || {
        let client = Client::connect(daemon.socket()).await.ok()?;
        let status: StatusView = client.ask(AdminRequest::Status {}).await.ok()?;
        (status.pid == daemon.pid()).then_some(())
    })
    .await;
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
        until_owner(&daemon).await;
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
        let worker = Worker::start(edge, &ran, &go);
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
        drop(worker);
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
