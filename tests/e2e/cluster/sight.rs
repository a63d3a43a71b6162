//! What a node says of its cluster, by HTTP, whether or not somebody runs the queue; and how the queue is given to another node.

use super::{Cluster, Worker, configuration, submit, until_owner};
use crate::helper::{Home, block_on, until};
use crate::http::site::{OWN, Reply, exchange, served_at};
use crate::nats::Servers;
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, ClusterView, StatusView};
use musher::protocol::{JobOptions, SubmitGroup};
use rustix::process::Signal;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpStream;

async fn get(address: &str, path: &str) -> Reply {
    let lines = format!("Host: {address}\r\nAuthorization: Bearer {OWN}\r\n");
    exchange(TcpStream::connect(address).await.unwrap(), &format!("GET {path}"), &lines, b"").await
}

async fn seen(address: &str) -> ClusterView {
    serde_json::from_value(get(address, "/api/v1/cluster").await.json()).unwrap()
}

/// With HTTP at each node.
fn cluster_with_http() -> Option<Cluster> {
    let servers = Servers::start(1)?;
    let home = |nth| {
        let home = Home::new("");
        let tokens = home.path("tokens");
        fs::write(&tokens, format!("{} {OWN}\n", rustix::process::geteuid().as_raw())).unwrap();
        fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).unwrap();
        let more = format!("[daemon]\nhttp = \"127.0.0.1:0\"\nhttp_tokens = {tokens:?}\n");
        home.configure(&configuration(&servers, 2, nth, &more));
        home
    };
    let homes = (0..2).map(home).collect();
    Some(Cluster { servers, homes })
}

#[test]
fn each_node_says_how_it_sees_the_cluster() {
    let Some(mut cluster) = cluster_with_http() else { return };
    block_on(async {
        let daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        submit(&cluster.homes[1 - owner].socket(), "one").await;
        let mut addresses = Vec::new();
        for home in &cluster.homes {
            addresses.push(served_at(home, "serving HTTP at ", 0).await);
        }
        for (nth, address) in addresses.iter().enumerate() {
            let view = until("both nodes have been heard", async || {
                let view = seen(address).await;
                view.nodes.iter().all(|node| node.commit == Some(1)).then_some(view)
            })
            .await;
            assert_eq!((view.node, view.epoch), (Some(format!("n{nth}")), 1));
            assert_eq!(view.owner, Some(format!("n{owner}")));
            let roles: Vec<_> = view.nodes.iter().map(|node| (&*node.role, node.behind)).collect();
            let expected = [("owner", None), ("standby", Some(0))];
            assert_eq!(roles, [expected[owner], expected[1 - owner]]);
            assert_eq!(view.unanswered_ms.is_some(), nth == owner);
            assert_eq!(get(address, "/healthz").await.status, 200);
            assert_eq!(get(address, "/readyz").await.status, 200, "by the owner");
            let metrics = String::from_utf8(get(address, "/metrics").await.body).unwrap();
            assert!(metrics.contains(&format!("musher_cluster_is_owner {}\n", u8::from(nth == owner))));
            assert!(metrics.contains("musher_cluster_nodes{role=\"standby\"} 1\n"), "{metrics}");
            assert!(metrics.contains("process_resident_memory_bytes"));
            // Added up over all nodes, they are what happened.
            assert_eq!(metrics.contains("musher_jobs_submitted_total{queue=\"q\"} 1\n"), nth == owner);
        }
        // Nobody can be the owner: who stands by is well, and says so.
        cluster.servers.kill(0);
        let standby = &addresses[1 - owner];
        until("the owner is not heard any more", async || seen(standby).await.owner.is_none().then_some(()))
            .await;
        assert_eq!(get(standby, "/healthz").await.status, 200);
        let metrics = String::from_utf8(get(standby, "/metrics").await.body).unwrap();
        assert!(metrics.contains("musher_cluster_nodes{role=\"absent\"} 1\n"), "{metrics}");
        drop(daemons);
    });
}

#[test]
fn the_queue_is_given_to_the_node_that_is_named() {
    let Some(cluster) = Cluster::new(1, 3, "[daemon]\ndrain_timeout = \"60s\"\n") else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        let (to, other) = ((owner + 2) % 3, (owner + 1) % 3);
        let home = &cluster.homes[other];
        let move_to = |node: &str| {
            let config = home.path("musher.toml");
            home.musher(&["cluster", "move", node, "--config", config.to_str().unwrap()])
        };
        let refused = |node: &str, why: &str| {
            let output = move_to(node);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.code() == Some(1) && said.contains(why), "{said}");
        };
        refused(&format!("n{owner}"), "runs the queue already");
        refused("n7", "does not stand by");

        // A job runs meanwhile, at a worker that is connected to the owner itself.
        let edge = &cluster.homes[owner];
        let (ran, go) = (edge.path("ran"), edge.path("go"));
        let worker = Worker::start(edge, &ran, &go);
        submit(&edge.socket(), "one").await;
        until("it runs", async || ran.exists().then_some(())).await;
        let mut moving = home.command();
        let config = home.path("musher.toml");
        moving.args(["cluster", "move", &format!("n{to}"), "--config", config.to_str().unwrap()]);
        let moving = moving.stdout(Stdio::piped()).spawn().unwrap();
        edge.until_logged("this node gives the queue to another one: 1 running job").await;
        fs::write(&go, "").unwrap();
        assert_eq!(cluster.owner_after(2).await, to, "not the next in the list");
        let output = moving.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("n{to} runs the queue\n"));
        until_owner(daemons[to].as_ref().unwrap()).await;
        // The former owner is the same process, takes requests for the next one, and can be the owner again.
        submit(&edge.socket(), "two").await;
        until("both are done", async || {
            let client = Client::connect(&edge.socket()).await.ok()?;
            let status: StatusView = client.ask(AdminRequest::Status {}).await.ok()?;
            status.queues.iter().all(|queue| queue.ready + queue.leased == 0).then_some(())
        })
        .await;
        assert_eq!(fs::read_to_string(&ran).unwrap(), "x\nx\n", "each ran once");
        drop(worker);
        until("it stands by", async || move_to(&format!("n{owner}")).status.success().then_some(())).await;
        until_owner(daemons[owner].as_ref().unwrap()).await;

        // What takes a start is not there without one.
        let config = fs::read_to_string(edge.path("musher.toml")).unwrap();
        fs::write(edge.path("musher.toml"), config.replace("1500ms", "1600ms")).unwrap();
        let daemon = daemons[owner].take().unwrap();
        daemon.reload(edge).await;
        assert!(move_to(&format!("n{other}")).status.success());
        assert_eq!(daemon.ended().await.code(), Some(1));
        edge.until_logged("where that takes a start (cluster.lease)").await;
    });
}

/// Each node begins with the server at its own place, and the stream follows the owner there.
#[test]
fn the_stream_is_led_by_the_server_of_the_owner() {
    let Some(cluster) = Cluster::new(3, 2, "") else { return };
    block_on(async {
        let daemons = cluster.serve_all().await;
        let mut owner = cluster.owner_after(1).await;
        for takeovers in 1..=2 {
            let home = &cluster.homes[owner];
            let config = home.path("musher.toml");
            let server = Servers::name(owner);
            until(&format!("{server} leads the stream"), async || {
                let output = home.musher(&["cluster", "status", "--json", "--config", config.to_str()?]);
                let seen: ClusterView = serde_json::from_slice(&output.stdout).ok()?;
                (seen.stream.leader? == server).then_some(())
            })
            .await;
            submit(&home.socket(), &takeovers.to_string()).await;
            if takeovers == 1 {
                let next = format!("n{}", 1 - owner);
                assert!(
                    home.musher(&["cluster", "move", &next, "--config", config.to_str().unwrap()])
                        .status
                        .success()
                );
                owner = cluster.owner_after(2).await;
            }
        }
        drop(daemons);
    });
}

/// Says that something is over, however that came.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// While jobs come in and go, and with all kinds of rows beside them.
#[test]
fn all_nodes_have_the_same_state_after_the_same_commit() {
    let more = "[queues.q]\nper_key = 1\n[schedules.often]\nevery = \"1s\"\nqueue = \"q\"\nbody = \"x\"\n";
    let Some(cluster) = Cluster::new(1, 3, more) else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        let home = &cluster.homes[(owner + 1) % 3];
        let verify = || {
            let config = home.path("musher.toml");
            let output = home.musher(&["cluster", "verify", "--json", "--config", config.to_str().unwrap()]);
            (output.status.code(), serde_json::from_slice::<serde_json::Value>(&output.stdout).ok())
        };
        let is_over = AtomicBool::new(false);
        let (mut commits, mut compared) = (Vec::new(), 0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for nth in 0.. {
                    let (key, unique) = (format!("k{}", nth % 7), format!("u{nth}"));
                    let job = ["submit", "q", "--key", &key, "--unique", &unique, "--group", "g", "body"];
                    assert!(home.musher(&job).status.success());
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                }
            });
            // So many that something is always decided which the log cannot take yet.
            for _ in 0..24 {
                scope.spawn(|| {
                    block_on(async {
                        let client = Client::connect(&cluster.homes[owner].socket()).await.unwrap();
                        let options = JobOptions { queue: "plain".into(), ..JobOptions::default() };
                        let group = SubmitGroup { options, bodies: vec!["x".into()] };
                        while !is_over.load(Ordering::Relaxed) {
                            client.submit(vec![group.clone()]).await.unwrap();
                        }
                    });
                });
            }
            // Also if something here fails.
            let _ends = Ends(&is_over);
            while compared < 20 && commits.len() < 100 {
                let (code, found) = verify();
                let found = found.unwrap();
                assert_eq!((code, &found["same"]), (Some(0), &true.into()), "{found}");
                compared += u32::from(found["nodes"].as_array().unwrap().len() == 3);
                commits.push(found["commit"].as_u64().unwrap());
            }
        });
        assert!(compared == 20 && commits.is_sorted() && commits.first() < commits.last(), "{commits:?}");
        daemons[(owner + 2) % 3].take().unwrap().stop().await;
        let (code, found) = until("one is missing", async || {
            let (code, found) = verify();
            let found = found?;
            (!found["missing"].as_array().unwrap().is_empty()).then_some((code, found))
        })
        .await;
        assert_eq!(
            (code, &found["missing"]),
            (Some(0), &serde_json::json!([format!("n{}", (owner + 2) % 3)]))
        );
        daemons[(owner + 1) % 3].take().unwrap().stop().await;
        let code = until("nobody is left to compare with", async || {
            let (code, found) = verify();
            found?["nodes"].as_array().unwrap().get(1).is_none().then_some(code)
        })
        .await;
        assert_eq!(code, Some(1));
    });
}

#[test]
fn a_signal_while_the_queue_is_given_away_hurries_nobody() {
    let Some(cluster) = Cluster::new(1, 2, "[daemon]\ndrain_timeout = \"60s\"\n") else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        let (daemon, home) = (daemons[owner].take().unwrap(), &cluster.homes[owner]);
        let (ran, go) = (home.path("ran"), home.path("go"));
        let worker = Worker::start(home, &ran, &go);
        submit(&home.socket(), "one").await;
        until("it runs", async || ran.exists().then_some(())).await;
        let (mut moving, config) = (home.command(), home.path("musher.toml"));
        let to = format!("n{}", 1 - owner);
        moving.args(["cluster", "move", &to, "--config", config.to_str().unwrap()]);
        let moving = moving.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        home.until_logged("this node gives the queue to another one: 1 running job").await;
        daemon.signal(Signal::TERM);
        home.until_logged("draining: 1 running job").await;
        fs::write(&go, "").unwrap();
        assert_eq!(daemon.ended().await.code(), Some(0), "it does not stand by");
        assert!(!home.log().contains("second signal"));
        assert!(moving.wait_with_output().unwrap().status.success());
        assert_eq!(fs::read_to_string(&ran).unwrap(), "x\n", "it ran once");
        drop(worker);
    });
}
