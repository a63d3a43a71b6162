//! Queues that go away: those that are empty and unused for long are forgotten, some at a time.

use super::Engine;
use crate::core::{Command, QueueName, Time};
use crate::store::Store;

/// The most that one turn forgets.
const AT_ONCE: usize = 256;

impl<S: Store> Engine<S> {
    /// Forgets the queues that have been idle for so long as the settings say, but for those for which claims wait.
    pub(super) fn forget_idle_queues(&mut self, now: Time) {
        if self.sweep_at.is_none_or(|at| at > now) {
            return;
        }
        let idle = self.core.settings.queue_idle;
        // Those of which it is not known when they were used only go to make room.
        let known = |(used, name): &(Time, &QueueName)| *used > Time(0) && self.waiting.len_for(name) == 0;
        let mut over: Vec<(Time, QueueName)> = self
            .core
            .idle_queues()
            .filter(known)
            .map(|(used, name)| (used.plus(idle), name.clone()))
            .collect();
        over.sort_unstable();
        let later = over.split_off(over.partition_point(|(at, _)| *at <= now).min(AT_ONCE));
        for (_, queue) in over {
            self.command(&Command::ForgetQueue { queue }, now);
        }
        self.sweep_at = later.first().map(|(at, _)| *at);
    }

    /// Looks again in time, now that something has changed.
    pub(super) fn plan_sweep(&mut self) {
        if self.sweep_at.is_none() {
            self.sweep_at = Some(self.now.plus(self.core.settings.queue_idle));
        }
    }
}
