//! Leases of workers that may come back after a start: they are in force until then, and no longer.

use super::*;
use crate::core::{Attempt, Edit, LeaseRejection, Only};

const SESSION: u64 = Holder::RESUMABLE | 7;
const WITHIN: Duration = Duration::from_secs(30);

fn lease(id: u64, attempt: u32) -> LeaseId {
    LeaseId { id: JobId(id), attempt: Attempt(attempt) }
}

/// A daemon that was killed while a worker had four jobs, which have a short lease, and a connection one.
fn killed(disk: &SimulatedDisk) {
    let mut engine = start(disk, Time(0));
    submit(&mut engine, 5, Time(0));
    for (holder, max) in [(SESSION, 4), (1, 1)] {
        let lease = Some(Duration::from_secs(5));
        let claim = Claim { holder: Holder::Session(holder), lease, ..claim(max) };
        engine.claim(ORIGIN, claim, Time(0), Time(0));
    }
    engine.turn(Time(0)).unwrap();
    assert_eq!(engine.core().state.held(), 5);
    disk.kill();
}

fn taken_up(
    engine: &mut Engine<SimulatedStore>,
    has: &[LeaseId],
    now: Time,
) -> Vec<Result<(), LeaseRejection>> {
    engine.take_up(ORIGIN, (SESSION, has.to_vec()), Visibility::ALL, now);
    let mut deliveries = engine.turn(now).unwrap().deliveries;
    match deliveries.pop() {
        Some(Delivery::Answer(ORIGIN, Answer::TakenUp { within: WITHIN, leases })) => leases,
        other => panic!("one answer: {other:?}"),
    }
}

#[test]
fn a_worker_that_comes_back_has_its_leases_and_those_that_it_never_heard_of_go_back() {
    let disk = SimulatedDisk::new(1);
    killed(&disk);
    // The daemon was away for longer than the leases last.
    let begun = Time(60_000);
    let mut engine = start(&disk, begun);
    assert_eq!(engine.core().state.held(), 4, "what the connection held is free");
    let back = begun.plus(WITHIN - Duration::from_secs(1));
    engine.turn(back).unwrap();
    assert_eq!(engine.core().state.held(), 4);
    let lost = |id| {
        Err(LeaseRejection::LeaseLost {
            id: JobId(id),
            attempt: Attempt(1),
            current: Attempt(1),
            state: StateKind::Ready,
        })
    };
    let (known, none) =
        ([lease(1, 1), lease(2, 1), lease(5, 1), lease(9, 1)], LeaseRejection::NotFound { id: JobId(9) });
    let results = taken_up(&mut engine, &known, back);
    assert_eq!(results, [Ok(()), Ok(()), lost(5), Err(none)]);
    let job = |id| engine.core().state.job(JobId(id)).unwrap();
    assert_eq!((job(3).kind(), job(3).crashes()), (StateKind::Ready, 0), "it has not begun");
    assert_eq!((job(5).kind(), job(5).crashes()), (StateKind::Ready, 1));
    // Now its leases are like others.
    engine.extend(ORIGIN, vec![lease(1, 1)], None, Visibility::ALL, back);
    let settles = vec![(lease(2, 1), Verdict::Complete)];
    engine.settle(ORIGIN, settles, Visibility::ALL, back);
    let later = begun.plus(WITHIN * 2);
    engine.turn(later).unwrap();
    assert_eq!((kind(&engine, 1), engine.core().state.job(JobId(2)).is_none()), (StateKind::Leased, true));
    assert!(engine.close_session(SESSION, later));
    assert_eq!(kind(&engine, 1), StateKind::Ready, "a connection that closes frees its leases at once");
}

#[test]
fn a_worker_that_does_not_come_back_in_time_has_lost_them() {
    let disk = SimulatedDisk::new(1);
    killed(&disk);
    let mut engine = start(&disk, Time(60_000));
    let over = Time(60_000).plus(WITHIN);
    assert!(engine.next_due().is_some_and(|due| due <= over), "somebody wakes it");
    let facts = engine.turn(over).unwrap().facts;
    assert!(facts.contains(&Fact::Interrupted { jobs: 4 }), "{facts:?}");
    assert!((1..=5).all(|id| engine.core().state.job(JobId(id)).unwrap().crashes() == 1));
    assert!(taken_up(&mut engine, &[lease(1, 1)], over)[0].is_err());
}

/// Its connection has ended, not the daemon.
#[test]
fn a_worker_that_has_said_that_it_leaves_is_waited_for_as_after_a_start() {
    for comes_back in [true, false] {
        let disk = SimulatedDisk::new(1);
        let mut engine = start(&disk, Time(0));
        submit(&mut engine, 1, Time(0));
        let long = Some(Duration::from_secs(600));
        let claim = Claim { holder: Holder::Session(SESSION), lease: long, ..claim(1) };
        engine.claim(ORIGIN, claim, Time(0), Time(0));
        engine.turn(Time(0)).unwrap();
        engine.await_worker(SESSION, Time(1_000));
        engine.await_worker(SESSION + 1, Time(1_000));
        let over = Time(1_000).plus(WITHIN);
        assert_eq!(engine.next_due(), Some(over));
        let before = Time(over.0 - 1);
        engine.turn(before).unwrap();
        if comes_back {
            assert_eq!(taken_up(&mut engine, &[lease(1, 1)], before), [Ok(())]);
        }
        engine.turn(over).unwrap();
        let expected = if comes_back { StateKind::Leased } else { StateKind::Ready };
        assert_eq!(kind(&engine, 1), expected);
    }
}

/// The cancel was on disk, and nobody could tell its worker.
#[test]
fn a_worker_that_comes_back_is_told_what_was_cancelled() {
    let disk = SimulatedDisk::new(1);
    killed(&disk);
    let now = Time(60_000);
    let mut engine = start(&disk, now);
    engine.edit(ORIGIN, Edit::Cancel, vec![JobId(2)], Only::default(), Visibility::ALL, now);
    engine.turn(now).unwrap();
    engine.take_up(ORIGIN, (SESSION, vec![lease(1, 1), lease(2, 1)]), Visibility::ALL, now);
    let deliveries = engine.turn(now).unwrap().deliveries;
    let Delivery::Answer(_, Answer::TakenUp { leases, .. }) = &deliveries[0] else {
        panic!("{deliveries:?}")
    };
    assert_eq!(*leases, [Ok(()), Ok(())]);
    let revoked = |delivery: &Delivery| matches!(delivery, Delivery::Revoked { session: SESSION, lease: told, expired: false } if *told == lease(2, 1));
    assert!(matches!(&deliveries[1..], [told] if revoked(told)), "{deliveries:?}");
}

/// A crash after a crash: the time begins anew, for nobody could come back.
#[test]
fn each_start_gives_the_whole_time() {
    let disk = SimulatedDisk::new(1);
    killed(&disk);
    for n in 0..5 {
        let mut engine = start(&disk, Time(60_000).plus(WITHIN / 2 * n));
        assert_eq!(engine.core().state.held(), 4);
        disk.kill();
        drop(engine.turn(Time(60_000).plus(WITHIN / 2 * n)));
    }
}

/// The daemon stood still: nobody could come back meanwhile.
#[test]
fn a_pause_after_the_start_takes_nobodys_time() {
    let disk = SimulatedDisk::new(1);
    killed(&disk);
    let mut engine = start(&disk, Time(60_000));
    engine.housekeep(Time(60_000)).unwrap();
    let late = Time(60_000).plus(WITHIN * 3);
    engine.turn(late).unwrap();
    assert_eq!(engine.core().state.held(), 4);
    bring_home(&mut engine, &disk, late);
    engine.turn(late.plus(WITHIN)).unwrap();
    assert_eq!(engine.core().state.held(), 0);
}

/// More than end in one step.
#[test]
fn very_many_leases_are_given_up_a_part_at_a_time() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 500, Time(0));
    let claim = Claim { holder: Holder::Session(SESSION), ..claim(500) };
    engine.claim(ORIGIN, claim, Time(0), Time(0));
    engine.turn(Time(0)).unwrap();
    disk.kill();
    drop(engine);
    let mut engine = start(&disk, Time(0));
    let over = Time(0).plus(WITHIN);
    for left in [300, 100, 0] {
        engine.turn(over).unwrap();
        assert_eq!(engine.core().state.held(), left);
        assert_eq!(engine.resuming.over_at().is_some(), left > 0);
    }
}
