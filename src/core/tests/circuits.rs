//! Circuits of queues: a worker that fails all it gets costs a few jobs and not the backlog.

use super::world::{World, group, name, secs};
use crate::core::*;

fn world(failures: u32) -> World {
    let mut world = World::new();
    world.settings().circuit_failures = Some(failures);
    world.settings().backoff.base = secs(0);
    world.submit(vec![group("q", 1_000)]);
    world
}

fn fail(world: &mut World, leases: &[LeaseId]) {
    let verdict = Verdict::Fail { error: "no".into(), exit: None, then: Then::Bury };
    assert!(world.settle(leases, verdict).iter().all(Result::is_ok));
}

fn open(world: &World) -> Option<OpenCircuit> {
    world.core.state.queue(&name("q")).unwrap().circuit().open
}

#[test]
fn a_bad_deploy_costs_so_many_jobs_and_those_that_ran() {
    let mut world = world(10);
    let mut failed = 0;
    // Two hours of workers that fail whatever they get, four at a time.
    for _ in 0..7_200 {
        let leases = world.claim("q", 4);
        failed += leases.len();
        fail(&mut world, &leases);
        world.checks = false;
        world.wait(secs(1));
    }
    // 10, two that ran then, and probes after 30, 60, 120, 240 and each 480 seconds.
    assert_eq!(failed, 12 + 4 + 14, "{:?}", open(&world));
    // The mended worker closes it with its first one.
    world.wait(secs(480));
    let probe = world.claim("q", 4);
    assert_eq!((probe.len(), world.claim("q", 4).len()), (1, 0));
    world.settle(&probe, Verdict::Complete);
    assert_eq!((open(&world), world.claim("q", 4).len()), (None, 4));
}

#[test]
fn only_a_success_in_between_begins_anew() {
    let mut world = world(3);
    for verdict in [
        Verdict::Later { error: "not now".into(), wait: None },
        Verdict::Release { delay: secs(1) },
        Verdict::Exited { error: "no".into(), exit: Exit::Status(75) },
    ] {
        let leases = world.claim("q", 1);
        fail(&mut world, &leases);
        let leases = world.claim("q", 1);
        world.settle(&leases, verdict);
    }
    assert!(open(&world).is_some(), "the third failure in a row: none of the others counts");
    world.run(Command::ResetCircuit { queue: name("q") }).unwrap();
    for _ in 0..5 {
        let leases = world.claim("q", 3);
        fail(&mut world, &leases[..2]);
        world.settle(&leases[2..], Verdict::Complete);
    }
    assert_eq!(open(&world), None);
    let leases = world.claim("q", 3);
    world.run(Command::Vanish { session: 7 }).unwrap();
    assert_eq!((open(&world), leases.len()), (None, 3), "a worker that is gone is no failure of the job");
}

#[test]
fn explain_names_it_and_the_moment_of_the_next_probe() {
    let mut world = world(1);
    let leases = world.claim("q", 2);
    fail(&mut world, &leases[..1]);
    let (until, queue) = (world.now.plus(secs(30)), name("q"));
    let reasons = |by| Some(vec![Reason::Limited { queue: queue.clone(), by }, Reason::Next(queue.clone())]);
    let limit = Limit::Circuit { failed: 1, probe: None, until };
    assert_eq!(world.core.explain(JobId(3), world.now), reasons(limit));
    // What ran before says nothing, well or not.
    world.settle(&leases[1..], Verdict::Complete);
    assert_eq!(world.core.explain(JobId(3), world.now), reasons(limit));
    world.wait(secs(30));
    let probe = world.claim("q", 5)[0];
    let limit = Limit::Circuit { failed: 1, probe: Some(probe), until: world.now.plus(secs(30)) };
    assert_eq!((probe.id, world.core.explain(JobId(4), world.now)), (JobId(3), reasons(limit)));
    // A probe that goes without a word is none: the next one comes in time, and the wait has not grown.
    world.wait(secs(10));
    world.run(Command::Vanish { session: 7 }).unwrap();
    assert_eq!(world.claim("q", 5).len(), 0);
    world.wait(secs(20));
    let leases = world.claim("q", 5);
    assert_eq!((leases.len(), open(&world).unwrap().probes), (1, 0));
    fail(&mut world, &leases);
    assert_eq!(open(&world).unwrap().next, world.now.plus(secs(60)));
}

/// It is in the events and in the row of the queue: a restart gives out no second probe, and does not begin anew.
#[test]
fn it_is_open_after_a_restart_and_its_probe_runs_on() {
    let mut world = world(1);
    let leases = world.claim_for("q", 1, Holder::Anyone);
    fail(&mut world, &leases);
    world.wait(secs(30));
    assert_eq!(world.claim_for("q", 2, Holder::Anyone).len(), 1);
    let now = world.now;
    for state in world.restarts() {
        (world.core.state, world.now) = (state, now);
        assert_eq!(world.claim("q", 2).len(), 0, "the probe runs");
        world.wait(secs(60));
        assert_eq!(world.claim("q", 2).len(), 1, "its lease is over");
    }
}

#[test]
fn without_one_nothing_is_noted() {
    let mut world = World::new();
    world.submit(vec![group("q", 9)]);
    let leases = world.claim("q", 9);
    fail(&mut world, &leases[..8]);
    world.settle(&leases[8..], Verdict::Complete);
    assert!(!world.log.iter().any(|event| matches!(event, Event::Row(RowEvent::CircuitChanged { .. }))));
    // With one, a success is noted only where there is something to forget.
    world.settings().circuit_failures = Some(2);
    world.submit(vec![group("q", 2)]);
    let leases = world.claim("q", 2);
    world.settle(&leases, Verdict::Complete);
    assert!(!world.fresh().iter().any(|event| matches!(event, Event::Row(RowEvent::CircuitChanged { .. }))));
}

#[test]
fn whoever_opens_and_closes_it_is_told() {
    struct Heard(Vec<QueueChange>);
    impl Observer for Heard {
        fn changed(&mut self, _: &Change<'_>) {}
        fn queue_changed(&mut self, _: &QueueName, change: QueueChange) {
            self.0.push(change);
        }
    }
    impl Recorder for Heard {
        fn record(&mut self, _: Event) {}
    }
    let mut world = world(2);
    let (moment, mut heard) = (Moment { now: world.now, random: 0 }, Heard(Vec::new()));
    let leases = world.claim("q", 2);
    let fail = Verdict::Fail { error: "no".into(), exit: None, then: Then::Bury };
    let items = leases.iter().map(|lease| (*lease, fail.clone())).collect();
    world.core.decide(&Command::Settle { items }, Visibility::ALL, moment, &mut heard).unwrap();
    let reset = Command::ResetCircuit { queue: name("q") };
    world.core.decide(&reset, Visibility::ALL, moment, &mut heard).unwrap();
    world.core.decide(&reset, Visibility::ALL, moment, &mut heard).unwrap();
    let opened = QueueChange::CircuitOpened { failed: 2, next: world.now.plus(secs(30)) };
    assert_eq!(heard.0, [opened, QueueChange::CircuitClosed]);
    assert_eq!(
        world.run(Command::ResetCircuit { queue: name("nosuch") }),
        Err(Rejection::NoSuchQueue { queue: name("nosuch") })
    );
}
