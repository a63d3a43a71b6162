//! The ready jobs of one priority, and who of them is next. Fresh ones go by arrival. What has come back is a set of
//! its own, so that it can wait its turn: jobs that fail at once and come back would keep all others from running. It
//! knows ids and times; the jobs themselves are the state's.

use super::ids::{IdRange, Ids, JobId, RangeSet};
use super::keyed::Keyed;
use super::settings::Retries;
use super::time::Time;

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

    /// How many come before this one. `returned` and `turn` are as above.
    pub(super) fn ahead_of(&self, id: JobId, returned: Option<Time>, retries: Retries, turn: u64) -> u64 {
        let in_line = || match returned {
            None => self.fresh.rank(id.0),
            Some(tried) => self.tried.rank(tried, id),
        };
        match (retries, returned) {
            (Retries::Place, _) => self.fresh.rank(id.0) + self.returned.rank(id.0),
            (Retries::Behind, None) => in_line(),
            (Retries::Behind, Some(_)) => self.fresh.len() + in_line(),
            (Retries::Alternate, None) => {
                let own = in_line();
                own + self.returned.len().min(own + turn % 2)
            }
            (Retries::Alternate, Some(_)) => {
                let own = in_line();
                own + self.fresh.len().min(own + 1 - turn % 2)
            }
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
