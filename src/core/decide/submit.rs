//! Decides submits: all of the jobs or none.

use super::room::{Growth, Room};
use super::ties::Places;
use super::{Core, Decision};
use crate::core::change::Recorder;
use crate::core::command::{Group, Outcome, Receipt, Start};
use crate::core::event::Event;
use crate::core::ids::{IdRange, JobId};
use crate::core::job::{Expiry, SpecOptions};
use crate::core::rejection::Rejection;
use crate::core::time::Time;
use std::sync::Arc;
use std::time::Duration;

/// A submit that is not refused.
#[derive(Debug)]
pub(super) struct Prepared {
    room: Room,
    count: u64,
    has: Unique,
}

/// What unique keys the jobs of a submit have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unique {
    None,
    /// Some have one, and each of these one of its own that nobody holds.
    AllNew,
    Some,
}

impl Core {
    /// Jobs with keys get the options that the jobs of their queues share already, as far as nobody else has their specs: else each
    /// would get another spec when it arrives.
    pub fn share_options(&self, groups: &mut [Group]) {
        let mut last: Option<(Arc<SpecOptions>, Arc<SpecOptions>)> = None;
        for spec in groups.iter_mut().map(|group| &mut group.spec).filter(|spec| spec.has_keys()) {
            let known = match &last {
                Some((own, known)) if Arc::ptr_eq(own, &spec.options) => known.clone(),
                _ => {
                    let queue = self.state.queue(&spec.queue);
                    let known = queue.and_then(|queue| queue.shared_options(&spec.options));
                    let known = known.unwrap_or(&spec.options).clone();
                    last = Some((spec.options.clone(), known.clone()));
                    known
                }
            };
            if let Some(spec) = Arc::get_mut(spec) {
                spec.options = known;
            }
        }
    }
}

impl<R: Recorder> Decision<'_, R> {
    pub(super) fn submit(&mut self, groups: &[Group]) -> Result<Outcome, Rejection> {
        if self.core.draining && !self.core.accept_while_draining {
            return Err(Rejection::Draining);
        }
        let prepared = self.prepare(groups)?;
        Ok(self.enqueue(groups, prepared))
    }

    /// Finds out whether a submit is refused, and makes room for its queues if not.
    pub(super) fn prepare(&mut self, groups: &[Group]) -> Result<Prepared, Rejection> {
        let first = self.state().next_id();
        let mut count: u64 = 0;
        for group in groups {
            count = count.saturating_add(group.count);
        }
        if count == 0 {
            return Err(Rejection::NothingToSubmit);
        }
        if count > u64::MAX - first.0 {
            return Err(Rejection::OutOfIds);
        }
        self.check_ties(groups)?;
        let has = match groups.iter().any(|group| group.count > 0 && group.spec.unique.is_some()) {
            false => Unique::None,
            true if self.are_all_new(groups) => Unique::AllNew,
            true => Unique::Some,
        };
        let room = match has {
            Unique::Some => self.room_for_unique(groups)?,
            Unique::None | Unique::AllNew => self.make_room(groups, &Growth::default())?,
        };
        Ok(Prepared { room, count, has })
    }

    /// The jobs arrive.
    pub(super) fn enqueue(&mut self, groups: &[Group], prepared: Prepared) -> Outcome {
        let Prepared { mut room, count, has } = prepared;
        if has == Unique::Some {
            return self.enqueue_unique(groups, count, room);
        }
        let first = self.state().next_id();
        let mut next = first;
        for group in groups.iter().filter(|group| group.count > 0) {
            self.take(group, next, &mut room, Places::From(first));
            next = next.plus(group.count);
        }
        self.arrive();
        self.seal_groups(groups);
        self.let_old_go(room);
        let jobs = IdRange::new(first, count);
        match has {
            Unique::None => Outcome::Submitted(jobs),
            Unique::AllNew | Unique::Some => Outcome::Received(jobs.iter().map(Receipt::New).collect()),
        }
    }

    /// The jobs of a group arrive with the next [`Decision::arrive`] or before, as far as there is room.
    pub(super) fn take(&mut self, group: &Group, first: JobId, room: &mut Room, places: Places<'_>) {
        if let Some(ties) = &group.ties {
            self.arrive();
            let group = self.of_its_group(group, ties);
            let taken = self.take_untied(&group, first, room);
            self.arrive();
            if let Some(no) = group.spec.group.filter(|_| taken < group.count) {
                self.flow.not_taken(no, group.count - taken);
            }
            if taken > 0 {
                self.let_wait(IdRange::new(first, taken), ties, group.spec.owner, places);
            }
            return;
        }
        self.take_untied(group, first, room);
    }

    /// Returns how many.
    fn take_untied(&mut self, group: &Group, first: JobId, room: &mut Room) -> u64 {
        let taken = room.take(&group.spec.queue, group.count, group.size);
        if taken == group.count {
            self.arriving.push(self.submitted(group, first));
        } else if taken > 0 {
            self.arriving.push(self.submitted(&Group { count: taken, ..group.clone() }, first));
        }
        if group.size.is_counted() && taken > 0 {
            self.arrive();
            self.emit(Event::Sized { jobs: IdRange::new(first, taken).into(), size: group.size });
        }
        if taken < group.count {
            self.arrive();
            self.turn_away(&group.spec.queue, first.plus(taken), group.count - taken);
        }
        taken
    }

    pub(super) fn submitted(&self, group: &Group, first: JobId) -> Event {
        let now = self.moment.now;
        let is_plain = !group.spec.has_keys();
        let queue = if is_plain { self.state().queue(&group.spec.queue) } else { None };
        let shared = queue.and_then(|queue| queue.recent(&group.spec));
        let due = match group.start {
            Start::Now => None,
            Start::After(delay) => Some(now.plus(delay)),
            Start::At(time) => Some(time),
        };
        let in_time = |time: Option<Duration>| time.map_or(Time::NEVER, |time| now.plus(time));
        Event::Submitted {
            jobs: IdRange::new(first, group.count),
            spec: shared.cloned().unwrap_or_else(|| group.spec.clone()),
            at: now.whole_second(),
            due: due.filter(|due| *due > now),
            expiry: Expiry { begin_by: in_time(group.ttl), end_by: in_time(group.deadline) },
        }
    }
}
