//! Who holds which unique key of a queue. It is an index over the jobs: which of them hold a key, and until when, follows from
//! each job alone, so there is nothing that a crash could leak. It has ids and a part of the hashes of their keys; the rest is looked
//! up at the jobs, so that a million keys take little. What a conflict comes to is decided elsewhere.

use super::ids::JobId;
use super::job::{Job, Key};
use super::time::Time;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;

/// The jobs of a queue that hold a unique key, or held one until a time that may be over.
#[derive(Clone, Debug, Default)]
pub(super) struct UniqueKeys(HashTable<Holder>);

/// A job that holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    /// Of its key.
    hash: u32,
    /// The two halves of its id: so an entry takes no more room than is in it.
    id: [u32; 2],
}

const _: () = assert!(size_of::<Holder>() == 12);

/// Smaller tables never give room back.
const SMALL: usize = 1 << 10;

impl Holder {
    fn new(key: Key, id: JobId) -> Holder {
        let hash = FxBuildHasher.hash_one(key);
        Holder { hash: (hash ^ (hash >> 32)) as u32, id: [(id.0 >> 32) as u32, id.0 as u32] }
    }

    fn id(&self) -> JobId {
        JobId(u64::from(self.id[0]) << 32 | u64::from(self.id[1]))
    }

    /// What the table goes by: it takes the first bits and the last ones.
    fn table_hash(&self) -> u64 {
        u64::from(self.hash) << 32 | u64::from(self.hash)
    }
}

impl UniqueKeys {
    /// Whether nobody holds any.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A job holds a key.
    pub(super) fn insert(&mut self, key: Key, id: JobId) {
        let holder = Holder::new(key, id);
        self.0.insert_unique(holder.table_hash(), holder, Holder::table_hash);
    }

    /// It does not any more.
    pub(super) fn remove(&mut self, key: Key, id: JobId) {
        let holder = Holder::new(key, id);
        let Ok(found) = self.0.find_entry(holder.table_hash(), |other| *other == holder) else {
            return debug_assert!(false, "job {id} holds {key:?}");
        };
        found.remove();
        if self.0.capacity() > SMALL.max(self.0.len() * 8) {
            self.0.shrink_to(self.0.len() * 2, Holder::table_hash);
        }
    }

    /// The job that holds a key now: of several, the one whose time ends last; one that has not ended holds it for ever.
    pub(super) fn holder<'a>(
        &self,
        key: Key,
        now: Time,
        job: impl Fn(JobId) -> Option<&'a Job>,
    ) -> Option<JobId> {
        let wanted = Holder::new(key, JobId(0));
        let alike = self.0.iter_hash(wanted.table_hash()).filter(|other| other.hash == wanted.hash);
        let holders = alike.filter_map(|holder| {
            let job = job(holder.id()).filter(|job| job.spec.unique == Some(key))?;
            Some((job.holds_unique_until()?, holder.id()))
        });
        holders.max().filter(|(until, _)| *until > now).map(|(_, id)| id)
    }

    /// The ids of those that hold one, in no order: for the check of the invariants.
    pub(super) fn ids(&self) -> impl Iterator<Item = JobId> {
        self.0.iter().map(Holder::id)
    }
}
