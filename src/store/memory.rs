//! The store without a disk, for tests and the simulator: the same promises, and faults to order. A crash forgets
//! what is not durable and folds the rest anew.

use super::fresh::Fresh;
use super::recovery::{Recovered, Report};
use super::{AppendError, BodyError, Commit, CommitNo, Room, Store};
use crate::core::{Event, JobId, State, Time};
use bytes::Bytes;
use std::io;

/// Commits in memory.
#[derive(Debug)]
pub struct MemoryStore {
    commits: Vec<Commit>,
    bodies: Fresh,
    durable: CommitNo,
    lags: bool,
    fails: bool,
    poisoned: bool,
    room: Room,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore::new()
    }
}

impl MemoryStore {
    /// An empty store that is durable at once, as the local log is.
    pub fn new() -> MemoryStore {
        let (commits, bodies, durable) = (Vec::new(), Fresh::default(), CommitNo(0));
        MemoryStore {
            commits,
            bodies,
            durable,
            lags: false,
            fails: false,
            poisoned: false,
            room: Room::Enough,
        }
    }

    /// An empty store whose mark moves only by [`MemoryStore::sync`], as that of a replicated log does.
    pub fn lagging() -> MemoryStore {
        MemoryStore { lags: true, ..MemoryStore::new() }
    }

    /// Makes everything appended so far durable.
    pub fn sync(&mut self) {
        self.durable = self.last();
    }

    /// The next append fails, and with it all later ones. Nothing of it is kept.
    pub fn fail_next_append(&mut self) {
        self.fails = true;
    }

    /// What `room` answers from now on.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// Somebody else appends a commit: the next append of the owner is refused.
    pub fn intrude(&mut self, commit: Commit) {
        self.push(commit);
    }

    /// The newest commit.
    pub fn last(&self) -> CommitNo {
        CommitNo(self.commits.len() as u64)
    }

    /// Every commit, durable or not.
    pub fn commits(&self) -> &[Commit] {
        &self.commits
    }

    /// The process ends here; what a new one finds.
    pub fn crash(self) -> (MemoryStore, Recovered) {
        let mut store = MemoryStore { lags: self.lags, room: self.room, ..MemoryStore::new() };
        let mut state = State::default();
        let durable = self.durable.0 as usize; // an index into `commits`
        for commit in self.commits.into_iter().take(durable) {
            commit.events.iter().for_each(|event| state.apply(event));
            store.push(commit);
        }
        store.sync();
        let time = store.commits.last().map_or(Time(0), |commit| commit.time);
        let jobs = state.queues().map(|(_, queue)| queue.counts().all()).sum();
        let report = Report { jobs, rows: 0, commits: store.last().0 };
        let last = store.last();
        (store, Recovered { state, last, time, report })
    }

    fn push(&mut self, commit: Commit) {
        let mut bodies = commit.bodies.iter();
        for event in &commit.events {
            if let Event::Submitted { jobs, .. } = event {
                jobs.iter().zip(&mut bodies).for_each(|(id, body)| self.bodies.push(id, body.clone()));
            }
            event.forgotten().iter().for_each(|jobs| self.bodies.remove(*jobs));
        }
        self.commits.push(commit);
        if !self.lags {
            self.sync();
        }
    }
}

impl Store for MemoryStore {
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<(), AppendError> {
        let actual = self.last().next();
        self.poisoned |= self.fails;
        if self.poisoned {
            return Err(AppendError::Disk(io::Error::other("ordered to fail")));
        }
        if expected != actual {
            return Err(AppendError::Fenced { expected, actual });
        }
        self.push(commit.clone());
        Ok(())
    }

    fn durable(&self) -> CommitNo {
        self.durable
    }

    fn body(&mut self, id: JobId) -> Result<Bytes, BodyError> {
        self.bodies.get(id).cloned().ok_or(BodyError::Missing(id))
    }

    fn room(&self) -> Room {
        self.room.clone()
    }

    fn maintain(&mut self, _state: &State, _now: Time) -> Result<Option<Time>, AppendError> {
        Ok(None)
    }

    fn close(&mut self, _state: &State) -> Result<(), AppendError> {
        self.sync();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract;
    use crate::store::workload::Workload;

    #[test]
    fn it_keeps_the_contract() {
        contract::check(MemoryStore::new(), MemoryStore::crash);
    }

    #[test]
    fn what_is_not_durable_is_lost_in_a_crash() {
        let (mut store, mut work) = (MemoryStore::lagging(), Workload::default());
        store.append(CommitNo(1), &work.submit(3)).unwrap();
        assert_eq!(store.durable(), CommitNo(0));
        store.sync();
        store.append(CommitNo(2), &work.submit(3)).unwrap();
        let (store, found) = store.crash();
        assert_eq!((store.durable(), found.last, found.report.jobs), (CommitNo(1), CommitNo(1), 3));
    }

    #[test]
    fn an_ordered_failure_is_final() {
        let (mut store, mut work) = (MemoryStore::new(), Workload::default());
        let commit = work.submit(1);
        store.fail_next_append();
        for _ in 0..2 {
            assert!(matches!(store.append(CommitNo(1), &commit), Err(AppendError::Disk(_))));
        }
        assert_eq!(store.crash().1.last, CommitNo(0));
    }

    #[test]
    fn an_intruder_fences_the_owner() {
        let (mut store, mut work) = (MemoryStore::new(), Workload::default());
        store.intrude(work.submit(1));
        let refused = store.append(CommitNo(1), &work.submit(1));
        assert!(matches!(refused, Err(AppendError::Fenced { actual: CommitNo(2), .. })));
    }
}
