//! Standard input as whole lines, as they arrive. A thread reads, so the caller can do something else while it waits
//! for lines, and need not wait for more than there is.

use super::output::count;
use bytes::{Bytes, BytesMut};
use std::io::{self, Read};
use tokio::sync::mpsc::{self, Receiver};

/// How much is read at once.
const READ: usize = 64 << 10;
/// How many pieces may wait to be taken.
const PIECES_AHEAD: usize = 16;

/// One or more whole lines; the last may be without its end, where the input has ended without one.
#[derive(Debug)]
pub(super) struct Lines(Bytes);

impl Lines {
    /// Each line, without its end.
    pub(super) fn each(self) -> impl Iterator<Item = Bytes> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let end = rest.iter().position(|byte| *byte == b'\n');
            match end {
                Some(end) => {
                    let line = rest.split_to(end + 1);
                    Some(line.slice(..end))
                }
                None if rest.is_empty() => None,
                None => Some(std::mem::take(&mut rest)),
            }
        })
    }
}

/// Begins to read. The end of the lines is the end of the input, or what was wrong with it, such as a line of more than
/// `max` bytes.
pub(super) fn read(input: impl Read + Send + 'static, max: usize) -> Receiver<io::Result<Lines>> {
    let (sender, lines) = mpsc::channel(PIECES_AHEAD);
    std::thread::spawn(move || {
        // The receiver has enough.
        let _ = pass_on(input, max, |piece| sender.blocking_send(piece).is_ok());
    });
    lines
}

/// Passes on whole lines until the input ends, or nobody wants more.
fn pass_on(mut input: impl Read, max: usize, mut pass: impl FnMut(io::Result<Lines>) -> bool) -> Option<()> {
    let mut buffer = BytesMut::new();
    loop {
        let start = buffer.len();
        buffer.resize(start + READ, 0);
        let read = match input.read(&mut buffer[start..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                buffer.truncate(start);
                continue;
            }
            Err(error) => return pass(Err(error)).then_some(()),
            Ok(read) => read,
        };
        buffer.truncate(start + read);
        let whole = match buffer[start..].iter().rposition(|byte| *byte == b'\n') {
            _ if read == 0 => buffer.len(),
            Some(end) => start + end + 1,
            None => 0,
        };
        if whole > 0 && !pass(Ok(Lines(buffer.split_to(whole).freeze()))) {
            return None;
        }
        if read == 0 {
            return Some(());
        }
        if buffer.len() > max {
            let message = format!("it has more than {} bytes", count(max as u64));
            return pass(Err(io::Error::new(io::ErrorKind::InvalidData, message))).then_some(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives at most that many bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            (&mut self.0).take(most as u64).read(buffer)
        }
    }

    proptest! {
        #[test]
        fn lines_come_whole_however_they_are_read(text in "[ab\n]{0,40}", piece in 1usize..9) {
            let mut lines = Vec::new();
            pass_on(Trickle(text.as_bytes(), piece), 100, |piece| {
                lines.extend(piece.unwrap().each());
                true
            });
            let expected: Vec<_> = text.split_terminator('\n').map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
            prop_assert_eq!(lines, expected);
        }
    }

    #[test]
    fn a_line_without_end_is_read_no_further_than_it_may_be_long() {
        let mut seen = Vec::new();
        pass_on(io::Cursor::new(b"one\n").chain(io::repeat(b'x')), 1 << 20, |piece| {
            seen.push(piece.map(|lines| lines.each().count()).map_err(|error| error.to_string()));
            true
        });
        assert_eq!(seen, [Ok(1), Err("it has more than 1,048,576 bytes".to_owned())]);
    }
}
