//! A sum over all rows of jobs and queues, kept beside them: sled passes over a part of its file that is damaged, and
//! gives back older rows, or none, as if nothing had happened. While a checkpoint is under way rows are ahead of the
//! sum, which says so; a start after that has only sled's own checksums and the log's numbers to go by.

use super::HomeError;
use crate::store::CommitNo;
use crate::store::codec::{LiveBytes, MetaRow, SumRow};
use sled::Tree;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

const KEY: &[u8] = b"sum";

/// The running sum. One thread writes rows, so the order of these numbers matters to nobody.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sum: AtomicU64,
    open: AtomicBool,
}

impl Tally {
    /// Adds up what is there, and compares it with what the last whole checkpoint has left. Also gives what that said of
    /// how much lives.
    pub(super) fn check(
        path: &Path,
        trees: [&Tree; 2],
        meta: &Tree,
    ) -> Result<(Tally, LiveBytes), HomeError> {
        let mut sum = 0u64;
        for row in trees.into_iter().flat_map(Tree::iter) {
            let (key, row) = row?;
            sum = sum.wrapping_add(weight(&key, &row));
        }
        let damaged = |error| HomeError::damaged("meta", KEY, error);
        let left = meta.get(KEY)?.map(|row| SumRow::decode(&row)).transpose().map_err(damaged)?;
        let state = meta.get(super::STATE)?.map(|row| MetaRow::decode(&row)).transpose().map_err(damaged)?;
        let home = state.map_or(CommitNo(0), |state| state.home);
        match left {
            Some(left) if !left.open && left.home == home && left.sum != sum => {
                Err(HomeError::Incomplete { path: path.to_owned(), home })
            }
            left => {
                let open = left.is_some_and(|left| left.open);
                // Nobody knows how far a checkpoint has come that was cut off: what lives is counted again then.
                let live = left.filter(|_| !open).map(|left| left.live).unwrap_or_default();
                Ok((Tally { sum: AtomicU64::new(sum), open: AtomicBool::new(open) }, live))
            }
        }
    }

    /// Must go before the first row of a checkpoint, of blobs too.
    pub(super) fn begin(&self, meta: &Tree) -> Result<(), HomeError> {
        if !self.open.swap(true, Relaxed) {
            let live = LiveBytes::default();
            meta.insert(KEY, SumRow { home: CommitNo(0), sum: 0, open: true, live }.encode())?;
        }
        Ok(())
    }

    #[cfg(any(test, feature = "cluster"))]
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// A row has replaced another.
    pub(super) fn count(&self, key: &[u8], before: Option<&[u8]>, after: Option<&[u8]>) {
        let weigh = |row: Option<&[u8]>| row.map_or(0, |row| weight(key, row));
        self.sum.fetch_add(weigh(after).wrapping_sub(weigh(before)), Relaxed);
    }

    /// Must go before the row that ends the checkpoint.
    pub(super) fn end(&self, meta: &Tree, home: CommitNo, live: LiveBytes) -> Result<(), HomeError> {
        meta.insert(KEY, SumRow { home, sum: self.sum.load(Relaxed), open: false, live }.encode())?;
        self.open.store(false, Relaxed);
        Ok(())
    }
}

/// Two checksums, mixed (splitmix64) so that sums of many say something. Rows of both trees count alike: their keys
/// differ.
pub(super) fn weight(key: &[u8], row: &[u8]) -> u64 {
    let key = crc32c::crc32c(key);
    let z = u64::from(key) << 32 | u64::from(crc32c::crc32c_append(key, row));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
