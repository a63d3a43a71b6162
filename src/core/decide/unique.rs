//! Decides submits of which jobs have unique keys: each is new, or there is one with its key already.

use super::Decision;
use super::room::{Growth, Room};
use super::ties::Places;
use crate::core::change::Recorder;
use crate::core::command::{Group, Groups, OnConflict, Outcome, Receipt, Start};
use crate::core::event::Event;
use crate::core::ids::JobId;
use crate::core::job::{Attempt, Job, Key, QueueName, Size, StateKind};
use crate::core::queue::Queue;
use crate::core::rejection::Rejection;
use crate::core::time::Time;
use rustc_hash::{FxBuildHasher, FxHashSet};
use std::collections::HashMap;
use std::time::Duration;

impl<R: Recorder> Decision<'_, R> {
    /// Whether each of these jobs with a unique key has one of its own, and nobody holds any of them: then none is another's concern.
    pub(super) fn are_all_new(&self, groups: &[Group]) -> bool {
        let (state, now) = (self.state(), self.moment.now);
        let mut seen = FxHashSet::with_capacity_and_hasher(groups.len(), FxBuildHasher);
        let mut of_queues = groups.chunk_by(|one, other| one.spec.queue == other.spec.queue);
        of_queues.all(|groups| {
            let held = state.queue(&groups[0].spec.queue).and_then(Queue::unique_keys);
            let holder =
                |key| held?.holder(key, now, |id| state.job(id)).filter(|id| self.leaves != Some(*id));
            // That two queues have the same one is rare enough.
            let mut keys = groups.iter().filter_map(|group| Some((group, group.spec.unique?)));
            keys.all(|(group, key)| group.count == 1 && seen.insert(key) && holder(key).is_none())
        })
    }

    /// The room for those of them that will be enqueued.
    pub(super) fn room_for_unique(&mut self, groups: &[Group]) -> Result<Room, Rejection> {
        let (new, growth) = self.foreseen(groups)?;
        self.make_room(&new, &growth)
    }

    /// Job by job: what comes first in a submit is there already for what follows.
    pub(super) fn enqueue_unique(&mut self, groups: &[Group], count: u64, mut room: Room) -> Outcome {
        let mut receipts = Vec::with_capacity(usize::try_from(count).unwrap_or(0));
        for group in groups.iter().filter(|group| group.count > 0) {
            let Some(key) = group.spec.unique else {
                let first = self.state().next_id();
                self.take(group, first, &mut room, Places::Are(&receipts));
                self.arrive();
                receipts.extend((0..group.count).map(|nth| Receipt::New(first.plus(nth))));
                continue;
            };
            for _ in 0..group.count {
                let receipt = match self.unique_holder(&group.spec.queue, key) {
                    Some(holder) => self.conflict(group, holder),
                    None => {
                        let first = self.state().next_id();
                        let one = Group { count: 1, ..group.clone() };
                        self.take(&one, first, &mut room, Places::Are(&receipts));
                        self.arrive();
                        Receipt::New(first)
                    }
                };
                receipts.push(receipt);
            }
        }
        self.seal_groups(groups);
        self.let_old_go(room);
        Outcome::Received(receipts)
    }

    /// The job that holds a unique key of a queue now.
    pub(super) fn unique_holder(&self, queue: &QueueName, key: Key) -> Option<JobId> {
        let holder = self.state().unique_holder(queue, key, self.moment.now);
        holder.filter(|id| self.leaves != Some(*id))
    }

    /// The same groups with those jobs only that will be enqueued, and by how much those grow that are there.
    fn foreseen(&self, groups: &[Group]) -> Result<(Groups, Growth), Rejection> {
        // What the holder of each key has as its body by then.
        let mut seen: HashMap<(&QueueName, Key), Size> = HashMap::new();
        let mut growth: HashMap<&QueueName, i128> = HashMap::new();
        let mut new = Groups::with_capacity(groups.len());
        for group in groups.iter().filter(|group| group.count > 0) {
            let queue = &group.spec.queue;
            let Some(key) = group.spec.unique else {
                new.push(group.clone());
                continue;
            };
            let holder = self.unique_holder(queue, key);
            let before = seen.get(&(queue, key)).copied();
            if group.on_conflict == OnConflict::Reject {
                if let Some(id) = holder {
                    return Err(Rejection::NotUnique { queue: queue.clone(), id });
                }
                if before.is_some() || group.count > 1 {
                    return Err(Rejection::NotUniqueAmongThem { queue: queue.clone() });
                }
            }
            let job = holder.and_then(|id| self.state().job(id));
            match (job, before) {
                (None, None) => {
                    seen.insert((queue, key), group.size);
                    new.push(Group { count: 1, ..group.clone() });
                }
                _ if group.on_conflict != OnConflict::Replace => {}
                // It is of the same submit, and so of the same user.
                (None, Some(size)) => {
                    let more = i128::from(group.size.bytes()) - i128::from(size.bytes());
                    *growth.entry(queue).or_default() += more;
                    seen.insert((queue, key), group.size);
                }
                (Some(job), before) => {
                    if self.visibility.sees(&job.spec) && self.may_replace(job, group) {
                        let more = self.core.growth(job, before.unwrap_or(job.size()), group.size);
                        *growth.entry(queue).or_default() += more.unwrap_or(0);
                        seen.insert((queue, key), group.size);
                    }
                }
            }
        }
        Ok((new, Growth::new(growth)))
    }

    /// Another job has the key. It is changed only for one who may change it.
    fn conflict(&mut self, group: &Group, id: JobId) -> Receipt {
        let job = self.state().job(id).filter(|job| self.visibility.sees(&job.spec));
        if group.on_conflict == OnConflict::Replace && job.is_some_and(|job| self.may_replace(job, group)) {
            self.replace(id, group);
            return Receipt::Replaced(id);
        }
        let event = job.and_then(|job| match group.on_conflict {
            OnConflict::Existing | OnConflict::Replace | OnConflict::Reject => None,
            OnConflict::Raise => raised(id, job, group),
            OnConflict::Debounce { max } => self.postponed(id, job, group, max),
        });
        match event {
            Some(event) => {
                self.emit(event);
                Receipt::Changed(id)
            }
            None => Receipt::Existing(id),
        }
    }

    /// A body may be a command, which runs as the job's owner: so nobody else may write it but root and the daemon's own user.
    fn may_replace(&self, job: &Job, group: &Group) -> bool {
        let by = group.spec.owner;
        has_not_begun(job) && (by == job.spec.owner || by == 0 || by == self.core.settings.own_user)
    }

    /// It is what the new one would have been: its body, which the commit has, its priority, and when it may run.
    fn replace(&mut self, id: JobId, group: &Group) {
        self.emit(Event::BodyReplaced { job: id.into() });
        self.count_another(id, group.size);
        let (now, priority) = (self.moment.now, group.spec.priority);
        let Some(job) = self.state().job(id) else { return };
        let (due, has_another) = (starts(group, now).max(now), job.spec.priority != priority);
        let waits_longer = is_put_off(job, now) || due > now;
        let changes_start = waits_longer && job.not_before() != Some(due);
        if has_another {
            self.emit(Event::Prioritized { jobs: id.into(), priority });
        }
        if changes_start {
            self.emit(Event::Postponed { jobs: id.into(), due });
        }
    }

    /// It runs as late as the new one would, but never later than `max` after its arrival.
    fn postponed(&self, id: JobId, job: &Job, group: &Group, max: Option<Duration>) -> Option<Event> {
        let now = self.moment.now;
        let wanted = starts(group, now);
        let due = max.map_or(wanted, |max| wanted.min(job.submitted_at().plus(max)));
        let waits_longer = is_put_off(job, now) || due > now;
        let changes = has_not_begun(job) && waits_longer && job.not_before() != Some(due);
        changes.then(|| Event::Postponed { jobs: id.into(), due })
    }
}

/// When the jobs of a group may run.
fn starts(group: &Group, now: Time) -> Time {
    match group.start {
        Start::Now => now,
        Start::After(delay) => now.plus(delay),
        Start::At(time) => time,
    }
}

/// Whether it may not run yet: it is scheduled, or waits for others and would not run after that.
fn is_put_off(job: &Job, now: Time) -> bool {
    match job.kind() {
        StateKind::Waiting => job.not_before().is_some_and(|before| before > now),
        kind => kind == StateKind::Scheduled,
    }
}

fn has_not_begun(job: &Job) -> bool {
    waits(job) && job.attempt() == Attempt(0)
}

fn waits(job: &Job) -> bool {
    job.kind().waits()
}

fn raised(id: JobId, job: &Job, group: &Group) -> Option<Event> {
    let priority = group.spec.priority;
    (waits(job) && priority < job.spec.priority).then(|| Event::Prioritized { jobs: id.into(), priority })
}
