//! sled, the home of what lives on: the trees, their keys, and every precaution that sled 0.34.7 needs. The rest
//! of the store sees rows by block and bodies by job, and must not know of sled.
//!
//! | tree | key | value |
//! | --- | --- | --- |
//! | `jobs` | block (u64, big-endian) | the block's live jobs and the commit that they reflect (`codec`) |
//! | `bodies` | job (u64, big-endian), piece (u16, big-endian) | a pack of small bodies, or a piece of a large one |
//! | `meta` | `position` | the checkpoint's position and the books (`codec`) |

use super::codec::{self, BlockRow, Position};
use crate::core::JobId;
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Jobs of one block.
pub(super) const BLOCK: u64 = 64;
/// The longest value of `bodies`. A leaf of sled holds up to 17 values; together they must stay below a quarter of
/// a segment, or sled moves the page to a file of its own, which it never syncs.
const VALUE_MAX: usize = 64 << 10;
const SEGMENT: usize = 8 << 20;
/// The longest row of jobs; the limits of tags and errors keep rows below it.
const ROW_MAX: usize = 112 << 10;
/// How many single changes share one push of the garbage collector.
const COLLECT_EVERY: u32 = 100;

const PACK: u8 = 1;
const LARGE: u8 = 2;
const PIECE: u8 = 3;

const POSITION: &str = "position";

/// How many times sled's flush has gone through our sync.
static SYNCS: AtomicU64 = AtomicU64::new(0);

/// Takes the place of the C library's function of this name at link time.
///
/// sled's `flush` calls `sync_file_range(2)`, which flushes neither the drive's cache nor the file's metadata: after
/// a power cut, what it flushed may be gone. `fdatasync(2)` in its place is what a flush must be.
// SAFETY: the name is that of a C function with this very signature, and whoever calls it gets what that function
// promises (the range is on its way to the disk) and more. No other definition is linked statically.
#[unsafe(no_mangle)]
extern "C" fn sync_file_range(
    fd: libc::c_int,
    _: libc::off64_t,
    _: libc::off64_t,
    _: libc::c_uint,
) -> libc::c_int {
    SYNCS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: fdatasync takes any number for a file descriptor and touches no memory of ours; it reports a bad one,
    // or a failed sync, by -1 and errno, just as the caller expects of the function whose place this takes.
    unsafe { libc::fdatasync(fd) }
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// sled said no.
    #[error("the database {} failed: {error}", path.display())]
    Sled {
        /// Where it is.
        path: PathBuf,
        /// What it said.
        error: sled::Error,
    },
    /// Another process holds it.
    #[error("the database {} is held by another process; stop it first", .0.display())]
    Held(PathBuf),
    /// The precaution of [`sync_file_range`] is not in force.
    #[error(
        "this program was linked so that the database's flush does not reach the disk: it would lose jobs at a power \
         cut, so it does not serve; build it as its README says"
    )]
    NoSync,
    /// A row is not what was written.
    #[error(
        "the database {} is damaged: {tree}, row {row}: {detail}. Nothing was changed. Restore a backup, or copy the \
         directory and ask for help before you touch it", path.display()
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// Which tree.
        tree: &'static str,
        /// Which row.
        row: u64,
        /// What is wrong.
        detail: String,
    },
    /// sled has put data where it is not synced.
    #[error("the database has put a page into {}, which it never syncs; please report this", .0.display())]
    Blob(PathBuf),
}

/// The database.
#[derive(Clone, Debug)]
pub(super) struct Home {
    path: PathBuf,
    db: sled::Db,
    jobs: sled::Tree,
    bodies: sled::Tree,
    meta: sled::Tree,
    changes: u32,
}

/// What a checkpoint brings home of one block.
#[derive(Debug)]
pub(super) struct BlockChange {
    pub(super) block: u64,
    /// The row of its jobs; `None` if none lives.
    pub(super) row: Option<Vec<u8>>,
    /// Which of its jobs live: bit n is the block's nth.
    pub(super) live: u64,
    /// Whether the block has rows already.
    pub(super) stored: bool,
    /// Bodies that are not at home yet, in the order of their jobs.
    pub(super) bodies: Vec<(JobId, Bytes)>,
}

impl Home {
    /// Opens the database, making it if there is none.
    pub(super) fn open(path: &Path, cache_bytes: u64) -> Result<Home, HomeError> {
        let failed = |error| HomeError::Sled { path: path.to_path_buf(), error };
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT)
            // Flushed by checkpoints alone: a timer would wake an idle daemon.
            .flush_every_ms(None);
        let db = open_patiently(&config, path)?;
        let tree = |name| db.open_tree(name).map_err(failed);
        let home = Home {
            path: path.to_path_buf(),
            jobs: tree("jobs")?,
            bodies: tree("bodies")?,
            meta: tree("meta")?,
            db: db.clone(),
            changes: 0,
        };
        home.check_sync()?;
        Ok(home)
    }

    /// A flush must go through our [`sync_file_range`]: link order decides that, so it is checked at every start.
    fn check_sync(&self) -> Result<(), HomeError> {
        let before = SYNCS.load(Ordering::Relaxed);
        self.meta.insert("synced", &before.to_le_bytes()).map_err(|error| self.failed(error))?;
        self.db.flush().map_err(|error| self.failed(error))?;
        if SYNCS.load(Ordering::Relaxed) == before { Err(HomeError::NoSync) } else { Ok(()) }
    }

    fn failed(&self, error: sled::Error) -> HomeError {
        HomeError::Sled { path: self.path.clone(), error }
    }

    fn damaged(&self, tree: &'static str, row: u64, detail: impl ToString) -> HomeError {
        HomeError::Damaged { path: self.path.clone(), tree, row, detail: detail.to_string() }
    }

    /// Where the newest checkpoint stands; `None` before the first.
    pub(super) fn position(&self) -> Result<Option<Position>, HomeError> {
        let Some(value) = self.meta.get(POSITION).map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        codec::decode_position(&value).map(Some).map_err(|error| self.damaged("meta", 0, error))
    }

    pub(super) fn set_position(&mut self, position: &[u8]) -> Result<(), HomeError> {
        self.meta.insert(POSITION, position).map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Every row of jobs, with its block.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Result<(u64, BlockRow), HomeError>> + '_ {
        self.jobs.iter().map(|row| {
            let (key, value) = row.map_err(|error| self.failed(error))?;
            let block = key.as_ref().try_into().map(u64::from_be_bytes);
            let block = block.map_err(|_| self.damaged("jobs", 0, "its key is not a block's"))?;
            let row = codec::decode_block(&value).map_err(|error| self.damaged("jobs", block, error))?;
            let within = |id: JobId| id.0 / BLOCK == block;
            if row.runs.iter().any(|(range, _)| !within(range.first) || !within(JobId(range.end().0 - 1))) {
                return Err(self.damaged("jobs", block, "it holds jobs of another block"));
            }
            Ok((block, row))
        })
    }

    /// Brings one block home. The bodies come first: a row of jobs says that they are there.
    pub(super) fn put_block(&mut self, change: &BlockChange) -> Result<(), HomeError> {
        if change.stored {
            self.trim_bodies(change.block, change.live)?;
        }
        self.put_bodies(&change.bodies)?;
        let key = change.block.to_be_bytes();
        match &change.row {
            Some(row) => {
                assert!(
                    row.len() <= ROW_MAX,
                    "a row of jobs has {} bytes: the limits of specs and errors",
                    row.len()
                );
                self.jobs.insert(key, row.as_slice()).map_err(|error| self.failed(error))?;
                self.collect();
            }
            None if change.stored => {
                self.jobs.remove(key).map_err(|error| self.failed(error))?;
                self.collect();
            }
            None => {}
        }
        Ok(())
    }

    /// Makes all of it durable.
    pub(super) fn flush(&self) -> Result<(), HomeError> {
        self.db.flush().map_err(|error| self.failed(error))?;
        let blobs = self.path.join("blobs");
        match std::fs::read_dir(&blobs).map(|mut files| files.next().is_some()) {
            Ok(true) => Err(HomeError::Blob(blobs)),
            _ => Ok(()),
        }
    }

    /// sled frees memory by epochs, and a thread that only writes may never move on to the next one: pushed now and
    /// then, memory stays near the cache's size.
    fn collect(&mut self) {
        self.changes += 1;
        if self.changes.is_multiple_of(COLLECT_EVERY) {
            crossbeam_epoch::pin().flush();
        }
    }

    fn insert_body(&mut self, id: JobId, piece: u16, value: Vec<u8>) -> Result<(), HomeError> {
        self.bodies.insert(body_key(id, piece), value).map_err(|error| self.failed(error))?;
        self.collect();
        Ok(())
    }

    fn put_bodies(&mut self, bodies: &[(JobId, Bytes)]) -> Result<(), HomeError> {
        let mut rest = bodies;
        while let Some((id, body)) = rest.first() {
            if body.len() > VALUE_MAX - PACK_ENTRY - 2 {
                self.put_large(*id, body)?;
                rest = &rest[1..];
                continue;
            }
            let mut len = 2;
            let fits = rest.iter().take_while(|(_, body)| {
                len += PACK_ENTRY + body.len();
                len <= VALUE_MAX
            });
            let (pack, later) = rest.split_at(fits.count());
            self.insert_body(*id, 0, encode_pack(pack.iter().map(|(id, body)| (*id, body.as_ref()))))?;
            rest = later;
        }
        Ok(())
    }

    fn put_large(&mut self, id: JobId, body: &[u8]) -> Result<(), HomeError> {
        // The first piece last: who finds it finds all of it.
        let (first, rest) = body.split_at(VALUE_MAX - 5);
        for (n, piece) in rest.chunks(VALUE_MAX - 1).enumerate() {
            let value = [&[PIECE], piece].concat();
            self.insert_body(id, n as u16 + 1, value)?;
        }
        self.insert_body(id, 0, [&[LARGE][..], &(body.len() as u32).to_le_bytes(), first].concat())
    }

    /// Removes the rows of bodies of which no job lives, and writes those smaller of which few do.
    fn trim_bodies(&mut self, block: u64, live: u64) -> Result<(), HomeError> {
        let from = body_key(JobId(block * BLOCK), 0);
        let to = body_key(JobId(block * BLOCK + BLOCK - 1), u16::MAX);
        let rows: Vec<_> =
            self.bodies.range(from..=to).collect::<Result<_, _>>().map_err(|error| self.failed(error))?;
        let lives = |id: JobId| live & (1 << (id.0 % BLOCK)) != 0;
        for (key, value) in rows {
            let id = split_key(&key)
                .map(|(id, _)| id)
                .ok_or_else(|| self.damaged("bodies", block, "a bad key"))?;
            if value.first() != Some(&PACK) {
                if !lives(id) {
                    self.remove_body(&key)?;
                }
                continue;
            }
            let entries =
                decode_pack(block, &value).map_err(|detail| self.damaged("bodies", id.0, detail))?;
            let left: Vec<_> = entries.iter().filter(|(id, _)| lives(*id)).copied().collect();
            if left.is_empty() {
                self.remove_body(&key)?;
            } else if left.len() * 4 < entries.len() && value.len() > VALUE_MAX / 8 {
                self.insert_body(left[0].0, 0, encode_pack(left.iter().copied()))?;
                if left[0].0 != id {
                    self.remove_body(&key)?;
                }
            }
        }
        Ok(())
    }

    fn remove_body(&mut self, key: &[u8]) -> Result<(), HomeError> {
        self.bodies.remove(key).map_err(|error| self.failed(error))?;
        self.collect();
        Ok(())
    }

    /// A body; `None` if there is none.
    pub(super) fn body(&self, id: JobId) -> Result<Option<Bytes>, HomeError> {
        let block = id.0 / BLOCK;
        let from = body_key(JobId(block * BLOCK), 0);
        let found = self.bodies.range(from..=body_key(id, u16::MAX)).rev().find(|row| match row {
            Ok((key, _)) => split_key(key).is_none_or(|(_, piece)| piece == 0),
            Err(_) => true,
        });
        let Some(row) = found else { return Ok(None) };
        let (key, value) = row.map_err(|error| self.failed(error))?;
        let damaged = |detail: &str| self.damaged("bodies", id.0, detail);
        let (first, _) = split_key(&key).ok_or_else(|| damaged("a bad key"))?;
        match value.first() {
            Some(&PACK) => {
                let entries = decode_pack(block, &value).map_err(|detail| damaged(&detail))?;
                let entry = entries.into_iter().find(|(other, _)| *other == id);
                Ok(entry.map(|(_, body)| Bytes::copy_from_slice(body)))
            }
            Some(&LARGE) if first == id => self.large_body(id, &value).map(Some),
            Some(&LARGE) => Ok(None),
            _ => Err(damaged("a row of an unknown form")),
        }
    }

    fn large_body(&self, id: JobId, first: &[u8]) -> Result<Bytes, HomeError> {
        let damaged = |detail: &str| self.damaged("bodies", id.0, detail);
        let len =
            first.get(1..).and_then(|rest| rest.first_chunk()).map(|len| u32::from_le_bytes(*len) as usize);
        let (Some(len), Some(start)) = (len, first.get(5..)) else { return Err(damaged("it is cut off")) };
        let mut body = Vec::with_capacity(len.min(1 << 30));
        body.extend_from_slice(start);
        let mut piece = 1;
        while body.len() < len {
            let value = self.bodies.get(body_key(id, piece)).map_err(|error| self.failed(error))?;
            match value.as_deref() {
                Some([PIECE, rest @ ..]) if !rest.is_empty() => body.extend_from_slice(rest),
                _ => return Err(damaged("a piece of it is missing")),
            }
            piece += 1;
        }
        if body.len() == len { Ok(body.into()) } else { Err(damaged("its pieces are longer than it is")) }
    }
}

#[allow(clippy::disallowed_methods, reason = "sled tells nobody when its lock is free: it can only be tried")]
/// sled's own lock outlives a SIGKILL of its holder for a moment, so opening is tried for some seconds. Whether
/// another daemon is alive was settled by our own lock before.
fn open_patiently(config: &sled::Config, path: &Path) -> Result<sled::Db, HomeError> {
    const TRIES: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 0..TRIES {
        match config.open() {
            Err(sled::Error::Io(error)) if is_lock_failure(&error) => std::thread::sleep(PAUSE),
            other => return other.map_err(|error| HomeError::Sled { path: path.to_path_buf(), error }),
        }
    }
    Err(HomeError::Held(path.to_path_buf()))
}

fn is_lock_failure(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

fn body_key(id: JobId, piece: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&id.0.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

fn split_key(key: &[u8]) -> Option<(JobId, u16)> {
    let (id, piece) = key.split_first_chunk()?;
    Some((JobId(u64::from_be_bytes(*id)), u16::from_be_bytes(piece.try_into().ok()?)))
}

/// Bytes of a pack for each body beside the body: which of the block's jobs, and its length.
const PACK_ENTRY: usize = 5;

fn encode_pack<'a>(bodies: impl ExactSizeIterator<Item = (JobId, &'a [u8])> + Clone) -> Vec<u8> {
    let mut value = vec![PACK, bodies.len() as u8];
    for (id, body) in bodies.clone() {
        value.push((id.0 % BLOCK) as u8);
        value.extend_from_slice(&(body.len() as u32).to_le_bytes());
    }
    bodies.for_each(|(_, body)| value.extend_from_slice(body));
    value
}

fn decode_pack(block: u64, value: &[u8]) -> Result<Vec<(JobId, &[u8])>, String> {
    let short = || "it is cut off".to_owned();
    let count = usize::from(*value.get(1).ok_or_else(short)?);
    let (index, mut bytes) = value[2..].split_at_checked(count * PACK_ENTRY).ok_or_else(short)?;
    let mut entries = Vec::with_capacity(count);
    for entry in index.chunks_exact(PACK_ENTRY) {
        let len = u32::from_le_bytes([entry[1], entry[2], entry[3], entry[4]]) as usize;
        let (body, rest) = bytes.split_at_checked(len).ok_or_else(short)?;
        entries.push((JobId(block * BLOCK + u64::from(entry[0])), body));
        bytes = rest;
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
