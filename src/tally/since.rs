//! Since when jobs are ready, to the millisecond: the core remembers arrivals to the second only, so that jobs that are alike
//! stay one entry. Memory is bounded, and what has no room is known less exactly. It starts empty with each daemon.

use crate::core::{Attempt, IdRange, Job, JobId, Time};
use std::collections::{BTreeMap, VecDeque};

/// So many moments of arrival are known exactly, each a millisecond or more after the one before.
const ARRIVALS: usize = 4_096;
/// So many runs of jobs that became ready otherwise than by arriving.
const OTHERS: usize = 16_384;

/// When jobs became ready.
#[derive(Debug, Default)]
pub(super) struct ReadySince {
    /// From this id on jobs arrived at this time, up to the next entry.
    arrivals: VecDeque<(JobId, Time)>,
    /// Those that became ready otherwise: first id → (the id after the last, since when).
    others: BTreeMap<u64, (u64, Time)>,
}

impl ReadySince {
    /// New jobs have come.
    #[inline]
    pub(super) fn arrived(&mut self, first: JobId, now: Time) {
        if self.arrivals.back().is_none_or(|(_, last)| *last < now) {
            if self.arrivals.len() == ARRIVALS {
                self.arrivals.pop_front();
            }
            self.arrivals.push_back((first, now));
        }
    }

    /// Jobs are ready that were in another state.
    pub(super) fn became_ready(&mut self, jobs: IdRange, now: Time) {
        self.left(jobs);
        if self.others.len() < OTHERS {
            self.others.insert(jobs.first.0, (jobs.end().0, now));
        }
    }

    /// Attempts of jobs begin that were ready. Says since when so many of them were, part by part; nothing of those of which that
    /// is not known.
    #[inline]
    pub(super) fn began(&mut self, jobs: IdRange, job: &Job, mut part: impl FnMut(u64, Time)) {
        let is_first = job.attempt() == Attempt(1);
        // Nearly always.
        if self.others.is_empty() {
            if is_first {
                self.arrivals_of(jobs, job, part);
            }
            return;
        }
        let (mut at, end) = (jobs.first.0, jobs.end().0);
        while at < end {
            let (upto, since) = self.at(at, end);
            match since {
                Some(since) => part(upto - at, since),
                None if is_first => self.arrivals_of(IdRange::new(JobId(at), upto - at), job, &mut part),
                None => {}
            }
            at = upto;
        }
        self.cut(jobs.first.0, end);
    }

    /// Jobs are not ready any more, for another reason.
    pub(super) fn left(&mut self, jobs: IdRange) {
        if !self.others.is_empty() {
            self.cut(jobs.first.0, jobs.end().0);
        }
    }

    /// Up to where what holds at an id does, `end` at most, and what that is.
    fn at(&self, at: u64, end: u64) -> (u64, Option<Time>) {
        if let Some((_, (upto, since))) = self.others.range(..=at).next_back()
            && *upto > at
        {
            return ((*upto).min(end), Some(*since));
        }
        (self.others.range(at..end).next().map_or(end, |(next, _)| *next), None)
    }

    /// Takes these ids out.
    fn cut(&mut self, first: u64, end: u64) {
        if let Some((_, (upto, since))) = self.others.range_mut(..first).next_back()
            && *upto > first
        {
            let (rest, since) = (*upto, *since);
            *upto = first;
            if rest > end {
                self.others.insert(end, (rest, since));
            }
        }
        while let Some((&next, &(upto, since))) = self.others.range(first..end).next() {
            self.others.remove(&next);
            if upto > end {
                self.others.insert(end, (upto, since));
            }
        }
    }

    /// When jobs arrived, part by part. `job` is what they are like: it knows the second.
    #[inline]
    pub(super) fn arrivals_of(&self, jobs: IdRange, job: &Job, mut part: impl FnMut(u64, Time)) {
        let (mut at, end) = (jobs.first, jobs.end());
        let mut nth = self.arrivals.partition_point(|(first, _)| *first <= at);
        while at < end {
            let upto = self.arrivals.get(nth).map_or(end, |(next, _)| (*next).min(end));
            let since = match nth.checked_sub(1) {
                Some(known) => self.arrivals[known].1,
                None => job.submitted_at(),
            };
            part(upto.0 - at.0, since);
            (at, nth) = (upto, nth + 1);
        }
    }

    /// Since when the first of these ready jobs is, of the first `most` parts that differ.
    pub(super) fn first_of(&self, jobs: IdRange, job: &Job, most: usize) -> Option<Time> {
        let (mut at, end, mut first) = (jobs.first.0, jobs.end().0, None);
        for _ in 0..most {
            if at >= end {
                break;
            }
            let (upto, since) = self.at(at, end);
            let since = since.or_else(|| {
                let mut arrived = None;
                self.arrivals_of(IdRange::new(JobId(at), 1), job, |_, since| arrived = Some(since));
                arrived.filter(|_| !job.has_begun())
            });
            first = first.into_iter().chain(since).min();
            at = upto;
        }
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{QueueName, Spec};
    use proptest::prelude::*;

    fn range(first: u64, len: u64) -> IdRange {
        IdRange::new(JobId(first), len)
    }

    fn job() -> Job {
        Job::fresh(Spec::plain(QueueName::new("q").unwrap()).into(), Time(7_000))
    }

    #[test]
    fn arrivals_are_known_to_the_millisecond_and_before_that_to_the_second() {
        let mut since = ReadySince::default();
        for (first, now) in [(10, 8_001), (12, 8_001), (20, 8_500), (30, 9_000)] {
            since.arrived(JobId(first), Time(now));
        }
        let mut parts = Vec::new();
        since.arrivals_of(range(8, 23), &job(), |len, since| parts.push((len, since.0)));
        assert_eq!(parts, [(2, 7_000), (10, 8_001), (10, 8_500), (1, 9_000)]);
        for n in 0..2 * ARRIVALS as u64 {
            since.arrived(JobId(100 + n), Time(10_000 + n));
        }
        assert_eq!(since.arrivals.len(), ARRIVALS);
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let mut since = ReadySince::default();
        (0..2 * OTHERS as u64).for_each(|n| since.became_ready(range(2 * n, 1), Time(n)));
        assert_eq!(since.others.len(), OTHERS);
    }

    #[test]
    fn the_first_of_many_is_found_where_later_ones_are_in_between() {
        let mut since = ReadySince::default();
        since.arrived(JobId(1), Time(7_100));
        since.became_ready(range(1, 2), Time(9_000));
        assert_eq!(since.first_of(range(1, 5), &job(), 4), Some(Time(7_100)));
        assert_eq!(since.first_of(range(1, 5), &job(), 1), Some(Time(9_000)));
        assert_eq!(since.first_of(range(1, 2), &job(), 4), Some(Time(9_000)));
    }

    proptest! {
        #[test]
        fn what_became_ready_is_known_until_it_leaves(
            steps in prop::collection::vec((any::<bool>(), 0u64..40, 1u64..10), 0..60),
        ) {
            let (mut since, mut model) = (ReadySince::default(), vec![None; 60]);
            for (now, (ready, first, len)) in steps.into_iter().enumerate() {
                let places = first as usize..(first + len) as usize;
                if ready {
                    since.became_ready(range(first, len), Time(now as u64));
                    model[places].fill(Some(Time(now as u64)));
                } else {
                    let mut told = Vec::new();
                    // None of these has begun, so none is told by its arrival.
                    since.began(range(first, len), &job(), |jobs, since| told.extend((0..jobs).map(|_| since)));
                    let known: Vec<_> = model[places.clone()].iter().copied().flatten().collect();
                    prop_assert_eq!(told, known);
                    model[places].fill(None);
                }
            }
            let known: Vec<_> = (0..60).map(|id| since.at(id, id + 1).1).collect();
            prop_assert_eq!(known, model);
        }
    }
}
