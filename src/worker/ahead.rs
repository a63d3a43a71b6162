//! The jobs that a lane has claimed before it has a slot for them, and whether it may claim any. With a job at hand, a
//! slot is not idle while the daemon records how the last job ended. But nobody else can run a job that waits here: so
//! at most one per slot is claimed, only while jobs are short, only jobs that nobody else waits for, and it is given
//! back if its slot is not free soon. Plain bookkeeping: no requests are sent here.

use crate::protocol::LeaseRef;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// A job that takes longer is not short.
const SHORT_MAX: Duration = Duration::from_millis(30);
/// A claim that waits longer finds no jobs that wait.
const BACKLOG_WAIT_MAX: Duration = Duration::from_millis(50);
/// How long a job waits here before it is given back.
pub(super) const AHEAD_WAIT_MAX: Duration = Duration::from_millis(50);

/// The jobs that one lane has claimed ahead.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    jobs: VecDeque<Job>,
    /// Whether the last job was short.
    is_short: bool,
    /// Whether the last claim found jobs that waited.
    has_backlog: bool,
}

#[derive(Debug)]
struct Job {
    lease: LeaseRef,
    /// When it goes back; `None` once it was told to.
    until: Option<Instant>,
}

impl Ahead {
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// How many more jobs to claim ahead now.
    pub(super) fn claim(&self, slots: u32) -> u32 {
        if self.is_short && self.has_backlog { self.room(slots) } else { 0 }
    }

    /// How many more jobs may wait here.
    pub(super) fn room(&self, slots: u32) -> u32 {
        slots.saturating_sub(u32::try_from(self.jobs.len()).unwrap_or(u32::MAX))
    }

    /// A job has ended after so long.
    pub(super) fn ran(&mut self, took: Duration) {
        self.is_short = took <= SHORT_MAX;
    }

    /// A claim was answered after so long.
    pub(super) fn claimed(&mut self, jobs: usize, took: Duration) {
        self.has_backlog = jobs > 0 && took <= BACKLOG_WAIT_MAX;
    }

    pub(super) fn push(&mut self, lease: LeaseRef, now: Instant) {
        self.jobs.push_back(Job { lease, until: Some(now + AHEAD_WAIT_MAX) });
    }

    /// The job that has waited longest, for a slot that is free.
    pub(super) fn pop(&mut self) -> Option<LeaseRef> {
        let at = self.jobs.iter().position(|job| job.until.is_some())?;
        self.jobs.remove(at).map(|job| job.lease)
    }

    /// A job will not run here; returns whether it waited here.
    pub(super) fn remove(&mut self, lease: LeaseRef) -> bool {
        let before = self.jobs.len();
        self.jobs.retain(|job| job.lease != lease);
        self.jobs.len() < before
    }

    /// When [`Ahead::take_overdue`] is to be asked.
    pub(super) fn next_overdue(&self) -> Option<Instant> {
        self.jobs.iter().find_map(|job| job.until)
    }

    /// The jobs that have waited for too long and are to be given back. No more are claimed until a short one has
    /// ended. They count as here until they are removed.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Vec<LeaseRef> {
        let overdue: Vec<LeaseRef> = self.take(|until| until <= now);
        if !overdue.is_empty() {
            self.is_short = false;
        }
        overdue
    }

    /// The same for all of them.
    pub(super) fn take_all(&mut self) -> Vec<LeaseRef> {
        self.take(|_| true)
    }

    fn take(&mut self, is_meant: impl Fn(Instant) -> bool) -> Vec<LeaseRef> {
        let meant = self.jobs.iter_mut().filter(|job| job.until.is_some_and(&is_meant));
        meant
            .map(|job| {
                job.until = None;
                job.lease
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    fn lease(id: u64) -> LeaseRef {
        LeaseRef { id, attempt: 1 }
    }

    #[test]
    fn it_asks_for_one_job_a_slot_while_jobs_are_short_and_some_wait() {
        let table = [
            ((SHORT, 1, SHORT), 2),
            ((SHORT_MAX, 1, BACKLOG_WAIT_MAX), 2),
            ((SHORT_MAX + SHORT, 1, SHORT), 0),
            ((SHORT, 0, SHORT), 0),
            ((SHORT, 1, BACKLOG_WAIT_MAX + SHORT), 0),
        ];
        for ((ran, jobs, waited), claim) in table {
            let mut ahead = Ahead::default();
            assert_eq!(ahead.claim(2), 0);
            ahead.ran(ran);
            ahead.claimed(jobs, waited);
            assert_eq!(ahead.claim(2), claim, "{ran:?} {jobs} {waited:?}");
            ahead.push(lease(1), Instant::now());
            assert_eq!(ahead.claim(2), claim.saturating_sub(1));
        }
    }

    #[test]
    fn jobs_leave_in_the_order_in_which_they_came() {
        let (mut ahead, now) = (Ahead::default(), Instant::now());
        (1..=3).for_each(|id| ahead.push(lease(id), now));
        assert!(ahead.remove(lease(2)) && !ahead.remove(lease(2)));
        assert_eq!([ahead.pop(), ahead.pop(), ahead.pop()], [Some(lease(1)), Some(lease(3)), None]);
    }

    #[test]
    fn a_job_whose_slot_does_not_come_goes_back_once_and_does_not_run() {
        let (mut ahead, now) = (Ahead::default(), Instant::now());
        ahead.ran(SHORT);
        ahead.claimed(1, SHORT);
        ahead.push(lease(1), now);
        ahead.push(lease(2), now + SHORT);
        assert_eq!(ahead.next_overdue(), Some(now + AHEAD_WAIT_MAX));
        assert_eq!(ahead.take_overdue(now + AHEAD_WAIT_MAX - SHORT), []);
        assert_eq!(ahead.take_overdue(now + AHEAD_WAIT_MAX), [lease(1)]);
        assert_eq!(ahead.take_overdue(now + AHEAD_WAIT_MAX), []);
        assert_eq!((ahead.pop(), ahead.pop(), ahead.claim(9)), (Some(lease(2)), None, 0));
        assert!(ahead.remove(lease(1)) && ahead.is_empty());
    }
}
