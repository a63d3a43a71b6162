//! What is easily forgotten: chains without end, jobs that are not taken, unique keys, and groups that somebody waits for.

use super::super::world::{group, secs};
use super::{
    Waiting, after_group, are, complete, counts, keeping, members, of_group, refused, seal, waits_for,
};
use crate::core::*;

/// One that is not kept is kept until those that wait for it are told.
#[test]
fn a_long_chain_is_cancelled_in_bounded_steps_though_none_is_kept() {
    const LEN: u64 = 5_000;
    let mut world = keeping();
    world.checks = false;
    world.settings().keep_done = Keep::No;
    world.submit(vec![group("q", 1)]);
    for id in 1..LEN {
        world.submit(vec![waits_for(id)]);
    }
    assert_eq!(world.edit(Edit::Cancel, &[1]), [Ok(())]);
    assert!(world.fresh().len() < 2_000, "{} events", world.fresh().len());
    are(&world, &[(LEN, Waiting)]);
    // A daemon that starts here goes on.
    world.core.state = world.restored();
    let mut ticks = 0;
    while world.core.state.next_due().is_some_and(|due| due <= world.now) {
        world.wait(secs(0));
        assert!(world.fresh().len() < 6_000, "{} events", world.fresh().len());
        ticks += 1;
    }
    assert!((3..20).contains(&ticks), "{ticks} ticks");
    assert!((1..=LEN).all(|id| world.kind(id).is_none()));
    check::check(&world.core.state);
}

#[test]
fn jobs_of_a_group_for_which_there_was_no_room_are_gone() {
    let mut world = keeping();
    (world.settings().backlog, world.settings().full) = (3, Full::DropNew);
    let sealed = |count| {
        let ties = Ties { group: Some(of_group("g")), seals: true, ..Ties::default() };
        Group { ties: Some(ties.into()), ..group("q", count) }
    };
    world.submit(vec![sealed(10)]);
    assert_eq!(counts(&world, "g"), [3, 0, 0, 0, 0, 7]);
    complete(&mut world, 3);
    world.submit(vec![after_group("g", Condition::Done), after_group("g", Condition::Ended)]);
    are(&world, &[(11, StateKind::Cancelled), (12, StateKind::Ready)]);
}

#[test]
fn a_group_that_is_sealed_with_no_new_job_has_ended() {
    let mut world = keeping();
    let unique = || {
        let mut job = group("q", 1);
        std::sync::Arc::make_mut(&mut job.spec).unique = Some(Key::new([1; 16]));
        job
    };
    world.run(Command::Submit { groups: vec![unique()].into() }).unwrap();
    let ties = Ties { group: Some(of_group("g")), seals: true, ..Ties::default() };
    let again = Group { ties: Some(ties.into()), ..unique() };
    let receipts = world.run(Command::Submit { groups: vec![again].into() });
    assert_eq!(receipts, Ok(Outcome::Received(vec![Receipt::Existing(JobId(1))])));
    assert_eq!(counts(&world, "g"), [0; 6]);
    world.submit(vec![after_group("g", Condition::Done)]);
    are(&world, &[(2, StateKind::Ready)]);
}

/// A body that takes the place of another one brings its own start with it.
#[test]
fn a_waiting_job_that_is_replaced_starts_as_the_new_one_would() {
    let mut world = keeping();
    world.submit(vec![group("q", 1)]);
    let unique = |start, ties: Option<&Group>| {
        let mut job = Group { start, on_conflict: OnConflict::Replace, ..group("q", 1) };
        std::sync::Arc::make_mut(&mut job.spec).unique = Some(Key::new([1; 16]));
        Group { ties: ties.and_then(|group| group.ties.clone()), ..job }
    };
    let waits = waits_for(1);
    let late = unique(Start::After(secs(3_600)), Some(&waits));
    world.run(Command::Submit { groups: vec![late].into() }).unwrap();
    world.run(Command::Submit { groups: vec![unique(Start::Now, None)].into() }).unwrap();
    are(&world, &[(2, Waiting)]);
    complete(&mut world, 1);
    are(&world, &[(2, StateKind::Ready)]);
}

#[test]
fn a_group_for_which_jobs_wait_is_not_forgotten_by_hand() {
    let mut world = keeping();
    world.submit(vec![after_group("g", Condition::Done)]);
    let forget = Command::Group { name: of_group("g"), action: GroupAction::Forget, by: None };
    let waited_for = FlowRejection::IsWaitedFor { group: of_group("g") };
    assert_eq!(world.run(forget.clone()), Err(waited_for.into()));
    seal(&mut world, "g");
    are(&world, &[(1, StateKind::Ready)]);
    assert_eq!(world.run(forget), Ok(Outcome::Ok));
    assert_eq!(refused(&mut world, vec![waits_for(9)]), FlowRejection::NoSuchJob { id: JobId(9) });
    world.submit(vec![members("g", 1)]);
}
