//! The ready jobs of one priority, and who of them is next. Fresh ones go by arrival. What has come back is a set of
//! its own, so that it can wait its turn: jobs that fail at once and come back would keep all others from running. It
//! knows ids and times; the jobs themselves are the state's.

use super::ids::{IdRange, Ids, JobId, RangeSet};
use super::keyed::Keyed;
use super::settings::Retries;
use super::time::Time;

/// Jobs of one priority as seen from one of them: how many there are, and how many of them stand before it, of those that
/// nothing has interrupted yet and of those that have come back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    pub(super) fresh: u64,
    pub(super) fresh_before: u64,
    pub(super) back: u64,
    pub(super) back_before: u64,
}

impl Line {
    /// Both together.
    pub(super) fn and(self, other: Line) -> Line {
        Line {
            fresh: self.fresh + other.fresh,
            fresh_before: self.fresh_before + other.fresh_before,
            back: self.back + other.back,
            back_before: self.back_before + other.back_before,
        }
    }

    /// How many go before it; it `has_returned`, or is fresh. `turn` is how many jobs the queue will have given out by then
    /// but for those: see [`Ready::first`].
    pub(super) fn ahead(self, has_returned: bool, retries: Retries, turn: u64) -> u64 {
        match (retries, has_returned) {
            (Retries::Place, _) => self.fresh_before + self.back_before,
            (Retries::Behind, false) => self.fresh_before,
            (Retries::Behind, true) => self.fresh + self.back_before,
            (Retries::Alternate, false) => self.fresh_before + self.back.min(self.fresh_before + turn % 2),
            (Retries::Alternate, true) => self.back_before + self.fresh.min(self.back_before + 1 - turn % 2),
        }
    }
}

/// Ready jobs of a queue that have the same priority.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    /// Those that nothing has interrupted yet.
    fresh: RangeSet,
    /// Those that have come back, by id.
    returned: RangeSet,
    /// The same by the begin of their last attempts: whoever has waited longest for another goes first.
    tried: Keyed<Time>,
}

impl Ready {
    /// Adds jobs. `returned`: when the last attempt of those began that have come back.
    pub(super) fn insert(&mut self, range: IdRange, returned: Option<Time>) {
        match returned {
            None => self.fresh.insert(range.first.0, range.len),
            Some(tried) => {
                self.returned.insert(range.first.0, range.len);
                self.tried.insert(tried, range);
            }
        }
    }

    /// Takes jobs out that were added so.
    pub(super) fn remove(&mut self, range: IdRange, returned: Option<Time>) {
        match returned {
            None => self.fresh.remove(range.first.0, range.len),
            Some(tried) => {
                self.returned.remove(range.first.0, range.len);
                self.tried.remove(tried, range);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.returned.is_empty()
    }

    pub(super) fn len(&self) -> u64 {
        self.fresh.len() + self.returned.len()
    }

    /// How many runs are the first ones.
    pub(super) const FIRSTS: usize = 16;

    /// The first runs of them, fresh ones and others.
    pub(super) fn firsts(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.fresh.ranges().take(Self::FIRSTS).chain(self.returned.ranges().take(Self::FIRSTS)).map(range)
    }

    /// All of them, fresh ones first.
    pub(super) fn ranges(&self) -> impl Iterator<Item = IdRange> + '_ {
        self.fresh.ranges().chain(self.returned.ranges()).map(range)
    }

    /// Adds the next `max` to `ids`, or all if they are fewer. Returns how many. `turn` is how many jobs the queue has
    /// given out: it says whether it is a fresh one's turn or one's that has come back.
    pub(super) fn first(&self, max: u64, retries: Retries, turn: u64, ids: &mut Ids) -> u64 {
        if self.returned.is_empty() {
            return push(self.fresh.ranges().map(range), max, ids);
        }
        let tried = || self.tried.iter().map(|(_, range)| range);
        match retries {
            Retries::Place => push(self.by_id(), max, ids),
            Retries::Behind => push(self.fresh.ranges().map(range).chain(tried()), max, ids),
            Retries::Alternate => {
                let one_by_one = |range: IdRange| range.iter().map(IdRange::from);
                let mut fresh = self.fresh.ranges().map(range).flat_map(one_by_one);
                let (mut back, mut turn) = (tried().flat_map(one_by_one), turn);
                let alternating = std::iter::from_fn(|| {
                    let fresh_first = turn.is_multiple_of(2);
                    turn += 1;
                    if fresh_first {
                        fresh.next().or_else(|| back.next())
                    } else {
                        back.next().or_else(|| fresh.next())
                    }
                });
                push(alternating, max, ids)
            }
        }
    }

    /// Both sets in the order of ids: they have no id in common, so their ranges come one after the other.
    fn by_id(&self) -> impl Iterator<Item = IdRange> + '_ {
        let (mut fresh, mut returned) = (self.fresh.ranges().peekable(), self.returned.ranges().peekable());
        std::iter::from_fn(move || match (fresh.peek(), returned.peek()) {
            (Some(one), Some(other)) if one < other => fresh.next(),
            (_, Some(_)) => returned.next(),
            (_, None) => fresh.next(),
        })
        .map(range)
    }

    /// The first one that nothing has interrupted yet.
    pub(super) fn first_fresh(&self) -> Option<JobId> {
        self.fresh.first().map(JobId)
    }

    /// The first that has come back, with when it was tried: whoever was longest ago.
    pub(super) fn first_back(&self) -> Option<(Time, JobId)> {
        self.tried.iter().next().map(|(tried, range)| (tried, range.first))
    }

    /// The one that arrived first, whether it is next or not.
    pub(super) fn oldest(&self) -> Option<JobId> {
        self.fresh.first().into_iter().chain(self.returned.first()).min().map(JobId)
    }

    /// The next one. `turn` is as of [`Ready::first`].
    pub(super) fn next(&self, retries: Retries, turn: u64) -> Option<JobId> {
        let mut ids = Ids::new();
        self.first(1, retries, turn, &mut ids);
        ids.ranges().first().map(|range| range.first)
    }

    /// They, as seen from one job. `returned` is as above.
    pub(super) fn line(&self, (id, returned): (JobId, Option<Time>), retries: Retries) -> Line {
        Line {
            fresh: self.fresh.len(),
            fresh_before: match (retries, returned) {
                (Retries::Place, _) | (_, None) => self.fresh.rank(id.0),
                (_, Some(_)) => 0,
            },
            back: self.returned.len(),
            back_before: match (retries, returned) {
                (Retries::Place, _) => self.returned.rank(id.0),
                (_, Some(tried)) => self.tried.rank(tried, id),
                (_, None) => 0,
            },
        }
    }

    /// The ids of both sets, for the check of the invariants: fresh ones, and those that have come back as they are in
    /// either index.
    pub(super) fn parts(&self) -> (&RangeSet, &RangeSet, &Keyed<Time>) {
        (&self.fresh, &self.returned, &self.tried)
    }
}

fn range((first, len): (u64, u64)) -> IdRange {
    IdRange::new(JobId(first), len)
}

/// Adds up to `max` ids of these ranges, in their order. Returns how many.
fn push(ranges: impl Iterator<Item = IdRange>, max: u64, ids: &mut Ids) -> u64 {
    let mut left = max;
    for range in ranges {
        let len = range.len.min(left);
        if len == 0 {
            break;
        }
        ids.push_range(IdRange::new(range.first, len));
        left -= len;
    }
    max - left
}
