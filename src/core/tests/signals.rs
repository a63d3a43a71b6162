//! Signals: a job that was released until one comes goes on with it, whichever of both is first.

use super::world::{World, group, secs};
use crate::core::*;

const ID: JobId = JobId(1);

fn name(name: &str) -> SignalName {
    SignalName::new(name).unwrap()
}

fn leased() -> World {
    let mut world = World::new();
    (world.settings().lease, world.settings().keep_done) = (secs(60), Keep::Forever);
    world.submit(vec![group("q", 1)]);
    assert_eq!(world.claim("q", 1).len(), 1);
    world
}

fn signal(world: &mut World, signal: &str) -> Result<Outcome, Rejection> {
    world.run(Command::Signal { id: ID, signal: name(signal) })
}

fn wait_for(world: &mut World, signal: &str) {
    let lease = LeaseId { id: ID, attempt: world.job(1).attempt() };
    let verdict = Verdict::Await { signal: name(signal), timeout: secs(100) };
    assert_eq!(world.settle(&[lease], verdict), [Ok(())]);
}

/// What the next attempt gets.
fn granted(world: &mut World) -> Option<(String, u32)> {
    assert_eq!(world.claim("q", 1).len(), 1);
    let taken = world.job(1).signals()?.taken.clone()?;
    Some((taken.name.to_string(), taken.no))
}

#[test]
fn a_job_goes_on_with_its_signal_at_once() {
    let mut world = leased();
    wait_for(&mut world, "go");
    assert_eq!(world.kind(1), Some(StateKind::Scheduled));
    assert!(world.claim("q", 1).is_empty());
    let (now, due) = (world.now, world.now.plus(secs(100)));
    let why = world.core.explain(ID, now).unwrap();
    assert_eq!(why, [Reason::UntilSignal { signal: name("go"), due }]);
    signal(&mut world, "other").unwrap();
    assert!(world.claim("q", 1).is_empty(), "it waits for another one");
    signal(&mut world, "go").unwrap();
    assert_eq!(granted(&mut world), Some(("go".into(), 2)));
    assert_eq!(world.job(1).failed(), 0);
}

/// What loses wake-ups elsewhere: the answer is there before anybody waits for it.
#[test]
fn a_signal_that_comes_first_is_kept() {
    let mut world = leased();
    signal(&mut world, "go").unwrap();
    signal(&mut world, "go").unwrap();
    wait_for(&mut world, "go");
    assert_eq!(world.kind(1), Some(StateKind::Ready));
    assert_eq!(granted(&mut world), Some(("go".into(), 2)), "the newest of each name");
    wait_for(&mut world, "go");
    assert_eq!(world.kind(1), Some(StateKind::Scheduled), "each is taken once");
}

#[test]
fn without_a_signal_it_goes_on_when_its_time_is_over_and_one_that_comes_late_is_kept() {
    let mut world = leased();
    wait_for(&mut world, "go");
    world.wait(secs(100));
    assert_eq!(world.kind(1), Some(StateKind::Ready));
    assert_eq!(granted(&mut world), None);
    signal(&mut world, "go").unwrap();
    assert_eq!(world.kind(1), Some(StateKind::Leased));
    wait_for(&mut world, "go");
    assert_eq!(granted(&mut world), Some(("go".into(), 1)));
}

/// It was not done with it.
#[test]
fn each_attempt_gets_the_signal_until_the_job_waits_for_the_next() {
    let mut world = leased();
    wait_for(&mut world, "go");
    signal(&mut world, "go").unwrap();
    for _ in 0..2 {
        assert_eq!(granted(&mut world), Some(("go".into(), 1)));
        world.run(Command::Vanish { session: 7 }).unwrap();
    }
    let lease = world.claim("q", 1);
    world.fail(&lease, "no");
    world.wait(secs(3_600));
    assert_eq!(granted(&mut world), Some(("go".into(), 1)));
    wait_for(&mut world, "more");
    world.wait(secs(100));
    assert_eq!(granted(&mut world), None);
}

#[test]
fn so_many_names_are_kept_and_the_one_that_is_waited_for_always_comes_through() {
    let mut world = leased();
    for nth in 0..Signals::KEPT_MAX {
        signal(&mut world, &format!("s{nth}")).unwrap();
    }
    let too_many = Rejection::Signal(SignalRejection::TooMany { id: ID, limit: Signals::KEPT_MAX });
    assert_eq!(signal(&mut world, "go"), Err(too_many));
    assert!(signal(&mut world, "s0").is_ok(), "that name is there already");
    wait_for(&mut world, "go");
    assert!(signal(&mut world, "go").is_ok());
    assert_eq!(granted(&mut world).map(|(name, _)| name), Some("go".into()));
}

#[test]
fn a_job_that_has_ended_gets_none_and_has_none() {
    let mut world = leased();
    signal(&mut world, "go").unwrap();
    world.fresh();
    let lease = LeaseId { id: ID, attempt: Attempt(1) };
    assert_eq!(world.settle(&[lease], Verdict::Complete), [Ok(())]);
    let gone = Event::Detached { jobs: ID.into(), what: Beside::Signals };
    assert!(world.fresh().contains(&gone));
    let ended = Rejection::Signal(SignalRejection::Ended { id: ID, state: StateKind::Done });
    assert_eq!(signal(&mut world, "go"), Err(ended));
    let unknown = world.run(Command::Signal { id: JobId(9), signal: name("go") });
    assert_eq!(unknown, Err(Rejection::Signal(SignalRejection::NotFound { id: JobId(9) })));
}

#[test]
fn names_are_short_and_plain() {
    assert!(SignalName::new(&"x".repeat(SignalName::MAX)).is_ok());
    let long = "x".repeat(SignalName::MAX + 1);
    for wrong in ["", " ", "-go", "a b", "ä", long.as_str()] {
        let error = SignalName::new(wrong).unwrap_err().to_string();
        assert!(error.contains("1 to 32 of the characters"), "{error}");
    }
}
