//! Queues that are bounded: what waits in them before and after a submit says whether the bounds are kept, what is refused
//! or dropped for them, and who waits for room. The bytes of a body are those that were sent.

use crate::bodies::body;
use crate::clients::{Asked, Clients, group, submitted};
use crate::oracle::Oracle;
use crate::queues::named;
use crate::stage::Life;
use bytes::Bytes;
use fastrand::Rng;
use musher::core::{
    Attempt, Full, IdRange, Job, JobId, Priority, QueueName, QueueSettings, Setting, SettingKey, Start, State,
};
use std::time::Duration;

/// So long a submit waits for room.
const WAIT: Duration = Duration::from_secs(3);

/// The bounded queues, and what becomes of jobs for which they have no room.
pub(crate) const BOUNDED: [(&str, Full); 4] = [
    ("full.reject", Full::Reject),
    ("full.new", Full::DropNew),
    ("full.old", Full::DropOld),
    ("full.wait", Full::Wait(WAIT)),
];

/// The most jobs that may wait, unless it is set otherwise; and the most bytes.
const JOBS: u64 = 6;
const BYTES: u64 = 250;
/// No body has more.
const BODY_MAX: u64 = 3_100;
/// The most that it is ever set to.
pub(crate) const JOBS_MAX: u64 = 8;

/// With these bounds.
pub(crate) fn with_bounds(settings: QueueSettings, full: Full) -> QueueSettings {
    // The bytes of those that wait for room are not looked at: whether one fits is then a question of one number.
    let backlog_bytes = if matches!(full, Full::Wait(_)) { 0 } else { BYTES };
    QueueSettings { backlog: JOBS, backlog_bytes, full, ..settings }
}

/// How this queue is when it is full, if it is bounded.
fn full_of(queue: &QueueName) -> Option<Full> {
    BOUNDED.iter().find(|(name, _)| *name == queue.as_str()).map(|(_, full)| *full)
}

/// Whether jobs of this queue may go without anybody asking for it.
pub(crate) fn drops(queue: &QueueName) -> bool {
    matches!(full_of(queue), Some(Full::DropNew | Full::DropOld))
}

/// Whether old jobs of this queue give way to new ones.
pub(crate) fn drops_old(queue: &QueueName) -> bool {
    full_of(queue) == Some(Full::DropOld)
}

/// Whether the bytes of jobs of this queue are bounded, and so counted, as long as it is there.
fn counts_bytes(queue: &QueueName) -> bool {
    full_of(queue).is_some_and(|full| !matches!(full, Full::Wait(_)))
}

/// Whether submits to this queue may wait for room.
pub(crate) fn waits_for_room(queue: &QueueName) -> bool {
    matches!(full_of(queue), Some(Full::Wait(_)))
}

pub(crate) fn is_bounded(queue: &QueueName) -> bool {
    full_of(queue).is_some()
}

/// A job that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    id: JobId,
    pub(crate) queue: QueueName,
    priority: Priority,
    bytes: u64,
    is_new: bool,
}

/// Those of a queue, or of all, by id.
pub(crate) fn waiting(state: &State, queue: Option<&QueueName>) -> Vec<Waiting> {
    let jobs = state.iter(IdRange::new(JobId(1), state.next_id().0));
    let own =
        jobs.filter(|(_, job)| queue.is_none_or(|queue| job.spec.queue == *queue) && job.kind().waits());
    own.flat_map(|(range, job)| {
        let (priority, bytes) = (job.spec.priority, job.size().bytes());
        let is_new = job.attempt() == Attempt(0);
        let one = move |id| Waiting { id, queue: job.spec.queue.clone(), priority, bytes, is_new };
        range.iter().map(one)
    })
    .collect()
}

/// How many they are, and how many bytes they have.
pub(crate) fn load(waiting: &[Waiting]) -> (u64, u64) {
    (waiting.len() as u64, waiting.iter().map(|job| job.bytes).sum())
}

/// A bound; 0 is none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    pub(crate) jobs: u64,
    pub(crate) bytes: u64,
}

impl Limits {
    pub(crate) fn is_set(self) -> bool {
        self.jobs > 0 || self.bytes > 0
    }

    /// By how many jobs and bytes they are exceeded by so many.
    pub(crate) fn over(self, (jobs, bytes): (u64, u64)) -> (u64, u64) {
        let over = |len: u64, limit: u64| if limit == 0 { 0 } else { len.saturating_sub(limit) };
        (over(jobs, self.jobs), over(bytes, self.bytes))
    }
}

/// The bounds of a queue and of all, and what others have.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    own: Limits,
    all: Limits,
    others: (u64, u64),
}

impl Bounds {
    /// By how many jobs and bytes they are exceeded by these of the queue.
    fn over(self, waiting: &[Waiting]) -> (u64, u64) {
        let (jobs, bytes) = load(waiting);
        let (own, all) =
            (self.own.over((jobs, bytes)), self.all.over((jobs + self.others.0, bytes + self.others.1)));
        (own.0.max(all.0), own.1.max(all.1))
    }

    fn has(self, waiting: &[Waiting]) -> bool {
        self.over(waiting) == (0, 0)
    }
}

/// What waits in a queue once these were submitted; `None` if all are refused.
fn after(full: Full, limits: Bounds, before: &[Waiting], new: &[Waiting]) -> Option<Vec<Waiting>> {
    let mut all = before.to_vec();
    all.extend_from_slice(new);
    if limits.has(&all) {
        return Some(all);
    }
    match full {
        Full::Reject | Full::Wait(_) => None,
        Full::DropNew => {
            let mut taken = before.to_vec();
            for job in new {
                taken.push(job.clone());
                if !limits.has(&taken) {
                    taken.pop();
                }
            }
            Some(taken)
        }
        // Not for jobs that are too many alone, or beside those of other queues.
        Full::DropOld if !limits.has(new) => None,
        Full::DropOld => {
            let (mut jobs, mut bytes) = limits.over(&all);
            let mut line = all.clone();
            line.sort_by_key(|job| (std::cmp::Reverse(job.priority), job.id));
            for job in line {
                if jobs > 0 || (bytes > 0 && job.bytes > 0) {
                    all.retain(|other| other.id != job.id);
                    (jobs, bytes) = (jobs.saturating_sub(1), bytes.saturating_sub(job.bytes));
                }
            }
            Some(all)
        }
    }
}

impl Oracle {
    /// The bounds that a queue has of its own.
    pub(crate) fn own_limits(&self, queue: &QueueName) -> Limits {
        let value = |key| match self.settings.value(queue, key) {
            Setting::Backlog(value) | Setting::BacklogBytes(value) => value,
            other => unreachable!("{other:?} is no bound"),
        };
        Limits { jobs: value(SettingKey::Backlog), bytes: value(SettingKey::BacklogBytes) }
    }
}

/// The bytes of a job are those of its body, where they are counted.
pub(crate) fn check_size(job: &Job, body: &Bytes) {
    let (size, len) = (job.size(), body.len() as u64);
    let is_right = if size.is_counted() { size.bytes() == len } else { !counts_bytes(&job.spec.queue) };
    assert!(is_right, "a job of {} counts as {size:?}, and has {len}", job.spec.queue);
}

impl Clients {
    /// Submits a few jobs to a bounded queue, and looks at once at what became of it and of others.
    pub(crate) fn submit_bounded(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        // Most to the one in which submits wait.
        let (name, full) = BOUNDED[rng.usize(..BOUNDED.len() + 4).min(BOUNDED.len() - 1)];
        let queue = named(name);
        let count = if matches!(full, Full::Wait(_)) { 1 } else { 1 + rng.u64(..3) };
        let mut sent = Vec::new();
        let mut jobs = group(rng, &mut sent, queue.clone(), count, life.now);
        if rng.bool() {
            jobs.start = Start::Now;
        }
        let (batch, contents) = submitted(oracle, sent.clone());
        let core = life.engine.core();
        let (before, next) = (waiting(&core.state, Some(&queue)), core.state.next_id());
        let (all, own) = (load(&waiting(&core.state, None)), load(&before));
        let others = (all.0 - own.0, all.1 - own.1);
        let limits = Bounds { own: oracle.own_limits(&queue), all: life.totals, others };
        let bytes = |nth: u64| match limits.own.bytes + limits.all.bytes {
            0 => 0,
            _ => body((batch, nth as usize, 0)).len() as u64,
        };
        let new = |nth| Waiting {
            id: next.plus(nth),
            queue: queue.clone(),
            priority: sent[0].priority,
            bytes: bytes(nth),
            is_new: true,
        };
        let new: Vec<Waiting> = (0..count).map(new).collect();
        let takes = !life.refuses();
        let behind = matches!(full, Full::Wait(_)) && life.engine.waiting_submits() > 0;
        let wanted = after(full, limits, &before, &new).filter(|_| takes && !behind);

        // None waits for room while the daemon goes down.
        let until = match full {
            Full::Wait(time) if !core.draining => life.now.plus(time),
            _ => life.now,
        };
        let origin = self.ask(rng, Asked::Submit { batch, until });
        life.submit(origin, vec![jobs], contents);
        let found = waiting(&life.engine.core().state, Some(&queue));
        let what = format!("{queue} with {limits:?} had {before:?} and was sent {new:?}");
        assert_eq!(found, wanted.unwrap_or(before), "{what}");
    }

    /// After a turn: no bound is exceeded by new jobs.
    pub(crate) fn check_bounds(life: &Life) {
        for (name, _) in BOUNDED {
            let queue = named(name);
            let new = waiting(&life.engine.core().state, Some(&queue)).into_iter().filter(|job| job.is_new);
            assert!(new.count() as u64 <= JOBS_MAX, "too many new jobs wait in {queue}");
        }
    }

    /// Nobody waits for room that is there.
    pub(crate) fn check_room(oracle: &Oracle, life: &Life) {
        let queue = named("full.wait");
        let (core, limits) = (life.engine.core(), oracle.own_limits(&queue));
        let more = |(jobs, bytes): (u64, u64)| (jobs + 1, bytes + BODY_MAX);
        let has_room = limits.over((more(load(&waiting(&core.state, Some(&queue)))).0, 0)) == (0, 0)
            && life.totals.over(more(load(&waiting(&core.state, None)))) == (0, 0);
        let unserved = has_room && !core.draining && life.engine.waiting_submits() > 0;
        assert!(!unserved, "{} submits wait for {queue}, and it has room", life.engine.waiting_submits());
    }
}
