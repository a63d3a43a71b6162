//! A commit: format byte, time, events, bodies. Format 2 has kinds of events that format 1 has not. Bodies are written straight from where they lie, and stay in the
//! encoded commit when it is read: whoever wants them takes them out by the stretch.

use super::event::EventV1;
use super::{DecodeError, FORMAT_2, Reader, put};
use crate::core::{Event, Time};
use crate::store::Commit;
use bytes::Bytes;

/// Adds a commit at the end of `out`. Returns where in it the first body's length is.
pub(crate) fn encode_commit(commit: &Commit, out: &mut Vec<u8>) -> usize {
    out.push(FORMAT_2);
    put(commit.time.0, out);
    put(commit.events.len() as u64, out);
    for event in &commit.events {
        put(EventV1::from(event), out);
    }
    put(commit.bodies.len() as u64, out);
    let bodies = out.len();
    for body in &commit.bodies {
        put(body.len() as u64, out);
        out.extend_from_slice(body);
    }
    bodies
}

/// A commit as it is read.
pub(crate) struct CommitView<'a> {
    pub(crate) time: Time,
    pub(crate) events: Vec<Event>,
    pub(crate) bodies: EncodedBodies<'a>,
    /// Where in the commit the bodies are.
    pub(crate) bodies_at: usize,
}

/// Reads a commit. All of its bodies are whole.
pub(crate) fn decode_commit(bytes: &[u8]) -> Result<CommitView<'_>, DecodeError> {
    let (_, mut reader) = Reader::up_to(FORMAT_2, bytes)?;
    let time = Time(reader.take()?);
    let count = reader.count()?;
    let mut events = Vec::with_capacity(count.min(1 << 16));
    for _ in 0..count {
        events.push(reader.take::<EventV1<'_>>()?.try_into()?);
    }
    let count = reader.count()?;
    let (bodies_at, bodies) = (bytes.len() - reader.rest.len(), EncodedBodies::new(reader.rest, count));
    for _ in 0..count {
        reader.bytes()?;
    }
    reader.end()?;
    Ok(CommitView { time, events, bodies, bodies_at })
}

/// Bodies as they are in a commit, one after the other, each with its length before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodedBodies<'a> {
    all: &'a [u8],
    /// How much of it was taken.
    taken: usize,
    /// How many bodies were not.
    left: usize,
}

impl<'a> EncodedBodies<'a> {
    /// `bytes` begin with `count` whole bodies.
    pub(crate) fn new(bytes: &'a [u8], count: usize) -> EncodedBodies<'a> {
        EncodedBodies { all: bytes, taken: 0, left: count }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    /// How many bytes were taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes the next bodies: at least one, then no more than `most`, and none behind `bytes`. Returns how many, and
    /// what they are in the commit.
    pub(crate) fn take(&mut self, most: usize, bytes: usize) -> (usize, &'a [u8]) {
        let rest = &self.all[self.taken..];
        let (mut reader, mut count) = (Reader { rest }, 0);
        while count < most.min(self.left) {
            let before = reader.rest;
            reader.bytes().expect("bodies are whole where they were written or decoded");
            if count > 0 && rest.len() - reader.rest.len() > bytes {
                reader.rest = before;
                break;
            }
            count += 1;
        }
        let len = rest.len() - reader.rest.len();
        (self.taken, self.left) = (self.taken + len, self.left - count);
        (count, &rest[..len])
    }
}

/// Bodies that were taken out of a commit together, in order, as slices of `bytes`.
pub(crate) fn split_bodies(bytes: &Bytes) -> impl Iterator<Item = Result<Bytes, DecodeError>> {
    let mut reader = Reader { rest: bytes };
    std::iter::from_fn(move || {
        (!reader.rest.is_empty()).then(|| reader.bytes().map(|body| bytes.slice_ref(body)))
    })
}

/// The whole commit, its bodies as slices of `bytes`.
pub(crate) fn decode_whole_commit(bytes: &Bytes) -> Result<Commit, DecodeError> {
    let CommitView { time, events, mut bodies, .. } = decode_commit(bytes)?;
    let (_, all) = bodies.take(bodies.len(), usize::MAX);
    let bodies = split_bodies(&bytes.slice_ref(all)).collect::<Result<_, _>>()?;
    Ok(Commit { time, events, bodies })
}
