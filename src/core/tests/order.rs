//! Who comes in and who is next: memory by the run, priority and order of arrival, limits, reasons.

use super::world::{World, group, name, secs};
use crate::core::*;
use std::sync::Arc;
use std::time::Duration;

fn ids(leases: &[LeaseId]) -> Vec<u64> {
    leases.iter().map(|lease| lease.id.0).collect()
}

fn urgent(queue: &str, priority: u32) -> Group {
    let spec = SpecOptions { priority: Priority(priority), ..SpecOptions::plain(name(queue)) };
    Group { spec: spec.into(), ..group(queue, 1) }
}

#[test]
fn ten_million_jobs_that_are_alike_are_one_entry_whatever_their_state() {
    let mut world = World { checks: false, ..World::new() };
    world.submit(vec![group("q", 4_000_000)]);
    world.submit(vec![group("q", 6_000_000)]);
    assert_eq!(world.core.state.entries(), 1);
    assert_eq!(ids(&world.claim("q", 3)), [1, 2, 3]);
    assert_eq!(world.core.state.entries(), 2, "those that are leased, and the others");
    assert_eq!(
        world.core.state.ahead_of(JobId(10_000_000), KeyRules::default()).map(|ahead| ahead.jobs),
        Some(9_999_996)
    );
}

#[test]
fn jobs_that_stay_alike_stay_one_entry_all_their_life() {
    let mut world = World::new();
    world.settings().keep_done = Keep::Forever;
    let ttl = Some(secs(100));
    world.submit(vec![Group { start: Start::After(secs(9)), ttl, ..group("q", 1_000) }]);
    let one = |world: &World, of| {
        let queue = world.core.state.queue(&name("q")).unwrap();
        assert_eq!((world.core.state.entries(), queue.counts().of(of)), (1, 1_000), "{of}");
    };
    one(&world, StateKind::Scheduled);
    world.wait(secs(9));
    one(&world, StateKind::Ready);
    let leases = world.claim("q", 1_000);
    one(&world, StateKind::Leased);
    world.run(Command::Vanish { session: 8 }).unwrap();
    world.settle(&leases, Verdict::Complete);
    one(&world, StateKind::Done);
}

#[test]
fn plain_neighbours_are_one_entry_in_whatever_order_they_came() {
    let mut world = World::new();
    world.submit(vec![Group { start: Start::After(secs(9)), ..group("q", 3) }]);
    for id in [1, 3, 2] {
        world.edit(Edit::Kick, &[id]);
    }
    assert_eq!(world.core.state.entries(), 1);
}

#[test]
fn a_lower_priority_number_goes_first_and_then_who_came_first() {
    let mut world = World::new();
    world.submit(vec![urgent("q", 5), urgent("q", 0), urgent("q", 9), urgent("q", 0), urgent("q", 5)]);
    assert_eq!(ids(&world.claim("q", 4)), [2, 4, 1, 5]);
    assert_eq!(ids(&world.claim("q", 4)), [3]);
}

/// Who is told of changes, and of which.
#[derive(Default)]
struct Told(Vec<(Option<StateKind>, IdRange)>);

impl Observer for Told {
    fn changed(&mut self, change: &Change<'_>) {
        self.0.push((change.from, change.jobs));
    }

    fn queue_changed(&mut self, _: &QueueName, _: QueueChange) {}
}

impl Recorder for Told {
    fn record(&mut self, _: Event) {}
}

#[test]
fn what_happens_to_jobs_that_differ_in_their_keys_only_happens_at_once() {
    let (mut core, mut told) = (Core::default(), Told::default());
    core.settings.default.per_key = Some(1);
    let options = Arc::new(SpecOptions::plain(name("q")));
    let job = |n: u8| {
        let key = Some(Key::new([n; 16]));
        Group::new(Spec { options: options.clone(), key, unique: key }, 1)
    };
    let groups = (1..=50).map(job).collect();
    let mut run = |command| {
        core.decide(&command, Visibility::ALL, Moment::default(), &mut told).expect("it is allowed")
    };
    run(Command::Submit { groups });
    let (queues, order) = (vec![name("q")], ClaimOrder::AsNamed);
    let claim = Claim { queues, max: 50, lease: None, holder: Holder::Session(1), worker: None, order };
    let Outcome::Claimed(grants) = run(Command::Claim(claim)) else { panic!("a claim gets grants") };
    let complete = |grant: &Grant| (LeaseId { id: grant.id, attempt: grant.attempt }, Verdict::Complete);
    run(Command::Settle { items: grants.iter().map(complete).collect() });
    let all = IdRange::new(JobId(1), 50);
    assert_eq!(told.0, [(None, all), (Some(StateKind::Ready), all), (Some(StateKind::Leased), all)]);
}

#[test]
fn where_jobs_stand_that_come_back_is_a_choice() {
    // 1 to 5 were given out: 1 is to come later, 2 was interrupted, 3 is done, 4 has failed, 5 was released.
    let orders: [(Retries, [u64; 8]); 3] = [
        (Retries::Place, [1, 2, 4, 5, 6, 7, 8, 9]),
        (Retries::Behind, [5, 6, 7, 8, 9, 1, 2, 4]),
        (Retries::Alternate, [1, 5, 2, 6, 4, 7, 8, 9]),
    ];
    for (retries, order) in orders {
        // Without keys, and each with one of its own: these are chosen otherwise.
        for (at_once, keyed) in [(1, false), (2, false), (8, false), (1, true), (2, true), (8, true)] {
            let mut world = World::new();
            world.settings().retries = retries;
            let own = |n: u8, job: Group| {
                let key = keyed.then(|| Key::new([n; 16]));
                Group { spec: Arc::new((*job.spec).clone().with_key(key)), ..job }
            };
            let nine = (1..=9).map(|n| own(n, group("q", 1)));
            world.submit(nine.chain([own(10, urgent("q", 2_000))]).collect());
            let leases: Vec<LeaseId> = (0..5)
                .flat_map(|_| {
                    world.wait(Duration::from_millis(10));
                    world.claim("q", 1)
                })
                .collect();
            assert_eq!(world.settle(&leases[2..3], Verdict::Complete), [Ok(())]);
            world.fail(&leases[3..4], "no");
            assert_eq!(world.settle(&leases[4..], Verdict::Release { delay: Duration::ZERO }), [Ok(())]);
            assert_eq!(
                world.settle(&leases[..1], Verdict::Later { error: "not now".into(), wait: None }),
                [Ok(())]
            );
            world.run(Command::Vanish { session: 7 }).unwrap();
            world.wait(secs(1));
            let rules = KeyRules { retries, ..KeyRules::default() };
            for (ahead, id) in order.iter().enumerate() {
                let said = world.core.state.ahead_of(JobId(*id), rules).map(|ahead| ahead.jobs);
                assert_eq!(said, Some(ahead as u64), "job {id}, {retries:?}");
            }
            assert_eq!(world.core.state.ahead_of(JobId(10), rules).map(|ahead| ahead.jobs), Some(8));
            let mut claimed = Vec::new();
            while claimed.len() < 9 {
                claimed.extend(ids(&world.claim("q", at_once)));
            }
            assert_eq!(claimed, [&order[..], &[10]].concat(), "{retries:?}, {at_once} at once");
        }
    }
}

/// Among those that come back it is the same: the one that was tried longest ago goes first.
#[test]
fn jobs_that_come_back_do_not_starve_each_other() {
    let mut world = World::new();
    let settings = world.settings();
    settings.attempts = 1_000;
    (settings.backoff.growth, settings.backoff.base) = (Growth::Fixed, Duration::from_millis(1));
    world.submit(vec![group("q", 5)]);
    let mut tried = [0; 6];
    for _ in 0..50 {
        let lease = world.claim("q", 1);
        tried[lease[0].id.0 as usize] += 1;
        world.fail(&lease, "no");
        world.wait(Duration::from_millis(1));
    }
    assert!(tried[1..].iter().all(|times| (9..=12).contains(times)), "{tried:?}");
}

#[test]
fn the_first_queue_that_has_work_is_served_first() {
    let mut world = World::new();
    world.submit(vec![group("a", 2), group("b", 2)]);
    let queues = ["b", "none", "b", "a"].map(name).to_vec();
    let claim = Claim {
        queues,
        max: 3,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    let Ok(Outcome::Claimed(grants)) = world.run(Command::Claim(claim)) else { panic!() };
    assert_eq!(grants.iter().map(|grant| grant.id.0).collect::<Vec<_>>(), [3, 4, 1]);
}

#[test]
fn the_backlog_counts_what_waits_and_refuses_the_whole_submit() {
    let mut world = World::new();
    world.settings().backlog = 5;
    world.submit(vec![group("q", 2), Group { start: Start::After(secs(9)), ..group("q", 2) }]);
    let full = Rejection::QueueFull { queue: name("q"), bound: Bound::Jobs, len: 4, limit: 5, fits: true };
    let groups = vec![group("other", 1), group("q", 1), group("q", 1)];
    assert_eq!(world.run(Command::Submit { groups: groups.clone().into() }), Err(full));
    assert!(world.core.state.queue(&name("other")).is_none());
    assert_eq!(world.core.state.next_id(), JobId(5), "no id is lost by a refusal");
    world.claim("q", 1);
    assert_eq!(world.submit(groups), IdRange::new(JobId(5), 3), "leased jobs do not wait");
}

#[test]
fn of_several_full_queues_the_same_is_always_named() {
    for _ in 0..20 {
        let mut world = World::new();
        world.settings().backlog = 1;
        let groups = ["d", "b", "a", "c"].map(|queue| group(queue, 2)).to_vec();
        let full =
            Rejection::QueueFull { queue: name("a"), bound: Bound::Jobs, len: 0, limit: 1, fits: false };
        assert_eq!(world.run(Command::Submit { groups: groups.into() }), Err(full));
    }
}

#[test]
fn too_many_queues_are_refused_but_those_that_are_there_go_on() {
    let mut world = World::new();
    world.core.settings.queues_max = 2;
    world.submit(vec![group("a", 1)]);
    let refused = Err(Rejection::TooManyQueues { limit: 2 });
    let groups = vec![group("a", 1), group("b", 1), group("c", 1)];
    assert_eq!(world.run(Command::Submit { groups: groups.into() }), refused);
    world.submit(vec![group("b", 1), group("c", 0)]);
    // The limit was lowered since: no new ones, but no harm to the old ones.
    world.core.settings.queues_max = 1;
    world.submit(vec![group("a", 1), group("b", 1)]);
}

#[test]
fn a_submit_of_nothing_is_refused() {
    let mut world = World::new();
    for groups in [vec![], vec![group("q", 0)]] {
        assert_eq!(world.run(Command::Submit { groups: groups.into() }), Err(Rejection::NothingToSubmit));
    }
}

#[test]
fn draining_gives_nothing_out_and_takes_nothing_unless_told() {
    let mut world = World::new();
    world.submit(vec![group("q", 1)]);
    world.core.draining = true;
    let submit = Command::Submit { groups: vec![group("q", 1)].into() };
    let claim = Claim {
        queues: vec![name("q")],
        max: 1,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    assert_eq!(world.run(submit.clone()), Err(Rejection::Draining));
    assert_eq!(world.run(Command::Claim(claim.clone())), Err(Rejection::Draining));
    world.core.accept_while_draining = true;
    assert!(world.run(submit).is_ok());
    assert_eq!(world.run(Command::Claim(claim)), Err(Rejection::Draining));
}

#[test]
fn reasons_come_in_the_order_in_which_to_mend_them() {
    let mut world = World::new();
    world.submit(vec![group("q", 2), Group { start: Start::After(secs(9)), ..group("q", 1) }]);
    let reasons = |world: &mut World, id| world.core.explain(JobId(id), world.now).unwrap();
    assert_eq!(world.core.explain(JobId(9), world.now), None);
    assert_eq!(reasons(&mut world, 1), [Reason::Next(name("q"))]);
    assert_eq!(reasons(&mut world, 2), [Reason::Behind { jobs: 1, at_least: false }]);
    world.core.draining = true;
    world.run(Command::Pause { queue: name("q"), time: None, maker: None }).unwrap();
    let blocked = [Reason::Draining, Reason::QueuePaused { queue: name("q"), until: Time::NEVER }];
    let due = Reason::NotDue { due: world.now.plus(secs(9)), after: None };
    assert_eq!(
        reasons(&mut world, 2),
        [&blocked[..], &[Reason::Behind { jobs: 1, at_least: false }]].concat()
    );
    assert_eq!(reasons(&mut world, 3), [&blocked[..], &[due]].concat());

    world.core.draining = false;
    world.run(Command::Resume { queue: name("q") }).unwrap();
    let lease = world.claim("q", 1);
    let (since, until) = (world.now, world.now.plus(secs(60)));
    let leased =
        Reason::Leased { attempt: Attempt(1), since, until, bound: true, worker: None, cancelling: false };
    assert_eq!(reasons(&mut world, 1), [leased]);
    world.fail(&lease, "no");
    let failure = Failure {
        attempt: Attempt(1),
        since: Some(world.now),
        at: world.now,
        error: "no".into(),
        exit: None,
        worker: None,
    };
    let due = world.now.plus(secs(1));
    assert_eq!(reasons(&mut world, 1), [Reason::NotDue { due, after: Some(failure.clone()) }]);
    world.edit(Edit::Bury, &[1]);
    let ended = Reason::Ended { state: StateKind::Dead, at: world.now, failure: Some(failure) };
    assert_eq!(reasons(&mut world, 1), [ended]);
}

/// How many claims it takes until all of 1,000 good jobs are done that came behind 200 which fail at once, for ever.
fn claims_until_the_good_are_done(world: &mut World) -> u32 {
    let settings = world.settings();
    settings.attempts = 1_000;
    (settings.backoff.growth, settings.backoff.base) = (Growth::Fixed, Duration::from_millis(100));
    world.submit(vec![group("q", 200), group("q", 1_000)]);
    let (mut done, mut claims) = (0, 0);
    while done < 1_000 && claims < 10_000 {
        for lease in world.claim("q", 2) {
            claims += 1;
            if lease.id.0 <= 200 {
                world.fail(&[lease], "no");
            } else {
                assert_eq!(world.settle(&[lease], Verdict::Complete), [Ok(())]);
                done += 1;
            }
        }
        world.wait(Duration::from_millis(1)); // 200 failures are back before 200 others have run
    }
    claims
}

/// What comes back kept its old place, before all that had come later: none of the good ones ever ran.
#[test]
fn jobs_that_fail_again_and_again_do_not_starve_those_behind_them() {
    let mut world = World { checks: false, ..World::new() };
    let claims = claims_until_the_good_are_done(&mut world);
    assert!(claims <= 2_200, "{claims} claims");
}
