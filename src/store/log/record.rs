//! Records: one commit each. `length: u32, checksum: u32, commit: u64, payload`, little-endian, filled up with
//! zeros to a multiple of eight. The checksum (CRC-32C) covers the log's salt as well, a number drawn when the log
//! was made: bytes inside a job's body can never pass for a record.

/// Bytes of a record before its payload.
pub(super) const HEADER: usize = 16;
/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// The commit's number.
    pub(super) commit: u64,
    /// Where its payload is in the file.
    pub(super) payload: (usize, usize),
    /// Where the next record begins.
    pub(super) end: usize,
}

/// Begins a record in an empty buffer; the payload is appended behind it.
pub(super) fn start(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.resize(HEADER, 0);
}

/// Ends the record: header and filling.
pub(super) fn finish(buffer: &mut Vec<u8>, salt: u64, commit: u64) {
    let len = u32::try_from(buffer.len() - HEADER).expect("limits.frame keeps commits far below 4 GiB");
    buffer[..4].copy_from_slice(&len.to_le_bytes());
    buffer[8..16].copy_from_slice(&commit.to_le_bytes());
    let sum = checksum(salt, len, commit, &buffer[HEADER..]);
    buffer[4..8].copy_from_slice(&sum.to_le_bytes());
    buffer.resize(buffer.len().next_multiple_of(ALIGN), 0);
}

fn checksum(salt: u64, len: u32, commit: u64, payload: &[u8]) -> u32 {
    let mut head = [0; 20];
    head[..8].copy_from_slice(&salt.to_le_bytes());
    head[8..12].copy_from_slice(&len.to_le_bytes());
    head[12..].copy_from_slice(&commit.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&head), payload)
}

/// The whole record at `at`, if there is one whose number `wanted` accepts.
pub(super) fn read(file: &[u8], at: usize, salt: u64, wanted: impl Fn(u64) -> bool) -> Option<Record> {
    let header: &[u8; HEADER] = file.get(at..)?.first_chunk()?;
    let word = |from: usize| {
        u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]])
    };
    let (len, sum) = (word(0), word(4));
    let commit = u64::from(word(8)) | u64::from(word(12)) << 32;
    if len == 0 || !wanted(commit) {
        return None;
    }
    let start = at + HEADER;
    let end = start.checked_add(len as usize).filter(|end| *end <= file.len())?;
    if checksum(salt, len, commit, &file[start..end]) != sum {
        return None;
    }
    Some(Record { commit, payload: (start, end), end: end.next_multiple_of(ALIGN) })
}
