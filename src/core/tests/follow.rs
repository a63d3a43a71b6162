//! What follows from a job: it is completed and others arrive, or neither.

use super::world::{Unheard, World, group, name, secs};
use crate::core::*;

fn follow(
    world: &mut World,
    lease: LeaseId,
    groups: Vec<Group>,
    request: Option<RequestKey>,
) -> Result<Outcome, Rejection> {
    world.run(Command::CompleteAndSubmit { lease, groups: groups.into(), request })
}

fn world() -> World {
    let mut world = World::new();
    world.settings().keep_done = Keep::Forever;
    world
}

/// A job that runs.
fn leased(world: &mut World, group: Group) -> LeaseId {
    let queue = group.spec.queue.as_str().to_owned();
    world.run(Command::Submit { groups: Groups::from_iter([group]) }).unwrap();
    world.claim(&queue, 1)[0]
}

fn unique(held: UniqueWhile, on_conflict: OnConflict) -> Group {
    let mut spec = Spec::plain(name("q")).with_unique(Some(Key::new([1; 16])));
    spec.options_mut().unique_while = held;
    Group { on_conflict, ..Group::new(spec, 1) }
}

#[test]
fn a_job_is_done_and_the_next_are_there() {
    let mut world = world();
    let lease = leased(&mut world, group("q", 1));
    let next = vec![group("next", 2), group("q", 1)];
    let ids = IdRange::new(JobId(2), 3);
    assert_eq!(follow(&mut world, lease, next, None), Ok(Outcome::Submitted(ids)));
    assert_eq!(world.kind(1), Some(StateKind::Done));
    assert_eq!((2..=4).map(|id| world.kind(id).unwrap()).collect::<Vec<_>>(), [StateKind::Ready; 3]);
}

/// Each refusal of a lease, and of a submit.
#[test]
fn what_is_refused_changes_nothing() {
    let mut world = world();
    world.settings().backlog = 1;
    world.core.settings.queues_max = 2;
    let lease = leased(&mut world, group("q", 1));
    world.submit(vec![group("full", 1)]);
    let stale = LeaseId { attempt: Attempt(2), ..lease };
    let unknown = LeaseId { id: JobId(9), ..lease };
    let (id, attempt, current, state) = (lease.id, Attempt(2), Attempt(1), StateKind::Leased);
    let bound = Bound::Jobs;
    let full = Rejection::QueueFull { queue: name("full"), bound, len: 1, limit: 1, fits: true };
    for (lease, groups, why) in [
        (
            stale,
            vec![group("q", 1)],
            Rejection::Lease(LeaseRejection::LeaseLost { id, attempt, current, state }),
        ),
        (unknown, vec![group("q", 1)], Rejection::Lease(LeaseRejection::NotFound { id: JobId(9) })),
        (lease, vec![], Rejection::NothingToSubmit),
        (lease, vec![group("q", 1), group("full", 1)], full),
        (lease, vec![group("new", 1)], Rejection::TooManyQueues { limit: 2 }),
    ] {
        assert_eq!(follow(&mut world, lease, groups, None), Err(why));
        assert!(world.fresh().is_empty(), "nothing happens");
        assert_eq!(world.kind(1), Some(StateKind::Leased));
    }
    assert!(follow(&mut world, lease, vec![group("q", 1)], None).is_ok(), "what runs takes no room");
}

/// A job may be followed by one of its own key, as a poll that submits the next one.
#[test]
fn its_unique_key_is_free_for_what_follows() {
    for on_conflict in [OnConflict::Reject, OnConflict::Existing, OnConflict::Replace] {
        let mut world = world();
        let lease = leased(&mut world, unique(UniqueWhile::Unfinished, on_conflict));
        let next = follow(&mut world, lease, vec![unique(UniqueWhile::Unfinished, on_conflict)], None);
        assert_eq!(next, Ok(Outcome::Received(vec![Receipt::New(JobId(2))])));
        assert_eq!(world.kind(1), Some(StateKind::Done));
    }
}

#[test]
fn a_key_that_is_held_after_the_end_is_held_against_what_follows_too() {
    let mut world = world();
    let held = || unique(UniqueWhile::Kept(secs(60)), OnConflict::Reject);
    let lease = leased(&mut world, held());
    let refused = follow(&mut world, lease, vec![held()], None);
    assert_eq!(refused, Err(Rejection::NotUnique { queue: name("q"), id: JobId(1) }));
    assert_eq!(world.kind(1), Some(StateKind::Leased));
    let existing = Group { on_conflict: OnConflict::Existing, ..held() };
    let done = follow(&mut world, lease, vec![existing], None);
    assert_eq!(done, Ok(Outcome::Received(vec![Receipt::Existing(JobId(1))])));
    assert_eq!(world.kind(1), Some(StateKind::Done));
}

/// What who asks may not change is not reckoned with either: the same submit alone comes to the same.
#[test]
fn what_is_hidden_from_who_asks_is_left_alone() {
    let mut world = world();
    (world.settings().backlog_bytes, world.core.counts_bytes) = (10, true);
    let sized =
        |on_conflict, bytes| Group { size: Size::of(bytes), ..unique(UniqueWhile::Unfinished, on_conflict) };
    let lease = leased(&mut world, group("q", 1));
    world.run(Command::Submit { groups: [sized(OnConflict::Existing, 8)].into_iter().collect() }).unwrap();
    let groups: Groups = [sized(OnConflict::Replace, 30)].into_iter().collect();
    let nobodys = |_: &Spec| false;
    let moment = Moment { now: world.now, random: 0 };
    let follow = Command::CompleteAndSubmit { lease, groups, request: None };
    let done = world.core.decide(&follow, Visibility::of(&nobodys), moment, &mut Unheard);
    assert_eq!(done, Ok(Outcome::Received(vec![Receipt::Existing(JobId(2))])));
    assert_eq!(world.kind(1), Some(StateKind::Done));
}

/// A refusal would have the job run again after the restart, though it has come to its end.
#[test]
fn it_goes_on_while_draining() {
    let mut world = world();
    let lease = leased(&mut world, group("q", 1));
    world.core.draining = true;
    let ids = IdRange::new(JobId(2), 1);
    assert_eq!(follow(&mut world, lease, vec![group("q", 1)], None), Ok(Outcome::Submitted(ids)));
}

#[test]
fn with_an_idempotency_key_it_is_answered_again_as_the_first_time() {
    let mut world = world();
    let request = RequestKey { key: Key::new([1; 16]), content: Key::new([2; 16]) };
    let lease = leased(&mut world, group("q", 1));
    let ids = IdRange::new(JobId(2), 1);
    let refused =
        follow(&mut world, LeaseId { attempt: Attempt(2), ..lease }, vec![group("q", 1)], Some(request));
    assert!(refused.is_err());
    let done = follow(&mut world, lease, vec![group("q", 1)], Some(request));
    assert_eq!(done, Ok(Outcome::Submitted(ids)), "what was refused is not remembered");
    let again = follow(&mut world, lease, vec![group("q", 1)], Some(request));
    assert_eq!(again, Ok(Outcome::Repeated(RequestAnswer::Submitted(ids))));
    assert!(world.fresh().is_empty());
    let lost = follow(&mut world, lease, vec![group("q", 1)], None).unwrap_err();
    assert!(matches!(lost, Rejection::Lease(LeaseRejection::LeaseLost { .. })), "{lost:?}");
}

/// As each attempt that succeeds: the circuit of its queue closes.
#[test]
fn it_is_a_success_for_the_circuit() {
    let mut world = world();
    world.settings().circuit_failures = Some(1);
    let lease = leased(&mut world, group("q", 1));
    world.fail(&[lease], "no");
    world.wait(secs(60));
    let probe = world.claim("q", 1)[0];
    follow(&mut world, probe, vec![group("q", 1)], None).unwrap();
    let queue = world.core.state.queue(&name("q")).unwrap();
    assert_eq!(queue.circuit(), Circuit::default());
}
