//! Gives space back. sled truncates its file only where nothing lives at its end, and something always does: after a
//! long queue was worked off, the file stays as large as it ever was. So what lives is written into a new database
//! beside the old one, read back and compared, synced, and given the old one's name in one step (`renameat2(2)`,
//! `RENAME_EXCHANGE`). Blobs are read from the old one meanwhile.
//!
//! Until that step only the old database counts, after it only the new one; nothing is written to either until the step
//! is on disk. The one that has the other name is removed, then or at the next start.

use super::database::Database;
use super::{HomeError, Shielded, SledRows, Trees, shielded, tally};
use crate::store::system::sync_dir;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// The most bytes of rows that are rewritten: no checkpoint ends meanwhile, and the log must have room for that long.
const LIVE_MAX: u64 = 256 << 20;

/// The file must be this many times as large as what lives in it.
const TIMES: u64 = 4;

/// A file of which all rows are counted.
const SMALL: u64 = 64 << 20;

/// A copy is some segments larger than its rows.
const SEGMENTS: u64 = 32 << 20;

/// About how many bytes of rows are read at once.
const PART: usize = 1 << 20;

/// The row that counts how often the file was opened: the copy has its own.
const STARTS: &[u8] = b"starts";

/// Why the space was not given back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RewriteError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("there is too little space on the disk for the copy")]
    NoRoom,
    #[error("the copy {} differs from the database", path.display())]
    Differs { path: PathBuf },
    #[error(transparent)]
    Home(#[from] HomeError),
}

/// A database that takes far more space than what lives in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slack {
    /// The bytes of its file.
    pub(crate) file: u64,
    /// The bytes of the rows in it.
    pub(crate) live: u64,
}

impl Slack {
    /// The space that a copy needs while the old one is still there.
    pub(crate) fn copy_bytes(self) -> u64 {
        2 * self.live + SEGMENTS
    }
}

/// How far a rewrite has come. The callback may end it with an error, up to the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A part of the rows was copied.
    Copied,
    /// All rows are in the copy, which was closed.
    Filled,
    /// It was opened, and has what it should have.
    Compared,
    /// It is on disk under the other name.
    Synced,
    /// It has taken the name of the old one.
    Exchanged,
    /// That is on disk, and it is in use.
    InUse,
    /// The old one is gone.
    Removed,
}

impl SledRows {
    /// How large the file is. What cannot be seen is not large.
    pub(crate) fn file_bytes(&self) -> u64 {
        fs::metadata(self.path.join("db")).map_or(0, |file| file.len())
    }

    /// Whether the file is larger than `above`, and than what lives in it warrants.
    pub(crate) fn slack(&self, above: u64) -> Result<Option<Slack>, HomeError> {
        let file = self.file_bytes();
        if file <= SMALL {
            // Quickly done, and known for as long as it is open.
            self.with(|trees| trees.live.within(u64::MAX, &trees.all()))?;
        }
        if file <= above {
            return Ok(None);
        }
        let limit = (file / TIMES).min(LIVE_MAX);
        let live = self.with(|trees| trees.live.within(limit, &trees.all()))?;
        Ok(live.map(|live| Slack { file, live }))
    }

    /// Writes what lives into a new file. Returns how large that is. `on_step` is called at each step.
    ///
    /// # Errors
    /// Before the exchange all is as it was. If the exchange itself may not be on disk, the home is given up.
    pub(crate) fn rewrite(
        &self,
        on_step: &mut impl FnMut(Step) -> Result<(), RewriteError>,
    ) -> Result<u64, RewriteError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let new = copy_path(&self.path);
        remove(&new)?;
        let copied = self.copy_to(&new, on_step).and_then(|trees| {
            // The disk may have failed elsewhere meanwhile.
            let still = |()| Ok(self.with(|_| Ok(()))?);
            match on_step(Step::Synced).and_then(still).and_then(|()| exchange(&new, &self.path)) {
                Ok(()) => Ok(trees),
                Err(error) => Err(discard(&new, trees, error)),
            }
        });
        let mut trees = copied.inspect_err(|_| {
            let _ = remove(&new); // the first error is the one to tell; the next start removes it
        })?;
        if let Err(error) = on_step(Step::Exchanged).and_then(|()| sync_parent(&self.path)) {
            // Either of the two may be the one that the next start finds: nothing may be written to one of them.
            self.give_up();
            std::mem::forget(trees);
            return Err(error);
        }
        trees.database.moved_to(&self.path);
        let old = self.trees.write().unwrap_or_else(PoisonError::into_inner).replace(trees);
        on_step(Step::InUse)?;
        if let Some(old) = old {
            // Nobody needs it any more.
            let _ = close(&new, old);
        }
        remove(&new)?;
        on_step(Step::Removed)?;
        let path = self.path.join("db");
        Ok(fs::metadata(&path).map_err(|source| RewriteError::Io { path, source })?.len())
    }

    /// A copy of all rows, open, compared and on disk. If there is none, nobody has it open.
    fn copy_to(
        &self,
        new: &Path,
        on_step: &mut impl FnMut(Step) -> Result<(), RewriteError>,
    ) -> Result<Trees, RewriteError> {
        let database = guarded(new, || Database::open(new, self.cache_bytes))?;
        let filled = self.fill(new, &database, on_step);
        // A sync that failed once may succeed the next time, without the data: the copy is good only if none has.
        let written = match filled {
            Ok(written) => close(new, database).map(|()| written)?,
            Err(error) => return Err(discard(new, database, error)),
        };
        on_step(Step::Filled)?;
        // What a start would find.
        let trees = Trees::open(new, self.cache_bytes, super::sync::calls)?;
        let compared =
            guarded(new, || Rows::of(&trees.all())).map_err(RewriteError::from).and_then(|found| {
                if found != written {
                    return Err(RewriteError::Differs { path: new.to_owned() });
                }
                on_step(Step::Compared)?;
                sync_all(new)
            });
        match compared {
            Ok(()) => Ok(trees),
            Err(error) => Err(discard(new, trees, error)),
        }
    }

    fn fill(
        &self,
        new: &Path,
        database: &Database,
        on_step: &mut impl FnMut(Step) -> Result<(), RewriteError>,
    ) -> Result<Rows, RewriteError> {
        let mut rows = Rows::default();
        let names: Vec<_> = self.with(|trees| Ok(trees.all().iter().map(|tree| tree.name()).collect()))?;
        for (at, name) in names.into_iter().enumerate() {
            let tree = guarded(new, || Ok(database.db.open_tree(name)?))?;
            let mut after = None;
            loop {
                let part = self.with(|trees| read_part(trees.all()[at], after.as_deref()))?;
                let Some((last, _)) = part.last() else { break };
                after = Some(last.clone());
                guarded(new, || {
                    for (key, row) in part.iter().filter(|(key, _)| counts(key)) {
                        rows.add(key, row);
                        tree.insert(key, row)?;
                    }
                    Ok(())
                })?;
                on_step(Step::Copied)?;
            }
        }
        guarded(new, || database.flush())?;
        Ok(rows)
    }
}

/// Removes what a rewrite that was cut off has left. The caller holds the directory, and the home is not open yet.
pub(in crate::store) fn remove_leftover(home: &Path) -> Result<(), HomeError> {
    let path = copy_path(home);
    remove_all(&path).map_err(|source| HomeError::Leftover { path, source })
}

/// Where the copy is made.
fn copy_path(home: &Path) -> PathBuf {
    home.with_extension("new")
}

type Row = (::sled::IVec, ::sled::IVec);

/// The next rows of a tree.
fn read_part(tree: &::sled::Tree, after: Option<&[u8]>) -> Result<Vec<Row>, HomeError> {
    let (mut part, mut bytes) = (Vec::new(), 0);
    let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    for row in tree.range::<&[u8], _>((from, std::ops::Bound::Unbounded)) {
        let (key, row) = row?;
        bytes += key.len() + row.len();
        part.push((key, row));
        if bytes >= PART {
            break;
        }
    }
    Ok(part)
}

/// Whether a row is the same in a copy.
fn counts(key: &[u8]) -> bool {
    key != STARTS
}

/// How many rows there are, and a sum over them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rows {
    count: u64,
    sum: u64,
}

impl Rows {
    fn of(trees: &[&::sled::Tree]) -> Result<Rows, HomeError> {
        let mut rows = Rows::default();
        for row in trees.iter().flat_map(|tree| tree.iter()) {
            let (key, row) = row?;
            if counts(&key) {
                rows.add(&key, &row);
            }
        }
        Ok(rows)
    }

    fn add(&mut self, key: &[u8], row: &[u8]) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(tally::weight(key, row));
    }
}

/// The copy is not the home: what goes wrong with it costs the copy alone.
fn guarded<T>(new: &Path, work: impl FnOnce() -> Result<T, HomeError>) -> Result<T, HomeError> {
    shielded(new, work).map_err(|(Shielded::Error(error) | Shielded::Panic(error))| error)
}

/// Closes a copy that is useless, for this reason.
fn discard(new: &Path, open: impl Sized, why: RewriteError) -> RewriteError {
    let _ = close(new, open); // the first error is the one to tell
    why
}

/// Closes a database. sled syncs its file then, and panics where it cannot: so that is tried first, and the database
/// left open for good if it fails. Only where space is missing it must go in any case.
fn close(path: &Path, open: impl Sized) -> Result<(), RewriteError> {
    let path = path.join("db");
    let synced = File::open(&path).and_then(|file| file.sync_all());
    let failed = synced.map_err(|source| RewriteError::Io { path: path.clone(), source });
    match &failed {
        Err(RewriteError::Io { source, .. })
            if !matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::NotFound) =>
        {
            std::mem::forget(open);
        }
        _ => guarded(&path, || {
            drop(open);
            Ok(())
        })?,
    }
    failed
}

/// Brings every file of a database and their names to the disk.
fn sync_all(dir: &Path) -> Result<(), RewriteError> {
    let io = |source| RewriteError::Io { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        File::open(path).and_then(|file| file.sync_all()).map_err(io)?;
    }
    sync_dir(dir).map_err(io)?;
    sync_parent(dir)
}

fn exchange(new: &Path, old: &Path) -> Result<(), RewriteError> {
    let exchanged = renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE);
    exchanged.map_err(|error| RewriteError::Io { path: new.to_owned(), source: error.into() })
}

fn sync_parent(path: &Path) -> Result<(), RewriteError> {
    let parent = path.parent().unwrap_or(path);
    sync_dir(parent).map_err(|source| RewriteError::Io { path: parent.to_owned(), source })
}

fn remove(dir: &Path) -> Result<(), RewriteError> {
    remove_all(dir).map_err(|source| RewriteError::Io { path: dir.to_owned(), source })
}

fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
