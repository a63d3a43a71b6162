//! Jobs that come into another queue, or get another priority: what depends on either follows.

use super::world::{World, group, name, secs};
use crate::core::*;

fn to(queue: &str) -> Edit {
    Edit::Move(name(queue))
}

fn ids(leases: &[LeaseId]) -> Vec<u64> {
    leases.iter().map(|lease| lease.id.0).collect()
}

#[test]
fn a_moved_job_keeps_what_is_its_own_and_stands_by_its_age() {
    let mut world = World::new();
    world.submit(vec![group("a", 2)]);
    world.now = world.now.plus(secs(5));
    world.submit(vec![group("b", 1)]);
    let leases = world.claim("a", 1);
    world.fail(&leases, "no");
    let before = world.job(1);
    assert_eq!(world.edit(to("b"), &[1, 2]), [Ok(()), Ok(())]);
    let after = world.job(1);
    assert_eq!((after.failures(), after.attempt()), (before.failures(), before.attempt()));
    assert_eq!((after.state(), after.submitted_at()), (before.state(), before.submitted_at()));
    assert_eq!(ids(&world.claim("b", 9)), [2, 3], "by arrival, and 1 waits for its next attempt");
    world.wait(secs(1));
    assert_eq!((ids(&world.claim("b", 9)), world.claim("a", 9).len()), (vec![1], 0));
    let row = world.core.state.queue(&name("b")).unwrap();
    assert_eq!((row.totals().submitted, row.totals().claimed), (1, 3), "what was submitted to it");
    // The other one is empty, and may be forgotten.
    world.run(Command::ForgetQueue { queue: name("a") }).unwrap();
}

#[test]
fn keys_and_limits_are_those_of_the_other_queue() {
    let mut world = World::new();
    world.settings().per_key = Some(1);
    let key = Spec::plain(name("a")).with_key(Some(Key::new([7; 16])));
    world.submit(vec![Group { spec: key.into(), ..group("a", 3) }]);
    assert_eq!(ids(&world.claim("a", 9)), [1]);
    assert_eq!(world.edit(to("b"), &[2]), [Ok(())]);
    assert_eq!(ids(&world.claim("b", 9)), [2], "no other of its key runs there");
    assert!(matches!(world.edit(to("b"), &[2])[..], [Err(EditRejection::WrongState { verb: "move", .. })]));
    assert_eq!(world.edit(to("b"), &[3]), [Ok(())]);
    assert_eq!(world.claim("b", 9).len(), 0);
    assert_eq!(world.edit(to("b"), &[3]), [Ok(())], "it is there already");
}

#[test]
fn a_queue_that_is_full_or_one_too_many_takes_none() {
    let mut world = World::new();
    let full = QueueSettings { backlog: 1, ..QueueSettings::default() };
    world.core.settings.queues.insert(name("full"), full);
    world.submit(vec![group("a", 3), group("full", 1)]);
    let rejection = |why| EditRejection::NoRoom { id: JobId(1), verb: "move", why: Box::new(why) };
    let is_full =
        Rejection::QueueFull { queue: name("full"), bound: Bound::Jobs, len: 1, limit: 1, fits: true };
    assert_eq!(world.edit(to("full"), &[1]), [Err(rejection(is_full))]);
    // One that has ended does not wait there.
    world.edit(Edit::Bury, &[2]);
    assert_eq!(world.edit(to("full"), &[2]), [Ok(())]);
    world.core.settings.queues_max = 2;
    assert_eq!(world.edit(to("new"), &[1]), [Err(rejection(Rejection::TooManyQueues { limit: 2 }))]);
    world.core.settings.queues_max = 3;
    assert_eq!(world.edit(to("new"), &[1]), [Ok(())]);
    let maker = world.core.state.queue(&name("new")).unwrap().maker();
    assert_eq!(maker, Some(world.job(1).spec.owner));
}

#[test]
fn kept_jobs_count_for_the_queue_that_they_are_in() {
    let mut world = World::new();
    world.settings().keep_done = Keep::Forever;
    world.settings().keep_done_max = 2;
    world.submit(vec![group("a", 2), group("b", 2)]);
    for queue in ["a", "b"] {
        let leases = world.claim(queue, 2);
        world.settle(&leases, Verdict::Complete);
        world.now = world.now.plus(secs(1));
    }
    assert_eq!(world.edit(to("b"), &[1, 2]), [Ok(()), Ok(())]);
    assert_eq!([1, 2, 3, 4].map(|id| world.kind(id).is_some()), [false, false, true, true], "the oldest go");
}

#[test]
fn a_unique_key_is_held_in_the_other_queue_or_the_job_stays() {
    let mut world = World::new();
    let unique = |queue| {
        let spec = Spec::plain(name(queue)).with_unique(Some(Key::new([7; 16])));
        Group { spec: spec.into(), ..group(queue, 1) }
    };
    for queue in ["a", "b"] {
        world.run(Command::Submit { groups: vec![unique(queue)].into() }).unwrap();
    }
    let refused = EditRejection::NotUnique { id: JobId(1), verb: "move", by: JobId(2) };
    assert_eq!(world.edit(to("b"), &[1]), [Err(refused)]);
    assert_eq!(world.edit(to("c"), &[1]), [Ok(())]);
    let outcome = world.run(Command::Submit { groups: vec![unique("c")].into() });
    assert_eq!(outcome, Ok(Outcome::Received(vec![Receipt::Existing(JobId(1))])));
    let outcome = world.run(Command::Submit { groups: vec![unique("a")].into() });
    assert_eq!(outcome, Ok(Outcome::Received(vec![Receipt::New(JobId(3))])), "it is free there");
}

#[test]
fn another_priority_is_another_place() {
    let mut world = World::new();
    world.submit(vec![group("q", 4)]);
    assert_eq!(world.edit(Edit::Prioritize(Priority(0)), &[3]), [Ok(())]);
    assert_eq!(world.edit(Edit::Prioritize(Priority(2_000)), &[1]), [Ok(())]);
    let leases = world.claim("q", 2);
    assert_eq!(ids(&leases), [3, 2]);
    assert_eq!(world.edit(Edit::Prioritize(Priority(5)), &[2, 3]), [Ok(()), Ok(())], "for what follows");
    assert_eq!(world.settle(&leases, Verdict::Release { delay: secs(0) }), [Ok(()), Ok(())]);
    assert_eq!(ids(&world.claim("q", 4)), [2, 3, 4, 1]);
}

/// The body of a job that came where none was counted is counted nowhere, until it is replaced: no sum is ever wrong for it.
#[test]
fn a_body_that_was_never_counted_is_counted_in_no_queue() {
    let mut world = World::new();
    world.submit(vec![group("old", 3)]);
    world.settings().backlog_bytes = 100;
    world.submit(vec![Group { size: Size::of(40), ..group("new", 2) }]);
    let bytes = |world: &World, queue| world.core.state.queue(&name(queue)).unwrap().waiting_bytes();
    assert_eq!(world.edit(to("new"), &[1, 2, 3]), [Ok(()), Ok(()), Ok(())]);
    assert_eq!((bytes(&world, "old"), bytes(&world, "new"), world.core.state.waiting_bytes()), (0, 80, 80));
    assert_eq!(world.edit(to("old"), &[3, 4]), [Ok(()), Ok(())], "each takes with it what it has");
    assert_eq!((bytes(&world, "old"), bytes(&world, "new"), world.core.state.waiting_bytes()), (40, 40, 80));
    // From the first body that is counted on it counts, and leaves as such.
    assert_eq!(world.edit(Edit::ReplaceBody(Size::of(7)), &[1, 3]), [Ok(()), Ok(())]);
    assert_eq!((bytes(&world, "old"), bytes(&world, "new")), (47, 47));
    assert_eq!(world.edit(to("new"), &[3, 4]), [Ok(()), Ok(())]);
    assert_eq!((bytes(&world, "old"), bytes(&world, "new")), (0, 94));
    for state in world.restarts() {
        assert_eq!(state.waiting_bytes(), 94);
    }
    let leases = world.claim("new", 9);
    world.settle(&leases, Verdict::Complete);
    assert_eq!((bytes(&world, "new"), world.core.state.waiting_bytes()), (0, 0));
}
