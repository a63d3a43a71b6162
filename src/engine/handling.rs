//! What clients do to one job at a time, where the connection says whose lease is meant and a word is answer enough: those of
//! beanstalkd. Each is what others ask for in other words, several of them in one commit, and counted. Who may ask, and what is said,
//! is not known here; answers wait for the disk only if the caller has them wait.

use super::{Answer, Engine, Origin, Refusal};
use crate::core::{
    Command, Edit, Handling, Holder, Ids, JobId, LeaseId, Only, Outcome, Priority, QueueName, StateKind,
    Then, Time, Verdict, Visibility, Worker,
};
use crate::store::{Blob, BlobError, Store};
use bytes::Bytes;
use std::time::Duration;

/// What is said of a job that its holder has buried, and did not say why.
const BURIED: &str = "buried by its worker";

impl<S: Store> Engine<S> {
    /// Whether a request of a connection waits: a claim for work, a submit for room.
    pub fn has_waiting(&self, session: u64) -> bool {
        self.waiting.size_of(session) + self.parked.size_of(session) > 0
    }

    /// Gives what is new to the claims that wait for it: at once, where each request is to find what those before it have left.
    pub fn serve_at_once(&mut self, now: Time) {
        if !self.notes.woken.is_empty() {
            self.serve_waiting(self.now.max(now));
        }
    }

    /// Leases one job by its id, and answers with it; with none if it cannot be had.
    pub fn claim_job(
        &mut self,
        origin: Origin,
        id: JobId,
        (holder, worker): (Holder, Option<Worker>),
        visibility: Visibility<'_>,
        now: Time,
    ) {
        self.catch_up(now);
        let claim = Command::ClaimJob { id, holder, worker };
        let answer = match self.decide_for(visibility, &claim, now) {
            Ok(Outcome::Claimed(grants)) => {
                let jobs = grants.into_iter().filter_map(|grant| self.claimed(grant, now).transpose());
                jobs.collect::<Result<_, _>>().map_or_else(Answer::Refused, Answer::Jobs)
            }
            Ok(_) => unreachable!("a claim is answered with grants"),
            Err(rejection) => Answer::Refused(rejection.into()),
        };
        self.answer(origin, answer);
    }

    /// The lease on a job, if this connection has it.
    pub fn lease_of(&self, session: u64, id: JobId) -> Option<LeaseId> {
        let (attempt, lease) = self.core.state.lease(id)?;
        (lease.holder == Holder::Session(session)).then_some(LeaseId { id, attempt })
    }

    /// When the first lease of a connection ends.
    pub fn first_lease_end(&self, session: u64) -> Option<Time> {
        let state = &self.core.state;
        state.held_by(session).filter_map(|id| Some(state.lease(id)?.1.until)).min()
    }

    /// Ends a lease: the job is done. Returns whether it is.
    pub fn complete(&mut self, lease: LeaseId, now: Time) -> bool {
        self.settle_one(lease, Verdict::Complete, now)
    }

    /// Gives a job back with another priority, for others to take after so many seconds.
    pub fn release(&mut self, lease: LeaseId, priority: Priority, seconds: u32, now: Time) -> bool {
        self.prioritize(lease.id, priority, now);
        let delay = Duration::from_secs(seconds.into());
        let is_released = self.settle_one(lease, Verdict::Release { delay }, now);
        if is_released {
            self.count(lease.id, Handling::Released, now);
            self.count_delay(lease.id, seconds, now);
        }
        is_released
    }

    /// Sets a job aside with another priority.
    pub fn bury(&mut self, lease: LeaseId, priority: Priority, now: Time) -> bool {
        self.prioritize(lease.id, priority, now);
        let verdict = Verdict::Fail { error: BURIED.into(), exit: None, then: Then::Bury };
        let is_buried = self.settle_one(lease, verdict, now);
        if is_buried {
            self.count(lease.id, Handling::Buried { no: 0 }, now);
        }
        is_buried
    }

    /// Lets a lease last as long again as its job may run.
    pub fn touch(&mut self, lease: LeaseId, now: Time) -> bool {
        let Some(job) = self.core.state.job(lease.id) else { return false };
        let time = self.core.run_time(job);
        let extend = Command::Extend { items: vec![lease], lease: Some(time) };
        matches!(self.decide(&extend, now), Ok(Outcome::Extended(results)) if results[0].is_ok())
    }

    /// Forgets a job that is not leased.
    pub fn delete(&mut self, id: JobId, visibility: Visibility<'_>, now: Time) -> bool {
        self.edit_some(Edit::Delete, vec![id], visibility, now) == [true]
    }

    /// Makes jobs ready that are dead, scheduled or wait for others, one after the other. Returns how many.
    pub fn kick(&mut self, ids: &Ids, visibility: Visibility<'_>, now: Time) -> u64 {
        if self.waiting.len() == 0 {
            return self.kick_all(ids.iter().collect(), visibility, now);
        }
        // Whoever waits gets the first, whichever of them is the most urgent.
        let kick_one = |id| {
            let kicked = self.kick_all(vec![id], visibility, now);
            self.serve_at_once(now);
            kicked
        };
        ids.iter().map(kick_one).sum()
    }

    fn kick_all(&mut self, ids: Vec<JobId>, visibility: Visibility<'_>, now: Time) -> u64 {
        let kicked = self.edit_some(Edit::Kick, ids.clone(), visibility, now);
        let kicked: Vec<JobId> =
            ids.into_iter().zip(kicked).filter(|(_, is)| *is).map(|(id, _)| id).collect();
        let count = kicked.len() as u64;
        if count > 0 {
            self.command(&Command::Count { ids: kicked, what: Handling::Kicked }, now);
        }
        count
    }

    /// So many jobs of a queue that are dead, or scheduled, in the order in which they are kicked.
    pub fn first_to_kick(&mut self, queue: &QueueName, kind: StateKind, most: u64) -> Ids {
        self.core.state.first_to_kick(queue, kind, most)
    }

    /// The job that a queue gives next, whether it gives any now or not.
    pub fn next_ready(&mut self, queue: &QueueName, now: Time) -> Option<JobId> {
        self.core.next_ready(queue, self.now.max(now))
    }

    /// A job is delayed by so many seconds: that is remembered.
    pub fn count_delay(&mut self, id: JobId, seconds: u32, now: Time) {
        let is_none = |delay| seconds == 0 && delay == 0;
        if self.core.state.job(id).is_some_and(|job| !is_none(job.handled().delay)) {
            self.count(id, Handling::Delayed { seconds, no: 0 }, now);
        }
    }

    /// Stops giving out a queue's jobs for a time; without one, gives them out again. The queue may come into being with it.
    ///
    /// # Errors
    /// There are too many queues.
    pub fn pause_for(
        &mut self,
        queue: &QueueName,
        time: Duration,
        maker: u32,
        now: Time,
    ) -> Result<(), Refusal> {
        let queue = queue.clone();
        let is_there = self.core.state.queue(&queue).is_some();
        let command = match time.is_zero() {
            true if !is_there => return Ok(()),
            true => Command::Resume { queue },
            false => Command::Pause { queue, time: Some(time), maker: Some(maker) },
        };
        self.decide(&command, now)?;
        Ok(())
    }

    /// What a job's producer sent.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn stored_body(&mut self, id: JobId) -> Result<Bytes, BlobError> {
        self.find(Blob::Body, id)
    }

    fn settle_one(&mut self, lease: LeaseId, verdict: Verdict, now: Time) -> bool {
        let settle = Command::Settle { items: vec![(lease, verdict)] };
        matches!(self.decide(&settle, now), Ok(Outcome::Settled(results)) if results[0].is_ok())
    }

    fn prioritize(&mut self, id: JobId, priority: Priority, now: Time) {
        if self.core.state.spec_of(id).is_some_and(|spec| spec.priority != priority) {
            self.edit_some(Edit::Prioritize(priority), vec![id], Visibility::ALL, now);
        }
    }

    /// Whether each is changed.
    fn edit_some(&mut self, edit: Edit, ids: Vec<JobId>, visibility: Visibility<'_>, now: Time) -> Vec<bool> {
        let edit = Command::Edit { edit, ids, only: Only::default() };
        match self.decide_for(visibility, &edit, now) {
            Ok(Outcome::Edited(results)) => results.iter().map(Result::is_ok).collect(),
            _ => unreachable!("changes are judged one by one"),
        }
    }

    fn count(&mut self, id: JobId, what: Handling, now: Time) {
        self.command(&Command::Count { ids: vec![id], what }, now);
    }
}
