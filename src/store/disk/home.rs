//! The home of a store on disk: the loop's side of sled and of the thread that writes it, and the space around them.

use super::{Disk, HOME_ROOM};
use crate::core::{JobId, Time};
use crate::store::blob::Blob;
use crate::store::codec::{BlockRow, MetaRow, StampedRow};
use crate::store::directory::Directory;
use crate::store::error::AppendError;
use crate::store::home::sled::{Bounds, SledReader, SledRows, Writer, remove_leftover};
use crate::store::home::{Home, HomeError, Report, RowReader, RowWriter, Rows, Work};
use crate::store::options::Options;
use crate::store::room::{Room, Shrunk};
use crate::store::space::{self, give_up_ballast};
use bytes::Bytes;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How often the loop looks whether the database was rewritten.
const SHRUNK_AGAIN: Duration = Duration::from_millis(250);

/// sled, and the thread that writes to it.
#[derive(Debug)]
pub struct SledHome {
    // In this order they are closed: the thread before what it works on, the directory's lock last.
    writer: Writer,
    rows: Arc<SledRows>,
    disk: Rc<Disk>,
    /// Whether it is left alone for lack of space.
    waits: bool,
}

/// sled writes when it opens, so on a full disk the ballast has to go; before it, what a rewrite has left.
pub(super) fn open_rows(directory: &Directory, options: &Options) -> Result<SledRows, HomeError> {
    remove_leftover(&directory.sled())?;
    match SledRows::open(&directory.sled(), options.cache_bytes) {
        Err(error) if error.is_full() && give_up_ballast(directory.path()) => {
            SledRows::open(&directory.sled(), options.cache_bytes)
        }
        opened => opened,
    }
}

impl SledHome {
    pub(super) fn new(rows: SledRows, disk: Rc<Disk>, options: &Options) -> io::Result<SledHome> {
        let rows = Arc::new(rows);
        let bounds = Bounds::new(disk.directory.path().to_owned(), options);
        Ok(SledHome { writer: Writer::start(rows.clone(), bounds)?, rows, disk, waits: false })
    }

    /// The database, which its thread shares.
    pub(crate) fn rows(&self) -> &Arc<SledRows> {
        &self.rows
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }

    /// Lets the thread end after this many rows.
    #[cfg(test)]
    pub(crate) fn cut_after(&self, rows: u64) {
        self.writer.rows_left.store(rows, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Rows for SledHome {
    fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
        self.rows.meta()
    }

    fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
        Rows::rows(&*self.rows)
    }

    fn blocks(&self, on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError> {
        self.rows.blocks(on_block)
    }
}

impl RowWriter for SledHome {
    fn offer(&mut self, work: Work) -> Result<Option<Work>, AppendError> {
        self.writer.offer(work)
    }

    fn hand_over(&mut self, work: Work) -> Result<(), AppendError> {
        self.writer.hand_over(work)
    }

    fn report(&mut self) -> Result<Option<Report>, AppendError> {
        self.writer.report()
    }

    fn wait(&mut self) -> Result<Report, AppendError> {
        self.writer.wait()
    }
}

impl Home for SledHome {
    fn blobs(&self, kind: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        self.rows.checked_blobs(kind, id)
    }

    fn give_up(&mut self) {
        self.rows.give_up();
    }

    fn maintain(&mut self, now: Time) -> bool {
        let mut space = self.disk.space.borrow_mut();
        space.look(now);
        self.waits = !space.has_room_for(HOME_ROOM);
        self.waits
    }

    fn look_again(&self, now: Time) -> Option<Time> {
        let low = self.waits || self.room() != Room::Enough;
        let look = low.then(|| now.plus(space::LOOK_AGAIN));
        let news = self.writer.is_shrinking().then(|| now.plus(SHRUNK_AGAIN));
        [look, news].into_iter().flatten().min()
    }

    fn bytes(&self) -> u64 {
        self.rows.file_bytes()
    }

    fn room(&self) -> Room {
        self.disk.space.borrow().room()
    }

    fn shrunk(&mut self) -> Option<Shrunk> {
        self.writer.shrunk()
    }

    fn reader(&self) -> Box<dyn RowReader> {
        Box::new(SledReader(self.rows.clone()))
    }
}
