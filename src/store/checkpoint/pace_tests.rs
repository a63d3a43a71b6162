//! How many slices are written in a given time, and when none may wait.

use super::super::*;
use super::*;
use crate::store::workload::Workload;

/// Takes everything, and counts it.
#[derive(Default)]
struct CountingWriter {
    slices: usize,
    ends: usize,
}

impl RowWriter for CountingWriter {
    fn offer(&mut self, work: Work) -> Result<Option<Work>, AppendError> {
        match work {
            Work::Slice { .. } => self.slices += 1,
            Work::Finish { .. } => self.ends += 1,
        }
        Ok(None)
    }

    fn hand_over(&mut self, work: Work) -> Result<(), AppendError> {
        self.offer(work).map(drop)
    }

    fn report(&mut self) -> Result<Option<Report>, AppendError> {
        Ok(None)
    }

    fn wait(&mut self) -> Result<Report, AppendError> {
        Ok(Report::Done)
    }
}

const DUE: Time = Time(700);

/// The checkpoint after a start that has found 320 changed blocks in the log: ten slices.
struct Begun {
    checkpoints: Checkpoints,
    writer: CountingWriter,
    work: Workload,
    recent: Recent,
}

impl Begun {
    fn new(appended: u64) -> Begun {
        let mut work = Workload::default();
        work.submit(320 * 64 - 1);
        let mut start = Start::default();
        start.dirty.insert(0, 320);
        let checkpoints = Checkpoints::new(Duration::from_millis(DUE.0), start);
        let mut begun =
            Begun { checkpoints, writer: CountingWriter::default(), work, recent: Recent::new(0) };
        begun.step(Time(0));
        begun.checkpoints.bytes = appended;
        begun
    }

    fn step(&mut self, now: Time) -> Option<Time> {
        let Begun { checkpoints, writer, work, recent } = self;
        let view =
            View { state: &work.state, last: CommitNo(1), time: Time(0), confirmed: CommitNo(1), mark: None };
        checkpoints.step(writer, view, recent, now).unwrap().again
    }

    /// A loop whose turns take far less than a millisecond.
    fn turns(&mut self, now: Time) -> usize {
        for _ in 0..40 {
            self.step(now);
        }
        self.writer.slices
    }
}

#[test]
fn a_busy_loop_lets_a_slice_go_in_five_milliseconds() {
    let mut begun = Begun::new(0);
    assert_eq!(begun.turns(DUE), 1);
    assert_eq!(begun.step(DUE), Some(Time(705)), "an idle one is told when to come again");
    assert_eq!(begun.turns(Time(704)), 1);
    assert_eq!(begun.turns(Time(705)), 2);
    for slice in 2..10 {
        assert_eq!(begun.turns(Time(700 + 5 * slice)), slice as usize + 1);
    }
    begun.turns(Time(750));
    assert_eq!(begun.writer.ends, 1);
}

#[test]
fn it_does_not_rest_when_as_much_was_appended_as_the_next_may_have() {
    let mut begun = Begun::new(0);
    assert_eq!(begun.turns(DUE), 1);
    begun.checkpoints.bytes = EARLY_BYTES - 1;
    assert_eq!(begun.turns(DUE), 1);
    begun.checkpoints.bytes = EARLY_BYTES;
    assert_eq!(begun.turns(DUE), 10);
}

#[test]
fn one_that_began_before_its_time_does_not_rest() {
    assert_eq!(Begun::new(EARLY_BYTES).turns(Time(1)), 10);
}

#[test]
fn it_does_not_rest_when_the_log_is_long() {
    let mut begun = Begun::new(0);
    assert_eq!(begun.turns(DUE), 1);
    begun.checkpoints.press(true);
    assert_eq!(begun.turns(DUE), 10);
}

/// What a start has found in an older form is written anew, though nothing has come since.
#[test]
fn one_begins_for_what_is_dirty_without_a_new_commit() {
    let mut begun = Begun::new(0);
    let mut start = Start { home: CommitNo(1), ..Start::default() };
    start.dirty.insert(3, 1);
    begun.checkpoints = Checkpoints::new(Duration::from_millis(DUE.0), start);
    assert_eq!(begun.step(Time(0)), Some(DUE));
    begun.turns(DUE);
    begun.turns(Time(800));
    assert_eq!((begun.writer.slices, begun.writer.ends), (1, 1));
}
