//! Signals: a job that has waited for one gets what was told to have come before that, each attempt gets it until the job waits
//! for the next, and nobody gets what nobody has sent; whatever died in between.

use crate::clients::{Asked, Clients};
use crate::oracle::Oracle;
use crate::stage::Life;
use bytes::Bytes;
use fastrand::Rng;
use musher::core::{JobId, SignalName, Verdict, Visibility};
use musher::engine::{Answer, Claimed};
use std::collections::BTreeMap;
use std::time::Duration;

const NAMES: [&str; 3] = ["go", "stop", "more"];

/// What was sent to jobs, as far as clients know.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    sent: u64,
    jobs: BTreeMap<JobId, OfJob>,
}

/// A signal: its name, and how many were sent before it.
type Sent = (SignalName, u64);

#[derive(Debug, Default)]
struct OfJob {
    may_be: Vec<Sent>,
    /// The newest of each name that was told to have come, and that no attempt had.
    come: BTreeMap<SignalName, u64>,
    /// What the next attempt must get, or one that was sent later.
    must: Option<Sent>,
    /// What the last one had: the next one gets it too.
    had: Option<Sent>,
    /// How many waits were asked for of which it is not known whether they began.
    unsure: u32,
}

fn body(id: JobId, nth: u64) -> Bytes {
    format!("signal {nth} to {id}").into()
}

/// Whether a job waits for a signal now.
pub(crate) fn verdict(rng: &mut Rng) -> Verdict {
    let (signal, timeout) = (name(rng), Duration::from_millis(rng.u64(..20_000)));
    Verdict::Await { signal, timeout }
}

fn name(rng: &mut Rng) -> SignalName {
    SignalName::new(NAMES[rng.usize(..NAMES.len())]).expect("they follow the rule")
}

impl Signals {
    /// It is asked that a job waits.
    pub(crate) fn waits(&mut self, id: JobId, verdict: &Verdict) {
        if matches!(verdict, Verdict::Await { .. }) {
            self.jobs.entry(id).or_default().unsure += 1;
        }
    }

    /// What came of that.
    pub(crate) fn waited(&mut self, id: JobId, signal: &SignalName, is_taken: bool) {
        let of = self.jobs.entry(id).or_default();
        of.unsure = of.unsure.saturating_sub(1);
        if is_taken {
            of.must = of.come.get(signal).map(|nth| (signal.clone(), *nth));
            of.had = None;
        }
    }

    fn told(&mut self, id: JobId, (name, nth): Sent, has_come: bool) {
        let of = self.jobs.entry(id).or_default();
        if has_come {
            let newest = of.come.entry(name).or_default();
            *newest = nth.max(*newest);
        } else {
            of.may_be.retain(|sent| sent.1 != nth);
        }
    }

    /// A job was given out with this. `is_loose`: it was changed by hand, and may have lost what it had.
    pub(crate) fn granted(&mut self, Claimed { grant, signal, .. }: &Claimed, is_loose: bool) {
        let id = grant.id;
        let of = self.jobs.entry(id).or_default();
        let is_sure = std::mem::take(&mut of.unsure) == 0 && !is_loose;
        let (must, had) = (of.must.take(), of.had.take());
        let (Some(known), Some(says)) = (&grant.signal, signal) else {
            assert_eq!(grant.signal.is_some(), signal.is_some(), "a signal of job {id} and what it says");
            assert!(!is_sure || (must.is_none() && had.is_none()), "job {id} lacks {must:?} {had:?}: {of:?}");
            return;
        };
        let found = of.may_be.iter().find(|(name, nth)| *name == known.name && body(id, *nth) == *says);
        let Some(found) = found.cloned() else {
            panic!("job {id} has signal {known:?}, which nobody sent: {of:?}")
        };
        if is_sure {
            let is_it = |wanted: &Sent| wanted.0 == found.0 && wanted.1 <= found.1;
            assert!(must.as_ref().is_none_or(is_it), "job {id} has {found:?}, not {must:?}");
            assert!(had.is_none_or(|had| had == found), "job {id} has {found:?}, and had another one");
        }
        if of.come.get(&found.0).is_some_and(|nth| *nth <= found.1) {
            of.come.remove(&found.0);
        }
        of.had = Some(found);
    }
}

impl Clients {
    /// Sends a signal to some job.
    pub(crate) fn signal(&mut self, rng: &mut Rng, oracle: &mut Oracle, life: &mut Life) {
        // Those that are worked on wait for one soonest.
        let leased = self.leases.get(rng.usize(..self.leases.len().max(1))).map(|lease| lease.id);
        let Some(id) = leased.filter(|_| rng.bool()).or_else(|| oracle.any(rng.u64(..))) else { return };
        let (name, signals) = (name(rng), &mut oracle.signals);
        signals.sent += 1;
        let nth = signals.sent;
        signals.jobs.entry(id).or_default().may_be.push((name.clone(), nth));
        let origin = self.ask(rng, Asked::Signal(id, name.clone(), nth));
        life.engine.signal(origin, id, (name, body(id, nth)), Visibility::ALL, life.now);
    }
}

/// What came of a signal.
pub(crate) fn sent(oracle: &mut Oracle, id: JobId, (name, nth): (SignalName, u64), answer: &Answer) {
    oracle.signals.told(id, (name, nth), matches!(answer, Answer::Ok));
}
