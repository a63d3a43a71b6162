//! A sorted map in vectors of some dozens of entries. A tree of small nodes is half empty after entries have come in their
//! order, as those of new jobs do; here they fill one vector after the other, and a job that is like no other takes half
//! the memory. Knows nothing of what is in it.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::ops::Bound;

/// The most entries of a vector. Half of them are moved where one comes in between: a few kilobytes.
const FULL: usize = 64;

/// Fewer than so many join their neighbours.
const FEW: usize = FULL / 4;

/// A vector grows by so many entries: not by as many again, of which most would stay free.
const STEP: usize = 8;

/// Makes room for one more.
fn make_room<T>(chunk: &mut Vec<T>) {
    if chunk.len() == chunk.capacity() {
        chunk.reserve_exact(STEP);
    }
}

/// The map.
#[derive(Clone, Debug)]
pub(super) struct Sorted<K, V> {
    /// Each under a key that is not greater than its first, and greater than those of all before it. None is empty.
    chunks: BTreeMap<K, Vec<(K, V)>>,
    len: usize,
}

impl<K: Ord, V> Default for Sorted<K, V> {
    fn default() -> Sorted<K, V> {
        Sorted { chunks: BTreeMap::new(), len: 0 }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Sorted<K, V> {
    fn eq(&self, other: &Sorted<K, V>) -> bool {
        self.len == other.len && self.chunks.values().flatten().eq(other.chunks.values().flatten())
    }
}

impl<K: Eq, V: Eq> Eq for Sorted<K, V> {}

impl<K: Ord + Copy, V> Sorted<K, V> {
    /// How many entries.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an entry whose key is not there.
    pub(super) fn insert(&mut self, key: K, value: V) {
        self.len += 1;
        let Some((_, chunk)) = self.chunks.range_mut(..=key).next_back() else {
            return self.insert_first(key, value);
        };
        let at = chunk.partition_point(|(other, _)| *other < key);
        debug_assert!(chunk.get(at).is_none_or(|(other, _)| *other != key), "it is there already");
        if chunk.len() < FULL {
            make_room(chunk);
            return chunk.insert(at, (key, value));
        }
        // What comes in order leaves full ones behind.
        let mut right = if at == FULL { Vec::new() } else { chunk.split_off(FULL / 2) };
        chunk.shrink_to(if right.is_empty() { FULL } else { FULL / 2 + STEP });
        make_room(&mut right);
        match at.checked_sub(FULL / 2) {
            Some(at) if !right.is_empty() => right.insert(at, (key, value)),
            Some(_) => right.push((key, value)),
            None => chunk.insert(at, (key, value)),
        }
        self.chunks.insert(right[0].0, right);
    }

    /// The same for a key that is smaller than all.
    fn insert_first(&mut self, key: K, value: V) {
        match self.chunks.pop_first() {
            Some((_, mut chunk)) if chunk.len() < FULL => {
                make_room(&mut chunk);
                chunk.insert(0, (key, value));
                self.chunks.insert(key, chunk);
            }
            Some((first, chunk)) => {
                self.chunks.insert(first, chunk);
                self.chunks.insert(key, vec![(key, value)]);
            }
            None => drop(self.chunks.insert(key, vec![(key, value)])),
        }
    }

    /// Adds entries in their order; no key is there that is one of theirs, or between them.
    pub(super) fn insert_all(&mut self, entries: impl ExactSizeIterator<Item = (K, V)>) {
        let mut entries = entries.peekable();
        while let Some((first, value)) = entries.next() {
            self.insert(first, value);
            if entries.len() > 0 {
                self.insert_behind(first, &mut entries);
            }
        }
    }

    /// Adds those that belong into the vector in which this key is, behind it.
    fn insert_behind(&mut self, key: K, entries: &mut Peekable<impl ExactSizeIterator<Item = (K, V)>>) {
        let (&under, chunk) = self.chunks.range_mut(..=key).next_back().expect("the caller has put it in");
        let at = chunk.partition_point(|(other, _)| *other <= key);
        let (mut right, mut under, mut full) = (chunk.split_off(at), under, std::mem::take(chunk));
        // The next vector may be under a key that is smaller than its first.
        let next = self.chunks.range((Bound::Excluded(key), Bound::Unbounded)).next().map(|(next, _)| *next);
        while let Some(entry) = entries.next_if(|(key, _)| next.is_none_or(|next| *key < next)) {
            self.len += 1;
            if full.len() == FULL {
                self.chunks.insert(under, std::mem::take(&mut full));
                under = entry.0;
            }
            if full.len() == full.capacity() {
                full.reserve_exact((entries.len() + 1).min(FULL - full.len()));
            }
            full.push(entry);
        }
        if full.len() + right.len() <= FULL {
            full.reserve_exact(right.len());
            full.append(&mut right);
        }
        self.chunks.insert(under, full);
        if let Some((first, _)) = right.first() {
            self.chunks.insert(*first, right);
        }
    }

    /// Takes all entries out whose keys are in a range, in their order.
    pub(super) fn take(&mut self, keys: std::ops::Range<K>, mut taken: impl FnMut(K, V)) {
        let Some((&first, _)) =
            self.chunks.range(..=keys.start).next_back().or(self.chunks.first_key_value())
        else {
            return;
        };
        let mut few: Vec<K> = Vec::new();
        for (under, chunk) in self.chunks.range_mut(first..).take_while(|(under, _)| **under < keys.end) {
            let from = chunk.partition_point(|(other, _)| *other < keys.start);
            let to = chunk.partition_point(|(other, _)| *other < keys.end).max(from);
            self.len -= to - from;
            chunk.drain(from..to).for_each(|(key, value)| taken(key, value));
            if chunk.len() < FEW && to > from {
                few.push(*under);
            }
        }
        // From behind: one that is joined is behind the one that it joins.
        few.into_iter().rev().for_each(|under| self.join(under));
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let (&under, chunk) = self.chunks.range_mut(..=key).next_back()?;
        let at = chunk.binary_search_by(|(other, _)| other.cmp(&key)).ok()?;
        let (_, value) = chunk.remove(at);
        self.len -= 1;
        if chunk.len() < FEW {
            self.join(under);
        }
        Some(value)
    }

    /// A vector has few entries: those of the next one join them, if they are not many together.
    fn join(&mut self, under: K) {
        let after = self.chunks.range((Bound::Excluded(under), Bound::Unbounded)).next();
        let after = after.map(|(key, chunk)| (*key, chunk.len()));
        let chunk = self.chunks.get_mut(&under).expect("the caller found it");
        if chunk.is_empty() {
            self.chunks.remove(&under);
        } else if let Some((next, more)) = after
            && chunk.len() + more <= FULL / 2
        {
            let mut moved = self.chunks.remove(&next).unwrap_or_default();
            let chunk = self.chunks.get_mut(&under).expect("the caller found it");
            chunk.append(&mut moved);
        } else if chunk.capacity() > 4 * FEW.min(chunk.len() + 1) {
            chunk.shrink_to(2 * chunk.len());
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.last_to(key).filter(|(found, _)| *found == key).map(|(_, value)| value)
    }

    /// The last entry up to a key, that one included; its value may be changed.
    pub(super) fn last_to_mut(&mut self, key: K) -> Option<(K, &mut V)> {
        self.chunks.range_mut(..=key).rev().find_map(|(_, chunk)| {
            let end = chunk.partition_point(|(other, _)| *other <= key);
            chunk[..end].last_mut().map(|(found, value)| (*found, value))
        })
    }

    /// The same, to be looked at.
    pub(super) fn last_to(&self, key: K) -> Option<(K, &V)> {
        // The first entry of a vector may be greater than the key that it is under; then it is the one before.
        self.chunks.range(..=key).rev().find_map(|(_, chunk)| {
            let end = chunk.partition_point(|(other, _)| *other <= key);
            chunk[..end].last().map(|(found, value)| (*found, value))
        })
    }

    /// The first entry.
    pub(super) fn first(&self) -> Option<(K, &V)> {
        self.chunks.first_key_value().map(|(_, chunk)| (chunk[0].0, &chunk[0].1))
    }

    /// How many entries are before a key.
    pub(super) fn rank(&self, key: K) -> usize {
        let mut before = self.chunks.range(..=key).rev().map(|(_, chunk)| chunk);
        let last = before.next().map_or(0, |chunk| chunk.partition_point(|(other, _)| *other < key));
        last + before.map(Vec::len).sum::<usize>()
    }

    /// All entries, in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &V)> {
        self.chunks.values().flatten().map(|(key, value)| (*key, value))
    }

    /// The entries from a key on, in order.
    pub(super) fn from(&self, key: K) -> impl DoubleEndedIterator<Item = (K, &V)> {
        let begin = self.chunks.range(..=key).next_back().map_or(key, |(under, _)| *under);
        self.chunks.range(begin..).flat_map(move |(_, chunk)| {
            let from = chunk.partition_point(|(other, _)| *other < key);
            chunk[from..].iter().map(|(key, value)| (*key, value))
        })
    }

    /// Those of them that are before another key.
    pub(super) fn range(&self, keys: std::ops::Range<K>) -> impl DoubleEndedIterator<Item = (K, &V)> {
        let begin = self.chunks.range(..=keys.start).next_back().map_or(keys.start, |(under, _)| *under);
        let chunks = (begin < keys.end).then(|| self.chunks.range(begin..keys.end));
        chunks.into_iter().flatten().flat_map(move |(_, chunk)| {
            let from = chunk.partition_point(|(other, _)| *other < keys.start);
            let to = chunk.partition_point(|(other, _)| *other < keys.end);
            chunk[from..to.max(from)].iter().map(|(key, value)| (*key, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(map: &Sorted<u32, u32>, model: &BTreeMap<u32, u32>) -> Result<(), TestCaseError> {
        prop_assert_eq!(map.len(), model.len());
        let all = |entries: Vec<(u32, &u32)>| entries.into_iter().map(|(k, v)| (k, *v)).collect::<Vec<_>>();
        let wanted: Vec<_> = model.iter().map(|(key, value)| (*key, *value)).collect();
        prop_assert_eq!(all(map.iter().collect()), wanted);
        prop_assert_eq!(map.first().map(|(key, _)| key), model.first_key_value().map(|(key, _)| *key));
        let mut before: Option<u32> = None;
        for (under, chunk) in &map.chunks {
            prop_assert!(!chunk.is_empty() && chunk.len() <= FULL && *under <= chunk[0].0);
            prop_assert!(before.is_none_or(|before| before < *under));
            before = chunk.last().map(|(key, _)| *key);
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u8..6, 0u32..600, 1u32..90), 1..80)) {
            let (mut map, mut model, mut next) = (Sorted::default(), BTreeMap::new(), 1_000);
            for (what, first, count) in steps {
                if what == 4 {
                    // As many as there is room for before the next one.
                    let end = model.range(first..).next().map_or(u32::MAX, |(key, _)| *key).min(first + count);
                    map.insert_all((first..end).map(|key| (key, key)).collect::<Vec<_>>().into_iter());
                    model.extend((first..end).map(|key| (key, key)));
                }
                if what == 5 {
                    let mut taken = Vec::new();
                    map.take(first..first + count, |key, value| taken.push((key, value)));
                    prop_assert!(taken.into_iter().eq(model.extract_if(first..first + count, |_, _| true)));
                }
                for key in first..first + count {
                    match what {
                        0 => {
                            map.insert(next, key);
                            model.insert(next, key);
                            next += 1;
                        }
                        1 if !model.contains_key(&key) => {
                            map.insert(key, next);
                            model.insert(key, next);
                        }
                        4 | 5 => {}
                        1 => *map.last_to_mut(key).unwrap().1 = *model.entry(key).and_modify(|value| *value += 1).or_default(),
                        _ => prop_assert_eq!(map.remove(key), model.remove(&key)),
                    }
                }
                check(&map, &model)?;
                let end = first + count;
                prop_assert_eq!(map.get(first), model.get(&first));
                prop_assert_eq!(map.last_to(end), model.range(..=end).next_back().map(|(key, value)| (*key, value)));
                let pairs = |(key, value): (&u32, &u32)| (*key, *value);
                let owned = |(key, value): (u32, &u32)| (key, *value);
                prop_assert!(map.range(first..end).map(owned).eq(model.range(first..end).map(pairs)));
                prop_assert!(map.range(first..end).rev().map(owned).eq(model.range(first..end).rev().map(pairs)));
                prop_assert_eq!(map.rank(end), model.range(..end).count());
                prop_assert!(map.from(end).map(owned).eq(model.range(end..).map(pairs)));
            }
            for key in 0..next {
                prop_assert_eq!(map.remove(key), model.remove(&key));
            }
            prop_assert!(map.chunks.is_empty());
        }
    }

    /// What is left of very many takes no more room than it needs, about.
    #[test]
    fn few_that_are_left_take_little() {
        let mut map = Sorted::default();
        (0..64_000u32).for_each(|key| map.insert(key, ()));
        assert!(map.chunks.len() <= 1_000, "those that come in order leave full vectors behind");
        (0..64_000).filter(|key| key % 64 != 0).for_each(|key| assert!(map.remove(key).is_some()));
        let room: usize = map.chunks.values().map(Vec::capacity).sum();
        assert!(map.len() == 1_000 && room < 8_000, "room for {room} entries");
    }
}
