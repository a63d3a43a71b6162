//! The commits of a replicated log that no checkpoint has freed, as this node has them: in files that are never synced,
//! since the stream has them too, and that have no name, since a node that starts reads them from the stream. Bodies are
//! read back from here, and backups. Knows bytes and numbers, not the stream.

use crate::store::CommitNo;
use crate::store::log::{Segment, Tail};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a commit is.
#[derive(Clone, Debug)]
struct Entry {
    file: Arc<File>,
    at: u64,
    len: usize,
}

/// Commits in files.
#[derive(Debug)]
pub(crate) struct Spool {
    dir: PathBuf,
    file_bytes: u64,
    file: Option<Arc<File>>,
    /// How many bytes it has.
    at: u64,
    /// The commits that are not free: those after `freed`, in order.
    commits: VecDeque<Entry>,
    freed: CommitNo,
    bytes: u64,
}

impl Spool {
    /// For the commits after `home`. A file of it takes about so many bytes, and goes when all of it is free.
    pub(crate) fn new(dir: PathBuf, file_bytes: u64, home: CommitNo) -> Spool {
        Spool { dir, file_bytes, file: None, at: 0, commits: VecDeque::new(), freed: home, bytes: 0 }
    }

    /// The newest commit.
    pub(crate) fn last(&self) -> CommitNo {
        CommitNo(self.freed.0 + self.commits.len() as u64)
    }

    /// How much is not free.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Keeps the next commit. Returns where it can be read back.
    ///
    /// # Errors
    /// The disk failed, or is full. What was kept before is there.
    pub(crate) fn push(&mut self, payload: &[u8]) -> io::Result<(Arc<File>, u64)> {
        let file = match &self.file {
            Some(file) if self.at < self.file_bytes => file.clone(),
            _ => {
                let file = Arc::new(nameless(&self.dir)?);
                self.at = 0;
                self.file.insert(file).clone()
            }
        };
        let at = self.at;
        file.write_all_at(payload, at)?;
        self.at += payload.len() as u64;
        self.bytes += payload.len() as u64;
        self.commits.push_back(Entry { file: file.clone(), at, len: payload.len() });
        Ok((file, at))
    }

    /// Everything up to `home` is not read any more.
    pub(crate) fn free(&mut self, home: CommitNo) {
        while self.freed < home
            && let Some(gone) = self.commits.pop_front()
        {
            self.bytes -= gone.len as u64;
            self.freed = self.freed.next();
        }
    }

    /// The commits that are not free, up to one of them.
    pub(crate) fn tail(&self, last: CommitNo) -> SpoolTail {
        let count = last.0.saturating_sub(self.freed.0) as usize;
        SpoolTail { freed: self.freed, commits: self.commits.iter().take(count).cloned().collect() }
    }
}

/// A file that is gone when nobody has it open any more.
fn nameless(dir: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open(dir, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Commits, for another thread.
#[derive(Debug)]
pub(crate) struct SpoolTail {
    freed: CommitNo,
    commits: Vec<Entry>,
}

impl Tail for SpoolTail {
    fn last(&self) -> CommitNo {
        CommitNo(self.freed.0 + self.commits.len() as u64)
    }

    fn read(
        &self,
        home: CommitNo,
        on_commit: &mut dyn FnMut(CommitNo, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut payload = Vec::new();
        for (number, entry) in (self.freed.0 + 1..).map(CommitNo).zip(&self.commits) {
            if number > home {
                payload.resize(entry.len, 0);
                entry.file.read_back(&mut payload, entry.at)?;
                on_commit(number, &payload)?;
            }
        }
        Ok(())
    }
}
