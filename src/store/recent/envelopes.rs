//! Envelopes that are in the log but not yet in the home, by the run of jobs that have the same one. Those that come while
//! there is room stay in memory; others are read back from the log, as those of a commit with very many are.

use super::{Form, Neighbours, Source, mask, weight};
use crate::core::{IdRange, JobId, RangeSet};
use crate::store::codec::block_range;
use crate::store::log::Segment;
use bytes::Bytes;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

/// The envelopes, by id.
#[derive(Debug)]
pub(super) struct RecentEnvelopes {
    /// In the order of ids. One of which nobody is here any more may stay until all before it are gone.
    runs: VecDeque<Run>,
    /// Whose are here.
    here: RangeSet,
    memory_bytes: usize,
    memory_max: usize,
    /// Where the last one was found: the next one that is asked for is often its neighbour.
    found: Cell<usize>,
}

/// So many bytes of a commit are copied together: most envelopes are much shorter.
const COPIED: usize = 4 << 10;

/// Copies of what lies in a commit, in its order.
pub(super) struct Copies<'a> {
    of: &'a [u8],
    /// What was copied last, and from where on.
    newest: Bytes,
    from: usize,
}

impl<'a> Copies<'a> {
    pub(super) fn new(of: &'a [u8]) -> Copies<'a> {
        Copies { of, newest: Bytes::new(), from: 0 }
    }

    /// A copy of so many bytes.
    pub(super) fn take(&mut self, at: usize, len: usize) -> Bytes {
        if at + len > self.from + self.newest.len() {
            let end = self.of.len().min(at + len.max(COPIED));
            (self.newest, self.from) = (Bytes::copy_from_slice(&self.of[at..end]), at);
        }
        self.newest.slice(at - self.from..at - self.from + len)
    }
}

/// Jobs that have the same one.
#[derive(Debug)]
struct Run {
    jobs: IdRange,
    source: Source,
}

impl RecentEnvelopes {
    pub(super) fn new(memory_max: usize) -> RecentEnvelopes {
        let (runs, here, found) = (VecDeque::new(), RangeSet::default(), Cell::new(0));
        RecentEnvelopes { runs, here, memory_bytes: 0, memory_max, found }
    }

    /// Adds one, of jobs with greater ids than any before. Without a place it stays in memory.
    /// `copy` is its bytes with memory of their own.
    pub(super) fn push(
        &mut self,
        jobs: IdRange,
        envelope: &[u8],
        place: Option<(&Arc<dyn Segment>, u64)>,
        copy: impl FnOnce() -> Bytes,
    ) {
        self.here.insert(jobs.first.0, jobs.len);
        if let Some(last) = self.runs.back_mut() {
            assert!(jobs.first >= last.jobs.end(), "ids of new jobs rise");
            // Where it was in the log does not matter then.
            if matches!(&last.source, Source::Memory(bytes) if jobs.first == last.jobs.end() && bytes == envelope)
            {
                last.jobs.len += jobs.len;
                return;
            }
        }
        let source = match place {
            Some((segment, at)) if self.memory_bytes + envelope.len() > self.memory_max => {
                let len = u32::try_from(envelope.len()).expect("a commit has less than 4 GiB");
                Source::Log { segment: segment.clone(), at, len, sum: crc32c::crc32c(envelope) }
            }
            _ => Source::Memory(copy()),
        };
        self.memory_bytes += source.weight();
        self.runs.push_back(Run { jobs, source });
    }

    pub(super) fn contains(&self, id: JobId) -> bool {
        self.here.contains(id.0)
    }

    pub(super) fn get(&self, id: JobId) -> Option<Result<Bytes, Neighbours>> {
        if !self.contains(id) {
            return None;
        }
        let run = self.runs.get(self.from(id))?;
        Some(match &run.source {
            Source::Memory(bytes) => Ok(bytes.clone()),
            Source::Log { .. } => Err(run.neighbours(id, 1)),
        })
    }

    pub(super) fn of_block(&self, block: u64, wanted: u64) -> Vec<Neighbours> {
        let ids = block_range(block);
        let here = self.here.within(ids.first.0, ids.end().0);
        let here = here.fold(0, |all, (first, len)| all | mask(first - ids.first.0, len)) & wanted;
        let runs = self.runs.range(self.from(ids.first)..).take_while(|run| run.jobs.first < ids.end());
        let parts = runs.filter_map(|run| {
            let part = run.jobs.overlap(ids)?;
            let offset = part.first.0 - ids.first.0;
            let here = (here & mask(offset, part.len)) >> offset;
            (here != 0).then(|| run.neighbours(part.first, here))
        });
        parts.collect()
    }

    /// The first run that ends behind an id.
    fn from(&self, id: JobId) -> usize {
        let last = self.found.get();
        let is_there = |place: &usize| self.runs.get(*place).is_some_and(|run| run.jobs.contains(id));
        let place = [last, last + 1].into_iter().find(is_there);
        let place = place.unwrap_or_else(|| self.runs.partition_point(|run| run.jobs.end() <= id));
        self.found.set(place);
        place
    }

    pub(super) fn remove(&mut self, range: IdRange) {
        if self.runs.is_empty() {
            return;
        }
        self.here.remove(range.first.0, range.len);
        while let Some(run) = self.runs.front()
            && self.here.within(run.jobs.first.0, run.jobs.end().0).next().is_none()
        {
            self.memory_bytes -= run.source.weight();
            self.runs.pop_front();
        }
        if self.runs.is_empty() {
            self.found.set(0);
        }
        // A burst must not hold its memory for ever.
        if self.runs.is_empty() && self.runs.capacity() > 1 << 10 {
            *self = RecentEnvelopes::new(self.memory_max);
        }
    }
}

impl Run {
    fn neighbours(&self, first: JobId, here: u64) -> Neighbours {
        Neighbours { first, here, form: Form::Shared, source: self.source.clone() }
    }
}

impl Source {
    /// What it takes in memory.
    fn weight(&self) -> usize {
        match self {
            Source::Memory(bytes) => weight(bytes),
            Source::Log { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests;
