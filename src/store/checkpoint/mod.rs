//! Checkpoints: what has changed and still lives is written from the state into the home, in bounded slices while the
//! loop goes on. Each row says which commit it reflects, so nothing has to stop and no row depends on another: recovery
//! skips what a row already has.
//!
//! A checkpoint takes the position C, the newest commit, and the blocks that changed since the last checkpoint. When
//! all of them are written, as of C or later, everything up to C is in the home, and the log before it is free. A job
//! that came and went in between is never written.

mod pace;
mod rows;
mod slice;

use super::blob::{Blob, ByKind};
use super::codec::{MetaRow, block_of};
use super::commit::{CommitNo, StreamMark};
use super::error::AppendError;
use super::home::{Report, RowWriter, Work};
use super::recent::{Arrivals, Recent};
use crate::core::{Event, IdRange, JobId, RangeSet, RowKey, State, Time};
use pace::Pace;
use rows::ChangedRows;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

/// How often the loop looks whether the home is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// When a checkpoint that met a full disk is tried again, if there is space.
const FULL_AGAIN: Duration = Duration::from_secs(1);

/// A checkpoint begins before its time when this much was appended: it bounds bodies in memory and the time
/// of a recovery.
const EARLY_BYTES: u64 = 32 << 20;

/// How many blobs that are in the home are dropped from memory in one step: about a hundred microseconds.
const RELEASED: u64 = 2_000;

/// What of a checkpoint is needed to go on after a start.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Where the last whole one stands.
    pub(crate) home: CommitNo,
    /// Where that is in a replicated log.
    pub(crate) mark: Option<StreamMark>,
    /// Blocks that have changed since.
    pub(crate) dirty: RangeSet,
    /// Blocks that may have rows.
    pub(crate) stored: RangeSet,
    /// Rows that are not of jobs and have changed since.
    pub(crate) rows: BTreeSet<RowKey>,
}

/// What a checkpoint is taken of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    /// The commit that `state` is the fold of, and when it was decided.
    pub(crate) last: CommitNo,
    pub(crate) time: Time,
    /// Up to where the log has confirmed. No row may be written that reflects a later commit.
    pub(crate) confirmed: CommitNo,
    /// Where a replicated log is to be read from by whoever has the confirmed commits.
    pub(crate) mark: Option<StreamMark>,
}

/// The loop's side of checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    interval: Duration,
    home: CommitNo,
    mark: Option<StreamMark>,
    dirty: RangeSet,
    stored: RangeSet,
    /// The rows that are not of jobs.
    rows: ChangedRows,
    round: Option<Round>,
    rounds: u64,
    /// Jobs whose blobs are in the home and not yet forgotten here.
    released: RangeSet,
    /// Those of them that have got another one since, which stays.
    renewed: ByKind<BTreeSet<JobId>>,
    /// The end of a checkpoint that was not reported yet: the log keeps the blobs that are not forgotten.
    came_home: Option<CommitNo>,
    /// When the next one begins; `None` while nothing has changed.
    due: Option<Time>,
    /// Bytes appended since the last one began.
    bytes: u64,
    /// Whether none may begin, since the disk is nearly full.
    held_back: bool,
    /// Whether the log is near its limit.
    log_is_long: bool,
}

/// A checkpoint under way.
#[derive(Debug)]
struct Round {
    number: u64,
    meta: MetaRow,
    /// Blocks that must still be encoded.
    todo: RangeSet,
    /// All of its blocks, for another try.
    blocks: RangeSet,
    /// Jobs whose blobs are in the home when it is done.
    blobs: RangeSet,
    /// Those of them that have got another one since, which is not.
    renewed: ByKind<BTreeSet<JobId>>,
    /// Blocks whose rows are gone when it is done.
    removed: RangeSet,
    /// Encoded as of a commit, which is not confirmed yet, or the home had no room for it.
    waiting: Option<(CommitNo, Work)>,
    /// Whether its end was handed over.
    finished: bool,
    pace: Pace,
}

/// What a step of housekeeping came to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// When to call again.
    pub(crate) again: Option<Time>,
    /// A checkpoint has ended: everything up to here is in the home, and nothing of the log before it is needed.
    pub(crate) home: Option<CommitNo>,
}

impl Checkpoints {
    pub(crate) fn new(interval: Duration, start: Start) -> Checkpoints {
        Checkpoints {
            interval,
            came_home: None,
            home: start.home,
            mark: start.mark,
            dirty: start.dirty,
            stored: start.stored,
            rows: ChangedRows::new(start.rows),
            round: None,
            rounds: 0,
            released: RangeSet::default(),
            renewed: ByKind::default(),
            due: None,
            bytes: 0,
            held_back: false,
            log_is_long: false,
        }
    }

    /// Takes note of the events of a commit, and of its size: what has changed, which blobs came and went.
    pub(crate) fn note(
        &mut self,
        events: &[Event],
        bytes: u64,
        mut arrivals: Arrivals<'_>,
        recent: &mut Recent,
    ) {
        self.bytes += bytes;
        recent.push_envelopes(&arrivals);
        recent.push_bodies(events, &mut arrivals);
        let mut marked = 0..0;
        for event in events {
            for range in event.jobs() {
                // Events that follow each other are often of the same block.
                let blocks = blocks_of(*range);
                if blocks != marked {
                    self.dirty.insert(blocks.start, blocks.end - blocks.start);
                    marked = blocks;
                }
            }
            self.rows.note(event);
            event.forgotten().iter().for_each(|jobs| recent.remove(*jobs));
        }
        for (kind, id) in recent.push_late(events, &mut arrivals) {
            // What is written of it now, or was, is the old one: the new one stays until the next checkpoint. What else the
            // job has does not: the log may be freed of it.
            if let Some(round) = self.round.as_mut().filter(|round| round.blobs.contains(id.0)) {
                round.renewed[kind].insert(id);
            }
            if self.released.contains(id.0) {
                self.renewed[kind].insert(id);
            }
        }
        debug_assert_eq!(arrivals.blobs.bodies.len(), 0, "each job that was submitted has one body");
    }

    /// Whether a new one must wait for space on the disk: what is left of it is for the log, and a database that meets
    /// a full disk has to be opened anew.
    pub(crate) fn hold_back(&mut self, hold: bool) {
        self.held_back = hold;
    }

    /// Whether the log is so long that checkpoints should not rest.
    pub(crate) fn press(&mut self, log_is_long: bool) {
        self.log_is_long = log_is_long;
    }

    /// A slice of the checkpoint under way, or the beginning of one if it is time.
    pub(crate) fn step(
        &mut self,
        home: &mut impl RowWriter,
        view: View<'_>,
        recent: &mut Recent,
        now: Time,
    ) -> Result<Step, AppendError> {
        let mut step = Step::default();
        if let Some(report) = home.report()? {
            self.end(report, now)?;
        }
        // What a start has found may have to be written anew, though nothing has come since.
        if self.round.is_none() && (view.last > self.home || !self.dirty.is_empty()) {
            let due = *self.due.get_or_insert(now.plus(self.interval));
            let early = self.bytes >= EARLY_BYTES;
            if (now >= due || early) && self.released.is_empty() && !self.held_back {
                self.begin(view);
            }
        }
        step.again = match &self.round {
            // The home looks after its space, and calls again when there is some.
            None if self.held_back => None,
            None => self.due,
            Some(_) => self.go_on(home, view, recent, now)?,
        };
        self.release(recent);
        if self.released.is_empty() {
            step.home = self.came_home.take();
        } else {
            step.again = Some(now);
        }
        Ok(step)
    }

    /// Writes everything into the home, and waits for it. All of it must be confirmed.
    pub(crate) fn finish(
        &mut self,
        home: &mut impl RowWriter,
        view: View<'_>,
        recent: &mut Recent,
    ) -> Result<(), AppendError> {
        debug_assert!(view.last <= view.confirmed, "the log was waited for");
        loop {
            while !self.released.is_empty() {
                self.release(recent);
            }
            if self.round.is_none() {
                if view.last == self.home && self.dirty.is_empty() {
                    self.came_home = None;
                    return Ok(());
                }
                self.begin(view);
            }
            while let Some(round) = self.round.as_mut().filter(|round| !round.finished) {
                let waiting = round.waiting.take();
                let work = waiting.map_or_else(|| self.next_work(view, recent), |(_, work)| work);
                let finishes = matches!(work, Work::Finish { .. });
                home.hand_over(work)?;
                self.under_way().finished = finishes;
            }
            let report = home.wait()?;
            if !self.end(report, Time(0))? {
                return Err(AppendError::Disk(std::io::ErrorKind::StorageFull.into()));
            }
        }
    }

    fn begin(&mut self, view: View<'_>) {
        let View { state, last, time, mark, .. } = view;
        self.rows.begin(view);
        let blocks = std::mem::take(&mut self.dirty);
        self.rounds += 1;
        let pace = Pace::new(self.bytes >= EARLY_BYTES);
        (self.due, self.bytes) = (None, 0);
        self.round = Some(Round {
            number: self.rounds,
            meta: MetaRow { home: last, time, next_id: state.next_id(), mark },
            todo: blocks.clone(),
            blocks,
            blobs: RangeSet::default(),
            renewed: ByKind::default(),
            removed: RangeSet::default(),
            waiting: None,
            finished: false,
            pace,
        });
    }

    /// Hands one slice to the home. Returns when to call again; `None` if the log rings when there is more to do.
    fn go_on(
        &mut self,
        home: &mut impl RowWriter,
        view: View<'_>,
        recent: &Recent,
        now: Time,
    ) -> Result<Option<Time>, AppendError> {
        let (appended, log_is_long) = (self.bytes, self.log_is_long);
        let round = self.under_way();
        if round.finished {
            return Ok(Some(now.plus(LOOK_AGAIN)));
        }
        let (as_of, work) = match round.waiting.take() {
            Some(waiting) => waiting,
            None => {
                if let Some(until) = round.pace.rest(appended, log_is_long, now) {
                    return Ok(Some(until));
                }
                round.pace.note(now);
                (view.last, self.next_work(view, recent))
            }
        };
        if as_of > view.confirmed {
            self.under_way().waiting = Some((as_of, work));
            return Ok(None);
        }
        let finishes = matches!(work, Work::Finish { .. });
        let refused = home.offer(work)?;
        let round = self.under_way();
        if let Some(work) = refused {
            round.waiting = Some((as_of, work));
        } else if finishes {
            round.finished = true;
        } else {
            return Ok(Some(round.pace.rest(appended, log_is_long, now).unwrap_or(now)));
        }
        Ok(Some(now.plus(LOOK_AGAIN)))
    }

    /// Where the replicated log has to be read from by what is in the home.
    pub(crate) fn mark(&self) -> Option<StreamMark> {
        self.mark
    }

    fn under_way(&mut self) -> &mut Round {
        self.round.as_mut().expect("a checkpoint is under way")
    }

    /// What the home gets next: a slice of blocks, one of other rows, or the end.
    fn next_work(&mut self, view: View<'_>, recent: &Recent) -> Work {
        let number = self.rounds;
        let round = self.round.as_mut().expect("a checkpoint is under way");
        if !round.todo.is_empty() {
            let blocks = slice::blocks(round, &mut self.stored, view.state, view.last, recent);
            let rows = if blocks.is_empty() { Vec::new() } else { self.rows.queues(view) };
            return Work::Slice { round: number, rows, blocks };
        }
        if !self.rows.is_done() {
            return Work::Slice { round: number, rows: self.rows.next(view), blocks: Vec::new() };
        }
        Work::Finish { round: number, rows: self.rows.queues(view), meta: round.meta }
    }

    /// Drops some of the blobs that are in the home.
    fn release(&mut self, recent: &mut Recent) {
        let mut left = RELEASED;
        while left > 0 {
            let Some((first, len)) = self.released.ranges().next() else { return };
            let len = len.min(left);
            let end = first + len;
            for kind in Blob::ALL {
                let later = self.renewed[kind].split_off(&JobId(end));
                let stay = std::mem::replace(&mut self.renewed[kind], later);
                let mut from = first;
                for stays in stay.iter().map(|id| id.0).chain([end]) {
                    if from < stays {
                        recent.remove_of(kind, IdRange::new(JobId(from), stays - from));
                    }
                    from = stays + 1;
                }
            }
            self.released.remove(first, len);
            left -= len;
        }
    }

    /// Takes note of how a checkpoint ended. Whether the disk had room for it.
    fn end(&mut self, report: Report, now: Time) -> Result<bool, AppendError> {
        let Some(round) = self.round.take() else { return Ok(true) };
        debug_assert_eq!(round.number, self.rounds, "one checkpoint at a time");
        match report {
            Report::Done => {
                self.rows.end();
                for (first, len) in round.blobs.ranges() {
                    self.released.insert(first, len);
                }
                self.renewed = round.renewed;
                (self.home, self.mark) = (round.meta.home, round.meta.mark);
                self.came_home = Some(self.home);
            }
            Report::Full => {
                for (first, len) in round.blocks.ranges() {
                    self.dirty.insert(first, len);
                }
                for (first, len) in round.removed.ranges() {
                    self.stored.insert(first, len);
                }
                self.rows.again();
                self.due = Some(now.plus(FULL_AGAIN));
                return Ok(false);
            }
            Report::Failed(error) => return Err(AppendError::Disk(error)),
        }
        Ok(true)
    }
}

/// Marks the blocks of jobs.
pub(crate) fn mark(blocks: &mut RangeSet, jobs: IdRange) {
    let of_jobs = blocks_of(jobs);
    blocks.insert(of_jobs.start, of_jobs.end - of_jobs.start);
}

/// The blocks of jobs.
fn blocks_of(jobs: IdRange) -> Range<u64> {
    block_of(jobs.first)..block_of(JobId(jobs.end().0 - 1)) + 1
}
