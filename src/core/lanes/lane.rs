//! The jobs of one key: those that are ready, in the order in which they go, and how many are leased. It knows ids, priorities and
//! times.

use crate::core::ids::{IdRange, JobId};
use crate::core::job::Priority;
use crate::core::sorted::Sorted;
use crate::core::time::Time;
use smallvec::SmallVec;

/// The first job of a key that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) priority: Priority,
    pub(super) id: JobId,
    /// When its last attempt began, if it has come back; [`Time::NEVER`] if not.
    pub(super) tried: Time,
}

/// Ready jobs of a key that are neighbours.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    priority: Priority,
    len: u32,
    first: JobId,
    /// As of [`Head`].
    tried: Time,
}

// There is one for nearly each job where keys have few.
const _: () = assert!(size_of::<Stretch>() <= 24);

impl Stretch {
    fn place(&self) -> (Priority, JobId) {
        (self.priority, self.first)
    }

    fn range(&self) -> IdRange {
        IdRange::new(self.first, u64::from(self.len))
    }

    /// Whether another is behind it and like it, so that both can be one.
    fn goes_on_with(&self, next: &Stretch) -> bool {
        (self.priority, self.tried, self.range().end()) == (next.priority, next.tried, next.first)
            && self.len.checked_add(next.len).is_some()
    }
}

/// Stretches by priority and id. Nearly all keys have few.
#[derive(Clone, Debug)]
enum Stretches {
    Few(SmallVec<[Stretch; 1]>),
    Many(Box<Sorted<(Priority, JobId), Stretch>>),
}

/// More than so many are many; fewer than a quarter of it are few again.
const FEW: usize = 64;

impl Default for Stretches {
    fn default() -> Stretches {
        Stretches::Few(SmallVec::new())
    }
}

impl Stretches {
    fn insert(&mut self, stretch: Stretch) {
        match self {
            Stretches::Few(few) if few.len() < FEW => {
                let at = few.partition_point(|other| other.place() < stretch.place());
                if few.len() == few.capacity() {
                    // Not by as many again, of which most would stay free; and to an even number, whose size is nearer to one
                    // that allocators have (240 bytes of 256, say, not 264 of 320).
                    few.reserve_exact(2 - few.len() % 2);
                }
                few.insert(at, stretch);
            }
            Stretches::Few(few) => {
                let mut many = Sorted::default();
                few.iter().for_each(|stretch| many.insert(stretch.place(), *stretch));
                many.insert(stretch.place(), stretch);
                *self = Stretches::Many(many.into());
            }
            Stretches::Many(many) => many.insert(stretch.place(), stretch),
        }
    }

    fn remove(&mut self, place: (Priority, JobId)) {
        match self {
            Stretches::Few(few) => {
                let at = few.partition_point(|other| other.place() < place);
                if few.get(at).is_some_and(|found| found.place() == place) {
                    few.remove(at);
                }
            }
            Stretches::Many(many) => {
                many.remove(place);
                if many.len() < FEW / 4 {
                    *self = Stretches::Few(many.iter().map(|(_, stretch)| *stretch).collect());
                }
            }
        }
    }

    /// The last one up to a place, that one included.
    fn last_to_mut(&mut self, place: (Priority, JobId)) -> Option<&mut Stretch> {
        match self {
            Stretches::Few(few) => {
                let end = few.partition_point(|other| other.place() <= place);
                few[..end].last_mut()
            }
            Stretches::Many(many) => many.last_to_mut(place).map(|(_, stretch)| stretch),
        }
    }

    fn first(&self) -> Option<&Stretch> {
        match self {
            Stretches::Few(few) => few.first(),
            Stretches::Many(many) => many.first().map(|(_, stretch)| stretch),
        }
    }

    fn last(&self) -> Option<&Stretch> {
        match self {
            Stretches::Few(few) => few.last(),
            // It is somewhere else.
            Stretches::Many(_) => None,
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Stretch> {
        let (few, many) = match self {
            Stretches::Few(few) => (Some(few), None),
            Stretches::Many(many) => (None, Some(many)),
        };
        let many = many.into_iter().flat_map(|many| many.iter().map(|(_, stretch)| stretch));
        few.into_iter().flatten().chain(many)
    }
}

/// The jobs of one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    ready: Stretches,
    leased: u64,
}

impl Lane {
    /// Whether nothing is known of the key.
    pub(super) fn is_empty(&self) -> bool {
        self.leased == 0 && self.head().is_none()
    }

    /// How many jobs are leased.
    pub(super) fn leased(&self) -> u64 {
        self.leased
    }

    /// So many more are leased.
    pub(super) fn lease(&mut self, jobs: u64) {
        self.leased += jobs;
    }

    /// So many are not leased any more.
    pub(super) fn unlease(&mut self, jobs: u64) {
        self.leased = self.leased.checked_sub(jobs).expect("a lease ends only where it was counted");
    }

    /// A number that depends on what is first and what is last in it, of which no more is wanted than that both were looked at.
    pub(super) fn ends(&self) -> u64 {
        let ends = self.ready.first().into_iter().chain(self.ready.last());
        ends.fold(self.leased, |all, stretch| all ^ stretch.first.0)
    }

    /// The first job that is ready.
    pub(super) fn head(&self) -> Option<Head> {
        let Stretch { priority, first: id, tried, .. } = *self.ready.first()?;
        Some(Head { priority, id, tried })
    }

    /// The one behind it.
    pub(super) fn second(&self) -> Option<Head> {
        let mut stretches = self.ready.iter();
        let Stretch { priority, len, first, tried } = *stretches.next()?;
        if len > 1 {
            return Some(Head { priority, id: first.plus(1), tried });
        }
        let Stretch { priority, first: id, tried, .. } = *stretches.next()?;
        Some(Head { priority, id, tried })
    }

    /// Jobs are ready. `tried` is as of [`Head`].
    pub(super) fn insert(&mut self, priority: Priority, mut range: IdRange, tried: Time) {
        while range.len > u64::from(u32::MAX) {
            let part = IdRange::new(range.first, u64::from(u32::MAX));
            range = IdRange::new(part.end(), range.len - part.len);
            self.insert(priority, part, tried);
        }
        // Neighbours that are alike are one: so are the jobs themselves, and they leave together.
        let mut new = Stretch { priority, len: range.len as u32, first: range.first, tried }; // at most u32::MAX, see above
        if let Some(next) = self.ready.last_to_mut((priority, range.end())).copied()
            && new.goes_on_with(&next)
        {
            new.len += next.len;
            self.ready.remove(next.place());
        }
        match self.ready.last_to_mut(new.place()) {
            Some(before) if before.goes_on_with(&new) => before.len += new.len,
            _ => self.ready.insert(new),
        }
    }

    /// They are not ready any more.
    pub(super) fn remove(&mut self, priority: Priority, range: IdRange) {
        let (mut from, to) = (range.first, range.end());
        while from < to {
            let found = self.ready.last_to_mut((priority, from)).filter(|found| found.priority == priority);
            let Some(found) = found.filter(|found| from < found.range().end()) else {
                return debug_assert!(false, "{range:?} is not there");
            };
            let (whole, end) = (*found, found.range().end());
            match (from.0 - whole.first.0) as u32 {
                0 => self.ready.remove(whole.place()),
                before => found.len = before,
            }
            from = end.min(to);
            if from < end {
                let len = (end.0 - from.0) as u32; // a part of the stretch
                self.ready.insert(Stretch { len, first: from, ..whole });
            }
        }
    }

    /// How many that are ready go before one of this priority and id.
    pub(super) fn ahead(&self, priority: Priority, id: JobId) -> u64 {
        let before = self.ready.iter().take_while(|stretch| stretch.place() < (priority, id));
        let jobs = |stretch: &Stretch| match stretch.priority == priority {
            true => u64::from(stretch.len).min(id.0 - stretch.first.0),
            false => u64::from(stretch.len),
        };
        before.map(jobs).sum()
    }

    /// All that are ready, with their priority and when they were tried, in the order in which they go.
    pub(super) fn ready(&self) -> impl Iterator<Item = (Priority, IdRange, Time)> {
        self.ready.iter().map(|stretch| (stretch.priority, stretch.range(), stretch.tried))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_lane_is_a_set_of_jobs_in_their_order(
            steps in prop::collection::vec((any::<bool>(), 0u32..3, 1u64..300, 1u64..40, 0u64..2, any::<bool>()), 0..60),
        ) {
            let (mut lane, mut model) = (Lane::default(), BTreeMap::new());
            for (insert, priority, first, len, tried, every_other) in steps {
                let priority = Priority(priority);
                let ids = IdRange::new(JobId(first), len).iter().filter(|id| !every_other || id.0 % 2 == 0);
                for id in ids {
                    // As the state does: only what is not there comes in, and only what is there goes.
                    if insert && !model.contains_key(&(priority, id)) {
                        lane.insert(priority, id.into(), Time(tried));
                        model.insert((priority, id), Time(tried));
                    } else if !insert && model.remove(&(priority, id)).is_some() {
                        lane.remove(priority, id.into());
                    }
                }
                let flat = lane.ready().flat_map(|(priority, range, tried)| {
                    range.iter().map(move |id| ((priority, id), tried))
                });
                prop_assert!(flat.eq(model.iter().map(|(place, tried)| (*place, *tried))));
                let head = lane.head().map(|head| ((head.priority, head.id), head.tried));
                prop_assert_eq!(head, model.first_key_value().map(|(place, tried)| (*place, *tried)));
                let second = lane.second().map(|head| ((head.priority, head.id), head.tried));
                prop_assert_eq!(second, model.iter().nth(1).map(|(place, tried)| (*place, *tried)));
                let place = (priority, JobId(first));
                prop_assert_eq!(lane.ahead(priority, place.1), model.range(..place).count() as u64);
                let parts: Vec<_> = lane.ready().collect();
                prop_assert!(parts.windows(2).all(|pair| {
                    let [(priority, range, tried), (next_priority, next, next_tried)] = [pair[0], pair[1]];
                    (priority, tried, range.end()) != (next_priority, next_tried, next.first)
                }), "neighbours that are alike are one");
            }
        }
    }

    #[test]
    fn more_than_a_number_of_32_bits_counts_are_a_few_stretches() {
        let mut lane = Lane::default();
        let all = IdRange::new(JobId(1), 1 << 33);
        lane.insert(Priority(0), all, Time::NEVER);
        assert_eq!((lane.ready().count(), lane.ahead(Priority(0), all.end())), (3, all.len));
        lane.remove(Priority(0), IdRange::new(JobId(5), all.len - 4));
        assert_eq!(lane.ready().map(|(_, range, _)| range).collect::<Vec<_>>(), [IdRange::new(JobId(1), 4)]);
    }
}
