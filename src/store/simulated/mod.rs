//! The store without a disk, for tests and the simulator: real records, real checkpoints and real recovery over a
//! [`SimulatedDisk`], which outlives the process and can be told to lose, tear, refuse and confirm late. No thread
//! writes its rows: the simulation says when, and how many. All randomness comes from one seed.
//!
//! `log` and `home` are one life of a process; they stand on `disk`, which has the `records` of the one and the
//! `home_disk` and the `rows` of the other.

mod disk;
mod faults;
mod home;
mod home_disk;
mod log;
mod records;
mod rows;
#[cfg(test)]
mod stream;
#[cfg(test)]
mod tests;
mod torn;

pub use faults::{Planted, WriteFault};
pub use home::SimulatedHome;
pub use log::SimulatedLog;

use super::blob::Blob;
use super::commit::CommitNo;
use super::log::Log;
use super::logged::{LoggedStore, OnCommit};
use super::recent::Recent;
use super::recovery::{OpenError, Recovered};
use super::room::Room;
use crate::core::JobId;
use disk::Disk;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// As in the options' default.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(700);

/// One life of a process on a [`SimulatedDisk`]. Opened by [`SimulatedDisk::open`].
pub type SimulatedStore = LoggedStore<SimulatedLog, SimulatedHome>;

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
        let recent = Recent::new(self.0.borrow().memory);
        let open_log = |after, on_commit: &mut OnCommit<'_>| self.open_log(after, on_commit);
        let (mut store, recovered) =
            LoggedStore::recover(self.open_home(), open_log, recent, CHECKPOINT_INTERVAL)?;
        // As the log does when it is opened: the last life may have ended just before.
        store.log.free(store.came_home);
        Ok((store, recovered))
    }

    fn open_log(&self, after: CommitNo, on_commit: &mut OnCommit<'_>) -> Result<SimulatedLog, OpenError> {
        SimulatedLog::open(self.0.clone(), after, on_commit)
    }

    fn open_home(&self) -> SimulatedHome {
        SimulatedHome::new(self.0.clone())
    }

    /// The process is killed: all that it has written is there.
    pub fn kill(&self) {
        self.0.borrow_mut().end_life();
    }

    /// The power fails: of what was not synced a random part is left, and the process is gone.
    pub fn cut_power(&self) {
        self.0.borrow_mut().cut_power();
    }

    /// From now on a commit is confirmed when [`SimulatedDisk::confirm`] says so, as by a replicated log; or at once.
    pub fn confirm_late(&self, late: bool) {
        self.0.borrow_mut().log.confirms_late = late;
    }

    /// Confirms the next commits, at most so many.
    pub fn confirm(&self, commits: usize) {
        self.0.borrow_mut().log.confirm(commits);
    }

    /// From now on nothing is confirmed; or, with `false`, as it was set before.
    pub fn hang(&self, hangs: bool) {
        self.0.borrow_mut().log.hangs = hangs;
    }

    /// The log takes no more while so many commits are not confirmed.
    pub fn bound_unconfirmed(&self, commits: usize) {
        self.0.borrow_mut().log.unconfirmed_max = commits;
    }

    /// How many commits are not confirmed.
    pub fn unconfirmed(&self) -> usize {
        let log = &self.0.borrow().log;
        log.records.len() - log.safe
    }

    /// Whether what was appended last will never be confirmed.
    pub fn has_failed(&self) -> bool {
        self.0.borrow().log.has_failed
    }

    /// A process that is opened from now on keeps about so many bytes of bodies in memory.
    pub fn bound_memory(&self, bytes: usize) {
        self.0.borrow_mut().memory = bytes;
    }

    /// Lets checkpoints write so many rows.
    pub fn write_rows(&self, rows: usize) {
        self.0.borrow_mut().write_rows(rows);
    }

    /// What becomes of the next append.
    pub fn fail_next_append(&self, fault: WriteFault) {
        self.0.borrow_mut().log.fault = Some(fault);
    }

    /// From now on the home cannot give blobs back, and takes no rows for want of space; or both again.
    pub fn fail_home(&self, blobs: bool, full: bool) {
        let home = &mut self.0.borrow_mut().home;
        (home.blobs_fail, home.is_full) = (blobs, full);
    }

    /// The home loses a blob.
    pub fn lose(&self, kind: Blob, id: JobId) {
        self.0.borrow_mut().home.written.lose(kind, id);
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
        self.0.borrow().log.last()
    }

    /// Records in the log.
    pub fn records(&self) -> usize {
        self.0.borrow().log.records.len()
    }

    /// A sum over all that was ever written to the log: the same for the same history.
    pub fn digest(&self) -> u32 {
        self.0.borrow().log.digest
    }
}
