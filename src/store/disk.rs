//! The store on a disk: the log takes each commit, checkpoints bring home what lives on, and both give everything
//! back at a start (`recovery.rs`). One process at a time; the loop's thread owns it.

use super::checkpoint::Checkpoints;
use super::codec::{EncodedBodies, MetaRow, encode_commit};
use super::directory::{Directory, DirectoryError};
use super::fresh::{Arrivals, Fresh};
use super::home::{Home, HomeError};
use super::log::Log;
use super::space::{self, Space};
use super::{AppendError, BackupRows, BackupTail, BodyError, Commit, CommitNo, Room, Shrunk, Store};
use crate::core::{JobId, State, Time};
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many rows of bodies are kept after they were read: neighbours are claimed together.
const ROWS_KEPT: usize = 8;

/// With less space than this the database is left alone: what opening it anew may take, and a segment of its own.
const HOME_ROOM: u64 = 16 << 20;

/// How often the loop looks whether the home was written anew.
const SHRUNK_AGAIN: Duration = Duration::from_millis(250);

/// A store that is closed with more log than this leaves it as it is: a supervisor gives a stop only so much time.
const LEFT_IN_LOG: u64 = 64 << 20;

/// The store on a disk. Opened by [`DiskStore::open`].
#[derive(Debug)]
pub struct DiskStore {
    // In this order they are closed: the threads before what they work on, the lock last.
    pub(super) log: Log,
    pub(super) checkpoints: Checkpoints,
    pub(super) home: Arc<Home>,
    pub(super) fresh: Fresh,
    pub(super) rows: VecDeque<Vec<(JobId, Bytes)>>,
    pub(super) space: Space,
    pub(super) log_max: u64,
    pub(super) log_file_bytes: u64,
    /// When the newest commit was decided.
    pub(super) time: Time,
    /// What a backup under way still needs of the log: everything after this.
    pub(super) held: Option<CommitNo>,
    /// The same of a checkpoint: where the last one that has ended stands.
    pub(super) came_home: CommitNo,
    pub(super) directory: Directory,
}

impl Store for DiskStore {
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<(), AppendError> {
        let actual = self.log.last().next();
        if expected != actual {
            return Err(AppendError::Fenced { expected, actual });
        }
        self.refuse_after_failure()?;
        let (space, mut bodies_at) = (&mut self.space, 0);
        let encode = |out: &mut Vec<u8>| bodies_at = encode_commit(commit, out);
        let appended = self.log.append(encode, || space.give_up_ballast());
        let appended = appended.inspect_err(|error| {
            // A disk that is only full can be closed in order.
            if error.kind() != std::io::ErrorKind::StorageFull {
                self.home.give_up();
            }
        })?;
        let bytes = appended.record.len() as u64;
        self.space.count(bytes);
        self.time = commit.time;
        let bodies = EncodedBodies::new(&appended.record[bodies_at..], commit.bodies.len());
        let place = Some((appended.file, appended.at + bodies_at as u64));
        self.checkpoints.note(commit, bytes, Arrivals { bodies, place }, &mut self.fresh);
        self.log.release_buffer();
        Ok(())
    }

    fn durable(&self) -> CommitNo {
        self.log.last()
    }

    fn body(&mut self, id: JobId) -> Result<Bytes, BodyError> {
        let row = match self.fresh.get(id) {
            Some(Ok(body)) => return Ok(body),
            _ if let Some(body) = find(&self.rows, id) => return Ok(body.clone()),
            Some(Err(in_log)) => in_log.read().map_err(|error| error.about(id))?,
            None => self.home.bodies(id).map_err(|error| match error {
                HomeError::Damaged { .. } | HomeError::Corrupt { .. } => {
                    BodyError::Damaged { id, detail: error.to_string() }
                }
                _ => BodyError::Failed { id, detail: error.to_string() },
            })?,
        };
        let body = find_in(&row, id).cloned().ok_or(BodyError::Missing(id))?;
        // A big body has no neighbours in its row.
        if row.len() > 1 {
            self.rows.truncate(ROWS_KEPT - 1);
            self.rows.push_front(row);
        }
        Ok(body)
    }

    fn room(&self) -> Room {
        let (bytes, limit) = (self.log.bytes(), self.log_max);
        if bytes > limit { Room::LogFull { bytes, limit } } else { self.space.room() }
    }

    fn maintain(&mut self, state: &State, now: Time) -> Result<Option<Time>, AppendError> {
        self.space.look(now);
        let (home_waits, spare) = (!self.space.has_room_for(HOME_ROOM), self.log_file_bytes);
        self.checkpoints.hold_back(home_waits);
        self.checkpoints.press(self.log.bytes() > self.log_max / 4 * 3);
        self.log.hold_spares(!self.space.has_room_for(HOME_ROOM + spare));
        self.log.receive_spare();
        let position = (self.log.last(), self.time);
        let step = self.checkpoints.step(state, position, &mut self.fresh, now)?;
        // A backup that is read too slowly must not fill the log: it fails instead.
        if self.log.bytes() > self.log_max / 2 && self.held.is_some() {
            self.end_backup();
        }
        if let Some(home) = step.home {
            self.came_home = home;
            self.log.free(self.held.map_or(home, |held| home.min(held)));
        }
        let low = home_waits || matches!(self.space.room(), Room::DiskLow { .. });
        let look = low.then(|| now.plus(space::LOOK_AGAIN));
        let news = self.checkpoints.is_shrinking().then(|| now.plus(SHRUNK_AGAIN));
        Ok([step.again, look, news].into_iter().flatten().min())
    }

    fn close(&mut self, state: &State) -> Result<(), AppendError> {
        self.refuse_after_failure()?;
        // It is on disk there, and a start reads it much faster than a stop could bring it home.
        if self.log.bytes() > LEFT_IN_LOG { Ok(()) } else { self.bring_home(state) }
    }

    fn shrunk(&mut self) -> Option<Shrunk> {
        self.checkpoints.shrunk()
    }

    fn begin_backup(&mut self) -> Option<BackupRows> {
        if self.held.is_some() {
            return None;
        }
        self.held = Some(self.came_home);
        Some(BackupRows::new(self.home.clone()))
    }

    fn backup_tail(&self) -> Option<BackupTail> {
        self.held.map(|_| BackupTail(self.log.tail()))
    }

    fn end_backup(&mut self) {
        self.held = None;
        self.log.free(self.came_home);
    }
}

impl DiskStore {
    /// Nothing is written after a write that failed.
    fn refuse_after_failure(&self) -> Result<(), AppendError> {
        match self.log.is_poisoned() {
            true => Err(AppendError::Disk(std::io::Error::other("an earlier write to the log failed"))),
            false => Ok(()),
        }
    }

    /// A whole checkpoint, however long it takes.
    pub(super) fn bring_home(&mut self, state: &State) -> Result<(), AppendError> {
        self.refuse_after_failure()?;
        let last = self.log.last();
        self.checkpoints.finish(state, (last, self.time), &mut self.fresh)?;
        self.came_home = last;
        self.log.free(last);
        Ok(())
    }

    /// Remembers that no id below this may be given any more. Everything must be home.
    pub(super) fn note_next_id(&self, next_id: JobId) -> Result<(), HomeError> {
        self.home.finish(&MetaRow { home: self.came_home, time: self.time, next_id })
    }

    /// Says that the directory is whole.
    pub(super) fn write_format(&self) -> Result<(), DirectoryError> {
        self.directory.write_format()
    }
}

fn find(rows: &VecDeque<Vec<(JobId, Bytes)>>, id: JobId) -> Option<&Bytes> {
    rows.iter().find_map(|row| find_in(row, id))
}

fn find_in(row: &[(JobId, Bytes)], id: JobId) -> Option<&Bytes> {
    row.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| &row[at].1)
}

#[cfg(test)]
#[path = "disk_tests.rs"]
pub(super) mod tests;
