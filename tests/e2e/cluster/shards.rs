//! A cluster of several shards: each has an owner of its own, and any node takes any request.

use super::{Cluster, configuration, said, states, submit as submit_to_q};
use crate::helper::{Daemon, Home, block_on, until};
use crate::http::site::{OWN, Reply, exchange, served_at};
use crate::nats::Servers;
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, ClusterView, JobView, StatusView};
use musher::protocol::{JobOptions, SubmitGroup};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use tokio::net::TcpStream;

const SHARDS: &str = "[cluster]\nshards = 3\n";
/// A queue in each of the three.
const QUEUES: [&str; 3] = ["c2", "c0", "c1"];

/// Where the second table of that name would be, its lines are added to the first.
fn with_shards(configuration: &str) -> String {
    configuration.replacen("[cluster]\n", SHARDS, 1)
}

pub(super) fn sharded(servers: usize, nodes: usize, more: &str) -> Option<Cluster> {
    let cluster = Cluster::new(servers, nodes, "")?;
    for (nth, home) in cluster.homes.iter().enumerate() {
        home.configure(&with_shards(&configuration(&cluster.servers, nodes, nth, more)));
    }
    Some(cluster)
}

async fn submit(socket: &Path, queue: &str, key: &str) -> u64 {
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    let groups = vec![SubmitGroup { options, bodies: vec![key.to_owned().into()] }];
    until("a submit is acknowledged", async || {
        let client = Client::connect(socket).await.ok()?;
        Some(client.submit_once(key, groups.clone()).await.ok()?.first_id())
    })
    .await
}

/// The owner of each shard, once all have one.
pub(super) async fn owners(socket: &Path) -> Vec<String> {
    until("all shards have owners", async || {
        let client = Client::connect(socket).await.ok()?;
        let status: StatusView = client.ask(AdminRequest::Status {}).await.ok()?;
        status.shards.into_iter().map(|shard| shard.owner).collect::<Option<Vec<_>>>()
    })
    .await
}

/// The process of a shard of this daemon.
fn process_of(daemon: &Daemon, shard: usize) -> Pid {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.pid())).unwrap();
    let is_it = |pid: &&str| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0).skip(1);
        words.next() == Some(b"shard") && words.next() == Some(shard.to_string().as_bytes())
    };
    let pid = children.split_whitespace().find(is_it).expect("it has a process");
    Pid::from_raw(pid.parse().unwrap()).unwrap()
}

#[test]
fn any_node_takes_any_request_and_each_shard_has_its_owner() {
    let Some(cluster) = sharded(3, 3, "") else { return };
    block_on(async {
        let daemons = cluster.serve_all().await;
        let sockets: Vec<_> = cluster.homes.iter().map(Home::socket).collect();
        let mut ids: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for nth in 0..36 {
            let queue = QUEUES[nth % 3];
            ids.entry(queue).or_default().push(submit(&sockets[nth / 3 % 3], queue, &nth.to_string()).await);
        }
        for (shard, queue) in QUEUES.iter().enumerate() {
            let first = ((shard as u64) << 47).max(1);
            assert_eq!(ids[queue], (first..first + 12).collect::<Vec<_>>(), "{queue}");
        }
        let all: Vec<u64> = ids.values().flatten().copied().collect();
        for socket in &sockets {
            assert!(states(socket, &all).await.iter().all(|state| state == "ready"));
            let status: StatusView =
                Client::connect(socket).await.unwrap().ask(AdminRequest::Status {}).await.unwrap();
            let ready: Vec<_> =
                status.queues.iter().map(|queue| queue.ready).filter(|ready| *ready > 0).collect();
            assert_eq!(ready, [12, 12, 12]);
        }
        // Two nodes started later than the first: what it has taken is divided.
        let config = cluster.homes[0].path("musher.toml");
        let verb = |verb: &[&str]| {
            said(&cluster.homes[0], &[&["cluster"], verb, &["--config", config.to_str().unwrap()]].concat())
        };
        let (is_done, said) = verb(&["spread"]);
        assert!(is_done, "{said}");
        assert_eq!(owners(&sockets[1]).await, ["n0", "n1", "n2"]);
        let (is_done, said) = verb(&["move", "n0", "--shard", "2"]);
        assert!(is_done && said.contains("n0 runs shard 2"), "{said}");
        assert_eq!(owners(&sockets[1]).await, ["n0", "n1", "n0"]);
        let (is_done, said) = verb(&["status"]);
        assert!(is_done && said.contains("SHARD"), "{said}");
        let (is_done, said) = verb(&["verify"]);
        assert!(is_done && said.matches("the same after commit").count() == 3, "{said}");
        let (is_done, said) = verb(&["move", "n0", "--shard", "7"]);
        assert!(!is_done && said.contains("there are 3, from 0 on"), "{said}");
        drop(daemons);
    });
}

/// Only what concerns it waits, and nothing that was acknowledged is lost.
#[test]
fn a_shard_whose_process_is_killed_goes_on_elsewhere() {
    let Some(cluster) = sharded(1, 2, "") else { return };
    block_on(async {
        let daemons = cluster.serve_all().await;
        let sockets: Vec<_> = cluster.homes.iter().map(Home::socket).collect();
        let (mut ids, mut nth) = (Vec::new(), 0);
        for round in 0..4 {
            let owners = owners(&sockets[round % 2]).await;
            let shard = round % 3;
            let owner = usize::from(owners[shard] == "n1");
            for queue in QUEUES {
                nth += 1;
                ids.push(submit(&sockets[nth % 2], queue, &nth.to_string()).await);
            }
            let process = process_of(daemons[owner].as_ref().unwrap(), shard);
            kill_process(process, Signal::KILL).unwrap();
            for queue in QUEUES {
                nth += 1;
                ids.push(submit(&sockets[nth % 2], queue, &nth.to_string()).await);
            }
            cluster.homes[owner].until_logged(&format!("the process of shard {shard} has ended")).await;
        }
        for socket in &sockets {
            assert!(states(socket, &ids).await.iter().all(|state| state == "ready"));
        }
        let status: StatusView =
            Client::connect(&sockets[0]).await.unwrap().ask(AdminRequest::Status {}).await.unwrap();
        assert_eq!(status.queues.iter().map(|queue| queue.ready).sum::<u64>(), nth as u64);
        drop(daemons);
    });
}

/// The daemon that is killed takes its shards with it, and its next start goes on with what they have.
#[test]
fn a_node_of_shards_is_killed_and_stopped_as_one() {
    let Some(cluster) = sharded(1, 1, "") else { return };
    block_on(async {
        let home = &cluster.homes[0];
        let daemon = home.serve().await;
        let mut ids = Vec::new();
        for (nth, queue) in QUEUES.iter().enumerate() {
            ids.push(submit(&home.socket(), queue, &nth.to_string()).await);
        }
        let processes: Vec<_> = (0..3).map(|shard| process_of(&daemon, shard)).collect();
        daemon.kill().await;
        until("its shards have ended with it", async || {
            processes.iter().all(|pid| !is_there(*pid)).then_some(())
        })
        .await;
        let daemon = home.serve().await;
        assert!(states(&home.socket(), &ids).await.iter().all(|state| state == "ready"));
        let processes: Vec<_> = (0..3).map(|shard| process_of(&daemon, shard)).collect();
        daemon.stop().await;
        assert!(processes.iter().all(|pid| !is_there(*pid)));
        // The number of shards stays.
        change(home, "shards = 3", "shards = 4");
        let output = home.serve_command().output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("is one of 3 shards, and cluster.shards is 4"), "{said}");
    });
}

/// Changes what its configuration says.
fn change(home: &Home, from: &str, to: &str) {
    let path = home.path("musher.toml");
    let changed = fs::read_to_string(&path).unwrap().replacen(from, to, 1);
    fs::write(path, changed).unwrap();
}

fn is_there(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // One that nobody has waited for yet is gone all the same.
    status.is_ok_and(|stat| !stat.contains(") Z "))
}

/// A worker of the command line on queues of two shards holds its jobs through a change of one's owner.
#[test]
fn a_worker_on_two_shards_goes_on_under_the_next_owner() {
    let Some(cluster) = sharded(1, 2, "") else { return };
    block_on(async {
        let daemons = cluster.serve_all().await;
        let owners = owners(&cluster.homes[0].socket()).await;
        let owner = usize::from(owners[0] == "n1");
        let edge = &cluster.homes[1 - owner];
        let (ran, go) = (edge.path("ran"), edge.path("go"));
        let script = format!(
            "echo $MUSHER_QUEUE >> {}; until test -e {}; do sleep 0.05; done",
            ran.display(),
            go.display()
        );
        let mut command = edge.command();
        command.args(["work", QUEUES[0], QUEUES[1], "-j", "2", "--", "sh", "-c", &script]);
        let worker = Worker(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let ids =
            [submit(&edge.socket(), QUEUES[0], "one").await, submit(&edge.socket(), QUEUES[1], "two").await];
        let lines = |count: usize| {
            let ran = ran.clone();
            async move {
                until("they run", async || {
                    let text = fs::read_to_string(&ran).unwrap_or_default();
                    (text.lines().count() == count).then_some(text)
                })
                .await
            }
        };
        lines(2).await;
        kill_process(process_of(daemons[owner].as_ref().unwrap(), 0), Signal::KILL).unwrap();
        cluster.homes[1 - owner].until_logged("a worker is back with 1 job").await;
        fs::write(&go, "").unwrap();
        until("both are done", async || {
            let client = Client::connect(edge.socket()).await.ok()?;
            for id in ids {
                if client.ask::<JobView>(AdminRequest::Show { id }).await.is_ok() {
                    return None;
                }
            }
            Some(())
        })
        .await;
        assert_eq!(lines(2).await.lines().count(), 2, "each ran once");
        drop((worker, daemons));
    });
}

struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

async fn get(address: &str, path: &str) -> Reply {
    let lines = format!("Host: {address}\r\nAuthorization: Bearer {OWN}\r\n");
    exchange(TcpStream::connect(address).await.unwrap(), &format!("GET {path}"), &lines, b"").await
}

#[test]
fn shards_are_seen_by_http_and_their_backups_made_one_by_one() {
    let Some(servers) = Servers::start(1) else { return };
    block_on(async {
        let home = Home::new("");
        let tokens = home.path("tokens");
        fs::write(&tokens, format!("{} {OWN}\n", rustix::process::geteuid().as_raw())).unwrap();
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
        let commands = "[queues.commands]\nworkers = 1\nhandler = \"command\"\nkeep = { done = \"1h\" }\n";
        let more = format!("{commands}[daemon]\nhttp = \"127.0.0.1:0\"\nhttp_tokens = {tokens:?}\n");
        home.configure(&with_shards(&configuration(&servers, 1, 0, &more)));
        let daemon = home.serve().await;
        let address = served_at(&home, "serving HTTP at ", 0).await;
        for (nth, queue) in QUEUES.iter().enumerate() {
            submit(&home.socket(), queue, &nth.to_string()).await;
        }
        for shard in 0..3u32 {
            let view = until("it says how it sees the cluster", async || {
                let path = format!("/api/v1/cluster?shard={shard}");
                let view: ClusterView = serde_json::from_value(get(&address, &path).await.json()).unwrap();
                view.owner.is_some().then_some(view)
            })
            .await;
            assert_eq!((view.shard, view.shards), (Some(shard), Some(3)));
            assert_eq!(view.stream.name, format!("musher-{shard}"));
        }
        assert_eq!(get(&address, "/api/v1/cluster?shard=3").await.status, 404);
        assert_eq!(get(&address, "/healthz").await.status, 200);
        assert_eq!(get(&address, "/readyz").await.status, 200);
        let metrics = String::from_utf8(get(&address, "/metrics").await.body).unwrap();
        for (shard, queue) in QUEUES.iter().enumerate() {
            for line in [
                format!("musher_cluster_is_owner{{shard=\"{shard}\"}} 1\n"),
                format!("musher_jobs_submitted_total{{queue=\"{queue}\"}} 1\n"),
            ] {
                assert!(metrics.contains(&line), "{line} {metrics}");
            }
        }
        // Commands run in the shard of their queue, and are followed to their end.
        let output = home.musher(&["run", "--wait", "--", "sh", "-c", "echo hello; exit 3"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert_eq!(output.stdout, b"hello\n");
        let backup = |shard: &[&str]| {
            let to = home.path("backup");
            let output = home.musher(&[&["backup", to.to_str().unwrap()], shard].concat());
            let _ = fs::remove_file(to);
            (output.status.success(), String::from_utf8(output.stderr).unwrap())
        };
        let (is_done, said) = backup(&["--shard", "1"]);
        assert!(is_done && said.contains("1 job,"), "{said}");
        let (is_done, said) = backup(&[]);
        assert!(!is_done && said.contains("say which, from 0 to 2"), "{said}");
        daemon.stop().await;
    });
}

/// Jobs of a daemon without shards have ids that say of none.
#[test]
fn a_directory_without_shards_is_not_taken_for_one_with() {
    let Some(cluster) = Cluster::new(1, 1, "") else { return };
    block_on(async {
        let home = &cluster.homes[0];
        let daemon = home.serve().await;
        submit_to_q(&home.socket(), "one").await;
        daemon.stop().await;
        change(home, "[cluster]\n", SHARDS);
        let output = home.serve_command().output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("has the jobs of a daemon without shards"), "{said}");
    });
}
