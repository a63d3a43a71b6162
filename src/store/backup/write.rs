//! Takes a backup, on a thread of its own: rows from the home, then the commits of the log since then.
//!
//! Checkpoints go on meanwhile. A row of jobs is read before the blobs of its jobs: a blob that is missing then belongs
//! to a job that has ended since, and the log says so. Rows of queues are read after all rows of jobs, since no row of
//! jobs may reflect a commit that the row of its queue does not.

use super::{BackupError, VERSION, header};
use crate::core::JobId;
use crate::store::blob::Blob;
use crate::store::codec::{BlockRow, Piece, block_range};
use crate::store::commit::CommitNo;
use crate::store::home::{HomeError, RowReader};
use crate::store::log::{Tail, record};
use crate::store::system::random;
use bytes::Bytes;
use std::io::{self, Write};

/// How many rows are read at once.
const ROWS: usize = 64;
/// About how many bytes of blobs a piece has.
const PIECE_BYTES: usize = 256 << 10;

/// The home, as a backup reads it.
#[derive(Debug)]
pub struct BackupRows {
    home: Box<dyn RowReader>,
}

/// The commits that a backup ends with.
#[derive(Debug)]
pub struct BackupTail {
    log: Box<dyn Tail>,
}

impl BackupTail {
    pub(in crate::store) fn new(log: Box<dyn Tail>) -> BackupTail {
        BackupTail { log }
    }
}

impl BackupRows {
    pub(in crate::store) fn new(home: Box<dyn RowReader>) -> BackupRows {
        BackupRows { home }
    }

    /// Writes the whole backup. `tail` is asked for the commits once all rows are read. Returns the newest commit.
    ///
    /// # Errors
    /// What was written is useless then, and never passes for a whole backup.
    pub fn write(
        &self,
        out: impl Write,
        tail: impl FnOnce() -> Option<BackupTail>,
    ) -> Result<CommitNo, BackupError> {
        let mut out = Pieces::begin(out)?;
        let meta = self.home.meta()?.unwrap_or_default();
        out.write(&Piece::Meta(meta))?;
        let mut from = 0;
        loop {
            let rows = self.home.raw_blocks(from, ROWS)?;
            let Some((newest, _)) = rows.last() else { break };
            from = newest + 1;
            for (block, row) in rows {
                self.write_blobs(block, &row, &mut out)?;
                out.write(&Piece::Block(block, row))?;
            }
        }
        for row in self.home.rows()? {
            out.write(&Piece::Row(row))?;
        }
        let BackupTail { log } = tail().ok_or(BackupError::TooSlow)?;
        log.read(meta.home, &mut |number, payload| {
            out.write(&Piece::Commit(number, Bytes::copy_from_slice(payload)))
        })?;
        out.write(&Piece::End(log.last()))?;
        out.out.flush()?;
        Ok(log.last())
    }

    fn write_blobs<W: Write>(&self, block: u64, row: &[u8], out: &mut Pieces<W>) -> Result<(), BackupError> {
        let row = BlockRow::decode(block, row);
        let row = row.map_err(|error| HomeError::damaged("jobs", &block.to_be_bytes(), error))?;
        for (kind, mask) in Blob::ALL.map(|kind| (kind, row.with(kind))) {
            let (mut near, mut blobs, mut bytes) = (Vec::<(JobId, Bytes)>::new(), Vec::new(), 0);
            for id in block_range(block).iter().filter(|id| mask >> (id.0 % 64) & 1 == 1) {
                let find = |row: &[(JobId, Bytes)]| row.iter().find(|(found, _)| *found == id).cloned();
                let found = match find(&near) {
                    Some(found) => Some(found),
                    None => {
                        near = self.home.blobs(kind, id)?;
                        find(&near)
                    }
                };
                let Some(found) = found else { continue };
                bytes += found.1.len();
                blobs.push(found);
                if bytes >= PIECE_BYTES {
                    out.write(&Piece::Blobs(kind, block, std::mem::take(&mut blobs)))?;
                    bytes = 0;
                }
            }
            if !blobs.is_empty() {
                out.write(&Piece::Blobs(kind, block, blobs))?;
            }
        }
        Ok(())
    }
}

/// A stream that is being written.
pub(super) struct Pieces<W> {
    out: W,
    salt: u64,
    number: CommitNo,
    buffer: Vec<u8>,
}

impl<W: Write> Pieces<W> {
    pub(super) fn begin(mut out: W) -> io::Result<Pieces<W>> {
        let salt = random()?;
        out.write_all(&header(VERSION, salt))?;
        Ok(Pieces { out, salt, number: CommitNo(0), buffer: Vec::new() })
    }

    pub(super) fn write(&mut self, piece: &Piece) -> io::Result<()> {
        self.number = self.number.next();
        self.buffer.clear();
        self.buffer.resize(record::HEADER, 0);
        piece.encode(&mut self.buffer);
        record::seal(self.salt, self.number, &mut self.buffer);
        self.out.write_all(&self.buffer)
    }
}
