//! The disk under a simulated store. What was written is kept apart from what was synced; a power cut keeps a random
//! part of the difference. All luck comes from one seed.

use super::rows::{RowStep, SimulatedRows};
use super::{ByHand, CHECKPOINT_INTERVAL, SimulatedStore};
use crate::core::{Event, Holder, JobId};
use crate::store::checkpoint::{Checkpoints, Report, SLICES_WAITING, Work};
use crate::store::fresh::Fresh;
use crate::store::log::{LogError, Place, record};
use crate::store::recovery::{Fold, Folded};
use crate::store::{AppendError, BodyError, Commit, CommitNo, OpenError, Recovered, Room};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::rc::Rc;

pub(super) const SALT: u64 = 0x6d75_7368_6572;

/// Records that are home and still in the log: files come free as a whole.
const LEFT_IN_LOG: u64 = 16;

/// A write is torn into parts of this size.
const SECTOR: usize = 64;

/// What becomes of the next write to the log. Either way the process must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// There is no room for it: nothing is written.
    Full,
    /// It is written, but the sync fails: a power cut may keep it or not.
    SyncFails,
}

/// Faults on purpose, by which a simulation shows that it would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// Commits count as durable before they are synced.
    EarlyAnswers,
    /// Now and then a checkpoint's row of jobs is not written.
    LostRows,
    /// Leases that no connection holds are over at once for whoever reads the log.
    ShortLeases,
}

/// A disk that outlives the processes on it. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimulatedDisk(Rc<RefCell<Disk>>);

impl SimulatedDisk {
    /// An empty disk. The same seed and the same calls lead to the same disk.
    pub fn new(seed: u64) -> SimulatedDisk {
        SimulatedDisk(Rc::new(RefCell::new(Disk::new(seed))))
    }

    /// Recovers what is on the disk, for a new process.
    ///
    /// # Errors
    /// What is on the disk makes no sense: never, if the store does its work.
    pub fn open(&self) -> Result<(SimulatedStore, Recovered), OpenError> {
        let Folded { recovered, start, fresh } = self.0.borrow_mut().recover()?;
        // As the log does when it is opened: the last life may have ended just before.
        self.0.borrow_mut().free(start.home);
        let checkpoints = Checkpoints::new(ByHand(self.0.clone()), CHECKPOINT_INTERVAL, start);
        let (disk, last, time) = (self.0.clone(), recovered.last, recovered.time);
        Ok((SimulatedStore { disk, checkpoints, fresh, last, time, poisoned: false }, recovered))
    }

    /// The process is killed: all that it has written is there.
    pub fn kill(&self) {
        self.0.borrow_mut().desk = Desk::default();
    }

    /// The power fails: of what was not synced a random part is left, and the process is gone.
    pub fn cut_power(&self) {
        self.0.borrow_mut().cut_power();
    }

    /// From now on syncs come when [`SimulatedDisk::sync`] says so, as those of a replicated log do; or at once.
    pub fn sync_late(&self, late: bool) {
        self.0.borrow_mut().syncs_late = late;
    }

    /// Brings to the disk what was appended so far.
    pub fn sync(&self) {
        self.0.borrow_mut().sync();
    }

    /// Lets checkpoints write so many rows.
    pub fn write_rows(&self, rows: usize) {
        self.0.borrow_mut().write_rows(rows);
    }

    /// What becomes of the next append.
    pub fn fail_next_append(&self, fault: WriteFault) {
        self.0.borrow_mut().write_fault = Some(fault);
    }

    /// From now on the home cannot give bodies back, and takes no rows for want of space; or both again.
    pub fn fail_home(&self, bodies: bool, full: bool) {
        let mut disk = self.0.borrow_mut();
        (disk.bodies_fail, disk.is_full) = (bodies, full);
    }

    /// The home loses a body.
    pub fn lose_body(&self, id: JobId) {
        self.0.borrow_mut().written.bodies.remove(&id);
    }

    /// Says whether there is room.
    pub fn set_room(&self, room: Room) {
        self.0.borrow_mut().room = room;
    }

    /// Plants a fault.
    pub fn plant(&self, fault: Planted) {
        self.0.borrow_mut().planted = Some(fault);
    }

    /// The newest commit that was appended.
    pub fn last(&self) -> CommitNo {
        self.0.borrow().last()
    }

    /// Records in the log.
    pub fn records(&self) -> usize {
        self.0.borrow().records.len()
    }

    /// A sum over all that was ever written to the log: the same for the same history.
    pub fn digest(&self) -> u32 {
        self.0.borrow().digest
    }
}

/// What checkpoints want written.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inbox: VecDeque<Work>,
    steps: VecDeque<RowStep>,
    /// Whether `steps` end the checkpoint.
    finishes: bool,
    /// The checkpoint whose rest is thrown away.
    failed: Option<u64>,
    pub(super) reports: VecDeque<Report>,
}

impl Desk {
    /// Takes work, or gives it back if too much waits.
    pub(super) fn offer(&mut self, work: Work) -> Option<Work> {
        if self.inbox.len() >= SLICES_WAITING {
            return Some(work);
        }
        self.inbox.push_back(work);
        None
    }
}

#[derive(Debug)]
pub(super) struct Disk {
    luck: u64,
    /// The log: whole records, or what is left of one.
    records: VecDeque<Vec<u8>>,
    /// The number of the first of them.
    first: CommitNo,
    /// How many of them survive a power cut.
    synced: usize,
    syncs_late: bool,
    write_fault: Option<WriteFault>,
    /// The home as the process sees it, as it is on the disk, and the steps in between.
    written: SimulatedRows,
    on_disk: SimulatedRows,
    unflushed: VecDeque<RowStep>,
    pub(super) desk: Desk,
    bodies_fail: bool,
    is_full: bool,
    pub(super) room: Room,
    pub(super) planted: Option<Planted>,
    digest: u32,
}

impl Disk {
    fn new(seed: u64) -> Disk {
        Disk {
            luck: seed,
            records: VecDeque::new(),
            first: CommitNo(1),
            synced: 0,
            syncs_late: false,
            write_fault: None,
            written: SimulatedRows::default(),
            on_disk: SimulatedRows::default(),
            unflushed: VecDeque::new(),
            desk: Desk::default(),
            bodies_fail: false,
            is_full: false,
            room: Room::Enough,
            planted: None,
            digest: 0,
        }
    }

    pub(super) fn last(&self) -> CommitNo {
        CommitNo(self.first.0 + self.records.len() as u64 - 1)
    }

    pub(super) fn durable(&self) -> CommitNo {
        match self.planted {
            Some(Planted::EarlyAnswers) => self.last(),
            _ => CommitNo(self.first.0 + self.synced as u64 - 1),
        }
    }

    pub(super) fn append(&mut self, record: Vec<u8>) -> Result<(), AppendError> {
        let fault = self.write_fault.take();
        if fault == Some(WriteFault::Full) {
            return Err(AppendError::Disk(ErrorKind::StorageFull.into()));
        }
        self.digest = crc32c::crc32c_append(self.digest, &record);
        self.records.push_back(record);
        if fault == Some(WriteFault::SyncFails) {
            return Err(AppendError::Disk(io::Error::other("the sync fails")));
        }
        if !self.syncs_late {
            self.sync();
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.records.len();
    }

    pub(super) fn free(&mut self, home: CommitNo) {
        while self.first.0 + LEFT_IN_LOG <= home.0 && self.synced > 0 {
            self.records.pop_front();
            (self.first, self.synced) = (self.first.next(), self.synced - 1);
        }
    }

    pub(super) fn body(&mut self, id: JobId) -> Result<Bytes, BodyError> {
        if self.bodies_fail {
            return Err(BodyError::Failed { id, detail: "the disk does not answer".to_owned() });
        }
        self.written.bodies.get(&id).cloned().ok_or(BodyError::Missing(id))
    }

    /// Takes rows from the desk.
    pub(super) fn write_rows(&mut self, rows: usize) {
        for _ in 0..rows {
            while self.desk.steps.is_empty() && !self.desk.finishes {
                let Some(work) = self.desk.inbox.pop_front() else { return };
                let (Work::Slice { round, .. } | Work::Finish { round, .. }) = work;
                if self.desk.failed == Some(round) {
                    continue;
                }
                if self.is_full {
                    self.home_is_full(round);
                    continue;
                }
                self.desk.finishes = matches!(work, Work::Finish { .. });
                self.desk.steps = self.written.steps(work);
            }
            if let Some(step) = self.desk.steps.pop_front() {
                self.write(step);
            }
            if self.desk.steps.is_empty() && std::mem::take(&mut self.desk.finishes) {
                self.flush(usize::MAX);
                self.desk.reports.push_back(Report::Done);
            }
        }
    }

    fn write(&mut self, step: RowStep) {
        let is_lost = self.planted == Some(Planted::LostRows) && self.below(8) == 0;
        if is_lost && matches!(step, RowStep::Jobs(..)) {
            return;
        }
        self.written.apply(step.clone());
        self.unflushed.push_back(step);
    }

    /// The checkpoint fails, and the home is opened anew.
    fn home_is_full(&mut self, round: u64) {
        self.desk.failed = Some(round);
        self.desk.reports.push_back(Report::Full);
        self.lose_rows();
    }

    fn flush(&mut self, steps: usize) {
        for step in self.unflushed.drain(..steps.min(self.unflushed.len())) {
            self.on_disk.apply(step);
        }
    }

    /// Of the rows that were not flushed a random number, the oldest, is left.
    fn lose_rows(&mut self) {
        let kept = self.below(self.unflushed.len() + 1);
        self.flush(kept);
        self.unflushed.clear();
        self.written = self.on_disk.clone();
    }

    fn cut_power(&mut self) {
        self.desk = Desk::default();
        self.lose_rows();
        let unsynced = self.records.len() - self.synced;
        let whole = self.synced + self.below(unsynced + 1);
        let torn = self.records.get(whole).cloned();
        self.records.truncate(whole);
        if let Some(mut torn) = torn {
            for sector in torn.chunks_mut(SECTOR) {
                if self.below(3) == 0 {
                    sector.fill(0);
                }
            }
            let len = torn.len() - self.below(torn.len());
            torn.truncate(len);
            self.records.push_back(torn);
        }
    }

    /// What a start does: reads the log up to its torn end, makes it durable, and folds it over the rows.
    fn recover(&mut self) -> Result<Folded, OpenError> {
        let mut fold = Fold::load(&self.written, Fresh::new(usize::MAX))?;
        let (home, path) = (fold.meta.home, Path::new("simulated"));
        let mut number = self.first;
        if number > home.next() {
            return Err(LogError::Gap { wanted: home.next(), path: path.to_owned(), found: number }.into());
        }
        for bytes in &self.records {
            let Some(record) = record::read(SALT, bytes, 0).filter(|record| record.number == number) else {
                break;
            };
            if number > home {
                fold.commit(Place { path, file: None, offset: 0, number }, record.payload)?;
            }
            number = number.next();
        }
        self.records.truncate((number.0 - self.first.0) as usize);
        self.sync();
        self.write_fault = None;
        Ok(fold.end(self.last())?)
    }

    /// A number below `bound` (splitmix64).
    fn below(&mut self, bound: usize) -> usize {
        self.luck = self.luck.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.luck ^ (self.luck >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// See [`Planted::ShortLeases`].
pub(super) fn with_short_leases(commit: &Commit) -> Commit {
    let mut commit = commit.clone();
    for event in &mut commit.events {
        if let Event::Claimed { holder: Holder::Anyone, at, until, .. } = event {
            *until = *at;
        }
    }
    commit
}
