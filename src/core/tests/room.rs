//! What becomes of jobs for which a queue has no room: they are refused or dropped, or others are.

use super::world::{World, group, name};
use crate::core::*;
use std::time::Duration;

fn full(world: &mut World, backlog: u64, full: Full) {
    (world.settings().backlog, world.settings().full) = (backlog, full);
}

/// The jobs that wait.
fn waiting(world: &World) -> Vec<u64> {
    let all = world.core.state.iter(IdRange::new(JobId(0), u64::MAX));
    all.filter(|(_, job)| job.kind().waits()).flat_map(|(range, _)| range.iter()).map(|id| id.0).collect()
}

fn with_priority(priority: u32, count: u64) -> Group {
    let options = SpecOptions { priority: Priority(priority), ..SpecOptions::plain(name("q")) };
    Group { spec: options.into(), ..group("q", count) }
}

fn dropped(world: &World) -> u64 {
    world.core.state.queue(&name("q")).unwrap().totals().dropped
}

#[test]
fn what_is_new_is_dropped_as_far_as_there_is_no_room() {
    let mut world = World::new();
    full(&mut world, 5, Full::DropNew);
    world.submit(vec![group("q", 3)]);
    assert_eq!(
        world.submit(vec![group("q", 4), group("other", 1), group("q", 1)]),
        IdRange::new(JobId(4), 6)
    );
    assert_eq!((waiting(&world), dropped(&world)), (vec![1, 2, 3, 4, 5, 8], 3));
    assert!(world.core.state.recent_end(JobId(6)).is_none(), "it never was");
    // What is leased does not count, and what never was is never next.
    assert_eq!(world.claim("q", 4).len(), 4);
    world.submit(vec![group("q", 1)]);
    assert_eq!(waiting(&world), [5, 8, 10]);
    world.submit(vec![group("q", 100)]);
    assert_eq!(dropped(&world), 100);
    assert_eq!(world.core.state.next_id(), JobId(111));
}

#[test]
fn what_is_old_goes_the_lowest_priority_first_and_nothing_that_is_leased() {
    let mut world = World::new();
    full(&mut world, 4, Full::DropOld);
    world.submit(vec![with_priority(5, 1), with_priority(9, 1), with_priority(5, 1), with_priority(9, 1)]);
    let leases = world.claim("q", 1);
    world.submit(vec![with_priority(5, 2)]);
    assert_eq!(waiting(&world), [3, 4, 5, 6], "2 has the last priority and is older than 4");
    world.submit(vec![with_priority(5, 1)]);
    assert_eq!(waiting(&world), [3, 5, 6, 7]);
    world.submit(vec![with_priority(9, 1)]);
    assert_eq!(waiting(&world), [3, 5, 6, 7], "the new one is the last in line");
    world.submit(vec![with_priority(5, 2)]);
    assert_eq!((waiting(&world), dropped(&world)), (vec![6, 7, 9, 10], 5));
    // One that comes back is old, whatever its turn was.
    world.settle(&leases, Verdict::Release { delay: Duration::ZERO });
    world.submit(vec![with_priority(5, 1)]);
    assert_eq!(waiting(&world), [7, 9, 10, 11]);
    let refused = world.run(Command::Submit { groups: vec![group("q", 5)].into() });
    let rejection =
        Rejection::QueueFull { queue: name("q"), bound: Bound::Jobs, len: 4, limit: 4, fits: false };
    assert_eq!(refused, Err(rejection), "all of the new ones would not fit");
    // Scheduled ones are in the line as well, and so are those with keys.
    let keyed = Spec::plain(name("q")).with_key(Some(Key::new([7; 16])));
    full(&mut world, 6, Full::DropOld);
    let later = Group { start: Start::After(Duration::from_secs(9)), ..with_priority(9, 1) };
    world.submit(vec![later, Group { spec: keyed.into(), ..group("q", 1) }]);
    assert_eq!(waiting(&world), [7, 9, 10, 11, 12, 13]);
    world.submit(vec![with_priority(5, 1)]);
    assert_eq!(waiting(&world), [7, 9, 10, 11, 12, 14]);
    world.submit(vec![with_priority(5, 1)]);
    assert_eq!(waiting(&world), [7, 9, 10, 11, 14, 15]);
}

/// The index is made once and kept: each drop costs the same however many wait.
#[test]
fn a_long_queue_lets_old_jobs_go_one_by_one() {
    let mut world = World::new();
    world.checks = false;
    full(&mut world, 100_000, Full::DropOld);
    for n in 0..50_000 {
        world.submit(vec![with_priority(n % 7, 2)]);
    }
    for n in 0..50_000 {
        world.submit(vec![with_priority(n % 7, 1)]);
    }
    assert_eq!((waiting(&world).len(), dropped(&world)), (100_000, 50_000));
    check::check(&world.core.state);
    world.core.configure(Settings::default());
    check::check(&world.core.state);
}

/// Jobs for a queue, so many bytes each.
fn sized(queue: &str, count: u64, bytes: u64) -> Group {
    Group { size: Size::of(bytes), ..group(queue, count) }
}

#[test]
fn bytes_are_bounded_as_jobs_are() {
    let mut world = World::new();
    world.settings().backlog_bytes = 100;
    world.submit(vec![sized("q", 3, 30)]);
    let refused = world.run(Command::Submit { groups: vec![sized("q", 1, 11)].into() });
    let full = |len, fits| {
        Err(Rejection::QueueFull { queue: name("q"), bound: Bound::Bytes, len, limit: 100, fits })
    };
    assert_eq!(refused, full(90, true));
    world.submit(vec![sized("q", 1, 10), sized("other", 1, 100)]);
    assert_eq!(world.run(Command::Submit { groups: vec![sized("q", 1, 101)].into() }), full(100, false));
    // What is leased takes no room, and takes it again when it comes back.
    let leases = world.claim("q", 1);
    world.submit(vec![sized("q", 1, 30)]);
    world.settle(&leases, Verdict::Release { delay: Duration::ZERO });
    assert_eq!(world.core.state.queue(&name("q")).unwrap().waiting_bytes(), 130);

    world.settings().full = Full::DropOld;
    world.submit(vec![sized("q", 1, 50)]);
    assert_eq!(waiting(&world), [4, 5, 6, 7], "ids 1 to 3 had 90 bytes");
    world.settings().full = Full::DropNew;
    world.submit(vec![sized("q", 2, 6), sized("q", 3, 2)]);
    assert_eq!(waiting(&world), [4, 5, 6, 7, 8, 10, 11]);
}

/// Rows and events bring the counts back.
#[test]
fn sizes_survive_a_restart() {
    let mut world = World::new();
    world.submit(vec![sized("q", 3, 30), sized("q", 2, 7)]);
    world.claim("q", 1);
    for state in world.restarts() {
        assert_eq!((state.waiting(), state.waiting_bytes()), (4, 74));
    }
}

#[test]
fn all_queues_together_are_bounded() {
    let mut world = World::new();
    world.core.settings.total_backlog = 5;
    world.submit(vec![group("q", 3), group("other", 2)]);
    let refused = world.run(Command::Submit { groups: vec![group("q", 1)].into() });
    let rejection =
        Rejection::QueueFull { queue: name("q"), bound: Bound::TotalJobs, len: 5, limit: 5, fits: true };
    assert_eq!(refused, Err(rejection));
    // A queue lets its own go, not those of others.
    world.settings().full = Full::DropOld;
    world.submit(vec![group("q", 3)]);
    assert_eq!(waiting(&world), [4, 5, 6, 7, 8]);
    assert!(world.run(Command::Submit { groups: vec![group("q", 4)].into() }).is_err());
    world.settings().full = Full::DropNew;
    world.core.settings.total_backlog = 6;
    world.submit(vec![group("q", 2), group("other", 2)]);
    assert_eq!(world.core.state.waiting(), 6);
}

/// What has no size frees no bytes: it stays, however many there are of it.
#[test]
fn jobs_without_a_size_do_not_go_for_bytes() {
    let mut world = World::new();
    world.submit(vec![group("q", 1_000)]);
    world.settings().backlog_bytes = 25;
    world.settings().full = Full::DropOld;
    let sized = |count| Group { size: Size::of(10), ..group("q", count) };
    world.submit(vec![sized(2)]);
    world.submit(vec![sized(1)]);
    assert_eq!((world.core.state.waiting(), dropped(&world)), (1_002, 1));
    assert!(!world.core.state.contains(JobId(1_001)), "the oldest of those that have one");
    // Where it is jobs that are too many, they go as well.
    world.settings().backlog = 1_002;
    world.submit(vec![group("q", 1)]);
    assert_eq!((world.core.state.waiting(), world.core.state.contains(JobId(1))), (1_002, false));
}

/// By hand, or by a job with the same unique key.
#[test]
fn a_body_that_is_replaced_takes_no_more_room_than_there_is() {
    let mut world = World::new();
    world.settings().backlog_bytes = 10;
    let key = Some(Key::new([7; 16]));
    let with = |size, on_conflict| {
        let spec = (*group("q", 1).spec).clone().with_unique(key).into();
        Group { spec, size: Size::of(size), on_conflict, ..group("q", 1) }
    };
    let first = [with(4, OnConflict::Replace), Group { size: Size::of(4), ..group("q", 1) }];
    world.run(Command::Submit { groups: first.into_iter().collect() }).unwrap();
    let body = |size| Edit::ReplaceBody(Size::of(size));
    let refused =
        |len| Rejection::QueueFull { queue: name("q"), bound: Bound::Bytes, len, limit: 10, fits: true };
    let why = Box::new(refused(8));
    assert_eq!(world.edit(body(7), &[2]), [Err(EditRejection::NoRoom { id: JobId(2), verb: "edit", why })]);
    assert_eq!(world.edit(body(6), &[2]), [Ok(())]);
    let replace = |size| Command::Submit { groups: [with(size, OnConflict::Replace)].into_iter().collect() };
    assert_eq!(world.run(replace(5)), Err(refused(10)));
    assert_eq!(world.run(replace(3)), Ok(Outcome::Received([Receipt::Replaced(JobId(1))].into())));
    assert_eq!(world.edit(body(7), &[2]), [Ok(())], "the other one takes less now");
    // What runs does not wait, and so takes none.
    let leases = world.claim("q", 2);
    world.edit(Edit::Bury, &[2]);
    assert_eq!(world.edit(body(1 << 20), &[2]), [Ok(())]);
    assert_eq!(leases.len(), 2);
}

/// Of one submit it is the sum that counts, and with it what is new.
#[test]
fn bodies_that_are_replaced_together_are_summed_up() {
    let mut world = World::new();
    world.settings().backlog_bytes = 20;
    let with = |n: u8, size| {
        let spec = (*group("q", 1).spec).clone().with_unique(Some(Key::new([n; 16]))).into();
        Group { spec, size: Size::of(size), on_conflict: OnConflict::Replace, ..group("q", 1) }
    };
    let submit = |groups: &[Group]| Command::Submit { groups: groups.into() };
    let refused =
        Err(Rejection::QueueFull { queue: name("q"), bound: Bound::Bytes, len: 12, limit: 20, fits: true });
    world.run(submit(&[with(1, 4), with(2, 4), with(3, 4)])).unwrap();
    assert_eq!(world.run(submit(&[with(1, 8), with(2, 8), with(3, 8)])), refused);
    assert_eq!(world.run(submit(&[with(1, 9), sized("q", 1, 4)])), refused, "new ones are beside them");
    assert_eq!(
        world.run(submit(&[with(4, 1), with(1, 9), with(4, 4)])),
        refused,
        "one that is new and replaced"
    );
    world.run(submit(&[with(1, 19), with(1, 8), with(2, 8)])).unwrap();
    let bytes = |world: &World| world.core.state.queue(&name("q")).unwrap().waiting_bytes();
    assert_eq!(bytes(&world), 20, "each as it is at last");
    world.run(submit(&[with(1, 9), with(2, 7)])).unwrap();
    assert_eq!(bytes(&world), 20, "one grows by what the other has given up");
    // What they grow by is not there for new ones.
    (world.settings().full, world.settings().backlog_bytes) = (Full::DropNew, 26);
    world.run(submit(&[with(1, 12), sized("q", 3, 2)])).unwrap();
    assert_eq!((bytes(&world), dropped(&world)), (25, 2));
}

/// It may be any: how long the old one is, nobody knows.
#[test]
fn a_body_that_was_not_counted_can_be_replaced_where_there_is_no_room() {
    let mut world = World::new();
    world.submit(vec![group("q", 1)]);
    world.settings().backlog_bytes = 10;
    world.submit(vec![sized("q", 1, 10), sized("q", 1, 0)]);
    let body = |size| Edit::ReplaceBody(Size::of(size));
    assert_eq!(world.edit(body(3), &[1]), [Ok(())]);
    assert_eq!(world.core.state.waiting_bytes(), 13, "it is counted now");
    assert!(world.edit(body(4), &[1])[0].is_err());
    assert_eq!(world.edit(body(2), &[1]), [Ok(())]);
    assert!(world.edit(body(1), &[3])[0].is_err(), "an empty one is counted");
    world.edit(Edit::Delete, &[2]);
    assert_eq!((world.core.state.waiting_bytes(), world.edit(body(8), &[3])), (2, vec![Ok(())]));
}
