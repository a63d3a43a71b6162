//! `[cluster]`: the machines that have the same jobs, and the servers that keep their log.

use super::problem::Report;
use super::raw::Section;
use crate::durations::show_duration;
use std::path::PathBuf;
use std::time::Duration;

/// A daemon that is one node of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// `node`: which of them it is. The name of the machine, if it is not set.
    pub node: String,
    /// `nodes`: all of them.
    pub nodes: Vec<String>,
    /// `nats`: the servers of the log, in the order in which this node tries them.
    pub nats: Vec<String>,
    /// `stream`: the name of the log on them.
    pub stream: String,
    /// `shards`: in how many parts the queues are, each with a log and an owner of its own.
    pub shards: usize,
    /// Which of them this process has, if there are several.
    pub shard: Option<usize>,
    /// `replicas`: on how many servers it is.
    pub replicas: usize,
    /// `lease`: how long the owner is silent before another node takes over.
    pub lease: Duration,
    /// `keep`: how many bytes of the log are kept for a node that is away.
    pub keep: u64,
    /// `credentials`: the file of what the servers know the nodes by.
    pub credentials: Option<PathBuf>,
    /// `tls` and the keys beside it, if the servers are spoken to by TLS.
    pub tls: Option<ClusterTls>,
}

/// How the nodes and the servers know each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterTls {
    /// `tls_ca`: who has signed the servers' certificates.
    pub ca: Option<PathBuf>,
    /// `tls_certificate` and `tls_key`: the nodes' own.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl Cluster {
    /// What one shard of several is to a process of its own. Each has the nodes in another order, so that not all are owned by the first
    /// one that is there.
    pub fn of_shard(&self, shard: usize) -> Cluster {
        let mut nodes = self.nodes.clone();
        // First who is first, then who is next if that one has gone.
        nodes.rotate_left(shard % self.nodes.len().max(1));
        if shard / self.nodes.len().max(1) % 2 == 1 {
            nodes[1..].reverse();
        }
        Cluster { nodes, shard: Some(shard), ..self.clone() }
    }

    /// The stream's name on the servers. Of a shard it has the shard's number behind it.
    pub fn stream_name(&self) -> String {
        self.shard.map_or_else(|| self.stream.clone(), |shard| format!("{}-{shard}", self.stream))
    }

    /// The subject of the stream's records; those by which nodes speak to each other begin with it. Of a shard it has the shard's number
    /// as a part of its own, so that a server's rule for who may do what needs only one pattern.
    pub fn subject(&self) -> String {
        self.shard.map_or_else(|| self.stream.clone(), |shard| format!("{}.{shard}", self.stream))
    }
}

/// `stream`, if it is not set.
pub(super) const STREAM: &str = "musher";
/// `shards`
pub(super) const SHARDS: u64 = 1;
/// The most of them: job ids have six bits for theirs.
pub(super) const SHARDS_MAX: u64 = 64;
/// `replicas`
pub(super) const REPLICAS: u64 = 3;
/// `lease`
pub(super) const LEASE: Duration = Duration::from_millis(500);
/// `keep`
pub(super) const KEEP: u64 = 10 << 30;

/// Signs of life come eight times a second: less than this would be ended by a single late one.
const LEASE_RANGE: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(60));
const KEEP_LEAST: u64 = 64 << 20;
/// The most characters of a name.
const NAME_MAX: usize = 64;

/// Reads the table; `None` if there is none. `host`: the name of this machine.
pub(super) fn cluster(
    mut section: Section<'_>,
    is_there: bool,
    host: &str,
    report: &mut Report<'_>,
) -> Option<Cluster> {
    if !is_there {
        return None;
    }
    if cfg!(not(any(test, feature = "cluster"))) {
        section.fault_of_all(report, "this program was built without it: build it with `--features cluster`");
    }
    let nodes = section.texts(report, "nodes").unwrap_or_default();
    let mut nats = section.texts(report, "nats").unwrap_or_default();
    let node = section.text(report, "node").map(str::to_owned);
    let stream = section.text(report, "stream").unwrap_or(STREAM).to_owned();
    let shards = section.count(report, "shards", 1..=SHARDS_MAX).unwrap_or(SHARDS) as usize;
    let replicas = section.count(report, "replicas", 1..=5).unwrap_or(REPLICAS) as usize;
    let lease = section.duration(report, "lease").unwrap_or(LEASE);
    let keep = section.size(report, "keep", KEEP_LEAST..=i64::MAX as u64).unwrap_or(KEEP);
    let credentials = section.path(report, "credentials");
    let has_sync = section.text(report, "sync").map(|text| text == "always");
    let tls = tls(&mut section, report);

    for (key, list) in [("nodes", &nodes), ("nats", &nats)] {
        if list.is_empty() {
            let what = match key {
                "nodes" => "must name the nodes, such as [\"one\", \"two\", \"three\"]",
                _ => "must name the servers, such as [\"nats://10.0.0.1:4222\", \"nats://10.0.0.2:4222\"]",
            };
            section.fault(report, key, what);
        }
        if let Some(twice) = list.iter().enumerate().find(|(at, one)| list[..*at].contains(one)) {
            section.fault(report, key, format!("names `{}` twice", twice.1.escape_debug()));
        }
    }
    for name in nodes.iter().filter(|name| !is_name(name)) {
        section.fault(report, "nodes", name_fault(name));
    }
    if !is_name(&stream) {
        section.fault(report, "stream", name_fault(&stream));
    }
    for url in nats.iter().filter(|url| !is_server(url)) {
        let message = format!(
            "`{}` is no server: they are written as nats://host:4222 or tls://host:4222",
            url.escape_debug()
        );
        section.fault(report, "nats", message);
    }
    if replicas.is_multiple_of(2) {
        section.fault(report, "replicas", "must be odd: 3, or 5, or 1 for trying it out");
    }
    if lease < LEASE_RANGE.0 {
        let (lease, least) = (show_duration(lease), show_duration(LEASE_RANGE.0));
        section.fault(report, "lease", format!("{lease} is too short; the least is {least}"));
    }
    if lease > LEASE_RANGE.1 {
        let (lease, most) = (show_duration(lease), show_duration(LEASE_RANGE.1));
        section.fault(report, "lease", format!("{lease} is too long; the most is {most}"));
    }
    match has_sync {
        Some(true) => {}
        _ => section.fault(
            report,
            "sync",
            "must be \"always\", by which you say that the servers have `sync_interval: always` in their `jetstream` block: \
             without it, a power cut loses everything that was acknowledged",
        ),
    }
    let node = node.unwrap_or_else(|| host.to_owned());
    if !nodes.is_empty() && !nodes.contains(&node) {
        let message = match section.has("node") {
            true => format!("`{}` is not among cluster.nodes", node.escape_debug()),
            false => format!(
                "must say which of cluster.nodes this is: the machine's name, `{}`, is none of them",
                node.escape_debug()
            ),
        };
        section.fault(report, "node", message);
    }
    section.finish(report);
    nearest_first(&mut nats, nodes.iter().position(|name| *name == node));
    let shard = None;
    Some(Cluster { node, nodes, nats, stream, shards, shard, replicas, lease, keep, credentials, tls })
}

/// A node begins with the server that stands where it stands itself in its list: that is on the same machine.
fn nearest_first(nats: &mut [String], place: Option<usize>) {
    if let Some(first) = place.unwrap_or(0).checked_rem(nats.len()) {
        nats.rotate_left(first);
    }
}

/// The names of all keys.
const KEYS: [&str; 10] = [
    "cluster.node",
    "cluster.nodes",
    "cluster.nats",
    "cluster.stream",
    "cluster.shards",
    "cluster.replicas",
    "cluster.lease",
    "cluster.keep",
    "cluster.sync",
    "cluster.credentials",
];
const TLS_KEYS: [&str; 4] = ["cluster.tls", "cluster.tls_ca", "cluster.tls_certificate", "cluster.tls_key"];

/// The keys that differ: none can be changed by a reload.
pub(super) fn changed(old: Option<&Cluster>, new: Option<&Cluster>) -> Vec<&'static str> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, None) => return Vec::new(),
        _ => return KEYS.into_iter().chain(TLS_KEYS).collect(),
    };
    let differs = [
        old.node != new.node,
        old.nodes != new.nodes,
        old.nats != new.nats,
        old.stream != new.stream,
        old.shards != new.shards,
        old.replicas != new.replicas,
        old.lease != new.lease,
        old.keep != new.keep,
        false,
        old.credentials != new.credentials,
    ];
    let changed = KEYS.into_iter().zip(differs).filter_map(|(key, differs)| differs.then_some(key));
    changed.chain(TLS_KEYS.into_iter().filter(|_| old.tls != new.tls)).collect()
}

fn tls(section: &mut Section<'_>, report: &mut Report<'_>) -> Option<ClusterTls> {
    let wanted = section.flag(report, "tls");
    let ca = section.path(report, "tls_ca");
    let (certificate, key) = (section.path(report, "tls_certificate"), section.path(report, "tls_key"));
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            section.fault(report, "tls_certificate", "needs cluster.tls_key: the file with its private key");
            None
        }
        (None, Some(_)) => {
            section.fault(report, "tls_key", "needs cluster.tls_certificate: the file with its certificate");
            None
        }
    };
    match (wanted, ca.is_some() || identity.is_some()) {
        (Some(false), true) => {
            section.fault(
                report,
                "tls",
                "is false, and there are certificates for it: remove the one or the others",
            );
            None
        }
        (Some(true), _) | (None, true) => Some(ClusterTls { ca, identity }),
        _ => None,
    }
}

/// Names are parts of subjects of NATS, in which dots, stars and blanks mean something.
fn is_name(name: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    !name.is_empty() && name.len() <= NAME_MAX && name.bytes().all(good)
}

fn name_fault(name: &str) -> String {
    format!(
        "`{}` is no name: it has letters, digits, `-` and `_` only, and at most {NAME_MAX} of them",
        name.escape_debug()
    )
}

fn is_server(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    // What is secret belongs into `credentials`: the configuration is shown.
    ["nats", "tls"].contains(&scheme) && !rest.is_empty() && !rest.contains(['@', '/', ' '])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_begins_with_the_server_at_its_own_place() {
        for (servers, place, expected) in [
            ("abc", Some(0), "abc"),
            ("abc", Some(2), "cab"),
            ("ab", Some(2), "ab"),
            ("ab", Some(3), "ba"),
            ("a", Some(1), "a"),
            ("abc", None, "abc"),
            ("", Some(1), ""),
        ] {
            let mut servers: Vec<String> = servers.chars().map(String::from).collect();
            nearest_first(&mut servers, place);
            assert_eq!(servers.concat(), expected, "{place:?}");
        }
    }
}
