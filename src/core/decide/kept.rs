//! Decides which ended jobs give way where more of them are kept than the queue's limit says.

use super::Decision;
use crate::core::change::{Change, Observer, QueueChange, Recorder};
use crate::core::event::Event;
use crate::core::ids::first;
use crate::core::job::QueueName;
use crate::core::queue::kept_since;

/// Sees in which queues jobs have ended that are kept, dead ones aside, and passes all changes on.
pub(super) struct SeesKept<'a, R> {
    pub(super) kept_in: &'a mut Vec<QueueName>,
    pub(super) then: &'a mut R,
}

impl<R: Recorder> Observer for SeesKept<'_, R> {
    fn changed(&mut self, change: &Change<'_>) {
        let queue = &change.job.spec.queue;
        let may_give_way = kept_since(change.job).is_some();
        if may_give_way && !change.forgotten && !self.kept_in.contains(queue) {
            self.kept_in.push(queue.clone());
        }
        self.then.changed(change);
    }

    fn queue_changed(&mut self, queue: &QueueName, change: QueueChange) {
        self.then.queue_changed(queue, change);
    }
}

impl<R: Recorder> Decision<'_, R> {
    /// Lets the oldest go. Those that have ended just now are the youngest, but not spared.
    pub(super) fn limit_kept(&mut self) {
        for name in std::mem::take(&mut self.kept_in) {
            let Some(queue) = self.state().queue(&name) else { continue };
            let over = queue.kept().saturating_sub(self.core.settings.of(&name).keep_done_max);
            let jobs = first(queue.oldest_kept(), over);
            if !jobs.is_empty() {
                self.emit(Event::Deleted { jobs });
            }
        }
    }
}
