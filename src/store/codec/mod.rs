//! What is on disk, as bytes: the only user of bincode. Disk types are separate from those of the core, so that the
//! format changes on purpose and never by a derive. Every value begins with one format byte. Decoding checks every
//! length and name, and answers any bytes with a value or an error. `docs/storage-format.md` has it byte by byte.

mod backup;
mod body;
mod commit;
mod event;
mod job;
mod meta;
#[cfg(test)]
mod tests;

pub(crate) use backup::Piece;
pub(crate) use body::{BodyRow, PACKED_MAX, body_key, body_key_parts, encode_packed, encode_piece, pieces};

pub(crate) use commit::{
    CommitView, EncodedBodies, decode_commit, decode_whole_commit, encode_commit, split_bodies,
};
pub(crate) use job::{BLOCK, BlockRow, ROW_MAX, block_of, block_range, row_mask};
pub(crate) use meta::{MetaRow, QueueRow, SumRow};

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

/// The format of rows and records that have not changed since the first.
pub(crate) const FORMAT: u8 = 1;

/// The format in which commits and rows of jobs are written. Those of format 1 are read.
pub(crate) const FORMAT_2: u8 = 2;

/// The most that one field may claim before it is read. Bodies are not among those: see [`Reader::bytes`].
const CLAIM_MAX: usize = 16 << 20;

/// Why bytes are not what was written.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first byte names another format.
    #[error("format {0} is unknown; this version of musher reads formats up to {FORMAT_2}")]
    Format(u8),
    /// There are no bytes at all, or fewer than a length says.
    #[error("it ends too early")]
    Short,
    /// There are bytes behind the end.
    #[error("{0} bytes too many follow it")]
    Trailing(usize),
    /// The encoding is broken.
    #[error("the encoding is broken: {0}")]
    Encoding(#[from] bincode::error::DecodeError),
    /// A queue's name breaks the rule.
    #[error(transparent)]
    Queue(#[from] crate::core::BadQueueName),
    /// A value that was never written.
    #[error("{0} has a value that is never written")]
    Value(&'static str),
}

fn config() -> Configuration<LittleEndian, Varint, Limit<CLAIM_MAX>> {
    bincode::config::standard().with_limit::<CLAIM_MAX>()
}

/// Adds a value at the end of `out`.
fn put(value: impl Encode, out: &mut Vec<u8>) {
    bincode::encode_into_std_write(value, out, config()).expect("encoding into memory cannot fail");
}

/// Reads values one after the other.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins behind the format byte of something that has had one format only.
    fn new(bytes: &'a [u8]) -> Result<Reader<'a>, DecodeError> {
        Reader::up_to(FORMAT, bytes).map(|(_, reader)| reader)
    }

    /// Begins behind the format byte, and says which it is.
    fn up_to(newest: u8, bytes: &'a [u8]) -> Result<(u8, Reader<'a>), DecodeError> {
        match bytes.split_first() {
            Some((&format, rest)) if (FORMAT..=newest).contains(&format) => Ok((format, Reader { rest })),
            Some((&other, _)) => Err(DecodeError::Format(other)),
            None => Err(DecodeError::Short),
        }
    }

    fn take<T: BorrowDecode<'a, ()>>(&mut self) -> Result<T, DecodeError> {
        let (value, used) = bincode::borrow_decode_from_slice(self.rest, config())?;
        self.rest = &self.rest[used..];
        Ok(value)
    }

    /// A length, and as many bytes.
    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.take::<u64>()?).map_err(|_| DecodeError::Short)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    /// A count of things that take at least one byte each: safe to reserve memory for.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.take::<u64>()?).map_err(|_| DecodeError::Short)?;
        if count > self.rest.len() { Err(DecodeError::Short) } else { Ok(count) }
    }

    /// All that is left.
    fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.rest.len())) }
    }
}
