//! Chains: a job is completed and others arrive, in one commit. What is done is seen at once: all of it, or nothing has
//! changed and the job is still held. Of what nobody was told when a life ends, both have happened, or neither.

use crate::circuits::Before as Leases;
use crate::clients::{Asked, Clients, group, submitted};
use crate::exits::End;
use crate::oracle::Oracle;
use crate::queues::queue;
use crate::stage::Life;
use crate::totals::{Before, brings};
use bytes::Bytes;
use fastrand::Rng;
use musher::core::{Groups, Job, JobId, LeaseId, Rejection, State, StateKind, Time, Verdict};
use musher::engine::{Answer, Refusal, SubmitOptions};
use musher::store::{Envelope, Room};
use std::collections::{BTreeMap, BTreeSet};

/// Those that were done since the start, and of which nobody was told: the lease, and the submit.
#[derive(Debug, Default)]
pub(crate) struct Chains {
    open: BTreeMap<u64, (LeaseId, usize)>,
    sent: u64,
}

/// A job that is to be completed with a submit, as it was before.
pub(crate) struct Link {
    lease: LeaseId,
    job: Option<Job>,
    leases: Leases,
}

/// What has come of it: to be held against the answer.
#[derive(Debug)]
pub(crate) struct Followed {
    lease: LeaseId,
    /// Which of the chains that were done; `None` if this one was refused.
    nth: Option<u64>,
    /// Its place in the history of the circuit.
    circuit: usize,
    /// Whether its lease was in force for sure.
    must: bool,
}

fn job(life: &Life, id: JobId) -> Option<Job> {
    life.engine.core().state.job(id).cloned()
}

impl Link {
    pub(crate) fn of(life: &Life, lease: LeaseId) -> Link {
        Link { lease, job: job(life, lease.id), leases: Leases::of(life) }
    }

    /// Whether the lease was in force, and its job not being cancelled.
    pub(crate) fn is_held(&self) -> bool {
        let held = |job: &Job| {
            job.kind() == StateKind::Leased
                && job.attempt() == self.lease.attempt
                && !job.is_being_cancelled()
        };
        self.job.as_ref().is_some_and(held)
    }

    /// Whether the job is done now, and was not before.
    pub(crate) fn is_over(&self, life: &Life) -> bool {
        let is_done = |job: Job| job.kind() == StateKind::Done && job.attempt() == self.lease.attempt;
        self.is_held() && job(life, self.lease.id).is_none_or(is_done)
    }

    /// The submit was decided: all of it is done, or nothing has changed.
    pub(crate) fn decided(self, oracle: &mut Oracle, life: &Life, batch: usize, is_done: bool) -> Followed {
        let lease = self.lease;
        let now = job(life, lease.id);
        let mut items = Vec::new();
        let (nth, must) = if is_done {
            assert!(
                self.is_over(life),
                "jobs follow from {lease:?}, which was {:?} and is {now:?}",
                self.job
            );
            items.push((lease, Verdict::Complete));
            let must = oracle.settles(lease, true, life.now);
            (Some(oracle.chains.sends(lease, batch)), must)
        } else {
            assert_eq!(now, self.job, "a chain was refused, and its job {lease:?} has changed");
            (None, oracle.holds(lease, life.now))
        };
        let circuit = oracle.circuits.settled(&self.leases, &items, life.now, &life.engine.core().state);
        Followed { lease, nth, circuit, must }
    }
}

impl Followed {
    /// It was answered that it is done.
    pub(crate) fn done(self, oracle: &mut Oracle) {
        let Some(nth) = self.nth else { panic!("a chain was told done, and was not: {self:?}") };
        oracle.chains.open.remove(&nth);
        oracle.circuits.told(self.circuit);
        oracle.settled(self.lease, End::Done, Ok(()), self.must);
    }

    /// It was refused. The job is held as before, if it was: nothing has ended its lease.
    pub(crate) fn refused(&self, refusal: &Refusal) {
        assert_eq!(self.nth, None, "a chain was done, and is refused: {refusal:?}");
        let is_stale = matches!(refusal, Refusal::Core(Rejection::Lease(_)));
        assert!(!(is_stale && self.must), "a lease in force was refused: {refusal:?}");
        let is_down = matches!(refusal, Refusal::Core(Rejection::Draining));
        assert!(!is_down, "a job that is done is refused its followers while draining");
    }

    /// The answer to one of jobs without unique keys.
    pub(crate) fn answered(self, oracle: &mut Oracle, batch: usize, answer: Answer) {
        match answer {
            Answer::Refused(refusal) => {
                self.refused(&refusal);
                oracle.refused(batch);
            }
            Answer::Submitted(ids) => {
                oracle.submitted(batch, ids);
                self.done(oracle);
            }
            answer => panic!("a chain was answered with {answer:?}"),
        }
    }
}

impl Chains {
    /// Whether there are any.
    pub(crate) fn are_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// One was done, and nobody knows yet. Returns its number.
    fn sends(&mut self, lease: LeaseId, batch: usize) -> u64 {
        self.sent += 1;
        self.open.insert(self.sent, (lease, batch));
        self.sent
    }
}

impl Oracle {
    /// After a start, before what is lost is forgotten: where a job is done, those that follow from it are there, and
    /// where it is not, none of them is.
    pub(crate) fn check_chains(
        &mut self,
        jobs: &[(JobId, Bytes, Option<Envelope>)],
        state: &State,
        now: Time,
    ) {
        let there: BTreeSet<usize> =
            jobs.iter().filter_map(|(id, body, _)| self.came_with(*id, body)).collect();
        for (lease, batch) in std::mem::take(&mut self.chains.open).into_values() {
            let job = state.job(lease.id);
            let is_done = match job {
                Some(job) if job.kind() == StateKind::Done && job.attempt() == lease.attempt => Some(true),
                Some(_) if !self.may_be_revived(lease.id) => Some(false),
                None if self.goes_by_its_end(lease.id, now) => Some(true),
                _ => None,
            };
            let (is_there, may_lack) = (there.contains(&batch), self.may_lack(batch, now));
            let are_there = (is_there || !may_lack).then_some(is_there);
            if let (Some(is_done), Some(are_there)) = (is_done, are_there) {
                let what = if is_done { "is done" } else { "is not done" };
                let which = if are_there { "are there" } else { "are not there" };
                assert!(
                    is_done == are_there,
                    "job {} {what}, and those that follow from it {which}: {lease:?}, {job:?}",
                    lease.id
                );
            }
        }
    }
}

impl Clients {
    /// Completes a job with others that follow from it; with one, if there are many already.
    pub(crate) fn complete_and_submit(
        &mut self,
        rng: &mut Rng,
        oracle: &mut Oracle,
        life: &mut Life,
        is_full: bool,
    ) {
        let held: Vec<LeaseId> =
            self.leases.iter().copied().filter(|lease| oracle.holds(*lease, life.now)).collect();
        let lease = match held.is_empty() || rng.u32(..6) == 0 {
            true => self.some_leases(rng, oracle).pop(),
            false => Some(held[rng.usize(..held.len())]),
        };
        let Some(lease) = lease else { return };
        if !is_full && rng.u32(..3) == 0 {
            return self.submit_once(rng, oracle, life, Some(lease));
        }
        let (mut sent, mut groups) = (Vec::new(), Groups::new());
        let most = if is_full { 1 } else { 3 };
        for _ in 0..1 + rng.usize(..2) * usize::from(!is_full) {
            let (name, count) = (queue(rng.usize(..)), 1 + rng.u64(..most));
            groups.push(group(rng, &mut sent, name, count, life.now));
        }
        let more = brings(&sent, oracle.next_batch());
        let (batch, contents) = submitted(oracle, sent);
        let origin = self.ask(rng, Asked::Other);
        let (before, link) = (Before::of(life), Link::of(life, lease));
        // It goes on while draining, and asks for nothing if the lease is over.
        let takes = link.is_held() && life.engine.room() == Room::Enough && before.has_room(life, more);
        let options = SubmitOptions { completes: Some(lease), ..SubmitOptions::default() };
        life.submit_with(options, origin, (groups, contents));
        before.check_taken(life, more, takes);
        let followed = link.decided(oracle, life, batch, takes);
        self.expect(origin, Asked::Follow { batch, followed });
    }
}
