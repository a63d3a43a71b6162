//! Checkpoints: what has changed and still lives is brought from the state into the home, a bounded slice at a time
//! while the loop goes on. Each row says which commit it reflects, so nothing has to stand still and no row
//! depends on another: recovery passes over what a row already has.
//!
//! A checkpoint takes the position C, the newest commit, and the blocks that changed since the last one. When all of
//! them are written, as of C or later, everything up to C is home, and the log before it is free. A job
//! that came and went in between is in none of it.

mod pace;
mod shrink;
mod slice;
mod writer;

use super::codec::{MetaRow, QueueRow, block_of};
use super::fresh::{Arrivals, Fresh};
use super::{AppendError, Commit, CommitNo, Shrunk};
use crate::core::{Event, IdRange, JobId, QueueBooks, QueueName, RangeSet, State, Time};
use pace::Pace;
pub(crate) use shrink::Bounds as ShrinkBounds;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;
pub(crate) use writer::{BlockRows, QueueStep, Report, RowWriter, SLICES_WAITING, Work, Writer};

/// How often the loop looks whether the thread is done.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// When a checkpoint that met a full disk is tried again, if there is space.
const FULL_AGAIN: Duration = Duration::from_secs(1);

/// A checkpoint begins before its time when this much was appended: it bounds bodies in memory and the time
/// of a recovery.
const EARLY_BYTES: u64 = 32 << 20;

/// How many bodies that are home are dropped from memory in one step: about a hundred microseconds.
const RELEASED: u64 = 2_000;

/// What of a checkpoint is needed to go on after a start.
#[derive(Debug, Default)]
pub(crate) struct Start {
    /// Where the last whole one stands.
    pub(crate) home: CommitNo,
    /// Blocks that have changed since.
    pub(crate) dirty: RangeSet,
    /// Blocks that may have rows.
    pub(crate) stored: RangeSet,
    /// Queues that were forgotten since.
    pub(crate) gone: BTreeSet<QueueName>,
}

/// The loop's side of checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints<W = Writer> {
    writer: W,
    interval: Duration,
    home: CommitNo,
    dirty: RangeSet,
    stored: RangeSet,
    /// The queues' rows as they were last written.
    queues: HashMap<QueueName, QueueBooks>,
    /// Queues that were forgotten since the last whole checkpoint began, whose rows may be there.
    gone: BTreeSet<QueueName>,
    /// The same, handed to the checkpoint that is under way.
    going: BTreeSet<QueueName>,
    round: Option<Round>,
    rounds: u64,
    /// Jobs whose bodies are home and not yet forgotten here.
    released: RangeSet,
    /// The end of a checkpoint that nobody was told yet: the log keeps the bodies that are not forgotten.
    came_home: Option<CommitNo>,
    /// When the next one begins; `None` while nothing has changed.
    due: Option<Time>,
    /// Bytes appended since the last one began.
    bytes: u64,
    /// None begins: the disk is nearly full.
    held_back: bool,
    /// The log comes near to its limit.
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
    /// Jobs whose bodies are home when it is done.
    bodies: RangeSet,
    /// Blocks whose rows are gone when it is done.
    removed: RangeSet,
    /// Encoded, but the thread had no room for it.
    waiting: Option<Work>,
    finished: bool,
    pace: Pace,
}

/// What a step of housekeeping came to.
#[derive(Debug, Default)]
pub(crate) struct Step {
    /// When to call again.
    pub(crate) again: Option<Time>,
    /// A checkpoint has ended: everything up to here is home, and nothing of the log before it is needed.
    pub(crate) home: Option<CommitNo>,
}

impl<W: RowWriter> Checkpoints<W> {
    pub(crate) fn new(writer: W, interval: Duration, start: Start) -> Checkpoints<W> {
        Checkpoints {
            writer,
            interval,
            came_home: None,
            home: start.home,
            dirty: start.dirty,
            stored: start.stored,
            queues: HashMap::new(),
            gone: start.gone,
            going: BTreeSet::new(),
            round: None,
            rounds: 0,
            released: RangeSet::default(),
            due: None,
            bytes: 0,
            held_back: false,
            log_is_long: false,
        }
    }

    /// Takes note of a commit that was appended, as so many bytes: what has changed, which bodies came and went.
    pub(crate) fn note(
        &mut self,
        commit: &Commit,
        bytes: u64,
        mut arrivals: Arrivals<'_>,
        fresh: &mut Fresh,
    ) {
        self.bytes += bytes;
        for event in &commit.events {
            for range in event.jobs() {
                mark(&mut self.dirty, *range);
            }
            if let Event::QueueForgotten { queue } = event {
                self.gone.insert(queue.clone());
            }
            if let Event::Submitted { jobs, .. } = event {
                fresh.push(*jobs, &mut arrivals);
            }
            event.forgotten().iter().for_each(|jobs| fresh.remove(*jobs));
        }
        debug_assert_eq!(arrivals.bodies.len(), 0, "each job that was submitted has one body");
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

    /// A slice of the checkpoint under way, or the beginning of one if it is time. `last` is the commit that `state`
    /// is the fold of, `time` that of this commit.
    pub(crate) fn step(
        &mut self,
        state: &State,
        (last, time): (CommitNo, Time),
        fresh: &mut Fresh,
        now: Time,
    ) -> Result<Step, AppendError> {
        let mut step = Step::default();
        if let Some(report) = self.writer.report()? {
            self.end(report, now)?;
        }
        if self.round.is_none() && last > self.home {
            let due = *self.due.get_or_insert(now.plus(self.interval));
            let early = self.bytes >= EARLY_BYTES;
            if (now >= due || early) && self.released.is_empty() && !self.held_back {
                self.begin(state, last, time);
            }
        }
        step.again = match &self.round {
            // The store looks after the disk, and calls again when there is space.
            None if self.held_back => None,
            None => self.due,
            Some(_) => Some(self.go_on(state, last, fresh, now)?),
        };
        self.release(fresh);
        if self.released.is_empty() {
            step.home = self.came_home.take();
        } else {
            step.again = Some(now);
        }
        Ok(step)
    }

    /// Brings everything home, and waits for it.
    pub(crate) fn finish(
        &mut self,
        state: &State,
        (last, time): (CommitNo, Time),
        fresh: &mut Fresh,
    ) -> Result<(), AppendError> {
        loop {
            while !self.released.is_empty() {
                self.release(fresh);
            }
            if self.round.is_none() {
                if last == self.home {
                    self.came_home = None;
                    return Ok(());
                }
                self.begin(state, last, time);
            }
            while self.round.as_ref().is_some_and(|round| !round.finished) {
                let work = self.next_work(state, last, fresh);
                self.writer.hand_over(work)?;
            }
            let report = self.writer.wait()?;
            if !self.end(report, Time(0))? {
                return Err(AppendError::Disk(std::io::ErrorKind::StorageFull.into()));
            }
        }
    }

    fn begin(&mut self, state: &State, last: CommitNo, time: Time) {
        let blocks = std::mem::take(&mut self.dirty);
        self.rounds += 1;
        let pace = Pace::new(self.bytes >= EARLY_BYTES);
        (self.due, self.bytes) = (None, 0);
        self.round = Some(Round {
            number: self.rounds,
            meta: MetaRow { home: last, time, next_id: state.next_id() },
            todo: blocks.clone(),
            blocks,
            bodies: RangeSet::default(),
            removed: RangeSet::default(),
            waiting: None,
            finished: false,
            pace,
        });
    }

    /// Hands one slice to the thread. Returns when to call again.
    fn go_on(
        &mut self,
        state: &State,
        last: CommitNo,
        fresh: &Fresh,
        now: Time,
    ) -> Result<Time, AppendError> {
        let Some(round) = self.round.as_mut().filter(|round| !round.finished) else {
            return Ok(now.plus(LOOK_AGAIN));
        };
        if let Some(until) = round.pace.rest(self.bytes, self.log_is_long, now) {
            return Ok(until);
        }
        round.pace.note(now);
        let work = self.next_work(state, last, fresh);
        let refused = self.writer.offer(work)?;
        let round = self.round.as_mut().expect("a checkpoint is under way");
        if refused.is_some() {
            (round.finished, round.waiting) = (false, refused);
        } else if !round.finished {
            return Ok(round.pace.rest(self.bytes, self.log_is_long, now).unwrap_or(now));
        }
        Ok(now.plus(LOOK_AGAIN))
    }

    /// What the thread gets next: what it had no room for, a slice, or the end.
    fn next_work(&mut self, state: &State, last: CommitNo, fresh: &Fresh) -> Work {
        let number = self.rounds;
        let round = self.round.as_mut().expect("a checkpoint is under way");
        let work = if let Some(work) = round.waiting.take() {
            work
        } else if round.todo.is_empty() {
            let meta = round.meta;
            Work::Finish { round: number, queues: self.changed_queues(state, last), meta }
        } else {
            let blocks = slice::blocks(round, &mut self.stored, state, last, fresh);
            let queues = if blocks.is_empty() { Vec::new() } else { self.changed_queues(state, last) };
            Work::Slice { round: number, queues, blocks }
        };
        if let (Work::Finish { .. }, Some(round)) = (&work, &mut self.round) {
            round.finished = true;
        }
        work
    }

    /// The rows of the queues that have changed since they were last written.
    fn changed_queues(&mut self, state: &State, last: CommitNo) -> Vec<QueueStep> {
        let mut rows = Vec::new();
        for name in std::mem::take(&mut self.gone) {
            self.queues.remove(&name);
            // One of that name may be there again: its row takes the place of the old one.
            if state.queue(&name).is_none() {
                rows.push(QueueStep::Gone(name.clone()));
                self.going.insert(name);
            }
        }
        for books in state.books().queues {
            if self.queues.get(&books.name) != Some(&books) {
                self.queues.insert(books.name.clone(), books.clone());
                rows.push(QueueStep::Row(QueueRow { commit: last, books }));
            }
        }
        rows
    }

    /// Drops some of the bodies that are home.
    fn release(&mut self, fresh: &mut Fresh) {
        let mut left = RELEASED;
        while left > 0 {
            let Some((first, len)) = self.released.ranges().next() else { return };
            let len = len.min(left);
            fresh.remove(IdRange::new(JobId(first), len));
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
                self.going.clear();
                for (first, len) in round.bodies.ranges() {
                    self.released.insert(first, len);
                }
                self.home = round.meta.home;
                self.came_home = Some(self.home);
            }
            Report::Full => {
                for (first, len) in round.blocks.ranges() {
                    self.dirty.insert(first, len);
                }
                for (first, len) in round.removed.ranges() {
                    self.stored.insert(first, len);
                }
                self.queues.clear();
                self.gone.append(&mut self.going);
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
    let first = block_of(jobs.first);
    let end = block_of(JobId(jobs.end().0 - 1)) + 1;
    blocks.insert(first, end - first);
}

impl Checkpoints {
    /// What became of a rewrite of the home.
    pub(crate) fn shrunk(&self) -> Option<Shrunk> {
        self.writer.shrunk()
    }

    /// Whether the home is being written anew.
    pub(crate) fn is_shrinking(&self) -> bool {
        self.writer.is_shrinking()
    }
}

#[cfg(test)]
impl Checkpoints {
    /// Lets the thread end after this many rows.
    pub(crate) fn cut_after(&self, rows: u64) {
        self.writer.rows_left.store(rows, std::sync::atomic::Ordering::Relaxed);
    }
}
