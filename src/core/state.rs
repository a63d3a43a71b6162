//! The state: every live job and every queue, as the fold of all events (`apply.rs`). Here are its parts, the
//! questions that it answers, and what recovery puts back.

use super::ids::{IdRange, JobId};
use super::job::{Attempt, Holder, Job, Lease, QueueName, Spec, State as JobState};
use super::plain::Plain;
use super::queue::Queue;
use super::recent::{Recent, RecentEnd};
use super::settings::Retries;
use super::time::Time;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The fold of all events.
///
/// A job is in exactly one of two places: in `plain` as long as nothing has happened to it, else in `jobs`. All
/// the rest is index, kept by `enter` and `leave` alone.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) next_id: u64,
    pub(super) plain: Plain,
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) queues: HashMap<QueueName, Queue>,
    /// What time alone changes, and when: at most one entry a job, none for [`Time::NEVER`].
    pub(super) due: BTreeSet<(Time, JobId)>,
    /// The leases that end with their connection.
    pub(super) held: BTreeMap<u64, BTreeSet<JobId>>,
    pub(super) recent: Recent,
}

/// What of the state is not about single jobs; saved as one row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// The id that the next job gets.
    pub next_id: JobId,
    /// Every queue that was ever used, in the order of their names.
    pub queues: Vec<QueueBooks>,
}

/// What is remembered of a queue beside its jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueBooks {
    /// The queue.
    pub name: QueueName,
    /// Whether it is paused.
    pub paused: bool,
    /// What went through it.
    pub totals: Totals,
    /// See [`Queue::maker`].
    pub maker: Option<u32>,
    /// See [`Queue::used`].
    pub used: Time,
}

/// What went through a queue since its first job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Totals {
    /// Jobs submitted.
    pub submitted: u64,
    /// Leases given.
    pub claimed: u64,
    /// Jobs completed.
    pub completed: u64,
    /// Attempts failed, the last ones too.
    pub failed: u64,
    /// Jobs that became dead.
    pub died: u64,
    /// Jobs cancelled.
    pub cancelled: u64,
    /// Jobs expired.
    pub expired: u64,
}

impl State {
    /// The id that the next job gets.
    pub fn next_id(&self) -> JobId {
        JobId(self.next_id.max(1))
    }

    /// Whether the job is known: live, or ended and kept.
    pub fn contains(&self, id: JobId) -> bool {
        self.jobs.contains_key(&id) || self.plain.spec(id).is_some()
    }

    /// A job, if it is known.
    pub fn job(&self, id: JobId) -> Option<Job> {
        self.jobs.get(&id).cloned().or_else(|| self.plain.get(id))
    }

    /// How a job ended that is not known any more, if that was lately. Not on disk but in the log.
    pub fn recent_end(&self, id: JobId) -> Option<RecentEnd> {
        self.recent.end_of(id)
    }

    /// Every queue that was ever used, in no order.
    pub fn queues(&self) -> impl Iterator<Item = (&QueueName, &Queue)> {
        self.queues.iter()
    }

    /// One queue, if it was ever used.
    pub fn queue(&self, name: &QueueName) -> Option<&Queue> {
        self.queues.get(name)
    }

    /// The jobs that a connection holds.
    pub fn held_by(&self, session: u64) -> impl Iterator<Item = JobId> + '_ {
        self.held.get(&session).into_iter().flatten().copied()
    }

    /// How many jobs all connections hold.
    pub fn held(&self) -> usize {
        self.held.values().map(BTreeSet::len).sum()
    }

    /// The lease on a job, if it is leased.
    pub fn lease(&self, id: JobId) -> Option<(Attempt, Lease)> {
        let job = self.jobs.get(&id)?;
        if let JobState::Leased(lease) = job.state { Some((job.attempt, lease)) } else { None }
    }

    /// What was asked for with a job, if the job is known.
    pub fn spec_of(&self, id: JobId) -> Option<&Spec> {
        Some(self.jobs.get(&id).map(|job| &job.spec).or_else(|| self.plain.spec(id))?)
    }

    /// The first moment at which time alone changes something; `None` if there is none.
    pub fn next_due(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many ready jobs are claimed before this one, if it is ready; `retries` is the queue's setting.
    pub fn ahead_of(&self, id: JobId, retries: Retries) -> Option<u64> {
        let job = self.job(id).filter(|job| job.state == JobState::Ready)?;
        Some(self.queues.get(&job.spec.queue)?.ahead_of(id, &job, retries))
    }

    /// How many entries the jobs take in memory: far fewer than jobs where they are alike.
    pub fn entries(&self) -> usize {
        self.jobs.len() + self.plain.entries()
    }

    /// The known jobs among `range`, in order. Plain neighbours that are equal in all but their id come as one
    /// entry.
    pub fn runs(&self, range: IdRange) -> Vec<(IdRange, Job)> {
        self.iter(range).collect()
    }

    /// The same, one after the other: for walks that stop early.
    pub fn iter(&self, range: IdRange) -> impl Iterator<Item = (IdRange, Job)> + '_ {
        let mut plain = self.plain.runs(range).peekable();
        let mut jobs = self.jobs.range(range.first..range.end()).peekable();
        std::iter::from_fn(move || match (plain.peek(), jobs.peek()) {
            (Some((run, _)), Some((id, _))) if run.first < **id => plain.next(),
            (_, Some(_)) => jobs.next().map(|(id, job)| (IdRange::from(*id), job.clone())),
            (_, None) => plain.next(),
        })
    }

    /// The same from the last to the first. The ids within an entry still go up.
    pub fn iter_back(&self, range: IdRange) -> impl Iterator<Item = (IdRange, Job)> + '_ {
        let mut plain = self.plain.runs(range).rev().peekable();
        let mut jobs = self.jobs.range(range.first..range.end()).rev().peekable();
        std::iter::from_fn(move || match (plain.peek(), jobs.peek()) {
            (Some((run, _)), Some((id, _))) if run.first > **id => plain.next(),
            (_, Some(_)) => jobs.next().map(|(id, job)| (IdRange::from(*id), job.clone())),
            (_, None) => plain.next(),
        })
    }

    /// What of the state is not about single jobs.
    pub fn books(&self) -> Books {
        let mut queues: Vec<_> = self.queues.iter().map(|(name, queue)| queue.books(name)).collect();
        queues.sort_by(|a, b| a.name.cmp(&b.name));
        Books { next_id: self.next_id(), queues }
    }

    /// Puts the books back. For recovery; the next id never goes down.
    pub fn restore_books(&mut self, books: Books) {
        self.next_id = self.next_id.max(books.next_id.0);
        for QueueBooks { name, paused, totals, maker, used } in books.queues {
            let queue = self.queues.entry(name).or_default();
            (queue.paused, queue.totals, queue.maker, queue.used) = (paused, totals, maker, used);
        }
    }

    /// Puts a run of equal jobs back, as `runs` gave it. For recovery; the ids must be unknown.
    pub fn restore(&mut self, range: IdRange, job: Job) {
        self.next_id = self.next_id.max(range.end().0);
        self.enter(range, job);
    }

    /// Brings jobs in, all alike, and into every index.
    pub(super) fn enter(&mut self, range: IdRange, mut job: Job) {
        let queue = match self.queues.get_mut(&job.spec.queue) {
            Some(queue) => queue,
            None => {
                let queue = self.queues.entry(job.spec.queue.clone()).or_default();
                queue.maker = Some(job.spec.owner);
                queue
            }
        };
        queue.enter(range, &job);
        job.spec = queue.share(&job.spec);
        if job.is_plain() {
            self.plain.insert(range, &job.spec, job.submitted_at);
            return;
        }
        let due = job.next_due();
        for id in range.iter() {
            if due != Time::NEVER {
                self.due.insert((due, id));
            }
            if let JobState::Leased(lease) = job.state
                && let Holder::Session(session) = lease.holder
            {
                self.held.entry(session).or_default().insert(id);
            }
            let known = self.jobs.insert(id, job.clone());
            debug_assert!(known.is_none(), "job {id} comes in twice");
        }
    }

    /// Takes a job out, and out of every index.
    pub(super) fn leave(&mut self, id: JobId) -> Option<Job> {
        let Some(job) = self.jobs.remove(&id) else {
            let job = self.plain.take(id)?;
            self.queue_of(&job.spec).leave_plain(id.into(), job.spec.priority);
            return Some(job);
        };
        self.due.remove(&(job.next_due(), id));
        if let JobState::Leased(lease) = job.state
            && let Holder::Session(session) = lease.holder
            && let Some(held) = self.held.get_mut(&session)
        {
            held.remove(&id);
            if held.is_empty() {
                self.held.remove(&session);
            }
        }
        self.queue_of(&job.spec).leave(id.into(), &job);
        Some(job)
    }

    /// Takes the plain jobs of a range out.
    pub(super) fn leave_plain(&mut self, range: IdRange) -> Vec<(IdRange, Job)> {
        let taken = self.plain.take_range(range);
        for (part, job) in &taken {
            self.queue_of(&job.spec).leave_plain(*part, job.spec.priority);
        }
        taken
    }

    pub(super) fn queue_of(&mut self, spec: &Arc<Spec>) -> &mut Queue {
        self.queues.get_mut(&spec.queue).expect("a job's queue is there from its first job on")
    }
}
