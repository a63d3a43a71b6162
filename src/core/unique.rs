//! Who holds which unique key of a queue. It is an index over the jobs: which of them hold a key, and until when, follows from
//! each job alone, so there is nothing that a crash could leak. Of live jobs it has ids and a part of the hashes of their keys; the rest
//! is looked up at the jobs, so that a million keys take little. What a conflict comes to is decided elsewhere.

use super::ids::JobId;
use super::job::{Job, Key};
use super::sorted::Sorted;
use super::time::Time;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;
use std::hash::BuildHasher;
use std::hint::black_box;

/// The jobs of a queue that hold a unique key, or held one until a time that may be over.
#[derive(Clone, Debug, Default)]
pub(super) struct UniqueKeys {
    /// Those that have not ended: one of each key, in the part that [`place_of`] says.
    live: [HashTable<Holder>; PARTS.len()],
    /// Those that have, and hold it until then. Many may have held the same one after the other.
    ended: Sorted<(Key, Time, JobId), ()>,
}

/// A live job that holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    /// Of its key.
    hash: u32,
    /// The two halves of its id: so an entry takes no more room than is in it.
    id: [u32; 2],
}

const _: () = assert!(size_of::<Holder>() == 12);

/// The parts of the table, by where each ends among 64 places. A table that has just grown is half empty, and was put in anew at once.
/// These are larger by a fourth part of that step each, so that they grow one after the other: together they take much the same
/// room whatever is in them, and none grows for long.
const PARTS: [u64; 4] = [12, 26, 43, 64];

/// Smaller tables never give room back.
const SMALL: usize = 1 << 10;

/// A job as the holder of a key, and in which part of the table it is.
fn place_of(key: Key, id: JobId) -> (usize, Holder) {
    let hash = FxBuildHasher.hash_one(key);
    let part = PARTS.iter().filter(|end| **end <= hash >> 58).count();
    (part, Holder { hash: (hash ^ (hash >> 32)) as u32, id: [(id.0 >> 32) as u32, id.0 as u32] })
}

impl Holder {
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
        self.live.iter().all(HashTable::is_empty) && self.ended.len() == 0
    }

    /// Looks at what is there of keys that will be changed, so that it is at hand.
    pub(super) fn fetch(&self, keys: impl Iterator<Item = Key>) {
        let first = |key| {
            let (part, holder) = place_of(key, JobId(0));
            self.live[part].iter_hash(holder.table_hash()).next()
        };
        black_box(keys.filter_map(first).fold(0, |all, holder| all ^ holder.hash));
    }

    /// A job holds a key until then: [`Time::NEVER`] if it has not ended.
    pub(super) fn insert(&mut self, key: Key, until: Time, id: JobId) {
        if until != Time::NEVER {
            return self.ended.insert((key, until, id), ());
        }
        let (part, holder) = place_of(key, id);
        self.live[part].insert_unique(holder.table_hash(), holder, Holder::table_hash);
    }

    /// It does not any more.
    pub(super) fn remove(&mut self, key: Key, until: Time, id: JobId) {
        if until != Time::NEVER {
            let removed = self.ended.remove((key, until, id));
            return debug_assert!(removed.is_some(), "job {id} holds {key:?}");
        }
        let (part, holder) = place_of(key, id);
        let live = &mut self.live[part];
        let Ok(found) = live.find_entry(holder.table_hash(), |other| *other == holder) else {
            return debug_assert!(false, "job {id} holds {key:?}");
        };
        found.remove();
        if live.capacity() > SMALL.max(live.len() * 8) {
            live.shrink_to(live.len() * 2, Holder::table_hash);
        }
    }

    /// The job that holds a key now: the live one; or, of those that have ended, the one whose time ends last.
    pub(super) fn holder<'a>(
        &self,
        key: Key,
        now: Time,
        job: impl Fn(JobId) -> Option<&'a Job>,
    ) -> Option<JobId> {
        let (part, wanted) = place_of(key, JobId(0));
        let alike = self.live[part].iter_hash(wanted.table_hash()).filter(|other| other.hash == wanted.hash);
        // Another key may have the same part of a hash.
        let has_key = |id: &JobId| job(*id).is_some_and(|job| job.spec.unique == Some(key));
        if let Some(id) = alike.map(Holder::id).find(has_key) {
            return Some(id);
        }
        let ((found, until, id), ()) = self.ended.last_to((key, Time::NEVER, JobId(u64::MAX)))?;
        (found == key && until > now).then_some(id)
    }

    /// The ids of those that hold one, in no order: for the check of the invariants.
    pub(super) fn ids(&self) -> impl Iterator<Item = JobId> {
        self.live.iter().flatten().map(Holder::id).chain(self.ended.iter().map(|((.., id), ())| id))
    }
}
