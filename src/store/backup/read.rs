//! Reads a backup piece by piece. Damage is reported with its place, and reading goes on behind it: the next record is
//! found by its header, whose checksum begins with the stream's salt.

use super::{HEADER, read_header};
use crate::store::codec::Piece;
use crate::store::commit::CommitNo;
use crate::store::error::Defect;
use crate::store::log::record;
use bytes::Bytes;
use std::io::{self, Read};

/// What comes next in a stream.
#[derive(Debug)]
pub(in crate::store) enum Next {
    Piece(Piece),
    Defect(Defect),
    End,
}

/// A stream that is being read.
pub(in crate::store) struct Pieces<R> {
    stream: R,
    salt: Option<u64>,
    buffer: Vec<u8>,
    /// Where the next piece begins: in the buffer, and in the stream.
    start: usize,
    offset: u64,
    last: CommitNo,
    /// Behind the last piece nothing more may come.
    ended: bool,
    /// Whether nothing more can be read.
    over: bool,
}

impl<R: Read> Pieces<R> {
    pub(in crate::store) fn new(stream: R) -> Pieces<R> {
        let (salt, buffer, last) = (None, Vec::new(), CommitNo(0));
        Pieces { stream, salt, buffer, start: 0, offset: 0, last, ended: false, over: false }
    }

    /// The next piece, or the next thing that is wrong.
    pub(in crate::store) fn next(&mut self) -> io::Result<Next> {
        if self.over {
            return Ok(Next::End);
        }
        let Some(salt) = self.salt else {
            let head = if self.fill(HEADER)? { self.rest().first_chunk() } else { None };
            let Some(salt) = head.and_then(read_header) else {
                return Ok(self.stop("it does not begin like a backup of musher that this version can read"));
            };
            (self.salt, self.start, self.offset) = (Some(salt), HEADER, HEADER as u64);
            return self.next();
        };
        if !self.fill(1)? {
            return Ok(if self.ended { Next::End } else { self.stop("it ends before its last piece") });
        }
        let whole_head = self.fill(record::HEADER)?;
        let head = self.rest().first_chunk().filter(|_| whole_head);
        match head.and_then(|head| record::promised(salt, head)).filter(|(number, _)| *number > self.last) {
            Some((number, size)) if !self.ended => self.piece(salt, number, size),
            _ => self.search(salt),
        }
    }

    fn piece(&mut self, salt: u64, number: CommitNo, size: usize) -> io::Result<Next> {
        if !self.fill(size)? {
            return Ok(self.stop("it is cut off in the middle of a piece"));
        }
        if number > self.last.next() {
            let (from, to) = (self.last.next().0, number.0 - 1);
            self.last = CommitNo(to);
            return Ok(self.defect(format!("pieces {from} to {to} are missing")));
        }
        let bytes = &self.rest()[..size];
        let decoded = record::read(salt, bytes, 0).filter(|record| is_padded(bytes, record)).map(|record| {
            let payload = Bytes::copy_from_slice(record.payload);
            Piece::decode(&payload).map_err(|error| error.to_string())
        });
        let next = match decoded.unwrap_or_else(|| Err("its checksum is wrong".into())) {
            Ok(piece) => Next::Piece(piece),
            Err(detail) => self.defect(format!("piece {} is damaged: {detail}", number.0)),
        };
        self.last = number;
        self.ended = matches!(next, Next::Piece(Piece::End(_)));
        self.skip(size);
        Ok(next)
    }

    /// There is no piece where one should be: goes on to the next one that there is.
    fn search(&mut self, salt: u64) -> io::Result<Next> {
        let what = if self.ended { "there are bytes after its last piece" } else { "no piece begins there" };
        let defect = self.defect(what.to_owned());
        loop {
            self.skip(record::ALIGN.min(self.rest().len()));
            if !self.fill(record::HEADER)? {
                self.over = self.ended;
                self.skip(self.rest().len());
                return Ok(defect);
            }
            let head = self.rest().first_chunk().and_then(|head| record::promised(salt, head));
            if !self.ended && head.is_some_and(|(number, _)| number > self.last) {
                return Ok(defect);
            }
        }
    }

    fn defect(&self, detail: String) -> Next {
        Next::Defect(Defect { place: format!("byte {}", self.offset), detail })
    }

    fn stop(&mut self, detail: &str) -> Next {
        self.over = true;
        self.defect(detail.to_owned())
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads until there are that many bytes; returns whether there are.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        if self.rest().len() >= bytes {
            return Ok(true);
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        let missing = (bytes - self.buffer.len()).max(64 << 10);
        // Grows with what comes, whatever a header promises.
        self.stream.by_ref().take(missing as u64).read_to_end(&mut self.buffer)?;
        Ok(self.buffer.len() >= bytes)
    }
}

/// Whether all that no checksum covers is zero.
fn is_padded(bytes: &[u8], record: &record::Record<'_>) -> bool {
    let padding = &bytes[record::HEADER + record.payload.len()..];
    bytes[20..record::HEADER].iter().chain(padding).all(|byte| *byte == 0)
}
