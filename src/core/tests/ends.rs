//! How jobs end, how long they are kept, and that what is large is done in slices.

use super::world::{World, group, name, secs};
use crate::core::*;

#[test]
fn the_oldest_kept_job_gives_way_however_the_newest_ended() {
    let mut world = World::new();
    let settings = world.settings();
    (settings.keep_done, settings.keep_done_max) = (Keep::Forever, 2);
    let ttl = Some(secs(50));
    world.submit(vec![group("q", 3), Group { ttl, ..group("q", 1) }, group("q", 1)]);
    let leases = world.claim("q", 2);
    let expect = |world: &World, ids: &[u64]| {
        let kept: Vec<u64> = (1..=5).filter(|id| world.kind(*id).is_some_and(StateKind::is_final)).collect();
        assert_eq!(kept, ids);
    };
    for lease in leases.iter().rev() {
        world.settle(&[*lease], Verdict::Complete);
        world.wait(secs(1));
    }
    expect(&world, &[1, 2]);
    world.edit(Edit::Cancel, &[3]);
    expect(&world, &[1, 3]); // 2 ended first
    world.wait(secs(50));
    assert_eq!(world.kind(4), Some(StateKind::Expired));
    expect(&world, &[3, 4]);
    world.edit(Edit::Bury, &[5]);
    expect(&world, &[3, 4, 5]); // dead jobs do not count
}

#[test]
fn one_request_cannot_keep_more_than_the_limit() {
    for max in [0, 2] {
        let mut world = World::new();
        let settings = world.settings();
        (settings.keep_done, settings.keep_done_max) = (Keep::Forever, max);
        world.submit(vec![group("q", 5)]);
        let leases = world.claim("q", 5);
        world.settle(&leases, Verdict::Complete);
        assert_eq!(world.core.state.queue(&name("q")).unwrap().counts().all(), max);
    }
}

#[test]
fn what_goes_in_the_same_tick_makes_room_first() {
    let mut world = World::new();
    let settings = world.settings();
    (settings.keep_done, settings.keep_done_max) = (Keep::For(secs(10)), 2);
    world.submit(vec![group("q", 2), Group { ttl: Some(secs(10)), ..group("q", 1) }]);
    world.edit(Edit::Cancel, &[1]);
    world.settings().keep_done = Keep::Forever;
    world.edit(Edit::Cancel, &[2]);
    world.wait(secs(10));
    assert_eq!([1, 2, 3].map(|id| world.kind(id).is_some()), [false, true, true]);
}

#[test]
fn a_revived_job_has_all_its_attempts_again_but_no_attempt_number_comes_twice() {
    let mut world = World::new();
    world.settings().attempts = 2;
    world.submit(vec![group("q", 1)]);
    world.claim("q", 1);
    world.run(Command::Vanish { session: 7 }).unwrap();
    for _ in 0..2 {
        let lease = world.claim("q", 1);
        world.fail(&lease, "no");
        world.wait(secs(1));
    }
    assert_eq!((world.kind(1), world.job(1).failed()), (Some(StateKind::Dead), 2));
    world.edit(Edit::Retry, &[1]);
    let job = world.job(1);
    assert_eq!((job.failed(), job.crashes(), job.attempt(), job.failures().len()), (0, 0, Attempt(3), 2));
    let lease = world.claim("q", 1);
    assert_eq!(lease[0].attempt, Attempt(4));
    world.fail(&lease, "no");
    assert_eq!(world.kind(1), Some(StateKind::Scheduled));
}

#[test]
fn a_purge_goes_in_slices_and_spares_other_queues_and_leased_jobs() {
    let mut world = World { checks: false, ..World::new() };
    let delayed = Group { start: Start::After(secs(9)), ..group("q", 1) };
    // Each is a range of its own: the ids between are those of others.
    let apart = (0..65_600).flat_map(|_| [delayed.clone(), group("other", 1)]);
    world.submit(std::iter::once(group("q", 1_000)).chain(apart).collect());
    world.claim("q", 1);
    let purge = Command::Purge { queue: name("q") };
    // 999 ready jobs are one range.
    assert_eq!(world.run(purge.clone()), Ok(Outcome::Purged { deleted: 999 + 65_535, more: true }));
    assert_eq!(world.run(purge.clone()), Ok(Outcome::Purged { deleted: 65, more: false }));
    assert_eq!(world.run(purge), Ok(Outcome::Purged { deleted: 0, more: false }));
    let unknown = Command::Purge { queue: name("unknown") };
    assert_eq!(world.run(unknown), Err(Rejection::NoSuchQueue { queue: name("unknown") }));
    let counts = |queue| world.core.state.queue(&name(queue)).unwrap().counts();
    assert_eq!((counts("q").all(), counts("q").of(StateKind::Leased), counts("other").all()), (1, 1, 65_600));
    check::check(&world.core.state);
}

#[test]
fn a_tick_is_bounded_and_the_rest_follows() {
    let mut world = World { checks: false, ..World::new() };
    world.submit(vec![Group { start: Start::After(secs(1)), ..group("q", 5_000) }]);
    world.wait(secs(1));
    let ready = |world: &World| world.core.state.queue(&name("q")).unwrap().counts().of(StateKind::Ready);
    assert_eq!(ready(&world), 4096);
    assert!(world.core.state.next_due() <= Some(world.now), "there is more to do at once");
    world.wait(secs(0));
    assert_eq!((ready(&world), world.core.state.next_due()), (5_000, None));
    assert_eq!(world.core.state.entries(), 1);
}

#[test]
fn only_a_job_that_came_to_an_end_of_its_own_has_an_exit() {
    let mut world = World::new();
    world.settings().keep_done = Keep::Forever;
    world.settings().keep_dead = Keep::Forever;
    world.submit(vec![group("q", 4)]);
    let leases = world.claim("q", 4);
    let fail = |then| Verdict::Fail { error: "no".into(), exit: Some(Exit::Status(3)), then };
    world.settle(&leases[..1], fail(Then::Bury));
    world.settle(&leases[1..3], fail(Then::RetryAfter(secs(0))));
    world.wait(secs(1));
    world.claim("q", 2);
    world.edit(Edit::Bury, &[2]);
    world.edit(Edit::Cancel, &[3]);
    world.settle(&leases[3..], Verdict::Complete);
    let exits = [1, 2, 3, 4].map(|id| world.job(id).exit());
    assert_eq!(exits, [Some(Exit::Status(3)), None, None, Some(Exit::Status(0))]);
}

/// Dead jobs are bounded by their number where somebody says so.
#[test]
fn of_dead_jobs_the_first_give_way() {
    let mut world = World::new();
    (world.settings().attempts, world.settings().keep_dead_max) = (1, Some(3));
    world.submit(vec![group("q", 6)]);
    for _ in 0..5 {
        let leases = world.claim("q", 1);
        world.fail(&leases, "no");
    }
    let dead: Vec<u64> = (1..=6).filter(|id| world.kind(*id) == Some(StateKind::Dead)).collect();
    assert_eq!(dead, [3, 4, 5]);
    world.edit(Edit::Bury, &[6]);
    assert_eq!((world.kind(3), world.kind(6)), (None, Some(StateKind::Dead)));
}
