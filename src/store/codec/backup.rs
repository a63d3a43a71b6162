//! The pieces of a backup. The rows are those of the database and the commits those of the log, byte for byte; this
//! only says which is which.

use super::{DecodeError, MetaRow, ROW_MAX, Reader, StampedRow, block_of, put, row_key};

use crate::core::JobId;
use crate::store::CommitNo;
use crate::store::blob::Blob;
use bytes::Bytes;

/// The version in which pieces are written.
const VERSION: u8 = 1;

const META: u8 = 1;
const BODIES: u8 = 2;
const BLOCK: u8 = 3;
const ROW: u8 = 4;
const COMMIT: u8 = 5;
const END: u8 = 6;
const ENVELOPES: u8 = 7;
const CHECKPOINTS: u8 = 8;
const RESULTS: u8 = 9;
const SIGNALS: u8 = 10;

/// One piece of a backup.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    /// Where the database stood: the first piece.
    Meta(MetaRow),
    /// Blobs of a kind of a block, in order; the row of their jobs follows.
    Blobs(Blob, u64, Vec<(JobId, Bytes)>),
    /// A row of jobs, as the database has it.
    Block(u64, Bytes),
    /// What is known besides jobs; after all blocks.
    Row(StampedRow),
    /// A commit that came after, as the log has it; after all rows.
    Commit(CommitNo, Bytes),
    /// The last piece: what the backup reflects.
    End(CommitNo),
}

impl Piece {
    /// Adds the piece at the end of `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Piece::Meta(row) => bytes(META, &row.encode(), out),
            Piece::Blobs(kind, block, blobs) => {
                let kind = match kind {
                    Blob::Body => BODIES,
                    Blob::Envelope => ENVELOPES,
                    Blob::Checkpoint => CHECKPOINTS,
                    Blob::Result => RESULTS,
                    Blob::Signals => SIGNALS,
                };
                put((kind, *block, blobs.len() as u64), out);
                for (id, blob) in blobs {
                    put((id.0, blob.len() as u64), out);
                    out.extend_from_slice(blob);
                }
            }
            Piece::Block(block, row) => {
                put((BLOCK, *block), out);
                out.extend_from_slice(row);
            }
            Piece::Row(row) => {
                let key = row.row.key();
                let key = row_key(&key);
                put((ROW, key.len() as u64), out);
                out.extend_from_slice(&key);
                out.extend_from_slice(&row.encode());
            }
            Piece::Commit(number, payload) => {
                put((COMMIT, number.0), out);
                out.extend_from_slice(payload);
            }
            Piece::End(last) => put((END, last.0), out),
        }
    }

    /// Reads a piece. Blobs and rows are slices of `bytes`.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Piece, DecodeError> {
        let mut reader = Reader::of("a piece of a backup", VERSION, bytes)?;
        let piece = match reader.take::<u8>()? {
            META => Piece::Meta(MetaRow::decode(reader.take_rest())?),
            BODIES => read_blobs(Blob::Body, bytes, &mut reader)?,
            ENVELOPES => read_blobs(Blob::Envelope, bytes, &mut reader)?,
            CHECKPOINTS => read_blobs(Blob::Checkpoint, bytes, &mut reader)?,
            RESULTS => read_blobs(Blob::Result, bytes, &mut reader)?,
            SIGNALS => read_blobs(Blob::Signals, bytes, &mut reader)?,
            BLOCK => {
                let (block, row) = (reader.take()?, reader.take_rest());
                if row.len() > ROW_MAX {
                    return Err(DecodeError::Value("the length of a row"));
                }
                Piece::Block(block, bytes.slice_ref(row))
            }
            ROW => {
                let key = reader.bytes()?;
                Piece::Row(StampedRow::decode(key, reader.take_rest())?)
            }
            COMMIT => Piece::Commit(CommitNo(reader.take()?), bytes.slice_ref(reader.take_rest())),
            END => Piece::End(CommitNo(reader.take()?)),
            _ => return Err(DecodeError::Value("the kind of a piece of a backup")),
        };
        reader.end()?;
        Ok(piece)
    }
}

fn read_blobs(kind: Blob, bytes: &Bytes, reader: &mut Reader<'_>) -> Result<Piece, DecodeError> {
    let block = reader.take()?;
    let count = reader.count()?;
    let mut blobs = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let (id, blob) = (JobId(reader.take()?), bytes.slice_ref(reader.bytes()?));
        if block_of(id) != block || blobs.last().is_some_and(|(before, _)| *before >= id) {
            return Err(DecodeError::Value("a job id"));
        }
        blobs.push((id, blob));
    }
    Ok(Piece::Blobs(kind, block, blobs))
}

fn bytes(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    put(kind, out);
    out.extend_from_slice(bytes);
}
