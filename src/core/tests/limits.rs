//! Limits of queues: how many at a time, how fast; and that `explain` is no second opinion.

use super::world::{Unheard, World, group, name, secs};
use crate::core::*;
use std::time::Duration;

fn rate(count: u32, seconds: u64, burst: u32) -> Option<Rate> {
    Rate::new(count, secs(seconds), Some(burst))
}

/// A ready job that `explain` says nothing against is what the next claim gets, and if it says something against each,
/// the claim gets nothing.
pub(super) fn explain_is_held_to(core: &mut Core, now: Time) {
    let queues: Vec<_> = core.state.queues().map(|(name, _)| name.clone()).collect();
    for queue in &queues {
        let claim = Claim {
            queues: vec![queue.clone()],
            max: 1,
            lease: None,
            holder: Holder::Anyone,
            worker: None,
            order: ClaimOrder::AsNamed,
        };
        let moment = Moment { now, random: 0 };
        let claimed = core.clone().decide(&Command::Claim(claim), Visibility::ALL, moment, &mut Unheard);
        let got: Vec<JobId> = match claimed {
            Ok(Outcome::Claimed(grants)) => grants.iter().map(|grant| grant.id).collect(),
            _ => Vec::new(),
        };
        let all = core.state.runs(IdRange::new(JobId(0), u64::MAX));
        let all = all.iter().filter(|(_, job)| job.spec.queue == *queue).flat_map(|(range, _)| range.iter());
        let next = [Reason::Next(queue.clone())];
        let free = all.filter(|id| core.explain(*id, now).as_deref() == Some(&next));
        assert_eq!(got, free.collect::<Vec<_>>(), "of queue {queue}");
        assert_eq!(core.gives(queue, now), !got.is_empty(), "queue {queue} gives");
    }
}

#[test]
fn no_more_are_leased_at_a_time_than_may_be() {
    let mut world = World::new();
    world.settings().concurrency = Some(3);
    world.submit(vec![group("q", 10)]);
    let mut leases = world.claim("q", 2);
    leases.extend(world.claim("q", 9));
    assert_eq!((leases.len(), world.claim("q", 9).len()), (3, 0));
    let limited = Reason::Limited { queue: name("q"), by: Limit::Concurrency { leased: 3, limit: 3 } };
    assert_eq!(world.core.explain(JobId(4), world.now), Some(vec![limited, Reason::Next(name("q"))]));

    // However a lease ends, its place is free: nothing is counted that could be forgotten.
    world.settle(&leases[..1], Verdict::Complete);
    assert_eq!(world.claim("q", 9).len(), 1);
    world.fail(&leases[1..2], "no");
    assert_eq!(world.claim("q", 9).len(), 1);
    world.run(Command::Vanish { session: 7 }).unwrap();
    assert_eq!(world.claim("q", 9).len(), 3);
    world.wait(secs(60));
    assert_eq!(world.claim("q", 9).len(), 3, "their leases are over");
    world.run(Command::Recover { resume_by: world.now }).unwrap();
    assert_eq!(world.claim("q", 1).len(), 1);
    let running = (1..=10).find(|id| world.kind(*id) == Some(StateKind::Leased)).unwrap();
    world.edit(Edit::Bury, &[running]);
    assert_eq!(world.claim("q", 9).len(), 3);
    // Fewer than run: none of them is stopped.
    world.settings().concurrency = Some(1);
    assert_eq!(world.claim("q", 9).len(), 0);
    world.settings().concurrency = None;
    assert!(!world.claim("q", 9).is_empty());
}

#[test]
fn leases_are_given_no_faster_than_the_rate() {
    let mut world = World::new();
    world.settings().rate = rate(10, 1, 2);
    world.submit(vec![group("q", 100), group("other", 5)]);
    assert_eq!((world.claim("q", 9).len(), world.claim("q", 9).len()), (2, 0));
    assert_eq!(world.claim("other", 1).len(), 1, "each queue has its own");
    let until = world.now.plus(Duration::from_millis(90));
    let by = Limit::Rate { rate: rate(10, 1, 2).unwrap(), until };
    let limited = Reason::Limited { queue: name("q"), by };
    assert_eq!(world.core.explain(JobId(3), world.now), Some(vec![limited, Reason::Next(name("q"))]));
    let mut given = 0;
    for _ in 0..50 {
        world.now = world.now.plus(Duration::from_millis(30));
        given += world.claim("q", 9).len();
    }
    assert_eq!(given, 15, "ten a second for a second and a half, however late each claim is");
    world.now = world.now.plus(secs(60));
    assert_eq!(world.claim("q", 9).len(), 2, "what was not used is not saved");
}

/// What a slow rate has used kept a fast one from giving anything out.
#[test]
fn another_rate_holds_at_once() {
    let mut world = World::new();
    world.settings().rate = rate(1, 86_400, 1);
    world.submit(vec![group("q", 100)]);
    assert_eq!(world.claim("q", 9).len(), 1);
    world.settings().rate = rate(100, 1, 1);
    world.now = world.now.plus(Duration::from_millis(10));
    assert_eq!(world.claim("q", 9).len(), 1);
}

/// What was used of a rate is in the events and in the row of the queue: a restart gives no second burst.
#[test]
fn a_rate_holds_over_a_restart() {
    let mut world = World::new();
    world.settings().rate = rate(1, 60, 1);
    world.submit(vec![group("q", 3)]);
    assert_eq!(world.claim("q", 9).len(), 1);
    for state in world.restarts() {
        world.core.state = state;
        assert_eq!(world.claim("q", 9).len(), 0);
    }
    world.now = world.now.plus(secs(60));
    assert_eq!(world.claim("q", 9).len(), 1);
}

#[test]
fn a_claim_goes_on_to_the_next_queue() {
    let mut world = World::new();
    world.submit(vec![group("slow", 5), group("q", 5)]);
    let slow = QueueSettings { concurrency: Some(1), ..world.core.settings.default.clone() };
    world.core.settings.queues.insert(name("slow"), slow);
    let queues = vec![name("slow"), name("q")];
    let claim = Claim {
        queues,
        max: 4,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    let Ok(Outcome::Claimed(grants)) = world.run(Command::Claim(claim)) else { panic!("refused") };
    assert_eq!(grants.iter().map(|grant| grant.id.0).collect::<Vec<_>>(), [1, 6, 7, 8]);
}

/// Jobs for `q` with a key each, by their numbers.
pub(super) fn keyed(keys: &[u8]) -> Vec<Group> {
    let spec = |key: u8| Spec::plain(name("q")).with_key(Some(Key::new([key; 16])));
    keys.iter().map(|key| Group { spec: spec(*key).into(), ..group("q", 1) }).collect()
}

pub(super) fn ids(leases: &[LeaseId]) -> Vec<u64> {
    leases.iter().map(|lease| lease.id.0).collect()
}

#[test]
fn of_each_key_only_so_many_run_and_they_go_in_order() {
    let mut world = World::new();
    world.settings().per_key = Some(1);
    world.submit(keyed(&[1, 1, 2, 1, 2]));
    world.submit(vec![group("q", 1)]);
    let leases = world.claim("q", 9);
    assert_eq!(ids(&leases), [1, 3, 6], "the first of each key, and who has none");
    let limited = Reason::Limited { queue: name("q"), by: Limit::PerKey { leased: 1, limit: 1 } };
    assert_eq!(world.core.explain(JobId(2), world.now), Some(vec![limited.clone()]));
    let behind = Reason::BehindInKey { jobs: 1 };
    assert_eq!(world.core.explain(JobId(4), world.now), Some(vec![limited, behind]));
    assert!(!world.core.gives(&name("q"), world.now));

    // A failed one comes back before those behind it, once its time has come; until then they go on.
    world.fail(&leases[..1], "no");
    let second = world.claim("q", 9);
    assert_eq!(ids(&second), [2]);
    world.wait(secs(1));
    assert_eq!(ids(&world.claim("q", 9)), [0u64; 0]);
    world.settle(&second, Verdict::Complete);
    assert_eq!(ids(&world.claim("q", 9)), [1]);
    // Whoever had it is gone: the same one is next.
    world.run(Command::Vanish { session: 7 }).unwrap();
    let mut again = ids(&world.claim("q", 9));
    again.sort_unstable();
    assert_eq!(again, [1, 3, 6]);
}

#[test]
fn a_priority_goes_before_the_order_of_arrival_within_a_key_and_among_them() {
    let mut world = World::new();
    world.settings().per_key = Some(1);
    let mut urgent = keyed(&[1, 2]);
    for group in &mut urgent {
        std::sync::Arc::make_mut(&mut group.spec).options_mut().priority = Priority(0);
    }
    world.submit([keyed(&[1, 3]), urgent].concat());
    assert_eq!(ids(&world.claim("q", 2)), [3, 4]);
    assert_eq!(ids(&world.claim("q", 9)), [2], "key 1 runs, key 3 waits with the usual priority");
}

#[test]
fn without_a_limit_keys_change_nothing() {
    let mut world = World::new();
    world.submit(keyed(&[1, 1, 2]));
    world.submit(vec![group("q", 2)]);
    world.submit(keyed(&[1]));
    assert_eq!(ids(&world.claim("q", 9)), [1, 2, 3, 4, 5, 6]);
    world.settings().per_key = Some(2);
    world.submit(keyed(&[1, 2]));
    assert_eq!(ids(&world.claim("q", 9)), [8], "three of key 1 run already, one of key 2");
}

#[test]
fn a_claim_of_many_gives_what_claims_of_one_do() {
    for (per_key, expected) in [
        (None, &[1, 2, 3, 4, 5, 6, 7, 8][..]),
        (Some(1), &[1, 3, 5]),
        (Some(2), &[1, 2, 3, 5, 6]),
        (Some(3), &[1, 2, 3, 4, 5, 6, 7]),
    ] {
        let world = || {
            let mut world = World::new();
            world.settings().per_key = per_key;
            world.submit(keyed(&[1, 1, 2, 1, 3, 2, 2, 1]));
            world
        };
        let (mut many, mut single) = (world(), world());
        let one_by_one: Vec<u64> = (0..9).flat_map(|_| ids(&single.claim("q", 1))).collect();
        assert_eq!((ids(&many.claim("q", 9)), &*one_by_one), (expected.to_vec(), expected), "{per_key:?}");
    }
}

/// As many blocked keys as there may be: finding one that may go costs the same.
#[test]
fn blocked_keys_are_not_looked_at() {
    let mut world = World::new();
    (world.settings().per_key, world.checks) = (Some(1), false);
    let spec = |n: u64| {
        let mut key = [0; 16];
        key[8..].copy_from_slice(&n.to_be_bytes());
        Spec::plain(name("q")).with_key(Some(Key::new(key)))
    };
    let pairs = (0..20_000).map(|n| Group { spec: spec(n).into(), ..group("q", 2) });
    world.submit(pairs.collect());
    assert_eq!(world.claim("q", 20_000).len(), 20_000);
    assert_eq!(world.claim("q", 1).len(), 0, "all keys are at their limit");
    world.submit(vec![Group { spec: spec(20_000).into(), ..group("q", 1) }]);
    assert_eq!(ids(&world.claim("q", 1)), [40_001]);
    check::check(&world.core.state);
}

/// A claim that names several queues shares its leases out by their weights, whoever else claims.
#[test]
fn queues_have_shares_of_a_claim_by_their_weights() {
    let mut world = World::new();
    world.checks = false;
    world.submit(vec![group("a", 5_000), group("b", 5_000), group("c", 5_000)]);
    let of = |weight| QueueSettings { weight, ..QueueSettings::default() };
    let queues = [(name("a"), of(Some(5))), (name("b"), of(Some(3)))];
    world.core.configure(Settings { queues: queues.into_iter().collect(), ..Settings::default() });
    let mut counts = [0i64; 3];
    for _ in 0..900 {
        let queues = ["c", "b", "a"].map(name).to_vec();
        let claim = Claim {
            queues,
            max: 2,
            lease: None,
            holder: Holder::Anyone,
            worker: None,
            order: ClaimOrder::AsNamed,
        };
        let Ok(Outcome::Claimed(grants)) = world.run(Command::Claim(claim)) else { panic!("refused") };
        assert_eq!(grants.len(), 2);
        for grant in &grants {
            counts[["a", "b", "c"].iter().position(|it| *it == grant.spec.queue.as_str()).unwrap()] += 1;
        }
        // Somebody else has an eye on one of them only.
        world.claim("a", 1);
    }
    for (count, share) in counts.iter().zip([1_000, 600, 200]) {
        assert!((count - share).abs() < 30, "{counts:?}: `c` has no weight of its own, and counts as 1");
    }
    // What has nothing leaves its share to the others; a limit is one as ever.
    world.core.settings.queues.get_mut(&name("a")).unwrap().concurrency = Some(0);
    let claim = Claim {
        queues: ["a", "nothing", "c"].map(name).to_vec(),
        max: 50,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    let Ok(Outcome::Claimed(grants)) = world.run(Command::Claim(claim)) else { panic!("refused") };
    assert!(grants.len() == 50 && grants.iter().all(|grant| grant.spec.queue == name("c")));
}
