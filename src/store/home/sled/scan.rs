//! Reads every row of the database: each is decoded on its own, what is wrong with it is reported, and reading goes on
//! with the next. Where sled itself stops, the rest of a tree is read from its other end. Knows rows, not the log.

use super::{HomeError, SledRows, Trees};
use crate::core::{JobId, Row};
use crate::store::blob::{Blob, ByKind};
use crate::store::codec::{
    BLOCK, BlobRow, BlobSums, BlockRow, DecodeError, Envelope, MetaRow, StampedRow, SumRow, blob_key_parts,
    block_of, block_range, row_has_sums,
};
use crate::store::{CommitNo, Defect, decode_signals};
use bytes::Bytes;
use sled::{IVec, Tree};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    /// Where the last whole checkpoint stands; `None` if that cannot be read.
    pub(crate) meta: Option<MetaRow>,
    pub(crate) queues: u64,
    pub(crate) jobs: u64,
    /// Bodies that a live job may have; those of dead ones in the same row count too.
    pub(crate) bodies: u64,
    /// Rows newer than the checkpoint: tree, key and the commit that each reflects.
    pub(crate) ahead: Vec<(&'static str, Vec<u8>, CommitNo)>,
    /// Jobs in the rows of which a blob would not be found. The log may say that they have ended.
    pub(crate) bare: Vec<(Blob, JobId)>,
    /// Jobs of which a blob is not the one that their row says. The log may have a newer one.
    pub(crate) others: Vec<(Blob, JobId)>,
    /// Of each block: the jobs whose blobs are found, and those of which that is not known because a row is damaged.
    /// `None` if not all rows could be read.
    stored: ByKind<Option<BTreeMap<u64, (u64, u64)>>>,
}

impl Scanned {
    /// Whether a job certainly has no blob of this kind here.
    pub(crate) fn lacks(&self, kind: Blob, id: JobId) -> bool {
        let Some(stored) = &self.stored[kind] else { return false };
        stored.get(&block_of(id)).is_none_or(|(there, unknown)| (there | unknown) & bit(id) == 0)
    }
}

/// Reads all rows. `reopen` gives a copy that opens, without asking whether rows are missing; it is called when the one
/// in use has panicked.
pub(crate) fn scan<E>(
    first: Option<&SledRows>,
    mut reopen: impl FnMut() -> Result<Option<PathBuf>, E>,
    cache_bytes: u64,
    on_defect: &mut dyn FnMut(Defect),
) -> Result<Scanned, E> {
    let mut scan = Scan { found: Scanned::default(), on_defect, block: Vec::new(), sums: BTreeMap::new() };
    let mut again: Option<SledRows> = None;
    let parts = [
        Scan::meta,
        Scan::queues,
        Scan::sums,
        Scan::bodies,
        Scan::envelopes,
        Scan::checkpoints,
        Scan::results,
        Scan::signals,
        Scan::jobs,
    ];
    for part in parts {
        let usable = again.as_ref().or(first).filter(|home| !home.is_broken());
        if usable.is_none() {
            drop(again.take());
            let Some(path) = reopen()? else { break };
            match SledRows::open_incomplete(&path, cache_bytes) {
                Ok(home) => again = Some(home),
                // What keeps it from opening was told when a start's way was tried.
                Err(_) => break,
            }
        }
        if let Some(home) = again.as_ref().or(first).filter(|home| !home.is_broken()) {
            part(&mut scan, home);
        }
    }
    Ok(scan.found)
}

struct Scan<'a> {
    found: Scanned,
    on_defect: &'a mut dyn FnMut(Defect),
    /// The rows of the block that is being read.
    block: Vec<(JobId, Kind)>,
    /// What the rows of jobs say of their blobs, of those blocks that do.
    sums: BTreeMap<u64, BlobSums>,
}

/// What a row of blobs says of its jobs.
enum Kind {
    /// Which of the block's jobs have theirs in it, and which of these are not what the row of jobs says.
    Packed(u64, u64),
    Piece {
        piece: u16,
        total: u64,
        len: u64,
        sum: u32,
    },
    Damaged,
}

impl Scan<'_> {
    fn meta(&mut self, home: &SledRows) {
        let (mut meta, mut has_state) = (None, false);
        let complete = self.rows(
            home,
            "meta",
            |trees| &trees.meta,
            |_, key, row| match key {
                super::STATE => {
                    has_state = true;
                    meta = Some(MetaRow::decode(row)?);
                    Ok(())
                }
                b"sum" => SumRow::decode(row).map(drop),
                _ => Ok(()),
            },
        );
        // Before the first checkpoint there is none.
        self.found.meta = if complete && !has_state { Some(MetaRow::default()) } else { meta };
    }

    fn queues(&mut self, home: &SledRows) {
        self.rows(
            home,
            "queues",
            |trees| &trees.queues,
            |scan, name, row| {
                let decoded = StampedRow::decode(name, row);
                // One that cannot be read counts as what most are.
                let is_other = decoded.as_ref().is_ok_and(|row| !matches!(row.row, Row::Queue(_)));
                scan.found.queues += u64::from(!is_other);
                scan.note("queues", name, decoded?.commit);
                Ok(())
            },
        );
    }

    fn jobs(&mut self, home: &SledRows) {
        self.rows(
            home,
            "jobs",
            |trees| &trees.jobs,
            |scan, key, row| {
                let block = u64::from_be_bytes(key.try_into().map_err(|_| DecodeError::Short)?);
                let row = BlockRow::decode(block, row)?;
                scan.note("jobs", key, row.commit);
                scan.found.jobs += u64::from(row.mask().count_ones());
                for (kind, mask) in Blob::ALL.map(|kind| (kind, row.with(kind))) {
                    let jobs = block_range(block).iter().filter(|id| mask & bit(*id) != 0);
                    let bare: Vec<_> = jobs.filter(|id| scan.found.lacks(kind, *id)).collect();
                    scan.found.bare.extend(bare.into_iter().map(|id| (kind, id)));
                }
                Ok(())
            },
        );
    }

    /// The checksums in the rows of jobs. What cannot be read is told when all of these are read.
    fn sums(&mut self, home: &SledRows) {
        let _ = home.with(|trees| {
            for row in trees.jobs.iter() {
                let (key, row) = row?;
                let block = <[u8; 8]>::try_from(&*key).ok().filter(|_| row_has_sums(&row));
                if let Some((block, sums)) = block.zip(BlobSums::of_row(&row).ok()) {
                    self.sums.insert(u64::from_be_bytes(block), sums);
                }
            }
            Ok(())
        });
    }

    fn bodies(&mut self, home: &SledRows) {
        self.blobs(home, Blob::Body, |trees| trees.blobs[Blob::Body].tree().rows(), |_| Ok(()));
    }

    fn envelopes(&mut self, home: &SledRows) {
        let reads = |blob: &[u8]| Envelope::decode(blob).map(drop);
        self.blobs(home, Blob::Envelope, |trees| trees.blobs[Blob::Envelope].tree().rows(), reads);
    }

    fn checkpoints(&mut self, home: &SledRows) {
        self.blobs(home, Blob::Checkpoint, |trees| trees.blobs[Blob::Checkpoint].tree().rows(), |_| Ok(()));
    }

    fn results(&mut self, home: &SledRows) {
        self.blobs(home, Blob::Result, |trees| trees.blobs[Blob::Result].tree().rows(), |_| Ok(()));
    }

    fn signals(&mut self, home: &SledRows) {
        let reads = |blob: &[u8]| decode_signals(&Bytes::copy_from_slice(blob)).map(drop);
        self.blobs(home, Blob::Signals, |trees| trees.blobs[Blob::Signals].tree().rows(), reads);
    }

    /// `reads` says whether a blob makes sense.
    fn blobs(
        &mut self,
        home: &SledRows,
        of: Blob,
        tree: fn(&Trees) -> &Tree,
        reads: impl Fn(&[u8]) -> Result<(), DecodeError>,
    ) {
        self.found.stored[of] = Some(BTreeMap::new());
        let complete = self.rows(home, of.tree(), tree, |scan, key, row| {
            let (first, piece) = blob_key_parts(key).ok_or(DecodeError::Short)?;
            if scan.block.first().is_some_and(|(id, _)| block_of(*id) != block_of(first)) {
                scan.end_block(of);
            }
            let sums = scan.sums.get(&block_of(first));
            let fits = |id, blob: &[u8]| sums.is_none_or(|sums| sums.fit(of, id, blob));
            let kind = kind(first, piece, row, &reads, fits);
            let (kind, result) = kind.map_or_else(|error| (Kind::Damaged, Err(error)), |kind| (kind, Ok(())));
            scan.block.push((first, kind));
            result
        });
        self.end_block(of);
        if !complete {
            self.found.stored[of] = None;
        }
    }

    /// Which jobs of a block have a blob: a job's row is the last one whose key is not greater than its own.
    fn end_block(&mut self, of: Blob) {
        let rows = std::mem::take(&mut self.block);
        let Some(block) = rows.first().map(|(id, _)| block_of(*id)) else { return };
        let (mut there, mut unknown, mut other, mut count) = (0, 0, 0, 0);
        let groups: Vec<_> = rows.chunk_by(|one, next| one.0 == next.0).collect();
        for (at, group) in groups.iter().enumerate() {
            let first = group[0].0;
            let from = u64::MAX << (first.0 % BLOCK);
            let to = groups.get(at + 1).map_or(0, |next| u64::MAX << (next[0].0.0 % BLOCK));
            if group.iter().any(|(_, kind)| matches!(kind, Kind::Damaged)) {
                unknown |= from & !to;
            } else if let Some((_, Kind::Packed(mask, unfit))) = group.last() {
                there |= mask & from & !to;
                other |= unfit & from & !to;
                count += u64::from(mask.count_ones());
            } else if let Some(sum) = joined(group) {
                there |= bit(first);
                let wanted = self.sums.get(&block).and_then(|sums| sums.of(of, first));
                other |= if wanted.is_none_or(|wanted| wanted == sum) { 0 } else { bit(first) };
                count += 1;
            }
        }
        if of == Blob::Body {
            self.found.bodies += count;
        }
        let others = block_range(block).iter().filter(|id| other & bit(*id) != 0);
        self.found.others.extend(others.map(|id| (of, id)));
        if let Some(stored) = &mut self.found.stored[of] {
            stored.insert(block, (there, unknown));
        }
    }

    fn note(&mut self, tree: &'static str, key: &[u8], commit: CommitNo) {
        if self.found.meta.is_none_or(|meta| commit > meta.home) {
            self.found.ahead.push((tree, key.to_vec(), commit));
        }
    }

    /// Hands over every row of a tree that can be read. Whether these are all.
    fn rows(
        &mut self,
        home: &SledRows,
        name: &'static str,
        tree: fn(&Trees) -> &Tree,
        mut on_row: impl FnMut(&mut Self, &[u8], &[u8]) -> Result<(), DecodeError>,
    ) -> bool {
        let mut take = |scan: &mut Self, key: &[u8], row: &[u8]| {
            if let Err(error) = on_row(scan, key, row) {
                (scan.on_defect)(Defect { place: place(name, key), detail: error.to_string() });
            }
        };
        let mut up_to: Option<IVec> = None;
        let forwards = home.with(|trees| {
            for row in tree(trees) {
                let (key, row) = row?;
                take(self, &key, &row);
                up_to = Some(key);
            }
            Ok(())
        });
        let Err(error) = forwards else { return true };
        let place = match &up_to {
            Some(key) => format!("behind {}", place(name, key)),
            None => format!("tree `{name}`, its first row"),
        };
        (self.on_defect)(Defect { place, detail: error.to_string() });
        // The order of blobs says where a block ends; without all of them no job is looked for anyway.
        if home.is_broken() || Blob::ALL.iter().any(|kind| kind.tree() == name) {
            return false;
        }
        let mut down_to = None;
        let backwards = home.with(|trees| {
            for row in tree(trees).iter().rev() {
                let (key, row) = row?;
                if up_to.as_ref().is_some_and(|last| key <= *last) {
                    break;
                }
                take(self, &key, &row);
                down_to = Some(key);
            }
            Ok(())
        });
        if let Some(other) = backwards.err().filter(|other| other.to_string() != error.to_string()) {
            let before = down_to
                .map(|key| self::place(name, &key))
                .unwrap_or_else(|| format!("the end of tree `{name}`"));
            (self.on_defect)(Defect { place: format!("before {before}"), detail: other.to_string() });
        }
        false
    }
}

fn place(tree: &'static str, key: &[u8]) -> String {
    match HomeError::damaged(tree, key, "") {
        HomeError::Damaged { tree, key, .. } => format!("tree `{tree}`, key {key}"),
        other => other.to_string(),
    }
}

fn bit(id: JobId) -> u64 {
    1 << (id.0 % BLOCK)
}

fn kind(
    first: JobId,
    piece: u16,
    row: &[u8],
    reads: impl Fn(&[u8]) -> Result<(), DecodeError>,
    fits: impl Fn(JobId, &[u8]) -> bool,
) -> Result<Kind, DecodeError> {
    let blobs = match BlobRow::decode(first, &Bytes::copy_from_slice(row))? {
        BlobRow::Piece { total, bytes } => {
            let (len, sum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
            return Ok(Kind::Piece { piece, total, len, sum });
        }
        BlobRow::Packed(blobs) => blobs,
    };
    let in_order = blobs.is_sorted_by(|(one, _), (next, _)| one < next);
    if piece != 0 || !in_order || blobs.iter().any(|(id, _)| block_of(*id) != block_of(first)) {
        return Err(DecodeError::Value("a row of blobs"));
    }
    blobs.iter().try_for_each(|(_, blob)| reads(blob))?;
    let mask = |of: &mut dyn Iterator<Item = &(JobId, Bytes)>| of.fold(0, |mask, (id, _)| mask | bit(*id));
    let unfit = mask(&mut blobs.iter().filter(|(id, blob)| !fits(*id, blob)));
    Ok(Kind::Packed(mask(&mut blobs.iter()), unfit))
}

/// The checksum of a blob if these are all pieces of it.
fn joined(group: &[(JobId, Kind)]) -> Option<u32> {
    let (mut bytes, mut whole, mut joined) = (0, 0, 0);
    for ((_, kind), wanted) in group.iter().zip(0..=u16::MAX) {
        match kind {
            Kind::Piece { piece, total, len, sum }
                if *piece == wanted && (wanted == 0 || *total == whole) =>
            {
                joined = crc32c::crc32c_combine(joined, *sum, *len as usize);
                (bytes, whole) = (bytes + len, *total);
            }
            _ => return None,
        }
    }
    (bytes == whole).then_some(joined)
}

impl SledRows {
    /// Writes a row that no checkpoint would write.
    #[cfg(test)]
    pub(crate) fn spoil(&self, tree: &str, key: &[u8], row: &[u8]) {
        let spoiled = self.with(|trees| {
            trees.database.db.open_tree(tree)?.insert(key, row)?;
            Ok(())
        });
        spoiled.expect("the database is whole");
    }

    fn is_broken(&self) -> bool {
        self.broken.load(std::sync::atomic::Ordering::Acquire)
    }
}
