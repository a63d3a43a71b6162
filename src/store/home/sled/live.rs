//! How many bytes of rows live in the database: counted once, then kept up to date with each row that is written or
//! removed, and saved with each checkpoint. A count that takes too long is stopped, and its result is a lower bound
//! from then on: so a long queue is not read again and again for nothing.

use super::HomeError;
use crate::store::codec::LiveBytes;
use sled::Tree;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// What a row costs besides its key and its value, about.
const ROW: u64 = 32;

/// One thread writes rows at a time, so the order of these numbers matters to nobody.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// At least this many bytes: all of them if `is_exact`.
    bytes: AtomicU64,
    is_exact: AtomicBool,
}

impl Live {
    /// As it was known when the database was open last.
    pub(super) fn restore(&self, known: LiveBytes) {
        self.bytes.store(known.bytes, Relaxed);
        self.is_exact.store(known.is_exact, Relaxed);
    }

    /// What is known.
    pub(super) fn known(&self) -> LiveBytes {
        LiveBytes { bytes: self.bytes.load(Relaxed), is_exact: self.is_exact.load(Relaxed) }
    }

    /// A row has replaced another.
    pub(super) fn count(&self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        let size = |row: Option<&[u8]>| row.map_or(0, |row| size(key, row));
        let bytes = self.bytes.load(Relaxed) + size(after);
        // Of a lower bound more may go than was counted.
        self.bytes.store(bytes.saturating_sub(size(before)), Relaxed);
    }

    /// How much lives, if it is known to be no more than `limit`. Counts if it has to, which reads that much; again
    /// only when half of what was counted has gone.
    pub(super) fn within(&self, limit: u64, trees: &[&Tree]) -> Result<Option<u64>, HomeError> {
        let known = self.bytes.load(Relaxed);
        if self.is_exact.load(Relaxed) {
            return Ok((known <= limit).then_some(known));
        }
        if known > limit / 2 {
            return Ok(None);
        }
        let mut bytes = 0;
        for row in trees.iter().flat_map(|tree| tree.iter()) {
            let (key, row) = row?;
            bytes += size(&key, &row);
            if bytes > limit {
                self.bytes.store(bytes, Relaxed);
                return Ok(None);
            }
        }
        self.bytes.store(bytes, Relaxed);
        self.is_exact.store(true, Relaxed);
        Ok(Some(bytes))
    }
}

fn size(key: &[u8], row: &[u8]) -> u64 {
    (key.len() + row.len()) as u64 + ROW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_was_broken_off_goes_on_from_a_lower_bound() {
        let dir = tempfile::tempdir().unwrap();
        let db = sled::Config::new().path(dir.path()).flush_every_ms(None).open().unwrap();
        let (live, row) = (Live::default(), vec![0; 1000 - ROW as usize - 4]);
        let put = |n: u32| drop(db.insert(n.to_be_bytes(), row.as_slice()).unwrap());
        let take = |n: u32| {
            let gone = db.remove(n.to_be_bytes()).unwrap();
            live.count(&n.to_be_bytes(), gone.as_deref(), None);
        };
        (0..100).for_each(put);
        assert_eq!(live.within(10_000, &[&db]).unwrap(), None);
        (0..5).for_each(take);
        assert_eq!(live.bytes.load(Relaxed), 6000, "broken off at the first row too many");
        assert_eq!(live.within(10_000, &[&db]).unwrap(), None);
        assert_eq!(live.bytes.load(Relaxed), 6000, "not counted again so soon");
        (5..95).for_each(take);
        assert_eq!(live.within(10_000, &[&db]).unwrap(), Some(5000));
        put(200);
        live.count(&[0; 4], None, Some(&row));
        assert_eq!(live.within(10_000, &[&db]).unwrap(), Some(6000), "kept up to date");
        assert_eq!(live.within(5999, &[&db]).unwrap(), None);
    }
}
