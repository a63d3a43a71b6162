//! What must hold for the store's decoders, whatever they are given.

use super::codec::{
    BlobRow, BlockRow, MetaRow, StampedRow, SumRow, blob_key_parts, decode_whole_commit, encode_commit,
    row_mask,
};
use super::log::files::fuzz_replay;
use super::{CommitNo, LogError};
use crate::core::JobId;
use bytes::Bytes;
use std::path::Path;

/// A value on disk: of any kind, it is read or refused; a commit that is read is written and reads the same.
pub fn store(data: &[u8]) {
    let shared = Bytes::copy_from_slice(data);
    let _ = (BlockRow::decode(3, data), row_mask(data), blob_key_parts(data));
    let _ = (MetaRow::decode(data), StampedRow::decode(b"q", data), SumRow::decode(data));
    let _ = BlobRow::decode(JobId(3), &shared);
    if let Ok(commit) = decode_whole_commit(&shared) {
        let mut bytes = Vec::new();
        encode_commit(&commit, &mut bytes);
        assert_eq!(decode_whole_commit(&bytes.into()).expect("what was written reads"), commit);
    }
}

/// A directory with files of the log: records in order, or an error.
pub(crate) fn log(dir: &Path) {
    let mut expected = CommitNo(1);
    let _ = fuzz_replay(dir, |number| {
        assert_eq!(number, expected);
        expected = expected.next();
        Ok::<(), LogError>(())
    });
}
