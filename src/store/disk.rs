//! The store on this machine's disk: the log in front, sled behind it, and the bodies in between.

use super::checkpoint::{Checkpointer, Done};
use super::codec;
use super::fresh::Fresh;
use super::home::{Home, HomeError};
use super::log::Log;
use super::space::Space;
use super::{AppendError, BodyError, Commit, CommitNo, Room, Store};
use crate::core::{Event, JobId, State, Time};
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::time::Duration;

/// How the store works. The defaults are those of the configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of a log file, in bytes (`storage.log_file`).
    pub log_file_bytes: u64,
    /// The most log that no checkpoint has freed, in bytes (`storage.log_max`); then no jobs are taken.
    pub log_max_bytes: u64,
    /// How long after the beginning of a checkpoint the next may begin (`storage.checkpoint`).
    pub checkpoint_interval: Duration,
    /// sled's memory for pages, in bytes (`storage.cache`).
    pub cache_bytes: u64,
    /// Bytes that must stay free on the disk (`limits.disk_reserve`); then no jobs are taken.
    pub disk_reserve_bytes: u64,
    /// Bytes of the file that is given up when a start finds no room (`storage.ballast`).
    pub ballast_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            log_file_bytes: 64 << 20,
            log_max_bytes: 2 << 30,
            checkpoint_interval: Duration::from_millis(700),
            cache_bytes: 64 << 20,
            disk_reserve_bytes: 256 << 20,
            ballast_bytes: 16 << 20,
        }
    }
}

/// The store on disk.
#[derive(Debug)]
pub struct DiskStore {
    pub(super) log: Log,
    pub(super) home: Home,
    pub(super) fresh: Fresh,
    pub(super) checkpoints: Checkpointer,
    pub(super) space: Space,
    pub(super) log_max: u64,
    /// The time of the newest commit.
    pub(super) time: Time,
    /// The id that the next job gets.
    pub(super) next_id: JobId,
    /// Held as long as this is: no other daemon uses the directory.
    pub(super) _lock: File,
}

impl DiskStore {
    fn spare_is_made(&mut self, file: io::Result<super::log::LogFile>) -> io::Result<()> {
        match file {
            Ok(file) => self.log.give_back(file),
            // Without a spare the log goes on in a file that grows: slower, but sound.
            Err(error) => {
                tracing::warn!(%error, "a spare log file could not be made");
                Ok(())
            }
        }
    }

    /// Takes in what the thread has done.
    fn take_in(&mut self) -> Result<(), AppendError> {
        while let Some(done) = self.checkpoints.next_done().map_err(io::Error::other)? {
            match done {
                Done::Checkpoint(checkpoint) => {
                    let complete = self.checkpoints.complete(checkpoint);
                    for range in complete.moved {
                        self.fresh.drop_range(range);
                    }
                    self.log.free_up_to(complete.checkpoint)?;
                    self.space.ask();
                    self.space.keep_ballast()?;
                }
                Done::Spare(file) => self.spare_is_made(file)?,
                Done::Failed(error) => return Err(io::Error::other(error).into()),
            }
        }
        Ok(())
    }
}

impl Store for DiskStore {
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<(), AppendError> {
        let actual = CommitNo(self.log.last() + 1);
        if expected != actual {
            return Err(AppendError::Fenced { expected, actual });
        }
        let mut written = 0;
        self.log.append(|buffer| {
            let before = buffer.len();
            codec::encode_commit(commit, buffer);
            written = buffer.len() - before;
        })?;
        self.space.wrote(written as u64);
        self.time = commit.time;
        let mut bodies = commit.bodies.iter();
        for event in &commit.events {
            if let Event::Submitted { jobs, .. } = event {
                self.next_id = jobs.end();
                for (id, body) in jobs.iter().zip(&mut bodies) {
                    self.fresh.push(id, body.clone());
                }
            }
        }
        for event in &commit.events {
            self.checkpoints.mark(event);
            event.forgotten().iter().for_each(|range| self.fresh.drop_range(*range));
        }
        Ok(())
    }

    fn durable(&self) -> CommitNo {
        CommitNo(self.log.last())
    }

    fn body(&mut self, id: JobId) -> Result<Bytes, BodyError> {
        if let Some(body) = self.fresh.get(id) {
            return Ok(body.clone());
        }
        match self.home.body(id) {
            Ok(Some(body)) => Ok(body),
            Ok(None) => Err(BodyError::Missing(id)),
            Err(HomeError::Damaged { detail, .. }) => Err(BodyError::Damaged { id, detail }),
            Err(error) => Err(BodyError::Failed { id, detail: error.to_string() }),
        }
    }

    fn room(&self) -> Room {
        let bytes = self.log.bytes();
        if bytes > self.log_max {
            return Room::LogFull { bytes, limit: self.log_max };
        }
        self.space.room()
    }

    fn maintain(&mut self, state: &State, now: Time) -> Result<Option<Time>, AppendError> {
        self.take_in()?;
        if !self.checkpoints.spare_ordered()
            && let Some(spare) = self.log.wants_spare()
        {
            self.checkpoints.order_spare(spare);
        }
        Ok(self.checkpoints.slice(state, self.log.last(), self.time, &self.fresh, now))
    }

    fn close(&mut self, state: &State) -> Result<(), AppendError> {
        let last = self.log.last();
        let complete =
            self.checkpoints.finish(state, last, self.time, &self.fresh).map_err(io::Error::other)?;
        if let Some(complete) = complete {
            self.log.free_up_to(complete.checkpoint)?;
        }
        Ok(())
    }
}
