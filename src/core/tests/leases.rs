//! What holds while a worker has a job, and how a lease ends: what counts as a failure and what does not.

use super::world::{Unheard, World, group, name, secs};
use crate::core::*;
use std::time::Duration;

#[test]
fn a_lease_that_ends_without_a_word_is_an_interruption_and_no_failure() {
    let mut world = World::new();
    world.submit(vec![group("q", 2)]);
    let leases = world.claim("q", 2);
    world.core.draining = true; // what a drain gives back
    assert_eq!(world.settle(&leases[..1], Verdict::Release { delay: Duration::ZERO }), [Ok(())]);
    world.wait(secs(60));
    assert_eq!((world.job(1).failed(), world.job(1).attempt()), (0, Attempt(1)));
    assert_eq!(
        (world.job(2).failed(), world.job(2).crashes(), world.kind(2)),
        (0, 1, Some(StateKind::Ready))
    );
    assert!(world.job(1).failures().is_empty() && world.job(2).failures().is_empty());
    let totals = world.core.state.queue(&name("q")).unwrap().totals();
    assert_eq!((totals.failed, totals.died), (0, 0));
}

/// Machines sleep, containers are frozen, workers stand still: ten jobs of a living worker were dead after that.
#[test]
fn a_pause_longer_than_a_lease_kills_no_job_however_few_attempts_it_has() {
    let mut world = World::new();
    world.settings().attempts = 1;
    world.submit(vec![group("q", 10)]);
    for pause in [secs(60), secs(86_400), secs(61)] {
        assert_eq!(world.claim("q", 10).len(), 10);
        world.wait(pause);
    }
    assert!((1..=10).all(|id| world.kind(id) == Some(StateKind::Ready) && world.job(id).crashes() == 3));
}

#[test]
fn a_job_whose_leases_end_without_a_word_again_and_again_is_dead_and_says_why() {
    let mut world = World::new();
    world.settings().crashes = 3;
    world.submit(vec![group("q", 1)]);
    for _ in 0..2 {
        world.claim("q", 1);
        world.wait(secs(60));
    }
    world.claim("q", 1);
    world.run(Command::Vanish { session: 7 }).unwrap();
    assert_eq!(world.kind(1), Some(StateKind::Dead));
    assert!(world.job(1).failures()[0].error.contains("let its lease end without an answer, 3 times in all"));
}

#[test]
fn a_stale_settle_cannot_touch_the_next_attempt() {
    let mut world = World::new();
    world.submit(vec![group("q", 1)]);
    let old = world.claim("q", 1);
    world.wait(secs(60));
    world.wait(secs(1));
    let new = world.claim("q", 1);
    let (id, state) = (JobId(1), StateKind::Leased);
    let lost = LeaseRejection::LeaseLost { id, attempt: Attempt(1), current: Attempt(2), state };
    assert_eq!(world.settle(&old, Verdict::Complete), [Err(lost)]);
    assert_eq!(world.settle(&new, Verdict::Complete), [Ok(())]);
}

#[test]
fn a_lease_named_twice_in_one_settle_ends_once() {
    let mut world = World::new();
    world.settings().keep_done = Keep::Forever;
    world.submit(vec![group("q", 3)]);
    let leases = world.claim("q", 3);
    let named = [leases[2], leases[0], leases[2], leases[1], leases[1], leases[0]];
    let results = world.settle(&named, Verdict::Complete);
    let twice = |LeaseId { id, attempt }| {
        Err(LeaseRejection::LeaseLost { id, attempt, current: attempt, state: StateKind::Done })
    };
    let expected = [Ok(()), Ok(()), twice(leases[2]), Ok(()), twice(leases[1]), twice(leases[0])];
    assert_eq!(results, expected);
    assert_eq!(world.core.state.queue(&name("q")).unwrap().totals().completed, 3);
}

#[test]
fn vanishing_again_and_again_makes_a_job_dead() {
    let mut world = World::new();
    world.settings().crashes = 3;
    world.submit(vec![group("q", 1)]);
    for crashes in 1..3 {
        world.claim("q", 1);
        world.run(Command::Vanish { session: 7 }).unwrap();
        assert_eq!((world.kind(1), world.job(1).crashes()), (Some(StateKind::Ready), crashes));
        assert_eq!(world.job(1).failed(), 0, "that alone is no failure");
    }
    world.claim("q", 1);
    world.run(Command::Recover { resume_by: world.now }).unwrap();
    assert_eq!(world.kind(1), Some(StateKind::Dead));
    assert!(
        world.job(1).failures()[0]
            .error
            .contains("vanished, or let its lease end without an answer, 3 times")
    );
}

#[test]
fn vanish_and_recover_leave_alone_what_is_not_bound_to_the_connection() {
    let mut world = World::new();
    world.submit(vec![group("q", 4)]);
    world.claim_for("q", 1, Holder::Session(7));
    world.claim_for("q", 2, Holder::Session(8));
    world.claim_for("q", 1, Holder::Anyone);
    world.edit(Edit::Bury, &[2]);
    world.run(Command::Vanish { session: 7 }).unwrap();
    assert_eq!(world.core.state.held_by(7).count(), 0);
    assert_eq!(world.core.state.held_by(8).collect::<Vec<_>>(), [JobId(3)]);
    assert_eq!(world.kind(1), Some(StateKind::Ready));
    world.run(Command::Recover { resume_by: world.now }).unwrap();
    assert_eq!(world.core.state.held_by(8).count(), 0);
    assert_eq!((world.kind(3), world.kind(4)), (Some(StateKind::Ready), Some(StateKind::Leased)));
    assert_eq!(world.core.state.next_due(), Some(world.now.plus(secs(60))), "the last lease is due");
    world.run(Command::Vanish { session: 7 }).unwrap();
    assert!(world.fresh().is_empty(), "it vanishes once");
}

#[test]
fn a_connection_that_held_very_much_vanishes_a_part_at_a_time() {
    let mut world = World::new();
    world.submit(vec![group("q", 450)]);
    world.claim_for("q", 450, Holder::Session(7));
    for left in [250, 50, 0] {
        world.run(Command::Vanish { session: 7 }).unwrap();
        assert_eq!(world.core.state.held_by(7).count(), left);
    }
    assert_eq!(world.claim("q", 450).len(), 450);
}

#[test]
fn jobs_that_fail_together_do_not_come_back_together() {
    let mut world = World::new();
    world.settings().backoff.jitter_permille = 500;
    world.random = 42;
    world.submit(vec![group("q", 20)]);
    let leases = world.claim("q", 20);
    world.fail(&leases, "no");
    let mut due: Vec<_> = (1..=20).map(|id| world.job(id).next_due().since(world.now).as_millis()).collect();
    assert!(due.iter().all(|wait| (500..=1500).contains(wait)), "{due:?}");
    due.sort();
    due.dedup();
    assert!(due.len() > 15, "{due:?}");
}

#[test]
fn the_time_to_live_is_that_to_the_first_attempt() {
    let mut world = World::new();
    world.submit(vec![Group { ttl: Some(secs(10)), ..group("q", 3) }]);
    let leases = world.claim("q", 2);
    world.wait(secs(20));
    assert_eq!(world.kind(3), None, "it has expired, and is not kept");
    world.settle(&leases[1..], Verdict::Release { delay: Duration::ZERO });
    world.wait(Duration::ZERO);
    assert_eq!(world.kind(2), Some(StateKind::Ready), "its worker was stopped: it has begun all the same");
    world.fail(&leases[..1], "no");
    // By hand its counts begin anew.
    world.edit(Edit::Kick, &[1]);
    world.wait(Duration::ZERO);
    world.wait(secs(999));
    assert_eq!(world.kind(1), Some(StateKind::Ready), "it has begun, and has its attempts");
}

#[test]
fn a_deadline_ends_no_lease_but_all_that_comes_after_it() {
    let mut world = World::new();
    let settings = world.settings();
    (settings.keep_done, settings.attempts) = (Keep::Forever, 1);
    world.submit(vec![Group { deadline: Some(secs(10)), ..group("q", 3) }]);
    let leases = world.claim("q", 3);
    world.wait(secs(20));
    assert!(world.fresh().is_empty());
    assert_eq!(world.settle(&leases[..1], Verdict::Complete), [Ok(())]);
    world.fail(&leases[1..2], "no");
    assert_eq!(world.settle(&leases[2..], Verdict::Release { delay: Duration::ZERO }), [Ok(())]);
    assert!(
        world.core.state.next_due() <= Some(world.now),
        "the others are due at once, not after the backoff"
    );
    world.wait(Duration::ZERO);
    let kinds = [1, 2, 3].map(|id| world.kind(id).unwrap());
    assert_eq!(kinds, [StateKind::Done, StateKind::Expired, StateKind::Expired]);
    assert_eq!(&*world.job(2).failures()[0].error, "no", "which was its last attempt");
    // Whoever runs an expired job again wants it whatever its age.
    world.edit(Edit::Retry, &[2]);
    world.wait(secs(99));
    assert_eq!(world.kind(2), Some(StateKind::Ready));
}

/// Its worker is to end it by then, and has one lease of the queue for that, whatever it asks for.
#[test]
fn a_lease_ends_at_the_latest_one_lease_after_the_deadline() {
    let mut world = World::new();
    (world.settings().keep_done, world.settings().lease) = (Keep::Forever, secs(6));
    world.submit(vec![Group { deadline: Some(secs(10)), ..group("q", 1) }, group("q", 1)]);
    let last = world.now.plus(secs(16));
    let claim = Claim {
        queues: vec![name("q")],
        max: 2,
        lease: Some(secs(3_600)),
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    let Ok(Outcome::Claimed(grants)) = world.run(Command::Claim(claim)) else { panic!("refused") };
    assert_eq!((grants[0].until, grants[1].until), (last, world.now.plus(secs(3_600))));
    let lease = LeaseId { id: JobId(1), attempt: Attempt(1) };
    let extend = |world: &mut World, time| {
        let command = Command::Extend { items: vec![lease], lease: Some(secs(time)) };
        let Ok(Outcome::Extended(results)) = world.run(command) else { panic!("refused") };
        results[0].unwrap()
    };
    assert_eq!(extend(&mut world, 5), world.now.plus(secs(5)));
    world.wait(secs(4));
    assert_eq!(extend(&mut world, 3_600), last);
    world.wait(secs(11));
    assert_eq!(extend(&mut world, 3_600), last, "after the deadline too");
    world.wait(secs(1));
    assert_eq!((world.kind(1), world.job(1).crashes()), (Some(StateKind::Expired), 1), "nobody else gets it");
}

#[test]
fn an_error_is_cut_at_a_characters_edge() {
    let mut world = World::new();
    world.submit(vec![group("q", 2)]);
    let leases = world.claim("q", 2);
    world.fail(&leases[..1], &"a".repeat(Failure::TEXT_MAX));
    world.fail(&leases[1..], &format!("a{}", "é".repeat(Failure::TEXT_MAX)));
    assert_eq!(world.job(1).failures()[0].error.len(), Failure::TEXT_MAX);
    assert_eq!(*world.job(2).failures()[0].error, format!("a{}", "é".repeat((Failure::TEXT_MAX - 1) / 2)));
}

#[test]
fn the_newest_failures_are_remembered() {
    let mut world = World::new();
    world.submit(vec![group("q", 1)]);
    for n in 1..=4 {
        let lease = world.claim("q", 1);
        world.fail(&lease, &format!("error {n}"));
        world.wait(secs(60));
    }
    let errors: Vec<_> = world.job(1).failures().iter().map(|failure| failure.error.to_string()).collect();
    assert_eq!(errors, ["error 2", "error 3", "error 4"]);
}

#[test]
fn what_is_evicted_on_the_way_down_is_given_back_without_blame() {
    let mut world = World::new();
    world.submit(vec![group("q", 2)]);
    world.claim_for("q", 1, Holder::Session(1));
    world.claim_for("q", 1, Holder::Anyone);
    world.run(Command::Evict).unwrap();
    let job = world.job(1);
    assert_eq!(
        (job.state(), job.failed(), job.crashes(), job.attempt()),
        (JobState::Ready, 0, 0, Attempt(1))
    );
    assert_eq!(world.kind(2), Some(StateKind::Leased), "a lease that is bound to no connection stays");
}

#[test]
fn a_queue_that_one_claim_names_twice_gives_each_job_once() {
    let mut world = World::new();
    world.submit(vec![group("q", 2), group("r", 1)]);
    let queues = ["q", "none", "q", "r", "none"].map(name).to_vec();
    let claim = Claim {
        queues,
        max: 10,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    let Ok(Outcome::Claimed(grants)) = world.run(Command::Claim(claim)) else { panic!("refused") };
    assert_eq!(grants.iter().map(|grant| grant.id.0).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn jobs_that_one_does_not_see_are_not_there() {
    let mut world = World::new();
    world.submit(vec![group("mine", 1), group("theirs", 1)]);
    let leases = [world.claim("mine", 1), world.claim("theirs", 1)].concat();
    let mine = |spec: &Spec| spec.queue == name("mine");
    let moment = Moment { now: world.now, random: 0 };
    let mut ask = |command| world.core.decide(&command, Visibility::of(&mine), moment, &mut Unheard).unwrap();
    let id = JobId(2);
    let extended = ask(Command::Extend { items: leases.clone(), lease: Some(secs(9)) });
    let until = world.now.plus(secs(9));
    assert_eq!(extended, Outcome::Extended(vec![Ok(until), Err(LeaseRejection::NotFound { id })]));
    // A job that is hidden, and one that never was.
    let edit = |only| Command::Edit { edit: Edit::Cancel, ids: [2, 9].map(JobId).into(), only };
    let not_found = [2, 9].map(|id| Err(EditRejection::NotFound { id: JobId(id) }));
    assert_eq!(ask(edit(Only::default())), Outcome::Edited(not_found.into()));
    let moved_on = [2, 9].map(|id| Err(EditRejection::MovedOn { id: JobId(id) }));
    let leased = Only { state: Some(StateKind::Leased), queue: None };
    assert_eq!(ask(edit(leased)), Outcome::Edited(moved_on.into()));
    let items = leases.iter().map(|lease| (*lease, Verdict::Complete)).collect();
    let settled = ask(Command::Settle { items });
    assert_eq!(settled, Outcome::Settled(vec![Ok(()), Err(LeaseRejection::NotFound { id })]));
    assert_eq!((world.kind(1), world.kind(2)), (None, Some(StateKind::Leased)));
}

#[test]
fn a_change_of_jobs_that_are_like_something_spares_those_that_are_not_any_more() {
    let mut world = World::new();
    world.submit(vec![group("q", 3), group("other", 1)]);
    world.claim("q", 1);
    let only = Only { state: Some(StateKind::Ready), queue: Some(name("q")) };
    let ids = [1, 2, 4, 3].map(JobId).into();
    let Ok(Outcome::Edited(results)) = world.run(Command::Edit { edit: Edit::Delete, ids, only }) else {
        panic!("refused")
    };
    let moved_on = |id| Err(EditRejection::MovedOn { id: JobId(id) });
    assert_eq!(results, [moved_on(1), Ok(()), moved_on(4), Ok(())]);
}
