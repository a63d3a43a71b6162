//! A queue with a circuit: after so many failures in a row it gives out one job at a time, after growing waits, until one of
//! those succeeds. What is known of it is counted here once more, attempt by attempt; what is found at a start is what was
//! so at some moment before, not older than what was told.

use crate::exits::{Meaning, meaning};
use crate::queues::queue;
use crate::stage::Life;
use musher::core::{
    Circuit, IdRange, Job, JobId, LeaseId, OpenCircuit, QueueName, QueueSettings, State, StateKind, Time,
    Verdict,
};
use std::time::Duration;

const FAILURES: u32 = 3;
const PROBE: Duration = Duration::from_millis(700);

/// The queue that has one.
pub(crate) fn fused() -> QueueName {
    queue(1)
}

/// With a circuit that opens often.
pub(crate) fn with_circuit(settings: QueueSettings) -> QueueSettings {
    QueueSettings { circuit_failures: Some(FAILURES), circuit_probe: PROBE, ..settings }
}

/// What was known of it, one after the other, since the daemon has started.
#[derive(Debug)]
pub(crate) struct Circuits {
    was: Vec<Circuit>,
    /// The place of the newest that somebody was told of.
    told: usize,
}

impl Default for Circuits {
    fn default() -> Circuits {
        Circuits { was: vec![Circuit::default()], told: 0 }
    }
}

fn found(state: &State) -> Circuit {
    state.queue(&fused()).map(|queue| queue.circuit()).unwrap_or_default()
}

/// The leases of the queue.
fn leases(state: &State) -> Vec<LeaseId> {
    leases_where(state, |_| true)
}

fn leases_where(state: &State, is_meant: impl Fn(&Job) -> bool) -> Vec<LeaseId> {
    let jobs = state.iter(IdRange::new(JobId(1), state.next_id().0));
    let own =
        jobs.filter(|(_, job)| job.kind() == StateKind::Leased && job.spec.queue == fused() && is_meant(job));
    let lease = |id, job: &Job| LeaseId { id, attempt: job.attempt() };
    own.flat_map(|(range, job)| range.iter().map(move |id| lease(id, job))).collect()
}

/// How long it waits after so many probes.
fn wait(probes: u32) -> Duration {
    PROBE * 2u32.pow(probes.min(4))
}

/// What was in force before something was asked.
#[derive(Debug)]
pub(crate) struct Before {
    leases: Vec<LeaseId>,
    /// Those of them whose jobs were cancelled: whatever is said of them says nothing of the queue.
    cancelled: Vec<LeaseId>,
}

impl Before {
    pub(crate) fn of(life: &Life) -> Before {
        let state = &life.engine.core().state;
        let cancelled = leases_where(state, Job::is_being_cancelled);
        Before { leases: leases(state), cancelled }
    }
}

impl Circuits {
    fn now(&self) -> Circuit {
        *self.was.last().expect("it begins with one")
    }

    /// It is like this now. Returns the place of that.
    fn is(&mut self, circuit: Circuit, state: &State) -> usize {
        assert_eq!(found(state), circuit, "the circuit, which was {:?}", self.now());
        if circuit != self.now() {
            self.was.push(circuit);
        }
        self.was.len() - 1
    }

    /// Jobs may have been given out.
    pub(crate) fn claimed(&mut self, before: &Before, life: &Life) {
        let state = &life.engine.core().state;
        let new: Vec<LeaseId> =
            leases(state).into_iter().filter(|lease| !before.leases.contains(lease)).collect();
        let mut circuit = self.now();
        // One whose body could not be read was given back at once.
        let returned = found(state).open.and_then(|open| open.probe).filter(|_| new.is_empty());
        let returned = returned.filter(|probe| circuit.open.is_some_and(|open| open.probe != Some(*probe)));
        if let (Some(open), Some(probe)) = (&mut circuit.open, new.first().or(returned.as_ref())) {
            assert!(new.len() <= 1, "an open circuit lets one job through, not {new:?}");
            assert!(open.next <= life.now, "a probe is given out at {}, before {}", life.now, open.next);
            let runs = open.probe.filter(|probe| leases(state).contains(probe));
            assert_eq!(runs, None, "a probe runs, and another one is given out");
            (open.next, open.probe) = (life.now.plus(wait(open.probes)), Some(*probe));
        }
        self.is(circuit, state);
    }

    /// Attempts were settled so. Returns the place of what follows.
    pub(crate) fn settled(
        &mut self,
        before: &Before,
        items: &[(LeaseId, Verdict)],
        now: Time,
        state: &State,
    ) -> usize {
        let (mut circuit, mut in_force) = (self.now(), before.leases.clone());
        in_force.retain(|lease| !before.cancelled.contains(lease));
        for (lease, verdict) in items {
            let Some(at) = in_force.iter().position(|one| one == lease) else { continue };
            in_force.swap_remove(at);
            let is_probe = circuit.open.is_some_and(|open| open.probe == Some(*lease));
            let is_dead = state.job(lease.id).is_some_and(|job| job.kind() == StateKind::Dead);
            let succeeds = match (verdict_of(verdict), is_dead) {
                (None, _) | (Some(Meaning::Later), false) => continue,
                (Some(Meaning::Done), _) => true,
                // Later, too often.
                (Some(_), _) => false,
            };
            circuit = match (circuit.open, succeeds) {
                (Some(_), _) if !is_probe => circuit,
                (_, true) => Circuit::default(),
                (Some(open), false) => {
                    let probes = open.probes + 1;
                    let next = now.plus(wait(probes));
                    let open = OpenCircuit { probes, next, probe: None, ..open };
                    Circuit { failed: circuit.failed + 1, open: Some(open) }
                }
                (None, false) => {
                    let failed = circuit.failed + 1;
                    let open = OpenCircuit { since: now, probes: 0, next: now.plus(wait(0)), probe: None };
                    Circuit { failed, open: (failed >= FAILURES).then_some(open) }
                }
            };
        }
        self.is(circuit, state)
    }

    /// It was reset by hand. Returns the place of that.
    pub(crate) fn reset(&mut self, state: &State) -> usize {
        self.is(Circuit::default(), state)
    }

    /// Somebody was told what came of something.
    pub(crate) fn told(&mut self, place: usize) {
        self.told = self.told.max(place);
    }

    /// After a start.
    pub(crate) fn found(&mut self, state: &State) {
        let (found, may_be) = (found(state), &self.was[self.told..]);
        assert!(may_be.contains(&found), "the circuit is {found:?} after a start, not one of {may_be:?}");
        (self.was, self.told) = (vec![found], 0);
    }
}

/// What a verdict says of the attempt; `None` if it says nothing.
fn verdict_of(verdict: &Verdict) -> Option<Meaning> {
    match verdict {
        Verdict::Complete => Some(Meaning::Done),
        Verdict::Fail { .. } => Some(Meaning::Failed),
        Verdict::Exited { exit, .. } => Some(meaning(*exit)),
        Verdict::Later { .. } => Some(Meaning::Later),
        Verdict::Await { .. } | Verdict::Release { .. } => None,
    }
}
