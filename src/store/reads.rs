//! Blobs of many jobs, read on another thread while the store goes on. Knows the home and what is in the log only; not
//! who asks.

use super::blob::Blob;
use super::codec::{BLOCK, block_of, block_range};
use super::error::BlobError;
use super::home::RowReader;
use super::recent::{Neighbours, Recent};
use crate::core::JobId;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::rc::Rc;

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
    pub(super) fn new(kind: Blob, ids: Vec<JobId>, recent: &Recent, home: Box<dyn RowReader>) -> BlobReads {
        let mut wanted = BTreeMap::new();
        for id in ids {
            *wanted.entry(block_of(id)).or_insert(0) |= 1 << (id.0 % BLOCK);
        }
        let in_log = wanted.iter().flat_map(|(block, mask)| recent.of_block(kind, *block, *mask)).collect();
        BlobReads { kind, wanted, here: BTreeMap::new(), in_log, home }
    }

    /// Adds some that are not in the store yet.
    pub(crate) fn with(mut self, new: impl IntoIterator<Item = (JobId, Bytes)>) -> BlobReads {
        self.here.extend(new);
        self
    }

    /// Reads them. Jobs without a blob are left out, as are those whose blob cannot be read: `on_error` gets the reason.
    pub fn read(self, mut on_error: impl FnMut(BlobError)) -> BTreeMap<JobId, Bytes> {
        let (mut found, mut unread) = (self.here, BTreeMap::new());
        for neighbours in &self.in_log {
            match neighbours.read() {
                Ok(blobs) => found.extend(blobs),
                // They may have reached the home meanwhile, and the log may be overwritten.
                Err(error) => {
                    let error = Rc::new(error);
                    unread.extend(neighbours.ids().map(|id| (id, error.clone())));
                }
            }
        }
        for (block, mask) in &self.wanted {
            for id in block_range(*block).iter().filter(|id| mask >> (id.0 % BLOCK) & 1 == 1) {
                if found.contains_key(&id) {
                    continue;
                }
                match self.home.blobs(self.kind, id) {
                    Ok(row) => found.extend(row),
                    Err(error) => on_error(error.about(self.kind, id)),
                }
                if let Some(error) = unread.get(&id).filter(|_| !found.contains_key(&id)) {
                    on_error(error.about(self.kind, id));
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::IdRange;
    use crate::store::codec::{MetaRow, StampedRow};
    use crate::store::home::HomeError;
    use crate::store::log::Segment;
    use crate::store::recent::Arrivals;
    use crate::store::{Commit, codec};
    use std::io;
    use std::sync::Arc;

    /// A log that was written over, or that the disk does not give back.
    #[derive(Debug)]
    struct Gone;

    impl Segment for Gone {
        fn read_back(&self, _: &mut [u8], _: u64) -> io::Result<()> {
            Err(io::Error::other("the disk does not answer"))
        }
    }

    /// A home that has the envelopes of these jobs.
    #[derive(Debug)]
    struct Has(Vec<JobId>);

    impl RowReader for Has {
        fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
            Ok(None)
        }

        fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
            Ok(Vec::new())
        }

        fn raw_blocks(&self, _: u64, _: usize) -> Result<Vec<(u64, Bytes)>, HomeError> {
            Ok(Vec::new())
        }

        fn blobs(&self, _: Blob, id: JobId) -> Result<Vec<(JobId, Bytes)>, HomeError> {
            Ok(if self.0.contains(&id) { vec![(id, "home".into())] } else { Vec::new() })
        }
    }

    #[test]
    fn what_the_log_does_not_give_back_is_at_home_or_told() {
        let mut recent = Recent::new(0);
        let envelopes = vec![(IdRange::new(JobId(5), 2), Bytes::from_static(b"log"))];
        let commit = Commit { envelopes, ..Commit::default() };
        let mut bytes = Vec::new();
        let places = codec::encode_commit(&commit, &mut bytes);
        let segment: Arc<dyn Segment> = Arc::new(Gone);
        let blobs = codec::CommitBlobs::of(&commit, &bytes, places);
        recent.push_envelopes(&Arrivals { blobs, place: Some((&segment, 0)) });
        let ids = vec![JobId(5), JobId(6), JobId(7)];
        let reads = BlobReads::new(Blob::Envelope, ids, &recent, Box::new(Has(vec![JobId(5)])));
        let mut told = Vec::new();
        let found = reads.with([(JobId(9), "new".into())]).read(|error| told.push(error.to_string()));
        assert_eq!(found, BTreeMap::from([(JobId(5), "home".into()), (JobId(9), "new".into())]));
        assert_eq!(told.len(), 1, "job 7 has none: {told:?}");
        assert!(told[0].contains("envelope of job 6 cannot be read") && told[0].contains("does not answer"));
    }
}
