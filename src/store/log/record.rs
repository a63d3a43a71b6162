//! A record of the log: header, payload, zeros up to a multiple of [`ALIGN`]. The checksums begin with the log's
//! salt, a random number that no client knows, so that bytes inside a job's body never pass for a record.

use crate::store::CommitNo;

/// Bytes before the payload: commit number, length, checksum of these two, checksum of the payload, four zeros.
pub(in crate::store) const HEADER: usize = 24;

/// Records begin at multiples of this, so that a search for them has few places to look at.
pub(in crate::store) const ALIGN: usize = 8;

/// A record that was found.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::store) struct Record<'a> {
    pub(in crate::store) number: CommitNo,
    pub(in crate::store) payload: &'a [u8],
    /// Where the next one begins.
    pub(in crate::store) end: usize,
}

/// How many bytes a record takes.
pub(in crate::store) fn size(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(ALIGN)
}

/// Makes a record of `out`, whose first [`HEADER`] bytes are free for its header.
pub(in crate::store) fn seal(salt: u64, number: CommitNo, out: &mut Vec<u8>) {
    let payload = out.len() - HEADER;
    let len = u32::try_from(payload).expect("the log checks a record's size before");
    let (head_sum, payload_sum) = (head_sum(salt, number, len), payload_sum(salt, number, &out[HEADER..]));
    out[..8].copy_from_slice(&number.0.to_le_bytes());
    out[8..12].copy_from_slice(&len.to_le_bytes());
    out[12..16].copy_from_slice(&head_sum.to_le_bytes());
    out[16..20].copy_from_slice(&payload_sum.to_le_bytes());
    out[20..HEADER].fill(0);
    out.resize(size(payload), 0);
}

/// The record that begins at `at`, if there is a whole one.
pub(in crate::store) fn read(salt: u64, bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let (number, len, sum) = read_head(salt, bytes.get(at..)?.first_chunk()?)?;
    let payload = bytes.get(at + HEADER..)?.get(..len)?;
    let whole = sum == payload_sum(salt, number, payload);
    whole.then(|| Record { number, payload, end: at + size(payload.len()) })
}

/// The number and the size, header included, of the record that a whole header promises.
pub(in crate::store) fn promised(salt: u64, head: &[u8; HEADER]) -> Option<(CommitNo, usize)> {
    read_head(salt, head).map(|(number, len, _)| (number, size(len)))
}

/// Whether a whole header begins at `at` whose payload goes on behind the end of `bytes`.
pub(in crate::store) fn promises_more(salt: u64, bytes: &[u8], at: usize) -> bool {
    let head = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
    head.and_then(|head| read_head(salt, head)).is_some_and(|(_, len, _)| at + HEADER + len > bytes.len())
}

/// Commit number, length and checksum of the payload.
fn read_head(salt: u64, head: &[u8; HEADER]) -> Option<(CommitNo, usize, u32)> {
    let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
    let (number, len) = (number(head), word(8));
    let whole = number.0 != 0 && word(12) == head_sum(salt, number, len);
    whole.then_some((number, len as usize, word(16)))
}

fn number(head: &[u8; HEADER]) -> CommitNo {
    CommitNo(u64::from_le_bytes(*head.first_chunk().expect("a header is longer")))
}

/// The first whole header in `bytes`, at a multiple of [`ALIGN`], with a number above `above`.
pub(super) fn find_head_above(salt: u64, bytes: &[u8], above: CommitNo) -> Option<usize> {
    (0..bytes.len()).step_by(ALIGN).find(|at| {
        let head = bytes[*at..].first_chunk();
        head.is_some_and(|head| number(head) > above && read_head(salt, head).is_some())
    })
}

fn head_sum(salt: u64, number: CommitNo, len: u32) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &number.0.to_le_bytes());
    crc32c::crc32c_append(sum, &len.to_le_bytes())
}

fn payload_sum(salt: u64, number: CommitNo, payload: &[u8]) -> u32 {
    let sum = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &number.0.to_le_bytes());
    crc32c::crc32c_append(sum, payload)
}
