//! The store without a disk, for tests and the simulator: real records, real checkpoints and real recovery over a
//! [`SimulatedDisk`], which outlives the process and can be told to lose, tear and refuse. No thread writes its rows:
//! whoever simulates says when, and how many.

mod disk;
mod rows;
#[cfg(test)]
mod tests;

pub use disk::{Planted, SimulatedDisk, WriteFault};

use super::checkpoint::{Checkpoints, Report, RowWriter, Work};
use super::codec::{EncodedBodies, encode_commit};
use super::fresh::{Arrivals, Fresh};
use super::log::record;
use super::{AppendError, BodyError, Commit, CommitNo, Room, Store};
use crate::core::{JobId, State, Time};
use bytes::Bytes;
use disk::Disk;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// As in the options' default.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(700);

/// One life of a process on a [`SimulatedDisk`]. Opened by [`SimulatedDisk::open`].
#[derive(Debug)]
pub struct SimulatedStore {
    disk: Rc<RefCell<Disk>>,
    checkpoints: Checkpoints<ByHand>,
    fresh: Fresh,
    last: CommitNo,
    time: Time,
    poisoned: bool,
}

impl Store for SimulatedStore {
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<(), AppendError> {
        let mut disk = self.disk.borrow_mut();
        if self.poisoned {
            return Err(AppendError::Disk(io::Error::other("an earlier write failed")));
        }
        let actual = disk.last().next();
        if expected != actual {
            return Err(AppendError::Fenced { expected, actual });
        }
        let mut bytes = vec![0; record::HEADER];
        let bodies_at = match disk.planted {
            Some(Planted::ShortLeases) => encode_commit(&disk::with_short_leases(commit), &mut bytes),
            _ => encode_commit(commit, &mut bytes),
        };
        record::seal(disk::SALT, actual, &mut bytes);
        self.poisoned = true;
        disk.append(bytes.clone())?;
        (self.poisoned, self.last, self.time) = (false, actual, commit.time);
        let bodies = EncodedBodies::new(&bytes[bodies_at..], commit.bodies.len());
        self.checkpoints.note(commit, bytes.len() as u64, Arrivals { bodies, place: None }, &mut self.fresh);
        Ok(())
    }

    fn durable(&self) -> CommitNo {
        self.disk.borrow().durable()
    }

    fn body(&mut self, id: JobId) -> Result<Bytes, BodyError> {
        match self.fresh.get(id) {
            Some(body) => Ok(body.expect("without a file they stay in memory")),
            None => self.disk.borrow_mut().body(id),
        }
    }

    fn room(&self) -> Room {
        self.disk.borrow().room.clone()
    }

    fn maintain(&mut self, state: &State, now: Time) -> Result<Option<Time>, AppendError> {
        // Rows reflect the newest commit, which must be on disk before them.
        if self.durable() < self.last {
            return Ok(None);
        }
        let step = self.checkpoints.step(state, (self.last, self.time), &mut self.fresh, now)?;
        if let Some(home) = step.home {
            self.disk.borrow_mut().free(home);
        }
        Ok(step.again)
    }

    fn close(&mut self, state: &State) -> Result<(), AppendError> {
        if self.poisoned {
            return Err(AppendError::Disk(io::Error::other("an earlier write failed")));
        }
        self.disk.borrow_mut().sync();
        self.checkpoints.finish(state, (self.last, self.time), &mut self.fresh)?;
        self.disk.borrow_mut().free(self.last);
        Ok(())
    }
}

/// Stands in for the thread: the disk has the work on a desk, and does some of it when it is told to.
#[derive(Debug)]
struct ByHand(Rc<RefCell<Disk>>);

impl RowWriter for ByHand {
    fn offer(&mut self, work: Work) -> Result<Option<Work>, AppendError> {
        Ok(self.0.borrow_mut().desk.offer(work))
    }

    fn hand_over(&mut self, work: Work) -> Result<(), AppendError> {
        if let Some(work) = self.offer(work)? {
            self.0.borrow_mut().write_rows(usize::MAX);
            let left = self.offer(work)?;
            debug_assert!(left.is_none(), "a desk on which all was done has room");
        }
        Ok(())
    }

    fn report(&mut self) -> Result<Option<Report>, AppendError> {
        Ok(self.0.borrow_mut().desk.reports.pop_front())
    }

    fn wait(&mut self) -> Result<Report, AppendError> {
        self.0.borrow_mut().write_rows(usize::MAX);
        Ok(self.report()?.expect("a checkpoint ends when all of it is written"))
    }
}
