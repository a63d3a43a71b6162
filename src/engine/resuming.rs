//! Workers whose leases outlive the daemon: after a start they have some time to come back and take them up again; what is
//! not taken up by then is interrupted, a part at a time.

use super::{Answer, Delivery, Engine, Fact, Origin};
use crate::core::{Command, Holder, Job, LeaseId, Outcome, Time, Visibility};
use crate::store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Those that are waited for.
#[derive(Debug, Default)]
pub(super) struct Resuming {
    /// Each with how long.
    sessions: BTreeMap<u64, Time>,
    /// Those that cannot come back, and hold leases still.
    gone: BTreeSet<u64>,
    /// Whether the log was told.
    is_told: bool,
}

impl Resuming {
    /// When the wait is over, if anybody is waited for.
    pub(super) fn over_at(&self) -> Option<Time> {
        match self.gone.is_empty() {
            true => self.sessions.values().min().copied(),
            false => Some(Time(0)),
        }
    }

    /// It is not waited for any more.
    pub(super) fn forget(&mut self, session: u64) {
        self.sessions.remove(&session);
        self.gone.remove(&session);
    }

    /// Nobody could come back for so long.
    pub(super) fn wait_longer(&mut self, by: Duration) {
        self.sessions.values_mut().for_each(|until| *until = until.plus(by));
    }
}

impl<S: Store> Engine<S> {
    /// Ends the leases of the former life, but for those of workers that may come back.
    pub(super) fn recover(&mut self, now: Time) {
        let until = now.plus(self.bounds.resume_within);
        self.command(&Command::Recover { resume_by: until }, now);
        let sessions =
            self.core.state.sessions_from(Holder::RESUMABLE).map(|session| (session, until)).collect();
        self.resuming = Resuming { sessions, gone: BTreeSet::new(), is_told: false };
    }

    /// A worker says which leases of its session it has, at the beginning of a connection: it hears which of them are in
    /// force, and all others of that session are given back.
    pub fn take_up(
        &mut self,
        origin: Origin,
        (session, leases): (u64, Vec<LeaseId>),
        visibility: Visibility<'_>,
        now: Time,
    ) {
        // What is over by now is not to be told to be in force.
        self.catch_up(now);
        self.resuming.forget(session);
        let outcome = self.decide_for(visibility, &Command::TakeUp { session, leases }, now);
        let Ok(Outcome::TakenUp(leases)) = outcome else { unreachable!("it is not refused as a whole") };
        let taken_up = leases.iter().filter(|lease| lease.is_ok()).count() as u64;
        if !leases.is_empty() {
            self.notes.facts.push(Fact::WorkerBack { jobs: taken_up, lost: leases.len() as u64 - taken_up });
        }
        let within = self.bounds.resume_within;
        self.answer(origin, Answer::TakenUp { within, leases });
        // What is cancelled it was told before, or not.
        let state = &self.core.state;
        let cancelled =
            state.held_by(session).filter(|id| state.job(*id).is_some_and(Job::is_being_cancelled));
        let leases = cancelled.filter_map(|id| Some(LeaseId { id, attempt: state.lease(id)?.0 }));
        self.notes.said.extend(leases.map(|lease| Delivery::Revoked { session, lease, expired: false }));
    }

    /// A worker leaves, and comes back by another connection: it is waited for as after a start.
    pub fn await_worker(&mut self, session: u64, now: Time) {
        if self.core.state.held_by(session).next().is_none() {
            return;
        }
        let Resuming { sessions, is_told, .. } = &mut self.resuming;
        *is_told |= sessions.is_empty();
        sessions.insert(session, now.plus(self.bounds.resume_within));
    }

    /// Says for the log who is waited for.
    pub(super) fn note_the_absent(&mut self) {
        let Resuming { sessions, is_told, .. } = &mut self.resuming;
        if !sessions.is_empty() && !std::mem::replace(is_told, true) {
            let jobs = sessions.keys().map(|session| self.core.state.held_by(*session).count() as u64).sum();
            let (workers, within) = (sessions.len() as u64, self.bounds.resume_within);
            self.notes.facts.push(Fact::WorkersAwaited { workers, jobs, within });
        }
    }

    /// Some workers cannot come back, whatever the time: their leases end with the next turn.
    pub fn do_not_await(&mut self, gone: impl Fn(u64) -> bool) {
        let gone: Vec<u64> =
            self.resuming.sessions.keys().copied().filter(|session| gone(*session)).collect();
        self.resuming.sessions.retain(|session, _| !gone.contains(session));
        self.resuming.gone.extend(gone);
    }

    /// Ends leases of workers that have not come back in time.
    pub(super) fn give_up_the_absent(&mut self, now: Time) {
        let late: Vec<u64> = self
            .resuming
            .sessions
            .extract_if(.., |_, until| *until <= now)
            .map(|(session, _)| session)
            .collect();
        self.resuming.gone.extend(late);
        while let Some(session) = self.resuming.gone.first().copied() {
            self.command(&Command::Vanish { session }, now);
            if self.core.state.held_by(session).next().is_some() {
                // There is much: the next turn goes on.
                return;
            }
            self.resuming.forget(session);
            let interrupted = self.notes.interrupted.remove(&session);
            self.notes.facts.extend(interrupted.map(|jobs| Fact::Interrupted { jobs }));
        }
    }
}
