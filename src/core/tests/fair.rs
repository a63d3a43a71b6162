//! Turns between the keys of a queue: whoever was served longest ago is next, and nobody new goes before those that wait.

use super::limits::{ids, keyed};
use super::world::{World, group, name, secs};
use crate::core::*;

fn fair() -> World {
    let mut world = World::new();
    world.settings().fair = true;
    world
}

/// The keys of the jobs that a claim gets, by their numbers; 0 for none.
fn keys(world: &mut World, max: u32) -> Vec<u8> {
    let claim = Claim {
        queues: vec![name("q")],
        max,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    let Ok(Outcome::Claimed(grants)) = world.run(Command::Claim(claim)) else { panic!("refused") };
    grants.iter().map(|grant| grant.spec.key.map_or(0, |key| key.hash()[0])).collect()
}

#[test]
fn keys_take_turns_and_jobs_without_one_are_one_of_them() {
    for at_once in [1, 3, 50] {
        let mut world = fair();
        world.submit(keyed(&[1, 1, 1, 1, 1, 2, 2, 2, 3]));
        world.submit(vec![group("q", 2)]);
        let mut order = Vec::new();
        while order.len() < 11 {
            order.extend(ids(&world.claim("q", at_once)));
        }
        assert_eq!(order, [1, 6, 9, 10, 2, 7, 11, 3, 8, 4, 5], "{at_once} at once");
    }
    let mut world = World::new();
    world.submit(keyed(&[1, 1, 2]));
    assert_eq!(keys(&mut world, 1), [1]);
    world.settings().fair = true;
    assert_eq!(keys(&mut world, 1), [1], "nothing was remembered");
    world.submit(keyed(&[1]));
    assert_eq!(keys(&mut world, 1), [2]);
}

#[test]
fn a_new_key_waits_for_one_job_of_each_other_and_starves_none() {
    let mut world = fair();
    world.submit([keyed(&[1; 40]), keyed(&[2; 40])].concat());
    assert_eq!(keys(&mut world, 3), [1, 2, 1]);
    world.submit(keyed(&[3]));
    assert_eq!(keys(&mut world, 4), [2, 1, 3, 2]);
    // It has come anew: what it had before does not count.
    world.submit(keyed(&[3, 3]));
    assert_eq!(keys(&mut world, 6), [1, 2, 3, 1, 2, 3]);

    let mut world = fair();
    world.submit(keyed(&[1; 40]));
    let mut old = 0;
    for new in 2..102 {
        world.submit(keyed(&[new]));
        old += keys(&mut world, 1).iter().filter(|key| **key == 1).count();
    }
    assert!(old >= 10, "the old key had {old} turns of 100, and there was always a new one");
}

#[test]
fn turns_are_within_a_priority_and_within_what_keys_may() {
    let mut world = fair();
    world.settings().per_key = Some(1);
    let mut urgent = keyed(&[1]);
    std::sync::Arc::make_mut(&mut urgent[0].spec).options_mut().priority = Priority(0);
    world.submit([keyed(&[1, 2, 2, 3]), urgent].concat());
    assert_eq!(ids(&world.claim("q", 9)), [5, 2, 4], "one of each key, and what is urgent first");
    let limited = Reason::Limited { queue: name("q"), by: Limit::PerKey { leased: 1, limit: 1 } };
    assert_eq!(world.core.explain(JobId(1), world.now), Some(vec![limited]));
}

/// It is the turn of a key, whether its first job has come back or not: one that fails all the time gets no more than the others.
#[test]
fn retries_have_no_turns_of_their_own() {
    for retries in [Retries::Alternate, Retries::Behind, Retries::Place] {
        let mut world = fair();
        world.settings().retries = retries;
        world.submit([keyed(&[1]), keyed(&[2; 20]), keyed(&[3; 20])].concat());
        let mut order = Vec::new();
        for _ in 0..9 {
            let lease = world.claim("q", 1);
            order.push(world.job(lease[0].id.0).spec.key.unwrap().hash()[0]);
            let verdict = match order.last() {
                Some(1) => Verdict::Later { error: "not now".into(), wait: None },
                _ => Verdict::Complete,
            };
            world.settle(&lease, verdict);
            world.edit(Edit::Kick, &[1]);
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 3, 1, 2, 3], "{retries:?}");
    }
    // Among those without a key they do.
    let mut world = fair();
    world.settings().retries = Retries::Behind;
    world.submit([keyed(&[1; 9]), vec![group("q", 3)]].concat());
    let mut claimed = ids(&world.claim("q", 2));
    assert_eq!(claimed, [1, 10]);
    world.run(Command::Vanish { session: 7 }).unwrap();
    while claimed.len() < 10 {
        claimed.extend(ids(&world.claim("q", 1)));
    }
    assert_eq!(claimed[2..], [1, 11, 2, 12, 3, 10, 4, 5]);
}

/// Whichever of them goes first, their turn is that of the oldest.
#[test]
fn jobs_without_a_key_lose_no_turn_to_their_own_order() {
    let mut world = fair();
    let later = |group: Group| Group { start: Start::After(secs(1)), ..group };
    world.submit([vec![group("q", 1)], keyed(&[1])].concat().into_iter().map(later).collect());
    world.submit(vec![group("q", 1)]);
    assert_eq!(ids(&world.claim("q", 1)), [3]);
    world.run(Command::Vanish { session: 7 }).unwrap();
    world.wait(secs(1));
    // What has come back is next of them, and the first was there before the key.
    assert_eq!(ids(&world.claim("q", 3)), [3, 2, 1]);
}

#[test]
fn explain_counts_the_keys_whose_turn_is_before() {
    let mut world = fair();
    world.submit(keyed(&[1, 1, 2, 2, 3]));
    world.submit(vec![group("q", 2)]);
    let explain = |world: &mut World, id| world.core.explain(JobId(id), world.now).unwrap();
    let behind = |jobs| [Reason::Behind { jobs, at_least: true }];
    assert_eq!(explain(&mut world, 5), behind(2));
    assert_eq!((explain(&mut world, 6), explain(&mut world, 7)), (behind(3).into(), behind(4).into()));
    assert_eq!(keys(&mut world, 2), [1, 2]);
    assert_eq!(explain(&mut world, 5), [Reason::Next(name("q"))]);
    assert_eq!(explain(&mut world, 2), behind(2));
    assert_eq!(explain(&mut world, 4), behind(3));
}

/// Whose turn it is is in events and rows.
#[test]
fn turns_hold_over_a_restart() {
    let mut world = fair();
    world.submit([keyed(&[1; 9]), keyed(&[2; 9]), keyed(&[3; 9])].concat());
    world.submit(vec![group("q", 9)]);
    assert_eq!(keys(&mut world, 6), [1, 2, 3, 0, 1, 2]);
    for state in world.restarts() {
        world.core.state = state;
        assert_eq!(keys(&mut world, 4), [3, 0, 1, 2]);
    }
}

/// Turns are remembered as long as they count, and not for ever.
#[test]
fn the_turn_of_a_key_without_jobs_is_forgotten() {
    let mut world = fair();
    world.submit(keyed(&[1, 2, 3, 1]));
    let leases = world.claim("q", 3);
    world.settle(&leases, Verdict::Complete);
    let remembered = |world: &World| world.core.state.keys_remembered(&name("q"));
    world.wait(secs(11));
    assert_eq!(remembered(&world), 3, "one of three counts");
    let leases = world.claim("q", 3);
    world.settle(&leases, Verdict::Complete);
    for _ in 0..3 {
        world.wait(secs(30));
    }
    assert_eq!((remembered(&world), world.core.state.next_due()), (0, None));
}
