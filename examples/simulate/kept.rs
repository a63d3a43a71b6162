//! Ended jobs of which only so many are kept: never more, and those that go are the oldest: by their end, or, of dead ones,
//! by their submit.

use crate::limits::limited;
use crate::queues::named;
use musher::core::{IdRange, JobId, JobState, Keep, QueueName, QueueSettings, State, Time};
use std::collections::BTreeMap;

/// The most done jobs of the queue that keeps them for ever.
const DONE: usize = 20;
/// The most dead ones of another.
const DEAD: u32 = 3;

/// With the first of these limits.
pub(crate) fn with_done_max(settings: QueueSettings) -> QueueSettings {
    QueueSettings { keep_done: Keep::Forever, keep_done_max: DONE as u64, ..settings }
}

/// With the other one.
pub(crate) fn with_dead_max(settings: QueueSettings) -> QueueSettings {
    QueueSettings { keep_dead_max: Some(DEAD), ..settings }
}

/// The queue that has the other one.
pub(crate) fn few_dead() -> QueueName {
    named("full.new")
}

/// What was kept when somebody last looked.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    done: BTreeMap<JobId, Time>,
    dead: BTreeMap<JobId, Time>,
}

impl Kept {
    /// Looks. `is_edited` says of which jobs somebody has asked for something.
    pub(crate) fn check(&mut self, state: &State, is_edited: impl Fn(JobId) -> bool) {
        let (mut done, mut dead) = (BTreeMap::new(), BTreeMap::new());
        for (range, job) in state.iter(IdRange::new(JobId(1), state.next_id().0)) {
            let kept = match job.state() {
                JobState::Done(end) | JobState::Cancelled(end) | JobState::Expired(end)
                    if job.spec.queue == limited() =>
                {
                    Some((&mut done, end.at))
                }
                JobState::Dead(end) if job.spec.queue == few_dead() => Some((&mut dead, end.at)),
                _ => None,
            };
            if let Some((kept, at)) = kept {
                kept.extend(range.iter().map(|id| (id, at)));
            }
        }
        assert!(done.len() <= DONE, "{} done jobs are kept", done.len());
        assert!(dead.len() <= DEAD as usize, "{} dead jobs are kept", dead.len());
        let gone = |before: &BTreeMap<JobId, Time>, now: &BTreeMap<JobId, Time>| {
            let gone = before.iter().filter(|(id, _)| !now.contains_key(id) && !is_edited(**id));
            gone.map(|(id, at)| (*id, *at)).collect::<Vec<_>>()
        };
        let stay = |before: &BTreeMap<JobId, Time>, now: &BTreeMap<JobId, Time>| {
            let stay = before.iter().filter(|(id, at)| now.get(id) == Some(at));
            stay.map(|(id, at)| (*id, *at)).collect::<Vec<_>>()
        };
        let newest = gone(&self.done, &done).into_iter().map(|(_, at)| at).max();
        let oldest = stay(&self.done, &done).into_iter().map(|(_, at)| at).min();
        assert!(
            newest.is_none() || oldest.is_none() || newest <= oldest,
            "an older one is kept than one that is gone"
        );
        let newest = gone(&self.dead, &dead).into_iter().map(|(id, _)| id).max();
        let oldest = stay(&self.dead, &dead).into_iter().map(|(id, _)| id).min();
        assert!(
            newest.is_none() || oldest.is_none() || newest < oldest,
            "a dead one is kept that came before one that is gone"
        );
        (self.done, self.dead) = (done, dead);
    }

    /// At a start there may be others.
    pub(crate) fn begin_anew(&mut self) {
        *self = Kept::default();
    }
}
