//! The store on a local disk: a log of files and a home of sled in one directory, which one process holds at a time.

mod home;
mod log;
#[cfg(any(test, feature = "cluster"))]
mod node;
#[cfg(test)]
pub(super) mod tests;

use super::codec::MetaRow;
use super::commit::StreamMark;
use super::directory::{Directory, DirectoryError};
use super::home::{HomeError, Rows};
use super::log::files::Files;
use super::logged::LoggedStore;
use super::options::Options;
use super::recent::{self, Recent};
use super::recovery::{OpenError, Recovered};
use super::space::Space;
use crate::core::JobId;
pub use home::SledHome;
pub use log::FileLog;
#[cfg(any(test, feature = "cluster"))]
pub(crate) use node::{NodeDirectory, NodeStore};
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;

/// With less space than this the database is left alone: what opening it anew may take, and a segment of its own.
const HOME_ROOM: u64 = 16 << 20;

/// The store on a disk. Opened by [`DiskStore::open`].
pub type DiskStore = LoggedStore<FileLog, SledHome>;

/// What the log and the home share. The directory is unlocked with the last of them.
#[derive(Debug)]
struct Disk {
    space: RefCell<Space>,
    directory: Directory,
}

impl DiskStore {
    /// Locks a data directory, creating it if needed, and recovers what is in it.
    ///
    /// # Errors
    /// The directory cannot be used; it is left as it is.
    pub fn open(dir: &Path, options: &Options) -> Result<(DiskStore, Recovered), OpenError> {
        DiskStore::open_in(Directory::open(dir)?, options)
    }

    /// The same, in a directory that is locked already.
    pub(super) fn open_in(
        directory: Directory,
        options: &Options,
    ) -> Result<(DiskStore, Recovered), OpenError> {
        let rows = home::open_rows(&directory, options)?;
        let meta = rows.meta()?.unwrap_or_default();
        if meta.mark.is_some() {
            // With a log of its own nothing of the stream has come into it: it was about to join, or to leave.
            if !directory.log().exists() {
                return Err(DirectoryError::OfANode { dir: directory.path().to_owned() }.into());
            }
            rows.finish(&MetaRow { mark: None, ..meta })?;
        }
        let space = Space::new(directory.path(), options.disk_reserve_bytes, options.ballast_bytes);
        let disk = Rc::new(Disk { space: RefCell::new(space), directory });
        let home = SledHome::new(rows, disk.clone(), options).map_err(OpenError::Thread)?;
        let open_log = |after, on_commit: &mut super::logged::OnCommit<'_>| {
            disk.directory.create_log()?;
            let files = Files::open(&disk.directory.log(), options.log_file_bytes, after, on_commit)?;
            Ok(FileLog::new(files, disk.clone(), options))
        };
        LoggedStore::recover(home, open_log, Recent::new(recent::MEMORY), options.checkpoint_interval)
    }

    /// Remembers that no id below this may be given any more, and where in a stream a node reads on. Everything must be in the home.
    pub(super) fn note_next_id(&self, next_id: JobId, mark: Option<StreamMark>) -> Result<(), HomeError> {
        let meta = MetaRow { home: self.came_home, time: self.time, next_id, mark };
        self.home.rows().finish(&meta)
    }

    /// Says that the directory is whole.
    pub(super) fn write_format(&self) -> Result<(), DirectoryError> {
        self.home.disk().directory.write_format()
    }
}
