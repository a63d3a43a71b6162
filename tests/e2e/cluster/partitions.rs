//! Networks that are cut. The soak tries many of them (`examples/soak/cluster/partitions.rs`).

use super::{Cluster, configuration_by, submit};
use crate::helper::{Home, block_on};
use crate::nats::Servers;
use crate::network::{BOTH, Network};
use std::time::Duration;
use tokio::time::timeout;

/// A leader that is cut off notices it after ten seconds, and nodes look for another server ten seconds later.
const PATIENCE: Duration = Duration::from_secs(55);

/// A server that is cut off from the others answers its clients. All nodes are connected by it, and could have the others.
#[test]
fn nodes_leave_a_server_that_is_cut_off_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut servers) = Servers::within(dir.path(), 3) else { return };
    let network = Network::between(3, &mut servers).unwrap();
    (0..3).for_each(|nth| servers.start_again(nth));
    let homes = (0..3).map(|nth| Home::new(&configuration_by(network.urls(nth), 3, nth, ""))).collect();
    let cluster = Cluster { servers, homes };
    let to_others = || (0..3).flat_map(|node| [(node, 1), (node, 2)]);
    to_others().for_each(|(node, server)| network.shut_node(node, server));
    block_on(async {
        let _daemons = cluster.serve_all().await;
        // If the owner is not the same any more it has ended.
        let socket = cluster.homes[(cluster.owner_after(1).await + 1) % 3].socket();
        assert_eq!(submit(&socket, "one").await, 1);
        to_others().for_each(|(node, server)| network.heal_node(node, server));
        (1..3).for_each(|other| network.hold_servers(0, other, &BOTH));
        let submitted = timeout(PATIENCE, submit(&socket, "two")).await;
        let logs = || cluster.homes.iter().map(Home::log).collect::<Vec<_>>().join("\n--\n");
        assert_eq!(submitted, Ok(2), "{}", logs());
    });
}
