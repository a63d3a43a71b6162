//! Reads a file of the log in parts: a start reads gigabytes of it, and memory that is reused is in the processor's
//! cache and costs the system nothing. Knows where records are whole, not which should come next.

use crate::store::CommitNo;
use crate::store::log::record::{self, HEADER, Record};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much is read at once. A record that is larger is read as a whole.
const WINDOW: usize = 1 << 20;

/// A part of a file, in memory.
#[derive(Debug)]
pub(super) struct Window<'a> {
    file: &'a File,
    salt: u64,
    /// Where the part begins.
    start: usize,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(super) fn new(file: &'a File, salt: u64) -> Window<'a> {
        Window { file, salt, start: 0, bytes: Vec::new() }
    }

    /// The record that begins at `at`, if there is a whole one. Its end is a place in the file.
    pub(super) fn record(&mut self, at: usize) -> io::Result<Option<Record<'_>>> {
        let salt = self.salt;
        let head = self.read(at, HEADER)?.first_chunk();
        let Some((_, size)) = head.and_then(|head| record::promised(salt, head)) else {
            return Ok(None);
        };
        let found = record::read(salt, self.read(at, size)?, 0);
        Ok(found.map(|record| Record { end: at + record.end, ..record }))
    }

    /// The first whole record at or behind `from` with a number above `above`. The header's own checksum makes this a
    /// matter of a few milliseconds for a file, whatever is in it.
    pub(super) fn find_above(
        &mut self,
        from: usize,
        above: CommitNo,
    ) -> io::Result<Option<(usize, CommitNo)>> {
        let mut at = from.next_multiple_of(record::ALIGN);
        loop {
            let salt = self.salt;
            let bytes = self.read(at, HEADER)?;
            if bytes.len() < HEADER {
                return Ok(None);
            }
            let Some(offset) = record::find_head_above(salt, bytes, above) else {
                at += (bytes.len() - HEADER) / record::ALIGN * record::ALIGN + record::ALIGN;
                continue;
            };
            at += offset;
            if let Some(record) = self.record(at)? {
                return Ok(Some((at, record.number)));
            }
            at += record::ALIGN;
        }
    }

    /// What follows from `at` on: at least `least` bytes, if the file has so many.
    fn read(&mut self, at: usize, least: usize) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len();
        if at < self.start || at + least > end {
            self.fill(at, least.max(WINDOW))?;
        }
        Ok(&self.bytes[at - self.start..])
    }

    fn fill(&mut self, at: usize, wanted: usize) -> io::Result<()> {
        // A length that nobody has written must not become memory.
        let there = (self.file.metadata()?.len() as usize).saturating_sub(at);
        self.start = at;
        self.bytes.resize(wanted.min(there), 0);
        self.file.read_exact_at(&mut self.bytes, at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const SALT: u64 = 7;

    /// A file with records of these sizes, numbered from 1, and where each begins.
    fn file(payloads: &[usize]) -> (File, Vec<usize>) {
        let (mut file, mut bytes, mut places) = (tempfile::tempfile().unwrap(), Vec::new(), Vec::new());
        for (payload, number) in payloads.iter().zip(1..) {
            let mut one = vec![number as u8; HEADER + payload];
            record::seal(SALT, CommitNo(number), &mut one);
            places.push(bytes.len());
            bytes.append(&mut one);
        }
        file.write_all(&bytes).unwrap();
        (file, places)
    }

    #[test]
    fn records_are_read_wherever_windows_end() {
        // Headers and payloads that lie across the end of a window, and one larger than a window.
        let sizes = [10, WINDOW - 2 * HEADER - 40, 3, 0, 3 * WINDOW, WINDOW - 8, 5];
        let (file, places) = file(&sizes);
        let (mut window, mut at) = (Window::new(&file, SALT), 0);
        for ((size, place), number) in sizes.iter().zip(&places).zip(1..) {
            assert_eq!(at, *place);
            let record = window.record(at).unwrap().unwrap();
            assert_eq!((record.number.0, record.payload), (number, &vec![number as u8; *size][..]));
            at = record.end;
        }
        assert_eq!(window.record(at).unwrap(), None);
        for (place, number) in places.iter().zip(1..) {
            assert_eq!(window.record(*place).unwrap().unwrap().number, CommitNo(number), "backwards too");
        }
    }

    #[test]
    fn a_later_record_is_found_wherever_it_begins() {
        for lead in [0, 8, WINDOW - HEADER, WINDOW - HEADER + 8, WINDOW - 8, WINDOW, 2 * WINDOW + 16] {
            let (mut file, mut bytes) = (tempfile::tempfile().unwrap(), vec![0xff; lead]);
            let mut one = vec![1; HEADER + 100];
            record::seal(SALT, CommitNo(9), &mut one);
            bytes.append(&mut one);
            file.write_all(&bytes).unwrap();
            let mut window = Window::new(&file, SALT);
            assert_eq!(window.find_above(0, CommitNo(8)).unwrap(), Some((lead, CommitNo(9))));
            assert_eq!(window.find_above(0, CommitNo(9)).unwrap(), None);
            // A payload of 100 bytes has four zeros behind it.
            file.set_len(bytes.len() as u64 - 5).unwrap();
            assert_eq!(Window::new(&file, SALT).find_above(0, CommitNo(8)).unwrap(), None, "it is not whole");
        }
    }
}
