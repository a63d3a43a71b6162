//! Decides submits: all of the jobs or none.

use super::Decision;
use super::room::{Growth, Room};
use super::ties::Places;
use crate::core::change::Recorder;
use crate::core::command::{Group, Outcome, Start};
use crate::core::event::Event;
use crate::core::ids::{IdRange, JobId};
use crate::core::job::Expiry;
use crate::core::rejection::Rejection;
use crate::core::time::Time;
use std::time::Duration;

/// A submit that is not refused.
#[derive(Debug)]
pub(super) struct Prepared {
    room: Room,
    count: u64,
    has_unique: bool,
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
        let has_unique = groups.iter().any(|group| group.count > 0 && group.spec.unique.is_some());
        let room = match has_unique {
            true => self.room_for_unique(groups)?,
            false => self.make_room(groups, &Growth::default())?,
        };
        Ok(Prepared { room, count, has_unique })
    }

    /// The jobs arrive.
    pub(super) fn enqueue(&mut self, groups: &[Group], prepared: Prepared) -> Outcome {
        let Prepared { mut room, count, has_unique } = prepared;
        if has_unique {
            return self.enqueue_unique(groups, count, room);
        }
        let first = self.state().next_id();
        let mut next = first;
        for group in groups.iter().filter(|group| group.count > 0) {
            self.take(group, next, &mut room, Places::From(first));
            next = next.plus(group.count);
        }
        self.seal_groups(groups);
        self.let_old_go(room);
        Outcome::Submitted(IdRange::new(first, count))
    }

    /// The jobs of a group arrive, as far as there is room.
    pub(super) fn take(&mut self, group: &Group, first: JobId, room: &mut Room, places: Places<'_>) {
        if let Some(ties) = &group.ties {
            let group = self.of_its_group(group, ties);
            let taken = self.take_untied(&group, first, room);
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
            self.emit(self.submitted(group, first));
        } else if taken > 0 {
            self.emit(self.submitted(&Group { count: taken, ..group.clone() }, first));
        }
        if group.size.is_counted() && taken > 0 {
            self.emit(Event::Sized { jobs: IdRange::new(first, taken).into(), size: group.size });
        }
        self.turn_away(&group.spec.queue, first.plus(taken), group.count - taken);
        taken
    }

    pub(super) fn submitted(&self, group: &Group, first: JobId) -> Event {
        let now = self.moment.now;
        let shared = self.state().queue(&group.spec.queue).and_then(|queue| queue.recent(&group.spec));
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
