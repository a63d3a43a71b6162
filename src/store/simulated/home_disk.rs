//! What is on the disk of a simulated home. What checkpoints want written is pending until the simulation has some of
//! it written; of the rows that were not flushed, a power failure keeps a random number, the oldest.

use super::faults::{Planted, Random};
use super::rows::{RowStep, SimulatedRows};
use crate::store::home::{Report, SLICES_WAITING, Work};
use std::collections::VecDeque;

/// What checkpoints want written.
#[derive(Debug, Default)]
struct Pending {
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
    /// So many of the steps, the oldest, the system has: only a power failure loses them. What came later is in the memory
    /// of the process.
    handed_on: usize,
    pending: Pending,
    pub(super) blobs_fail: bool,
    pub(super) is_full: bool,
}

impl HomeDisk {
    /// Writes the next rows that are wanted.
    pub(super) fn write_rows(&mut self, rows: usize, random: &mut Random, planted: Option<Planted>) {
        for _ in 0..rows {
            while self.pending.steps.is_empty() && !self.pending.finishes {
                let Some(work) = self.pending.inbox.pop_front() else { return };
                let (Work::Slice { round, .. } | Work::Finish { round, .. }) = work;
                if self.pending.failed == Some(round) {
                    continue;
                }
                if self.is_full {
                    // The checkpoint fails, and the home is opened anew.
                    self.pending.failed = Some(round);
                    self.pending.reports.push_back(Report::Full);
                    self.lose_memory(random);
                    continue;
                }
                self.pending.finishes = matches!(work, Work::Finish { .. });
                self.pending.steps = self.written.steps(work);
            }
            if let Some(step) = self.pending.steps.pop_front() {
                let is_lost = planted == Some(Planted::LostRows) && random.below(8) == 0;
                if !(is_lost && matches!(step, RowStep::Jobs(..))) {
                    self.written.apply(step.clone());
                    self.unflushed.push_back(step);
                }
            }
            if self.pending.steps.is_empty() && std::mem::take(&mut self.pending.finishes) {
                self.flush(usize::MAX);
                self.pending.reports.push_back(Report::Done);
            }
        }
    }

    fn flush(&mut self, steps: usize) {
        let steps = steps.min(self.unflushed.len());
        self.unflushed.drain(..steps).for_each(|step| self.on_disk.apply(step));
        self.handed_on = self.handed_on.saturating_sub(steps);
    }

    /// Takes work, or gives it back if too much waits.
    pub(super) fn offer(&mut self, work: Work) -> Option<Work> {
        if self.pending.inbox.len() >= SLICES_WAITING {
            return Some(work);
        }
        self.pending.inbox.push_back(work);
        None
    }

    /// How the checkpoint under way ended, if it has.
    pub(super) fn report(&mut self) -> Option<Report> {
        self.pending.reports.pop_front()
    }

    /// Nobody wants anything written any more.
    pub(super) fn drop_pending(&mut self) {
        self.pending = Pending::default();
    }

    /// The process is gone, or has opened the home anew: a random number of the steps of this life, the oldest, is in the
    /// system's hands by then, and is what the next one sees.
    pub(super) fn lose_memory(&mut self, random: &mut Random) {
        let own = self.unflushed.len() - self.handed_on;
        self.handed_on += random.below(own + 1);
        self.unflushed.truncate(self.handed_on);
        self.written = self.on_disk.clone();
        self.unflushed.iter().for_each(|step| self.written.apply(step.clone()));
    }

    /// Of the rows that were not flushed a random number, the oldest, is left.
    pub(super) fn lose_rows(&mut self, random: &mut Random) {
        let kept = random.below(self.unflushed.len() + 1);
        self.flush(kept);
        self.unflushed.clear();
        self.handed_on = 0;
        self.written = self.on_disk.clone();
    }
}
