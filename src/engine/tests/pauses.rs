//! The loop notices that it stood still, and lets no lease end for that.

use super::*;
use crate::core::Visibility;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// An engine with one job leased for a minute at 0, and a turn made.
fn leased(disk: &SimulatedDisk) -> Engine<SimulatedStore> {
    let mut engine = start(disk, Time(0));
    submit(&mut engine, 1, Time(0));
    assert!(matches!(claimed(&mut engine, 1, Time(0)), Answer::Jobs(jobs) if jobs.len() == 1));
    bring_home(&mut engine, disk, Time(0));
    engine
}

/// A process that was stopped, or whose machine slept: its worker was dead to it, though it lives.
#[test]
fn a_turn_that_comes_late_ends_no_lease() {
    let disk = SimulatedDisk::new(1);
    let mut engine = leased(&disk);
    let late = Time(100_000);
    let facts = engine.turn(late).unwrap().facts;
    assert!(
        matches!(facts[..], [Fact::StoodStill { time }] if time > secs(90) && time <= secs(100)),
        "{facts:?}"
    );
    assert_eq!(kind(&engine, 1), StateKind::Leased);
    let due = engine.core().state.next_due();
    assert_eq!(due, Some(late.plus(secs(60))), "it has its whole length again");
    engine.housekeep(late).unwrap();
    let first = LeaseId { id: JobId(1), attempt: crate::core::Attempt(1) };
    let settles = vec![(first, Verdict::Complete)];
    engine.settle(ORIGIN, settles, Visibility::ALL, late.plus(secs(59)));
    let turned = engine.turn(late.plus(secs(59))).unwrap();
    let taken = |delivery: &Delivery| matches!(delivery, Delivery::Answer(_, Answer::Settled(results)) if results == &[Ok(())]);
    assert!(turned.deliveries.iter().any(taken), "{turned:?}");
}

#[test]
fn a_turn_that_comes_in_time_ends_leases() {
    let disk = SimulatedDisk::new(1);
    let mut engine = leased(&disk);
    let due = Time(60_100);
    engine.turn(due).unwrap();
    assert_ne!(kind(&engine, 1), StateKind::Leased);
}

/// A claim may be read before the first turn after a pause, and so may a worker that comes back.
#[test]
fn a_claim_that_comes_first_after_a_pause_ends_no_lease() {
    let ask: [fn(&mut Engine<SimulatedStore>, Time); 2] = [
        |engine, now| engine.claim(ORIGIN, claim(1), now, now),
        |engine, now| engine.take_up(ORIGIN, (1 << 63, Vec::new()), Visibility::ALL, now),
    ];
    for ask in ask {
        let disk = SimulatedDisk::new(1);
        let mut engine = leased(&disk);
        let late = Time(100_000);
        ask(&mut engine, late);
        assert_eq!(engine.core().state.next_due(), Some(late.plus(secs(60))));
        engine.turn(late).unwrap();
        assert_eq!(kind(&engine, 1), StateKind::Leased);
        // It is made up for once: a lease that nobody extends ends.
        bring_home(&mut engine, &disk, late);
        engine.turn(late.plus(secs(60))).unwrap();
        assert_ne!(kind(&engine, 1), StateKind::Leased);
    }
}

/// The pause may come between the two as well.
#[test]
fn a_pause_between_a_claim_and_its_turn_ends_no_lease() {
    let disk = SimulatedDisk::new(1);
    let mut engine = leased(&disk);
    engine.claim(ORIGIN, claim(1), Time(100_000), Time(100_000));
    engine.turn(Time(200_000)).unwrap();
    assert_eq!(kind(&engine, 1), StateKind::Leased);
}

/// What had come was read before the turn, and counts as heard: that says nothing of the pause.
#[test]
fn requests_that_come_first_after_a_pause_hide_it_not() {
    let disk = SimulatedDisk::new(1);
    let mut engine = leased(&disk);
    let late = Time(100_000);
    engine.submit(ORIGIN, vec![group(1)], vec![Bytes::new()], Visibility::ALL, late);
    engine.turn(late).unwrap();
    assert_eq!(kind(&engine, 1), StateKind::Leased);
}

/// A sync of 50 seconds, and the lease is over within the moment after it.
#[test]
fn a_turn_that_waited_long_for_the_disk_ends_no_lease() {
    let disk = SimulatedDisk::new(1);
    let mut engine = leased(&disk);
    engine.turn_took(Time(10_000), secs(50), || secs(1));
    engine.turn(Time(60_001)).unwrap();
    assert_eq!(kind(&engine, 1), StateKind::Leased);
    // One that had much to do itself is another matter.
    bring_home(&mut engine, &disk, Time(60_001));
    let over = engine.core().state.next_due().unwrap();
    engine.turn_took(Time(61_000), over.since(Time(61_000)), || over.since(Time(61_000)));
    engine.turn(over.plus(Duration::from_millis(100))).unwrap();
    assert_ne!(kind(&engine, 1), StateKind::Leased);
}

/// Jobs of which the first `len` have a deadline in ten seconds; the first is leased.
fn with_deadline(disk: &SimulatedDisk, len: u64, others: u64) -> Engine<SimulatedStore> {
    let mut engine = start(disk, Time(0));
    let groups = vec![Group { deadline: Some(secs(10)), ..group(len) }, group(others)];
    let bodies = vec![Bytes::from_static(b"body"); (len + others) as usize];
    engine.submit(ORIGIN, groups, bodies, Visibility::ALL, Time(0));
    assert!(matches!(claimed(&mut engine, 1, Time(0)), Answer::Jobs(jobs) if jobs.len() == 1));
    engine
}

/// The first job is given back.
fn give_back(engine: &mut Engine<SimulatedStore>, now: Time) {
    let lease = LeaseId { id: JobId(1), attempt: crate::core::Attempt(1) };
    let release = Verdict::Release { delay: Duration::ZERO };
    engine.settle(ORIGIN, vec![(lease, release)], Visibility::ALL, now);
}

fn is_gone(engine: &Engine<SimulatedStore>, id: u64) -> bool {
    engine.core().state.job(JobId(id)).is_none()
}

/// A claim that was read before the turn got a job whose deadline had passed meanwhile; and one that had come back after it, with a
/// lease that was over before it began.
#[test]
fn a_job_is_not_given_out_after_its_deadline_however_late_the_turn_comes() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with_deadline(&disk, 2, 1);
    let late = Time(30_000);
    give_back(&mut engine, late);
    let Answer::Jobs(given) = claimed(&mut engine, 9, late) else { panic!("no jobs") };
    assert_eq!(given.iter().map(|job| job.grant.id.0).collect::<Vec<_>>(), [3]);
    assert!(is_gone(&engine, 1) && is_gone(&engine, 2), "they have expired, and are not kept");
}

/// It was answered with no jobs before its time.
#[test]
fn a_claim_that_waits_goes_on_waiting_beside_a_job_that_is_over() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with_deadline(&disk, 1, 0);
    let late = Time(30_000);
    engine.claim(ORIGIN, claim(1), late.plus(secs(60)), late);
    give_back(&mut engine, late);
    let turned = engine.turn(late).unwrap();
    let has_jobs = |delivery: &Delivery| matches!(delivery, Delivery::Answer(_, Answer::Jobs(_)));
    assert!(!turned.deliveries.iter().any(has_jobs), "{:?}", turned.deliveries);
    assert!(is_gone(&engine, 1), "it has expired");
}

/// A tick had taken it from its holder, and only the next one would have seen that it is over.
#[test]
fn a_job_whose_lease_and_deadline_are_over_is_not_given_out() {
    let disk = SimulatedDisk::new(1);
    let mut engine = with_deadline(&disk, 1, 0);
    let until = engine.core().state.next_due().unwrap();
    assert!(matches!(claimed(&mut engine, 1, until), Answer::Jobs(jobs) if jobs.is_empty()));
    assert!(is_gone(&engine, 1), "it has expired");
}
