//! Submits with an idempotency key: done once, remembered for a time, over crashes too.

use super::locality::fold_and_check;
use super::world::{World, group, name, secs, view};
use crate::core::*;

fn request(key: u8, content: u8) -> RequestKey {
    RequestKey { key: Key::new([key; 16]), content: Key::new([content; 16]) }
}

fn submit(world: &mut World, groups: Vec<Group>, request: RequestKey) -> Result<Outcome, Rejection> {
    world.run(Command::SubmitOnce { groups: groups.into(), request })
}

fn ids(first: u64, len: u64) -> IdRange {
    IdRange::new(JobId(first), len)
}

#[test]
fn the_same_submit_gets_the_same_answer() {
    let mut world = World::new();
    assert_eq!(submit(&mut world, vec![group("q", 3)], request(1, 1)), Ok(Outcome::Submitted(ids(1, 3))));
    assert_eq!(submit(&mut world, vec![group("q", 2)], request(2, 1)), Ok(Outcome::Submitted(ids(4, 2))));
    let again = Ok(Outcome::Repeated(RequestAnswer::Submitted(ids(1, 3))));
    assert_eq!(submit(&mut world, vec![group("q", 3)], request(1, 1)), again);
    assert!(world.fresh().is_empty(), "nothing happens");
    let other = submit(&mut world, vec![group("q", 4)], request(1, 2));
    assert_eq!(other, Err(Rejection::OtherRequest));
    // The answer does not depend on what has become of the jobs, nor on a drain.
    world.edit(Edit::Delete, &[1, 2, 3]);
    world.core.draining = true;
    assert_eq!(submit(&mut world, vec![group("q", 3)], request(1, 1)), again);
    assert_eq!(submit(&mut world, vec![group("q", 3)], request(3, 1)), Err(Rejection::Draining));
    world.core.draining = false;
    let done = submit(&mut world, vec![group("q", 3)], request(3, 1));
    assert_eq!(done, Ok(Outcome::Submitted(ids(6, 3))), "what was refused is not remembered");
}

#[test]
fn receipts_are_remembered_as_they_were() {
    let mut world = World::new();
    let spec = Spec::plain(name("q")).with_unique(Some(Key::new([1; 16]))).into();
    let unique = Group { spec, ..group("q", 2) };
    let receipts = vec![Receipt::New(JobId(1)), Receipt::Existing(JobId(1))];
    let done = submit(&mut world, vec![unique.clone()], request(1, 1));
    assert_eq!(done, Ok(Outcome::Received(receipts.clone())));
    let again = Ok(Outcome::Repeated(RequestAnswer::Received(receipts.into())));
    assert_eq!(submit(&mut world, vec![unique], request(1, 1)), again);
}

#[test]
fn a_submit_is_remembered_for_its_time() {
    let mut world = World::new();
    world.core.settings.requests_kept = secs(10);
    submit(&mut world, vec![group("q", 1)], request(1, 1)).unwrap();
    world.now = world.now.plus(secs(9));
    world.core.settings.requests_kept = secs(60);
    submit(&mut world, vec![group("q", 1)], request(2, 1)).unwrap();
    assert_eq!(submit(&mut world, vec![group("q", 9)], request(1, 2)), Err(Rejection::OtherRequest));
    // Its time is over at once, though the page is kept for the other one.
    world.now = world.now.plus(secs(1));
    let done = submit(&mut world, vec![group("q", 9)], request(1, 2));
    assert_eq!(done, Ok(Outcome::Submitted(ids(3, 9))));
    assert_eq!(world.core.state.next_due(), Some(world.now.plus(secs(60))));
    world.now = world.now.plus(secs(60));
    world.run(Command::Tick).unwrap();
    assert!(world.core.state.done_requests().is_empty());
    assert_eq!(world.core.state.next_due(), None);
}

#[test]
fn only_so_many_are_remembered() {
    let mut world = World::new();
    world.core.settings.requests_max = 2;
    submit(&mut world, vec![group("q", 1)], request(1, 1)).unwrap();
    submit(&mut world, vec![group("q", 1)], request(2, 1)).unwrap();
    let refused = submit(&mut world, vec![group("q", 1)], request(3, 1));
    assert_eq!(refused, Err(Rejection::TooManyRequests { limit: 2 }));
    assert!(matches!(submit(&mut world, vec![], request(2, 1)), Ok(Outcome::Repeated(_))));
}

/// What is kept of a submit with unique keys is a receipt a job, and counts as that.
#[test]
fn receipts_count_and_the_page_whose_time_comes_first_goes_first() {
    let mut world = World::new();
    (world.core.settings.requests_max, world.core.settings.requests_kept) = (12_000, secs(1_000));
    let unique = |count| {
        let spec = Spec::plain(name("q")).with_unique(Some(Key::new([1; 16]))).into();
        vec![Group { spec, ..group("q", count) }]
    };
    submit(&mut world, unique(5_000), request(1, 1)).unwrap();
    world.core.settings.requests_kept = secs(10);
    submit(&mut world, unique(5_000), request(2, 1)).unwrap();
    assert_eq!(world.core.state.done_requests().weight(), 10_002);
    let refused = submit(&mut world, unique(5_000), request(3, 1));
    assert_eq!(refused, Err(Rejection::TooManyRequests { limit: 12_000 }));
    // Each filled a page, and the second one is remembered for a shorter time.
    world.now = world.now.plus(secs(10));
    world.run(Command::Tick).unwrap();
    assert_eq!(world.core.state.done_requests().weight(), 5_001);
    submit(&mut world, unique(5_000), request(3, 1)).unwrap();
    assert!(matches!(submit(&mut world, vec![], request(1, 1)), Ok(Outcome::Repeated(_))));
}

/// Many pages come and go; what is folded from events or put together from rows is the same.
#[test]
fn pages_come_and_go() {
    let mut world = World::new();
    world.checks = false;
    world.core.settings.requests_kept = secs(300);
    let key = |n: u64| RequestKey { key: Key::new(u128::from(n).to_be_bytes()), content: Key::new([1; 16]) };
    for n in 0..600 {
        world.now = world.now.plus(secs(1));
        submit(&mut world, vec![group("q", 1)], key(n)).unwrap();
        world.run(Command::Tick).unwrap();
    }
    check::check(&world.core.state);
    let pages = world.core.state.rows().iter().filter(|row| matches!(row, Row::Requests(_))).count();
    assert_eq!(pages, 2, "all of the first page are forgotten");
    let again = submit(&mut world, vec![group("q", 1)], key(599));
    assert_eq!(again, Ok(Outcome::Repeated(RequestAnswer::Submitted(ids(600, 1)))));
    assert_eq!(submit(&mut world, vec![group("q", 1)], key(0)), Ok(Outcome::Submitted(ids(601, 1))));
    let folded = fold_and_check(State::default(), &world.log);
    assert_eq!(view(&folded), view(&world.core.state));
    let restored = world.restored();
    check::check(&restored);
    assert_eq!(view(&restored), view(&world.core.state));
    world.now = world.now.plus(secs(1_000));
    for _ in 0..5 {
        world.run(Command::Tick).unwrap();
    }
    assert!(world.core.state.done_requests().is_empty());
}

/// One user fills no more than a part of what is there for all.
#[test]
fn a_user_has_a_share_of_what_is_remembered() {
    let mut world = World::new();
    (world.core.settings.requests_per_user, world.core.settings.own_user) = (2, 500);
    let of = |user: u32| {
        vec![Group {
            spec: SpecOptions { owner: user, ..SpecOptions::plain(name("q")) }.into(),
            ..group("q", 1)
        }]
    };
    for key in [1, 2] {
        submit(&mut world, of(1_000), request(key, 1)).unwrap();
    }
    let refused = Err(Rejection::TooManyOwnRequests { limit: 2 });
    assert_eq!(submit(&mut world, of(1_000), request(3, 1)), refused);
    assert!(submit(&mut world, of(1_000), request(2, 1)).is_ok(), "it is known already");
    for (user, key) in [(1_001, 4), (1_001, 5), (0, 6), (0, 7), (0, 8), (500, 9), (500, 10), (500, 11)] {
        submit(&mut world, of(user), request(key, 1)).unwrap();
    }
    for state in world.restarts() {
        assert_eq!([1_000, 1_001, 0].map(|user| state.done_requests().weight_of(user)), [2, 2, 3]);
    }
    world.wait(world.core.settings.requests_kept);
    assert!(submit(&mut world, of(1_000), request(3, 1)).is_ok(), "the others are forgotten");
}
