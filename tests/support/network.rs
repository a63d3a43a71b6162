//! The network of a cluster on one machine: each node has a link to each server, and each server one to each other, and there is no other
//! way. They are broken one by one, and healed all at once.

use crate::links::{Link, Links, Way};
use crate::nats::Servers;
use fastrand::Rng;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The last number of the first link's address; servers have those below.
const OF_NODES: u8 = 16;
const OF_SERVERS: u8 = 128;

/// Both directions.
pub(crate) const BOTH: [Way; 2] = [Way::There, Way::Back];

pub(crate) struct Network {
    /// By node and server.
    to_servers: Vec<Vec<Link>>,
    urls: Vec<Vec<String>>,
    /// By the server that connects and the other one. A server has one to itself, which nobody uses.
    routes: Vec<Vec<Link>>,
    _links: Links,
}

impl Network {
    /// Between so many nodes and as many servers, which are to be started behind it.
    pub(crate) fn between(count: usize, servers: &mut Servers) -> io::Result<Network> {
        let links = Links::new()?;
        let (mut to_servers, mut urls, mut routes, mut ways) = (vec![], vec![], vec![], vec![]);
        for from in 0..count {
            let clients: Vec<_> =
                (0..count).map(|to| beside(servers.for_clients(to), OF_NODES, from)).collect();
            let others: Vec<_> =
                (0..count).map(|to| beside(servers.for_servers(to), OF_SERVERS, from)).collect();
            let link = |at: &[SocketAddr], to: &dyn Fn(usize) -> SocketAddr| {
                at.iter()
                    .enumerate()
                    .map(|(nth, at)| links.link(*at, to(nth)))
                    .collect::<io::Result<Vec<_>>>()
            };
            to_servers.push(link(&clients, &|nth| servers.for_clients(nth))?);
            routes.push(link(&others, &|nth| servers.for_servers(nth))?);
            urls.push(clients.iter().map(|at| format!("nats://{at}")).collect());
            ways.push(others);
        }
        servers.go_by(ways);
        Ok(Network { to_servers, urls, routes, _links: links })
    }

    /// The servers, as a node gets to them.
    pub(crate) fn urls(&self, node: usize) -> &[String] {
        &self.urls[node]
    }

    /// What the node sends, and what it is sent.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn hold_node(&self, node: usize, server: usize, ways: &[Way]) {
        ways.iter().for_each(|way| self.to_servers[node][server].hold(*way));
    }

    /// The node's connections to this server are reset, and it gets no other.
    pub(crate) fn shut_node(&self, node: usize, server: usize) {
        self.to_servers[node][server].shut();
    }

    /// Everything passes again.
    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    pub(crate) fn heal_node(&self, node: usize, server: usize) {
        self.to_servers[node][server].heal(false);
    }

    /// What `one` says to `other`, and what it hears from there, whichever of them has connected.
    pub(crate) fn hold_servers(&self, one: usize, other: usize, ways: &[Way]) {
        for way in ways {
            let opposite = if *way == Way::There { Way::Back } else { Way::There };
            self.routes[one][other].hold(*way);
            self.routes[other][one].hold(opposite);
        }
    }

    #[allow(dead_code, reason = "not everybody who includes this needs it")]
    /// Everything passes again. Whether what was held goes on or the connections are reset is another thing for each link.
    pub(crate) fn heal(&self, rng: &mut Rng) {
        let links = self.to_servers.iter().chain(&self.routes).flatten();
        links.filter(|link| link.is_broken()).for_each(|link| link.heal(rng.bool()));
    }
}

/// An address of the same port that nobody else has.
fn beside(server: SocketAddr, first: u8, from: usize) -> SocketAddr {
    let IpAddr::V4(host) = server.ip() else { return server };
    let [a, b, c, nth] = host.octets();
    // There are fewer servers than eight.
    (Ipv4Addr::new(a, b, c, first + 8 * from as u8 + nth), server.port()).into()
}
