//! Nodes of several shards: processes of shards are killed and hang, whole nodes do, networks are cut, and shards are given from one node to
//! another, under load. Each life of the load ends with that of the node it is at.

use super::{ANSWER, LOG_LINES, LOOK_AGAIN, NODES, PATIENCE};
use crate::daemon::{Daemon, Place, tail};
use crate::links::Way;
use crate::nats::Servers;
use crate::network::{BOTH, Network};
use crate::world::{Failure, World};
use fastrand::Rng;
use musher::client::Client;
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, StatusView};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The longest time from the beginning of the load to the fault, and from there to the end of the node that the load is at.
const LIFE_MS: u64 = 1_000;
/// The longest time for which a network is cut: owners notice it after three seconds, and servers after ten.
const CUT_MS: u64 = 12_000;
/// When a network was healed: in this time owners that are owners no more have learnt it, and ended with all their connections.
const SETTLES: Duration = Duration::from_secs(4);

/// What is done while there is load.
#[derive(Clone, Copy, Debug)]
enum Fault {
    ShardKilled,
    ShardHangs,
    NodeKilled,
    NodeHangs,
    NodeTold,
    ServerKilled,
    AllKilled,
    Spread,
    /// A node from all servers, in both directions or in one.
    NodeCut,
    /// A node with one server, from the others.
    NodeCutWithServer,
    /// A server from the others, in both directions or in one, while all nodes have all servers.
    ServerCut,
    /// All servers from each other.
    ServersCut,
}

const FAULTS: [Fault; 13] = [
    Fault::ShardKilled,
    Fault::ShardKilled,
    Fault::ShardHangs,
    Fault::NodeKilled,
    Fault::NodeHangs,
    Fault::NodeTold,
    Fault::ServerKilled,
    Fault::AllKilled,
    Fault::Spread,
    Fault::NodeCut,
    Fault::NodeCutWithServer,
    Fault::ServerCut,
    Fault::ServersCut,
];

struct Nodes {
    servers: Servers,
    network: Network,
    shards: usize,
    places: Vec<Place>,
    daemons: Vec<Option<Daemon>>,
    /// How often all nodes had the same state of a shard.
    compared: u64,
}

pub(crate) async fn run(world: &mut World, rounds: u64, shards: usize) -> Result<String, Failure> {
    let dir = world.place.dir.join("servers");
    std::fs::create_dir(&dir)?;
    let Some(mut servers) = Servers::within(&dir, NODES) else {
        return Err(Failure::Skipped("there is no nats-server".to_owned()));
    };
    let network = Network::between(NODES, &mut servers)?;
    (0..NODES).for_each(|nth| servers.start_again(nth));
    let place = |nth: usize| {
        let dir = world.place.dir.join(format!("node-{nth}"));
        std::fs::create_dir(&dir)?;
        Ok(Place { programs: world.place.programs.clone(), data: dir.join("data"), dir })
    };
    let places = (0..NODES).map(place).collect::<io::Result<_>>()?;
    let daemons = (0..NODES).map(|_| None).collect();
    let mut nodes = Nodes { servers, network, shards, places, daemons, compared: 0 };
    for round in 0..rounds {
        let lived = nodes.life(world).await;
        lived.map_err(|failure| failure.within(&format!("round {round}")))?;
    }
    let client = nodes.client(&mut world.rng, 0).await?;
    world.check_calmly(&client).await?;
    drop(client);
    nodes.compare(0).await?;
    Ok(format!(
        "{rounds} lives of nodes of {shards} shards, {}; {} times all nodes had the same state of a shard",
        world.summary(),
        nodes.compared
    ))
}

impl Nodes {
    async fn life(&mut self, world: &mut World) -> Result<(), Failure> {
        let edge = world.rng.usize(..NODES);
        let client = self.client(&mut world.rng, edge).await?;
        world.place = self.places[edge].clone();
        if world.rng.u8(..4) > 0 {
            world.check_calmly(&client).await?;
            self.compare(edge).await?;
        }
        drop(client);
        let fault = FAULTS[world.rng.usize(..FAULTS.len())];
        let most = LIFE_MS >> world.rng.u32(..4);
        let (moment, mut rng) = (Duration::from_millis(world.rng.u64(..=most)), world.rng.fork());
        let (load, recorder) = (world.load(), world.recorder.clone());
        let happens = async {
            sleep(moment).await;
            recorder.end_life();
            self.happen(fault, &mut rng).await?;
            sleep(Duration::from_millis(rng.u64(..=LIFE_MS))).await;
            match (self.daemons[edge].take(), rng.bool()) {
                (Some(daemon), true) => drop(daemon.kill()?),
                (Some(daemon), false) => drop(daemon.stop().await?),
                (None, _) => {}
            }
            Ok(())
        };
        let load = async {
            load.await;
            Ok(())
        };
        tokio::try_join!(load, happens).map_err(|failure: Failure| failure.within(&format!("{fault:?}")))?;
        world.died().map_err(|failure| failure.within(&format!("{fault:?}")))
    }

    async fn happen(&mut self, fault: Fault, rng: &mut Rng) -> Result<(), Failure> {
        let (node, shard, server) = (rng.usize(..NODES), rng.usize(..self.shards), rng.usize(..NODES));
        let while_it_hangs = Duration::from_millis(rng.u64(..3_000));
        match fault {
            Fault::ShardKilled => self.signal_shard(node, shard, Signal::KILL),
            Fault::ShardHangs => {
                self.signal_shard(node, shard, Signal::STOP);
                sleep(while_it_hangs).await;
                self.signal_shard(node, shard, Signal::CONT);
            }
            Fault::NodeKilled => self.daemons[node].take().map(Daemon::kill).transpose().map(drop)?,
            Fault::NodeHangs => {
                // All of its processes, as where a machine does.
                let all = |signal| (0..self.shards).for_each(|shard| self.signal_shard(node, shard, signal));
                all(Signal::STOP);
                if let Some(daemon) = &self.daemons[node] {
                    daemon.signal(Signal::STOP)?;
                    sleep(while_it_hangs).await;
                    daemon.signal(Signal::CONT)?;
                }
                all(Signal::CONT);
            }
            Fault::NodeTold => {
                if let Some(daemon) = self.daemons[node].take() {
                    daemon.stop().await?;
                }
            }
            Fault::ServerKilled => {
                self.servers.kill(server);
                sleep(while_it_hangs / 2).await;
                self.servers.start_again(server);
            }
            Fault::AllKilled => {
                for daemon in &mut self.daemons {
                    daemon.take().map(Daemon::kill).transpose()?;
                }
            }
            Fault::Spread => {
                let mut spread: tokio::process::Command =
                    self.places[node].verb(&["cluster", "spread"]).into();
                spread.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
                // It may be refused while a shard has no owner.
                let _ = timeout(PATIENCE, spread.status()).await;
            }
            Fault::NodeCut | Fault::NodeCutWithServer | Fault::ServerCut | Fault::ServersCut => {
                self.cut(fault, (node, server), [&BOTH[..], &BOTH, &BOTH[..1], &BOTH[1..]][rng.usize(..4)]);
                sleep(Duration::from_millis(rng.u64(..CUT_MS))).await;
                self.network.heal(rng);
                sleep(SETTLES).await;
            }
        }
        Ok(())
    }

    fn cut(&self, fault: Fault, (node, server): (usize, usize), ways: &[Way]) {
        let others = || (0..NODES).filter(|other| *other != server);
        match fault {
            Fault::NodeCut => (0..NODES).for_each(|server| self.network.hold_node(node, server, ways)),
            Fault::NodeCutWithServer => {
                for other in others() {
                    self.network.hold_node(node, other, &BOTH);
                    self.network.hold_servers(server, other, &BOTH);
                }
                (0..NODES)
                    .filter(|other| *other != node)
                    .for_each(|node| self.network.hold_node(node, server, &BOTH));
            }
            Fault::ServerCut => others().for_each(|other| self.network.hold_servers(server, other, ways)),
            _ => (0..NODES).for_each(|one| {
                (one + 1..NODES).for_each(|other| self.network.hold_servers(one, other, &BOTH));
            }),
        }
    }

    fn signal_shard(&self, node: usize, shard: usize, signal: Signal) {
        let Some(daemon) = &self.daemons[node] else { return };
        let list = format!("/proc/{0}/task/{0}/children", daemon.pid());
        let children = std::fs::read_to_string(list).unwrap_or_default();
        let is_it = |pid: &&str| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0).skip(1);
            words.next() == Some(b"shard") && words.next() == Some(shard.to_string().as_bytes())
        };
        let pid = children.split_whitespace().find(is_it).and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        // It may have ended by itself.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    /// Has all nodes say what each shard comes to. Those that have not read everything yet are left out.
    async fn compare(&mut self, edge: usize) -> Result<(), Failure> {
        let mut verify: tokio::process::Command =
            self.places[edge].verb(&["cluster", "verify", "--json"]).into();
        let said = verify.stderr(Stdio::null()).kill_on_drop(true).output().await?.stdout;
        let found: serde_json::Value = serde_json::from_slice(&said).unwrap_or_default();
        for shard in found["shards"].as_array().into_iter().flatten() {
            if shard["same"] == false {
                return Err(Failure::Broken(format!("nodes differ: {shard}")));
            }
            self.compared += u64::from(shard["nodes"].as_array().is_some_and(|nodes| nodes.len() == NODES));
        }
        Ok(())
    }

    fn start_missing(&mut self, rng: &mut Rng) -> Result<(), Failure> {
        let names = (0..NODES).map(|nth| format!("\"n{nth}\"")).collect::<Vec<_>>().join(", ");
        for nth in 0..NODES {
            let has_ended = match &mut self.daemons[nth] {
                None => true,
                Some(daemon) => daemon.has_ended()?,
            };
            if has_ended {
                let more = format!(
                    "[daemon]\ndrain_timeout = \"1s\"\n[cluster]\nshards = {}\nnode = \"n{nth}\"\nnodes = [{names}]\nnats = {:?}\nsync = \"always\"\n",
                    self.shards,
                    self.network.urls(nth)
                );
                self.places[nth].configure(rng, &more)?;
                self.daemons[nth] = Some(self.places[nth].start(&[])?);
            }
        }
        Ok(())
    }

    /// A connection by this node, once all shards have owners.
    async fn client(&mut self, rng: &mut Rng, edge: usize) -> Result<Client, Failure> {
        let deadline = monotonic() + PATIENCE;
        loop {
            self.start_missing(rng)?;
            let socket = self.places[edge].socket();
            let asked = async {
                let client = Client::connect(&socket).await.ok()?;
                let status: StatusView = client.ask(AdminRequest::Status {}).await.ok()?;
                status.shards.iter().all(|shard| shard.owner.is_some()).then_some(client)
            };
            if let Ok(Some(client)) = timeout(ANSWER, asked).await {
                return Ok(client);
            }
            if monotonic() > deadline {
                let said = self.places.iter().map(|place| tail(&place.log(), 4 * LOG_LINES));
                let said = said.collect::<Vec<_>>().join("\n--\n");
                return Err(Failure::Broken(format!(
                    "not all shards have owners within {PATIENCE:?}:\n{said}"
                )));
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}
