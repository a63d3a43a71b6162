//! Disks of servers that are full. Each server has a small file system in memory, which needs root.

use super::{NODES, Nodes};
use crate::disk::Mount;
use crate::nats::Servers;
use crate::world::Failure;
use fastrand::Rng;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::sleep;

/// The stream of some hundred rounds has room.
const SIZE: &str = "size=1g";
/// The most that is left.
const LEFT: u64 = 32 << 10;
/// How long the disks are full, at most.
const FULL_MS: u64 = 6_000;

pub(super) struct Disks {
    stores: Vec<(PathBuf, Mount)>,
}

impl Disks {
    /// Mounts one for each server. None of them runs yet.
    pub(super) fn mount(servers: &Servers) -> Result<Disks, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::Skipped("mounting needs root".into()));
        }
        let one = |nth: usize| {
            let store = servers.store(nth);
            fs::create_dir(&store)?;
            let mount = Mount::in_memory(&store, SIZE)?;
            Ok((store, mount))
        };
        Ok(Disks { stores: (0..NODES).map(one).collect::<io::Result<_>>()? })
    }

    fn ballast(&self, nth: usize) -> PathBuf {
        self.stores[nth].0.join("ballast")
    }

    /// Leaves about so many bytes of one.
    fn fill(&self, nth: usize, left: u64) -> io::Result<()> {
        let ballast = File::create(self.ballast(nth))?;
        for more in (left..).step_by(LEFT as usize) {
            let there = statvfs(&self.stores[nth].0)?;
            let taken = (there.f_bavail * there.f_frsize).saturating_sub(more);
            match fallocate(&ballast, FallocateFlags::empty(), 0, taken) {
                // The server was faster.
                Err(Errno::NOSPC) if taken > 0 => {}
                ended => return Ok(ended?),
            }
        }
        Ok(())
    }

    fn clear(&self, nth: usize) -> io::Result<()> {
        fs::remove_file(self.ballast(nth))
    }
}

impl Nodes {
    fn disks(&self) -> io::Result<&Disks> {
        self.disks.as_ref().ok_or_else(|| io::Error::other("the servers have no disks of their own"))
    }

    /// The disk of one server is full, or of all. It switches the stream off when it notices, and is started again when there is room: by
    /// itself it does not switch it on.
    pub(super) async fn fill_disks(&mut self, owner: usize, rng: &mut Rng) -> Result<(), Failure> {
        let some = rng.usize(..NODES);
        let full: Vec<usize> = if rng.bool() { (0..NODES).collect() } else { vec![some] };
        self.write_down(&format!("full: {full:?}"))?;
        full.iter().try_for_each(|nth| self.disks()?.fill(*nth, rng.u64(..LEFT)))?;
        sleep(Duration::from_millis(rng.u64(..FULL_MS))).await;
        let is_killed_before = rng.bool();
        if is_killed_before {
            self.kill(owner)?;
        }
        full.iter().try_for_each(|nth| self.disks()?.clear(*nth))?;
        for nth in full {
            self.servers.kill(nth);
            self.servers.start_again(nth);
        }
        self.write_down("there is room")?;
        if !is_killed_before {
            sleep(Duration::from_millis(rng.u64(..FULL_MS))).await;
            self.kill(owner)?;
        }
        self.await_next_owner(rng).await
    }
}
