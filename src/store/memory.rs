//! The same promises in memory, with faults to order: for tests and simulations. What was appended is durable only
//! as far as the mark says; a crash forgets the rest.

use super::{AppendError, BodyError, Commit, CommitNo, Room, Store};
use crate::core::{Event, JobId, State, Time};
use bytes::Bytes;
use std::collections::HashMap;
use std::io;

/// A store in memory.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    commits: Vec<Commit>,
    bodies: HashMap<JobId, Bytes>,
    durable: u64,
    /// Whether each append is durable when it returns, as on a local disk; else [`MemoryStore::sync`] makes it so.
    pub syncs_itself: bool,
    /// The number of the commit whose append fails, and every one after it.
    pub fails_at: Option<CommitNo>,
    /// What [`Store::room`] says.
    pub room: Room,
}

impl Default for MemoryStore {
    fn default() -> MemoryStore {
        MemoryStore {
            commits: Vec::new(),
            bodies: HashMap::new(),
            durable: 0,
            syncs_itself: true,
            fails_at: None,
            room: Room::Enough,
        }
    }
}

impl MemoryStore {
    /// Makes everything durable that was appended.
    pub fn sync(&mut self) {
        self.durable = self.commits.len() as u64;
    }

    /// The power goes and comes back: what was durable is there, the rest is not, and faults are mended.
    pub fn crash(self) -> (MemoryStore, State) {
        let durable = self.durable as usize;
        let (mut store, mut state) = (MemoryStore::default(), State::default());
        for (n, commit) in self.commits.into_iter().take(durable).enumerate() {
            commit.events.iter().for_each(|event| state.apply(event));
            store.append(CommitNo(n as u64 + 1), &commit).expect("a store without faults takes every commit");
        }
        (store, state)
    }
}

impl Store for MemoryStore {
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<(), AppendError> {
        let actual = CommitNo(self.commits.len() as u64 + 1);
        if expected != actual {
            return Err(AppendError::Fenced { expected, actual });
        }
        if self.fails_at.is_some_and(|fails_at| actual >= fails_at) {
            return Err(io::Error::other("this append was ordered to fail").into());
        }
        let mut bodies = commit.bodies.iter();
        for event in &commit.events {
            if let Event::Submitted { jobs, .. } = event {
                self.bodies.extend(jobs.iter().zip(bodies.by_ref().cloned()));
            }
            for id in event.forgotten().iter().flat_map(|range| range.iter()) {
                self.bodies.remove(&id);
            }
        }
        self.commits.push(commit.clone());
        if self.syncs_itself {
            self.sync();
        }
        Ok(())
    }

    fn durable(&self) -> CommitNo {
        CommitNo(self.durable)
    }

    fn body(&mut self, id: JobId) -> Result<Bytes, BodyError> {
        self.bodies.get(&id).cloned().ok_or(BodyError::Missing(id))
    }

    fn room(&self) -> Room {
        self.room.clone()
    }

    fn maintain(&mut self, _: &State, _: Time) -> Result<Option<Time>, AppendError> {
        Ok(None)
    }

    fn close(&mut self, _: &State) -> Result<(), AppendError> {
        self.sync();
        Ok(())
    }
}
