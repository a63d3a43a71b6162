//! Job ids, and sets of them that cost by the range and not by the id: ten million jobs that arrived one after
//! the other are one range. Knows nothing of what a job is.

use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound::{Excluded, Unbounded};

/// The number of a job. Ids begin at 1, rise by one in the order of arrival and are never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl JobId {
    /// The id that follows `n` ids later.
    pub fn plus(self, n: u64) -> JobId {
        JobId(self.0 + n)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Consecutive ids: `first`, and `len` of them in all. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdRange {
    /// The smallest id of the range.
    pub first: JobId,
    /// How many ids; at least one.
    pub len: u64,
}

impl IdRange {
    /// A range of `len` ids from `first` on.
    pub fn new(first: JobId, len: u64) -> IdRange {
        debug_assert!(len > 0, "a range holds at least one id");
        IdRange { first, len }
    }

    /// The first id behind the range.
    pub fn end(self) -> JobId {
        self.first.plus(self.len)
    }

    /// Every id, in order.
    pub fn iter(self) -> impl Iterator<Item = JobId> {
        (self.first.0..self.end().0).map(JobId)
    }

    /// Whether an id is one of them.
    pub fn contains(self, id: JobId) -> bool {
        (self.first..self.end()).contains(&id)
    }

    /// What lies in both ranges.
    pub fn overlap(self, other: IdRange) -> Option<IdRange> {
        let (first, end) = (self.first.max(other.first), self.end().min(other.end()));
        (first < end).then(|| IdRange::new(first, end.0 - first.0))
    }
}

impl From<JobId> for IdRange {
    fn from(id: JobId) -> IdRange {
        IdRange::new(id, 1)
    }
}

/// A list of ids in the order in which they were pushed, stored as ranges. Most lists are one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids(SmallVec<[IdRange; 1]>);

impl Ids {
    /// An empty list.
    pub fn new() -> Ids {
        Ids::default()
    }

    /// Adds an id at the end; joins the last range where it continues it.
    pub fn push(&mut self, id: JobId) {
        self.push_range(id.into());
    }

    /// Adds a range at the end; joins the last range where it continues it.
    pub fn push_range(&mut self, range: IdRange) {
        match self.0.last_mut() {
            Some(last) if last.end() == range.first => last.len += range.len,
            _ => self.0.push(range),
        }
    }

    /// Adds another list at the end.
    pub fn extend(&mut self, more: &Ids) {
        more.ranges().iter().for_each(|range| self.push_range(*range));
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// Every id, in order.
    pub fn iter(&self) -> impl Iterator<Item = JobId> + '_ {
        self.0.iter().flat_map(|r| r.iter())
    }

    /// How many ids.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|r| r.len).sum()
    }

    /// Whether there is no id in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The first `max` ids of ranges.
pub(super) fn first(ranges: impl Iterator<Item = IdRange>, max: u64) -> Ids {
    let (mut ids, mut left) = (Ids::new(), max);
    for range in ranges {
        if left == 0 {
            break;
        }
        let len = range.len.min(left);
        ids.push_range(IdRange::new(range.first, len));
        left -= len;
    }
    ids
}

impl From<IdRange> for Ids {
    fn from(range: IdRange) -> Ids {
        Ids(SmallVec::from_buf([range]))
    }
}

impl From<JobId> for Ids {
    fn from(id: JobId) -> Ids {
        IdRange::from(id).into()
    }
}

impl FromIterator<JobId> for Ids {
    fn from_iter<I: IntoIterator<Item = JobId>>(ids: I) -> Ids {
        let mut list = Ids::new();
        ids.into_iter().for_each(|id| list.push(id));
        list
    }
}

/// An ordered set of numbers, stored as disjoint ranges that never touch: first number → length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeSet {
    ranges: BTreeMap<u64, u64>,
    len: u64,
}

impl RangeSet {
    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u64> {
        self.ranges.first_key_value().map(|(first, _)| *first)
    }

    /// Whether `n` is in the set.
    pub fn contains(&self, n: u64) -> bool {
        self.ranges.range(..=n).next_back().is_some_and(|(first, len)| n < first + len)
    }

    /// The ranges from `first` up to `end`, which is not among them, cut to that: as (first, length), in order.
    pub fn within(&self, first: u64, end: u64) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        let before = self.ranges.range(..first).next_back().filter(|(start, len)| *start + *len > first);
        let from = before.map_or(first, |(start, _)| *start);
        self.ranges.range(from..end.max(from)).map(move |(start, len)| {
            let cut = (*start).max(first);
            (cut, (start + len).min(end) - cut)
        })
    }

    /// The ranges as (first, length), in order.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(first, len)| (*first, *len))
    }

    /// How many members are smaller than `n`. Walks the ranges below it.
    pub fn rank(&self, n: u64) -> u64 {
        self.ranges.range(..n).map(|(first, len)| (*len).min(n - first)).sum()
    }

    /// Adds `len` numbers from `first` on, joining the neighbours that they touch. Those that are there
    /// already stay.
    pub fn insert(&mut self, first: u64, len: u64) {
        if len == 0 {
            return;
        }
        let (mut start, mut end) = (first, first + len);
        if let Some((before, before_len)) = self.ranges.range(..=first).next_back()
            && before + before_len >= first
        {
            // The common case, arrival at the end: grow the last range in place.
            if before + before_len == first && self.ranges.range(first..=end).next().is_none() {
                let before = *before;
                *self.ranges.get_mut(&before).expect("found above") += len;
                self.len += len;
                return;
            }
            start = *before;
            end = end.max(before + before_len);
        }
        while let Some((next, next_len)) = self.ranges.range(start..=end).next() {
            let (next, next_len) = (*next, *next_len);
            end = end.max(next + next_len);
            self.ranges.remove(&next);
            self.len -= next_len;
        }
        self.ranges.insert(start, end - start);
        self.len += end - start;
    }

    /// Takes `len` numbers from `first` on out of the set; those that are not in it do no harm.
    pub fn remove(&mut self, first: u64, len: u64) {
        if len == 0 {
            return;
        }
        let end = first + len;
        if let Some((before, before_len)) = self.ranges.range(..first).next_back() {
            let (before, before_end) = (*before, before + before_len);
            if before_end > first {
                self.ranges.insert(before, first - before);
                self.len -= before_end.min(end) - first;
                if before_end > end {
                    self.ranges.insert(end, before_end - end);
                }
            }
        }
        while let Some((next, next_len)) = self.ranges.range(first..end).next() {
            let (next, next_end) = (*next, next + next_len);
            self.ranges.remove(&next);
            self.len -= next_end.min(end) - next;
            if next_end > end {
                self.ranges.insert(end, next_end - end);
            }
        }
    }

    /// The smallest member greater than `n`.
    pub fn after(&self, n: u64) -> Option<u64> {
        if self.contains(n + 1) {
            return Some(n + 1);
        }
        self.ranges.range((Excluded(n), Unbounded)).next().map(|(first, _)| *first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_list_of_consecutive_ids_is_one_range() {
        let ids: Ids = (5..9).map(JobId).collect();
        assert_eq!(ids.ranges(), [IdRange::new(JobId(5), 4)]);
        assert_eq!(ids.iter().count(), 4);
    }

    proptest! {
        #[test]
        fn a_range_set_is_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..60)) {
            let (mut set, mut model) = (RangeSet::default(), BTreeSet::new());
            for (insert, first, len) in steps {
                if insert {
                    set.insert(first, len);
                    model.extend(first..first + len);
                } else {
                    set.remove(first, len);
                    model.retain(|n| !(first..first + len).contains(n));
                }
                let members: Vec<u64> = set.ranges().flat_map(|(f, l)| f..f + l).collect();
                prop_assert_eq!(&members, &model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(set.len(), model.len() as u64);
                let touching = set.ranges().zip(set.ranges().skip(1)).any(|(a, b)| a.0 + a.1 >= b.0);
                prop_assert!(!touching);
                prop_assert_eq!(set.rank(first), model.range(..first).count() as u64);
                prop_assert_eq!(set.after(first), model.range(first + 1..).next().copied());
                prop_assert_eq!(set.contains(first), model.contains(&first));
                let within: Vec<u64> = set.within(first, first + len).flat_map(|(f, l)| f..f + l).collect();
                prop_assert_eq!(within, model.range(first..first + len).copied().collect::<Vec<_>>());
            }
        }
    }
}
