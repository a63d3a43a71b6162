//! Access for benches/ to what is private to the store. Not part of the library: it may change or go at any time.

use super::codec::{decode_whole_commit, encode_commit};
use super::{Commit, DecodeError};
use bytes::Bytes;

/// Adds a commit, as the log has it, at the end of `out`.
pub fn encode(commit: &Commit, out: &mut Vec<u8>) {
    encode_commit(commit, out);
}

/// Reads a commit.
///
/// # Errors
///
/// If the bytes are not a commit.
pub fn decode(bytes: &Bytes) -> Result<Commit, DecodeError> {
    decode_whole_commit(bytes)
}
