//! What is on disk, as bytes: the only user of bincode. Disk types are separate from those of the core, so that the
//! format changes on purpose and never by a derive. Every value begins with one byte, the version of its own kind: older
//! ones are read, the newest is written. Decoding checks every length and name, and answers any bytes with a value or
//! an error. `docs/storage-format.md` has it byte by byte.

mod backup;
mod body;
mod commit;
mod envelope;
mod event;
mod fields;
mod flow;
mod handling;
mod job;
mod keys;
mod meta;
mod old;
mod options;
mod overrides;
mod ranges;
mod requests;
mod row;
mod row_event;
mod schedule;
mod signals;
mod sums;
#[cfg(test)]
mod tests;
mod topics;

pub(crate) use backup::Piece;
pub(crate) use body::{
    BlobRow, PACKED_MAX, blob_key, blob_key_parts, encode_packed, encode_piece, encode_shared, pieces,
};
#[cfg(any(test, fuzzing, feature = "simulation"))]
pub(crate) use commit::decode_whole_commit;
pub(crate) use commit::{
    CommitBlobs, CommitView, EncodedBlobs, Places, decode_commit, encode_commit, nth_blob, split_blobs,
};
pub use envelope::{Envelope, EnvelopeError};
pub(crate) use job::{BLOCK, BlockRow, ROW_MAX, block_of, block_range, row_has_beside, row_mask};
pub(crate) use meta::{LiveBytes, MetaRow, SumRow};
pub(crate) use row::{StampedRow, row_key};
pub(crate) use signals::{decode_signals, encode_signals};
pub(crate) use sums::{BlobSums, row_has_sums};

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bincode::{BorrowDecode, Encode};

/// The most that one field may claim before it is read. Bodies are not among those: see [`Reader::bytes`].
const CLAIM_MAX: usize = 16 << 20;

/// Why bytes are not what was written.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The first byte names another version of this kind of value.
    #[error("version {found} of {of} is unknown: {}", written_by(*found, *newest))]
    Version {
        /// What it is.
        of: &'static str,
        /// What the byte says.
        found: u8,
        /// The newest that is known.
        newest: u8,
    },
    /// There is a field that is not known.
    #[error("field {number} of {of} is unknown: it was written by a newer version of musher")]
    Field {
        /// What has it.
        of: &'static str,
        /// Its number.
        number: u8,
    },
    /// There is an event that is not known.
    #[error("event {0} is unknown: it was written by a newer version of musher")]
    Event(u8),
    /// There are no bytes at all, or fewer than a length says.
    #[error("it ends too early")]
    Short,
    /// There are bytes behind the end.
    #[error("{0} bytes follow its end")]
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

fn written_by(found: u8, newest: u8) -> String {
    match found > newest {
        true => format!("it was written by a newer version of musher; this one reads those up to {newest}"),
        false => "none was ever written".to_owned(),
    }
}

impl DecodeError {
    /// Whether nothing is wrong with the bytes, as far as is known: a newer version has written what this one does not know.
    pub(crate) fn is_of_newer_version(&self) -> bool {
        match self {
            DecodeError::Version { found, newest, .. } => found > newest,
            DecodeError::Field { .. } | DecodeError::Event(_) => true,
            _ => false,
        }
    }
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
    /// Begins behind the version of something of which all versions are read alike.
    fn of(what: &'static str, newest: u8, bytes: &'a [u8]) -> Result<Reader<'a>, DecodeError> {
        Reader::up_to(what, newest, bytes).map(|(_, reader)| reader)
    }

    /// Begins behind the version, and says which it is.
    fn up_to(of: &'static str, newest: u8, bytes: &'a [u8]) -> Result<(u8, Reader<'a>), DecodeError> {
        match bytes.split_first() {
            Some((version, rest)) if (1..=newest).contains(version) => Ok((*version, Reader { rest })),
            Some((found, _)) => Err(DecodeError::Version { of, found: *found, newest }),
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
