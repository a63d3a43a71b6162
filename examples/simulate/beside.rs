//! Checkpoints and results: whoever gets a job gets the newest checkpoint that was told stored, or a newer one, whatever died in
//! between, and a job that is done has the result that it was told done with.

use crate::clients::{Asked, Clients};
use crate::oracle::Oracle;
use crate::stage::Life;
use bytes::Bytes;
use fastrand::Rng;
use musher::core::{Attempt, Beside, JobId, LeaseId, Visibility};
use musher::engine::{Answer, Claimed, Refusal};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What was stored beside jobs, as far as clients know.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    sent: u64,
    checkpoints: BTreeMap<JobId, Checkpoints>,
    results: BTreeMap<JobId, Results>,
    /// Jobs that were changed by hand, and may have lost what they had.
    loose: BTreeSet<JobId>,
}

#[derive(Debug, Default)]
struct Checkpoints {
    /// Those that may be there, by the order in which they were sent.
    may_be: BTreeSet<u64>,
    /// Whether the first of them was told stored, or seen.
    is_there: bool,
}

#[derive(Debug, Default)]
struct Results {
    sent: BTreeSet<Attempt>,
    told: Option<Attempt>,
}

fn blob(what: &str, id: JobId, nth: u64) -> Bytes {
    let mut text = format!("{what} {nth} of {id};").into_bytes();
    text.resize(text.len() + if nth.is_multiple_of(9) { 70_000 } else { (nth % 50) as usize }, b'.');
    text.into()
}

fn result_of(lease: LeaseId) -> Bytes {
    blob("result", lease.id, lease.attempt.0.into())
}

impl Stored {
    /// Somebody asks for a change of a job.
    pub(crate) fn edits(&mut self, id: JobId) {
        self.loose.insert(id);
    }

    /// A checkpoint is told stored, or refused.
    fn told(&mut self, id: JobId, nth: u64, is_stored: bool) {
        let of = self.checkpoints.entry(id).or_default();
        if is_stored {
            of.may_be.retain(|one| *one >= nth);
            of.is_there = true;
        } else {
            of.may_be.remove(&nth);
        }
    }

    /// A job was given out with this. Returns whether it was changed by hand.
    pub(crate) fn granted(&mut self, Claimed { grant, checkpoint, .. }: &Claimed) -> bool {
        let id = grant.id;
        let is_loose = self.loose.contains(&id);
        let of = self.checkpoints.entry(id).or_default();
        let Some(checkpoint) = checkpoint else {
            assert!(!of.is_there || is_loose, "job {id} is given out without its checkpoint: {of:?}");
            return is_loose;
        };
        let found = of.may_be.iter().copied().find(|nth| blob("checkpoint", id, *nth) == *checkpoint);
        let Some(found) = found else { panic!("job {id} is given out with another checkpoint: {of:?}") };
        of.may_be.retain(|nth| *nth >= found);
        of.is_there = true;
        is_loose
    }

    /// A job is to be done with a result.
    pub(crate) fn result(&mut self, lease: LeaseId) -> Bytes {
        self.results.entry(lease.id).or_default().sent.insert(lease.attempt);
        result_of(lease)
    }

    /// A lease was ended: the job is done.
    pub(crate) fn done(&mut self, lease: LeaseId) {
        if let Some(of) = self.results.get_mut(&lease.id)
            && of.sent.contains(&lease.attempt)
        {
            of.told = Some(lease.attempt);
        }
    }

    /// What was read as the result of a job.
    pub(crate) fn read(&self, id: JobId, answer: &Answer) {
        let Some(of) = self.results.get(&id) else {
            assert!(!matches!(answer, Answer::Body(_)), "job {id} has a result, and nobody has sent it one");
            return;
        };
        let is_sure = !self.loose.contains(&id);
        match answer {
            Answer::Body(found) => {
                let attempt =
                    of.sent.iter().find(|attempt| result_of(LeaseId { id, attempt: **attempt }) == *found);
                let is_it =
                    attempt.is_some() && (!is_sure || of.told.is_none() || of.told.as_ref() == attempt);
                assert!(is_it, "job {id} has another result: {of:?}");
            }
            Answer::Refused(Refusal::NothingBeside { .. }) => {
                assert!(
                    !is_sure || of.told.is_none(),
                    "job {id} was told done with a result, and has none: {of:?}"
                );
            }
            _ => {}
        }
    }
}

impl Clients {
    /// Stores a checkpoint under a lease, old or new.
    pub(crate) fn checkpoint(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        for lease in self.some_leases(rng, oracle) {
            let stored = &mut oracle.stored;
            stored.sent += 1;
            let nth = stored.sent;
            stored.checkpoints.entry(lease.id).or_default().may_be.insert(nth);
            let extend = rng.bool().then(|| Duration::from_millis(rng.u64(1..50_000)));
            let origin = self.ask(rng, Asked::Checkpoint(lease.id, nth));
            let what = (blob("checkpoint", lease.id, nth), extend);
            life.engine.checkpoint(origin, lease, what, Visibility::ALL, life.now);
        }
    }

    /// Reads the result of a job.
    pub(crate) fn read_result(&mut self, rng: &mut Rng, oracle: &Oracle, life: &mut Life) {
        let results = &oracle.stored.results;
        let Some((id, _)) = results.iter().nth(rng.usize(..results.len().max(1))) else { return };
        let origin = self.ask(rng, Asked::Result(*id));
        life.engine.beside(origin, *id, Beside::Result);
    }
}

/// What came of a checkpoint.
pub(crate) fn stored(oracle: &mut Oracle, id: JobId, nth: u64, answer: &Answer) {
    let is_stored = matches!(answer, Answer::Extended(results) if results.iter().all(Result::is_ok));
    oracle.stored.told(id, nth, is_stored);
}
