//! Pools of former daemons, which finish what they run: their jobs take slots of the pool that is ours, until they have
//! ended. Which leases are theirs, the numbers of their sessions say.

use super::encoder::Notice;
use super::hub::Hub;
use crate::core::{Holder, QueueName};
use crate::store::Store;
use std::collections::HashMap;

impl<S: Store + 'static> Hub<S> {
    /// How many jobs of each queue they run.
    pub(super) fn jobs_of_former_pools(&self) -> HashMap<QueueName, u32> {
        let (engine, open) = (self.engine.borrow(), self.connections.open());
        let state = &engine.core().state;
        let is_ours = |session| {
            let connection = self.sessions.connection(session).and_then(|id| open.get(&id));
            connection.is_some_and(|connection| connection.peer.pool)
        };
        let mut jobs = HashMap::new();
        for session in state.holders().filter(|session| Holder::is_pool(*session) && !is_ours(*session)) {
            for spec in state.held_by(session).filter_map(|id| state.spec_of(id)) {
                *jobs.entry(spec.queue.clone()).or_default() += 1;
            }
        }
        jobs
    }

    /// Tells our pool when slots have become free. There are none but those that a start has found.
    pub(super) fn look_after_former_pools(&self) {
        let Some(before) = self.former_pools.get() else { return };
        let now = self.jobs_of_former_pools().values().map(|jobs| u64::from(*jobs)).sum();
        if now == before {
            return;
        }
        self.former_pools.set(Some(now).filter(|jobs| *jobs > 0));
        for connection in self.connections.open().values().filter(|connection| connection.peer.pool) {
            connection.notify(Notice::Reconfigured);
            connection.flush();
        }
    }
}
