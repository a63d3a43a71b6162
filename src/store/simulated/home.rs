//! The home of a simulated store. What checkpoints want written lies on a desk until whoever simulates has some of it
//! done; of what was not flushed a power cut keeps a random number of rows, the oldest.

use super::disk::{Disk, Planted};
use super::rows::{RowStep, SimulatedRows};
use crate::core::{JobId, Time};
use crate::store::codec::{BlockRow, MetaRow, QueueRow};
use crate::store::error::AppendError;
use crate::store::home::{Home, HomeError, Report, RowReader, RowWriter, Rows, SLICES_WAITING, Work};
use crate::store::room::{Room, Shrunk};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

/// What checkpoints want written.
#[derive(Debug, Default)]
struct Desk {
    inbox: VecDeque<Work>,
    steps: VecDeque<RowStep>,
    /// Whether `steps` end the checkpoint.
    finishes: bool,
    /// The checkpoint whose rest is thrown away.
    failed: Option<u64>,
    reports: VecDeque<Report>,
}

/// What is on the disk of a home.
#[derive(Debug, Default)]
pub(super) struct HomeDisk {
    /// The rows as the process sees them, as they are on the disk, and the steps in between.
    pub(super) written: SimulatedRows,
    on_disk: SimulatedRows,
    unflushed: VecDeque<RowStep>,
    desk: Desk,
    pub(super) bodies_fail: bool,
    pub(super) is_full: bool,
}

impl HomeDisk {
    /// Takes rows from the desk. `is_lost` says of each row of jobs whether it is not written.
    pub(super) fn write_rows(&mut self, rows: usize, luck: &mut Luck, planted: Option<Planted>) {
        for _ in 0..rows {
            while self.desk.steps.is_empty() && !self.desk.finishes {
                let Some(work) = self.desk.inbox.pop_front() else { return };
                let (Work::Slice { round, .. } | Work::Finish { round, .. }) = work;
                if self.desk.failed == Some(round) {
                    continue;
                }
                if self.is_full {
                    // The checkpoint fails, and the home is opened anew.
                    self.desk.failed = Some(round);
                    self.desk.reports.push_back(Report::Full);
                    self.lose_rows(luck);
                    continue;
                }
                self.desk.finishes = matches!(work, Work::Finish { .. });
                self.desk.steps = self.written.steps(work);
            }
            if let Some(step) = self.desk.steps.pop_front() {
                let is_lost = planted == Some(Planted::LostRows) && luck.below(8) == 0;
                if !(is_lost && matches!(step, RowStep::Jobs(..))) {
                    self.written.apply(step.clone());
                    self.unflushed.push_back(step);
                }
            }
            if self.desk.steps.is_empty() && std::mem::take(&mut self.desk.finishes) {
                self.flush(usize::MAX);
                self.desk.reports.push_back(Report::Done);
            }
        }
    }

    fn flush(&mut self, steps: usize) {
        for step in self.unflushed.drain(..steps.min(self.unflushed.len())) {
            self.on_disk.apply(step);
        }
    }

    /// Nobody wants anything written any more.
    pub(super) fn clear_desk(&mut self) {
        self.desk = Desk::default();
    }

    /// Of the rows that were not flushed a random number, the oldest, is left.
    pub(super) fn lose_rows(&mut self, luck: &mut Luck) {
        let kept = luck.below(self.unflushed.len() + 1);
        self.flush(kept);
        self.unflushed.clear();
        self.written = self.on_disk.clone();
    }
}

/// Numbers that look random and are the same each time (splitmix64).
#[derive(Debug)]
pub(super) struct Luck(pub(super) u64);

impl Luck {
    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// The home as one life of a process has it.
#[derive(Debug)]
pub struct SimulatedHome {
    disk: Rc<RefCell<Disk>>,
    is_given_up: bool,
}

impl SimulatedHome {
    pub(super) fn new(disk: Rc<RefCell<Disk>>) -> SimulatedHome {
        SimulatedHome { disk, is_given_up: false }
    }
}

impl Rows for SimulatedHome {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        Rows::meta(&self.disk.borrow().home.written)
    }

    fn queues(&self) -> Result<Vec<QueueRow>, HomeError> {
        Rows::queues(&self.disk.borrow().home.written)
    }

    fn blocks(&self, on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError> {
        self.disk.borrow().home.written.blocks(on_block)
    }
}

impl RowWriter for SimulatedHome {
    fn offer(&mut self, work: Work) -> Result<Option<Work>, AppendError> {
        if self.is_given_up {
            return Err(AppendError::Disk(io::Error::other("the home was given up")));
        }
        let desk = &mut self.disk.borrow_mut().home.desk;
        if desk.inbox.len() >= SLICES_WAITING {
            return Ok(Some(work));
        }
        desk.inbox.push_back(work);
        Ok(None)
    }

    fn hand_over(&mut self, work: Work) -> Result<(), AppendError> {
        if let Some(work) = self.offer(work)? {
            self.disk.borrow_mut().write_rows(usize::MAX);
            let left = self.offer(work)?;
            debug_assert!(left.is_none(), "a desk on which all was done has room");
        }
        Ok(())
    }

    fn report(&mut self) -> Result<Option<Report>, AppendError> {
        Ok(self.disk.borrow_mut().home.desk.reports.pop_front())
    }

    fn wait(&mut self) -> Result<Report, AppendError> {
        self.disk.borrow_mut().write_rows(usize::MAX);
        Ok(self.report()?.expect("a checkpoint ends when all of it is written"))
    }
}

impl Home for SimulatedHome {
    fn bodies(&self, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        let home = &self.disk.borrow().home;
        if home.bodies_fail {
            return Err(HomeError::Failed(io::Error::other("the disk does not answer").into()));
        }
        RowReader::bodies(&home.written, id)
    }

    fn give_up(&mut self) {
        self.is_given_up = true;
        self.disk.borrow_mut().home.clear_desk();
    }

    fn maintain(&mut self, _now: Time) -> bool {
        false
    }

    fn look_again(&self, _now: Time) -> Option<Time> {
        None
    }

    fn room(&self) -> Room {
        self.disk.borrow().room.clone()
    }

    fn shrunk(&mut self) -> Option<Shrunk> {
        None
    }

    fn reader(&self) -> Box<dyn RowReader> {
        Box::new(self.disk.borrow().home.written.clone())
    }
}
