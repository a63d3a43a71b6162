//! Networks that are cut between nodes and servers, or among servers, while everything lives: another node takes over, and an owner that is
//! cut off ends by itself.

use super::{LOOK_AGAIN, NODES, Nodes, PATIENCE};
use crate::links::Way;
use crate::network::BOTH;
use crate::world::Failure;
use fastrand::Rng;
use musher::clock::monotonic;
use std::io;
use std::time::Duration;
use tokio::time::sleep;

/// An owner that does not hear itself ends after three seconds, and takes a moment for that.
const CUT_OFF: Duration = Duration::from_secs(5);
/// One that hears itself and not the stream ends after twenty.
const UNANSWERED: Duration = Duration::from_secs(23);
/// In this time a node whose connections were reset has others.
const CONNECTS_AGAIN: Duration = Duration::from_secs(1);
/// How long the servers are cut from each other before the owner is killed, at most.
const SERVERS_MS: u64 = 8_000;

/// What is cut.
#[derive(Clone, Copy, Debug)]
pub(super) enum Partition {
    /// The owner from all servers.
    Owner,
    /// What the owner sends, while it hears everything.
    OwnersVoice,
    /// What the owner is sent, while all hear it.
    OwnersEars,
    /// The owner with one server, from all others.
    OwnerWithServer,
    /// A server from the others, in both directions or in one, while all nodes have all servers. The owner is killed then.
    Server,
    /// All servers from each other for a while, in which the owner may be killed.
    Servers,
}

impl Nodes {
    /// The network is cut, the owner lost, and the network healed. Returns once another owner is there.
    pub(super) async fn part(
        &mut self,
        partition: Partition,
        owner: usize,
        rng: &mut Rng,
    ) -> Result<(), Failure> {
        match partition {
            Partition::Owner => self.cut_owner(owner, &BOTH),
            Partition::OwnersVoice => self.cut_owner(owner, &[Way::There]),
            Partition::OwnersEars => self.cut_owner(owner, &[Way::Back]),
            Partition::OwnerWithServer => {
                self.cut_with_server(owner, rng.usize(..NODES)).await;
                return self.succeed(owner, UNANSWERED, rng).await;
            }
            Partition::Server => return self.cut_server(owner, rng).await,
            Partition::Servers => return self.cut_servers(owner, rng).await,
        }
        self.succeed(owner, CUT_OFF, rng).await
    }

    fn heal(&self, rng: &mut Rng) -> io::Result<()> {
        self.network.heal(rng);
        self.write_down("healed")
    }

    fn cut_owner(&self, owner: usize, ways: &[Way]) {
        (0..NODES).for_each(|server| self.network.hold_node(owner, server, ways));
    }

    /// The owner has all its connections to this server, before both are cut off.
    async fn cut_with_server(&self, owner: usize, server: usize) {
        let others = || (0..NODES).filter(|nth| *nth != server);
        others().for_each(|other| self.network.shut_node(owner, other));
        sleep(CONNECTS_AGAIN).await;
        for other in others() {
            self.network.hold_node(owner, other, &BOTH);
            self.network.hold_servers(server, other, &BOTH);
        }
        (0..NODES).filter(|node| *node != owner).for_each(|node| self.network.hold_node(node, server, &BOTH));
    }

    /// The owner is cut off: another one takes over, and it ends by itself, be it that the network is healed before or not.
    async fn succeed(&mut self, owner: usize, bound: Duration, rng: &mut Rng) -> Result<(), Failure> {
        let (begun, mut daemon) = (monotonic(), self.take(owner)?);
        let (is_healed_before, pause) = (rng.bool(), Duration::from_millis(rng.u64(..1_000)));
        let next = async {
            self.owner(Some(owner)).await?;
            let took = monotonic() - begun;
            if is_healed_before {
                sleep(pause).await;
                self.heal(rng)?;
            }
            Ok::<_, Failure>(took)
        };
        let end = async {
            let ended = daemon.ended_within(PATIENCE).await?;
            Ok((ended, monotonic() - begun))
        };
        let (took, (ended, lived)) = tokio::try_join!(next, end)?;
        self.note_takeover(took)?;
        self.ends.note(lived, &self.faults());
        if ended.and_then(|status| status.code()) != Some(1) {
            let what = format!("an owner that is cut off should have ended by itself: {ended:?}");
            return Err(Failure::Broken(what));
        }
        if !is_healed_before {
            if lived > bound {
                let what = format!("an owner that is cut off has lived for {lived:.1?} more, not {bound:?}");
                return Err(Failure::Broken(what));
            }
            if rng.bool() {
                self.start_missing(rng)?;
            }
            sleep(pause).await;
            self.heal(rng)?;
        }
        Ok(())
    }

    /// The stream has two servers of three, and nobody is cut off from them.
    async fn cut_server(&mut self, owner: usize, rng: &mut Rng) -> Result<(), Failure> {
        let server = rng.usize(..NODES);
        let ways = [&BOTH[..], &BOTH, &BOTH[..1], &BOTH[1..]][rng.usize(..4)];
        for other in (0..NODES).filter(|other| *other != server) {
            self.network.hold_servers(server, other, ways);
        }
        sleep(Duration::from_millis(rng.u64(..SERVERS_MS))).await;
        self.kill(owner)?;
        self.await_next_owner(rng).await?;
        sleep(Duration::from_millis(rng.u64(..SERVERS_MS))).await;
        self.heal(rng)?;
        Ok(())
    }

    /// Nothing can be confirmed meanwhile.
    async fn cut_servers(&mut self, owner: usize, rng: &mut Rng) -> Result<(), Failure> {
        for one in 0..NODES {
            (one + 1..NODES).for_each(|other| self.network.hold_servers(one, other, &BOTH));
        }
        sleep(Duration::from_millis(rng.u64(..SERVERS_MS))).await;
        match rng.bool() {
            true => {
                self.kill(owner)?;
                sleep(LOOK_AGAIN * rng.u32(..100)).await;
                self.heal(rng)?;
            }
            false => {
                self.heal(rng)?;
                sleep(LOOK_AGAIN * rng.u32(..100)).await;
                self.kill(owner)?;
            }
        }
        self.await_next_owner(rng).await
    }
}
