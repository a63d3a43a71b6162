//! Schedules: which of their times have a job, whatever else there is of them; and that they come back as they were.

use super::world::{World, name, secs, view};
use crate::core::*;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

fn nightly() -> ScheduleName {
    ScheduleName::new("nightly").unwrap()
}

fn plan(catch_up: CatchUp, overlap: Overlap) -> Plan {
    Plan {
        rhythm: Rhythm::Every(secs(10)),
        catch_up,
        overlap,
        jitter: Duration::ZERO,
        spec: Spec::plain(name("q")).into(),
        usual_priority: true,
        ttl: None,
        deadline: None,
        payload: Payload { body: (*b"body").into(), envelope: None },
        configured: false,
    }
}

fn act(world: &mut World, action: ScheduleAction) -> Result<Outcome, Rejection> {
    world.run(Command::Schedule { name: nightly(), action })
}

fn set(world: &mut World, plan: Plan) -> Result<Outcome, Rejection> {
    let (since, next) = (world.now, world.now.plus(secs(10)));
    act(world, ScheduleAction::Set { plan: Arc::new(plan), since, next, replace: false })
}

/// A world with one schedule, which fires each ten seconds from ten seconds on.
fn world_with(catch_up: CatchUp, overlap: Overlap) -> World {
    let mut world = World::new();
    set(&mut world, plan(catch_up, overlap)).unwrap();
    world
}

fn schedule(world: &World) -> &Schedule {
    world.core.state.schedules().get(&nightly()).unwrap()
}

/// Lets so many seconds pass and fires for all times that have come. Returns how many jobs that made.
fn pass(world: &mut World, seconds: u64) -> u64 {
    world.now = world.now.plus(secs(seconds));
    let (now, mut next, mut times) = (world.now, schedule(world).next, Vec::new());
    while next <= now {
        times.push(next);
        next = next.plus(secs(10));
    }
    match act(world, ScheduleAction::Fire { times, next, now }).unwrap() {
        Outcome::Submitted(ids) => ids.len,
        Outcome::Ok => 0,
        other => panic!("{other:?}"),
    }
}

fn finish_one(world: &mut World) {
    let leases = world.claim("q", 1);
    assert!(world.settle(&leases, Verdict::Complete).iter().all(Result::is_ok));
}

#[test]
fn a_time_that_has_come_has_a_job_in_the_same_decision() {
    let mut world = world_with(CatchUp::One, Overlap::Allow);
    let begun = world.now;
    assert_eq!((pass(&mut world, 9), pass(&mut world, 1)), (0, 1));
    assert!(
        matches!(world.fresh(), [Event::Submitted { .. }, Event::Row(RowEvent::Schedule { .. })]),
        "{:?}",
        world.fresh()
    );
    let found = schedule(&world);
    assert_eq!((found.fired, found.next), (1, begun.plus(secs(20))));
    assert_eq!(found.runs, [Run { at: begun.plus(secs(10)), job: JobId(1) }]);
    assert_eq!(world.kind(1), Some(StateKind::Ready));
    for _ in 0..9 {
        assert_eq!(pass(&mut world, 10), 1);
    }
    assert_eq!(schedule(&world).runs.len(), Schedule::RUNS, "the newest are remembered");
}

/// How late it is, what becomes of that, and how many of four times have no job.
#[test]
fn what_was_missed_is_caught_up_as_asked() {
    for (catch_up, late, jobs, skipped) in
        [(CatchUp::Skip, 0, 1, 3), (CatchUp::Skip, 5, 1, 3), (CatchUp::One, 0, 1, 3), (CatchUp::All, 0, 4, 0)]
    {
        let mut world = world_with(catch_up, Overlap::Allow);
        assert_eq!(pass(&mut world, 40 + late), jobs, "{catch_up:?}");
        assert_eq!((schedule(&world).fired, schedule(&world).skipped), (jobs, skipped), "{catch_up:?}");
    }
    // The newest one is long ago.
    for (catch_up, jobs) in [(CatchUp::Skip, 0), (CatchUp::One, 1), (CatchUp::All, 1)] {
        let mut world = world_with(catch_up, Overlap::Allow);
        let (at, now) = (schedule(&world).next, world.now.plus(secs(3_600)));
        (world.now, world.random) = (now, 0);
        let next = now.plus(secs(10));
        act(&mut world, ScheduleAction::Fire { times: vec![at], next, now }).unwrap();
        let found = schedule(&world);
        assert_eq!((found.fired, found.skipped, found.since, found.next), (jobs, 1 - jobs, at, next));
    }
}

#[test]
fn overlap_skip_has_no_job_while_the_last_one_has_not_ended() {
    let mut world = world_with(CatchUp::All, Overlap::Skip);
    assert_eq!(pass(&mut world, 40), 1, "those that are caught up overlap as well");
    assert_eq!(pass(&mut world, 10), 0);
    let leases = world.claim("q", 1);
    assert_eq!(pass(&mut world, 10), 0, "it runs");
    world.fail(&leases, "no");
    assert_eq!(pass(&mut world, 10), 0, "it waits for its next attempt");
    world.edit(Edit::Cancel, &[1]);
    assert_eq!(pass(&mut world, 10), 1);
    assert_eq!((schedule(&world).fired, schedule(&world).skipped), (2, 6));
}

#[test]
fn overlap_queue_lets_one_wait_until_the_last_has_ended() {
    let mut world = world_with(CatchUp::One, Overlap::Queue);
    assert_eq!(pass(&mut world, 10), 1);
    assert_eq!((pass(&mut world, 10), pass(&mut world, 10)), (0, 0));
    assert!(schedule(&world).waits);
    assert_eq!(schedule(&world).skipped, 1, "one waits at most");
    assert_eq!(act(&mut world, ScheduleAction::FireWaiting), Ok(Outcome::Ok), "it has not ended");
    finish_one(&mut world);
    let fired = act(&mut world, ScheduleAction::FireWaiting).unwrap();
    assert_eq!(fired, Outcome::Submitted(JobId(2).into()));
    assert!(!schedule(&world).waits);
    assert_eq!(act(&mut world, ScheduleAction::FireWaiting), Ok(Outcome::Ok), "it was the only one");
}

#[test]
fn overlap_replace_cancels_the_one_that_waits_and_leaves_the_one_that_runs() {
    let mut world = world_with(CatchUp::One, Overlap::Replace);
    world.settings().keep_done = Keep::Forever;
    pass(&mut world, 10);
    assert_eq!(pass(&mut world, 10), 1);
    assert_eq!((world.kind(1), world.kind(2)), (Some(StateKind::Cancelled), Some(StateKind::Ready)));
    world.claim("q", 1);
    assert_eq!(pass(&mut world, 10), 1);
    assert_eq!((world.kind(2), world.kind(3)), (Some(StateKind::Leased), Some(StateKind::Ready)));
}

#[test]
fn a_full_queue_delays_a_job_and_loses_none() {
    let mut world = world_with(CatchUp::One, Overlap::Allow);
    world.settings().backlog = 1;
    assert_eq!((pass(&mut world, 10), pass(&mut world, 10), pass(&mut world, 10)), (1, 0, 0));
    assert_eq!((schedule(&world).waits, schedule(&world).skipped), (true, 1));
    assert_eq!(act(&mut world, ScheduleAction::FireWaiting), Ok(Outcome::Ok));
    finish_one(&mut world);
    assert_eq!(act(&mut world, ScheduleAction::FireWaiting), Ok(Outcome::Submitted(JobId(2).into())));
}

#[test]
fn nothing_fires_while_draining_and_a_pause_drops_what_waits() {
    let mut world = world_with(CatchUp::One, Overlap::Queue);
    assert_eq!((pass(&mut world, 10), pass(&mut world, 10)), (1, 0));
    world.core.draining = true;
    let now = world.now.plus(secs(10));
    let fire = ScheduleAction::Fire { times: vec![now], next: now.plus(secs(10)), now };
    for action in [fire, ScheduleAction::FireWaiting, ScheduleAction::Trigger { at: now }] {
        assert_eq!(act(&mut world, action), Err(Rejection::Draining));
    }
    world.core.draining = false;
    act(&mut world, ScheduleAction::Pause).unwrap();
    let found = schedule(&world);
    assert_eq!((found.paused, found.waits, found.skipped), (true, false, 1));
    assert_eq!(world.core.state.schedules().first(ScheduleClock::Core), None);
    act(&mut world, ScheduleAction::Pause).unwrap();
    assert!(world.fresh().is_empty());
    let (since, next) = (world.now, world.now.plus(secs(10)));
    act(&mut world, ScheduleAction::Resume { since, next }).unwrap();
    assert_eq!(world.core.state.schedules().first(ScheduleClock::Core), Some((next, &nightly())));
}

#[test]
fn a_job_by_hand_is_out_of_turn() {
    let mut world = world_with(CatchUp::One, Overlap::Skip);
    let (at, next) = (world.now, schedule(&world).next);
    act(&mut world, ScheduleAction::Pause).unwrap();
    for id in 1..3 {
        let triggered = act(&mut world, ScheduleAction::Trigger { at });
        assert_eq!(triggered, Ok(Outcome::Submitted(JobId(id).into())));
    }
    assert_eq!((schedule(&world).next, schedule(&world).fired), (next, 2));
    world.settings().backlog = 2;
    let refused = act(&mut world, ScheduleAction::Trigger { at });
    assert!(matches!(refused, Err(Rejection::QueueFull { .. })));
}

#[test]
fn jobs_have_the_priority_of_their_queue_and_jitter() {
    let mut world = World::new();
    let jittery = Plan { jitter: secs(5), ..plan(CatchUp::All, Overlap::Allow) };
    set(&mut world, jittery).unwrap();
    world.settings().priority = Priority(7);
    world.random = 99;
    assert_eq!(pass(&mut world, 100), 10);
    let dues: Vec<Time> = (1..=10).map(|id| world.job(id).next_due()).collect();
    assert!(dues.iter().any(|due| *due != dues[0]), "each has a delay of its own: {dues:?}");
    assert!(dues.iter().all(|due| *due == Time::NEVER || *due <= world.now.plus(secs(5))), "{dues:?}");
    assert!((1..=10).all(|id| world.job(id).spec.priority == Priority(7)));
}

#[test]
fn names_and_numbers_are_bounded() {
    let mut world = world_with(CatchUp::One, Overlap::Allow);
    let there = plan(CatchUp::One, Overlap::Allow);
    let exists = ScheduleRejection::Exists { schedule: nightly() };
    assert_eq!(set(&mut world, there.clone()), Err(exists.into()));
    let clash = ScheduleRejection::MadeByHand { schedule: nightly() };
    assert_eq!(set(&mut world, Plan { configured: true, ..there.clone() }), Err(clash.into()));
    world.core.settings.schedules_max = 1;
    let (since, next) = (world.now, world.now);
    let action = ScheduleAction::Set { plan: Arc::new(there.clone()), since, next, replace: true };
    let other = ScheduleName::new("other").unwrap();
    let refused = world.run(Command::Schedule { name: other, action: action.clone() });
    assert_eq!(refused, Err(ScheduleRejection::TooMany { limit: 1 }.into()));
    act(&mut world, action).unwrap();
    assert!(world.fresh().is_empty(), "the same again is nothing");
    let configured = ScheduleRejection::Configured { schedule: nightly() };
    assert_eq!(act(&mut world, ScheduleAction::Remove { configured: true }), Err(configured.into()));
    act(&mut world, ScheduleAction::Remove { configured: false }).unwrap();
    let unknown = ScheduleRejection::NotFound { schedule: nightly() };
    assert_eq!(act(&mut world, ScheduleAction::Pause), Err(unknown.into()));
    assert!(ScheduleName::new("two words").is_err());
}

/// One step of the life of a schedule and of its jobs.
#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Claim,
    Settle(bool),
    Waiting,
    Trigger,
    Pause,
    Resume,
    Replace(bool),
    Full(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u64..45).prop_map(Step::Pass),
        4 => Just(Step::Claim),
        4 => any::<bool>().prop_map(Step::Settle),
        4 => Just(Step::Waiting),
        1 => Just(Step::Trigger),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        1 => any::<bool>().prop_map(Step::Replace),
        1 => any::<bool>().prop_map(Step::Full),
    ]
}

proptest! {
    /// Each time has a job, is counted as one that has none, or waits; and all of it is the fold of the events, and comes
    /// back from rows.
    #[test]
    fn every_time_is_accounted_for(
        steps in prop::collection::vec(step(), 0..40),
        catch_up in prop::sample::select(CatchUp::ALL.map(|(_, it)| it).to_vec()),
        overlap in prop::sample::select(Overlap::ALL.map(|(_, it)| it).to_vec()),
    ) {
        let mut world = world_with(catch_up, overlap);
        let (mut times, mut triggered, mut leases) = (0, 0, Vec::new());
        for step in steps {
            match step {
                Step::Pass(seconds) => {
                    let next = schedule(&world).next;
                    let paused = schedule(&world).paused;
                    world.now = world.now.plus(secs(seconds));
                    if !paused && next <= world.now {
                        times += world.now.since(next).as_secs() / 10 + 1;
                        pass(&mut world, 0);
                    }
                }
                Step::Claim => leases.extend(world.claim("q", 1)),
                Step::Settle(well) => if let Some(lease) = leases.pop() {
                    let verdict = if well { Verdict::Complete } else { Verdict::Release { delay: secs(1) } };
                    world.settle(&[lease], verdict);
                }
                Step::Waiting => {
                    act(&mut world, ScheduleAction::FireWaiting).unwrap();
                }
                Step::Trigger => {
                    let at = world.now;
                    triggered += u64::from(act(&mut world, ScheduleAction::Trigger { at }).is_ok());
                }
                Step::Pause => drop(act(&mut world, ScheduleAction::Pause).unwrap()),
                Step::Resume => {
                    let (since, next) = (world.now, world.now.plus(secs(10)));
                    act(&mut world, ScheduleAction::Resume { since, next }).unwrap();
                }
                Step::Replace(configured) => {
                    let Schedule { since, next, .. } = *schedule(&world);
                    let plan = Plan { ttl: Some(secs(1_000)), configured, ..plan(catch_up, overlap) };
                    let replaced = act(&mut world, ScheduleAction::Set { plan: plan.into(), since, next, replace: true });
                    prop_assert_eq!(replaced.is_err(), configured);
                }
                Step::Full(full) => world.settings().backlog = if full { 2 } else { 0 },
            }
            let found = schedule(&world);
            prop_assert_eq!(found.fired + found.skipped + u64::from(found.waits), times + triggered);
            if overlap == Overlap::Skip && triggered == 0 {
                let all = world.core.state.runs(IdRange::new(JobId(1), 1 << 40));
                let live = all.iter().filter(|(_, job)| !job.kind().is_final()).map(|(range, _)| range.len);
                prop_assert!(live.sum::<u64>() <= 1);
            }
        }
        for state in world.restarts() {
            prop_assert_eq!(view(&state), view(&world.core.state));
            check::check(&state);
        }
    }
}
