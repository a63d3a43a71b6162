//! Several nodes on several servers, of which some are killed, stopped, cut off or told to end, over and over: whatever one owner has
//! acknowledged, the next one has. Producers and workers are at one node, which passes them on unless it is the owner.

use crate::daemon::{Daemon, Place};
use crate::nats::Servers;
use crate::world::{Failure, World};
use fastrand::Rng;
use musher::client::Client;
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, StatusView};
use rustix::process::Signal;
use std::io;
use std::time::Duration;
use tokio::time::{sleep, timeout};

const NODES: usize = 3;
/// The longest time from the beginning of the load to the fault.
const LIFE_MS: u64 = 1_500;
/// Elections of the servers take up to ten seconds, and there may be several.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a question may take before another node is asked.
const ANSWER: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What happens to the owner, and to others with it.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    /// SIGSTOP; it goes on when another one has taken over.
    Stopped,
    /// SIGTERM.
    Told,
    KilledWithAStandby,
    AllKilled,
    /// A server is killed first, which may be the leader of the stream.
    KilledAfterAServer,
    /// A server stands still meanwhile.
    KilledBesideAStoppedServer,
    /// All servers are killed, and then the owner.
    KilledAfterAllServers,
}

const FAULTS: [Fault; 12] = [
    Fault::Killed,
    Fault::Killed,
    Fault::Killed,
    Fault::Stopped,
    Fault::Stopped,
    Fault::Told,
    Fault::Told,
    Fault::KilledWithAStandby,
    Fault::AllKilled,
    Fault::KilledAfterAServer,
    Fault::KilledBesideAStoppedServer,
    Fault::KilledAfterAllServers,
];

struct Nodes {
    servers: Servers,
    places: Vec<Place>,
    daemons: Vec<Option<Daemon>>,
    /// How long it took from the end of an owner to the first answer of the next, where servers were left alone.
    takeovers: Vec<Duration>,
    /// What was done to the last owner: servers may still be about to elect after it.
    before: Option<Fault>,
    /// The longest of the takeovers, and after which two faults.
    longest: (Duration, String),
}

pub(crate) async fn run(world: &mut World, rounds: u64, kills_only: bool) -> Result<String, Failure> {
    let Some(servers) = Servers::start(NODES) else {
        return Err(Failure::Skipped("there is no nats-server".to_owned()));
    };
    let faults = if kills_only { &[Fault::Killed][..] } else { &FAULTS };
    let mut nodes = Nodes::new(world, servers)?;
    for round in 0..rounds {
        let lived = nodes.life(world, faults).await;
        lived.map_err(|failure| failure.within(&format!("round {round}")))?;
    }
    nodes.start_missing(&mut world.rng)?;
    let client = nodes.client(0).await?;
    world.check_calmly(&client).await?;
    drop(client);
    nodes.takeovers.sort_unstable();
    let count = nodes.takeovers.len();
    let half = nodes.takeovers.get(count / 2).copied().unwrap_or_default();
    let (most, after) = &nodes.longest;
    Ok(format!(
        "{rounds} owners lost, {}; {count} takeovers beside servers that were well: half within {half:.2?}, the longest {most:.2?} ({after})",
        world.summary()
    ))
}

impl Nodes {
    fn new(world: &World, servers: Servers) -> io::Result<Nodes> {
        let place = |nth: usize| {
            let dir = world.place.dir.join(format!("node-{nth}"));
            std::fs::create_dir(&dir)?;
            Ok(Place { programs: world.place.programs.clone(), data: dir.join("data"), dir })
        };
        let places = (0..NODES).map(place).collect::<io::Result<_>>()?;
        let daemons = (0..NODES).map(|_| None).collect();
        Ok(Nodes {
            servers,
            places,
            daemons,
            takeovers: Vec::new(),
            before: None,
            longest: Default::default(),
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
            self.happen(fault, &mut rng).await
        };
        let ((), happened) = tokio::join!(load, happens);
        happened.map_err(|failure| failure.within(&format!("{fault:?}")))?;
        world.died().map_err(|failure| failure.within(&format!("{fault:?}")))
    }

    /// The owner is lost. Returns once another one is there, and all servers are.
    async fn happen(&mut self, fault: Fault, rng: &mut Rng) -> Result<(), Failure> {
        let owner = self.owner(None).await?;
        let (server, mut is_plain) = (rng.usize(..NODES), true);
        match fault {
            Fault::Killed => self.kill(owner)?,
            Fault::Stopped => {
                self.signal(owner, Signal::STOP)?;
                let begun = monotonic();
                self.owner(Some(owner)).await?;
                self.note_takeover(monotonic() - begun, fault);
                sleep(Duration::from_millis(rng.u64(..1_000))).await;
                self.signal(owner, Signal::CONT)?;
                let mut daemon = self.take(owner)?;
                let ended = daemon.ended_within(PATIENCE).await?;
                self.before = Some(fault);
                return match ended {
                    Some(status) if status.code() == Some(1) => Ok(()),
                    other => Err(Failure::Broken(format!(
                        "the former owner should have ended by itself: {other:?}"
                    ))),
                };
            }
            Fault::Told => {
                let status = self.take(owner)?.stop().await?;
                if !status.success() {
                    return Err(Failure::Broken(format!("an owner that was told to end: {status}")));
                }
            }
            Fault::KilledWithAStandby => {
                self.kill((owner + 1) % NODES)?;
                self.kill(owner)?;
            }
            Fault::AllKilled => {
                (0..NODES).try_for_each(|nth| self.kill(nth))?;
                is_plain = false;
            }
            Fault::KilledAfterAServer => {
                self.servers.kill(server);
                sleep(Duration::from_millis(rng.u64(..1_500))).await;
                self.kill(owner)?;
                is_plain = false;
            }
            Fault::KilledBesideAStoppedServer => {
                self.servers.signal(server, Signal::STOP);
                sleep(Duration::from_millis(rng.u64(..1_500))).await;
                self.kill(owner)?;
                sleep(Duration::from_millis(rng.u64(..1_500))).await;
                self.servers.signal(server, Signal::CONT);
                is_plain = false;
            }
            Fault::KilledAfterAllServers => {
                (0..NODES).for_each(|nth| self.servers.kill(nth));
                sleep(Duration::from_millis(rng.u64(..500))).await;
                self.kill(owner)?;
                (0..NODES).for_each(|nth| self.servers.start_again(nth));
                is_plain = false;
            }
        }
        let begun = monotonic();
        if matches!(fault, Fault::KilledAfterAServer) {
            self.servers.start_again(server);
        }
        self.start_missing(rng)?;
        self.owner(None).await?;
        if is_plain {
            self.note_takeover(monotonic() - begun, fault);
        }
        self.before = Some(fault);
        Ok(())
    }

    fn note_takeover(&mut self, took: Duration, fault: Fault) {
        self.takeovers.push(took);
        if took > self.longest.0 {
            self.longest = (took, format!("{fault:?} after {:?}", self.before));
        }
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
                    self.servers.urls()
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
    async fn owner(&mut self, not: Option<usize>) -> Result<usize, Failure> {
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
        let said = self.places.iter().map(|place| crate::daemon::tail(&place.log(), 6)).collect::<Vec<_>>();
        Err(Failure::Broken(format!("{what} within {PATIENCE:?}:\n{}", said.join("\n--\n"))))
    }
}
