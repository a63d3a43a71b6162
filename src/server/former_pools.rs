//! Pools of former daemons, which finish what they run: their jobs take slots of the pool that is ours, until they have
//! ended. Which leases are theirs, the numbers of their sessions say.

use super::encoder::Notice;
use super::hub::Hub;
use crate::core::{Holder, QueueName, State};
use crate::store::Store;
use std::collections::HashMap;

impl<S: Store + 'static> Hub<S> {
    /// How many jobs of each queue they run.
    pub(super) fn jobs_of_former_pools(&self) -> HashMap<QueueName, u32> {
        let mut jobs = HashMap::new();
        self.each_former_pool(|state, session| {
            for spec in state.held_by(session).filter_map(|id| state.spec_of(id)) {
                *jobs.entry(spec.queue.clone()).or_default() += 1;
            }
        });
        jobs
    }

    fn each_former_pool(&self, mut each: impl FnMut(&State, u64)) {
        let (engine, open) = (self.engine.borrow(), self.connections.open());
        let state = &engine.core().state;
        let is_ours = |session| {
            let connection = self.sessions.connection(session).and_then(|id| open.get(&id));
            connection.is_some_and(|connection| connection.peer.pool)
        };
        state
            .sessions_from(Holder::POOLS)
            .filter(|session| !is_ours(*session))
            .for_each(|session| each(state, session));
    }

    /// Tells our pool when slots have become free. There are none but those that a start has found.
    pub(super) fn look_after_former_pools(&self) {
        let Some(before) = self.former_pools.get() else { return };
        let mut now = 0;
        self.each_former_pool(|state, session| now += state.held_by(session).count() as u64);
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
