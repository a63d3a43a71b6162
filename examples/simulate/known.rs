//! What is known of submits and jobs by what was sent, and by what clients were told.

use crate::bounds::drops;
use crate::exits::End;
use crate::expiry::Progress;
use musher::core::{Attempt, Expiry, JobId, Key, Priority, QueueName, Receipt, Time};
use musher::store::Envelope;
use std::collections::BTreeMap;

/// A job as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) queue: QueueName,
    pub(crate) key: Option<Key>,
    pub(crate) unique: Option<Key>,
    pub(crate) priority: Priority,
    /// Whether it has its unique key also while it runs, and after that.
    pub(crate) unique_in_work: bool,
    /// Whether it is ready at once.
    pub(crate) at_once: bool,
    /// Until when it is of use.
    pub(crate) expiry: Expiry,
    /// What is written on it.
    pub(crate) envelope: Option<Envelope>,
}

impl Batch {
    pub(crate) fn new(jobs: Vec<Sent>) -> Batch {
        let (ids, new) = (BTreeMap::new(), jobs.len());
        Batch { jobs, purged: false, seen: false, ids, new, refused: false, receipts: None }
    }

    /// One of its jobs has this id.
    pub(crate) fn has_id(&mut self, index: usize, id: JobId) {
        let first = *self.ids.entry(index).or_insert(id);
        assert_eq!(first, id, "a submit was done twice: of job {index} there are two");
        // Those that have no unique keys follow one another.
        let (other, its) = self.ids.first_key_value().expect("there is one");
        let follow =
            self.jobs.iter().any(|sent| sent.unique.is_some()) || id.0 - its.0 == (index - other) as u64;
        assert!(follow, "a submit was done twice: job {index} is {id}, and job {other} is {its}");
    }
}

impl Sent {
    /// Whether it may go, or never be there, without its neighbours and without anybody asking for it.
    pub(crate) fn may_go_alone(&self, now: Time) -> bool {
        drops(&self.queue) || Progress::default().may_expire(self.expiry, now)
    }
}

impl Batch {
    /// Whether jobs of it that nobody was told of may not be there, though it was done.
    pub(crate) fn may_lack(&self, now: Time) -> bool {
        self.purged || self.jobs.iter().any(|sent| sent.may_go_alone(now))
    }
}

/// One submit as it was sent.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) jobs: Vec<Sent>,
    /// Whether its queues were purged since.
    pub(crate) purged: bool,
    /// Whether some of its jobs were seen before others.
    pub(crate) seen: bool,
    /// The ids of its jobs that were seen: a second one would mean that it was done twice.
    pub(crate) ids: BTreeMap<usize, JobId>,
    /// How many of its jobs are new, if it was done: others of the same unique keys may be there.
    pub(crate) new: usize,
    /// Whether it was refused for good.
    pub(crate) refused: bool,
    /// What it was answered, if it may be sent again.
    pub(crate) receipts: Option<Vec<Receipt>>,
}

/// A lease of which its holder was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) attempt: Attempt,
    pub(crate) until: Time,
    /// Until when somebody was told, where a start without an answer has made it longer since.
    pub(crate) told: Time,
    /// The connection that holds it; `None` if anyone does.
    pub(crate) session: Option<u64>,
    /// Whether nothing was done that may have ended it, but for time.
    pub(crate) sure: bool,
    /// How many extends are under way: until they are answered, the shortest is believed.
    pub(crate) extends: u32,
}

/// A job of which somebody was told.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) batch: usize,
    pub(crate) index: usize,
    pub(crate) attempt: Attempt,
    pub(crate) lease: Option<Held>,
    /// The newest attempt that was settled, as its holder was told.
    pub(crate) settled: Option<Attempt>,
    /// How its newest attempt that was settled has ended.
    pub(crate) ended: Option<(Attempt, End)>,
    /// Whether it was told done, and nobody asked to run it again since.
    pub(crate) done: bool,
    /// Whether it was told cancelled.
    pub(crate) cancelled: bool,
    /// Requests that may have made it disappear.
    pub(crate) enders: u32,
    pub(crate) progress: Progress,
    /// Whether somebody has tried to change it by hand: it may come out of turn then.
    pub(crate) edited: bool,
    /// When something was last asked that may have ended or shortened a lease: by [`Oracle::asked`].
    pub(crate) touched: u64,
}
