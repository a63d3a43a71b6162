//! The jobs of a queue that can be kicked, in the order in which they go: dead ones by when they died, scheduled ones by when they are
//! due. Few ask for that order, so it is an index that is made once somebody does, and kept from then on.

use super::ids::IdRange;
use super::job::{Job, State as JobState, StateKind};
use super::keyed::Keyed;
use super::time::Time;

/// When a job died or is due, and its number among those of which that was the same.
type Place = (Time, u64);

/// The jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kickable {
    /// By when they died; those that died at the same time as they were buried.
    dead: Keyed<Place>,
    /// By when they are due, and likewise.
    scheduled: Keyed<Place>,
}

impl Kickable {
    /// These came into their state.
    pub(super) fn enter(&mut self, range: IdRange, job: &Job) {
        if let Some((jobs, key)) = self.place_of(job) {
            jobs.insert(key, range);
        }
    }

    /// They leave it.
    pub(super) fn leave(&mut self, range: IdRange, job: &Job) {
        if let Some((jobs, key)) = self.place_of(job) {
            jobs.remove(key, range);
        }
    }

    /// Those in a state, in the order in which they go; none of a state whose jobs cannot be kicked.
    pub(super) fn in_state(&self, kind: StateKind) -> impl Iterator<Item = IdRange> + '_ {
        let jobs = match kind {
            StateKind::Dead => Some(&self.dead),
            StateKind::Scheduled => Some(&self.scheduled),
            _ => None,
        };
        jobs.into_iter().flat_map(Keyed::iter).map(|(_, range)| range)
    }

    /// Those that such a job is among, and its place there.
    fn place_of(&mut self, job: &Job) -> Option<(&mut Keyed<Place>, Place)> {
        let no = job.handled().no;
        match job.state() {
            JobState::Dead(end) => Some((&mut self.dead, (end.at, no))),
            JobState::Scheduled { due } => Some((&mut self.scheduled, (due, no))),
            _ => None,
        }
    }
}
