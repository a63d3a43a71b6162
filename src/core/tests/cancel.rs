//! Cancels of jobs that somebody is at: nothing takes their place before their holders have stopped.

use super::world::{World, group, name, secs};
use crate::core::*;
use std::time::Duration;

const SESSION: u64 = 7;

/// One job with a key, which is leased and cancelled, and one of the same key behind it.
fn cancelling() -> (World, LeaseId) {
    let mut world = World::new();
    let settings = world.settings();
    (settings.per_key, settings.keep_done) = (Some(1), Keep::Forever);
    let spec = Spec::plain(name("q")).with_key(Some(Key::new([1; 16])));
    world.submit(vec![Group::new(spec, 2)]);
    let lease = world.claim("q", 2)[0];
    assert_eq!(world.edit(Edit::Cancel, &[1]), [Ok(())]);
    (world, lease)
}

fn lost(lease: LeaseId) -> LeaseRejection {
    let LeaseId { id, attempt } = lease;
    LeaseRejection::LeaseLost { id, attempt, current: attempt, state: StateKind::Cancelled }
}

/// However it is known that its holder has stopped, or can go on no more.
#[test]
fn its_key_is_its_own_until_its_holder_has_stopped() {
    type End = fn(&mut World, LeaseId);
    let ends: [(&str, End); 7] = [
        ("release", |world, lease| {
            assert_eq!(world.settle(&[lease], Verdict::Release { delay: Duration::ZERO }), [Ok(())]);
        }),
        ("complete", |world, lease| {
            assert_eq!(world.settle(&[lease], Verdict::Complete), [Err(lost(lease))]);
        }),
        ("exit", |world, lease| {
            let exited = Verdict::Exited { error: "killed".into(), exit: Exit::Signal(15) };
            assert_eq!(world.settle(&[lease], exited), [Err(lost(lease))]);
        }),
        ("vanish", |world, _| drop(world.run(Command::Vanish { session: SESSION }))),
        ("restart", |world, _| drop(world.run(Command::Recover { resume_by: world.now }))),
        ("evict", |world, _| drop(world.run(Command::Evict))),
        ("lease over", |world, _| world.wait(secs(60))),
    ];
    for (how, end) in ends {
        let (mut world, lease) = cancelling();
        assert_eq!(world.kind(1), Some(StateKind::Leased), "{how}");
        assert!(world.claim("q", 1).is_empty(), "{how}: both would run at once");
        end(&mut world, lease);
        assert_eq!(world.kind(1), Some(StateKind::Cancelled), "{how}");
        assert_eq!((world.job(1).crashes(), world.job(1).failed()), (0, 0), "{how}: nobody failed");
        assert_eq!(world.claim("q", 1).len(), 1, "{how}");
        let totals = world.core.state.queue(&name("q")).unwrap().totals();
        assert_eq!((totals.cancelled, totals.completed, totals.failed), (1, 0, 0), "{how}");
    }
}

#[test]
fn its_lease_is_extended_for_nobody_but_for_a_pause_of_the_daemon() {
    let (mut world, lease) = cancelling();
    let due = world.core.state.next_due();
    let extend = Command::Extend { items: vec![lease], lease: None };
    assert_eq!(world.run(extend), Ok(Outcome::Extended(vec![Err(lost(lease))])));
    let checkpoint = Command::Checkpoint { lease, extend: None };
    assert_eq!(world.run(checkpoint), Ok(Outcome::Extended(vec![Err(lost(lease))])));
    assert!(!world.job(1).has(Beside::Checkpoint));
    assert_eq!(world.core.state.next_due(), due);
    let since = world.now;
    world.now = world.now.plus(secs(3600));
    world.run(Command::StoodStill { since }).unwrap();
    assert!(world.job(1).is_being_cancelled() && world.core.state.next_due() > due);
}

/// What it would be followed by must not run.
#[test]
fn it_is_followed_by_nothing() {
    let (mut world, lease) = cancelling();
    let groups: Vec<_> = vec![group("next", 1)];
    let follow = Command::CompleteAndSubmit { lease, groups: groups.into(), request: None };
    assert_eq!(world.run(follow), Err(Rejection::Lease(lost(lease))));
    assert!(world.job(1).is_being_cancelled() && world.core.state.job(JobId(3)).is_none());
    let result = Command::SettleWithResult { lease, verdict: Verdict::Complete };
    assert_eq!(world.run(result), Ok(Outcome::Settled(vec![Err(lost(lease))])));
    assert!(!world.job(1).has(Beside::Result));
}

#[test]
fn a_cancel_that_comes_again_changes_nothing_and_a_change_that_would_run_it_is_refused() {
    let (mut world, lease) = cancelling();
    assert_eq!(world.edit(Edit::Cancel, &[1]), [Ok(())]);
    assert!(world.fresh().is_empty());
    for edit in [Edit::Retry, Edit::Kick, Edit::Delete] {
        assert!(matches!(world.edit(edit, &[1])[..], [Err(EditRejection::WrongState { .. })]));
    }
    world.settle(&[lease], Verdict::Release { delay: secs(9) });
    assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
    assert_eq!(world.kind(1), Some(StateKind::Ready));
}

/// A worker that comes back is asked for it, and one that has never heard of it ends it.
#[test]
fn a_worker_that_comes_back_has_it_still() {
    let take_up = |world: &mut World, leases| world.run(Command::TakeUp { session: SESSION, leases });
    let (mut world, lease) = cancelling();
    assert_eq!(take_up(&mut world, vec![lease]), Ok(Outcome::TakenUp(vec![Ok(())])));
    assert!(world.job(1).is_being_cancelled());
    assert_eq!(take_up(&mut world, Vec::new()), Ok(Outcome::TakenUp(Vec::new())));
    assert_eq!(world.kind(1), Some(StateKind::Cancelled));
}

/// Who waits for it is told when it has ended.
#[test]
fn who_waits_for_it_waits_until_it_has_stopped() {
    let (mut world, lease) = cancelling();
    let mut next = group("next", 1);
    let after = vec![After { on: AfterWhat::Job(JobId(1)), when: Condition::Ended }];
    next.ties = Some(Ties { after, ..Ties::default() }.into());
    world.submit(vec![next]);
    assert_eq!(world.kind(3), Some(StateKind::Waiting));
    world.settle(&[lease], Verdict::Release { delay: Duration::ZERO });
    assert_eq!(world.kind(3), Some(StateKind::Ready));
}

/// No more probes while one is being stopped.
#[test]
fn a_probe_that_is_cancelled_is_one_until_it_has_stopped() {
    let mut world = World::new();
    let settings = world.settings();
    (settings.circuit_failures, settings.circuit_probe, settings.attempts) = (Some(1), secs(1), 9);
    world.submit(vec![group("q", 3)]);
    let first = world.claim("q", 1);
    world.fail(&first, "no");
    world.wait(secs(1));
    let probe = world.claim("q", 3);
    assert_eq!(probe.len(), 1);
    world.edit(Edit::Cancel, &[probe[0].id.0]);
    world.wait(secs(20));
    assert!(world.claim("q", 3).is_empty());
    world.settle(&probe, Verdict::Release { delay: Duration::ZERO });
    assert_eq!(world.claim("q", 3).len(), 1);
}
