//! The home of a simulated store, as one life of a process has it.

use super::disk::Disk;
use crate::core::{JobId, Time};
use crate::store::blob::Blob;
use crate::store::codec::{BlockRow, MetaRow, StampedRow};
use crate::store::error::AppendError;
use crate::store::home::{Home, HomeError, Report, RowReader, RowWriter, Rows, Work};
use crate::store::room::{Room, Shrunk};
use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;

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

    fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
        Rows::rows(&self.disk.borrow().home.written)
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
        Ok(self.disk.borrow_mut().home.offer(work))
    }

    fn hand_over(&mut self, work: Work) -> Result<(), AppendError> {
        if let Some(work) = self.offer(work)? {
            self.disk.borrow_mut().write_rows(usize::MAX);
            let left = self.offer(work)?;
            debug_assert!(left.is_none(), "there is room once all work is done");
        }
        Ok(())
    }

    fn report(&mut self) -> Result<Option<Report>, AppendError> {
        Ok(self.disk.borrow_mut().home.report())
    }

    fn wait(&mut self) -> Result<Report, AppendError> {
        self.disk.borrow_mut().write_rows(usize::MAX);
        Ok(self.report()?.expect("a checkpoint ends when all of it is written"))
    }
}

impl Home for SimulatedHome {
    fn blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        let home = &self.disk.borrow().home;
        if home.blobs_fail {
            return Err(HomeError::Failed(io::Error::other("the disk does not answer").into()));
        }
        home.written.checked_row_of(kind, id)
    }

    fn give_up(&mut self) {
        self.is_given_up = true;
        self.disk.borrow_mut().home.drop_pending();
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
