//! What every store, every log and every home promises: one suite for each of the three traits, which each implementation
//! runs.

mod home;
mod log;

pub(crate) use home::check as check_home;
pub(crate) use log::check as check_log;

use super::workload::{Workload, assert_same};
use super::*;
use crate::core::{JobId, Time};

/// Checks all of a store, beginning with an empty one. `crash` ends it as a SIGKILL would, and opens it again. A store that
/// confirms late is waited for after every few commits.
pub(crate) fn check<S: Store>(store: S, mut crash: impl FnMut(S) -> (S, Recovered)) {
    let (mut store, mut work) = (store, Workload::default());
    let append = |store: &mut S, work: &mut Workload, commit: Commit| {
        if !store.can_append() || work.commits.is_multiple_of(3) {
            store.wait().unwrap();
            assert_eq!(store.durable(), CommitNo(work.commits - 1));
        }
        assert!(store.can_append(), "what is confirmed makes room");
        store.append(CommitNo(work.commits), &commit).unwrap();
        assert!(store.durable() <= CommitNo(work.commits));
    };

    // Empty.
    assert_eq!((store.durable(), store.room()), (CommitNo(0), Room::Enough));
    for kind in Blob::ALL {
        let missing = store.blob(kind, JobId(1));
        assert!(matches!(missing, Err(BlobError::Missing { id: JobId(1), .. })));
    }

    // A number that is not the next is refused, and nothing is written.
    let commit = work.submit(10);
    for wrong in [0, 2, 3] {
        let refused = store.append(CommitNo(wrong), &commit);
        assert!(matches!(refused, Err(AppendError::Fenced { actual: CommitNo(1), .. })));
    }
    append(&mut store, &mut work, commit);
    work.check_blobs(&mut store);

    // Everything is there after a crash, at any point, and the numbers go on.
    for step in 0..120u32 {
        let commit = work.random(step);
        append(&mut store, &mut work, commit);
        store.maintain(&work.state, Time(u64::from(step) * 300)).unwrap();
        if step % 7 == 0 {
            work.check_blobs(&mut store);
        }
        if step % 10 == 9 {
            store.wait().unwrap();
            let (opened, found) = crash(store);
            assert_same(&found.state, &work.state);
            assert_eq!((found.last, found.time), (CommitNo(work.commits), work.time));
            assert_eq!(opened.durable(), found.last);
            store = opened;
            work.check_blobs(&mut store);
        }
        if step % 25 == 24 {
            store.close(&work.state).unwrap();
            assert_eq!(store.durable(), CommitNo(work.commits), "a close waits for the log");
        }
    }

    // Forgotten jobs have no blobs.
    let gone = work.delete_all();
    append(&mut store, &mut work, gone);
    store.close(&work.state).unwrap();
    let (mut store, found) = crash(store);
    assert_eq!(found.report.jobs, 0);
    for kind in Blob::ALL {
        assert!((1..work.state.next_id().0).all(|id| store.blob(kind, JobId(id)).is_err()));
    }
}
