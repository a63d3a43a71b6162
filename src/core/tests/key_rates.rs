//! A rate for each key: how much of it is used is known of each key, over restarts, and no longer than it counts.

use super::limits::{ids, keyed};
use super::world::{World, group, name, secs};
use crate::core::*;
use std::time::Duration;

fn rate(count: u32, seconds: u64, burst: u32) -> Option<Rate> {
    Rate::new(count, secs(seconds), Some(burst))
}

fn many(keys: std::ops::Range<u64>, each: u64) -> Vec<Group> {
    let spec = |n: u64| {
        let mut key = [1; 16];
        key[8..].copy_from_slice(&n.to_be_bytes());
        Spec::plain(name("q")).with_key(Some(Key::new(key)))
    };
    keys.map(|n| Group { spec: spec(n).into(), ..group("q", each) }).collect()
}

fn after(world: &mut World, millis: u64) {
    world.now = world.now.plus(Duration::from_millis(millis));
}

fn remembered(world: &World) -> usize {
    world.core.state.keys_remembered(&name("q"))
}

#[test]
fn each_key_has_its_own_rate_and_jobs_without_a_key_have_none() {
    let mut world = World::new();
    world.settings().per_key_rate = rate(30, 60, 2);
    world.submit(keyed(&[1, 1, 1, 2, 1, 2, 2]));
    world.submit(vec![group("q", 3)]);
    // A burst counts within a claim as well.
    assert_eq!(ids(&world.claim("q", 99)), [1, 2, 4, 6, 8, 9, 10]);
    let until = world.now.plus(Duration::from_millis(1_990));
    let by = Limit::PerKeyRate { rate: rate(30, 60, 2).unwrap(), until };
    let limited = Reason::Limited { queue: name("q"), by };
    let explain = |world: &mut World, id| world.core.explain(JobId(id), world.now).unwrap();
    assert_eq!(explain(&mut world, 3), std::slice::from_ref(&limited));
    assert_eq!(explain(&mut world, 5), [limited, Reason::BehindInKey { jobs: 1 }]);
    assert!(!world.core.gives(&name("q"), world.now));
    assert_eq!(world.core.state.queue(&name("q")).unwrap().opens(world.now), Some(until));
    after(&mut world, 1_989);
    assert_eq!(ids(&world.claim("q", 99)), [0u64; 0]);
    after(&mut world, 1);
    assert_eq!(explain(&mut world, 3), [Reason::Next(name("q"))]);
    assert_eq!(explain(&mut world, 7), [Reason::Behind { jobs: 1, at_least: true }]);
    assert_eq!(ids(&world.claim("q", 99)), [3, 7]);
    after(&mut world, 60_000);
    world.submit(keyed(&[1, 1, 1, 1]));
    assert_eq!(ids(&world.claim("q", 99)), [5, 11], "an idle time saves no more than a burst");
}

/// What goes back gets nothing back: the lease was given.
#[test]
fn a_job_that_comes_back_waits_for_the_rate_of_its_key_and_for_its_other_limits() {
    let mut world = World::new();
    (world.settings().per_key_rate, world.settings().per_key) = (rate(1, 10, 1), Some(1));
    world.submit(keyed(&[1, 1]));
    let lease = world.claim("q", 9);
    let limits = |world: &mut World, id| world.core.explain(JobId(id), world.now).unwrap().len();
    assert_eq!((ids(&lease), limits(&mut world, 2)), (vec![1], 2), "both are named");
    world.settle(&lease, Verdict::Release { delay: Duration::ZERO });
    assert_eq!((ids(&world.claim("q", 9)), limits(&mut world, 1)), (vec![], 1));
    after(&mut world, 9_990);
    let lease = world.claim("q", 9);
    assert_eq!(ids(&lease), [1]);
    after(&mut world, 10_000);
    assert_eq!(ids(&world.claim("q", 9)), [0u64; 0], "it runs, whatever the rate says");
    world.settle(&lease, Verdict::Complete);
    assert_eq!(ids(&world.claim("q", 9)), [2]);
}

#[test]
fn a_rate_of_keys_holds_over_a_restart() {
    let mut world = World::new();
    world.settings().per_key_rate = rate(1, 60, 1);
    world.submit(many(0..600, 2));
    assert_eq!(world.claim("q", 600).len(), 600);
    let pages: Vec<_> =
        world.core.state.rows().into_iter().filter(|row| matches!(row, Row::Keys(_))).collect();
    assert!(pages.iter().all(|row| matches!(row, Row::Keys(row) if row.keys.len() <= 256)));
    assert_eq!(pages.len(), 3, "rows are of many keys, and bounded");
    for state in world.restarts() {
        world.core.state = state;
        after(&mut world, 10);
        assert_eq!(world.claim("q", 9).len(), 0);
    }
    world.wait(secs(60));
    assert_eq!(world.claim("q", 9).len(), 9);
}

/// Other settings hold from the next claim on, and what another rate has used does not count.
#[test]
fn another_rate_of_keys_begins_anew() {
    let mut world = World::new();
    world.settings().per_key_rate = rate(1, 86_400, 1);
    world.submit(many(0..3, 9));
    assert_eq!(world.claim("q", 9).len(), 3);
    world.settings().per_key_rate = rate(1, 1, 2);
    assert!(world.core.gives(&name("q"), world.now));
    assert_eq!((world.claim("q", 4).len(), world.claim("q", 9).len()), (4, 2));
    world.settings().per_key_rate = rate(1, 86_400, 1);
    assert_eq!(world.claim("q", 2).len(), 2);
    world.settings().per_key_rate = None;
    assert_eq!(world.claim("q", 1).len(), 1, "none is in force");
    world.settings().per_key_rate = rate(1, 86_400, 1);
    assert_eq!(
        (world.claim("q", 9).len(), world.claim("q", 9).len()),
        (1, 0),
        "of those that came back to it"
    );
}

/// As many keys at their limit as there may be: they are not looked at, and each is found when its time comes.
#[test]
fn keys_whose_rate_is_used_up_are_not_looked_at() {
    let mut world = World::new();
    (world.settings().per_key_rate, world.checks) = (rate(1, 60, 1), false);
    world.submit(many(0..20_000, 2));
    assert_eq!(world.claim("q", 10_000).len(), 10_000);
    after(&mut world, 1_000);
    assert_eq!(world.claim("q", 20_000).len(), 10_000);
    assert_eq!(world.claim("q", 1).len(), 0, "all keys are at their limit");
    world.submit(many(20_000..20_001, 1));
    assert_eq!(ids(&world.claim("q", 1)), [40_001]);
    check::check(&world.core.state);
    after(&mut world, 58_990);
    assert_eq!(world.claim("q", 20_000).len(), 10_000, "those of the first claim");
    after(&mut world, 1_000);
    assert_eq!(world.claim("q", 20_000).len(), 10_000);
    check::check(&world.core.state);
}

/// A rate that is whole again says nothing: nothing is kept of it.
#[test]
fn what_does_not_count_any_more_is_forgotten() {
    let mut world = World::new();
    world.checks = false;
    world.settings().per_key_rate = rate(1, 15, 1);
    world.submit(many(0..1_000, 1));
    let leases = world.claim("q", 1_000);
    world.settle(&leases, Verdict::Complete);
    assert_eq!(remembered(&world), 1_000);
    let tick_all = |world: &mut World| {
        while world.core.state.next_due().is_some_and(|due| due <= world.now) {
            world.wait(Duration::ZERO);
        }
    };
    world.wait(secs(10));
    tick_all(&mut world);
    assert_eq!(remembered(&world), 1_000, "they count until the rate is whole");
    world.wait(secs(10));
    tick_all(&mut world);
    assert_eq!(remembered(&world), 0);
    assert!(world.core.state.rows().iter().all(|row| matches!(row, Row::Queue(_))));
    assert_eq!(world.core.state.next_due(), None, "nothing wakes for it");
    check::check(&world.core.state);

    // A few that go on do not keep all those that came with them.
    world.submit(many(0..256, 1));
    let leases = world.claim("q", 1_000);
    world.settle(&leases, Verdict::Complete);
    for _ in 0..4 {
        world.wait(secs(15));
        world.submit(many(0..40, 1));
        let leases = world.claim("q", 1_000);
        assert_eq!(leases.len(), 40);
        world.settle(&leases, Verdict::Complete);
        tick_all(&mut world);
        check::check(&world.core.state);
    }
    assert_eq!(remembered(&world), 40);
    assert_eq!(world.claim("q", 9).len(), 0);
}

/// A queue that is forgotten takes what is known of its keys along.
#[test]
fn a_queue_that_is_forgotten_leaves_no_keys() {
    let mut world = World::new();
    world.settings().per_key_rate = rate(1, 60, 1);
    world.submit(many(0..300, 1));
    let leases = world.claim("q", 300);
    world.settle(&leases, Verdict::Complete);
    world.run(Command::ForgetQueue { queue: name("q") }).unwrap();
    assert_eq!((world.core.state.rows(), world.core.state.next_due()), (vec![], None));
    let gone = world.fresh().iter().filter_map(Event::changed_row).count();
    assert_eq!(gone, 3, "two pages, and the queue");
}

/// A look whose page is not there any more ends, and wakes nobody again and again.
#[test]
fn a_look_at_a_page_that_is_gone_is_the_last_one() {
    let mut world = World::new();
    (world.settings().per_key_rate, world.checks) = (rate(1, 60, 1), false);
    world.submit(many(0..3, 1));
    let leases = world.claim("q", 3);
    world.settle(&leases, Verdict::Complete);
    // As an older program may have left it: without what is remembered of its keys before.
    world.core.state.apply(&RowEvent::QueueForgotten { queue: name("q") }.into());
    assert!(world.core.state.next_due().is_some());
    world.wait(secs(20));
    assert_eq!(world.core.state.next_due(), None);
}

/// Few keys in many pages would be as many rows.
#[test]
fn pages_of_few_keys_become_one() {
    let mut world = World::new();
    world.settings().per_key_rate = rate(1, 86_400, 1);
    let pages =
        |world: &World| world.core.state.rows().iter().filter(|row| matches!(row, Row::Keys(_))).count();
    // Each time there is room for some of them only.
    for n in 0..4 {
        world.submit(many(n * 230..n * 230 + 230, 1));
        let leases = world.claim("q", 1_000);
        world.settle(&leases, Verdict::Complete);
    }
    let before = pages(&world);
    let now = world.now.0;
    let keys = |n: u32, rate| {
        let used = RateUsed(now * 1_000_000 + 86_400_000_000_000);
        let served = |n| ServedKey { key: Key::new([n as u8; 16]), used, turn: Turn::default() };
        let page = u64::from(n);
        RowEvent::KeysServed { queue: name("q"), page, rate, keys: (n..n + 3).map(served).collect() }
    };
    let rate = world.settings().per_key_rate;
    let small: Vec<Event> = [7, 17, 27].map(|n| keys(n, rate).into()).into();
    for event in small {
        world.core.state.apply(&event);
    }
    assert_eq!(pages(&world), before + 3);
    for _ in 0..20 {
        world.wait(secs(1_000));
    }
    assert_eq!((pages(&world), remembered(&world)), (before, 929));
    check::check(&world.core.state);
}
