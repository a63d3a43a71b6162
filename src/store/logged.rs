//! The store over any log and any home: the log takes each commit, checkpoints write what lives on into the home, and
//! both give everything back at a start (`recovery.rs`). The loop's thread owns it. Knows neither files nor databases.

#![expect(private_bounds, reason = "a store is opened by what has a log and a home, which are of this crate")]

use super::api::Store;
use super::backup::{BackupRows, BackupTail};
use super::blob::{Blob, ByKind};
use super::checkpoint::{Checkpoints, View};
use super::codec::{CommitBlobs, Places, encode_commit};
use super::commit::{Commit, CommitNo};
use super::error::{AppendError, BlobError};
use super::home::Home;
use super::log::{Log, Place};
use super::reads::BlobReads;
use super::recent::{Arrivals, Recent};
use super::recovery::{Fold, Folded, OpenError, Recovered};
use super::room::{Figures, Room, Shrunk};
use crate::core::{JobId, State, Time};
use bytes::Bytes;
use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

/// How many rows of blobs of a kind are kept after they were read: neighbours are claimed together.
const ROWS_KEPT: usize = 8;

/// A store that is closed with more log than this leaves it as it is: a supervisor gives a stop only so much time.
const LEFT_IN_LOG: u64 = 64 << 20;

/// Rows of blobs that were read, the newest first.
pub(super) type KeptRows = ByKind<VecDeque<Vec<(JobId, Bytes)>>>;

/// The store over a log and a home.
#[derive(Debug)]
pub struct LoggedStore<L, H> {
    // In this order they are closed.
    pub(super) log: L,
    pub(super) home: H,
    pub(super) checkpoints: Checkpoints,
    pub(super) recent: Recent,
    pub(super) rows: KeptRows,
    /// When the newest commit was decided.
    pub(super) time: Time,
    /// What a backup under way still needs of the log: everything after this.
    held: Option<CommitNo>,
    /// The same of a checkpoint: where the last one that has ended stands.
    pub(super) came_home: CommitNo,
    /// What was appended since the start, and how many checkpoints have ended.
    appended_bytes: u64,
    checkpoints_ended: u64,
    failure: Failure,
}

impl<L: Log, H: Home> LoggedStore<L, H> {
    /// Recovers what a home and a log hold. `open_log` opens the log, and hands over every commit after the one that
    /// it is given, in order.
    pub(super) fn recover(
        home: H,
        open_log: impl FnOnce(CommitNo, &mut OnCommit<'_>) -> Result<L, OpenError>,
        recent: Recent,
        checkpoint_interval: Duration,
    ) -> Result<(LoggedStore<L, H>, Recovered), OpenError> {
        let mut fold = Fold::load(&home, recent)?;
        let log = open_log(fold.meta.home, &mut |place, payload| fold.commit(place, payload))?;
        let Folded { recovered, start, recent } = fold.end(log.last())?;
        let came_home = start.home;
        let store = LoggedStore {
            log,
            home,
            checkpoints: Checkpoints::new(checkpoint_interval, start),
            recent,
            rows: ByKind::default(),
            time: recovered.time,
            held: None,
            came_home,
            appended_bytes: 0,
            checkpoints_ended: 0,
            failure: Failure::default(),
        };
        Ok((store, recovered))
    }

    fn view<'a>(&self, state: &'a State) -> View<'a> {
        let (last, confirmed) = (self.log.last(), self.log.confirmed());
        View { state, last, time: self.time, confirmed, mark: self.log.mark() }
    }

    /// A whole checkpoint, however long it takes.
    pub(super) fn bring_home(&mut self, state: &State) -> Result<(), AppendError> {
        self.wait()?;
        let view = self.view(state);
        self.checkpoints.finish(&mut self.home, view, &mut self.recent)?;
        self.free_log(view.last);
        Ok(())
    }

    /// Everything up to here is in the home. A backup under way may still need some of it.
    fn free_log(&mut self, home: CommitNo) {
        self.came_home = home;
        if let Some(mark) = self.checkpoints.mark() {
            self.log.note_home(mark);
        }
        self.log.free(self.held.map_or(home, |held| home.min(held)));
    }
}

/// Who takes the commits of a log that is being opened.
pub(super) type OnCommit<'a> = dyn FnMut(Place<'_>, &[u8]) -> Result<(), OpenError> + 'a;

impl<L: Log, H: Home> Store for LoggedStore<L, H> {
    fn append(&mut self, expected: CommitNo, commit: &Commit) -> Result<Duration, AppendError> {
        let mut places = Places::default();
        let encode = |out: &mut Vec<u8>| places = encode_commit(commit, out);
        let appended = self
            .log
            .append(expected, encode)
            .inspect_err(|error| self.failure.note(&mut self.home, error))?;
        let (bytes, waited) = (appended.record.len() as u64, appended.waited);
        self.appended_bytes += bytes;
        self.time = commit.time;
        let blobs = CommitBlobs::of(commit, appended.record, places);
        let arrivals = Arrivals { blobs, place: Some((appended.segment, appended.at)) };
        self.checkpoints.note(&commit.events, bytes, arrivals, &mut self.recent);
        forget_rows(&mut self.rows, !commit.replaced.is_empty(), !commit.attached.is_empty());
        Ok(waited)
    }

    fn durable(&self) -> CommitNo {
        self.log.confirmed()
    }

    fn can_append(&self) -> bool {
        self.log.can_append()
    }

    fn ring(&mut self, bell: &Waker) {
        self.log.ring(bell);
    }

    fn wait(&mut self) -> Result<(), AppendError> {
        self.log.wait().inspect_err(|error| self.failure.note(&mut self.home, error))
    }

    fn blob(&mut self, kind: Blob, id: JobId) -> Result<Bytes, BlobError> {
        let rows = &mut self.rows[kind];
        let row = match self.recent.get(kind, id) {
            Some(Ok(blob)) => return Ok(blob),
            _ if let Some(blob) = find(rows, id) => return Ok(blob.clone()),
            Some(Err(in_log)) => in_log.read().map_err(|error| error.about(kind, id))?,
            None => self.home.blobs(kind, id).map_err(|error| error.about(kind, id))?,
        };
        let blob = find_in(&row, id).cloned().ok_or(BlobError::Missing { kind, id })?;
        // A big one has no neighbours in its row. In one that is read now there may be some in whose place others are.
        if row.len() > 1 && !self.recent.replaces_any(kind) {
            rows.truncate(ROWS_KEPT - 1);
            rows.push_front(row);
        }
        Ok(blob)
    }

    fn blobs(&self, kind: Blob, ids: Vec<JobId>) -> BlobReads {
        BlobReads::new(kind, ids, &self.recent, self.home.reader())
    }

    fn room(&self) -> Room {
        let size = self.log.size();
        match size.bytes > size.limit {
            true => Room::LogFull { bytes: size.bytes, limit: size.limit },
            false => self.home.room(),
        }
    }

    fn maintain(&mut self, state: &State, now: Time) -> Result<Option<Time>, AppendError> {
        let home_is_full = self.home.maintain(now);
        let noted = self.log.maintain(now);
        let log_again = noted.inspect_err(|error| self.failure.note(&mut self.home, error))?;
        let (size, view) = (self.log.size(), self.view(state));
        self.checkpoints.hold_back(home_is_full);
        self.checkpoints.press(size.bytes > size.limit / 4 * 3);
        let step = self.checkpoints.step(&mut self.home, view, &mut self.recent, now)?;
        // A backup that is read too slowly must not fill the log: it fails instead.
        if size.bytes > size.limit / 2 && self.held.is_some() {
            self.end_backup();
        }
        if let Some(home) = step.home {
            self.checkpoints_ended += 1;
            self.free_log(home);
        }
        Ok([step.again, log_again, self.home.look_again(now)].into_iter().flatten().min())
    }

    fn close(&mut self, state: &State) -> Result<(), AppendError> {
        self.wait()?;
        // It is safe there, and a start reads it much faster than a stop could write it into the home.
        let leaves_it = self.log.outlives() && self.log.size().bytes > LEFT_IN_LOG;
        if leaves_it { Ok(()) } else { self.bring_home(state) }
    }

    fn shrunk(&mut self) -> Option<Shrunk> {
        self.home.shrunk()
    }

    fn appended_bytes(&self) -> u64 {
        self.appended_bytes
    }

    fn figures(&self) -> Figures {
        let size = self.log.size();
        Figures {
            log_bytes: size.bytes,
            log_limit: size.limit,
            database_bytes: self.home.bytes(),
            checkpoints: self.checkpoints_ended,
        }
    }

    fn begin_backup(&mut self) -> Option<BackupRows> {
        if self.held.is_some() {
            return None;
        }
        self.held = Some(self.came_home);
        Some(BackupRows::new(self.home.reader()))
    }

    fn backup_tail(&self) -> Option<BackupTail> {
        self.held.map(|_| BackupTail::new(self.log.tail()))
    }

    fn end_backup(&mut self) {
        self.held = None;
        self.free_log(self.came_home);
    }
}

/// What the first error of the log was. Those that follow only say that there was one.
#[derive(Debug, Default)]
struct Failure {
    is_known: bool,
}

impl Failure {
    /// The home is left as it is, unless there was only no space: that can be closed in order.
    fn note(&mut self, home: &mut impl Home, error: &AppendError) {
        if let AppendError::Disk(error) = error
            && !std::mem::replace(&mut self.is_known, true)
            && error.kind() != std::io::ErrorKind::StorageFull
        {
            home.give_up();
        }
    }
}

/// Rows that are kept have the old blobs of jobs that get others.
pub(super) fn forget_rows(rows: &mut KeptRows, replaces: bool, attaches: bool) {
    if replaces {
        rows[Blob::Body].clear();
    }
    if attaches {
        Blob::BESIDE.into_iter().for_each(|kind| rows[kind].clear());
    }
}

fn find(rows: &VecDeque<Vec<(JobId, Bytes)>>, id: JobId) -> Option<&Bytes> {
    rows.iter().find_map(|row| find_in(row, id))
}

fn find_in(row: &[(JobId, Bytes)], id: JobId) -> Option<&Bytes> {
    row.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| &row[at].1)
}
