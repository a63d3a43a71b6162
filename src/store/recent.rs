//! Blobs that are in the log but not yet in the home, in stretches of neighbours: where each stretch lies in the log
//! and, of the newest ones up to a bound, what is in it. So what a burst takes in memory depends neither on how large its
//! bodies are nor on how far checkpoints are behind. Knows nothing of when blobs come home; whoever frees a file of the
//! log has removed its blobs here before.

use super::blob::{Blob, ByKind};
use super::codec::{BLOCK, CommitView, EncodedBlobs, block_of, encode_blobs, not_empty, split_blobs};
use super::error::BlobError;
use super::log::{Place, Segment};
use crate::core::{IdRange, Job, JobId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// How many bytes of bodies are in memory while they wait for a checkpoint; older ones are read back from the log. A
/// checkpoint begins at the latest when as much was appended, so a load that checkpoints keep up with is served from
/// memory.
pub(crate) const MEMORY: usize = 32 << 20;

/// The most bytes of a stretch with more than one body: what is read to get at one of them.
const STRETCH_BYTES: usize = 64 << 10;

/// What a stretch in memory takes beside its bytes: its slot, and what the allocator keeps.
const SLOT_BYTES: usize = 96;

/// Those of all kinds.
#[derive(Debug)]
pub(crate) struct Recent(ByKind<RecentBlobs>);

/// Of envelopes this part of what may be in memory of bodies.
const ENVELOPES: usize = 4;

impl Recent {
    /// None yet; at most about `memory` bytes of bodies will be in memory, and a part of that of the rest.
    pub(crate) fn new(memory: usize) -> Recent {
        Recent(ByKind::of(|kind| {
            let memory = if kind == Blob::Body { memory } else { memory / ENVELOPES };
            RecentBlobs::new(kind, memory)
        }))
    }

    /// Those of one kind.
    pub(crate) fn of(&self, kind: Blob) -> &RecentBlobs {
        &self.0[kind]
    }

    /// Adds the blobs of jobs with greater ids than any before: the next ones of a commit.
    pub(crate) fn push(&mut self, jobs: IdRange, arrivals: &mut ByKind<Arrivals<'_>>) {
        self.0[Blob::Body].push(jobs, &mut arrivals[Blob::Body]);
        if arrivals[Blob::Envelope].blobs.len() > 0 {
            self.0[Blob::Envelope].push(jobs, &mut arrivals[Blob::Envelope]);
        }
    }

    /// Adds the envelopes of one block's jobs which an older version has not written as such, in order.
    pub(crate) fn push_tags(&mut self, tags: &[(IdRange, Bytes)]) {
        let (Some((first, _)), Some((last, _))) = (tags.first(), tags.last()) else { return };
        let jobs = IdRange::new(first.first, last.end().0 - first.first.0);
        let of = |id| tags.iter().find(|(range, _)| range.overlap(IdRange::from(id)).is_some());
        let bytes = encode_blobs(jobs.iter().map(|id| of(id).map_or(&[][..], |(_, envelope)| envelope)));
        let bytes = Bytes::from(bytes);
        let segment: Arc<dyn Segment> = Arc::new(InMemory(bytes.clone()));
        self.0[Blob::Envelope].push_stretch(jobs.first, jobs.len as usize, &bytes, Some((segment, 0)));
    }

    /// Those of these jobs that should have a blob and have none here, nor elsewhere.
    pub(crate) fn lacking<'a>(
        &'a self,
        jobs: impl Iterator<Item = (IdRange, &'a Job)> + 'a,
        lacks: impl Fn(Blob, JobId) -> bool + 'a,
    ) -> impl Iterator<Item = (Blob, JobId)> + 'a {
        let blobs = jobs.flat_map(|(range, job)| {
            let kinds = Blob::ALL.into_iter().filter(|kind| *kind == Blob::Body || job.spec.has_envelope);
            kinds.flat_map(move |kind| range.iter().map(move |id| (kind, id)))
        });
        blobs.filter(move |(kind, id)| !self.of(*kind).contains(*id) && lacks(*kind, *id))
    }

    /// Forgets those of a range that are there.
    pub(crate) fn remove(&mut self, range: IdRange) {
        for kind in Blob::ALL {
            self.remove_of(kind, range);
        }
    }

    /// The same of one kind.
    pub(crate) fn remove_of(&mut self, kind: Blob, range: IdRange) {
        self.0[kind].remove(range);
    }
}

/// Those of one kind, by id.
#[derive(Debug)]
pub(crate) struct RecentBlobs {
    kind: Blob,
    /// In the order of ids. One that is empty may stay until all before it are.
    stretches: VecDeque<Stretch>,
    /// What is in the last of them.
    memory: VecDeque<Option<Bytes>>,
    memory_bytes: usize,
    memory_max: usize,
}

/// Blobs of neighbours in one block of the home, which have arrived in one commit.
#[derive(Debug)]
struct Stretch {
    first: JobId,
    /// Those that are there: one bit an id, from `first` on.
    here: u64,
    count: u8,
    len: u32,
    sum: u32,
    /// `None` without a log that could be read: it stays in memory.
    segment: Option<Arc<dyn Segment>>,
    at: u64,
}

/// The blobs of a kind of a commit, and where they lie.
#[derive(Debug)]
pub(crate) struct Arrivals<'a> {
    pub(crate) blobs: EncodedBlobs<'a>,
    /// What they can be read back from, and where they begin in it.
    pub(crate) place: Option<(&'a Arc<dyn Segment>, u64)>,
}

/// What a commit of the log brings.
pub(crate) fn arrivals<'a>(commit: &CommitView<'a>, place: Place<'a>) -> ByKind<Arrivals<'a>> {
    ByKind::of(|kind| {
        let list = commit.blobs[kind];
        let place = place.payload.map(|(segment, at)| (segment, at + list.at as u64));
        Arrivals { blobs: list.blobs, place }
    })
}

/// What was never in the log in this form.
#[derive(Debug)]
struct InMemory(Bytes);

impl Segment for InMemory {
    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let end = from.saturating_add(bytes.len());
        let found = self.0.get(from..end).ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(found);
        Ok(())
    }
}

/// Some neighbours, here or in the log. Reading them needs nothing of [`RecentBlobs`].
#[derive(Clone, Debug)]
pub(crate) struct Neighbours {
    first: JobId,
    here: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Bytes),
    Log { segment: Arc<dyn Segment>, at: u64, len: u32, sum: u32 },
}

/// Blobs in the log are not what was written there, or the disk failed.
#[derive(Debug, thiserror::Error)]
#[error("what is stored of job {first} and its neighbours cannot be read back from the log: {source}")]
pub(crate) struct ReadBackError {
    first: JobId,
    source: io::Error,
}

impl RecentBlobs {
    fn new(kind: Blob, memory_max: usize) -> RecentBlobs {
        let (stretches, memory) = (VecDeque::new(), VecDeque::new());
        RecentBlobs { kind, stretches, memory, memory_bytes: 0, memory_max }
    }

    /// Adds the blobs of jobs with greater ids than any before: the next ones of a commit.
    fn push(&mut self, jobs: IdRange, arrivals: &mut Arrivals<'_>) {
        let newest = self.stretches.back().map_or(JobId(0), Stretch::end);
        assert!(jobs.first >= newest, "ids of new jobs rise");
        let mut first = jobs.first;
        while first < jobs.end() {
            let in_block = BLOCK - first.0 % BLOCK;
            let most = in_block.min(jobs.end().0 - first.0) as usize;
            let at = arrivals.blobs.taken() as u64;
            let (count, bytes) = arrivals.blobs.take(most, STRETCH_BYTES);
            assert!(count > 0, "a commit has blobs of a kind for all of its jobs, or for none");
            let place = arrivals.place.map(|(segment, begin)| (segment.clone(), begin + at));
            self.push_stretch(first, count, bytes, place);
            first = first.plus(count as u64);
        }
    }

    fn push_stretch(
        &mut self,
        first: JobId,
        count: usize,
        bytes: &[u8],
        place: Option<(Arc<dyn Segment>, u64)>,
    ) {
        // A body may be empty; a job whose envelope is has none.
        let here = if self.kind == Blob::Body { mask(0, count as u64) } else { not_empty(bytes) };
        if here == 0 {
            return;
        }
        let (segment, at) = place.map_or((None, 0), |(segment, at)| (Some(segment), at));
        self.stretches.push_back(Stretch {
            first,
            here,
            count: count as u8,
            len: u32::try_from(bytes.len()).expect("a commit has less than 4 GiB"),
            sum: crc32c::crc32c(bytes),
            segment,
            at,
        });
        // One that is larger than all of them together may be does not drive them out.
        let copy = Some(bytes).filter(|bytes| bytes.len() + SLOT_BYTES <= self.memory_max);
        let copy = copy.map(Bytes::copy_from_slice);
        self.memory_bytes += weight(copy.as_ref());
        self.memory.push_back(copy);
        while self.memory_bytes > self.memory_max {
            let oldest = self.memory.pop_front().expect("what takes memory is there");
            self.memory_bytes -= weight(oldest.as_ref());
        }
    }

    /// Whether a job's is among them.
    pub(crate) fn contains(&self, id: JobId) -> bool {
        self.find(id).is_some()
    }

    /// A job's blob if it is in memory, else what must be read to get it.
    pub(crate) fn get(&self, id: JobId) -> Option<Result<Bytes, Neighbours>> {
        let place = self.find(id)?;
        let found = self.neighbours(place, u64::MAX)?;
        Some(match &found.source {
            Source::Memory(bytes) => {
                let body = split_blobs(bytes).nth((id.0 - found.first.0) as usize);
                Ok(body.and_then(Result::ok).expect("what was pushed has as many bodies as it says"))
            }
            Source::Log { .. } => Err(found),
        })
    }

    /// The blobs of a block's jobs, of those that are asked for: one bit a job.
    pub(crate) fn of_block(&self, block: u64, wanted: u64) -> Vec<Neighbours> {
        let from = self.stretches.partition_point(|stretch| block_of(stretch.first) < block);
        let places =
            (from..self.stretches.len()).take_while(|place| block_of(self.stretches[*place].first) == block);
        places.filter_map(|place| self.neighbours(place, wanted)).collect()
    }

    fn neighbours(&self, place: usize, wanted: u64) -> Option<Neighbours> {
        let stretch = &self.stretches[place];
        let here = stretch.here & wanted >> (stretch.first.0 % BLOCK);
        if here == 0 {
            return None;
        }
        let source =
            match (self.memory_of(place).and_then(|place| self.memory[place].clone()), &stretch.segment) {
                (Some(bytes), _) => Source::Memory(bytes),
                (None, Some(segment)) => Source::Log {
                    segment: segment.clone(),
                    at: stretch.at,
                    len: stretch.len,
                    sum: stretch.sum,
                },
                (None, None) => return None,
            };
        Some(Neighbours { first: stretch.first, here, source })
    }

    fn find(&self, id: JobId) -> Option<usize> {
        let place = self.stretches.partition_point(|stretch| stretch.end() <= id);
        let stretch = self.stretches.get(place)?;
        let offset = id.0.checked_sub(stretch.first.0)?;
        (stretch.here >> offset & 1 == 1).then_some(place)
    }

    /// Where in `memory` a stretch is.
    fn memory_of(&self, place: usize) -> Option<usize> {
        (place + self.memory.len()).checked_sub(self.stretches.len())
    }

    /// Forgets those of a range that are there.
    pub(crate) fn remove(&mut self, range: IdRange) {
        let from = self.stretches.partition_point(|stretch| stretch.end() <= range.first);
        for place in from..self.stretches.len() {
            let stretch = &mut self.stretches[place];
            let own = IdRange::new(stretch.first, stretch.count.into());
            let Some(part) = own.overlap(range) else { break };
            stretch.here &= !mask(part.first.0 - own.first.0, part.len);
            if stretch.here == 0
                && let Some(slot) = self.memory_of(place)
                && let Some(bytes) = self.memory[slot].take()
            {
                self.memory_bytes -= weight(Some(&bytes));
            }
        }
        while self.stretches.front().is_some_and(|stretch| stretch.here == 0) {
            self.stretches.pop_front();
        }
        self.memory.drain(..self.memory.len().saturating_sub(self.stretches.len()));
        // A burst must not hold its memory for ever.
        if self.stretches.is_empty() && self.stretches.capacity() > 1 << 10 {
            *self = RecentBlobs::new(self.kind, self.memory_max);
        }
    }
}

/// `len` bits from one on.
fn mask(from: u64, len: u64) -> u64 {
    u64::MAX >> (u64::from(u64::BITS) - len) << from
}

fn weight(slot: Option<&Bytes>) -> usize {
    slot.map_or(0, |bytes| bytes.len() + SLOT_BYTES)
}

impl Stretch {
    fn end(&self) -> JobId {
        self.first.plus(self.count.into())
    }
}

impl ReadBackError {
    /// What it means for one of them.
    pub(crate) fn about(self, kind: Blob, id: JobId) -> BlobError {
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
        let mut bodies = Vec::with_capacity(self.here.count_ones() as usize);
        for (offset, body) in (0..u64::from(u64::BITS)).zip(split_blobs(&bytes)) {
            let body = body.map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidData, error)))?;
            if self.here >> offset & 1 == 1 {
                bodies.push((self.first.plus(offset), body));
            }
        }
        Ok(bodies)
    }
}

#[cfg(test)]
#[path = "recent_tests.rs"]
mod tests;
