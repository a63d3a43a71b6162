//! Decides what a start does to the leases of the daemon's former life, and what a worker finds of its own that comes
//! back after it. How long it is waited for is the engine's to say.

use super::Decision;
use crate::core::change::Recorder;
use crate::core::command::{LeaseId, Outcome};
use crate::core::event::Event;
use crate::core::ids::Ids;
use crate::core::job::Holder;
use crate::core::rejection::LeaseRejection;
use crate::core::time::Time;
use std::collections::{BTreeMap, HashSet};

impl<R: Recorder> Decision<'_, R> {
    /// All connections are gone, and with them what they held, but for those that may come back: nobody could extend their
    /// leases, so these last until `resume_by` at least.
    pub(super) fn recover(&mut self, resume_by: Time) -> Outcome {
        let mut gone = Ids::new();
        // Those that end together share an event.
        let mut longer: BTreeMap<Time, Ids> = BTreeMap::new();
        for (session, range) in self.state().held.iter() {
            if !Holder::is_resumable(session) {
                gone.push_range(range);
                continue;
            }
            for (part, job) in self.state().iter(range) {
                // Beyond its deadline no lease lasts longer than to stop what runs under it.
                let most = job.expiry().end_by.plus(self.settings_of(job).lease);
                let until = resume_by.min(most);
                if job.lease().is_some_and(|(_, lease)| lease.until < until) {
                    longer.entry(until).or_default().push_range(part);
                }
            }
        }
        self.interrupt(&gone, false);
        for (until, jobs) in longer {
            self.emit(Event::Extended { jobs, until });
        }
        Outcome::Ok
    }

    /// A worker is back, and says which leases of its session it has. It never learnt of any other: a crash came between
    /// that claim and its answer, so those jobs have not begun.
    pub(super) fn take_up(&mut self, session: u64, leases: &[LeaseId]) -> Outcome {
        let results = leases.iter().map(|lease| self.is_held(session, *lease)).collect();
        let (known, state): (HashSet<_>, _) = (leases.iter().copied().collect(), self.state());
        let held = state.held_by(session).filter_map(|id| Some(LeaseId { id, attempt: state.lease(id)?.0 }));
        let mut unknown = Ids::new();
        held.filter(|lease| !known.contains(lease)).for_each(|lease| unknown.push(lease.id));
        let unknown = self.end_all_cancelled(&unknown);
        if !unknown.is_empty() {
            self.emit(Event::Released { jobs: unknown.clone(), due: None });
            self.expire_what_is_over(&unknown);
        }
        Outcome::TakenUp(results)
    }

    /// Whether a lease is in force and this session's.
    fn is_held(&self, session: u64, lease: LeaseId) -> Result<(), LeaseRejection> {
        let (_, job) = self.leased(lease)?;
        match job.lease() {
            Some((_, held)) if held.holder == Holder::Session(session) => Ok(()),
            _ => Err(LeaseRejection::LeaseLost {
                id: lease.id,
                attempt: lease.attempt,
                current: job.attempt(),
                state: job.kind(),
            }),
        }
    }
}
