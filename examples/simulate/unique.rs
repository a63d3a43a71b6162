//! Unique keys, told once more: which job has one, and what becomes of it and of a new one that wants the same. The jobs that
//! have any are looked at before and after each submit: those that it names are as it says, and all others as they were.

use musher::core::{
    Attempt, Final, Group, IdRange, JobId, JobState, Key, OnConflict, Priority, QueueName, Receipt, Start,
    State, Time, UniqueWhile,
};

/// A job with a unique key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct One {
    pub(crate) id: JobId,
    queue: QueueName,
    key: Key,
    holds: UniqueWhile,
    pub(crate) priority: Priority,
    state: JobState,
    attempt: Attempt,
    since: Time,
}

impl One {
    fn waits(&self) -> bool {
        matches!(self.state, JobState::Scheduled { .. } | JobState::Ready)
    }

    fn has_not_begun(&self) -> bool {
        self.waits() && self.attempt == Attempt(0)
    }

    fn ended_at(&self) -> Option<Time> {
        match self.state {
            JobState::Done(end) | JobState::Dead(end) | JobState::Cancelled(end) | JobState::Expired(end) => {
                Some(end.at)
            }
            JobState::Scheduled { .. } | JobState::Waiting { .. } | JobState::Ready | JobState::Leased(_) => {
                None
            }
        }
    }

    fn has_key(&self, now: Time) -> bool {
        match self.holds {
            UniqueWhile::Waiting => self.has_not_begun(),
            UniqueWhile::Unfinished => self.ended_at().is_none(),
            UniqueWhile::Kept(time) => self.ended_at().is_none_or(|at| now < at.plus(time)),
        }
    }

    /// It shall run then.
    fn put_off(&mut self, due: Time, now: Time) {
        if self.state != JobState::Ready || due > now {
            self.state = JobState::Scheduled { due };
        }
    }

    /// Another one wants its key.
    fn meets(&mut self, group: &Group, now: Time) -> Receipt {
        let before = self.clone();
        let (due, priority) = (starts(group, now), group.spec.priority);
        match group.on_conflict {
            OnConflict::Replace if self.has_not_begun() => {
                self.priority = priority;
                self.put_off(due, now);
                return Receipt::Replaced(self.id);
            }
            OnConflict::Raise if self.waits() => self.priority = self.priority.min(priority),
            OnConflict::Debounce { max } if self.has_not_begun() => {
                let latest = max.map_or(due, |max| self.since.plus(max));
                self.put_off(due.min(latest), now);
            }
            _ => {}
        }
        if *self == before { Receipt::Existing(self.id) } else { Receipt::Changed(self.id) }
    }
}

fn starts(group: &Group, now: Time) -> Time {
    match group.start {
        Start::Now => now,
        Start::After(delay) => now.plus(delay),
        Start::At(time) => time.max(now),
    }
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uniques(pub(crate) Vec<One>);

impl Uniques {
    pub(crate) fn of(state: &State) -> Uniques {
        let mut all = Vec::new();
        for (range, job) in state.iter(IdRange::new(JobId(1), state.next_id().0)) {
            let Some(key) = job.spec.unique else { continue };
            all.extend(range.iter().map(|id| One {
                id,
                queue: job.spec.queue.clone(),
                key,
                holds: job.spec.unique_while,
                priority: job.spec.priority,
                state: job.state(),
                attempt: job.attempt(),
                since: job.submitted_at(),
            }));
        }
        Uniques(all)
    }

    /// A job is done: those that follow from it find its key as it leaves it.
    pub(crate) fn complete(&mut self, id: JobId, now: Time) {
        let end = Final { at: now, keep_until: now };
        self.0.iter_mut().filter(|one| one.id == id).for_each(|one| one.state = JobState::Done(end));
    }

    /// It is kept as long as its queue says; and for it older ones may go whose keys are free.
    pub(crate) fn let_go(&mut self, id: JobId, found: &Uniques, now: Time) {
        let kept = |one: &One| found.0.iter().find(|other| other.id == one.id);
        self.0.retain(|one| one.ended_at().is_none() || one.has_key(now) || kept(one).is_some());
        for one in self.0.iter_mut().filter(|one| one.id == id) {
            let other = kept(one).filter(|other| other.ended_at() == one.ended_at());
            one.state = other.map_or(one.state, |other| other.state);
        }
    }

    /// Jobs are submitted, one after the other. `None` if all are refused, since a key is taken.
    pub(crate) fn submit(&mut self, groups: &[Group], mut next: JobId, now: Time) -> Option<Vec<Receipt>> {
        let mut receipts = Vec::new();
        for group in groups {
            for _ in 0..group.count {
                let has_key = |one: &&mut One| {
                    (Some(one.key), &one.queue) == (group.spec.unique, &group.spec.queue) && one.has_key(now)
                };
                if let Some(other) = self.0.iter_mut().find(has_key) {
                    if group.on_conflict == OnConflict::Reject {
                        return None;
                    }
                    receipts.push(other.meets(group, now));
                    continue;
                }
                receipts.push(Receipt::New(next));
                self.0.extend(group.spec.unique.map(|key| One {
                    id: next,
                    queue: group.spec.queue.clone(),
                    key,
                    holds: group.spec.unique_while,
                    priority: group.spec.priority,
                    state: match starts(group, now) {
                        due if due > now => JobState::Scheduled { due },
                        _ => JobState::Ready,
                    },
                    attempt: Attempt(0),
                    since: now.whole_second(),
                }));
                next = next.plus(1);
            }
        }
        Some(receipts)
    }
}
