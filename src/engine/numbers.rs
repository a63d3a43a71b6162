//! What the engine has counted, for people: the numbers of queues as the core tells of changes, limits that were met, commits. Nothing
//! that is decided depends on it.

use super::{Engine, Refusal};
use crate::core::{
    Bound, EditRejection, FlowRejection, IdRange, QueueName, Rejection, ScheduleClock, ScheduleRejection,
    SignalRejection, StateKind, Time, TopicRejection,
};
use crate::store::{Figures, Room, Store};
use crate::tally::{Past, Saved, Tally};
use std::time::Duration;

/// A schedule is late whose time has passed by more than this.
const LATE: Duration = Duration::from_secs(10);

/// What was counted.
#[derive(Debug)]
pub(super) struct Numbers {
    pub(super) tally: Tally,
    /// What the log had been given when a commit was counted last.
    bytes: u64,
}

impl Numbers {
    pub(super) fn new(queues: usize, now: Time) -> Numbers {
        let mut tally = Tally::new(queues, now);
        LIMITS.iter().for_each(|limit| tally.know_limit(limit));
        Numbers { tally, bytes: 0 }
    }
}

/// All limits that are counted here: a series that begins with its first count would not be seen to rise by that.
const LIMITS: [&str; 17] = [
    "limits.disk_reserve",
    "storage.log_max",
    "limits.waiting",
    "limits.buffers",
    "limits.backlog",
    "limits.backlog_bytes",
    "limits.total_backlog",
    "limits.total_backlog_bytes",
    "limits.queues",
    "limits.queues_per_user",
    "limits.idempotency_keys",
    "limits.idempotency_keys_per_user",
    "limits.schedules",
    "limits.groups",
    "limits.groups_per_user",
    "signals",
    "topics",
];

/// The limit for which something is refused, one of [`LIMITS`], as its key in the configuration, or by name if that has none; `None` if it is refused
/// for another reason.
pub(super) fn limit_of(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Core(rejection) => limit_of_core(rejection),
        Refusal::NoRoom(Room::DiskLow { .. }) => Some("limits.disk_reserve"),
        Refusal::NoRoom(Room::LogFull { .. }) => Some("storage.log_max"),
        Refusal::TooManyWaiting { .. } => Some("limits.waiting"),
        Refusal::CrowdWaiting { .. } => Some("limits.buffers"),
        Refusal::Edit(EditRejection::NoRoom { why, .. }) => limit_of_core(why),
        Refusal::NoRoom(Room::Enough)
        | Refusal::NotFound(_)
        | Refusal::Edit(
            EditRejection::NotFound { .. }
            | EditRejection::MovedOn { .. }
            | EditRejection::NotUnique { .. }
            | EditRejection::WrongState { .. },
        )
        | Refusal::NothingBeside { .. }
        | Refusal::Rhythm(_)
        | Refusal::Blob(_) => None,
    }
}

fn limit_of_core(rejection: &Rejection) -> Option<&'static str> {
    match rejection {
        Rejection::QueueFull { bound, .. } => Some(match bound {
            Bound::Jobs => "limits.backlog",
            Bound::Bytes => "limits.backlog_bytes",
            Bound::TotalJobs => "limits.total_backlog",
            Bound::TotalBytes => "limits.total_backlog_bytes",
        }),
        Rejection::TooManyQueues { .. } => Some("limits.queues"),
        Rejection::TooManyOwnQueues { .. } => Some("limits.queues_per_user"),
        Rejection::TooManyRequests { .. } => Some("limits.idempotency_keys"),
        Rejection::TooManyOwnRequests { .. } => Some("limits.idempotency_keys_per_user"),
        Rejection::Schedule(ScheduleRejection::TooMany { .. }) => Some("limits.schedules"),
        Rejection::Flow(FlowRejection::TooManyGroups { .. }) => Some("limits.groups"),
        Rejection::Flow(FlowRejection::TooManyOwnGroups { .. }) => Some("limits.groups_per_user"),
        Rejection::Signal(SignalRejection::TooMany { .. }) => Some("signals"),
        Rejection::Topic(TopicRejection::TooManyQueues { .. } | TopicRejection::TooManyPatterns { .. }) => {
            Some("topics")
        }
        Rejection::Draining
        | Rejection::NoSuchQueue { .. }
        | Rejection::QueueHasJobs { .. }
        | Rejection::NotUnique { .. }
        | Rejection::NotUniqueAmongThem { .. }
        | Rejection::OtherRequest
        | Rejection::NothingToSubmit
        | Rejection::OutOfIds
        | Rejection::Schedule(_)
        | Rejection::Flow(_)
        | Rejection::Signal(_)
        | Rejection::Topic(_)
        | Rejection::Lease(_) => None,
    }
}

impl<S: Store> Engine<S> {
    /// The queues that are there have numbers, in the order of their names as far as there is room.
    pub(super) fn know_queues(&mut self) {
        let mut names: Vec<_> = self.core.state.queues().map(|(name, _)| name).collect();
        names.sort_unstable();
        names.into_iter().for_each(|name| self.numbers.tally.know(name));
    }

    /// Before something changes: what belongs to a step of the past that is over.
    pub(super) fn end_steps(&mut self, now: Time) {
        if self.numbers.tally.is_step_over(now) {
            let state = &self.core.state;
            let ready =
                |queue: &QueueName| state.queue(queue).map_or(0, |queue| queue.counts().of(StateKind::Ready));
            self.numbers.tally.end_steps(now, ready);
        }
    }

    /// What was refused for a limit since the last turn.
    pub(super) fn count_limits_hit(&mut self) {
        for limit in self.notes.limits_hit.drain(..) {
            self.numbers.tally.limit_hit(limit);
        }
    }

    /// What was counted since the start.
    pub fn tally(&self) -> &Tally {
        &self.numbers.tally
    }

    /// What the store keeps.
    pub fn figures(&self) -> Figures {
        self.store.figures()
    }

    /// A turn took so long in which commits may have been made.
    pub fn commit_took(&mut self, took: Duration) {
        let bytes = self.store.appended_bytes();
        let new = bytes - std::mem::replace(&mut self.numbers.bytes, bytes);
        if new > 0 {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.numbers.tally.committed(micros, new);
            self.trace_commit(micros);
        }
    }

    /// The past, step by step, from so long ago on, of the queues that are `shown`, and of those that are summed up if `all` are.
    pub fn past(&mut self, since_ms: u64, shown: impl Fn(&QueueName) -> bool, all: bool, now: Time) -> Past {
        self.end_steps(self.now.max(now));
        self.numbers.tally.past(since_ms, shown, all)
    }

    /// The past as it is now, to be brought back after a start.
    pub fn save_past(&mut self, now: Time) -> Saved {
        self.end_steps(self.now.max(now));
        self.numbers.tally.save()
    }

    /// The same at the end of this life.
    pub fn save_whole_past(&mut self, now: Time) -> Saved {
        self.end_steps(self.now.max(now));
        let state = &self.core.state;
        let ready =
            |queue: &QueueName| state.queue(queue).map_or(0, |queue| queue.counts().of(StateKind::Ready));
        self.numbers.tally.end(ready);
        self.numbers.tally.save()
    }

    /// Brings the past of a former life back.
    pub fn restore_past(&mut self, past: Saved) {
        self.numbers.tally.restore(past);
    }

    /// Since when the ready job of a queue is ready that has waited longest, or nearly: of very many runs of jobs only some are
    /// looked at.
    pub fn ready_since(&self, queue: &QueueName) -> Option<Time> {
        let (state, tally) = (&self.core.state, &self.numbers.tally);
        let runs = state.queue(queue)?.some_ready();
        let since = runs.into_iter().filter_map(|run: IdRange| {
            let (part, job) = state.iter(run).next()?;
            tally.ready_since(IdRange::new(part.first, run.end().0 - part.first.0), job)
        });
        since.min()
    }

    /// How many schedules have a time that has passed and was not dealt with.
    pub fn late_schedules(&self, now: Time) -> u64 {
        let late = |clock| {
            let shown = self.wall_or_own(clock, self.now.max(now));
            let schedules = self.core.state.schedules().iter().map(|(_, schedule)| schedule);
            let due = schedules.filter(move |schedule| schedule.clock() == clock && !schedule.paused);
            due.filter(move |schedule| shown.since(schedule.next) > LATE).count() as u64
        };
        late(ScheduleClock::Core) + late(ScheduleClock::Wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_for_another_reason_is_no_limit() {
        assert_eq!(limit_of(&Rejection::Draining.into()), None);
        assert_eq!(limit_of(&Rejection::TooManyQueues { limit: 1 }.into()), Some("limits.queues"));
    }
}
