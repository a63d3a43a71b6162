//! A tree of blobs of one kind: rows of neighbours, pieces of big ones (the codec has the layout), found by walking back
//! from a job's place to the nearest key.

use super::HomeError;
use super::live::Live;
use crate::core::JobId;
use crate::store::blob::Blob;
use crate::store::codec::{
    BlobRow, PACKED_MAX, blob_key, blob_key_parts, block_of, block_range, encode_packed, encode_piece,
    encode_shared, pieces,
};
use bytes::{Bytes, BytesMut};
use sled::{Db, IVec, Tree};
use std::collections::BTreeMap;
use std::sync::Arc;

/// At most this much memory is reserved at once for a big blob: a damaged row may claim any length.
const JOINED_AT_ONCE: u64 = 32 << 20;

#[derive(Debug)]
pub(super) struct Blobs {
    kind: Blob,
    tree: Tree,
    live: Arc<Live>,
}

/// A row as it is read: key, job and piece of the key, content.
struct Row {
    key: IVec,
    first: JobId,
    piece: u16,
    blobs: BlobRow,
}

impl Row {
    /// Reads a row. Blobs in it have memory of their own.
    fn decode(kind: Blob, (key, value): (IVec, IVec)) -> Result<Row, HomeError> {
        Row::of(kind, key, &Bytes::copy_from_slice(&value))
    }

    /// Reads a row that is gone again soon: what is in it keeps memory of the database's cache.
    fn decode_in_place(kind: Blob, (key, value): (IVec, IVec)) -> Result<Row, HomeError> {
        Row::of(kind, key, &Bytes::from_owner(value))
    }

    fn of(kind: Blob, key: IVec, value: &Bytes) -> Result<Row, HomeError> {
        let damaged = |detail: &dyn ToString| HomeError::damaged(kind.tree(), &key, detail.to_string());
        let (first, piece) = blob_key_parts(&key).ok_or_else(|| damaged(&"the key is too short"))?;
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

impl Blobs {
    pub(super) fn open(database: &Db, kind: Blob, live: Arc<Live>) -> Result<Blobs, HomeError> {
        Ok(Blobs { kind, tree: database.open_tree(kind.tree())?, live })
    }

    /// All rows.
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Writes blobs of one block, in order: as few rows as their size allows. A big one ends the row before it, so
    /// that no row has ids on both sides of another's key. For the same reason other rows from the first blob's on are
    /// removed, last: a checkpoint that was cut off has left them, and what is needed of them is in `blobs` again.
    pub(super) fn insert(&self, block: u64, blobs: &[(JobId, Bytes)]) -> Result<(), HomeError> {
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
    pub(super) fn replace(&self, block: u64, live: u64, new: &[(JobId, Bytes)]) -> Result<(), HomeError> {
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
        for key in self.tree.range(*first..blob_key(block_range(block).end(), 0)).keys() {
            let key = key?;
            if written.binary_search_by(|one| one.as_slice().cmp(&key)).is_err() {
                self.remove(&key)?;
            }
        }
        Ok(())
    }

    /// The blobs of the row that a job's is in; of a big one only its own. Empty if there is none for the job.
    pub(super) fn row_of(&self, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
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
                        &row.key,
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
    pub(super) fn remove_block(&self, block: u64) -> Result<(), HomeError> {
        for row in self.block(block) {
            self.remove(&row?.0)?;
        }
        Ok(())
    }

    /// Gives back the space of dead jobs where most of a row is dead. A row keeps its key: lookups go by it.
    pub(super) fn shrink_block(&self, block: u64, live: u64) -> Result<(), HomeError> {
        let lives = |id: JobId| live >> (id.0 - block_range(block).first.0) & 1 == 1;
        for row in self.block(block) {
            let row = Row::decode(self.kind, row?)?;
            match row.blobs {
                BlobRow::Piece { .. } if !lives(row.first) => self.remove(&row.key)?,
                BlobRow::Piece { .. } => {}
                BlobRow::Packed(blobs) => {
                    let kept: Vec<_> = blobs.iter().filter(|(id, _)| lives(*id)).cloned().collect();
                    if kept.is_empty() {
                        self.remove(&row.key)?;
                    } else if kept.len() * 2 <= blobs.len() {
                        self.put(blob_key(row.first, row.piece), self.encode(row.first, &kept))?;
                    }
                }
            }
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> usize {
        self.tree.len()
    }

    fn block(&self, block: u64) -> sled::Iter {
        let range = block_range(block);
        self.tree.range(blob_key(range.first, 0)..blob_key(range.end(), 0))
    }

    /// A row of neighbours. Few of them have the same body, but many the same envelope.
    fn encode(&self, first: JobId, blobs: &[(JobId, Bytes)]) -> Vec<u8> {
        match self.kind {
            Blob::Body => encode_packed(first, blobs),
            Blob::Envelope => encode_shared(first, blobs),
        }
    }

    fn put(&self, key: [u8; 10], row: Vec<u8>) -> Result<(), HomeError> {
        assert!(row.len() <= 64 << 10, "a row of blobs has {} bytes, more than 64 KiB", row.len());
        let before = self.tree.insert(key, row.as_slice())?;
        self.live.count(&key, before.as_deref(), Some(&row));
        Ok(())
    }

    fn remove(&self, key: &IVec) -> Result<(), HomeError> {
        self.live.count(key, self.tree.remove(key)?.as_deref(), None);
        Ok(())
    }
}
