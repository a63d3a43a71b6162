//! Checksums of blobs in the row of their jobs. A blob that takes the place of another one under the same id may be found as
//! it was before where the database is damaged, whole and readable; so the row, which is newer then, says which one it was.
//! Bodies that were never replaced, and envelopes, have only ever been one: of those there is no checksum.

use super::{DecodeError, Reader, put};
use crate::core::JobId;
use crate::store::blob::{Blob, ByKind};
use std::collections::BTreeMap;

/// The version of a row of jobs with checksums before it; behind them the row follows, with a version of its own.
pub(super) const WITH_SUMS: u8 = 5;

/// The most bytes that they take, by construction: of each kind but envelopes its number, a mask, and one of each job.
pub(super) const SUMS_MAX: usize = 1 + 1 + 4 * (1 + 9 + 64 * 4);

/// The number of each kind. They are on people's disks: none is ever used again.
const KINDS: [(u8, Blob); 4] =
    [(0, Blob::Body), (1, Blob::Checkpoint), (2, Blob::Result), (3, Blob::Signals)];

/// Of some blobs of a block's jobs what their bytes sum up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BlobSums(ByKind<BTreeMap<u8, u32>>);

impl BlobSums {
    /// Those of a row of jobs; most have none.
    pub(crate) fn of_row(row: &[u8]) -> Result<BlobSums, DecodeError> {
        split(row).map(|(sums, _)| sums)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, sums)| sums.is_empty())
    }

    /// Notes what a job's blob is from now on.
    pub(crate) fn note(&mut self, kind: Blob, id: JobId, blob: &[u8]) {
        self.0[kind].insert(offset(id), crc32c::crc32c(blob));
    }

    /// Forgets those of jobs that are not among these: one bit a job.
    pub(crate) fn keep_only(&mut self, live: u64) {
        for (_, kind) in KINDS {
            self.0[kind].retain(|offset, _| live >> offset & 1 == 1);
        }
    }

    /// What a job's blob must sum up to, if that is known.
    pub(crate) fn of(&self, kind: Blob, id: JobId) -> Option<u32> {
        self.0[kind].get(&offset(id)).copied()
    }

    /// Whether this may be a job's blob.
    pub(crate) fn fit(&self, kind: Blob, id: JobId, blob: &[u8]) -> bool {
        self.of(kind, id).is_none_or(|sum| sum == crc32c::crc32c(blob))
    }

    /// The row of jobs, which has none yet, with them.
    pub(crate) fn before(&self, row: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(row.len() + 64);
        out.push(WITH_SUMS);
        let kinds = || KINDS.into_iter().filter(|(_, kind)| !self.0[*kind].is_empty());
        put(kinds().count() as u64, &mut out);
        for (number, kind) in kinds() {
            let mask = self.0[kind].keys().fold(0u64, |mask, offset| mask | 1 << offset);
            put((number, mask), &mut out);
            self.0[kind].values().for_each(|sum| out.extend(sum.to_le_bytes()));
        }
        out.extend_from_slice(row);
        out
    }
}

fn offset(id: JobId) -> u8 {
    (id.0 % super::BLOCK) as u8 // below 64
}

/// Whether a row of jobs has any, without reading them.
pub(crate) fn row_has_sums(row: &[u8]) -> bool {
    row.first() == Some(&WITH_SUMS)
}

/// The checksums, and the row behind them.
pub(super) fn split(row: &[u8]) -> Result<(BlobSums, &[u8]), DecodeError> {
    let mut sums = BlobSums::default();
    if !row_has_sums(row) {
        return Ok((sums, row));
    }
    let mut reader = Reader { rest: &row[1..] };
    for _ in 0..reader.count()? {
        let (number, mask): (u8, u64) = reader.take()?;
        let kind = KINDS.iter().find(|(known, _)| *known == number);
        let (_, kind) = kind.ok_or(DecodeError::Value("a kind of blobs with checksums"))?;
        for offset in (0..64).filter(|offset| mask >> offset & 1 == 1) {
            let (sum, rest) = reader.rest.split_first_chunk().ok_or(DecodeError::Short)?;
            sums.0[*kind].insert(offset, u32::from_le_bytes(*sum));
            reader.rest = rest;
        }
    }
    // It has them once.
    if row_has_sums(reader.rest) { Err(DecodeError::Value("a row of jobs")) } else { Ok((sums, reader.rest)) }
}
