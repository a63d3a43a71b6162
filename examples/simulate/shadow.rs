//! The second look at a start: if the process ended right after a turn, what is recovered is the very state that it
//! had, number by number and not only as far as clients were told.

use musher::core::{IdRange, Job, JobId, State};

/// Fails at the first difference.
pub(crate) fn compare(before: &State, found: &State) {
    assert_eq!((before.rows(), before.next_id()), (found.rows(), found.next_id()), "what is beside the jobs");
    let (before, found) = (jobs(before), jobs(found));
    for (before, found) in before.iter().zip(&found) {
        assert_eq!(before, found, "a job before and after the start");
    }
    assert_eq!(before.len(), found.len(), "jobs before and after the start");
}

fn jobs(state: &State) -> Vec<(JobId, Job)> {
    let runs = state.runs(IdRange::new(JobId(1), state.next_id().0)).into_iter();
    runs.flat_map(|(range, job)| range.iter().map(move |id| (id, job.clone())).collect::<Vec<_>>()).collect()
}
