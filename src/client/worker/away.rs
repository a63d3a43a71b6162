//! What a worker does while the daemon is away: its handlers run on, and it goes the way back that all workers go
//! (`client/resuming.rs`). A lease for which nobody can ask ends by the worker's own clock, and its handler is told so. What
//! the others come to waits for the daemon that takes the worker back.

use super::context::Reason;
use super::session::{Session, closed};
use crate::client::Client;
use crate::client::resuming::{NextStep, Nobody, Step, drop_lost, say_gone};
use crate::protocol::{LeaseFault, LeaseRef};
use std::collections::HashMap;
use tokio::time::Instant;

impl Session {
    pub(super) fn is_away(&self) -> bool {
        self.away.is_some()
    }

    /// The connection has ended. Returns whether what runs goes on.
    pub(super) fn lose(&mut self, now: Instant) -> bool {
        let Some(back) = self.back.as_mut().filter(|_| !self.daemon_stops) else { return false };
        back.begin();
        // As long a daemon leaves leases alone, and none has started before this moment.
        self.away = Some(now + back.within());
        self.switch.lose();
        say_gone(self.leases.len());
        true
    }

    /// The leases end for good: what runs is told so, and what has ended is told to nobody.
    pub(super) fn give_up(&mut self) {
        self.end_all(Reason::Disconnected);
        self.switch.cut();
        if !self.settles.is_empty() {
            tracing::warn!("the results of {} jobs are lost, and they run again", self.settles.len());
        }
    }

    /// Tells handlers whose leases are over. Only while the daemon is away: else it says so.
    pub(super) fn end_overdue(&mut self, now: Instant) {
        let Some(earliest) = self.away else { return };
        for lease in self.leases.ended(earliest, now) {
            if self.leases.holder(lease).is_some_and(|shared| shared.is_complete()) {
                self.leases.give_up(lease);
                continue;
            }
            tracing::warn!(
                "the handler of job {} is told to end: its lease is over, and the daemon is away",
                lease.id
            );
            self.revoke(lease, Reason::LeaseLost);
        }
    }

    /// The next call, once all that was asked on the old connection has its answer, or never will: jobs that came in the
    /// last moment must be known.
    pub(super) fn call(&mut self, is_claiming: bool) -> Option<NextStep> {
        let is_answered = !is_claiming && self.settling == 0 && self.extending == 0;
        if self.is_away() && is_answered { self.back.as_mut().map(|back| back.call()) } else { None }
    }

    /// What follows from a step: the next one, or nothing; an error if the leases end for good.
    pub(super) fn step(&mut self, step: Step) -> Result<Option<NextStep>, ()> {
        let leases = self.known();
        let Some(back) = &mut self.back else { return Ok(None) };
        let onward = back.step(step, leases, || Nobody::Yet);
        onward.take(|client, lost| self.come_back(client, lost))
    }

    /// The leases of all that runs and has not been told to end for the loss of its own, and of what has ended and is not settled.
    fn known(&self) -> Vec<LeaseRef> {
        self.leases.kept().chain(self.settles.iter().map(|item| item.lease)).collect()
    }

    fn come_back(&mut self, client: Client, lost: HashMap<LeaseRef, LeaseFault>) {
        self.closed = closed(&client);
        self.notices = client.notices();
        self.switch.mend(client.clone());
        (self.client, self.away) = (client, None);
        drop_lost(&mut self.settles, &lost);
        lost.into_iter().for_each(|(lease, fault)| self.lose_lease(lease, &fault));
        self.leases.extend_now();
        for shared in self.leases.holders() {
            shared.say_progress_again(&self.client);
        }
    }
}
