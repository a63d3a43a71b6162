//! A commit: version, time, events, bodies, envelopes, and what else jobs get, if any. Blobs are encoded without being copied before, and decoding
//! leaves them in the bytes of the commit, from which they are taken in stretches of neighbours.

use super::event::{put_event, read_event};
use super::old::{self, OldTags};
use super::ranges::RangeV1;
use super::{DecodeError, Reader, put};
use crate::core::{Event, IdRange, JobId, RangeSet, Time};
use crate::store::Commit;
use bytes::Bytes;

/// The version in which commits are written.
const VERSION: u8 = 4;

/// The version of those in which jobs get checkpoints or results: behind the rest, in the order of their events.
const WITH_ATTACHED: u8 = 5;

/// The first version without tags in its events. It had an envelope, or none, for each job.
const ONE_EACH: u8 = 3;

/// Where in a commit its bodies and its envelopes are, behind their counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) bodies: usize,
    pub(crate) envelopes: usize,
    pub(crate) attached: usize,
}

/// Adds a commit at the end of `out`.
pub(crate) fn encode_commit(commit: &Commit, out: &mut Vec<u8>) -> Places {
    out.push(if commit.attached.is_empty() { VERSION } else { WITH_ATTACHED });
    put(commit.time.0, out);
    put(commit.events.len() as u64, out);
    for event in &commit.events {
        put_event(event, out);
    }
    put((commit.bodies.len() + commit.replaced.len()) as u64, out);
    let bodies = out.len();
    for body in commit.bodies.iter().chain(&commit.replaced) {
        put_blob(body, out);
    }
    put(commit.envelopes.len() as u64, out);
    let envelopes = out.len();
    for (jobs, envelope) in &commit.envelopes {
        put(RangeV1::from(*jobs), out);
        put_blob(envelope, out);
    }
    let mut attached = out.len();
    if !commit.attached.is_empty() {
        put(commit.attached.len() as u64, out);
        attached = out.len();
        commit.attached.iter().for_each(|blob| put_blob(blob, out));
    }
    Places { bodies, envelopes, attached }
}

fn put_blob(blob: &[u8], out: &mut Vec<u8>) {
    put(blob.len() as u64, out);
    out.extend_from_slice(blob);
}

/// A commit as it is read.
pub(crate) struct CommitView<'a> {
    pub(crate) time: Time,
    pub(crate) events: Vec<Event>,
    pub(crate) blobs: CommitBlobs<'a>,
    /// The envelopes of jobs, as older versions wrote them.
    pub(crate) tags: OldTags,
}

impl CommitView<'_> {
    /// Whether what it brings fits its events: the first thing that does not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (mut jobs, mut next, mut with) = (0u64, JobId(0), RangeSet::default());
        let attached = self.events.iter().filter(|event| matches!(event, Event::Attached { .. })).count();
        if attached != self.blobs.attached.len() {
            let found = self.blobs.attached.len();
            return Err(format!("{attached} checkpoints, results and signals come, and {found} are there"));
        }
        for event in &self.events {
            if let Event::BodyReplaced { .. } = event {
                jobs = jobs.saturating_add(1);
            }
            let Event::Submitted { jobs: range, spec, .. } = event else { continue };
            if range.first < next {
                return Err(format!("job {} arrives after later ones", range.first));
            }
            (next, jobs) = (range.end(), jobs.saturating_add(range.len));
            if spec.has_envelope {
                with.insert(range.first.0, range.len);
            }
        }
        let bodies = self.blobs.bodies.len();
        if jobs != bodies as u64 {
            return Err(format!("{jobs} jobs get {bodies} bodies"));
        }
        let tags = self.tags.iter().map(|(range, _)| *range);
        for range in self.blobs.envelopes.map(|(range, ..)| range).chain(tags) {
            let there: u64 = with.within(range.first.0, range.end().0).map(|(_, len)| len).sum();
            if there != range.len {
                return Err(format!("jobs from {} on have an envelope that they do not say", range.first));
            }
            with.remove(range.first.0, range.len);
        }
        match with.first() {
            Some(first) => Err(format!("job {first} has no envelope, but says that it has")),
            None => Ok(()),
        }
    }
}

/// What a commit brings besides its events, in its encoded form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CommitBlobs<'a> {
    pub(crate) bodies: EncodedBlobs<'a>,
    pub(crate) envelopes: EncodedEnvelopes<'a>,
    pub(crate) attached: EncodedBlobs<'a>,
    pub(crate) places: Places,
}

impl<'a> CommitBlobs<'a> {
    /// Those of a commit that was just encoded, there.
    pub(crate) fn of(commit: &Commit, encoded: &'a [u8], places: Places) -> CommitBlobs<'a> {
        let bodies =
            EncodedBlobs::new(&encoded[places.bodies..], commit.bodies.len() + commit.replaced.len());
        let envelopes = EncodedEnvelopes {
            bytes: &encoded[places.envelopes..places.attached],
            left: commit.envelopes.len(),
            at: 0,
        };
        let attached = EncodedBlobs::new(&encoded[places.attached..], commit.attached.len());
        CommitBlobs { bodies, envelopes, attached, places }
    }
}

/// Reads a commit. All of its blobs are whole.
pub(crate) fn decode_commit(bytes: &[u8]) -> Result<CommitView<'_>, DecodeError> {
    let (version, mut reader) = Reader::up_to("a commit", WITH_ATTACHED, bytes)?;
    let time = Time(reader.take()?);
    let count = reader.count()?;
    let (mut events, mut tags) = (Vec::with_capacity(count.min(1 << 16)), OldTags::new());
    for _ in 0..count {
        let (event, envelope) = read_event(version < ONE_EACH, &mut reader)?;
        tags.extend(envelope.map(|envelope| (event.jobs()[0], envelope)));
        events.push(event);
    }
    let count = reader.count()?;
    let (at, bodies) = (bytes.len() - reader.rest.len(), EncodedBlobs::new(reader.rest, count));
    for _ in 0..count {
        reader.bytes()?;
    }
    if version == ONE_EACH {
        tags = old::one_each(&events, &mut reader)?;
    }
    let mut places = Places { bodies: at, envelopes: bytes.len(), attached: bytes.len() };
    let mut envelopes = EncodedEnvelopes { bytes: &[], left: 0, at: 0 };
    if version >= VERSION {
        let count = reader.count()?;
        places.envelopes = bytes.len() - reader.rest.len();
        envelopes = EncodedEnvelopes { bytes: reader.rest, left: count, at: 0 };
        let mut next = JobId(0);
        for _ in 0..count {
            let jobs = IdRange::try_from(reader.take::<RangeV1>()?)?;
            if jobs.first < next {
                return Err(DecodeError::Value("the jobs of an envelope"));
            }
            next = jobs.end();
            reader.bytes()?;
        }
    }
    let mut attached = EncodedBlobs::default();
    if version >= WITH_ATTACHED {
        let count = reader.count()?;
        places.attached = bytes.len() - reader.rest.len();
        attached = EncodedBlobs::new(reader.rest, count);
        for _ in 0..count {
            reader.bytes()?;
        }
    }
    reader.end()?;
    Ok(CommitView { time, events, blobs: CommitBlobs { bodies, envelopes, attached, places }, tags })
}

/// Envelopes as they are in a commit: which jobs have it, and what it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EncodedEnvelopes<'a> {
    bytes: &'a [u8],
    left: usize,
    /// How much of them was taken.
    at: usize,
}

impl<'a> EncodedEnvelopes<'a> {
    /// All of their bytes, and maybe what is behind them.
    pub(crate) fn all(&self) -> &'a [u8] {
        self.bytes
    }
}

impl<'a> Iterator for EncodedEnvelopes<'a> {
    /// The jobs, where the envelope is behind the place of them all, and what it is.
    type Item = (IdRange, usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let whole = "envelopes are whole where they were written or decoded";
        let mut reader = Reader { rest: &self.bytes[self.at..] };
        let jobs = reader.take::<RangeV1>().expect(whole).try_into().expect(whole);
        let envelope = reader.bytes().expect(whole);
        self.at = self.bytes.len() - reader.rest.len();
        Some((jobs, self.at - envelope.len(), envelope))
    }
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

/// Blobs that were taken out of a commit together, in order, as slices of `bytes`.
pub(crate) fn split_blobs(bytes: &Bytes) -> impl Iterator<Item = Result<Bytes, DecodeError>> {
    let mut reader = Reader { rest: bytes };
    std::iter::from_fn(move || {
        (!reader.rest.is_empty()).then(|| reader.bytes().map(|blob| bytes.slice_ref(blob)))
    })
}

/// One of them by its place, as a slice of `bytes`; those before it are only passed over.
pub(crate) fn nth_blob(bytes: &Bytes, nth: usize) -> Option<Result<Bytes, DecodeError>> {
    let mut reader = Reader { rest: bytes };
    for _ in 0..nth {
        reader.bytes().ok()?;
    }
    (!reader.rest.is_empty()).then(|| reader.bytes().map(|blob| bytes.slice_ref(blob)))
}

/// The whole commit, its blobs as slices of `bytes`; without the tags that an older version has written.
#[cfg(any(test, fuzzing, feature = "simulation"))]
pub(crate) fn decode_whole_commit(bytes: &Bytes) -> Result<Commit, DecodeError> {
    let CommitView { time, events, blobs: CommitBlobs { mut bodies, envelopes, mut attached, .. }, .. } =
        decode_commit(bytes)?;
    let (_, all) = bodies.take(bodies.len(), usize::MAX);
    let mut bodies = split_blobs(&bytes.slice_ref(all)).collect::<Result<Vec<_>, _>>()?;
    let of_others = events.iter().filter(|event| matches!(event, Event::BodyReplaced { .. })).count();
    let replaced = bodies.split_off(bodies.len().saturating_sub(of_others));
    let envelopes = envelopes.map(|(jobs, _, envelope)| (jobs, bytes.slice_ref(envelope))).collect();
    let (_, all) = attached.take(attached.len(), usize::MAX);
    let attached = split_blobs(&bytes.slice_ref(all)).collect::<Result<Vec<_>, _>>()?;
    Ok(Commit { time, events, bodies, replaced, envelopes, attached })
}
