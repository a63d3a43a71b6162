//! Schedules with a clock: what fires when, in one commit with its job, whatever the wall clock does and whenever the daemon
//! dies.

use super::*;
use crate::core::{CatchUp, Overlap, Payload, Plan, Rhythm, ScheduleName};
use proptest::prelude::*;

const HOUR: u64 = 3_600_000;
/// 1 January 2026, 12:00 in UTC.
const NOON: u64 = 1_767_268_800_000;

fn name() -> ScheduleName {
    ScheduleName::new("nightly").unwrap()
}

fn plan(rhythm: Rhythm) -> Plan {
    Plan {
        rhythm,
        catch_up: CatchUp::One,
        overlap: Overlap::Allow,
        jitter: Duration::ZERO,
        spec: Spec::plain(queue()).into(),
        usual_priority: true,
        ttl: None,
        deadline: None,
        payload: Payload { body: (*b"all").into(), envelope: None },
        configured: false,
    }
}

fn hourly() -> Rhythm {
    Rhythm::Cron { fields: "@hourly".into(), zone: "UTC".into() }
}

fn minutely() -> Rhythm {
    Rhythm::Every(Duration::from_secs(60))
}

fn with(disk: &SimulatedDisk, plan: Plan) -> Engine<SimulatedStore> {
    let mut engine = start(disk, Time(NOON));
    engine.wall_clock_is(0, Time(NOON));
    engine.set_schedule(&name(), plan, false, Time(NOON)).unwrap();
    engine.turn(Time(NOON)).unwrap();
    engine
}

/// A turn, where the wall clock is behind by so much. Returns how many jobs have been submitted in all.
fn turn(engine: &mut Engine<SimulatedStore>, now: u64, behind: i64) -> u64 {
    engine.wall_clock_is(behind, Time(now));
    engine.turn(Time(now)).unwrap();
    let fired = engine.core().state.schedules().get(&name()).unwrap().fired;
    assert_eq!(engine.core().state.next_id().0 - 1, fired, "each has its job");
    fired
}

#[test]
fn a_job_has_the_body_of_its_schedule_and_both_are_there_or_neither() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with(&disk, plan(hourly()));
    assert_eq!(engine.housekeep(Time(NOON)).unwrap().map(|at| at.0 <= NOON + HOUR), Some(true));
    assert_eq!(turn(&mut engine, NOON + HOUR - 1, 0), 0);
    assert_eq!(turn(&mut engine, NOON + HOUR, 0), 1);
    let Answer::Jobs(jobs) = claimed(&mut engine, 1, Time(NOON + HOUR)) else { panic!("a job") };
    assert_eq!(&jobs[0].body[..], b"all");
    disk.kill();
    drop(engine);
    let mut engine = start(&disk, Time(NOON + HOUR));
    assert_eq!(turn(&mut engine, NOON + HOUR + 1, 0), 1, "not again");
    assert_eq!(turn(&mut engine, NOON + 2 * HOUR, 0), 2);
}

#[test]
fn a_wall_clock_that_is_put_back_fires_nothing_twice() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with(&disk, plan(hourly()));
    assert_eq!(turn(&mut engine, NOON + 2 * HOUR, 0), 1);
    // Back by an hour and a half: what is behind it is behind it.
    let behind = (HOUR + HOUR / 2) as i64;
    assert_eq!(turn(&mut engine, NOON + 2 * HOUR + 1, behind), 1);
    assert_eq!(turn(&mut engine, NOON + 4 * HOUR, behind), 1);
    assert_eq!(turn(&mut engine, NOON + 4 * HOUR + HOUR / 2, behind), 2, "15:00 by the wall");
}

/// A machine that started with a clock that was ten years ahead ran nothing for ten years.
#[test]
fn a_wall_clock_that_was_far_ahead_holds_up_nothing() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with(&disk, plan(hourly()));
    let years = 10 * 365 * 24 * HOUR;
    assert_eq!(turn(&mut engine, NOON + years, 0), 1, "all that is missed has one job");
    assert_eq!(turn(&mut engine, NOON + years + 1, years as i64), 1);
    assert_eq!(turn(&mut engine, NOON + years + HOUR, years as i64), 2);
    // And one that goes by the engine's own clock does not care.
    let disk = SimulatedDisk::new(2);
    let mut engine = with(&disk, plan(minutely()));
    assert!(!engine.follows_wall_clock());
    for minute in 1..4 {
        assert_eq!(turn(&mut engine, NOON + 60_000 * minute, -(years as i64)), minute);
    }
}

#[test]
fn once_in_so_long_counts_from_the_last_time_and_not_from_the_start() {
    let disk = SimulatedDisk::new(1);
    drop(with(&disk, plan(minutely())));
    let mut jobs = 0;
    // A start each 25 seconds, with the same configuration each time.
    for n in 1..=20 {
        let now = NOON + 25_000 * n;
        let mut engine = start(&disk, Time(now));
        engine.set_schedule(&name(), plan(minutely()), true, Time(now)).unwrap();
        jobs = turn(&mut engine, now, 0);
        disk.kill();
    }
    assert_eq!(jobs, 20 * 25 / 60);
}

#[test]
fn what_a_drain_or_a_pause_holds_up_is_made_up_for_or_not() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with(&disk, Plan { catch_up: CatchUp::All, ..plan(minutely()) });
    engine.drain_by_hand(true, Time(NOON));
    assert_eq!(turn(&mut engine, NOON + 180_000, 0), 0);
    assert!(engine.next_schedule(Time(NOON + 180_000)).is_none());
    engine.drain_by_hand(false, Time(NOON + 180_000));
    assert_eq!(turn(&mut engine, NOON + 180_000, 0), 3);
    engine.pause_schedule(ORIGIN, &name(), true, Time(NOON + 180_000));
    assert_eq!(turn(&mut engine, NOON + 330_000, 0), 3);
    engine.pause_schedule(ORIGIN, &name(), false, Time(NOON + 330_000));
    assert_eq!(turn(&mut engine, NOON + 359_999, 0), 3, "nothing is made up for");
    assert_eq!(turn(&mut engine, NOON + 360_000, 0), 4, "and the beat is the same");
}

#[test]
fn what_waits_for_the_end_of_the_last_job_is_submitted_with_that() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with(&disk, Plan { overlap: Overlap::Queue, ..plan(minutely()) });
    assert_eq!(turn(&mut engine, NOON + 60_000, 0), 1);
    let Answer::Jobs(jobs) = claimed(&mut engine, 1, Time(NOON + 60_000)) else { panic!("a job") };
    let lease = LeaseId { id: jobs[0].grant.id, attempt: jobs[0].grant.attempt };
    let longer = Command::Extend { items: vec![lease], lease: Some(Duration::from_secs(600)) };
    engine.command(&longer, Time(NOON + 60_000));
    assert_eq!(turn(&mut engine, NOON + 120_000, 0), 1);
    engine.command(&Command::Settle { items: vec![(lease, Verdict::Complete)] }, Time(NOON + 130_000));
    let before = engine.last_commit();
    assert_eq!(turn(&mut engine, NOON + 130_000, 0), 2);
    assert_eq!(engine.last_commit(), before.next(), "in the same commit");
}

#[test]
fn the_configuration_has_its_own_and_leaves_others_alone() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with(&disk, plan(minutely()));
    let other = ScheduleName::new("other").unwrap();
    let configured = || Plan { configured: true, ..plan(hourly()) };
    let refused =
        engine.configure_schedules(&[(name(), configured()), (other.clone(), configured())], Time(NOON));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(refused[0].1.to_string().contains("was made by command"), "{}", refused[0].1);
    assert_eq!(engine.core().state.schedules().len(), 2);
    let clash = engine.set_schedule(&other, plan(minutely()), true, Time(NOON)).unwrap_err();
    assert!(clash.to_string().contains("is in the daemon's configuration ([schedules.other])"), "{clash}");
    assert!(engine.configure_schedules(&[], Time(NOON)).is_empty());
    assert!(engine.core().state.schedules().get(&other).is_none());
    assert!(engine.core().state.schedules().get(&name()).is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whenever the daemon dies, and however long it is away: with `all` each time has one job.
    #[test]
    fn no_time_is_lost_or_doubled(steps in prop::collection::vec((1u64..200_000, any::<bool>(), 0usize..4), 1..25)) {
        let disk = SimulatedDisk::new(7);
        let mut engine = with(&disk, Plan { catch_up: CatchUp::All, ..plan(minutely()) });
        let mut now = NOON;
        for (ms, kill, rows) in steps {
            now += ms;
            if kill {
                // What was decided since the last commit is lost with it, and is decided again.
                engine.fire_schedules(Time(now));
                disk.kill();
                drop(engine);
                engine = start(&disk, Time(now));
            }
            let fired = turn(&mut engine, now, 0);
            prop_assert_eq!(fired, (now - NOON) / 60_000);
            engine.housekeep(Time(now)).unwrap();
            disk.write_rows(rows);
        }
    }
}
