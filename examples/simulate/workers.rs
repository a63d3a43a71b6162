//! Workers whose leases outlive the daemon. When it dies they hold what they had been told of, until the time after the next start
//! is over. Some come back before that, some too late and some never; with all their leases, with some of them, and with others'. Who comes back
//! in time has lost nothing; what it does not name goes back; and who does not come back has crashed, once for each job.

use crate::clients::{Asked, Clients, LEASE};
use crate::oracle::Oracle;
use crate::stage::Life;
use fastrand::Rng;
use musher::core::{
    Attempt, Holder, Job, JobId, LeaseId, LeaseRejection, State, StateKind, Time, Visibility,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// More of them at a time show nothing new.
const WORKERS: usize = 5;

/// How long the daemon may be told to wait for them.
pub(crate) fn within(rng: &mut Rng) -> Duration {
    Duration::from_secs([0, 2, 10, 30, 30, 120][rng.usize(..6)])
}

/// Those that there are.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    begun: u64,
    /// The sessions of connections.
    here: BTreeMap<u64, u64>,
    /// The sessions of those without one, and whether their leases have ended with it, in this life of the daemon.
    away: BTreeMap<u64, bool>,
}

impl Workers {
    /// Whose is what is claimed on this connection.
    pub(crate) fn session(&self, connection: u64) -> u64 {
        self.here.get(&connection).copied().unwrap_or(connection)
    }

    pub(crate) fn are_away(&self) -> bool {
        !self.away.is_empty()
    }

    /// A connection is lost while the daemon lives. Returns the session that ends with it, if it had one.
    pub(crate) fn vanish(&mut self, connection: u64) -> Option<u64> {
        let session = self.here.remove(&connection)?;
        self.away.insert(session, true);
        Some(session)
    }

    /// The daemon is gone, and some workers with it.
    pub(crate) fn hang_up(&mut self, rng: &mut Rng) {
        let here = std::mem::take(&mut self.here).into_values();
        self.away.extend(here.map(|session| (session, false)));
        self.away.values_mut().for_each(|has_ended| *has_ended = false);
        self.away.retain(|_, _| rng.u32(..8) > 0);
    }

    fn len(&self) -> usize {
        self.here.len() + self.away.len()
    }
}

/// Leases of workers that were away at the start of this life, and have not come back.
#[derive(Debug, Default)]
pub(crate) struct Awaited {
    /// Until when they are waited for, at least.
    back_by: Time,
    leases: BTreeMap<LeaseId, Wait>,
}

#[derive(Debug)]
struct Wait {
    session: u64,
    /// Until when the lease lasts if its worker comes back.
    until: Time,
    crashes: u32,
    failed: u32,
}

impl Awaited {
    /// An extend is sent by which a lease may become shorter.
    pub(crate) fn shorten(&mut self, lease: LeaseId, until: Time) {
        if let Some(wait) = self.leases.get_mut(&lease) {
            wait.until = wait.until.min(until);
        }
    }

    /// A lease was extended. Returns until when it lasts whether its worker comes back or not.
    pub(crate) fn extended(&mut self, lease: LeaseId, until: Time) -> Time {
        match self.leases.get_mut(&lease) {
            Some(wait) => {
                wait.until = until;
                until.min(self.back_by)
            }
            None => until,
        }
    }
}

/// A lease that a worker says it has, and whether it must have it.
pub(crate) type Named = (LeaseId, bool);

impl Oracle {
    /// The daemon dies: what connections hold is over, but for what belongs to workers.
    pub(crate) fn dies(&mut self, now: Time) {
        self.awaited = Awaited::default();
        for (_, held, _) in self.held() {
            let Some(session) = held.session else { continue };
            held.sure &= Holder::is_resumable(session) && held.until > now;
            // What was under way has no answer any more.
            (held.until, held.extends) = (held.told, 0);
        }
    }

    /// A daemon has started, and waits for so long.
    pub(crate) fn starts(&mut self, state: &State, now: Time, within: Duration) {
        let mut awaited = Awaited { back_by: now.plus(within), leases: BTreeMap::new() };
        for (lease, held, expiry) in self.held().filter(|(_, held, _)| held.sure) {
            let Some(session) = held.session else { continue };
            let until = held.until.max(awaited.back_by.min(expiry.end_by.plus(LEASE)));
            held.until = until.min(awaited.back_by);
            let job = state.job(lease.id).expect("a job with a lease is there");
            let lasts = job.lease().is_some_and(|(attempt, found)| {
                (attempt, found.holder) == (lease.attempt, Holder::Session(session)) && found.until >= until
            });
            assert!(
                lasts,
                "{lease:?} of {session:x} lasts until {until}, though the daemon has died at {now}, {held:?}, {within:?}: {job:?}"
            );
            let (crashes, failed) = (job.crashes(), job.failed());
            awaited.leases.insert(lease, Wait { session, until, crashes, failed });
        }
        self.awaited = awaited;
    }

    /// Such workers cannot come back any more, and the daemon is told so.
    fn gives_up(&mut self, now: Time, gone: impl Fn(u64) -> bool) {
        let all = self.held().filter(|(_, held, _)| held.session.is_some_and(&gone));
        all.for_each(|(_, held, _)| held.until = held.until.min(now));
    }

    /// What a worker was told that it has, or had.
    fn told_to(&mut self, session: u64) -> Vec<LeaseId> {
        self.held().filter(|(_, held, _)| held.session == Some(session)).map(|(lease, ..)| lease).collect()
    }

    /// A worker comes back, and names these. Returns which of them it must have.
    fn comes_back(&mut self, session: u64, named: &[LeaseId], now: Time) -> Vec<Named> {
        let mut awaited = std::mem::take(&mut self.awaited);
        for (lease, held, _) in self.held().filter(|(_, held, _)| held.session == Some(session)) {
            // What is over by then may have ended, and what it does not name goes back.
            held.sure &= held.until > now && named.contains(&lease);
            if let Some(wait) = awaited.leases.remove(&lease) {
                held.until = wait.until;
            }
        }
        awaited.leases.retain(|_, wait| wait.session != session);
        self.awaited = awaited;
        let own = self.told_to(session);
        named.iter().map(|lease| (*lease, own.contains(lease) && self.holds(*lease, now))).collect()
    }

    /// It was answered so. `has_ended`: its leases had ended with its connection.
    pub(crate) fn taken_up(
        &mut self,
        (session, has_ended): (u64, bool),
        named: Vec<Named>,
        results: Vec<Result<(), LeaseRejection>>,
    ) {
        assert_eq!(named.len(), results.len(), "one result a lease");
        let others: Vec<LeaseId> = self
            .held()
            .filter(|(_, held, _)| held.session != Some(session))
            .map(|(lease, ..)| lease)
            .collect();
        for ((lease, must), result) in named.into_iter().zip(results) {
            if let (true, Err(error)) = (must, &result) {
                panic!("a worker came back in time, and has lost {lease:?}: {error}");
            }
            self.held()
                .filter(|(own, ..)| *own == lease && must)
                .for_each(|(_, held, _)| held.told = held.until);
            let may_have = !has_ended && !others.contains(&lease) && !self.has_ended(lease);
            assert!(may_have || result.is_err(), "{lease:?} was taken up by {session:x}, whose it is not");
        }
    }

    /// After a turn: who is still waited for has what it had, and who is not has crashed with it.
    pub(crate) fn look_after_workers(&mut self, state: &State, now: Time) {
        if self.awaited.leases.is_empty() {
            return;
        }
        let mut awaited = std::mem::take(&mut self.awaited);
        awaited.leases.retain(|lease, wait| {
            let job = state.job(lease.id);
            let held = job.and_then(|job| job.lease()).filter(|(attempt, _)| *attempt == lease.attempt);
            if held.is_some_and(|(_, held)| held.holder == Holder::Session(wait.session)) {
                return true;
            }
            // Somebody may have ended it. If not, an answer that is on its way says no more than that it was in force.
            let Some(until) = self.ends(*lease) else { return false };
            assert!(until <= now, "{lease:?} is taken at {now} from a worker that may come back: {job:?}");
            let is_there = |job: &&Job| matches!(job.kind(), StateKind::Ready | StateKind::Leased);
            // One that was claimed again in the same turn may have crashed with another worker, too.
            if let Some(job) = job.filter(is_there).filter(|job| job.attempt() == lease.attempt) {
                let expected = (wait.crashes + 1, wait.failed);
                assert_eq!(
                    (job.crashes(), job.failed()),
                    expected,
                    "its worker has gone with {lease:?}: {job:?}"
                );
            }
            false
        });
        self.awaited = awaited;
    }

    /// All that is due has happened: nobody is waited for.
    pub(crate) fn waits_for_no_worker(&self) {
        let waits = self.awaited.leases.first_key_value();
        assert!(waits.is_none(), "this has no end: {waits:?}");
    }
}

impl Clients {
    /// A worker begins, or comes back.
    pub(crate) fn play_workers(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        let (count, away) = (self.workers.len(), &self.workers.away);
        let (session, has_ended) = match away.iter().nth(rng.usize(..away.len().max(1))) {
            Some((session, has_ended)) if count >= WORKERS || rng.u32(..3) > 0 => (*session, *has_ended),
            None if count >= WORKERS => return,
            _ => {
                self.workers.begun += 1;
                let pool = if rng.u32(..3) == 0 { Holder::POOL } else { 0 };
                (self.workers.begun | Holder::RESUMABLE | pool, false)
            }
        };
        let mut leases = oracle.told_to(session);
        if rng.u32(..4) == 0 {
            leases.retain(|_| rng.bool());
        }
        if rng.u32(..4) == 0 {
            leases.extend(self.leases.get(rng.usize(..self.leases.len().max(1))));
            leases.extend(oracle.any(rng.u64(..)).map(|id| LeaseId { id, attempt: Attempt(rng.u32(..4)) }));
            leases.push(LeaseId { id: JobId(u64::MAX), attempt: Attempt(1) });
        }
        let origin = self.on_new_connection();
        self.workers.away.remove(&session);
        self.workers.here.insert(origin.session, session);
        let named = oracle.comes_back(session, &leases, life.now);
        let within = life.bounds.resume_within;
        self.expect(origin, Asked::TakeUp { worker: (session, has_ended), named, within });
        life.engine.take_up(origin, (session, leases), Visibility::ALL, life.now);
    }

    /// At a start: the pools of former daemons may be known to be gone.
    pub(crate) fn lose_pools(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        if rng.u32(..4) == 0 {
            self.workers.away.retain(|session, _| !Holder::is_pool(*session));
            oracle.gives_up(life.now, Holder::is_pool);
            life.engine.do_not_await(Holder::is_pool);
        }
    }
}
