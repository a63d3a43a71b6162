//! Checkpoints and results: what the core says of them, without knowing them.

use super::world::{World, group, secs};
use crate::core::*;

fn leased() -> (World, LeaseId) {
    let mut world = World::new();
    world.settings().lease = secs(60);
    world.settings().keep_done = Keep::Forever;
    world.submit(vec![group("q", 1)]);
    let lease = world.claim("q", 1)[0];
    (world, lease)
}

fn checkpoint(world: &mut World, lease: LeaseId, extend: Option<u64>) -> Result<Time, LeaseRejection> {
    match world.run(Command::Checkpoint { lease, extend: extend.map(secs) }) {
        Ok(Outcome::Extended(mut results)) if results.len() == 1 => results.remove(0),
        other => panic!("{other:?}"),
    }
}

fn complete(world: &mut World, lease: LeaseId) -> Outcome {
    world.run(Command::SettleWithResult { lease, verdict: Verdict::Complete }).unwrap()
}

fn next_grant(world: &mut World) -> Grant {
    let claim = Claim {
        queues: vec![QueueName::new("q").unwrap()],
        max: 1,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    match world.run(Command::Claim(claim)) {
        Ok(Outcome::Claimed(mut grants)) => grants.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_checkpoint_prolongs_the_lease_and_never_shortens_it() {
    let (mut world, lease) = leased();
    let end = world.now.plus(secs(60));
    assert_eq!(checkpoint(&mut world, lease, Some(1)), Ok(end), "it ends later than that already");
    assert_eq!(world.fresh(), [Event::Attached { job: JobId(1).into(), what: Beside::Checkpoint }]);
    world.wait(secs(10));
    assert_eq!(checkpoint(&mut world, lease, None), Ok(end.plus(secs(10))));
    assert_eq!(checkpoint(&mut world, lease, Some(300)), Ok(world.now.plus(secs(300))));
    let lost = LeaseId { attempt: Attempt(2), ..lease };
    assert!(matches!(checkpoint(&mut world, lost, None), Err(LeaseRejection::LeaseLost { .. })));
}

/// Whatever becomes of the attempt, the next one gets it.
#[test]
fn a_checkpoint_outlives_its_attempt_until_the_job_is_done() {
    type Ends = fn(&mut World, LeaseId);
    let ends: [Ends; 6] = [
        |world, lease| world.fail(&[lease], "no"),
        |world, _| assert!(world.run(Command::Vanish { session: 7 }).is_ok()),
        |world, lease| {
            let later = Verdict::Later { error: "not now".into(), wait: None };
            assert_eq!(world.settle(&[lease], later), [Ok(())]);
        },
        |world, lease| assert_eq!(world.settle(&[lease], Verdict::Release { delay: secs(9) }), [Ok(())]),
        |world, _| {
            assert_eq!(world.edit(Edit::Bury, &[1]), [Ok(())]);
            assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
        },
        |world, lease| {
            assert_eq!(world.edit(Edit::Cancel, &[1]), [Ok(())]);
            assert_eq!(world.settle(&[lease], Verdict::Release { delay: secs(0) }), [Ok(())]);
            assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
        },
    ];
    for end in ends {
        let (mut world, lease) = leased();
        checkpoint(&mut world, lease, None).unwrap();
        end(&mut world, lease);
        world.wait(secs(3600));
        let grant = next_grant(&mut world);
        assert!(grant.has_checkpoint);
        let lease = LeaseId { id: grant.id, attempt: grant.attempt };
        assert_eq!(world.settle(&[lease], Verdict::Complete), [Ok(())]);
        assert!(!world.job(1).has(Beside::Checkpoint));
        assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
        assert!(!next_grant(&mut world).has_checkpoint);
    }
}

#[test]
fn a_checkpoint_is_of_the_body_that_it_was_made_with() {
    let (mut world, lease) = leased();
    checkpoint(&mut world, lease, None).unwrap();
    assert_eq!(world.settle(&[lease], Verdict::Release { delay: secs(0) }), [Ok(())]);
    assert_eq!(world.edit(Edit::ReplaceBody(Size::default()), &[1]), [Ok(())]);
    let gone = Event::Detached { jobs: JobId(1).into(), what: Beside::Checkpoint };
    assert_eq!(world.fresh(), [gone, Event::BodyReplaced { job: JobId(1).into() }]);
    assert!(!next_grant(&mut world).has_checkpoint);
}

#[test]
fn a_result_is_kept_with_a_job_that_is_done_and_with_no_other() {
    let (mut world, lease) = leased();
    assert_eq!(complete(&mut world, lease), Outcome::Settled(vec![Ok(())]));
    assert!(world.job(1).has(Beside::Result));
    assert!(matches!(complete(&mut world, lease), Outcome::Settled(results) if results[0].is_err()));
    assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
    assert!(!world.job(1).has(Beside::Result), "it was that of an earlier attempt");

    // One that fails has none, and neither has one that is not kept.
    let grant = next_grant(&mut world);
    let lease = LeaseId { id: grant.id, attempt: grant.attempt };
    let failed = Verdict::Exited { error: "no".into(), exit: Exit::Status(1) };
    assert!(world.run(Command::SettleWithResult { lease, verdict: failed }).is_ok());
    assert!(!world.job(1).has(Beside::Result));
    world.wait(secs(3600));
    world.settings().keep_done = Keep::No;
    let grant = next_grant(&mut world);
    complete(&mut world, LeaseId { id: grant.id, attempt: grant.attempt });
    assert!(world.fresh().iter().all(|event| matches!(event, Event::Completed { .. })));
    assert_eq!(world.kind(1), None);
}

/// A plain job says nothing of either.
#[test]
fn plain_jobs_have_no_events_for_it() {
    let (mut world, lease) = leased();
    world.settle(&[lease], Verdict::Complete);
    assert!(!world.log.iter().any(|event| matches!(event, Event::Attached { .. } | Event::Detached { .. })));
}
