//! Ids in the order of something that they have in common: of what is due, the time; of what a connection holds, the
//! connection. Consecutive ids with the same key are one entry.

use super::ids::{IdRange, JobId};
use super::sorted::Sorted;

/// A set of ids, each with one key: (key, first id) → length. Ranges of a key never touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Keyed<K> {
    ranges: Sorted<(K, JobId), u64>,
    len: u64,
}

impl<K: Ord> Default for Keyed<K> {
    fn default() -> Keyed<K> {
        Keyed { ranges: Sorted::default(), len: 0 }
    }
}

impl<K: Ord + Copy> Keyed<K> {
    /// Adds ids that are not there with this key.
    pub(super) fn insert(&mut self, key: K, range: IdRange) {
        self.len += range.len;
        let mut len = range.len;
        if let Some(next) = self.ranges.remove((key, range.end())) {
            len += next;
        }
        if let Some(((before_key, before), before_len)) = self.ranges.last_to_mut((key, range.first))
            && before_key == key
            && before.plus(*before_len) == range.first
        {
            *before_len += len;
            return;
        }
        self.ranges.insert((key, range.first), len);
    }

    /// Takes ids out that are there with this key.
    pub(super) fn remove(&mut self, key: K, range: IdRange) {
        let Some(((found_key, first), &len)) = self.ranges.last_to((key, range.first)) else {
            return debug_assert!(false, "{range:?} is not there");
        };
        let end = first.plus(len);
        debug_assert!(found_key == key && range.end() <= end, "{range:?} is not there");
        self.len -= range.len;
        if first == range.first {
            self.ranges.remove((key, first));
        } else if let Some((_, len)) = self.ranges.last_to_mut((key, first)) {
            *len = range.first.0 - first.0;
        }
        if range.end() < end {
            self.ranges.insert((key, range.end()), end.0 - range.end().0);
        }
    }

    /// How many ids.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// All of them, by their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, IdRange)> + '_ {
        self.ranges.iter().map(|((key, first), len)| (key, IdRange::new(first, *len)))
    }

    /// Those with this key.
    pub(super) fn of(&self, key: K) -> impl Iterator<Item = IdRange> + '_ {
        let rest = self.ranges.from((key, JobId(0)));
        rest.take_while(move |((found, _), _)| *found == key)
            .map(|((_, first), len)| IdRange::new(first, *len))
    }

    /// The smallest key.
    pub(super) fn first_key(&self) -> Option<K> {
        self.ranges.first().map(|((key, _), _)| key)
    }

    /// The smallest key that is not below this one.
    pub(super) fn key_from(&self, key: K) -> Option<K> {
        self.ranges.from((key, JobId(0))).next().map(|((key, _), _)| key)
    }

    /// How many come before this id with this key.
    pub(super) fn rank(&self, key: K, id: JobId) -> u64 {
        let before = self.ranges.iter().take_while(|(found, _)| *found < (key, id));
        before.map(|((found, first), len)| if found == key { (*len).min(id.0 - first.0) } else { *len }).sum()
    }
}

/// Neighbours that come one after the other and have the same key, as one range: an index is then changed once for all of them.
#[derive(Debug)]
pub(super) struct Together<K>(Option<(K, IdRange)>);

impl<K> Default for Together<K> {
    fn default() -> Together<K> {
        Together(None)
    }
}

impl<K: PartialEq> Together<K> {
    /// Takes the next ones; those before them go to `change`, unless these are more of them.
    pub(super) fn push(&mut self, key: K, range: IdRange, change: impl FnOnce(K, IdRange)) {
        match &mut self.0 {
            Some((known, before)) if *known == key && before.end() == range.first => before.len += range.len,
            last => {
                if let Some((key, range)) = last.replace((key, range)) {
                    change(key, range);
                }
            }
        }
    }

    /// There are no more.
    pub(super) fn end(self, change: impl FnOnce(K, IdRange)) {
        if let Some((key, range)) = self.0 {
            change(key, range);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set_of_keys_and_ids(steps in prop::collection::vec((any::<bool>(), 0u8..3, 1u64..30, 1u64..9), 0..60)) {
            let (mut keyed, mut model) = (Keyed::default(), BTreeSet::new());
            for (insert, key, first, len) in steps {
                for id in IdRange::new(JobId(first), len).iter() {
                    // As the state does: only what is not there comes in, and only what is there goes.
                    if insert && model.insert((key, id)) {
                        keyed.insert(key, id.into());
                    } else if !insert && model.remove(&(key, id)) {
                        keyed.remove(key, id.into());
                    }
                }
                let flat: Vec<_> = keyed.iter().flat_map(|(key, range)| range.iter().map(move |id| (key, id))).collect();
                prop_assert_eq!(&flat, &model.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(keyed.len(), model.len() as u64);
                prop_assert_eq!(keyed.first_key(), model.first().map(|(key, _)| *key));
                let of: Vec<_> = keyed.of(key).flat_map(IdRange::iter).collect();
                prop_assert_eq!(of, model.iter().filter(|(of, _)| *of == key).map(|(_, id)| *id).collect::<Vec<_>>());
                prop_assert_eq!(keyed.rank(key, JobId(first)), model.range(..(key, JobId(first))).count() as u64);
                let list: Vec<_> = keyed.iter().collect();
                prop_assert!(list.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1.end() < pair[1].1.first));
            }
        }

        #[test]
        fn ranges_come_and_go_as_their_ids_do(parts in prop::collection::vec((1u64..9, any::<bool>()), 1..12)) {
            let (mut keyed, mut first, total) = (Keyed::default(), 1, parts.iter().map(|(len, _)| len).sum::<u64>());
            keyed.insert(0, IdRange::new(JobId(1), total));
            let mut left = Vec::new();
            for (len, goes) in parts {
                let range = IdRange::new(JobId(first), len);
                if goes { keyed.remove(0, range) } else { left.extend(range.iter()) }
                first += len;
            }
            prop_assert_eq!(keyed.of(0).flat_map(IdRange::iter).collect::<Vec<_>>(), left);
        }
    }
}
