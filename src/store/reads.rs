//! Blobs of many jobs, read on another thread while the store goes on. Knows the home and what is in the log only; not
//! who asks.

use super::blob::Blob;
use super::codec::{BLOCK, block_of, block_range};
use super::error::BlobError;
use super::home::RowReader;
use super::recent::{Neighbours, RecentBlobs};
use crate::core::JobId;
use bytes::Bytes;
use std::collections::BTreeMap;

/// What must be read to get them.
#[derive(Debug)]
pub struct BlobReads {
    kind: Blob,
    /// By block: one bit a job.
    wanted: BTreeMap<u64, u64>,
    /// Those that nobody has to read.
    here: BTreeMap<JobId, Bytes>,
    in_log: Vec<Neighbours>,
    home: Box<dyn RowReader>,
}

impl BlobReads {
    pub(super) fn new(
        kind: Blob,
        ids: Vec<JobId>,
        recent: &RecentBlobs,
        home: Box<dyn RowReader>,
    ) -> BlobReads {
        let mut wanted = BTreeMap::new();
        for id in ids {
            *wanted.entry(block_of(id)).or_insert(0) |= 1 << (id.0 % BLOCK);
        }
        let in_log = wanted.iter().flat_map(|(block, mask)| recent.of_block(*block, *mask)).collect();
        BlobReads { kind, wanted, here: BTreeMap::new(), in_log, home }
    }

    /// Adds some that are not in the store yet.
    pub(crate) fn with(mut self, new: impl IntoIterator<Item = (JobId, Bytes)>) -> BlobReads {
        self.here.extend(new);
        self
    }

    /// Reads them. Without those that there are none of (any more), and those that cannot be read, of which it tells.
    pub fn read(self, mut on_error: impl FnMut(BlobError)) -> BTreeMap<JobId, Bytes> {
        let mut found = self.here;
        for neighbours in &self.in_log {
            // What was in the log only may have come home meanwhile, and the log be written over.
            found.extend(neighbours.read().unwrap_or_default());
        }
        for (block, mask) in &self.wanted {
            for id in block_range(*block).iter().filter(|id| mask >> (id.0 % BLOCK) & 1 == 1) {
                if !found.contains_key(&id) {
                    match self.home.blobs(self.kind, id) {
                        Ok(row) => found.extend(row),
                        Err(error) => on_error(error.about(self.kind, id)),
                    }
                }
            }
        }
        found
    }
}
