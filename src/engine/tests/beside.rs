//! Checkpoints in the turn in which they come, and in claims.

use super::*;

/// A claim is reckoned by bodies: with what else there is, it gets fewer.
#[test]
fn a_claim_of_jobs_with_large_checkpoints_gets_as_many_as_an_answer_holds() {
    let disk = SimulatedDisk::new(1);
    let (store, found) = disk.open().unwrap();
    let bounds = Bounds { claim_bytes: 1_000, body: 10, ..Bounds::default() };
    let mut engine = Engine::new(found.state, found.last, store, Settings::default(), bounds, 1, Time(0));
    submit(&mut engine, 10, Time(0));
    let Answer::Jobs(jobs) = claimed(&mut engine, 10, Time(1)) else { panic!("jobs are ready") };
    assert_eq!(jobs.len(), 10);
    for job in &jobs {
        let lease = LeaseId { id: job.grant.id, attempt: job.grant.attempt };
        engine.checkpoint(ORIGIN, lease, (vec![7; 400].into(), None), Visibility::ALL, Time(2));
    }
    // Of this very turn, and then from the log.
    engine.undo_claim(&jobs, Time(2));
    for (now, lease) in [(Time(2), 2), (Time(3), 2)] {
        let Answer::Jobs(jobs) = claimed(&mut engine, 10, now) else { panic!("jobs are ready") };
        assert_eq!(jobs.len(), 3, "1,200 bytes are more than enough");
        assert!(jobs.iter().all(|job| job.checkpoint.as_ref().is_some_and(|it| it.len() == 400)));
        assert!(jobs.iter().all(|job| job.grant.attempt.0 >= lease));
        assert_eq!(engine.core().state.held(), 3, "the others are ready again");
        engine.undo_claim(&jobs, now);
        engine.turn(now).unwrap();
    }
    assert!((1..=10).all(|id| engine.core().state.job(JobId(id)).unwrap().failed() == 0));
}
