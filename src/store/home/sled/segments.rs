//! The database's own file, read without the database: sled passes over a damaged part when it opens and stops at
//! the first one that it needs, and this names them all. Knows how sled 0.34.7 lays out its file, and nothing of what
//! is in it.
//!
//! The file is segments: a header (checksum, number of the first byte in sled's log, number up to which all was on
//! disk then), then messages (checksum, kind, length, segment number, page, content), one behind the other. What is left
//! of a segment's former life has lower numbers. Only where a message of the same segment follows a broken one, in a
//! segment that was on disk before a later one was begun, it is damage for sure: everything else may be what a crash
//! has left, and is for sled to judge.

use super::database::SEGMENT_BYTES;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const HEADER: usize = 20;
/// No message begins this near to a segment's end.
const MESSAGE_HEADER_MAX: usize = 32;
/// The highest kind of message; 0 is none.
const KINDS: u8 = 11;

/// Reports each part of the file that is not what was written: from and to which byte. Returns the file's length.
pub(crate) fn damaged_parts(path: &Path, mut on_part: impl FnMut(u64, u64)) -> io::Result<u64> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let segments = len.div_ceil(SEGMENT_BYTES as u64);
    let (mut heads, mut stable) = (Vec::new(), 0);
    for at in (0..segments).map(|segment| segment * SEGMENT_BYTES as u64) {
        let mut head = [0; HEADER];
        if read_up_to(&file, &mut head, at)? == HEADER
            && let Some((first, stable_then)) = read_header(&head)
        {
            heads.push((at, first));
            stable = stable.max(stable_then);
        }
    }
    let mut bytes = vec![0; SEGMENT_BYTES];
    for (at, first) in heads {
        if first % SEGMENT_BYTES as u64 == 0 && first + SEGMENT_BYTES as u64 <= stable {
            let read = read_up_to(&file, &mut bytes, at)?;
            check(&bytes[..read], first / SEGMENT_BYTES as u64, |from, to| {
                on_part(at + from as u64, at + to as u64)
            });
        }
    }
    Ok(len)
}

fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], at + len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The number of the segment's first byte, and of the last that was on disk when it was begun.
fn read_header(head: &[u8; HEADER]) -> Option<(u64, u64)> {
    let number = |at: usize| {
        let stored = u64::from_le_bytes(head[at..at + 8].try_into().ok()?) ^ i64::MAX as u64;
        // sled has none yet: -1.
        Some(if stored > i64::MAX as u64 { 0 } else { stored })
    };
    let sum = u32::from_le_bytes(head[..4].try_into().ok()?) ^ u32::MAX;
    if sum == crc32fast::hash(&head[4..]) { Some((number(4)?, number(12)?)) } else { None }
}

fn check(bytes: &[u8], segment: u64, mut on_part: impl FnMut(usize, usize)) {
    let mut at = HEADER;
    while at + MESSAGE_HEADER_MAX <= bytes.len() {
        match read_message(bytes, at, segment) {
            Some((end, number)) if number == segment => at = end,
            _ => {
                // A message of a later life says that this one is being overwritten.
                let behind = at + 1..bytes.len().saturating_sub(MESSAGE_HEADER_MAX);
                let mut whole = behind.filter_map(|at| read_message(bytes, at, segment).map(|it| (at, it.1)));
                let Some((next, _)) = whole.next().filter(|(_, number)| *number == segment) else { return };
                on_part(at, next);
                at = next;
            }
        }
    }
}

/// Where the message at a place ends, and its segment number, if it is whole and that is not below `least`.
fn read_message(bytes: &[u8], at: usize, least: u64) -> Option<(usize, u64)> {
    let message = bytes.get(at..)?;
    let kind = *message.get(4)?;
    if kind == 0 || kind > KINDS {
        return None;
    }
    let mut rest = &message[5..];
    let (len, number) = (varint(&mut rest)?, varint(&mut rest)?);
    if number < least || len > rest.len() as u64 {
        return None;
    }
    varint(&mut rest)?; // the page
    let (head, content) = (message.len() - rest.len(), rest.get(..usize::try_from(len).ok()?)?);
    let mut sum = crc32fast::Hasher::new();
    sum.update(content);
    sum.update(&message[4..head]);
    let stored = u32::from_le_bytes(message[..4].try_into().ok()?) ^ u32::MAX;
    (stored == sum.finalize()).then_some((at + head + content.len(), number))
}

/// sled's own kind of number.
fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (first, more) = rest.split_first()?;
    let byte = |at: usize| more.get(at).copied().map(u64::from);
    let (value, used) = match *first {
        0..=240 => (u64::from(*first), 0),
        241..=248 => (240 + 256 * (u64::from(*first) - 241) + byte(0)?, 1),
        249 => (2288 + 256 * byte(0)? + byte(1)?, 2),
        250.. => {
            let len = usize::from(*first) - 247;
            let mut bytes = [0; 8];
            bytes[..len].copy_from_slice(more.get(..len)?);
            (u64::from_le_bytes(bytes), len)
        }
    };
    *rest = &more[used..];
    Some(value)
}
