//! What is on the disk of a simulated home. What checkpoints want written lies on a desk until whoever simulates has some of
//! it done; of what was not flushed a power cut keeps a random number of rows, the oldest.

use super::faults::{Planted, Random};
use super::rows::{RowStep, SimulatedRows};
use crate::store::home::{Report, SLICES_WAITING, Work};
use std::collections::VecDeque;

/// What checkpoints want written.
#[derive(Debug, Default)]
struct Desk {
    inbox: VecDeque<Work>,
    steps: VecDeque<RowStep>,
    /// Whether `steps` end the checkpoint.
    finishes: bool,
    /// The checkpoint whose rest is thrown away.
    failed: Option<u64>,
    reports: VecDeque<Report>,
}

/// What is on the disk of a home.
#[derive(Debug, Default)]
pub(super) struct HomeDisk {
    /// The rows as the process sees them, as they are on the disk, and the steps in between.
    pub(super) written: SimulatedRows,
    on_disk: SimulatedRows,
    unflushed: VecDeque<RowStep>,
    desk: Desk,
    pub(super) blobs_fail: bool,
    pub(super) is_full: bool,
}

impl HomeDisk {
    /// Writes the next rows that are wanted.
    pub(super) fn write_rows(&mut self, rows: usize, random: &mut Random, planted: Option<Planted>) {
        for _ in 0..rows {
            while self.desk.steps.is_empty() && !self.desk.finishes {
                let Some(work) = self.desk.inbox.pop_front() else { return };
                let (Work::Slice { round, .. } | Work::Finish { round, .. }) = work;
                if self.desk.failed == Some(round) {
                    continue;
                }
                if self.is_full {
                    // The checkpoint fails, and the home is opened anew.
                    self.desk.failed = Some(round);
                    self.desk.reports.push_back(Report::Full);
                    self.lose_rows(random);
                    continue;
                }
                self.desk.finishes = matches!(work, Work::Finish { .. });
                self.desk.steps = self.written.steps(work);
            }
            if let Some(step) = self.desk.steps.pop_front() {
                let is_lost = planted == Some(Planted::LostRows) && random.below(8) == 0;
                if !(is_lost && matches!(step, RowStep::Jobs(..))) {
                    self.written.apply(step.clone());
                    self.unflushed.push_back(step);
                }
            }
            if self.desk.steps.is_empty() && std::mem::take(&mut self.desk.finishes) {
                self.flush(usize::MAX);
                self.desk.reports.push_back(Report::Done);
            }
        }
    }

    fn flush(&mut self, steps: usize) {
        for step in self.unflushed.drain(..steps.min(self.unflushed.len())) {
            self.on_disk.apply(step);
        }
    }

    /// Takes work, or gives it back if too much waits.
    pub(super) fn offer(&mut self, work: Work) -> Option<Work> {
        if self.desk.inbox.len() >= SLICES_WAITING {
            return Some(work);
        }
        self.desk.inbox.push_back(work);
        None
    }

    /// How the checkpoint under way ended, if it has.
    pub(super) fn report(&mut self) -> Option<Report> {
        self.desk.reports.pop_front()
    }

    /// Nobody wants anything written any more.
    pub(super) fn clear_desk(&mut self) {
        self.desk = Desk::default();
    }

    /// Of the rows that were not flushed a random number, the oldest, is left.
    pub(super) fn lose_rows(&mut self, random: &mut Random) {
        let kept = random.below(self.unflushed.len() + 1);
        self.flush(kept);
        self.unflushed.clear();
        self.written = self.on_disk.clone();
    }
}
