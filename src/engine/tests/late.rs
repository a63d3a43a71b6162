//! A log that confirms later than an append returns, or never: nobody learns of anything before, what waits is bounded,
//! and the loop is rung.

use super::*;
use crate::store::simulated::WriteFault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;

#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// An engine over a log that takes so many commits before it has confirmed any, and what that rings.
fn late(disk: &SimulatedDisk, window: usize) -> (Engine<SimulatedStore>, Arc<Bell>) {
    let mut engine = start(disk, Time(0));
    disk.confirm_late(true);
    disk.bound_unconfirmed(window);
    engine.bounds.commit_events = 20;
    let bell = Arc::new(Bell::default());
    engine.ring(&bell.clone().into());
    (engine, bell)
}

fn answers(engine: &mut Engine<SimulatedStore>, now: Time) -> usize {
    engine.turn(now).unwrap().deliveries.len()
}

#[test]
fn answers_leave_when_the_log_has_confirmed_and_rung() {
    let disk = SimulatedDisk::new(1);
    let (mut engine, bell) = late(&disk, 2);
    submit(&mut engine, 1, Time(0));
    // A refusal waits for what it was decided on.
    engine.body(ORIGIN, JobId(99));
    assert_eq!(answers(&mut engine, Time(0)), 0);
    assert!(engine.owes_answers() && bell.rung() == 0);
    disk.confirm(1);
    assert_eq!((bell.rung(), answers(&mut engine, Time(0))), (1, 2));
    assert!(!engine.owes_answers());
}

#[test]
fn the_loop_goes_on_collecting_while_appends_are_under_way() {
    let disk = SimulatedDisk::new(1);
    let (mut engine, _) = late(&disk, 1);
    for _ in 0..4 {
        submit(&mut engine, 1, Time(0));
        engine.housekeep(Time(0)).unwrap();
    }
    assert_eq!((disk.unconfirmed(), engine.awaits_log()), (1, true), "the others share the next commit");
    disk.confirm(1);
    assert_eq!(answers(&mut engine, Time(0)), 1);
    assert_eq!((disk.unconfirmed(), engine.awaits_log()), (1, false));
    disk.confirm(1);
    assert_eq!(answers(&mut engine, Time(0)), 3);
}

#[test]
fn at_the_bound_nothing_more_is_decided_until_something_is_confirmed() {
    let disk = SimulatedDisk::new(1);
    let (mut engine, bell) = late(&disk, 1);
    let mut turns = 0;
    while !engine.is_stalled(Time(0)) {
        submit(&mut engine, 1, Time(0));
        turns += 1;
        assert!(turns < 100, "what waits has a bound");
    }
    let decided = engine.core().state.next_id();
    for _ in 0..10 {
        assert_eq!(engine.housekeep(Time(0)).unwrap(), None, "only the bell is waited for");
        assert_eq!(answers(&mut engine, Time(0)), 0);
    }
    assert_eq!((engine.core().state.next_id(), disk.unconfirmed(), bell.rung()), (decided, 1, 0));
    disk.confirm(1);
    assert_eq!(bell.rung(), 1);
    assert!(!engine.is_stalled(Time(0)));
    assert_eq!(answers(&mut engine, Time(0)), 1);
    disk.confirm(1);
    assert_eq!(answers(&mut engine, Time(0)), turns - 1);
}

/// Answers that are held back count as what is decided does: whoever only looks must not fill the memory.
#[test]
fn looks_too_are_bounded_while_nothing_is_confirmed() {
    let disk = SimulatedDisk::new(1);
    let (mut engine, _) = late(&disk, 1);
    engine.submit(ORIGIN, vec![group(1)], vec![Bytes::from(vec![b'x'; 1000])], Visibility::ALL, Time(0));
    engine.turn(Time(0)).unwrap();
    engine.bounds.commit_bytes = 20_000;
    let mut looks = 0;
    while !engine.is_stalled(Time(0)) {
        engine.body(ORIGIN, JobId(1));
        engine.turn(Time(0)).unwrap();
        looks += 1;
        assert!(looks < 100, "what waits has a bound");
    }
    disk.confirm(1);
    assert_eq!(answers(&mut engine, Time(0)), looks + 1);
    assert!(!engine.is_stalled(Time(0)) && !engine.is_full());
}

/// The leader of a replicated log dies: nobody is read for seconds, and who holds a lease cannot extend it.
#[test]
fn a_log_that_takes_nothing_for_long_ends_no_lease() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 1, Time(0));
    assert!(matches!(claimed(&mut engine, 1, Time(0)), Answer::Jobs(jobs) if jobs.len() == 1));
    disk.confirm_late(true);
    disk.bound_unconfirmed(1);
    engine.bounds.commit_events = 20;
    while !engine.is_stalled(Time(0)) {
        submit(&mut engine, 1, Time(0));
    }
    let lease = Duration::from_secs(60);
    let later = Time(0).plus(lease * 2);
    engine.turn(later).unwrap();
    assert_eq!(engine.housekeep(later).unwrap(), None);
    assert_eq!(kind(&engine, 1), StateKind::Leased);
    disk.confirm(1);
    let facts = engine.turn(later).unwrap().facts;
    assert!(matches!(facts[..], [Fact::StoodStill { time }] if time == lease * 2), "{facts:?}");
    assert_eq!(kind(&engine, 1), StateKind::Leased);
    assert_eq!(engine.core().state.next_due(), Some(later.plus(lease)), "it has its whole length again");
}

/// A checkpoint begins while commits are under way, and none of its rows is ahead of what is confirmed.
#[test]
fn checkpoints_go_on_out_of_step_with_the_log() {
    let disk = SimulatedDisk::new(1);
    let (mut engine, _) = late(&disk, 2);
    let mut now = Time(0);
    for step in 0..400 {
        engine.claim(ORIGIN, claim(1), now, now);
        submit(&mut engine, 1, now);
        engine.housekeep(now).unwrap();
        disk.write_rows(3);
        if step % 3 == 0 {
            disk.confirm(1);
        }
        now = now.plus(Duration::from_millis(20));
    }
    assert!(disk.records() < 100, "{} records: checkpoints have freed the log", disk.records());
    disk.cut_power();
    disk.open().expect("no row is ahead of the log");
}

#[test]
fn a_close_waits_for_the_log_and_appends_what_it_had_not_taken() {
    let disk = SimulatedDisk::new(1);
    let (mut engine, _) = late(&disk, 1);
    for _ in 0..3 {
        submit(&mut engine, 1, Time(0));
    }
    assert!(engine.awaits_log());
    engine.close().unwrap();
    disk.cut_power();
    assert_eq!(disk.open().unwrap().1.report.jobs, 3);
}

#[test]
fn a_stop_waits_for_what_is_owed_but_not_for_ever() {
    let disk = SimulatedDisk::new(1);
    let (mut engine, _) = late(&disk, 1);
    submit(&mut engine, 1, Time(0));
    engine.stop(Duration::from_secs(30), false, Time(0));
    let over = Time(34_000);
    assert_eq!(engine.stop_step(Time(1)), Some(Step::Wait(over)));
    assert_eq!(engine.stop_step(over), Some(Step::Finish));
    disk.confirm(1);
    engine.turn(Time(2)).unwrap();
    assert_eq!(engine.stop_step(Time(2)), Some(Step::Finish));
}

/// Whether the log says so or not: the process ends with an error, nothing was acknowledged, and nothing confirmed is lost.
#[test]
fn what_is_never_confirmed_is_never_acknowledged() {
    for says_so in [true, false] {
        let disk = SimulatedDisk::new(1);
        let (mut engine, bell) = late(&disk, 1);
        submit(&mut engine, 1, Time(0));
        disk.confirm(1);
        assert_eq!((answers(&mut engine, Time(0)), bell.rung()), (1, 1));
        match says_so {
            true => disk.fail_next_append(WriteFault::FailsLater),
            false => disk.hang(true),
        }
        submit(&mut engine, 1, Time(0));
        disk.confirm(9);
        assert_eq!(bell.rung(), u32::from(says_so));
        engine.submit(ORIGIN, vec![group(1)], vec![Bytes::new()], Visibility::ALL, Time(0));
        let ended = engine.turn(Time(0));
        assert_eq!(ended.is_err(), says_so);
        assert_eq!(ended.map_or(0, |turned| turned.deliveries.len()), 0);
        assert!(engine.close().is_err(), "it cannot end in order");
        disk.cut_power();
        disk.hang(false);
        let jobs = disk.open().unwrap().1.report.jobs;
        assert!((1..=2).contains(&jobs), "{jobs}");
    }
}
