//! The files of contrib/cluster, as they are, but for addresses and places: three servers and three nodes work with them.

use super::{Cluster, submit};
use crate::helper::{Home, block_on, until};
use crate::nats::Servers;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/cluster").join(name)).unwrap()
}

#[test]
fn three_machines_work_with_the_examples() {
    try_them("");
}

/// The rights are enough for what shards say, too.
#[test]
fn three_machines_with_shards_work_with_the_examples() {
    try_them("shards = 2\n");
}

fn try_them(more: &str) {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut servers) = Servers::within(dir.path(), 3) else { return };
    servers.configure_as(read("nats.conf"));
    (0..3).for_each(|nth| servers.start_again(nth));
    let credentials = dir.path().join("credentials");
    fs::write(&credentials, "musher:change-me\n").unwrap();
    fs::set_permissions(&credentials, fs::Permissions::from_mode(0o640)).unwrap();
    let table = servers.moved_here(&read("musher.toml"));
    let table = table.replace("\"/etc/musher/nats\"", &format!("{credentials:?}"));
    let home = |name: &str| {
        Home::new(&table.replace("[cluster]\n", &format!("[cluster]\n{more}node = \"{name}\"\n")))
    };
    let homes: Vec<Home> = ["one", "two", "three"].into_iter().map(home).collect();
    let cluster = Cluster { servers, homes };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        let (edge, other) = (&cluster.homes[(owner + 1) % 3], &cluster.homes[(owner + 2) % 3]);
        submit(&edge.socket(), "one").await;
        // All that is said over the servers, by the rights that the example gives.
        let config = edge.path("musher.toml");
        let verb = |args: &[&str]| {
            let output = edge.musher(&[args, &["--config", config.to_str().unwrap()]].concat());
            output.status.success().then_some(())
        };
        until("all have the same", async || verb(&["cluster", "verify"])).await;
        until("it is shown", async || verb(&["cluster", "status"])).await;
        let to = ["one", "two", "three"][(owner + 2) % 3];
        until("another one has the queue", async || verb(&["cluster", "move", to])).await;
        daemons[(owner + 2) % 3].take().unwrap().kill().await;
        submit(&edge.socket(), "two").await;
        drop(daemons);
        for home in [edge, other] {
            assert!(!home.log().contains("ermission"), "{}", home.log());
        }
    });
    for nth in 0..3 {
        let log = fs::read_to_string(dir.path().join(format!("{nth}.log"))).unwrap();
        assert!(!log.contains("Violation"), "{log}");
    }
}
