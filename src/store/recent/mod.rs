//! Blobs that are in the log but not yet in the home: where they lie in it and, up to a bound, what they are. Knows
//! nothing of when they reach the home; the blobs of a log file are removed here before it is freed.
//!
//! Every job has a body of its own, so these are kept by the stretch (`bodies`); few have an envelope, and many may have
//! the same one, so these are kept by the run of jobs that have it (`envelopes`). What jobs get later is kept one by one.

mod bodies;
mod envelopes;

use super::blob::{Blob, ByKind};
use super::codec::{CommitBlobs, EncodedBlobs, block_range, nth_blob, split_blobs};
use super::error::BlobError;
use super::log::Segment;
use crate::core::{Event, IdRange, Ids, Job, JobId};
use bodies::RecentBodies;
use bytes::Bytes;
use envelopes::{Copies, RecentEnvelopes};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// How many bytes of bodies are in memory while they wait for a checkpoint; older ones are read back from the log. A
/// checkpoint begins at the latest when as much was appended, so a load that checkpoints keep up with is served from
/// memory.
pub(crate) const MEMORY: usize = 32 << 20;

/// Of envelopes this part of what may be in memory of bodies.
const ENVELOPES: usize = 4;

/// What a stretch in memory takes besides its bytes: its slot, and what the allocator keeps.
const SLOT_BYTES: usize = 96;

/// All of them.
#[derive(Debug)]
pub(crate) struct Recent {
    bodies: RecentBodies,
    envelopes: RecentEnvelopes,
    /// What came when its job was there already: few, so that each is one of its own, in the log where there is one.
    late: ByKind<BTreeMap<JobId, Neighbours>>,
}

/// What a commit brings, and where it lies.
#[derive(Debug)]
pub(crate) struct Arrivals<'a> {
    pub(crate) blobs: CommitBlobs<'a>,
    /// What it can be read back from, and where it begins in that.
    pub(crate) place: Option<(&'a Arc<dyn Segment>, u64)>,
}

impl Recent {
    /// None yet; at most about `memory` bytes of bodies will be in memory, and a part of that of the rest.
    pub(crate) fn new(memory: usize) -> Recent {
        let envelopes = RecentEnvelopes::new(memory / ENVELOPES);
        Recent { bodies: RecentBodies::new(memory), envelopes, late: ByKind::default() }
    }

    /// Adds the bodies of all new jobs of a commit, whose ids are greater than any before. Neighbours are together, whichever
    /// events they have come with: jobs of which each is like no other cost no more here than those that are alike.
    pub(crate) fn push_bodies(&mut self, events: &[Event], arrivals: &mut Arrivals<'_>) {
        let mut new = Ids::new();
        for event in events {
            if let Event::Submitted { jobs, .. } = event {
                new.push_range(*jobs);
            }
        }
        new.ranges().iter().for_each(|jobs| self.bodies.push(*jobs, arrivals));
    }

    /// Takes what a commit brings for jobs that are there already: bodies that take the place of others, behind those of its
    /// new jobs; checkpoints and results. Event by event, since what comes may go again in the same commit. Returns what
    /// there is of it in the end.
    pub(crate) fn push_late(&mut self, events: &[Event], arrivals: &mut Arrivals<'_>) -> Vec<(Blob, JobId)> {
        let mut come = Vec::new();
        let is_late = |event: &Event| {
            matches!(event, Event::BodyReplaced { .. } | Event::Attached { .. } | Event::Detached { .. })
        };
        if !events.iter().any(is_late) {
            return come;
        }
        for event in events {
            match event {
                Event::BodyReplaced { job } => {
                    self.bodies.remove(job.first.into());
                    let (place, blobs) = (arrivals.blobs.places.bodies, &mut arrivals.blobs.bodies);
                    self.late[Blob::Body].insert(job.first, taken(job.first, place, blobs, arrivals.place));
                    come.push((Blob::Body, job.first));
                }
                Event::Attached { job, what } => {
                    let kind = Blob::from(*what);
                    let (place, blobs) = (arrivals.blobs.places.attached, &mut arrivals.blobs.attached);
                    self.late[kind].insert(job.first, taken(job.first, place, blobs, arrivals.place));
                    come.push((kind, job.first));
                }
                Event::Detached { jobs, what } => {
                    let kind = Blob::from(*what);
                    for range in jobs.ranges() {
                        self.remove_late(kind, *range);
                        come.retain(|(other, id)| *other != kind || !range.contains(*id));
                    }
                }
                other => {
                    for range in other.forgotten() {
                        Blob::ALL.into_iter().for_each(|kind| self.remove_late(kind, *range));
                        come.retain(|(_, id)| !range.contains(*id));
                    }
                }
            }
        }
        come
    }

    /// Whether any of a kind took the place of another, or may have.
    pub(crate) fn replaces_any(&self, kind: Blob) -> bool {
        !self.late[kind].is_empty()
    }

    /// What of this block took the place of something else, or may have: one bit a job.
    pub(crate) fn late(&self, block: u64) -> ByKind<u64> {
        let range = block_range(block);
        let bit = |id: &JobId| 1u64 << (id.0 - range.first.0);
        ByKind::of(|kind| {
            self.late[kind].range(range.first..range.end()).fold(0, |mask, (id, _)| mask | bit(id))
        })
    }

    /// Adds all envelopes of a commit, whose jobs have greater ids than any before.
    pub(crate) fn push_envelopes(&mut self, arrivals: &Arrivals<'_>) {
        let envelopes = arrivals.blobs.envelopes;
        let mut copies = Copies::new(envelopes.all());
        for (jobs, at, envelope) in envelopes {
            let in_commit = (arrivals.blobs.places.envelopes + at) as u64;
            let place = arrivals.place.map(|(segment, begin)| (segment, begin + in_commit));
            self.envelopes.push(jobs, envelope, place, || copies.take(at, envelope.len()));
        }
    }

    /// Adds an envelope that an older version has not written as such: it stays in memory.
    pub(crate) fn push_tags(&mut self, jobs: IdRange, envelope: &[u8]) {
        self.envelopes.push(jobs, envelope, None, || Bytes::copy_from_slice(envelope));
    }

    /// Whether a job's blob is among them.
    pub(crate) fn contains(&self, kind: Blob, id: JobId) -> bool {
        match kind {
            Blob::Body => self.late[kind].contains_key(&id) || self.bodies.contains(id),
            Blob::Envelope => self.envelopes.contains(id),
            Blob::Checkpoint | Blob::Result | Blob::Signals => self.late[kind].contains_key(&id),
        }
    }

    /// A job's blob if it is in memory, else what must be read to get it.
    pub(crate) fn get(&self, kind: Blob, id: JobId) -> Option<Result<Bytes, Neighbours>> {
        match (self.late[kind].get(&id), kind) {
            (Some(Neighbours { source: Source::Memory(bytes), .. }), _) => {
                let blob = nth_blob(bytes, 0).and_then(Result::ok);
                Some(Ok(blob.expect("it is whole where it was written or decoded")))
            }
            (Some(in_log), _) => Some(Err(in_log.clone())),
            (None, Blob::Body) => self.bodies.get(id),
            (None, Blob::Envelope) => self.envelopes.get(id),
            (None, Blob::Checkpoint | Blob::Result | Blob::Signals) => None,
        }
    }

    /// The blobs of a block's jobs, of those that are asked for: one bit a job.
    pub(crate) fn of_block(&self, kind: Blob, block: u64, wanted: u64) -> Vec<Neighbours> {
        let range = block_range(block);
        let is_wanted = |id: JobId| wanted >> (id.0 - range.first.0) & 1 == 1;
        let late = self.late[kind].range(range.first..range.end());
        let late = late.filter(|(id, _)| is_wanted(**id)).map(|(_, blob)| blob.clone());
        let mut found = match kind {
            Blob::Body => self.bodies.of_block(block, wanted),
            Blob::Envelope => self.envelopes.of_block(block, wanted),
            Blob::Checkpoint | Blob::Result | Blob::Signals => Vec::new(),
        };
        found.extend(late);
        found
    }

    /// Those of these jobs that should have a blob and have none here, nor elsewhere.
    pub(crate) fn lacking<'a>(
        &'a self,
        jobs: impl Iterator<Item = (IdRange, &'a Job)> + 'a,
        lacks: impl Fn(Blob, JobId) -> bool + 'a,
    ) -> impl Iterator<Item = (Blob, JobId)> + 'a {
        let blobs = jobs.flat_map(|(range, job)| {
            let kinds = Blob::ALL.into_iter().filter(|kind| kind.is_of(job));
            kinds.flat_map(move |kind| range.iter().map(move |id| (kind, id)))
        });
        blobs.filter(move |(kind, id)| !self.contains(*kind, *id) && lacks(*kind, *id))
    }

    /// Forgets those of a range that are there.
    pub(crate) fn remove(&mut self, range: IdRange) {
        Blob::ALL.into_iter().for_each(|kind| self.remove_of(kind, range));
    }

    /// The same of one kind.
    pub(crate) fn remove_of(&mut self, kind: Blob, range: IdRange) {
        match kind {
            Blob::Body => self.bodies.remove(range),
            Blob::Envelope => self.envelopes.remove(range),
            Blob::Checkpoint | Blob::Result | Blob::Signals => {}
        }
        self.remove_late(kind, range);
    }

    fn remove_late(&mut self, kind: Blob, range: IdRange) {
        let late = &mut self.late[kind];
        while let Some((id, _)) = late.range(range.first..range.end()).next() {
            let id = *id;
            late.remove(&id);
        }
    }
}

/// The next of these blobs of a commit, which are at `place` in it, for a job.
fn taken(
    id: JobId,
    place: usize,
    blobs: &mut EncodedBlobs<'_>,
    log: Option<(&Arc<dyn Segment>, u64)>,
) -> Neighbours {
    let at = (place + blobs.taken()) as u64;
    let (count, bytes) = blobs.take(1, 0);
    assert!(count > 0, "each that is to come is in the commit");
    let source = match log {
        Some((segment, begin)) => Source::Log {
            segment: segment.clone(),
            at: begin + at,
            len: u32::try_from(bytes.len()).expect("a commit has less than 4 GiB"),
            sum: crc32c::crc32c(bytes),
        },
        None => Source::Memory(Bytes::copy_from_slice(bytes)),
    };
    Neighbours { first: id, here: 1, form: Form::List, source }
}

/// Blobs of some neighbours in a block, here or in the log. Reading them needs nothing of [`Recent`].
#[derive(Clone, Debug)]
pub(crate) struct Neighbours {
    first: JobId,
    /// Whose they are: one bit an id, from `first` on.
    here: u64,
    form: Form,
    source: Source,
}

/// What the bytes are.
#[derive(Clone, Copy, Debug)]
enum Form {
    /// One blob an id, as they are in a commit.
    List,
    /// One blob that all of them have.
    Shared,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    Log { segment: Arc<dyn Segment>, at: u64, len: u32, sum: u32 },
}

/// Blobs in the log are not what was written there, or the disk failed.
#[derive(Debug, thiserror::Error)]
#[error(
    "the bodies or tags, or what else is stored, of job {first} and its neighbours cannot be read from the log: {source}"
)]
pub(crate) struct ReadBackError {
    first: JobId,
    source: io::Error,
}

impl ReadBackError {
    /// What it means for one of them.
    pub(crate) fn about(&self, kind: Blob, id: JobId) -> BlobError {
        let detail = self.to_string();
        match self.source.kind() {
            io::ErrorKind::InvalidData => BlobError::Damaged { kind, id, detail },
            _ => BlobError::Failed { kind, id, detail },
        }
    }
}

impl Neighbours {
    /// How many bytes they have, with others between them that are gone.
    pub(crate) fn len(&self) -> usize {
        match &self.source {
            Source::Memory(bytes) => bytes.len(),
            Source::Log { len, .. } => *len as usize,
        }
    }

    /// Whose they are.
    pub(crate) fn ids(&self) -> impl Iterator<Item = JobId> {
        let offsets = (0..u64::from(u64::BITS)).filter(|offset| self.here >> offset & 1 == 1);
        offsets.map(|offset| self.first.plus(offset))
    }

    /// The blobs, in order.
    pub(crate) fn read(&self) -> Result<Vec<(JobId, Bytes)>, ReadBackError> {
        let failed = |source| ReadBackError { first: self.first, source };
        let bytes = match &self.source {
            Source::Memory(bytes) => bytes.clone(),
            Source::Log { segment, at, len, sum } => {
                let mut bytes = vec![0; *len as usize];
                segment.read_back(&mut bytes, *at).map_err(failed)?;
                if crc32c::crc32c(&bytes) != *sum {
                    let detail = format!("the bytes from {at} on are not what was written");
                    return Err(failed(io::Error::new(io::ErrorKind::InvalidData, detail)));
                }
                bytes.into()
            }
        };
        if matches!(self.form, Form::Shared) {
            return Ok(self.ids().map(|id| (id, bytes.clone())).collect());
        }
        let mut blobs = Vec::with_capacity(self.here.count_ones() as usize);
        for (offset, blob) in (0..u64::from(u64::BITS)).zip(split_blobs(&bytes)) {
            let blob = blob.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            if self.here >> offset & 1 == 1 {
                blobs.push((self.first.plus(offset), blob));
            }
        }
        Ok(blobs)
    }
}

/// `len` bits from one on.
fn mask(from: u64, len: u64) -> u64 {
    u64::MAX >> (u64::from(u64::BITS) - len) << from
}

/// What a blob in memory takes.
fn weight(blob: &Bytes) -> usize {
    blob.len() + SLOT_BYTES
}
