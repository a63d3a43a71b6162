//! What is done to the owner, and to others with it.

use super::partitions::Partition;
use super::{NODES, Nodes, PATIENCE};
use crate::world::Failure;
use fastrand::Rng;
use musher::clock::monotonic;
use rustix::process::Signal;
use std::time::Duration;
use tokio::time::sleep;

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
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
    /// The network is cut.
    Cut(Partition),
    /// The disks of servers are full, of one or of all.
    FullDisks,
}

pub(super) const KILLS: [Fault; 1] = [Fault::Killed];

pub(super) const SIGNALS: [Fault; 12] = [
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

pub(super) const CUTS: [Fault; 6] = [
    Fault::Cut(Partition::Owner),
    Fault::Cut(Partition::OwnersVoice),
    Fault::Cut(Partition::OwnersEars),
    Fault::Cut(Partition::OwnerWithServer),
    Fault::Cut(Partition::Server),
    Fault::Cut(Partition::Servers),
];

/// What the servers are like meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beside {
    Well,
    Cut,
    Gone,
}

impl Fault {
    pub(super) fn beside(self) -> Beside {
        match self {
            Fault::Killed | Fault::Stopped | Fault::Told | Fault::KilledWithAStandby => Beside::Well,
            Fault::Cut(_) => Beside::Cut,
            Fault::AllKilled
            | Fault::KilledAfterAServer
            | Fault::KilledBesideAStoppedServer
            | Fault::KilledAfterAllServers
            | Fault::FullDisks => Beside::Gone,
        }
    }
}

impl Nodes {
    /// The owner is lost. Returns once another one is there, and all servers are.
    pub(super) async fn happen(&mut self, fault: Fault, rng: &mut Rng) -> Result<(), Failure> {
        let owner = self.owner(None).await?;
        let server = rng.usize(..NODES);
        let mut wait = async |at_most: u64| sleep(Duration::from_millis(rng.u64(..at_most))).await;
        match fault {
            Fault::Killed => self.kill(owner)?,
            Fault::Stopped => return self.stop_for_a_while(owner, rng).await,
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
            Fault::AllKilled => (0..NODES).try_for_each(|nth| self.kill(nth))?,
            Fault::KilledAfterAServer => {
                self.servers.kill(server);
                wait(1_500).await;
                self.kill(owner)?;
            }
            Fault::KilledBesideAStoppedServer => {
                self.servers.signal(server, Signal::STOP);
                wait(1_500).await;
                self.kill(owner)?;
                wait(1_500).await;
                self.servers.signal(server, Signal::CONT);
            }
            Fault::KilledAfterAllServers => {
                (0..NODES).for_each(|nth| self.servers.kill(nth));
                wait(500).await;
                self.kill(owner)?;
                (0..NODES).for_each(|nth| self.servers.start_again(nth));
            }
            Fault::Cut(partition) => return self.part(partition, owner, rng).await,
            Fault::FullDisks => return self.fill_disks(owner, rng).await,
        }
        if matches!(fault, Fault::KilledAfterAServer) {
            self.servers.start_again(server);
        }
        self.await_next_owner(rng).await
    }

    /// The owner hangs until another one has taken over, and has to end then.
    async fn stop_for_a_while(&mut self, owner: usize, rng: &mut Rng) -> Result<(), Failure> {
        self.signal(owner, Signal::STOP)?;
        let begun = monotonic();
        self.owner(Some(owner)).await?;
        self.note_takeover(monotonic() - begun)?;
        sleep(Duration::from_millis(rng.u64(..1_000))).await;
        self.signal(owner, Signal::CONT)?;
        let mut daemon = self.take(owner)?;
        match daemon.ended_within(PATIENCE).await? {
            Some(status) if status.code() == Some(1) => Ok(()),
            other => Err(Failure::Broken(format!("the former owner should have ended by itself: {other:?}"))),
        }
    }
}
