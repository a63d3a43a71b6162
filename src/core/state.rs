//! The state: every live job and every queue, as the fold of all events (`apply.rs`). Here are its parts, the
//! questions that it answers, and what recovery puts back.

use super::flow::Target;
use super::groups::{GroupNo, JobGroup, JobGroups};
use super::ids::{IdRange, Ids, JobId, first};
use super::job::{Attempt, Job, Key, Lease, QueueName, Spec, State as JobState, StateKind};
use super::key_pages::Looks;
use super::keyed::{Keyed, Together};
use super::kickable::Kickable;
use super::lanes::KeyRules;
use super::queue::Queue;
use super::queued_keys::Towards;
use super::recent::{Recent, RecentEnd};
use super::requests::DoneRequests;
use super::runs::{Parts, Runs};
use super::schedule::Schedules;
use super::time::Time;
use super::topics::Topics;
use super::waiters::{TargetState, Waiters};
use smallvec::SmallVec;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The fold of all events.
///
/// `jobs` has every job. All the rest but `schedules`, `topics`, `groups`, `requests`, and what is remembered of queues and of keys that were served,
/// is index, kept by `enter` and `leave` alone.
#[derive(Clone, Debug, Default)]
pub struct State {
    pub(super) next_id: u64,
    pub(super) jobs: Runs,
    pub(super) queues: HashMap<QueueName, Queue>,
    /// How many jobs wait, of all queues, and how many bytes their bodies have, as far as that is counted.
    waiting: u64,
    waiting_bytes: u64,
    /// What time alone changes, and when; not what changes at [`Time::NEVER`].
    pub(super) due: Keyed<Time>,
    /// The queues that are paused until a time.
    pub(super) pauses: BTreeSet<(Time, QueueName)>,
    /// The leases that end with their connection.
    pub(super) held: Keyed<u64>,
    pub(super) recent: Recent,
    pub(super) schedules: Schedules,
    /// What was bound by command.
    pub(super) topics: Topics,
    pub(super) requests: DoneRequests,
    pub(super) looks: Looks,
    pub(super) groups: JobGroups,
    /// Who waits for what.
    pub(super) waiters: Waiters,
}

/// How many ready jobs go before one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Of its key.
    pub in_lane: u64,
    /// Of its queue, as far as their keys let them now, if none of its key is before it.
    pub jobs: u64,
    /// Whether more may: those behind them that have the same keys.
    pub at_least: bool,
}

/// What went through a queue since its first job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// Jobs dropped for want of room: new ones that were not taken, and old ones that were forgotten.
    pub dropped: u64,
}

impl State {
    /// The id that the next job gets.
    pub fn next_id(&self) -> JobId {
        JobId(self.next_id.max(1))
    }

    /// Whether the job is known: live, or ended and kept.
    pub fn contains(&self, id: JobId) -> bool {
        self.jobs.get(id).is_some()
    }

    /// A job, if it is known.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id)
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

    /// The schedules.
    pub fn schedules(&self) -> &Schedules {
        &self.schedules
    }

    /// The queues that were bound to topics by command.
    pub fn topics(&self) -> &Topics {
        &self.topics
    }

    /// The groups.
    pub fn groups(&self) -> &JobGroups {
        &self.groups
    }

    /// This is all that is known of a group now.
    pub(super) fn set_group(&mut self, no: GroupNo, group: Arc<JobGroup>) {
        let is_now = TargetState::of_group(&group);
        self.groups.set(no, group);
        self.waiters.target_changed(Target::Group(no), is_now);
    }

    /// Nothing is known of a group any more.
    pub(super) fn forget_group(&mut self, no: GroupNo) {
        self.groups.forget(no);
        self.waiters.target_changed(Target::Group(no), TargetState::Gone);
    }

    /// The jobs that a connection holds.
    pub fn held_by(&self, session: u64) -> impl Iterator<Item = JobId> + '_ {
        self.held.of(session).flat_map(IdRange::iter)
    }

    /// The workers' sessions that hold any, from this number on: see
    /// [`Holder::RESUMABLE`](crate::core::Holder::RESUMABLE) and [`Holder::POOLS`](crate::core::Holder::POOLS).
    pub fn sessions_from(&self, first: u64) -> impl Iterator<Item = u64> + '_ {
        let mut next = self.held.key_from(first);
        std::iter::from_fn(move || {
            let holder = next?;
            next = holder.checked_add(1).and_then(|from| self.held.key_from(from));
            Some(holder)
        })
    }

    /// How many jobs all connections hold.
    pub fn held(&self) -> usize {
        self.held.len() as usize
    }

    /// The lease on a job, if it is leased.
    pub fn lease(&self, id: JobId) -> Option<(Attempt, Lease)> {
        self.jobs.get(id)?.lease()
    }

    /// What was asked for with a job, if the job is known.
    pub fn spec_of(&self, id: JobId) -> Option<&Spec> {
        Some(&self.jobs.get(id)?.spec)
    }

    /// The job that holds a unique key of a queue now.
    pub fn unique_holder(&self, queue: &QueueName, key: Key, now: Time) -> Option<JobId> {
        self.queues.get(queue)?.unique_keys()?.holder(key, now, |id| self.jobs.get(id))
    }

    /// The first moment at which time alone changes something; `None` if there is none.
    pub fn next_due(&self) -> Option<Time> {
        let page = self.requests.next_due().map(|(_, due)| due);
        let group = self.groups.first_due().map(|(due, _)| due);
        // Somebody is to be told at once.
        let told = self.waiters.first_gone().or(self.waiters.first_ended()).map(|_| Time(0));
        let due = self.due.first_key().into_iter().chain(page).chain(self.looks.next_due());
        let pause = self.pauses.first().map(|(until, _)| *until);
        due.chain(group).chain(told).chain(pause).min()
    }

    /// A queue is paused until then, or not at all.
    pub(super) fn set_pause(&mut self, name: &QueueName, until: Option<Time>) {
        let queue = self.queues.entry(name.clone()).or_default();
        if let Some(before) = std::mem::replace(&mut queue.paused_until, until) {
            self.pauses.remove(&(before, name.clone()));
        }
        self.pauses.extend(until.filter(|until| *until != Time::NEVER).map(|until| (until, name.clone())));
    }

    /// So many jobs of a queue that are dead, or scheduled, in the order in which they are kicked: the index for it is made when it is
    /// asked for first.
    pub fn first_to_kick(&mut self, name: &QueueName, kind: StateKind, most: u64) -> Ids {
        let Some(queue) = self.queues.get_mut(name).filter(|queue| queue.counts().of(kind) > 0) else {
            return Ids::new();
        };
        if queue.kickable().is_none() {
            let mut index = Kickable::default();
            for kind in [StateKind::Dead, StateKind::Scheduled] {
                let parts = queue.in_state(kind).flat_map(|range| self.jobs.iter(range));
                parts.for_each(|(part, job)| index.enter(part, job));
            }
            queue.index_kickable(index);
        }
        let ranges = queue.kickable().into_iter().flat_map(|kickable| kickable.in_state(kind));
        first(ranges, most)
    }

    /// How many ready jobs go before this one, if it is ready, by these rules, which are in force.
    pub(super) fn ahead_of(&self, id: JobId, rules: KeyRules) -> Option<Ahead> {
        let job = self.job(id).filter(|job| job.state() == JobState::Ready)?;
        let queue = self.queues.get(&job.spec.queue)?;
        let in_lane = queue.ahead_in_lane(id, job);
        Some(Ahead { in_lane, jobs: queue.ahead_of(id, job, rules), at_least: queue.has_keys() })
    }

    /// How many entries the jobs take in memory: far fewer than jobs where they are alike.
    pub fn entries(&self) -> usize {
        self.jobs.entries()
    }

    /// The known jobs among `range`, in order. Neighbours that are equal in all but their id come as one.
    pub fn runs(&self, range: IdRange) -> Vec<(IdRange, Job)> {
        self.iter(range).map(|(range, job)| (range, job.clone())).collect()
    }

    /// The same, one after the other, from either end: for walks that stop early. The ids within an entry go up.
    pub fn iter(&self, range: IdRange) -> impl DoubleEndedIterator<Item = (IdRange, &Job)> + '_ {
        self.jobs.iter(range)
    }

    /// No job gets an id before this one. For recovery; it never goes down.
    pub fn raise_next_id(&mut self, next_id: JobId) {
        self.next_id = self.next_id.max(next_id.0);
    }

    /// Puts a run of equal jobs back, as `runs` gave it. For recovery; the ids must be unknown.
    pub fn restore(&mut self, range: IdRange, job: Job) {
        self.next_id = self.next_id.max(range.end().0);
        self.enter(range, job);
    }

    /// How many jobs wait, of all queues.
    pub fn waiting(&self) -> u64 {
        self.waiting
    }

    /// How many bytes the bodies of those have that wait, as far as that is counted.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    /// So many jobs of a queue that wait, the oldest ones of the last priority first, and more until they have so many bytes.
    /// The index for it is made when it is asked for, and kept until [`State::forget_last_in_line`].
    pub(super) fn last_in_line(&mut self, name: &QueueName, jobs: u64, bytes: u64) -> Ids {
        let Some(queue) = self.queues.get_mut(name) else { return Ids::new() };
        if queue.last_in_line().is_none() {
            let kinds = [StateKind::Ready, StateKind::Scheduled, StateKind::Waiting];
            let ranges = kinds.into_iter().flat_map(|kind| queue.in_state(kind));
            let parts = ranges.flat_map(|range| self.jobs.iter(range));
            let waiting = parts.map(|(part, job)| (job.spec.priority, part)).collect();
            queue.index_by_priority(Some(waiting));
        }
        let (mut ids, mut jobs, mut bytes) = (Ids::new(), jobs, bytes);
        let ranges = queue.last_in_line().into_iter().flatten();
        for (part, job) in ranges.flat_map(|range| self.jobs.iter(range)) {
            if jobs == 0 && bytes == 0 {
                break;
            }
            let size = job.size().bytes();
            // Those without a size free none: they stay where it is bytes that are too many.
            let for_bytes =
                bytes.checked_div(size).map_or(0, |whole| whole + u64::from(!bytes.is_multiple_of(size)));
            let len = for_bytes.max(jobs).min(part.len);
            if len == 0 {
                continue;
            }
            ids.push_range(IdRange::new(part.first, len));
            (jobs, bytes) = (jobs.saturating_sub(len), bytes.saturating_sub(size * len));
        }
        ids
    }

    /// Nobody will ask for that of this queue.
    pub(super) fn forget_last_in_line(&mut self, name: &QueueName) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.index_by_priority(None);
        }
    }

    /// Brings jobs in that have just arrived: their queues count them.
    pub(super) fn enter_new(&mut self, parts: Parts) {
        let mut of_queues: SmallVec<[(Arc<Spec>, u64, Time); 1]> = SmallVec::new();
        for alike in parts.chunk_by(|(_, one), (_, other)| one.spec.queue == other.spec.queue) {
            let (_, last) = &alike[alike.len() - 1];
            let jobs = alike.iter().map(|(range, _)| range.len).sum();
            of_queues.push((last.spec.clone(), jobs, last.submitted_at()));
        }
        self.enter_all(parts, Towards::Anything);
        for (spec, jobs, at) in of_queues {
            let queue = self.queue_of(&spec);
            queue.totals.submitted += jobs;
            queue.used = at;
        }
    }

    /// Brings jobs in, all alike.
    pub(super) fn enter(&mut self, range: IdRange, job: Job) {
        self.enter_all(Parts::from_buf([(range, job)]), Towards::Anything);
    }

    /// Brings jobs in, and into every index: part by part, in the order of their ids, with no known ones between them.
    pub(super) fn enter_all(&mut self, mut parts: Parts, towards: Towards) {
        let (mut due, mut held) = (Together::default(), Together::default());
        for alike in parts.chunk_by_mut(|(_, one), (_, other)| one.spec.queue == other.spec.queue) {
            let spec = &alike[0].1.spec;
            let queue = match self.queues.get_mut(&spec.queue) {
                Some(queue) => queue,
                None => {
                    let queue = self.queues.entry(spec.queue.clone()).or_default();
                    queue.maker = Some(spec.owner);
                    queue
                }
            };
            queue.enter(alike, towards);
        }
        let mut is_waited_for = !self.waiters.is_empty();
        for (range, job) in &parts {
            if job.next_due() != Time::NEVER {
                due.push(job.next_due(), *range, |time, range| self.due.insert(time, range));
            }
            if let Some(session) = job.session() {
                held.push(session, *range, |session, range| self.held.insert(session, range));
            }
            if job.kind().waits() {
                self.waiting += range.len;
                self.waiting_bytes += job.size().bytes() * range.len;
            }
            is_waited_for |= job.kind() == StateKind::Waiting;
            if let Some(group) = job.spec.group {
                self.groups.is_referred_to(group);
            }
        }
        due.end(|time, range| self.due.insert(time, range));
        held.end(|session, range| self.held.insert(session, range));
        if !is_waited_for {
            return self.jobs.insert(parts);
        }
        let is_now = |(range, job): &(IdRange, Job)| {
            (
                *range,
                TargetState::of_job(job),
                Some(job).filter(|job| job.kind() == StateKind::Waiting).cloned(),
            )
        };
        let states: SmallVec<[_; 1]> = parts.iter().map(is_now).collect();
        // Those that wait may wait for one another.
        self.jobs.insert(parts);
        for (range, state, waiting) in states {
            waiting.iter().for_each(|job| self.waits_begin(range, job));
            self.waiters.jobs_changed(range, state);
        }
    }

    /// Takes the jobs of a range out that are known, and out of every index: part by part, each of jobs that are alike.
    pub(super) fn leave(&mut self, range: IdRange, towards: Towards) -> Parts {
        let parts = self.jobs.take(range);
        let (mut due, mut held) = (Together::default(), Together::default());
        for alike in parts.chunk_by(|(_, one), (_, other)| one.spec.queue == other.spec.queue) {
            self.queue_of(&alike[0].1.spec).leave(alike, towards);
        }
        for (part, job) in &parts {
            if job.next_due() != Time::NEVER {
                due.push(job.next_due(), *part, |time, range| self.due.remove(time, range));
            }
            if let Some(session) = job.session() {
                held.push(session, *part, |session, range| self.held.remove(session, range));
            }
            if job.kind().waits() {
                self.waiting -= part.len;
                self.waiting_bytes -= job.size().bytes() * part.len;
            }
            if job.kind() == StateKind::Waiting {
                self.waiters.leave(*part, job);
            }
            self.waiters.jobs_changed(*part, TargetState::Gone);
        }
        due.end(|time, range| self.due.remove(time, range));
        held.end(|session, range| self.held.remove(session, range));
        parts
    }

    /// Jobs wait for others, which may have ended already, or not be known yet (at recovery) or any more.
    fn waits_begin(&mut self, range: IdRange, job: &Job) {
        for edge in job.waits_for().into_iter().flat_map(|waits| &waits.edges) {
            if let Target::Group(no) = edge.on {
                self.groups.is_referred_to(no);
            }
        }
        let (jobs, groups) = (&self.jobs, &self.groups);
        self.waiters.enter(range, job, |target| TargetState::of(target, jobs, groups));
    }

    pub(super) fn queue_of(&mut self, spec: &Arc<Spec>) -> &mut Queue {
        self.queues.get_mut(&spec.queue).expect("a job's queue is there from its first job on")
    }
}
