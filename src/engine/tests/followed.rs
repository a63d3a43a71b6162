//! Whoever follows jobs learns of each change of a state, when it is on disk; while nobody does, nothing is noted.

use super::*;
use crate::engine::followed::Changed;

/// What a turn has told: ids, how many, and the state.
fn told(engine: &mut Engine<SimulatedStore>, now: Time) -> Vec<(u64, u64, Option<StateKind>)> {
    let turned = engine.turn(now).unwrap();
    let one = |Changed { jobs, state, .. }: &Changed| (jobs.first.0, jobs.len, *state);
    let of = |delivery: &Delivery| match delivery {
        Delivery::Changed(told) => told.changes.iter().map(one).collect(),
        _ => Vec::new(),
    };
    turned.deliveries.iter().flat_map(of).collect()
}

fn submit_some(engine: &mut Engine<SimulatedStore>, count: u64, now: Time) {
    let bodies: Vec<_> = (0..count).map(|n| Bytes::from(n.to_string())).collect();
    engine.submit(ORIGIN, vec![group(count)], bodies, Visibility::ALL, now);
}

#[test]
fn each_change_of_a_state_is_told_and_only_while_somebody_follows() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit_some(&mut engine, 3, Time(0));
    assert_eq!(told(&mut engine, Time(0)), []);
    engine.follow_changes(true);
    submit_some(&mut engine, 100, Time(1));
    submit_some(&mut engine, 1, Time(1));
    assert_eq!(told(&mut engine, Time(1)), [(4, 101, Some(StateKind::Ready))], "as one, as they are alike");
    engine.claim(ORIGIN, claim(2), Time(2), Time(2));
    assert_eq!(told(&mut engine, Time(2)), [(1, 2, Some(StateKind::Leased))]);
    let lease = |id| LeaseId { id: JobId(id), attempt: crate::core::Attempt(1) };
    engine.extend(ORIGIN, vec![lease(1)], None, Visibility::ALL, Time(3));
    assert_eq!(told(&mut engine, Time(3)), [], "its state is what it was");
    let items = vec![(lease(1), Verdict::Complete), (lease(2), Verdict::Release { delay: Duration::ZERO })];
    engine.settle(ORIGIN, items, Visibility::ALL, Time(4));
    let (done, ready) = (Some(StateKind::Done), Some(StateKind::Ready));
    assert_eq!(told(&mut engine, Time(4)), [(1, 1, done), (2, 1, ready)], "also of what is not kept");
    let delete = crate::core::Edit::Delete;
    engine.edit(ORIGIN, delete, vec![JobId(2)], Default::default(), Visibility::ALL, Time(5));
    assert_eq!(told(&mut engine, Time(5)), [(2, 1, None)]);
    engine.follow_changes(false);
    submit_some(&mut engine, 1, Time(6));
    assert_eq!(told(&mut engine, Time(6)), []);
}

#[test]
fn nothing_is_told_before_it_is_on_disk() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    engine.follow_changes(true);
    disk.confirm_late(true);
    submit_some(&mut engine, 1, Time(0));
    assert_eq!(told(&mut engine, Time(0)), []);
    disk.confirm(1);
    assert_eq!(told(&mut engine, Time(0)), [(1, 1, Some(StateKind::Ready))]);
}

#[test]
fn what_one_commit_tells_is_bounded() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    engine.follow_changes(true);
    for nth in 0..5_000 {
        let queue = QueueName::new(&format!("q{}", nth % 2)).unwrap();
        let groups = vec![Group::new(Spec::plain(queue), 1)];
        engine.submit(ORIGIN, groups, vec![Bytes::new()], Visibility::ALL, Time(0));
    }
    let mut deliveries = engine.turn(Time(0)).unwrap().deliveries;
    let Some(Delivery::Changed(told)) = deliveries.pop() else { panic!("changes are told last") };
    assert_eq!((told.changes.len() as u64 + told.left_out, told.changes.len()), (5_000, 4_096));
}
