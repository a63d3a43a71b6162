//! One file of output: how it is written and read. It knows neither the loop nor which jobs there are.
//!
//! It is a sequence of pieces: attempt (u32), stream (u8: 1 standard output, 2 standard error), length (u32), all
//! little-endian, and as many bytes. A file that was cut off by a crash ends at its last whole piece.

use bytes::{Buf, BufMut, Bytes};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;

/// Of a piece, before its bytes.
pub(super) const PIECE_HEADER: usize = 9;
const STDERR: u8 = 2;
/// How much of a file one read gives.
const READ_BYTES: usize = 256 << 10;
/// How much of the end of standard error `show` has, at most.
const STDERR_TAIL_BYTES: usize = 4 << 10;
const STDERR_TAIL_LINES: usize = 20;

/// A piece as it is in a file.
pub(super) fn encode(attempt: u32, stream: u8, data: &[u8]) -> Vec<u8> {
    let mut piece = Vec::with_capacity(PIECE_HEADER + data.len());
    piece.put_u32_le(attempt);
    piece.put_u8(stream);
    piece.put_u32_le(data.len() as u32);
    piece.extend_from_slice(data);
    piece
}

/// Hands out the whole pieces at the front of `data`; returns how many bytes they are.
pub(in crate::server) fn pieces(mut data: Bytes, mut each: impl FnMut(u32, u8, Bytes)) -> u64 {
    let before = data.len();
    while data.len() >= PIECE_HEADER {
        let len = u32::from_le_bytes([data[5], data[6], data[7], data[8]]) as usize;
        if data.len() < PIECE_HEADER + len {
            break;
        }
        let (attempt, stream) = (data.get_u32_le(), data.get_u8());
        data.advance(size_of::<u32>());
        each(attempt, stream, data.split_to(len));
    }
    (before - data.len()) as u64
}

/// What of a piece is not in the file yet, if so many bytes of its stream and attempt come before it.
pub(super) fn without_what_is_there(path: &Path, mut piece: Vec<u8>, at: u64) -> Vec<u8> {
    let (mut offset, mut there, mut wanted) = (0, 0, (0, 0));
    pieces(Bytes::copy_from_slice(&piece), |attempt, stream, _| wanted = (attempt, stream));
    loop {
        let whole = pieces(read(path, offset).into(), |attempt, stream, data| {
            if (attempt, stream) == wanted {
                there += data.len() as u64;
            }
        });
        if whole == 0 {
            break;
        }
        offset += whole;
    }
    let len = piece.len() - PIECE_HEADER;
    let skip = there.saturating_sub(at).min(len as u64) as usize;
    piece.drain(PIECE_HEADER..PIECE_HEADER + skip);
    piece[PIECE_HEADER - size_of::<u32>()..PIECE_HEADER]
        .copy_from_slice(&((len - skip) as u32).to_le_bytes());
    piece
}

pub(super) fn append(path: &Path, piece: &[u8], fresh: bool) -> io::Result<()> {
    let open = || File::options().append(true).create(true).mode(0o600).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(subfolder) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(subfolder)?;
            }
            open()?
        }
        file => file?,
    };
    if fresh {
        file.set_len(0)?;
    }
    file.write_all(piece)
}

pub(super) fn read(path: &Path, offset: u64) -> Vec<u8> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut data = vec![0; READ_BYTES];
    let mut len = 0;
    while len < data.len() {
        match file.read_at(&mut data[len..], offset + len as u64) {
            Ok(n @ 1..) => len += n,
            _ => break,
        }
    }
    data.truncate(len);
    data
}

/// The end of what an attempt has printed on standard error.
pub(super) fn stderr_tail(path: &Path, attempt: u32) -> Option<String> {
    let (mut offset, mut end) = (0, Vec::new());
    loop {
        let whole = pieces(read(path, offset).into(), |of, stream, data| {
            if (of, stream) == (attempt, STDERR) {
                end.extend_from_slice(&data[data.len().saturating_sub(STDERR_TAIL_BYTES)..]);
                end.drain(..end.len().saturating_sub(STDERR_TAIL_BYTES));
            }
        });
        if whole == 0 {
            break;
        }
        offset += whole;
    }
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let lines = &lines[lines.len().saturating_sub(STDERR_TAIL_LINES)..];
    (!lines.is_empty()).then(|| lines.join("\n"))
}

pub(super) fn forget(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    if let Some(subfolder) = path.parent() {
        // Fails as long as other files are in it.
        let _ = fs::remove_dir(subfolder);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_again_is_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1");
        let said = |of: (u32, u8)| {
            let mut said = Vec::new();
            pieces(read(&path, 0).into(), |attempt, stream, data| {
                if (attempt, stream) == of {
                    said.extend_from_slice(&data);
                }
            });
            String::from_utf8(said).unwrap()
        };
        append(&path, &encode(1, 1, b"former"), false).unwrap();
        for (stream, text, at) in
            [(1, "one", 0), (2, "err", 0), (1, "one", 0), (1, "e two", 2), (1, "three", 7), (1, "three", 7)]
        {
            let piece = without_what_is_there(&path, encode(2, stream, text.as_bytes()), at);
            append(&path, &piece, false).unwrap();
        }
        assert_eq!(
            (said((1, 1)), said((2, 1)), said((2, 2))),
            ("former".into(), "one twothree".into(), "err".into())
        );
    }

    #[test]
    fn a_file_cut_in_the_middle_ends_at_its_last_whole_piece() {
        let file = [encode(1, 2, b"one"), encode(1, 2, b"two")].concat();
        for (len, expected) in
            [(0, vec![]), (11, vec![]), (12, vec!["one"]), (23, vec!["one"]), (24, vec!["one", "two"])]
        {
            let mut seen = Vec::new();
            let whole = pieces(Bytes::copy_from_slice(&file[..len]), |_, _, data| seen.push(data));
            assert_eq!(seen, expected);
            assert_eq!(whole as usize, expected.len() * 12);
        }
    }
}
