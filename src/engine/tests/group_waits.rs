//! Requests that wait for groups: each is answered once, with the commit that ends its group, or by whatever else ends the wait.

use super::*;
use crate::core::{GroupAction, GroupCounts, GroupName, Then, Ties};
use crate::engine::WaitStage;

const WAITERS: u32 = 500;
const MEMBERS: u64 = 10_000;

fn name() -> GroupName {
    GroupName::new("album").unwrap()
}

fn with_members(engine: &mut Engine<SimulatedStore>, count: u64, now: Time) -> Vec<LeaseId> {
    let ties = Ties { group: Some(name()), ..Ties::default() };
    let members = Group { ties: Some(ties.into()), ..group(count) };
    let bodies: Vec<_> = (0..count).map(|_| Bytes::new()).collect();
    engine.submit(ORIGIN, vec![members], bodies, Visibility::ALL, now);
    engine.turn(now).unwrap();
    let Answer::Jobs(jobs) = claimed(engine, count as u32, now) else { panic!("jobs are ready") };
    assert_eq!(jobs.len() as u64, count);
    jobs.iter().map(|job| LeaseId { id: job.grant.id, attempt: job.grant.attempt }).collect()
}

fn change(engine: &mut Engine<SimulatedStore>, action: GroupAction, now: Time) {
    engine.change_queue(ORIGIN, &Command::Group { name: name(), action, by: None }, now);
}

fn wait(engine: &mut Engine<SimulatedStore>, request: u32, first_error: bool, until: Time, now: Time) {
    let (no, _) = engine.core().state.groups().named(&name()).expect("it is there");
    let origin = Origin { session: 7, request };
    engine.wait_for_groups(origin, vec![no], first_error, until, now);
}

/// The answers of a turn to those that wait for groups.
fn told(engine: &mut Engine<SimulatedStore>, now: Time) -> Vec<(u32, WaitStage, GroupCounts)> {
    let answers = engine.turn(now).unwrap().deliveries.into_iter().filter_map(|delivery| match delivery {
        Delivery::Answer(Origin { session: 7, request }, Answer::GroupsEnded(mut ends)) => {
            let end = ends.pop().expect("one group");
            assert!(ends.is_empty());
            Some((request, end.stage, end.group.counts))
        }
        _ => None,
    });
    answers.collect()
}

fn settle(engine: &mut Engine<SimulatedStore>, leases: &[LeaseId], verdict: Verdict, now: Time) {
    let items = leases.iter().map(|lease| (*lease, verdict.clone())).collect();
    engine.settle(ORIGIN, items, Visibility::ALL, now);
}

fn dead() -> Verdict {
    Verdict::Fail { error: "no".into(), exit: None, then: Then::Bury }
}

#[test]
fn a_large_group_and_many_that_wait_cost_one_answer_each() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    engine.bounds.waiting = 20_000;
    let leases = with_members(&mut engine, MEMBERS, Time(0));
    (0..WAITERS).for_each(|nth| wait(&mut engine, nth, nth % 2 == 1, Time::NEVER, Time(0)));
    change(&mut engine, GroupAction::Seal, Time(1));
    for part in leases[1..].chunks(100) {
        settle(&mut engine, part, Verdict::Complete, Time(1));
        assert!(told(&mut engine, Time(1)).is_empty(), "one is left");
    }
    settle(&mut engine, &leases[..1], Verdict::Complete, Time(2));
    let told = told(&mut engine, Time(2));
    assert_eq!(told.len(), WAITERS as usize);
    assert!(told.iter().all(|(_, stage, counts)| *stage == WaitStage::Over && counts.done == MEMBERS));
    assert_eq!(engine.notes.watching_groups.size(), 0);
    // It is known for a while: whoever comes late has the answer at once.
    wait(&mut engine, 7, false, Time::NEVER, Time(3));
    assert_eq!(self::told(&mut engine, Time(3)).len(), 1);
}

#[test]
fn the_first_error_is_told_to_those_who_asked_for_it() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    let leases = with_members(&mut engine, 3, Time(0));
    wait(&mut engine, 1, true, Time::NEVER, Time(0));
    wait(&mut engine, 2, false, Time::NEVER, Time(0));
    settle(&mut engine, &leases[..1], Verdict::Complete, Time(1));
    assert!(told(&mut engine, Time(1)).is_empty());
    settle(&mut engine, &leases[1..2], dead(), Time(2));
    let failed = GroupCounts { live: 1, done: 1, dead: 1, ..GroupCounts::default() };
    assert_eq!(told(&mut engine, Time(2)), [(1, WaitStage::Over, failed)]);
    // One that comes later finds it so.
    wait(&mut engine, 3, true, Time::NEVER, Time(3));
    assert_eq!(told(&mut engine, Time(3)), [(3, WaitStage::Over, failed)]);
    settle(&mut engine, &leases[2..], Verdict::Complete, Time(4));
    assert!(told(&mut engine, Time(4)).is_empty(), "it may have more jobs");
    change(&mut engine, GroupAction::Seal, Time(5));
    let ended = GroupCounts { live: 0, done: 2, ..failed };
    assert_eq!(told(&mut engine, Time(5)), [(2, WaitStage::Over, ended)]);
}

#[test]
fn a_wait_ends_with_its_time_by_hand_and_with_its_group() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    let leases = with_members(&mut engine, 2, Time(0));
    wait(&mut engine, 1, false, Time(100), Time(0));
    wait(&mut engine, 2, false, Time::NEVER, Time(0));
    wait(&mut engine, 3, false, Time::NEVER, Time(0));
    assert!(told(&mut engine, Time(99)).is_empty());
    assert_eq!(engine.housekeep(Time(99)).unwrap(), Some(Time(100)), "nobody else wakes the loop for it");
    let open = GroupCounts { live: 2, ..GroupCounts::default() };
    assert_eq!(told(&mut engine, Time(100)), [(1, WaitStage::Open, open)]);
    wait(&mut engine, 4, false, Time(100), Time(100));
    assert_eq!(told(&mut engine, Time(100)), [(4, WaitStage::Open, open)], "one that only looks");
    engine.unwait(Origin { session: 7, request: 2 });
    assert_eq!(told(&mut engine, Time(101)), [(2, WaitStage::Open, open)]);
    // It is deleted, open as it is.
    settle(&mut engine, &leases, Verdict::Complete, Time(102));
    change(&mut engine, GroupAction::Forget, Time(102));
    let done = GroupCounts { done: 2, ..GroupCounts::default() };
    assert_eq!(told(&mut engine, Time(102)), [(3, WaitStage::Gone, done)]);
}

#[test]
fn who_hangs_up_waits_no_more_and_nobody_waits_for_too_much() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    with_members(&mut engine, 1, Time(0));
    engine.bounds.waiting = 2 * CLOSED_AT_ONCE;
    let most = 2 * CLOSED_AT_ONCE as u32;
    (0..most).for_each(|nth| wait(&mut engine, nth, nth % 2 == 1, Time::NEVER, Time(0)));
    wait(&mut engine, most, false, Time::NEVER, Time(0));
    let turned = engine.turn(Time(0)).unwrap().deliveries;
    let [Delivery::Answer(_, Answer::Refused(Refusal::TooManyWaiting { .. }))] = &turned[..] else {
        panic!("{turned:?}")
    };
    assert!(!engine.close_session(7, Time(1)), "a part at a time");
    while !engine.close_session(7, Time(1)) {}
    assert_eq!((engine.notes.watching_groups.size(), engine.waiting_of(7)), (0, 0));
    // Of a number that is used again the newer request is answered.
    wait(&mut engine, 1, false, Time::NEVER, Time(2));
    wait(&mut engine, 1, false, Time::NEVER, Time(2));
    engine.withdraw_group_waits(|origin, group| origin.session == 7 && group.name == name());
    let turned = engine.turn(Time(2)).unwrap().deliveries;
    let [Delivery::Answer(origin, Answer::Refused(refusal))] = &turned[..] else { panic!("{turned:?}") };
    assert_eq!(*origin, Origin { session: 7, request: 1 });
    assert!(refusal.to_string().contains("no such group: `album`"), "{refusal}");
}
