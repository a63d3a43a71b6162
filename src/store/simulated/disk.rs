//! The disk of a simulated store: what is on it of the log and of the home, and what a power failure leaves.

use super::faults::{Planted, Random};
use super::home_disk::HomeDisk;
use super::records::{Record, Records};
use super::torn::torn;
use crate::store::room::Room;

/// A write is torn into parts of this size.
const SECTOR: usize = 64;

#[derive(Debug)]
pub(super) struct Disk {
    random: Random,
    pub(super) log: Records,
    pub(super) home: HomeDisk,
    pub(super) room: Room,
    pub(super) planted: Option<Planted>,
    /// How many bytes of bodies a process keeps in memory.
    pub(super) memory: usize,
}

impl Disk {
    pub(super) fn new(seed: u64) -> Disk {
        let (log, home, room) = (Records::new(), HomeDisk::default(), Room::Enough);
        Disk { random: Random(seed), log, home, room, planted: None, memory: usize::MAX }
    }

    pub(super) fn write_rows(&mut self, rows: usize) {
        self.home.write_rows(rows, &mut self.random, self.planted);
    }

    /// The process is gone.
    pub(super) fn end_life(&mut self) {
        self.home.drop_pending();
        self.home.lose_memory(&mut self.random);
        self.log.bell = None;
        if self.planted == Some(Planted::TornCommits) && self.log.safe < self.log.records.len() {
            let last = self.log.last();
            let torn = self.log.records.back().and_then(|record| torn(&record.bytes, last));
            if let (Some(torn), Some(record)) = (torn, self.log.records.back_mut()) {
                *record = Record::new(torn);
            }
        }
    }

    /// So is a random part of what was not safe.
    pub(super) fn cut_power(&mut self) {
        self.end_life();
        self.home.lose_rows(&mut self.random);
        let (log, random) = (&mut self.log, &mut self.random);
        let whole = log.safe + random.below(log.records.len() - log.safe + 1);
        let torn = log.records.get(whole).cloned();
        log.records.truncate(whole);
        if let Some(torn) = torn {
            let mut torn = torn.bytes.clone();
            for sector in torn.chunks_mut(SECTOR) {
                if random.below(3) == 0 {
                    sector.fill(0);
                }
            }
            let len = torn.len() - random.below(torn.len());
            torn.truncate(len);
            log.records.push_back(Record::new(torn));
        }
    }
}
