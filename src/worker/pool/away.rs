//! What a pool does while the daemon is away: its jobs run on, and it goes the way back that all workers go
//! (`client/resuming.rs`). The pool of a daemon besides knows when there will be none, or another one with a pool of its own.

use super::{Pool, closed};
use crate::client::Client;
use crate::client::resuming::{Dial, NextStep, Nobody, Step, drop_lost, say_gone};
use crate::protocol::{LeaseFault, LeaseRef};
use crate::worker::PoolLock;
use crate::worker::supervise::Order;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;

/// How long a pool that finishes what it runs waits for a daemon. Longer than a start takes; then there will be none.
const DAEMON_WAIT_MAX: Duration = Duration::from_secs(600);

/// How a pool goes on when its connection has ended.
pub(crate) struct Back {
    /// What it calls itself.
    pub(crate) name: &'static str,
    pub(crate) dial: Dial,
    /// If it is the pool of a daemon: the next one has a pool of its own.
    pub(crate) finish: Option<Finish>,
}

/// Of a pool that then takes no more jobs, and ends with the last one.
pub(crate) struct Finish {
    /// The lock of the one pool that takes jobs, and its place. When that is gone no daemon will come.
    lock: Option<PoolLock>,
    place: PathBuf,
    since: Option<Instant>,
}

impl Finish {
    pub(crate) fn new(lock: PoolLock, place: PathBuf) -> Finish {
        Finish { lock: Some(lock), place, since: None }
    }

    /// From here on it takes no jobs.
    fn begin(&mut self) {
        self.lock = None;
        self.since = Some(Instant::now());
    }

    /// What it means that no daemon answers.
    fn judge(&self) -> Nobody {
        let waited = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        if !self.place.exists() {
            return Nobody::Ever("the data directory is gone");
        }
        if waited > DAEMON_WAIT_MAX {
            return Nobody::Ever("no daemon has come for too long");
        }
        // If another pool takes jobs there is a daemon, wherever its socket is.
        let is_succeeded = self.lock.is_none() && !PoolLock::is_free(&self.place).unwrap_or(true);
        if is_succeeded { Nobody::Here } else { Nobody::Yet }
    }
}

impl Pool {
    /// The connection has ended. Returns whether the jobs run on.
    pub(super) fn lose(&mut self) -> bool {
        let Some(back) = self.back.as_mut().filter(|_| !self.daemon_stops) else { return false };
        back.begin();
        self.away = true;
        self.switch.lose();
        if let Some(finish) = &mut self.finish {
            finish.begin();
            self.finishes = true;
            let outdated = self.lanes.replace(Vec::new());
            // The claims went with the connection.
            outdated.ahead.into_iter().for_each(|lease| self.leases.order(lease, Order::Stop));
        }
        if !self.finishes || !self.leases.is_empty() {
            say_gone(self.leases.len());
        }
        true
    }

    /// The next call, once all that was asked on the old connection has its answer, or never will: jobs that came in the
    /// last moment must be known.
    pub(super) fn call(&mut self) -> Option<NextStep> {
        let is_answered = !self.lanes.is_claiming() && self.settling == 0 && self.extending == 0;
        if self.away && is_answered { self.back.as_mut().map(|back| back.call()) } else { None }
    }

    /// What follows from a step: the next one, or nothing; an error if the jobs must end.
    pub(super) fn step(&mut self, step: Step) -> Result<Option<NextStep>, ()> {
        let leases = self.known();
        let Some(back) = &mut self.back else { return Ok(None) };
        let onward = back.step(step, leases, || self.finish.as_ref().map_or(Nobody::Yet, Finish::judge));
        onward.take(|client, lost| self.come_back(client, lost))
    }

    /// The leases of all that runs, and of what has ended and is not settled.
    fn known(&self) -> Vec<LeaseRef> {
        self.leases.all().chain(self.settles.iter().map(|item| item.lease)).collect()
    }

    fn come_back(&mut self, client: Client, lost: HashMap<LeaseRef, LeaseFault>) {
        self.closed = closed(&client);
        self.notices = client.notices();
        self.switch.mend(client.clone());
        (self.client, self.away) = (client, false);
        drop_lost(&mut self.settles, &lost);
        for (lease, fault) in lost {
            if self.leases.has(lease) {
                tracing::warn!("job {} is killed: {fault}", lease.id);
                self.leases.order(lease, Order::Kill);
            }
            self.unsent.remove(&lease);
        }
        self.leases.extend_now();
        if !self.plans_are_fixed && !self.finishes {
            self.ask_for_plans();
        }
    }
}
