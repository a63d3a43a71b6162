//! The store of a node of a cluster: its home is a directory like any other, and its log is a stream on other machines. What is
//! in the directory says how far of the stream is in it.

use super::{Disk, DiskStore, SledHome, home};
use crate::store::codec::MetaRow;
use crate::store::commit::{CommitNo, StreamMark};
use crate::store::directory::{Directory, DirectoryError};
use crate::store::home::Rows;
use crate::store::home::sled::SledRows;
use crate::store::log::files::{Files, PAYLOAD_MAX};
use crate::store::log::replicated::{Bounds, JetStreamLink, NodeLife, ReplicatedLog, Spool, StreamCommit};
use crate::store::log::{Place, Segment};
use crate::store::logged::{LoggedStore, OnCommit};
use crate::store::options::Options;
use crate::store::recent::{self, Recent};
use crate::store::recovery::{Fold, OpenError, Recovered};
use crate::store::space::Space;
use crate::store::system::{random, sync_dir};
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The store of a node.
pub(crate) type NodeStore = LoggedStore<ReplicatedLog<JetStreamLink>, SledHome>;

/// Commits that a node appends before the first of them is confirmed: as many as are under way to the servers. The loop collects
/// meanwhile, so more of them would only be smaller: with four, 64 clients had 12.9k submits a second, with two 24k.
const UNDER_WAY: u64 = 2;

/// The file of the number by which a node with jobs begins a stream.
const FOUNDER: &str = "founder";

/// Why a directory stays a node's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaveError {
    #[error("data directory {} is that of no node: a daemon without [cluster] takes it as it is", dir.display())]
    NoNode { dir: PathBuf },
    /// Its node was killed in the middle of a checkpoint.
    #[error(
        "data directory {} is not whole without the stream, as its node was killed in a checkpoint: take that of another \
         node, which was told to end, or a backup", dir.display()
    )]
    NeedsStream { dir: PathBuf },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// A data directory that a node has locked, and what is in its home. Nothing of the stream was read yet.
#[derive(Debug)]
pub(crate) struct NodeDirectory {
    directory: Directory,
    rows: SledRows,
    meta: MetaRow,
}

impl NodeDirectory {
    /// Locks a data directory, creating it if needed. One that was no node's brings its log home first.
    ///
    /// # Errors
    /// The directory cannot be used; it is left as it is.
    pub(crate) fn open(dir: &Path, options: &Options) -> Result<NodeDirectory, OpenError> {
        let mut directory = Directory::open(dir)?;
        let mut rows = home::open_rows(&directory, options)?;
        let mut meta = rows.meta()?.unwrap_or_default();
        // Where the log should be and is not, the store says so.
        if meta.mark.is_none() && (directory.log().exists() || meta.home > CommitNo(0)) {
            drop(rows);
            let (mut store, found) = DiskStore::open_in(directory, options)?;
            store.bring_home(&found.state).map_err(OpenError::BringHome)?;
            drop(store);
            directory = Directory::open(dir)?;
            rows = home::open_rows(&directory, options)?;
            meta = rows.meta()?.unwrap_or_default();
        }
        Ok(NodeDirectory { directory, rows, meta })
    }

    /// From where on it needs the stream; `None` if it was no node's yet.
    pub(crate) fn mark(&self) -> Option<StreamMark> {
        self.meta.mark
    }

    /// The newest commit that is in it for certain. It may have jobs with later ones, if a checkpoint was cut off.
    pub(crate) fn home(&self) -> CommitNo {
        self.meta.home
    }

    /// From now on it is a node's, of the stream that was made then: all that is in it is before the stream's first record. If there are
    /// jobs in it, that has to be [`NodeDirectory::founder`]'s.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn join(&mut self, created: u64) -> Result<StreamMark, OpenError> {
        let path = self.directory.path().join(FOUNDER);
        let io = |source| DirectoryError::Io { path: path.clone(), source };
        if self.meta.home > CommitNo(0) {
            let life = [random().map_err(io)?, random().map_err(io)?];
            let mut file = File::create(&path).map_err(io)?;
            file.write_all(&life.map(u64::to_le_bytes).concat()).map_err(io)?;
            file.sync_all().map_err(io)?;
            sync_dir(self.directory.path()).map_err(io)?;
        }
        let mark = StreamMark { created, seq: 0, epoch: 0, number: self.meta.home };
        self.meta.mark = Some(mark);
        self.rows.finish(&self.meta)?;
        Ok(mark)
    }

    /// Who must have begun the stream for what is in it to be the stream's beginning, if it had jobs when it became a node's.
    pub(crate) fn founder(&self) -> Option<NodeLife> {
        let bytes = fs::read(self.directory.path().join(FOUNDER)).ok()?;
        Some(NodeLife(u128::from_le_bytes(bytes.try_into().ok()?)))
    }

    /// Makes it a directory of a daemon that is alone, with what its home has of the stream. Returns the newest commit in it.
    ///
    /// # Errors
    /// It is no node's, a checkpoint was cut off in it, so that it needs the stream, or it cannot be written.
    pub(crate) fn leave(dir: &Path, options: &Options) -> Result<CommitNo, LeaveError> {
        let NodeDirectory { directory, rows, mut meta } = NodeDirectory::open(dir, options)?;
        if meta.mark.take().is_none() {
            return Err(LeaveError::NoNode { dir: dir.to_owned() });
        }
        // Without a commit after it the home has to be whole by itself.
        if rows.is_within_checkpoint() {
            return Err(LeaveError::NeedsStream { dir: dir.to_owned() });
        }
        let whole = Fold::load(&rows, Recent::new(recent::MEMORY)).and_then(|fold| fold.end(meta.home));
        whole.map_err(OpenError::from)?;
        // What a former crash has left. In this order: a directory with a mark and no log is a node's.
        remove(&directory.log()).map_err(OpenError::from)?;
        directory.create_log().map_err(OpenError::from)?;
        let created = Files::create(&directory.log(), options.log_file_bytes, meta.home);
        created.map_err(|source| LeaveError::Io { path: directory.log(), source })?;
        rows.finish(&meta).map_err(OpenError::from)?;
        Ok(meta.home)
    }

    /// What was restored beside it takes the place of what is in it. A crash in the middle leaves a directory with nothing in it, which gets
    /// another copy.
    ///
    /// # Errors
    /// The files cannot be moved, or not be opened.
    pub(crate) fn replace(self, copy: &Path, options: &Options) -> Result<NodeDirectory, OpenError> {
        let NodeDirectory { directory, rows, .. } = self;
        drop(rows);
        let io = |source| DirectoryError::Io { path: directory.sled(), source };
        fs::remove_dir_all(directory.sled()).map_err(io)?;
        fs::rename(copy.join("sled"), directory.sled()).map_err(io)?;
        sync_dir(directory.path()).map_err(io)?;
        // What is left of it is only in the way.
        let _ = fs::remove_dir_all(copy);
        let rows = home::open_rows(&directory, options)?;
        let meta = rows.meta()?.unwrap_or_default();
        Ok(NodeDirectory { directory, rows, meta })
    }

    /// Recovers what is in it, and in the stream. `next` gives the commits of the stream from the mark on, up to where it ends.
    /// `in_home` is told up to which record nothing of it is needed any more.
    ///
    /// # Errors
    /// The directory cannot be read, or `next` has failed.
    pub(crate) fn recover(
        self,
        options: &Options,
        (mark, in_home): (StreamMark, Arc<AtomicU64>),
        mut next: impl FnMut() -> Result<Option<StreamCommit>, OpenError>,
    ) -> Result<(NodeStore, Recovered), OpenError> {
        let NodeDirectory { directory, rows, .. } = self;
        // What it holds is in the home since the directory is a node's.
        remove(&directory.log())?;
        let space = Space::new(directory.path(), options.disk_reserve_bytes, options.ballast_bytes);
        let disk = Rc::new(Disk { space: RefCell::new(space), directory });
        let home = SledHome::new(rows, disk.clone(), options).map_err(OpenError::Thread)?;
        let open_log = |home: CommitNo, on_commit: &mut OnCommit<'_>| {
            let dir = disk.directory.path();
            let file_bytes = options.log_file_bytes.max(PAYLOAD_MAX as u64 / 8);
            let mut spool = Spool::new(dir.to_owned(), file_bytes, home);
            let mut newest = mark;
            while let Some(StreamCommit { number, payload, position }) = next()? {
                newest = position.mark(mark.created);
                if number <= home {
                    continue;
                }
                if number != spool.last().next() {
                    let detail =
                        format!("its commit {} comes after commit {} here", number.0, spool.last().0);
                    return Err(OpenError::Stream(detail));
                }
                let kept = spool.push(&payload);
                let (file, at) =
                    kept.map_err(|source| DirectoryError::Io { path: dir.to_owned(), source })?;
                let segment: Arc<dyn Segment> = file;
                let place = Place { path: dir, offset: at, number, payload: Some((&segment, at)) };
                on_commit(place, &payload)?;
            }
            let bounds = Bounds { under_way: UNDER_WAY, bytes: options.log_max_bytes };
            Ok(ReplicatedLog::standby(spool, bounds, newest, in_home))
        };
        LoggedStore::recover(home, open_log, Recent::new(recent::MEMORY), options.checkpoint_interval)
    }
}

fn remove(dir: &Path) -> Result<(), DirectoryError> {
    match fs::remove_dir_all(dir) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DirectoryError::Io { path: dir.to_owned(), source })
        }
        _ => Ok(()),
    }
}
