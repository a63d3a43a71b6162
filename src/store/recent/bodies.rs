//! Bodies that are in the log but not yet in the home, in stretches of neighbours: where each stretch lies in the log
//! and, for the newest ones up to a bound, its bytes. So the memory that a burst takes depends neither on the size of
//! its bodies nor on how far checkpoints are behind.

use super::{Arrivals, Form, Neighbours, SLOT_BYTES, Source, mask, weight};
use crate::core::{IdRange, JobId};
use crate::store::codec::{BLOCK, block_of, nth_blob};
use crate::store::log::Segment;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

/// The most bytes of a stretch with more than one body: what is read to get at one of them.
const STRETCH_BYTES: usize = 64 << 10;

/// The bodies, by id.
#[derive(Debug)]
pub(super) struct RecentBodies {
    /// In the order of ids. One that is empty may stay until all before it are.
    stretches: VecDeque<Stretch>,
    /// What is in the last of them.
    memory: VecDeque<Option<Bytes>>,
    memory_bytes: usize,
    memory_max: usize,
    /// Where the last one was found: the next one that is asked for is often its neighbour.
    found: Cell<usize>,
}

/// Bodies of neighbours in one block of the home, which have arrived in one commit.
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

impl RecentBodies {
    pub(super) fn new(memory_max: usize) -> RecentBodies {
        let (stretches, memory) = (VecDeque::new(), VecDeque::new());
        RecentBodies { stretches, memory, memory_bytes: 0, memory_max, found: Cell::new(0) }
    }

    /// Adds the bodies of jobs with greater ids than any before: the next ones of a commit.
    pub(super) fn push(&mut self, jobs: IdRange, arrivals: &mut Arrivals<'_>) {
        let newest = self.stretches.back().map_or(JobId(0), Stretch::end);
        assert!(jobs.first >= newest, "ids of new jobs rise");
        let mut first = jobs.first;
        while first < jobs.end() {
            let in_block = BLOCK - first.0 % BLOCK;
            let most = in_block.min(jobs.end().0 - first.0) as usize;
            let at = arrivals.blobs.bodies.taken() as u64;
            let (count, bytes) = arrivals.blobs.bodies.take(most, STRETCH_BYTES);
            assert!(count > 0, "each job that was submitted has one body");
            let at = arrivals.blobs.places.bodies as u64 + at;
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
        let (segment, at) = place.map_or((None, 0), |(segment, at)| (Some(segment), at));
        self.stretches.push_back(Stretch {
            first,
            here: mask(0, count as u64),
            count: count as u8,
            len: u32::try_from(bytes.len()).expect("a commit has less than 4 GiB"),
            sum: crc32c::crc32c(bytes),
            segment,
            at,
        });
        // One that is larger than all of them together may be does not drive them out.
        let copy = Some(bytes).filter(|bytes| bytes.len() + SLOT_BYTES <= self.memory_max);
        let copy = copy.map(Bytes::copy_from_slice);
        self.memory_bytes += copy.as_ref().map_or(0, weight);
        self.memory.push_back(copy);
        while self.memory_bytes > self.memory_max {
            let oldest = self.memory.pop_front().expect("what takes memory is there");
            self.memory_bytes -= oldest.as_ref().map_or(0, weight);
        }
    }

    /// Whether a job's is among them.
    pub(super) fn contains(&self, id: JobId) -> bool {
        self.find(id).is_some()
    }

    /// A job's body if it is in memory, else what must be read to get it.
    pub(super) fn get(&self, id: JobId) -> Option<Result<Bytes, Neighbours>> {
        let place = self.find(id)?;
        let found = self.neighbours(place, u64::MAX)?;
        Some(match &found.source {
            Source::Memory(bytes) => {
                let body = nth_blob(bytes, (id.0 - found.first.0) as usize);
                Ok(body.and_then(Result::ok).expect("what was pushed has as many bodies as it says"))
            }
            Source::Log { .. } => Err(found),
        })
    }

    /// The bodies of a block's jobs, of those that are asked for: one bit a job.
    pub(super) fn of_block(&self, block: u64, wanted: u64) -> Vec<Neighbours> {
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
        Some(Neighbours { first: stretch.first, here, form: Form::List, source })
    }

    fn find(&self, id: JobId) -> Option<usize> {
        let last = self.found.get();
        let is_there = |place: &usize| {
            self.stretches.get(*place).is_some_and(|stretch| stretch.first <= id && id < stretch.end())
        };
        let place = [last, last + 1].into_iter().find(is_there);
        let place = place.unwrap_or_else(|| self.stretches.partition_point(|stretch| stretch.end() <= id));
        self.found.set(place);
        let stretch = self.stretches.get(place)?;
        let offset = id.0.checked_sub(stretch.first.0)?;
        (stretch.here >> offset & 1 == 1).then_some(place)
    }

    /// Where in `memory` a stretch is.
    fn memory_of(&self, place: usize) -> Option<usize> {
        (place + self.memory.len()).checked_sub(self.stretches.len())
    }

    /// Forgets those of a range that are there.
    pub(super) fn remove(&mut self, range: IdRange) {
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
                self.memory_bytes -= weight(&bytes);
            }
        }
        while self.stretches.front().is_some_and(|stretch| stretch.here == 0) {
            self.stretches.pop_front();
        }
        self.memory.drain(..self.memory.len().saturating_sub(self.stretches.len()));
        // A burst must not hold its memory for ever.
        if self.stretches.is_empty() && self.stretches.capacity() > 1 << 10 {
            *self = RecentBodies::new(self.memory_max);
        }
    }
}

impl Stretch {
    fn end(&self) -> JobId {
        self.first.plus(self.count.into())
    }
}

#[cfg(test)]
mod tests;
