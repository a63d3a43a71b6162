//! Decides which ended jobs give way where more of them are kept than the queue's limit says.

use super::Decision;
use super::flow::Flow;
use crate::core::change::{Change, Observer, QueueChange, Recorder};
use crate::core::event::Event;
use crate::core::groups::{GroupNo, JobGroup};
use crate::core::ids::first;
use crate::core::job::{QueueName, StateKind};
use crate::core::kept::Kept;
use std::sync::Arc;

/// Sees in which queues jobs have ended that are kept, and what means something for other jobs; passes all changes on.
pub(super) struct SeesKept<'a, R> {
    /// With whether they are dead.
    pub(super) kept_in: &'a mut Vec<(QueueName, bool)>,
    pub(super) flow: &'a mut Flow,
    pub(super) then: &'a mut R,
}

impl<R: Recorder> Observer for SeesKept<'_, R> {
    fn changed(&mut self, change: &Change<'_>) {
        let queue = &change.job.spec.queue;
        // One that was dead already has only changed.
        let kept = Kept::of(change.job).filter(|_| !change.forgotten);
        let are_dead = match kept {
            Some(Kept::Since(_)) => Some(false),
            Some(Kept::Dead) if change.from != Some(StateKind::Dead) => Some(true),
            Some(Kept::Dead) | None => None,
        };
        if let Some(are_dead) = are_dead
            && !self.kept_in.iter().any(|(known, dead)| (known, *dead) == (queue, are_dead))
        {
            self.kept_in.push((queue.clone(), are_dead));
        }
        self.flow.see(change);
        self.then.changed(change);
    }

    fn queue_changed(&mut self, queue: &QueueName, change: QueueChange) {
        self.then.queue_changed(queue, change);
    }

    fn group_changed(&mut self, group: GroupNo, now: &Arc<JobGroup>, is_gone: bool) {
        self.then.group_changed(group, now, is_gone);
    }
}

impl<R: Recorder> Decision<'_, R> {
    /// Lets the oldest go of those whose unique keys, if they have any, are free. Those that have ended just now are the youngest,
    /// but not spared.
    pub(super) fn limit_kept(&mut self) {
        for (name, are_dead) in std::mem::take(&mut self.kept_in) {
            let Some(queue) = self.core.state.queues.get_mut(&name) else { continue };
            queue.free_kept(self.moment.now);
            let (kept, settings) = (queue.kept(), self.core.settings.of(&name));
            let jobs = match (are_dead, settings.keep_dead_max) {
                (false, _) => first(kept.oldest(), kept.ended().saturating_sub(settings.keep_done_max)),
                (true, None) => continue,
                (true, Some(most)) => first(kept.first_dead(), kept.dead().saturating_sub(u64::from(most))),
            };
            if !jobs.is_empty() {
                self.emit(Event::Deleted { jobs });
            }
        }
    }
}
