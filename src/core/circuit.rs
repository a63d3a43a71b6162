//! Circuits: a queue whose attempts fail one after the other gives out one job at a time, as a probe, with growing waits, until
//! one succeeds. So a worker that was deployed broken costs a few jobs and not the backlog. What is known of it is a value in
//! the queue's row, and each change of it an event; whether a probe runs follows from its lease.

use super::command::LeaseId;
use super::ids::IdRange;
use super::job::Attempt;
use super::time::Time;
use std::time::Duration;

/// The wait between probes doubles up to so many times the first one.
const WAITS_MAX: u32 = 16;

/// When a queue's circuit opens, and how long it waits for the first probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitSettings {
    /// After so many failed attempts in a row; at least 1.
    pub failures: u32,
    /// How long nothing is given out then. The wait doubles with each probe that fails, up to 16 times this.
    pub probe: Duration,
}

/// What is known of a queue's circuit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    /// How many attempts have failed since the last one that succeeded; those that ended while it was open are not
    /// counted, probes aside.
    pub failed: u32,
    /// If it is open: only probes are given out.
    pub open: Option<OpenCircuit>,
}

/// An open circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenCircuit {
    /// Since when.
    pub since: Time,
    /// How many probes have failed.
    pub probes: u32,
    /// When the next probe may be given out, unless one runs.
    pub next: Time,
    /// The newest probe. It runs as long as its lease is in force.
    pub probe: Option<LeaseId>,
}

impl CircuitSettings {
    /// How long it waits after so many probes have failed.
    fn wait(self, probes: u32) -> Duration {
        let factor = 1u32.checked_shl(probes).map_or(WAITS_MAX, |factor| factor.min(WAITS_MAX));
        self.probe.saturating_mul(factor)
    }

    /// The circuit after the attempt under this lease has failed. While it is open only the probe's failure says anything: all
    /// others began before.
    pub(super) fn failed(self, circuit: Circuit, lease: LeaseId, now: Time) -> Circuit {
        let failed = circuit.failed.saturating_add(1);
        let open = match circuit.open {
            Some(open) if open.probe == Some(lease) => {
                let probes = open.probes.saturating_add(1);
                Some(OpenCircuit { probes, next: now.plus(self.wait(probes)), probe: None, ..open })
            }
            Some(_) => return circuit,
            None if failed >= self.failures => {
                Some(OpenCircuit { since: now, probes: 0, next: now.plus(self.wait(0)), probe: None })
            }
            None => None,
        };
        Circuit { failed, open }
    }

    /// The circuit after these jobs were completed in this attempt.
    pub(super) fn succeeded(self, circuit: Circuit, jobs: IdRange, attempt: Attempt) -> Circuit {
        let is_probe = |lease: LeaseId| lease.attempt == attempt && jobs.contains(lease.id);
        match circuit.open {
            Some(open) if !open.probe.is_some_and(is_probe) => circuit,
            Some(_) | None => Circuit::default(),
        }
    }

    /// The circuit after a job was given out; `None` if it is closed. A probe that ends without a verdict, since its worker
    /// is gone or says "again later", counts as neither, and the next one comes after the same wait.
    pub(super) fn probed(self, circuit: Circuit, lease: LeaseId, now: Time) -> Option<Circuit> {
        let open = circuit.open?;
        let open = OpenCircuit { next: now.plus(self.wait(open.probes)), probe: Some(lease), ..open };
        Some(Circuit { open: Some(open), ..circuit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::JobId;

    #[test]
    fn waits_double_up_to_a_limit() {
        let settings = CircuitSettings { failures: 1, probe: Duration::from_secs(30) };
        let waits: Vec<u64> = (0..7).map(|probes| settings.wait(probes).as_secs()).collect();
        assert_eq!(waits, [30, 60, 120, 240, 480, 480, 480]);
        assert_eq!(settings.wait(u32::MAX).as_secs(), 480);
    }

    #[test]
    fn only_failures_in_a_row_open_it_and_only_a_probe_closes_it() {
        let settings = CircuitSettings { failures: 2, probe: Duration::from_secs(1) };
        let lease = |id| LeaseId { id: JobId(id), attempt: Attempt(1) };
        let fails = |circuit, id| settings.failed(circuit, lease(id), Time(1_000));
        let done = |circuit, id| settings.succeeded(circuit, JobId(id).into(), Attempt(1));
        let one = fails(Circuit::default(), 1);
        assert_eq!(one, Circuit { failed: 1, open: None });
        assert_eq!(done(one, 2), Circuit::default());
        let open = fails(one, 2);
        let is_open = OpenCircuit { since: Time(1_000), probes: 0, next: Time(2_000), probe: None };
        assert_eq!(open, Circuit { failed: 2, open: Some(is_open) });
        assert_eq!((fails(open, 3), done(open, 3)), (open, open), "they began before");
        let probed = settings.probed(open, lease(4), Time(5_000)).unwrap();
        assert_eq!(probed.open.unwrap().next, Time(6_000), "if it says nothing");
        let again = settings.failed(probed, lease(4), Time(7_000));
        assert_eq!(again.open.unwrap(), OpenCircuit { probes: 1, next: Time(9_000), ..is_open });
        assert_eq!(done(settings.probed(again, lease(5), Time(9_000)).unwrap(), 5), Circuit::default());
        assert_eq!(settings.probed(one, lease(5), Time(0)), None);
    }
}
