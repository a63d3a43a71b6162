//! Claims that wait for a queue which has work but has reached a limit: each limit that ends wakes them, and none that has
//! not.

use super::*;
use crate::core::{QueueSettings, Rate, Setting};

fn limited(disk: &SimulatedDisk, change: impl FnOnce(&mut QueueSettings)) -> Engine<SimulatedStore> {
    let mut engine = start(disk, Time(0));
    configure(&mut engine, change);
    engine
}

fn configure(engine: &mut Engine<SimulatedStore>, change: impl FnOnce(&mut QueueSettings)) {
    let mut settings = Settings::default();
    change(&mut settings.default);
    engine.configure(settings, Bounds::default());
}

/// A claim that waits, as request 2.
fn wait(engine: &mut Engine<SimulatedStore>, now: Time) {
    engine.claim(Origin { session: 2, request: 2 }, claim(5), Time::NEVER, now);
    assert_eq!(served(engine, now), 0, "it waits");
}

/// How many jobs the claim that waits gets in this turn.
fn served(engine: &mut Engine<SimulatedStore>, now: Time) -> usize {
    let turned = engine.turn(now).unwrap();
    let jobs = turned.deliveries.iter().map(|delivery| match delivery {
        Delivery::Answer(Origin { session: 2, .. }, Answer::Jobs(jobs)) => {
            assert!(!jobs.is_empty(), "nobody is woken for nothing");
            jobs.len()
        }
        _ => 0,
    });
    jobs.sum()
}

fn complete(engine: &mut Engine<SimulatedStore>, id: u64, now: Time) {
    let lease = LeaseId { id: JobId(id), attempt: crate::core::Attempt(1) };
    engine.command(&Command::Settle { items: vec![(lease, Verdict::Complete)] }, now);
}

#[test]
fn the_end_of_a_lease_lets_the_next_one_go() {
    let disk = SimulatedDisk::new(1);
    let mut engine = limited(&disk, |settings| settings.concurrency = Some(1));
    submit(&mut engine, 3, Time(0));
    let Answer::Jobs(jobs) = claimed(&mut engine, 5, Time(0)) else { panic!("jobs") };
    assert_eq!(jobs.len(), 1);
    wait(&mut engine, Time(1));
    submit(&mut engine, 1, Time(2));
    assert_eq!(served(&mut engine, Time(2)), 0, "more work is no more room");
    complete(&mut engine, 1, Time(3));
    assert_eq!(served(&mut engine, Time(3)), 1);
    assert!(engine.notes.limited.next_due().is_none());
}

#[test]
fn a_rate_wakes_whoever_waits_when_its_time_comes() {
    let disk = SimulatedDisk::new(1);
    let mut engine = limited(&disk, |settings| {
        settings.rate = Rate::new(2, Duration::from_secs(1), Some(1));
    });
    submit(&mut engine, 3, Time(1_000));
    let Answer::Jobs(jobs) = claimed(&mut engine, 5, Time(1_000)) else { panic!("jobs") };
    assert_eq!(jobs.len(), 1);
    wait(&mut engine, Time(1_100));
    assert_eq!(engine.next_due(), Some(Time(1_490)), "the loop is told when to turn");
    assert_eq!(served(&mut engine, Time(1_489)), 0);
    assert_eq!(served(&mut engine, Time(1_490)), 1);
}

#[test]
fn other_settings_are_looked_at_at_once() {
    let disk = SimulatedDisk::new(1);
    let mut engine = limited(&disk, |settings| settings.concurrency = Some(1));
    submit(&mut engine, 3, Time(0));
    claimed(&mut engine, 5, Time(0));
    wait(&mut engine, Time(1));
    configure(&mut engine, |settings| settings.concurrency = Some(2));
    assert_eq!(served(&mut engine, Time(2)), 1);
    wait(&mut engine, Time(3));
    configure(&mut engine, |_| {});
    assert_eq!(served(&mut engine, Time(4)), 1);
}

/// What is set at run time wakes as a reload does; and a crash takes none of it away.
#[test]
fn what_is_set_at_run_time_is_looked_at_at_once() {
    let disk = SimulatedDisk::new(1);
    let mut engine =
        limited(&disk, |settings| settings.rate = Rate::new(1, Duration::from_secs(86_400), None));
    submit(&mut engine, 4, Time(0));
    claimed(&mut engine, 5, Time(0));
    wait(&mut engine, Time(1));
    let set = |engine: &mut Engine<SimulatedStore>, setting, at| {
        let (set, unset) = (vec![setting], Vec::new());
        engine.change_queue(ORIGIN, &Command::SetQueue { queue: queue(), set, unset, by: 0 }, at);
    };
    set(&mut engine, Setting::Attempts(3), Time(2));
    assert_eq!(served(&mut engine, Time(2)), 0, "that allows no more");
    set(&mut engine, Setting::Rate(Rate::new(1, Duration::from_secs(1), None)), Time(3));
    assert_eq!(served(&mut engine, Time(3)), 1);
    wait(&mut engine, Time(4));
    assert_eq!(engine.next_due(), Some(Time(993)), "the new rate says when");
    drop(engine);
    disk.kill();
    let mut engine = start(&disk, Time(5));
    configure(&mut engine, |settings| settings.concurrency = Some(1));
    assert_eq!(engine.core.settings.of(&queue()).rate, Rate::new(1, Duration::from_secs(1), None));
}

/// A claim for several queues is served by whichever may give first.
#[test]
fn a_claim_for_several_queues_waits_for_any() {
    let disk = SimulatedDisk::new(1);
    let mut engine = limited(&disk, |settings| settings.concurrency = Some(1));
    submit(&mut engine, 2, Time(0));
    claimed(&mut engine, 5, Time(0));
    let other = QueueName::new("other").unwrap();
    let queues = vec![queue(), other.clone()];
    engine.claim(Origin { session: 2, request: 2 }, Claim { queues, ..claim(5) }, Time::NEVER, Time(1));
    assert_eq!(served(&mut engine, Time(1)), 0);
    let group = Group { spec: Spec::plain(other).into(), ..group(1) };
    engine.submit(ORIGIN, vec![group], vec![Bytes::new()], Visibility::ALL, Time(2));
    assert_eq!(served(&mut engine, Time(2)), 1);
    // Nobody waits for the first one any more.
    complete(&mut engine, 1, Time(3));
    assert_eq!(served(&mut engine, Time(3)), 0);
}

/// Whoever is drained by hand, or waits for a key, is served when that ends.
#[test]
fn keys_and_a_drain_wake_whoever_waits() {
    let disk = SimulatedDisk::new(1);
    let mut engine = limited(&disk, |settings| settings.per_key = Some(1));
    let spec = Spec::plain(queue()).with_key(Some(crate::core::Key::new([7; 16])));
    let group = Group { spec: spec.into(), ..group(3) };
    engine.submit(ORIGIN, vec![group], vec![Bytes::new(); 3], Visibility::ALL, Time(0));
    let Answer::Jobs(jobs) = claimed(&mut engine, 5, Time(0)) else { panic!("jobs") };
    assert_eq!(jobs.len(), 1);
    wait(&mut engine, Time(1));
    complete(&mut engine, 1, Time(2));
    assert_eq!(served(&mut engine, Time(2)), 1);
    wait(&mut engine, Time(3));
    engine.drain_by_hand(true, Time(4));
    complete(&mut engine, 2, Time(5));
    assert_eq!(served(&mut engine, Time(5)), 0);
    engine.drain_by_hand(false, Time(6));
    assert_eq!(served(&mut engine, Time(6)), 1);
}

/// So does the rate of a key, of the key whose time comes first.
#[test]
fn a_rate_of_keys_wakes_whoever_waits_when_its_time_comes() {
    let disk = SimulatedDisk::new(1);
    let mut engine = limited(&disk, |settings| {
        settings.per_key_rate = Rate::new(1, Duration::from_secs(1), Some(1));
    });
    let of = |key: u8| {
        let spec = Spec::plain(queue()).with_key(Some(crate::core::Key::new([key; 16])));
        Group { spec: spec.into(), ..group(2) }
    };
    engine.submit(ORIGIN, vec![of(1)], vec![Bytes::new(); 2], Visibility::ALL, Time(1_000));
    let Answer::Jobs(jobs) = claimed(&mut engine, 5, Time(1_000)) else { panic!("jobs") };
    assert_eq!(jobs.len(), 1);
    engine.submit(ORIGIN, vec![of(2)], vec![Bytes::new(); 2], Visibility::ALL, Time(1_500));
    let Answer::Jobs(jobs) = claimed(&mut engine, 5, Time(1_500)) else { panic!("jobs") };
    assert_eq!(jobs.len(), 1);
    wait(&mut engine, Time(1_600));
    assert_eq!(engine.next_due(), Some(Time(1_990)), "the loop is told when to turn");
    assert_eq!(served(&mut engine, Time(1_989)), 0);
    assert_eq!(served(&mut engine, Time(1_990)), 1);
    wait(&mut engine, Time(2_000));
    assert_eq!(engine.next_due(), Some(Time(2_490)));
    assert_eq!(served(&mut engine, Time(2_490)), 1);
}

/// Very many queues are woken in about as many steps.
#[test]
fn each_queue_is_woken_once_however_many_there_are() {
    let disk = SimulatedDisk::new(1);
    let mut engine = limited(&disk, |_| {});
    let name = |n: u32| QueueName::new(&format!("q{n}")).unwrap();
    let queues: Vec<_> = (0..5_000).map(name).collect();
    for at in 0..4 {
        let origin = Origin { session: 3 + at, request: 1 };
        engine.claim(origin, Claim { queues: queues.clone(), ..claim(1) }, Time::NEVER, Time(1));
    }
    configure(&mut engine, |_| {});
    configure(&mut engine, |_| {});
    let mut woken = Vec::new();
    while let Some(queue) = engine.notes.woken.pop() {
        woken.push(queue);
    }
    woken.sort();
    let mut wanted = queues;
    wanted.sort();
    assert_eq!(woken, wanted);
}
