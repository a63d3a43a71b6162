//! The law of locality (`event.rs`), held against every event of whatever sequences the other tests play.

use crate::core::*;
use std::collections::BTreeMap;

fn jobs(state: &State) -> BTreeMap<JobId, Job> {
    let all = state.iter(IdRange::new(JobId(0), u64::MAX));
    all.flat_map(|(range, job)| range.iter().map(move |id| (id, job.clone()))).collect()
}

/// Folds events into a state, and sees that each changes only the jobs that it names, and those as it would if there
/// were no others.
pub(super) fn fold_and_check(mut state: State, events: &[Event]) -> State {
    for event in events {
        let before = jobs(&state);
        let names = |id: &JobId| event.jobs().iter().any(|range| range.iter().any(|named| named == *id));
        let mut alone = State::default();
        before
            .iter()
            .filter(|(id, _)| names(id))
            .for_each(|(id, job)| alone.restore((*id).into(), job.clone()));
        alone.apply(event);
        state.apply(event);
        let (named, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
            jobs(&state).into_iter().partition(|(id, _)| names(id));
        assert_eq!(named, jobs(&alone), "{event:?} depends on jobs that it does not name");
        let before: BTreeMap<_, _> = before.into_iter().filter(|(id, _)| !names(id)).collect();
        assert_eq!(others, before, "{event:?} changes jobs that it does not name");
    }
    state
}
