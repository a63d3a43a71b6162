//! What was counted, step by step: ten seconds each for the last hour, a minute each for the last day. A step in which nothing
//! has happened takes no memory.

use super::counts::{Count, Counts};
use std::collections::VecDeque;
use std::sync::Arc;

/// How long a fine step is, in milliseconds.
pub const FINE_MS: u64 = 10_000;
/// How long a coarse one is.
pub const COARSE_MS: u64 = 60_000;
/// How many fine steps are kept: an hour.
pub(super) const FINE_KEPT: u32 = 360;
/// How many coarse ones: a day.
pub(super) const COARSE_KEPT: u32 = 1_440;
/// How many fine steps a coarse one has.
pub(super) const FINE_IN_COARSE: u32 = (COARSE_MS / FINE_MS) as u32;

/// One step of one queue. Counts that do not fit are as large as they get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Jobs submitted.
    pub submitted: u32,
    /// Attempts begun.
    pub started: u32,
    /// Jobs completed.
    pub completed: u32,
    /// Attempts failed.
    pub failed: u32,
    /// Jobs that became dead.
    pub dead: u32,
    /// Jobs that were ready at its end.
    pub ready: u32,
    /// Quantiles in milliseconds; [`Point::NONE`] where nothing was measured.
    pub wait_p50: u32,
    /// See `wait_p50`.
    pub wait_p99: u32,
    /// See `wait_p50`.
    pub run_p50: u32,
    /// See `wait_p50`.
    pub run_p99: u32,
}

impl Point {
    /// Nothing was measured.
    pub const NONE: u32 = u32::MAX;

    /// A step in which nothing has happened.
    pub fn quiet(ready: u32) -> Point {
        let none = Point::NONE;
        Point { ready, wait_p50: none, wait_p99: none, run_p50: none, run_p99: none, ..Point::default() }
    }

    pub(super) fn of(counts: &Counts, ready: u64) -> Point {
        let count = |count| fit(counts.of(count));
        let quantile = |of: Option<u64>| of.map_or(Point::NONE, |value| fit(value).min(Point::NONE - 1));
        Point {
            submitted: count(Count::Submitted),
            started: count(Count::Started),
            completed: count(Count::Completed),
            failed: count(Count::Failed),
            dead: count(Count::Dead),
            ready: fit(ready),
            wait_p50: quantile(counts.wait.quantile(500)),
            wait_p99: quantile(counts.wait.quantile(990)),
            run_p50: quantile(counts.run.quantile(500)),
            run_p99: quantile(counts.run.quantile(990)),
        }
    }

    /// The same step went on, after a start. Of quantiles the larger ones stay.
    fn and(self, later: Point) -> Point {
        let larger = |one: u32, other: u32| match (one, other) {
            (Point::NONE, other) => other,
            (one, Point::NONE) => one,
            (one, other) => one.max(other),
        };
        Point {
            submitted: self.submitted.saturating_add(later.submitted),
            started: self.started.saturating_add(later.started),
            completed: self.completed.saturating_add(later.completed),
            failed: self.failed.saturating_add(later.failed),
            dead: self.dead.saturating_add(later.dead),
            ready: later.ready,
            wait_p50: larger(self.wait_p50, later.wait_p50),
            wait_p99: larger(self.wait_p99, later.wait_p99),
            run_p50: larger(self.run_p50, later.run_p50),
            run_p99: larger(self.run_p99, later.run_p99),
        }
    }
}

fn fit(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Steps of one length. Those that are not there were quiet, with as many ready jobs as at the end of the last one that is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Series {
    pub(super) points: VecDeque<(u32, Point)>,
    /// How many jobs were ready before the first of them.
    pub(super) ready_before: u32,
}

impl Series {
    /// A step is over. No earlier one comes after it.
    pub(super) fn push(&mut self, step: u32, point: Point, kept: u32) {
        let ready = self.ready();
        match self.points.back_mut() {
            Some((last, before)) if *last == step => *before = before.and(point),
            _ if point == Point::quiet(ready) => {}
            _ => self.points.push_back((step, point)),
        }
        while let Some((first, point)) =
            self.points.front().filter(|(first, _)| first.saturating_add(kept) <= step)
        {
            debug_assert!(first < &step, "what is kept is the newest");
            self.ready_before = point.ready;
            self.points.pop_front();
        }
    }

    /// Leaves away what is not in order, or after a step, and what is too old.
    pub(super) fn bound(&mut self, last: u32, kept: u32) {
        let (mut before, ready_before) = (None, &mut self.ready_before);
        self.points.retain(|(step, point)| {
            let is_next = before.is_none_or(|before| before < *step) && *step <= last;
            before = before.max(Some(*step));
            let is_old = step.saturating_add(kept) <= last;
            if is_next && is_old {
                *ready_before = point.ready;
            }
            is_next && !is_old
        });
    }

    /// How many jobs were ready at the end of the last step.
    fn ready(&self) -> u32 {
        self.points.back().map_or(self.ready_before, |(_, point)| point.ready)
    }

    /// Each of these steps.
    fn steps(&self, from: u32, until: u32) -> impl Iterator<Item = Point> + '_ {
        let first = self.points.partition_point(|(step, _)| *step < from);
        let before = first.checked_sub(1).map_or(self.ready_before, |before| self.points[before].1.ready);
        let (mut next, mut ready) = (first, before);
        (from..until).map(move |step| match self.points.get(next) {
            Some((at, point)) if *at == step => {
                (next, ready) = (next + 1, point.ready);
                *point
            }
            _ => Point::quiet(ready),
        })
    }
}

/// The steps of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rings {
    pub(super) fine: Series,
    pub(super) coarse: Series,
}

/// Fine steps in which a daemon has run: from one, up to another that is not among them, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lives(pub(super) VecDeque<(u32, u32)>);

impl Lives {
    /// It has run up to here, and without a break if that is where it was.
    pub(super) fn run(&mut self, from: u32, until: u32) {
        match self.0.back_mut() {
            Some((_, last)) if from <= *last => *last = until.max(*last),
            _ => self.0.push_back((from, until)),
        }
        let kept = COARSE_KEPT * FINE_IN_COARSE;
        while self.0.front().is_some_and(|(_, end)| end.saturating_add(kept) < until) {
            self.0.pop_front();
        }
    }

    /// Whether it has run in any of these.
    fn has(&self, from: u32, until: u32) -> bool {
        self.0.iter().any(|(begin, end)| *begin < until && from < *end)
    }
}

/// What is shown of the past: the same steps for each queue.
#[derive(Clone, Debug)]
pub struct Past {
    /// When the first step begins, in milliseconds.
    pub from_ms: u64,
    /// How long each is.
    pub step_ms: u64,
    from: u32,
    until: u32,
    lives: Lives,
    /// The queues by name.
    pub queues: Vec<(Arc<str>, Arc<Rings>)>,
}

impl Past {
    /// The steps that are over by `now`, a fine one, from so long ago on.
    pub(super) fn new(now: u32, since_ms: u64, lives: Lives, queues: Vec<(Arc<str>, Arc<Rings>)>) -> Past {
        let is_fine = since_ms <= u64::from(FINE_KEPT) * FINE_MS;
        let (step_ms, until, kept) = match is_fine {
            true => (FINE_MS, now, FINE_KEPT),
            false => (COARSE_MS, now / FINE_IN_COARSE, COARSE_KEPT),
        };
        let steps = since_ms.div_ceil(step_ms).clamp(1, kept.into()) as u32;
        let from = until.saturating_sub(steps);
        Past { from_ms: u64::from(from) * step_ms, step_ms, from, until, lives, queues }
    }

    /// How many steps there are.
    pub fn steps(&self) -> usize {
        (self.until - self.from) as usize
    }

    /// Each step of a queue; `None` where no daemon has run.
    pub fn of<'p>(&'p self, rings: &'p Rings) -> impl Iterator<Item = Option<Point>> + 'p {
        let (series, fine) = match self.step_ms == FINE_MS {
            true => (&rings.fine, 1),
            false => (&rings.coarse, FINE_IN_COARSE),
        };
        let steps = series.steps(self.from, self.until).zip(self.from..);
        steps.map(move |(point, step)| self.lives.has(step * fine, (step + 1) * fine).then_some(point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(submitted: u32, ready: u32) -> Point {
        Point { submitted, ..Point::quiet(ready) }
    }

    #[test]
    fn quiet_steps_take_no_memory_and_are_there_all_the_same() {
        let mut series = Series::default();
        for (step, point) in
            [(10, point(3, 3)), (11, point(0, 3)), (12, point(0, 3)), (13, point(1, 0)), (14, point(0, 0))]
        {
            series.push(step, point, 100);
        }
        assert_eq!(series.points.len(), 2);
        let steps: Vec<_> = series.steps(9, 16).map(|point| (point.submitted, point.ready)).collect();
        assert_eq!(steps, [(0, 0), (3, 3), (0, 3), (0, 3), (1, 0), (0, 0), (0, 0)]);
        let steps: Vec<_> = series.steps(12, 13).map(|point| point.ready).collect();
        assert_eq!(steps, [3]);
    }

    #[test]
    fn old_steps_go_and_what_they_left_is_known() {
        let mut series = Series::default();
        for step in 0..1_000 {
            series.push(step, point(1, step), 10);
        }
        assert_eq!((series.points.len(), series.ready_before), (10, 989));
        assert_eq!(
            series.steps(985, 991).map(|point| point.ready).collect::<Vec<_>>(),
            [989, 989, 989, 989, 989, 990]
        );
    }

    #[test]
    fn a_step_that_two_daemons_share_is_one() {
        let mut series = Series::default();
        series.push(5, Point { wait_p50: 7, ..point(2, 9) }, 10);
        series.push(5, Point { run_p99: 3, ..point(1, 4) }, 10);
        assert_eq!(series.points, [(5, Point { wait_p50: 7, run_p99: 3, ..point(3, 4) })]);
    }

    #[test]
    fn steps_without_a_daemon_are_not_known() {
        let mut lives = Lives::default();
        for (from, until) in [(95, 97), (97, 98), (99, 101)] {
            lives.run(from, until);
        }
        assert_eq!(lives.0, [(95, 98), (99, 101)]);
        let mut rings = Rings::default();
        rings.fine.push(99, point(4, 1), FINE_KEPT);
        let past = Past::new(101, 60_000, lives, Vec::new());
        assert_eq!((past.from_ms, past.step_ms, past.steps()), (950_000, FINE_MS, 6));
        let submitted: Vec<_> = past.of(&rings).map(|point| point.map(|point| point.submitted)).collect();
        assert_eq!(submitted, [Some(0), Some(0), Some(0), None, Some(4), Some(0)]);
    }

    #[test]
    fn beyond_an_hour_steps_are_minutes() {
        let mut lives = Lives::default();
        lives.run(0, 6_000);
        let hour = Past::new(6_001, 3_600_000, lives.clone(), Vec::new());
        assert_eq!((hour.step_ms, hour.steps()), (FINE_MS, 360));
        let more = Past::new(6_001, 3_600_001, lives.clone(), Vec::new());
        assert_eq!((more.step_ms, more.steps(), more.from_ms), (COARSE_MS, 61, (1_000 - 61) * COARSE_MS));
        assert_eq!(Past::new(60_001, u64::MAX, lives.clone(), Vec::new()).steps(), 1_440);
        assert_eq!(Past::new(6_001, 0, lives, Vec::new()).steps(), 1);
    }
}
