//! The start, which is recovery: the home's rows are the state as of the last checkpoint or later, the log's tail is
//! folded over them. No blob in the home is read.
//!
//! Rows of a checkpoint that a crash cut off are newer than the others. Each says which commit it reflects, so an
//! event is folded into those jobs only whose row does not have it yet. A row that such a checkpoint removed is
//! told by its absence: its jobs arrived before the last whole checkpoint, and are not there.

use super::blob::Blob;
use super::checkpoint::{Start, mark};
use super::codec::{CommitView, MetaRow, block_of, block_range, decode_commit, row_key};
use super::commit::CommitNo;
use super::directory::DirectoryError;
use super::error::AppendError;
use super::home::{HomeError, Rows, ahead_of_log};
use super::log::{LogError, Place};
use super::recent::{Arrivals, Recent};
use crate::core::{Event, IdRange, JobId, RangeSet, Row, RowKey, State, Time};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The database cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What its log has cannot be brought home, which a node's must be.
    #[error("what the log has cannot be brought into the database: {0}")]
    BringHome(AppendError),
    /// The stream does not go on where the directory ends, or nobody reads it any more.
    #[error("the stream cannot be taken in: {0}")]
    Stream(String),
    /// A thread does not start.
    #[error("a thread for the store cannot be started: {0}")]
    Thread(std::io::Error),
}

/// What was found.
#[derive(Debug)]
pub struct Recovered {
    /// The state as of the newest commit.
    pub state: State,
    /// The newest commit.
    pub last: CommitNo,
    /// When it was decided: time must not go back behind it.
    pub time: Time,
    /// For the first line of the daemon's log.
    pub report: Report,
}

/// How much a recovery had to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Jobs that are known now.
    pub jobs: u64,
    /// Rows of jobs that were read from the database.
    pub rows: u64,
    /// Commits that were folded from the log.
    pub commits: u64,
}

/// What a fold comes to.
pub(super) struct Folded {
    pub(super) recovered: Recovered,
    /// For the checkpoints to come.
    pub(super) start: Start,
    pub(super) recent: Recent,
}

/// The state while it is put together.
pub(super) struct Fold {
    pub(super) meta: MetaRow,
    state: State,
    time: Time,
    next_id: JobId,
    /// Blocks whose rows are newer than the last whole checkpoint, and what they reflect.
    ahead: HashMap<u64, CommitNo>,
    /// The newest of these, and its block.
    newest_row: (CommitNo, u64),
    /// Rows that are not about jobs and are newer than the last whole checkpoint: what holds after which commit.
    newer: BTreeMap<CommitNo, Vec<Row>>,
    /// Blocks that have a row of jobs.
    rows: RangeSet,
    /// Blocks that may have rows of any kind: a crash may have left blobs without their jobs.
    stored: RangeSet,
    dirty: RangeSet,
    /// Blocks whose rows are of an older version, with tags in them and no envelopes beside them.
    tagged: RangeSet,
    /// Rows that are not about jobs and were changed by what was folded.
    changed: BTreeSet<RowKey>,
    recent: Recent,
    report: Report,
}

impl Fold {
    /// The home's part.
    pub(super) fn load(home: &impl Rows, recent: Recent) -> Result<Fold, HomeError> {
        let meta = home.meta()?.unwrap_or_default();
        let mut fold = Fold {
            meta,
            state: State::default(),
            time: meta.time,
            next_id: meta.next_id,
            ahead: HashMap::new(),
            newest_row: Default::default(),
            newer: BTreeMap::new(),
            rows: RangeSet::default(),
            stored: RangeSet::default(),
            dirty: RangeSet::default(),
            tagged: RangeSet::default(),
            changed: BTreeSet::new(),
            recent,
            report: Report::default(),
        };
        for row in home.rows()? {
            fold.newer.entry(row.commit.max(fold.meta.home)).or_default().push(row.row);
        }
        home.blocks(|block, row| {
            if row.commit > fold.meta.home {
                fold.ahead.insert(block, row.commit);
                fold.newest_row = fold.newest_row.max((row.commit, block));
            }
            fold.rows.insert(block, 1);
            fold.report.rows += 1;
            if !row.tags.is_empty() {
                // They are written as envelopes at the next checkpoint. Those of jobs that the log has too come from
                // there.
                fold.tagged.insert(block, 1);
                fold.dirty.insert(block, 1);
                let next_id = fold.meta.next_id;
                for (jobs, envelope) in row.tags.iter().filter(|(jobs, _)| jobs.first < next_id) {
                    let len = jobs.len.min(next_id.0 - jobs.first.0);
                    fold.recent.push_tags(IdRange::new(jobs.first, len), envelope);
                }
            }
            for (range, job) in row.runs {
                fold.state.restore(range, job);
            }
        })?;
        fold.stored = fold.rows.clone();
        fold.restore_rows(fold.meta.home);
        Ok(fold)
    }

    /// Rows hold what was so after one commit exactly: what was counted on the way there gives way.
    fn restore_rows(&mut self, after: CommitNo) {
        for row in self.newer.remove(&after).into_iter().flatten() {
            self.state.restore_row(row);
        }
    }

    /// Folds one commit of the log's tail.
    pub(super) fn commit(&mut self, place: Place<'_>, payload: &[u8]) -> Result<(), OpenError> {
        let commit = decode_commit(payload).map_err(|error| match error.is_of_newer_version() {
            true => place.of_newer_version(error.to_string()),
            false => place.damaged(error.to_string()),
        })?;
        commit.check().map_err(|error| place.damaged(error))?;
        self.events(place, &commit)?;
        self.time = commit.time;
        self.report.commits += 1;
        self.restore_rows(place.number);
        Ok(())
    }

    fn events(&mut self, place: Place<'_>, commit: &CommitView<'_>) -> Result<(), LogError> {
        let mut submitted = commit.events.iter().filter(|event| matches!(event, Event::Submitted { .. }));
        if let Some(first) =
            submitted.next().map(|event| event.jobs()[0].first).filter(|id| *id < self.next_id)
        {
            return Err(place.damaged(format!("job {first} arrives after later ones")));
        }
        let mut arrivals = Arrivals { blobs: commit.blobs, place: place.payload };
        self.recent.push_envelopes(&arrivals);
        commit.tags.iter().for_each(|(jobs, envelope)| self.recent.push_tags(*jobs, envelope));
        self.recent.push_bodies(&commit.events, &mut arrivals);
        for event in &commit.events {
            for part in self.still_missing(place, event)?.iter() {
                self.state.apply(part);
            }
            if let Event::Submitted { jobs, .. } = event {
                self.next_id = jobs.end();
                self.forget_stored(place.number, *jobs);
            }
            self.changed.extend(event.changed_row());
            for range in event.jobs() {
                mark(&mut self.dirty, *range);
                mark(&mut self.stored, *range);
            }
            event.forgotten().iter().for_each(|range| self.recent.remove(*range));
        }
        for (kind, id) in self.recent.push_late(&commit.events, &mut arrivals) {
            // A row that has the event has the blob beside it.
            if !self.misses(place.number, id) || !self.state.contains(id) {
                self.recent.remove_of(kind, id.into());
            }
        }
        Ok(())
    }

    /// Blobs of blocks that have a row already are in the home, if they are needed.
    fn forget_stored(&mut self, number: CommitNo, jobs: IdRange) {
        if number > self.newest_row.0 {
            return;
        }
        for part in by_block(jobs) {
            if !self.misses(number, part.first) {
                self.recent.remove_of(Blob::Body, part);
                if !self.tagged.contains(block_of(part.first)) {
                    self.recent.remove_of(Blob::Envelope, part);
                }
            }
        }
    }

    /// The parts of an event that no row has yet: all of it as a rule.
    fn still_missing<'a>(&self, place: Place<'_>, event: &'a Event) -> Result<Cow<'a, [Event]>, LogError> {
        let arrival = matches!(event, Event::Submitted { .. });
        let mut whole = true;
        for part in event.jobs().iter().flat_map(|jobs| by_block(*jobs)) {
            if !self.misses(place.number, part.first) {
                whole = false;
                continue;
            }
            // As nearly all arrivals are: of jobs of which none is there.
            if arrival && self.state.iter(part).next().is_none() {
                continue;
            }
            for id in part.iter().filter(|id| self.state.contains(*id) == arrival) {
                // An arrival of a job that is there, or something about one that is not.
                if arrival || !self.was_removed(id) {
                    let what = if arrival { "arrives twice" } else { "is unknown" };
                    return Err(place.damaged(format!("it names job {id}, which {what}")));
                }
                whole = false;
            }
        }
        if whole {
            return Ok(Cow::Borrowed(std::slice::from_ref(event)));
        }
        let known = |id| self.misses(place.number, id) && self.state.contains(id) != arrival;
        Ok(Cow::Owned(event.narrowed(known)))
    }

    /// Whether a commit's events about a job are not in its row.
    fn misses(&self, number: CommitNo, id: JobId) -> bool {
        number > self.newest_row.0 || self.ahead.get(&block_of(id)).is_none_or(|row| number > *row)
    }

    /// Whether a job's row was removed by a checkpoint that a crash cut off.
    fn was_removed(&self, id: JobId) -> bool {
        id < self.meta.next_id && !self.rows.contains(block_of(id))
    }

    /// What all of it comes to, now that the log was read up to `last`.
    pub(super) fn end(mut self, last: CommitNo) -> Result<Folded, HomeError> {
        self.verify(last)?;
        let start = Start {
            home: self.meta.home,
            mark: self.meta.mark,
            dirty: self.dirty,
            stored: self.stored,
            rows: self.changed,
        };
        let jobs = self.state.queues().map(|(_, queue)| queue.counts().all()).sum();
        let report = Report { jobs, ..self.report };
        let recovered = Recovered { state: self.state, last, time: self.time, report };
        Ok(Folded { recovered, start, recent: self.recent })
    }

    /// Rows are written only after the log has the commits that they reflect.
    fn verify(&mut self, last: CommitNo) -> Result<(), HomeError> {
        let (newest, block) = self.newest_row;
        if newest > last {
            return Err(ahead_of_log("jobs", &block.to_be_bytes(), newest, last));
        }
        if let Some((newest, rows)) = self.newer.last_key_value() {
            return Err(ahead_of_log("queues", &row_key(&rows[0].key()), *newest, last));
        }
        // Jobs that arrived and went before their row was written have left no trace but this.
        self.state.raise_next_id(self.next_id);
        Ok(())
    }
}

/// The parts of a range that lie in one block each.
fn by_block(jobs: IdRange) -> impl Iterator<Item = IdRange> {
    let blocks = block_of(jobs.first)..=block_of(JobId(jobs.end().0 - 1));
    blocks.filter_map(move |block| block_range(block).overlap(jobs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{Job, SpecOptions};
    use crate::store::codec::{BlockRow, StampedRow};

    /// A home in which the very first checkpoint was cut off behind one row.
    struct OneRow(BlockRow);

    impl Rows for OneRow {
        fn meta(&self) -> Result<Option<MetaRow>, HomeError> {
            Ok(None)
        }

        fn rows(&self) -> Result<Vec<StampedRow>, HomeError> {
            Ok(Vec::new())
        }

        fn blocks(&self, mut on_block: impl FnMut(u64, BlockRow)) -> Result<(), HomeError> {
            on_block(1, self.0.clone());
            Ok(())
        }
    }

    /// The tags of jobs that the log has too come from there.
    #[test]
    fn tags_in_a_row_of_a_checkpoint_that_was_cut_off_wait_for_the_log() {
        let spec = SpecOptions {
            has_envelope: true,
            ..SpecOptions::plain(crate::core::QueueName::new("q").unwrap())
        };
        let jobs = IdRange::new(JobId(64), 3);
        let mut row = BlockRow::new(CommitNo(1), vec![(jobs, Job::fresh(spec.into(), Time(0)))]);
        row.tags = vec![(jobs, bytes::Bytes::from_static(b"e"))];
        let mut fold = Fold::load(&OneRow(row), Recent::new(0)).unwrap();
        assert!(!fold.recent.contains(Blob::Envelope, JobId(64)));
        // The row has the jobs already, but no envelopes beside them.
        fold.recent.push_tags(jobs, b"e");
        fold.forget_stored(CommitNo(1), jobs);
        assert!(jobs.iter().all(|id| fold.recent.contains(Blob::Envelope, id)));
    }
}
