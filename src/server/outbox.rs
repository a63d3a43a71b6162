//! The bytes that a connection has not sent yet, in order. Short answers are collected in one buffer and leave in one
//! write. A long body is shared and not copied on its way to the socket. It knows nothing of what the bytes mean.

use super::budget::FREE;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};

/// Longer bodies are not copied. In the store one of this length shares its memory with no other, so what is counted
/// is what is held.
const SHARED_LEAST: usize = 64 << 10;
/// How many parts one write takes at most.
const PARTS: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// What leaves before `newest`: whole parts, but the first may have left in part.
    parts: VecDeque<Bytes>,
    parts_len: usize,
    newest: Vec<u8>,
    /// How much at the front of `newest` has left: nothing, while there are parts.
    sent: usize,
}

impl Outbox {
    /// How much has not left.
    pub(super) fn len(&self) -> usize {
        self.parts_len + self.newest.len() - self.sent
    }

    /// Where to add what is short, at the end.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.newest
    }

    /// Adds something that may be long.
    pub(crate) fn push(&mut self, bytes: &Bytes) {
        if bytes.len() > SHARED_LEAST {
            self.seal();
            self.add_part(bytes.clone());
        } else {
            self.newest.extend_from_slice(bytes);
        }
    }

    /// Makes a part of what has been collected.
    fn seal(&mut self) {
        let mut part = Bytes::from(std::mem::take(&mut self.newest));
        part.advance(std::mem::take(&mut self.sent));
        if !part.is_empty() {
            self.add_part(part);
        }
    }

    fn add_part(&mut self, part: Bytes) {
        self.parts_len += part.len();
        self.parts.push_back(part);
    }

    /// Hands `write` what there is until it would block. It returns how much it has taken.
    pub(super) fn write_out(
        &mut self,
        write: impl Fn(&[IoSlice<'_>]) -> io::Result<usize>,
    ) -> io::Result<()> {
        while self.len() > 0 {
            let mut slices = [IoSlice::new(&[]); PARTS];
            match write(self.front(&mut slices)) {
                Ok(taken) => self.forget(taken),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        // Moved to the front only when that costs no more than the sending did.
        if self.sent * 2 >= self.newest.len() {
            self.newest.drain(..self.sent);
            let len = self.newest.len();
            self.newest.shrink_to(len.max(FREE));
            self.sent = 0;
        }
        Ok(())
    }

    /// All that has not left, for tests.
    #[cfg(test)]
    pub(crate) fn take_all(&mut self) -> Vec<u8> {
        let all = std::cell::RefCell::new(Vec::new());
        let write = |parts: &[IoSlice<'_>]| {
            parts.iter().for_each(|part| all.borrow_mut().extend_from_slice(part));
            Ok(parts.iter().map(|part| part.len()).sum())
        };
        self.write_out(write).expect("a vector takes everything");
        all.into_inner()
    }

    /// What leaves first.
    fn front<'a, 'b>(&'a self, slices: &'b mut [IoSlice<'a>; PARTS]) -> &'b [IoSlice<'a>] {
        let newest = &self.newest[self.sent..];
        let parts = self.parts.iter().map(|part| &part[..]).chain((!newest.is_empty()).then_some(newest));
        let count = slices.iter_mut().zip(parts).map(|(slice, part)| *slice = IoSlice::new(part)).count();
        &slices[..count]
    }

    /// So much has left.
    fn forget(&mut self, mut taken: usize) {
        while let Some(first) = self.parts.front_mut() {
            let own = taken.min(first.len());
            first.advance(own);
            self.parts_len -= own;
            taken -= own;
            if !first.is_empty() {
                return;
            }
            self.parts.pop_front();
        }
        self.sent += taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A socket that takes up to `step` bytes at a time, and `room` in all.
    fn take(outbox: &mut Outbox, step: usize, room: usize) -> Vec<u8> {
        let got = RefCell::new(Vec::new());
        let write = |slices: &[IoSlice<'_>]| {
            assert!(slices.iter().all(|slice| !slice.is_empty()), "nothing is written for nothing");
            let mut got = got.borrow_mut();
            let most = step.min(room - got.len());
            let before = got.len();
            got.extend(slices.iter().flat_map(|slice| slice.iter()).take(most));
            if most == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(got.len() - before) }
        };
        outbox.write_out(write).unwrap();
        got.into_inner()
    }

    fn body(len: usize) -> Bytes {
        (0..len).map(|n| n as u8).collect::<Vec<_>>().into()
    }

    #[test]
    fn everything_leaves_in_order_however_the_socket_cuts_it() {
        let long = SHARED_LEAST;
        let said = [body(2), body(long + 1), body(long), body(3 * long), body(2 * long), body(2)];
        for step in [3_001, long, 1 << 20] {
            for room in [1, 100, long + 30, usize::MAX] {
                let (mut outbox, mut expected, mut left) = (Outbox::default(), Vec::new(), Vec::new());
                for (head, body) in (0u8..).zip(said.iter().cycle().take(2 * said.len())) {
                    // As a body comes behind its head, and sometimes behind nothing.
                    let head = &[head; 9][..usize::from(head) % 3 * 4];
                    outbox.buffer().extend_from_slice(head);
                    outbox.push(body);
                    expected.extend([head, body].concat());
                    left.extend(take(&mut outbox, step, room));
                    assert_eq!(
                        outbox.len(),
                        expected.len() - left.len(),
                        "what is owed is what has not left"
                    );
                }
                outbox.buffer().extend_from_slice(b"whole");
                expected.extend(b"whole");
                left.extend(take(&mut outbox, step, usize::MAX));
                assert!(left == expected, "{step} at a time, {room} at once");
                assert_eq!((outbox.len(), outbox.parts.len(), outbox.newest.len()), (0, 0, 0));
            }
        }
    }

    #[test]
    fn long_bodies_are_not_copied_and_short_answers_leave_together() {
        let mut outbox = Outbox::default();
        let long = Bytes::from(vec![1; SHARED_LEAST + 1]);
        outbox.buffer().extend_from_slice(b"one");
        outbox.push(&long);
        outbox.push(&Bytes::from_static(b"three"));
        outbox.buffer().extend_from_slice(b"four");
        let mut slices = [IoSlice::new(&[]); PARTS];
        let front = outbox.front(&mut slices);
        assert_eq!(front.len(), 3);
        assert_eq!(
            (front[1].as_ptr(), front[1].len()),
            (long.as_ptr(), long.len()),
            "it is that body itself"
        );
    }

    #[test]
    fn a_buffer_that_was_long_is_given_back() {
        let mut outbox = Outbox::default();
        outbox.buffer().resize(1 << 20, 0);
        take(&mut outbox, usize::MAX, usize::MAX);
        assert!(outbox.newest.capacity() <= FREE);
    }
}
