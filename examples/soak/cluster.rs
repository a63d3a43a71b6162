//! Several nodes on several servers, of which some are killed, stopped, cut off or told to end, over and over: whatever one owner has
//! acknowledged, the next one has. Producers and workers are at one node, which passes them on unless it is the owner.
//!
//! - `faults`: what is done to owners, nodes and servers by signals; `partitions`: to the network; `disks`: to the servers' disks
//! - `shards`: the same with several shards, whose processes are lost as well
//! - `times`: how long it took

mod disks;
mod faults;
mod partitions;
mod shards;
mod times;

pub(crate) use shards::run as run_sharded;

use crate::daemon::{Daemon, Place, tail};
use crate::nats::Servers;
use crate::network::Network;
use crate::world::{Failure, World};
use disks::Disks;
use fastrand::Rng;
use faults::{Beside, CUTS, Fault, KILLS, SIGNALS};
use musher::client::Client;
use musher::clock::{monotonic, wall};
use musher::protocol::admin::{AdminRequest, StatusView};
use rustix::process::Signal;
use std::io::{self, Write};
use std::process::Stdio;
use std::time::Duration;
use times::Times;
use tokio::time::{sleep, timeout};

const NODES: usize = 3;
/// The longest time from the beginning of the load to the fault.
const LIFE_MS: u64 = 1_500;
/// Elections of the servers take up to ten seconds, and there may be several.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a question may take before another node is asked.
const ANSWER: Duration = Duration::from_secs(2);
/// A takeover that takes longer wants to be explained.
const SLOW: Duration = Duration::from_secs(12);
/// How many lines of a node's log are shown.
const LOG_LINES: usize = 8;
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Which faults there are, if not signals and cuts of the network.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Wanted {
    /// Owners are killed, and nothing else happens: how long takeovers take.
    #[arg(long)]
    kills_only: bool,
    /// The network is cut, and nothing else happens.
    #[arg(long, conflicts_with = "kills_only")]
    cuts_only: bool,
    /// Disks of servers are full as well, once in four rounds. Needs root.
    #[arg(long)]
    full_disks: bool,
}

impl Wanted {
    fn faults(self) -> Vec<Fault> {
        let mut faults = match (self.kills_only, self.cuts_only) {
            (true, _) => KILLS.to_vec(),
            (_, true) => CUTS.to_vec(),
            _ => [&SIGNALS[..], &CUTS].concat(),
        };
        if self.full_disks {
            faults.extend(vec![Fault::FullDisks; faults.len().div_ceil(3)]);
        }
        faults
    }
}

struct Nodes {
    servers: Servers,
    network: Network,
    /// The servers' own, if they may be full.
    disks: Option<Disks>,
    places: Vec<Place>,
    daemons: Vec<Option<Daemon>>,
    /// What is done to the owner, and was done to the one before: servers may still be about to elect after it.
    fault: Option<Fault>,
    before: Option<Fault>,
    /// How long it took from the end of an owner to the first answer of the next, where servers were left alone.
    takeovers: Times,
    /// The same, from the cut of a network on.
    beside_cuts: Times,
    /// How long owners that were cut off have lived on.
    ends: Times,
    /// How often all nodes had the same state after the same commit.
    compared: u64,
    /// What has happened when, for whoever wants to know why.
    diary: std::fs::File,
}

pub(crate) async fn run(world: &mut World, rounds: u64, wanted: Wanted) -> Result<String, Failure> {
    let dir = world.place.dir.join("servers");
    std::fs::create_dir(&dir)?;
    let Some(servers) = Servers::within(&dir, NODES) else {
        return Err(Failure::Skipped("there is no nats-server".to_owned()));
    };
    let disks = wanted.full_disks.then(|| Disks::mount(&servers)).transpose()?;
    let (mut nodes, faults) = (Nodes::new(world, servers, disks)?, wanted.faults());
    for round in 0..rounds {
        let lived = nodes.life(world, &faults).await;
        lived.map_err(|failure| failure.within(&format!("round {round}")))?;
    }
    nodes.start_missing(&mut world.rng)?;
    let client = nodes.client(0).await?;
    world.check_calmly(&client).await?;
    drop(client);
    nodes.compare(0).await?;
    Ok(format!(
        "{rounds} owners lost, {}; {} times all nodes had the same state; {} takeovers beside servers that were well; {} beside networks that were cut; \
         {} owners that were cut off and lived on",
        world.summary(),
        nodes.compared,
        nodes.takeovers,
        nodes.beside_cuts,
        nodes.ends
    ))
}

impl Nodes {
    fn new(world: &World, mut servers: Servers, disks: Option<Disks>) -> io::Result<Nodes> {
        let place = |nth: usize| {
            let dir = world.place.dir.join(format!("node-{nth}"));
            std::fs::create_dir(&dir)?;
            Ok(Place { programs: world.place.programs.clone(), data: dir.join("data"), dir })
        };
        let places = (0..NODES).map(place).collect::<io::Result<_>>()?;
        let network = Network::between(NODES, &mut servers)?;
        (0..NODES).for_each(|nth| servers.start_again(nth));
        Ok(Nodes {
            servers,
            network,
            disks,
            places,
            daemons: (0..NODES).map(|_| None).collect(),
            fault: None,
            before: None,
            takeovers: Times::default(),
            beside_cuts: Times::default(),
            ends: Times::default(),
            compared: 0,
            diary: std::fs::File::create(world.place.dir.join("diary"))?,
        })
    }

    /// Load until the owner is lost, and a look at what the next one has.
    async fn life(&mut self, world: &mut World, faults: &[Fault]) -> Result<(), Failure> {
        self.start_missing(&mut world.rng)?;
        let edge = world.rng.usize(..NODES);
        let client = self.client(edge).await?;
        world.place = self.places[edge].clone();
        if world.rng.u8(..4) > 0 {
            world.check_calmly(&client).await?;
            self.compare(edge).await?;
        }
        drop(client);
        let fault = faults[world.rng.usize(..faults.len())];
        let most = LIFE_MS >> world.rng.u32(..6);
        let (moment, mut rng) = (Duration::from_millis(world.rng.u64(..=most)), world.rng.fork());
        let (load, recorder) = (world.load(), world.recorder.clone());
        let happens = async {
            sleep(moment).await;
            // Whoever loses a connection from here on is not to come back: that is another life.
            recorder.end_life();
            self.begin(fault)?;
            self.happen(fault, &mut rng).await
        };
        // What has failed is said at once: the load might never end then.
        let load = async {
            load.await;
            Ok(())
        };
        let happened = tokio::try_join!(load, happens);
        happened.map_err(|failure| failure.within(&format!("{fault:?}")))?;
        world.died().map_err(|failure| failure.within(&format!("{fault:?}")))
    }

    /// Has all nodes say what their state comes to. Those that have not read everything yet are left out.
    async fn compare(&mut self, edge: usize) -> Result<(), Failure> {
        let mut verify: tokio::process::Command =
            self.places[edge].verb(&["cluster", "verify", "--json"]).into();
        let said = verify.stderr(Stdio::null()).kill_on_drop(true).output().await?.stdout;
        // Where the owner has changed meanwhile there is no answer.
        let found = serde_json::from_slice(&said).unwrap_or(serde_json::Value::Null);
        match &found["same"] {
            serde_json::Value::Bool(false) => Err(Failure::Broken(format!("nodes differ: {found}"))),
            _ => {
                let nodes = found["nodes"].as_array().map_or(0, Vec::len);
                self.compared += u64::from(nodes == NODES);
                Ok(())
            }
        }
    }

    fn begin(&mut self, fault: Fault) -> io::Result<()> {
        self.before = self.fault.replace(fault);
        self.write_down(&format!("{fault:?}"))
    }

    fn write_down(&self, what: &str) -> io::Result<()> {
        writeln!(&self.diary, "{} {what}", wall().0)
    }

    /// What is done to the owner, and what was done before.
    fn faults(&self) -> String {
        let word = |fault: Option<Fault>| fault.map_or("nothing".to_owned(), |fault| format!("{fault:?}"));
        format!("{} after {}", word(self.fault), word(self.before))
    }

    fn note_takeover(&mut self, took: Duration) -> io::Result<()> {
        let faults = self.faults();
        match self.fault.map_or(Beside::Well, Fault::beside) {
            Beside::Well => self.takeovers.note(took, &faults),
            Beside::Cut => self.beside_cuts.note(took, &faults),
            Beside::Gone => {}
        }
        self.write_down(&format!("{faults}: another owner after {took:.2?}"))?;
        let slow = self.places.iter().filter(|_| took > SLOW);
        slow.map(|place| tail(&place.log(), LOG_LINES)).try_for_each(|said| self.write_down(&said))
    }

    /// The owner is gone: what has ended is started again, and how long it takes until another one answers is noted.
    async fn await_next_owner(&mut self, rng: &mut Rng) -> Result<(), Failure> {
        let begun = monotonic();
        self.start_missing(rng)?;
        self.owner(None).await?;
        Ok(self.note_takeover(monotonic() - begun)?)
    }

    fn take(&mut self, nth: usize) -> Result<Daemon, Failure> {
        self.daemons[nth].take().ok_or_else(|| io::Error::other("a node is not there").into())
    }

    fn kill(&mut self, nth: usize) -> Result<(), Failure> {
        if let Some(daemon) = self.daemons[nth].take() {
            daemon.kill()?;
        }
        Ok(())
    }

    fn signal(&self, nth: usize, signal: Signal) -> Result<(), Failure> {
        match &self.daemons[nth] {
            Some(daemon) => Ok(daemon.signal(signal)?),
            None => Err(io::Error::other("a node is not there").into()),
        }
    }

    /// Starts those that have ended, as a service manager would.
    fn start_missing(&mut self, rng: &mut Rng) -> Result<(), Failure> {
        let names = (0..NODES).map(|nth| format!("\"n{nth}\"")).collect::<Vec<_>>().join(", ");
        for nth in 0..NODES {
            let has_ended = match &mut self.daemons[nth] {
                None => true,
                Some(daemon) => daemon.has_ended()?,
            };
            if has_ended {
                let more = format!(
                    "[daemon]\ndrain_timeout = \"1s\"\n[cluster]\nnode = \"n{nth}\"\nnodes = [{names}]\nnats = {:?}\nsync = \"always\"\n",
                    self.network.urls(nth)
                );
                self.places[nth].configure(rng, &more)?;
                self.daemons[nth] = Some(self.places[nth].start(&[])?);
            }
        }
        Ok(())
    }

    /// A connection by this node, to whichever is the owner.
    async fn client(&mut self, edge: usize) -> Result<Client, Failure> {
        let deadline = monotonic() + PATIENCE;
        loop {
            if let Some(client) = self.ask(edge).await.map(|(client, _)| client) {
                return Ok(client);
            }
            self.must_be_within(deadline, "no owner answers")?;
            // One that had to end is started again.
            self.start_missing(&mut Rng::with_seed(edge as u64))?;
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Which node is the owner, and not this one.
    async fn owner(&self, not: Option<usize>) -> Result<usize, Failure> {
        let deadline = monotonic() + PATIENCE;
        loop {
            for edge in (0..NODES).filter(|edge| Some(*edge) != not) {
                let Some((_, pid)) = self.ask(edge).await else { continue };
                let is_it =
                    |daemon: &Option<Daemon>| daemon.as_ref().is_some_and(|daemon| daemon.pid() == pid);
                if let Some(owner) = self.daemons.iter().position(is_it).filter(|owner| Some(*owner) != not) {
                    return Ok(owner);
                }
            }
            self.must_be_within(deadline, "no owner is found")?;
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn ask(&self, edge: usize) -> Option<(Client, u32)> {
        let asked = async {
            let client = Client::connect(&self.places[edge].socket()).await.ok()?;
            let status: StatusView = client.ask(AdminRequest::Status {}).await.ok()?;
            Some((client, status.pid))
        };
        timeout(ANSWER, asked).await.ok()?
    }

    fn must_be_within(&self, deadline: Duration, what: &str) -> Result<(), Failure> {
        if monotonic() < deadline {
            return Ok(());
        }
        let said = self.places.iter().map(|place| tail(&place.log(), LOG_LINES)).collect::<Vec<_>>();
        Err(Failure::Broken(format!("{what} within {PATIENCE:?}:\n{}", said.join("\n--\n"))))
    }
}
