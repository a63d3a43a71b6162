//! Blobs on disk. Small blobs of neighbours share a row; a large one has rows of its own, in pieces. The key is the id
//! of the first job and the number of the piece, so the row of a job is the last one whose key is not greater than (id,
//! highest piece).

use super::{DecodeError, Reader, put};
use crate::core::JobId;
use bytes::Bytes;

/// The most bytes of blobs in a row. With what is around them a row stays below 64 KiB, and a leaf of sled, up to
/// 17 rows, below a quarter of a segment: see precaution 3 in `home/sled/`.
pub(crate) const PACKED_MAX: usize = 60 * 1024;

/// The version in which rows of blobs are written.
const VERSION: u8 = 1;

const PACKED: u8 = 0;
const PIECE: u8 = 1;
const SHARED: u8 = 2;

/// The key of a row, or of a piece.
pub(crate) fn blob_key(first: JobId, piece: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&first.0.to_be_bytes());
    key[8..].copy_from_slice(&piece.to_be_bytes());
    key
}

/// The job and the piece that a key names.
pub(crate) fn blob_key_parts(key: &[u8]) -> Option<(JobId, u16)> {
    let (id, piece) = key.split_at_checked(8)?;
    Some((JobId(u64::from_be_bytes(id.try_into().ok()?)), u16::from_be_bytes(piece.try_into().ok()?)))
}

/// A row of one of the trees of blobs.
#[derive(Debug, PartialEq)]
pub(crate) enum BlobRow {
    /// Those of neighbours, in order.
    Packed(Vec<(JobId, Bytes)>),
    /// A part of one that has `total` bytes in all.
    Piece {
        /// How long it is.
        total: u64,
        /// This part of it.
        bytes: Bytes,
    },
}

impl BlobRow {
    /// Reads a row. Blobs are slices of `bytes`.
    pub(crate) fn decode(first: JobId, bytes: &Bytes) -> Result<BlobRow, DecodeError> {
        let mut reader = Reader::of("a row of blobs", VERSION, bytes)?;
        match reader.take::<u8>()? {
            PACKED => {
                let count = reader.count()?;
                let mut bodies = Vec::with_capacity(count);
                for _ in 0..count {
                    let id = first.0.checked_add(reader.take::<u8>()?.into());
                    let id = id.ok_or(DecodeError::Value("a job id"))?;
                    bodies.push((JobId(id), bytes.slice_ref(reader.bytes()?)));
                }
                reader.end()?;
                Ok(BlobRow::Packed(bodies))
            }
            SHARED => {
                let mut blobs = Vec::new();
                for _ in 0..reader.count()? {
                    let (offset, len): (u8, u8) = reader.take()?;
                    let blob = bytes.slice_ref(reader.bytes()?);
                    for offset in u64::from(offset)..u64::from(offset) + u64::from(len) {
                        let id = first.0.checked_add(offset).ok_or(DecodeError::Value("a job id"))?;
                        blobs.push((JobId(id), blob.clone()));
                    }
                }
                reader.end()?;
                Ok(BlobRow::Packed(blobs))
            }
            PIECE => {
                let total = reader.take()?;
                let piece = bytes.slice_ref(reader.bytes()?);
                reader.end()?;
                Ok(BlobRow::Piece { total, bytes: piece })
            }
            _ => Err(DecodeError::Value("the kind of a row of blobs")),
        }
    }
}

/// A row of blobs of one block, the first of which may belong to a later job than the key's.
pub(crate) fn encode_packed(first: JobId, bodies: &[(JobId, Bytes)]) -> Vec<u8> {
    let bytes: usize = bodies.iter().map(|(_, body)| body.len() + 4).sum();
    let mut out = Vec::with_capacity(bytes + 12);
    out.extend([VERSION, PACKED]);
    put(bodies.len() as u64, &mut out);
    for (id, body) in bodies {
        out.push(u8::try_from(id.0 - first.0).expect("bodies in a row are of one block"));
        put(body.len() as u64, &mut out);
        out.extend_from_slice(body);
    }
    out
}

/// The same of blobs that neighbours may have in common: those of neighbours that are equal are written once.
pub(crate) fn encode_shared(first: JobId, blobs: &[(JobId, Bytes)]) -> Vec<u8> {
    let mut out = vec![VERSION, SHARED];
    let runs = || blobs.chunk_by(|(id, blob), (next, other)| id.plus(1) == *next && blob == other);
    put(runs().count() as u64, &mut out);
    for run in runs() {
        let (id, blob) = &run[0];
        let of_a_block = "blobs in a row are of one block";
        let offset = u8::try_from(id.0 - first.0).expect(of_a_block);
        put((offset, u8::try_from(run.len()).expect(of_a_block), blob.len() as u64), &mut out);
        out.extend_from_slice(blob);
    }
    out
}

/// A piece of a big blob.
pub(crate) fn encode_piece(total: usize, piece: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(piece.len() + 16);
    out.extend([VERSION, PIECE]);
    put(total as u64, &mut out);
    put(piece.len() as u64, &mut out);
    out.extend_from_slice(piece);
    out
}

/// A big blob cut into pieces that fit a row.
pub(crate) fn pieces(body: &Bytes) -> impl Iterator<Item = (u16, &[u8])> {
    let pieces = body.chunks(PACKED_MAX).enumerate();
    pieces.map(|(n, piece)| (u16::try_from(n).expect("a body has less than 65,536 pieces"), piece))
}
