//! A commit: version, time, events, bodies, envelopes. Blobs are written straight from where they lie, and stay in the
//! encoded commit when it is read: whoever wants them takes them out by the stretch.

use super::event::{put_event, read_event};
use super::old::OldTags;
use super::{DecodeError, Reader, put};
use crate::core::{Event, Time};
use crate::store::Commit;
use crate::store::blob::{Blob, ByKind};
use bytes::Bytes;

/// The version in which commits are written.
const VERSION: u8 = 3;

/// Adds a commit at the end of `out`. Returns where in it the blobs of each kind are, behind their count.
pub(crate) fn encode_commit(commit: &Commit, out: &mut Vec<u8>) -> ByKind<usize> {
    out.push(VERSION);
    put(commit.time.0, out);
    put(commit.events.len() as u64, out);
    for event in &commit.events {
        put_event(event, out);
    }
    ByKind::of(|kind| {
        let blobs = commit.blobs(kind);
        put(blobs.len() as u64, out);
        let at = out.len();
        for blob in blobs {
            put(blob.len() as u64, out);
            out.extend_from_slice(blob);
        }
        at
    })
}

/// A commit as it is read.
pub(crate) struct CommitView<'a> {
    pub(crate) time: Time,
    pub(crate) events: Vec<Event>,
    pub(crate) blobs: ByKind<BlobList<'a>>,
    /// The tags of jobs, as older versions wrote them.
    pub(crate) tags: OldTags,
}

/// Blobs of a kind in a commit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct BlobList<'a> {
    pub(crate) blobs: EncodedBlobs<'a>,
    /// Where in the commit they are.
    pub(crate) at: usize,
}

/// Reads a commit. All of its blobs are whole.
pub(crate) fn decode_commit(bytes: &[u8]) -> Result<CommitView<'_>, DecodeError> {
    let (version, mut reader) = Reader::up_to("a commit", VERSION, bytes)?;
    let time = Time(reader.take()?);
    let count = reader.count()?;
    let (mut events, mut tags) = (Vec::with_capacity(count.min(1 << 16)), OldTags::new());
    for _ in 0..count {
        let (event, envelope) = read_event(&mut reader)?;
        tags.extend(envelope.map(|envelope| (event.jobs()[0], envelope)));
        events.push(event);
    }
    let blobs = ByKind::try_of(|kind| {
        if version < VERSION && kind == Blob::Envelope {
            return Ok(BlobList::default());
        }
        let count = reader.count()?;
        let (at, blobs) = (bytes.len() - reader.rest.len(), EncodedBlobs::new(reader.rest, count));
        for _ in 0..count {
            reader.bytes()?;
        }
        Ok::<_, DecodeError>(BlobList { blobs, at })
    })?;
    reader.end()?;
    Ok(CommitView { time, events, blobs, tags })
}

/// Blobs as they are in a commit, one after the other, each with its length before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EncodedBlobs<'a> {
    all: &'a [u8],
    /// How much of it was taken.
    taken: usize,
    /// How many blobs were not.
    left: usize,
}

impl<'a> EncodedBlobs<'a> {
    /// `bytes` begin with `count` whole blobs.
    pub(crate) fn new(bytes: &'a [u8], count: usize) -> EncodedBlobs<'a> {
        EncodedBlobs { all: bytes, taken: 0, left: count }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.left
    }

    /// How many bytes were taken.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes the next blobs: at least one, then no more than `most`, and none behind `bytes`. Returns how many, and
    /// what they are in the commit.
    pub(crate) fn take(&mut self, most: usize, bytes: usize) -> (usize, &'a [u8]) {
        let rest = &self.all[self.taken..];
        let (mut reader, mut count) = (Reader { rest }, 0);
        while count < most.min(self.left) {
            let before = reader.rest;
            reader.bytes().expect("blobs are whole where they were written or decoded");
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

/// Blobs as they would be in a commit.
pub(crate) fn encode_blobs<'b>(blobs: impl IntoIterator<Item = &'b [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for blob in blobs {
        put(blob.len() as u64, &mut out);
        out.extend_from_slice(blob);
    }
    out
}

/// Which of up to 64 blobs, as they are in a commit, have something in them: one bit each.
pub(crate) fn not_empty(bytes: &[u8]) -> u64 {
    let (mut reader, mut mask, mut bit) = (Reader { rest: bytes }, 0, 1u64);
    while !reader.rest.is_empty() && bit != 0 {
        let blob = reader.bytes().expect("blobs are whole where they were written or decoded");
        mask |= if blob.is_empty() { 0 } else { bit };
        bit <<= 1;
    }
    mask
}

/// Blobs that were taken out of a commit together, in order, as slices of `bytes`.
pub(crate) fn split_blobs(bytes: &Bytes) -> impl Iterator<Item = Result<Bytes, DecodeError>> {
    let mut reader = Reader { rest: bytes };
    std::iter::from_fn(move || {
        (!reader.rest.is_empty()).then(|| reader.bytes().map(|blob| bytes.slice_ref(blob)))
    })
}

/// The whole commit, its blobs as slices of `bytes`; without the tags that an older version has written.
#[cfg(any(test, fuzzing, feature = "simulation"))]
pub(crate) fn decode_whole_commit(bytes: &Bytes) -> Result<Commit, DecodeError> {
    let CommitView { time, events, blobs, .. } = decode_commit(bytes)?;
    let mut whole = ByKind::try_of(|kind| {
        let mut list = blobs[kind].blobs;
        let (_, all) = list.take(list.len(), usize::MAX);
        split_blobs(&bytes.slice_ref(all)).collect::<Result<Vec<_>, _>>()
    })?;
    let bodies = std::mem::take(&mut whole[Blob::Body]);
    let envelopes = std::mem::take(&mut whole[Blob::Envelope]);
    Ok(Commit { time, events, bodies, envelopes })
}
