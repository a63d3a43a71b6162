//! Blobs of one kind in an ordered map of rows: neighbours share a row, big ones are cut into pieces (the codec has the
//! layout), and a job's row is found by walking back from its place to the nearest key. Knows nothing of what the map
//! is: a tree of sled, or one in the memory of a simulation.

use super::{BlockChange, HomeError};
use crate::core::JobId;
use crate::store::blob::{Blob, ByKind};
use crate::store::codec::{
    BlobRow, BlobSums, BlockRow, DecodeError, PACKED_MAX, blob_key, blob_key_parts, block_of, block_range,
    encode_packed, encode_piece, encode_shared, pieces, row_has_beside, row_has_sums, row_mask,
};
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;

/// At most this much memory is reserved at once for a big blob: a damaged row may claim any length.
const JOINED_AT_ONCE: u64 = 32 << 20;

/// The key of a row.
pub(in crate::store) type BlobKey = [u8; 10];

/// An ordered map of rows of blobs.
pub(in crate::store) trait BlobTree: Debug {
    /// Bytes as the map has them.
    type Bytes: AsRef<[u8]> + Debug + Send + 'static;

    /// The rows with these keys, in order.
    fn range(
        &self,
        keys: impl RangeBounds<BlobKey>,
    ) -> impl DoubleEndedIterator<Item = Result<(Self::Bytes, Self::Bytes), HomeError>>;

    /// Writes a row, over the one that has its key.
    fn insert(&self, key: BlobKey, row: Vec<u8>) -> Result<(), HomeError>;

    /// Removes a row.
    fn remove(&self, key: &[u8]) -> Result<(), HomeError>;
}

/// The first half of writing a block: its blobs. They go before the row that makes their jobs known, and leave before it.
pub(in crate::store) fn write_block(
    all: &ByKind<Blobs<impl BlobTree>>,
    change: &BlockChange,
) -> Result<(), HomeError> {
    all.iter().try_for_each(|(kind, blobs)| match &change.row {
        Some(_) if change.blobs[kind].is_empty() => Ok(()),
        // Of each kind, whatever comes: here nothing is taken for all that there is from its first job on.
        Some((_, live)) if change.replaces() => blobs.replace(change.block, *live, &change.blobs[kind]),
        Some(_) => blobs.insert(change.block, &change.blobs[kind]),
        None => blobs.remove_block(change.block),
    })
}

/// The row of a block's jobs as it is written, with the checksums of those blobs that have taken the place of others; `before`
/// is the row that was there. What an older page of the database brings back does not fit them.
pub(in crate::store) fn with_sums<'a>(
    change: &BlockChange,
    (row, live): (&'a [u8], u64),
    before: Option<&[u8]>,
) -> Result<Cow<'a, [u8]>, HomeError> {
    let before = before.filter(|before| row_has_sums(before));
    if before.is_none() && !change.replaces() {
        return Ok(row.into());
    }
    let damaged = |error| HomeError::damaged("jobs", &change.block.to_be_bytes(), error);
    let mut sums = before.map(BlobSums::of_row).transpose().map_err(damaged)?.unwrap_or_default();
    sums.keep_only(live);
    for (kind, late) in change.late.iter().filter(|(_, late)| **late != 0) {
        let first = block_range(change.block).first;
        for (id, blob) in &change.blobs[kind] {
            if late >> (id.0 - first.0) & 1 == 1 {
                sums.note(kind, *id, blob);
            }
        }
    }
    Ok(if sums.is_empty() { row.into() } else { sums.before(row).into() })
}

/// The blobs of a row without those that are not what the row of their jobs says: they may have come back from an older page
/// of the database. A neighbour's may also be newer, where the row of jobs is still to come.
///
/// # Errors
/// The job's that was asked for is such a one.
pub(in crate::store) fn checked(
    (kind, id): (Blob, JobId),
    mut blobs: Vec<(JobId, Bytes)>,
    row: Option<&[u8]>,
) -> Result<Vec<(JobId, Bytes)>, HomeError> {
    let Some(row) = row.filter(|row| row_has_sums(row)) else { return Ok(blobs) };
    let sums = BlobSums::of_row(row);
    let sums = sums.map_err(|error| HomeError::damaged("jobs", &block_of(id).to_be_bytes(), error))?;
    let mut is_other = false;
    blobs.retain(|(of, blob)| {
        let fits = sums.fit(kind, *of, blob);
        is_other |= !fits && *of == id;
        fits
    });
    if is_other { Err(HomeError::Other { kind, id }) } else { Ok(blobs) }
}

/// What follows the row of a block's jobs: the blobs of dead ones go each time that the number of live jobs has halved, so
/// that rewriting costs no more than writing did. `before` is the row of jobs that was there.
pub(in crate::store) fn shrink_block(
    all: &ByKind<Blobs<impl BlobTree>>,
    block: u64,
    (row, live): (&[u8], u64),
    before: Option<&[u8]>,
) -> Result<(), HomeError> {
    let damaged = |error: DecodeError| HomeError::damaged("jobs", &block.to_be_bytes(), error);
    let lived = before.map_or(Ok(0), row_mask).map_err(damaged)?;
    if lived != 0 && lived.count_ones().ilog2() > live.count_ones().ilog2() {
        all.iter().try_for_each(|(_, blobs)| blobs.shrink_block(block, live, Shrink::Lazily))?;
    }
    // What jobs have lost that live on goes at once: it may be large, and nothing else would take it away.
    let Some(before) = before.filter(|before| row_has_beside(before)) else { return Ok(()) };
    let before = BlockRow::decode(block, before).map_err(damaged)?;
    let now = row_has_beside(row).then(|| BlockRow::decode(block, row)).transpose().map_err(damaged)?;
    for kind in Blob::BESIDE {
        let have = now.as_ref().map_or(0, |now| now.with(kind));
        if before.with(kind) & !have != 0 {
            all[kind].shrink_block(block, have, Shrink::AtOnce)?;
        }
    }
    Ok(())
}

/// When a row with blobs that are not needed any more is written anew.
#[derive(Clone, Copy, PartialEq)]
enum Shrink {
    AtOnce,
    /// When most of it is so.
    Lazily,
}

/// Those of one kind.
#[derive(Debug)]
pub(in crate::store) struct Blobs<T> {
    kind: Blob,
    tree: T,
}

/// A row as it is read: key, job and piece of the key, content.
struct Row<K> {
    key: K,
    first: JobId,
    piece: u16,
    blobs: BlobRow,
}

impl<B: AsRef<[u8]> + Send + 'static> Row<B> {
    /// Reads a row. Blobs in it have memory of their own.
    fn decode(kind: Blob, (key, value): (B, B)) -> Result<Row<B>, HomeError> {
        Row::of(kind, key, &Bytes::copy_from_slice(value.as_ref()))
    }

    /// Reads a row that is gone again soon: what is in it keeps memory of the database's cache.
    fn decode_in_place(kind: Blob, (key, value): (B, B)) -> Result<Row<B>, HomeError> {
        Row::of(kind, key, &Bytes::from_owner(value))
    }

    fn of(kind: Blob, key: B, value: &Bytes) -> Result<Row<B>, HomeError> {
        let damaged =
            |detail: &dyn ToString| HomeError::damaged(kind.tree(), key.as_ref(), detail.to_string());
        let (first, piece) = blob_key_parts(key.as_ref()).ok_or_else(|| damaged(&"the key is too short"))?;
        let blobs = BlobRow::decode(first, value).map_err(|error| damaged(&error))?;
        Ok(Row { key, first, piece, blobs })
    }
}

/// Blobs in as few rows as their size allows; a big one alone.
fn in_rows(blobs: &[(JobId, Bytes)]) -> impl DoubleEndedIterator<Item = &[(JobId, Bytes)]> {
    let (mut rest, mut rows) = (blobs, Vec::new());
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|(_, blob)| {
            bytes += blob.len();
            bytes <= PACKED_MAX
        });
        let (row, others) = rest.split_at(fits.count().max(1));
        rows.push(row);
        rest = others;
    }
    rows.into_iter()
}

impl<T: BlobTree> Blobs<T> {
    pub(in crate::store) fn new(kind: Blob, tree: T) -> Blobs<T> {
        Blobs { kind, tree }
    }

    /// All rows.
    pub(in crate::store) fn tree(&self) -> &T {
        &self.tree
    }

    /// Writes blobs of one block, in order: as few rows as their size allows. A big one ends the row before it, so
    /// that no row has ids on both sides of another's key. For the same reason other rows from the first blob's on are
    /// removed, last: a checkpoint that was cut off has left them, and what is needed of them is in `blobs` again.
    pub(in crate::store) fn insert(&self, block: u64, blobs: &[(JobId, Bytes)]) -> Result<(), HomeError> {
        let mut written = Vec::new();
        for row in in_rows(blobs) {
            let (id, blob) = &row[0];
            debug_assert_eq!(block_of(*id), block, "blobs of one block at a time");
            if blob.len() > PACKED_MAX {
                for (piece, part) in pieces(blob) {
                    self.put(blob_key(*id, piece), encode_piece(blob.len(), part))?;
                    written.push(blob_key(*id, piece));
                }
            } else {
                self.put(blob_key(*id, 0), self.encode(*id, row))?;
                written.push(blob_key(*id, 0));
            }
        }
        self.keep_only(block, &written)
    }

    /// The same where some of them take the place of others: the small ones of the block that live are written anew, since rows
    /// are found by the nearest key; big ones have rows of their own. The last row goes first: what a row that is written over
    /// has besides is in one behind it by then, whenever it is read, and wherever a crash ends this.
    fn replace(&self, block: u64, live: u64, new: &[(JobId, Bytes)]) -> Result<(), HomeError> {
        let is_new = |id: JobId| new.binary_search_by_key(&id, |(id, _)| *id).is_ok();
        let stays = |id: JobId| live >> (id.0 - block_range(block).first.0) & 1 == 1 && !is_new(id);
        let (mut old, mut big) = (BTreeMap::new(), Vec::new());
        for row in self.block(block) {
            let row = Row::decode(self.kind, row?)?;
            // What an earlier row has from here on is hidden by this one, and may be older than what is behind it.
            drop(old.split_off(&row.first));
            match row.blobs {
                BlobRow::Packed(blobs) => old.extend(blobs.into_iter().filter(|(id, _)| stays(*id))),
                BlobRow::Piece { .. } if stays(row.first) => big.push(blob_key(row.first, row.piece)),
                BlobRow::Piece { .. } => {}
            }
        }
        let mut all: Vec<(JobId, Bytes)> = new.iter().cloned().chain(old).collect();
        all.sort_by_key(|(id, _)| *id);
        // No row has ids on both sides of a big one.
        let is_between = |key: &[u8; 10], (one, other): (JobId, JobId)| {
            blob_key_parts(key).is_some_and(|(id, _)| one < id && id < other)
        };
        let parts =
            all.chunk_by(|(one, _), (other, _)| !big.iter().any(|key| is_between(key, (*one, *other))));
        let mut written = big.clone();
        for row in parts.flat_map(in_rows).collect::<Vec<_>>().into_iter().rev() {
            let (id, blob) = &row[0];
            if blob.len() > PACKED_MAX {
                for (piece, part) in pieces(blob).collect::<Vec<_>>().into_iter().rev() {
                    self.put(blob_key(*id, piece), encode_piece(blob.len(), part))?;
                    written.push(blob_key(*id, piece));
                }
            } else {
                self.put(blob_key(*id, 0), self.encode(*id, row))?;
                written.push(blob_key(*id, 0));
            }
        }
        written.sort_unstable();
        self.keep_only(block, &written)
    }

    /// Removes the rows of a block from the first of these on that are not among them. They go last: until then a blob
    /// may be in nothing else.
    fn keep_only(&self, block: u64, written: &[[u8; 10]]) -> Result<(), HomeError> {
        let Some(first) = written.first() else { return Ok(()) };
        for row in self.tree.range(*first..blob_key(block_range(block).end(), 0)) {
            let (key, _) = row?;
            if written.binary_search_by(|one| one.as_slice().cmp(key.as_ref())).is_err() {
                self.tree.remove(key.as_ref())?;
            }
        }
        Ok(())
    }

    /// The blobs of the row that a job's is in; of a big one only its own. Empty if there is none for the job.
    pub(in crate::store) fn row_of(&self, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
        let first = blob_key(block_range(block_of(id)).first, 0);
        let mut rows = self.tree.range(first..=blob_key(id, u16::MAX));
        let Some(row) = rows.next_back() else { return Ok(Vec::new()) };
        let row = Row::decode(self.kind, row?)?;
        match row.blobs {
            BlobRow::Packed(blobs) => Ok(blobs),
            BlobRow::Piece { total, .. } if row.first == id => Ok(vec![(id, self.join(id, total)?)]),
            BlobRow::Piece { .. } => Ok(Vec::new()),
        }
    }

    /// All pieces of a big one.
    fn join(&self, id: JobId, total: u64) -> Result<Bytes, HomeError> {
        let mut blob = BytesMut::with_capacity(total.min(JOINED_AT_ONCE) as usize);
        for (row, wanted) in self.tree.range(blob_key(id, 0)..=blob_key(id, u16::MAX)).zip(0..=u16::MAX) {
            let row = Row::decode_in_place(self.kind, row?)?;
            match row.blobs {
                BlobRow::Piece { total: same, bytes } if same == total && row.piece == wanted => {
                    blob.extend_from_slice(&bytes);
                }
                _ => {
                    return Err(HomeError::damaged(
                        self.kind.tree(),
                        row.key.as_ref(),
                        "it is not the piece that comes next",
                    ));
                }
            }
        }
        if blob.len() as u64 != total {
            return Err(HomeError::damaged(self.kind.tree(), &blob_key(id, 0), "pieces of it are missing"));
        }
        Ok(blob.freeze())
    }

    /// Removes every row of a block.
    fn remove_block(&self, block: u64) -> Result<(), HomeError> {
        for row in self.block(block) {
            self.tree.remove(row?.0.as_ref())?;
        }
        Ok(())
    }

    /// Gives back the space of dead jobs. A row keeps its key: lookups go by it.
    fn shrink_block(&self, block: u64, live: u64, how: Shrink) -> Result<(), HomeError> {
        let lives = |id: JobId| live >> (id.0 - block_range(block).first.0) & 1 == 1;
        for row in self.block(block) {
            let row = Row::decode(self.kind, row?)?;
            match row.blobs {
                BlobRow::Piece { .. } if !lives(row.first) => self.tree.remove(row.key.as_ref())?,
                BlobRow::Piece { .. } => {}
                BlobRow::Packed(blobs) => {
                    let kept: Vec<_> = blobs.iter().filter(|(id, _)| lives(*id)).cloned().collect();
                    if kept.is_empty() {
                        self.tree.remove(row.key.as_ref())?;
                    } else if kept.len() * 2 <= blobs.len()
                        || (how == Shrink::AtOnce && kept.len() < blobs.len())
                    {
                        self.put(blob_key(row.first, row.piece), self.encode(row.first, &kept))?;
                    }
                }
            }
        }
        Ok(())
    }

    fn block(&self, block: u64) -> impl Iterator<Item = Result<(T::Bytes, T::Bytes), HomeError>> {
        let range = block_range(block);
        self.tree.range(blob_key(range.first, 0)..blob_key(range.end(), 0))
    }

    /// A row of neighbours. Few of them have the same body, but many the same envelope.
    fn encode(&self, first: JobId, blobs: &[(JobId, Bytes)]) -> Vec<u8> {
        match self.kind {
            Blob::Body | Blob::Checkpoint | Blob::Result | Blob::Signals => encode_packed(first, blobs),
            Blob::Envelope => encode_shared(first, blobs),
        }
    }

    fn put(&self, key: BlobKey, row: Vec<u8>) -> Result<(), HomeError> {
        assert!(row.len() <= 64 << 10, "a row of blobs has {} bytes, more than 64 KiB", row.len());
        self.tree.insert(key, row)
    }
}
