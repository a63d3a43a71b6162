//! Turns between the keys of a queue (`fair`). Of those of a priority the key goes next that was served longest ago. One of which
//! nothing is remembered counts as served when the first of its ready jobs was submitted. So while a key waits each other key gets one
//! job before it at most, and no stream of new keys keeps an old one from its turn. Jobs without a key are one key of their own here.
//!
//! A turn is a place in the order of all that arrives and all that is leased: ids say when jobs came, and the newest id when a
//! job was leased. So what is remembered of a key, and its first job, say all.

use super::ids::JobId;
use super::job::Key;

/// When a key was served, or its first job came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// The newest job at that time.
    pub newest: JobId,
    /// How many leases the queue had given by then, if it was served.
    pub leases: u64,
}

impl Turn {
    /// That of a key of which this job is the first.
    pub(super) fn of(self, first: JobId) -> Turn {
        self.max(Turn { newest: first, leases: 0 })
    }
}

/// What stands for the jobs without a key among the keys. No hash of a key is this.
pub(super) fn keyless() -> Key {
    Key::new([0xff; 16])
}
