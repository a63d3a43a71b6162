//! Jobs that wait for others, and groups: what each comes to, by examples; and by long random sequences, against a plain
//! account of what was asked for (`flow/account.rs`).

mod account;
mod limits;

use super::world::{World, group, name, secs, view};
use crate::core::*;

/// Ended jobs are kept.
fn keeping() -> World {
    let mut world = World::new();
    let settings = world.settings();
    (settings.keep_done, settings.keep_done_max) = (Keep::Forever, u64::MAX);
    world
}

fn after(on: AfterWhat, when: Condition) -> After {
    After { on, when }
}

fn job(id: u64) -> AfterWhat {
    AfterWhat::Job(JobId(id))
}

fn of_group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

/// One job that waits for these.
fn waits(after: Vec<After>, on_unmet: OnUnmet) -> Group {
    Group { ties: Some(Ties { after, on_unmet, ..Ties::default() }.into()), ..group("q", 1) }
}

fn waits_for(id: u64) -> Group {
    waits(vec![after(job(id), Condition::Done)], OnUnmet::Cancel)
}

/// Jobs of a group.
fn members(name: &str, count: u64) -> Group {
    let ties = Ties { group: Some(of_group(name)), ..Ties::default() };
    Group { ties: Some(ties.into()), ..group("q", count) }
}

fn seal(world: &mut World, name: &str) {
    let command = Command::Group { name: of_group(name), action: GroupAction::Seal, by: None };
    assert_eq!(world.run(command), Ok(Outcome::Ok));
}

fn refused(world: &mut World, groups: Vec<Group>) -> FlowRejection {
    let before = view(&world.core.state);
    match world.run(Command::Submit { groups: groups.into() }) {
        Err(Rejection::Flow(why)) => {
            assert_eq!(view(&world.core.state), before);
            why
        }
        other => panic!("{other:?}"),
    }
}

fn complete(world: &mut World, count: u32) {
    let leases = world.claim("q", count);
    assert_eq!(leases.len(), count as usize);
    assert!(world.settle(&leases, Verdict::Complete).iter().all(Result::is_ok));
}

fn bury(world: &mut World) {
    let leases = world.claim("q", 1);
    let verdict = Verdict::Fail { error: "no".into(), exit: None, then: Then::Bury };
    assert_eq!(world.settle(&leases, verdict), [Ok(())]);
}

#[track_caller]
fn are(world: &World, kinds: &[(u64, StateKind)]) {
    for (id, kind) in kinds {
        assert_eq!(world.kind(*id), Some(*kind), "job {id}");
    }
}

use StateKind::{Cancelled, Dead, Done, Ready, Scheduled, Waiting};

#[test]
fn a_job_waits_for_all_that_it_is_to_wait_for() {
    let mut world = keeping();
    world.submit(vec![group("q", 2)]);
    let both = vec![after(job(1), Condition::Done), after(job(2), Condition::Done)];
    world.submit(vec![waits(both, OnUnmet::Cancel)]);
    complete(&mut world, 1);
    are(&world, &[(3, Waiting)]);
    complete(&mut world, 1);
    are(&world, &[(3, Ready)]);
    complete(&mut world, 1);
}

#[test]
fn a_condition_is_met_by_the_ends_that_it_names_and_by_no_others() {
    use Condition as When;
    let ends: [(StateKind, &[When]); 4] = [
        (Done, &[When::Done, When::Ended]),
        (Dead, &[When::Ended, When::Failed]),
        (Cancelled, &[When::Ended]),
        (StateKind::Expired, &[When::Ended, When::Failed]),
    ];
    for (end, met_by) in ends {
        for when in [When::Done, When::Ended, When::Failed] {
            for (on_unmet, unmet) in
                [(OnUnmet::Cancel, Cancelled), (OnUnmet::Run, Ready), (OnUnmet::Hold, Waiting)]
            {
                let mut world = keeping();
                world.submit(vec![Group { deadline: Some(secs(60)), ..group("q", 1) }]);
                world.submit(vec![waits(vec![after(job(1), when)], on_unmet)]);
                match end {
                    Done => complete(&mut world, 1),
                    Dead => bury(&mut world),
                    Cancelled => assert_eq!(world.edit(Edit::Cancel, &[1]), [Ok(())]),
                    _ => world.wait(secs(60)),
                }
                are(&world, &[(1, end)]);
                let expected = if met_by.contains(&when) { Ready } else { unmet };
                assert_eq!(world.kind(2), Some(expected), "{when:?} after {end}, {on_unmet:?}");
            }
        }
    }
}

#[test]
fn what_is_cancelled_takes_those_with_it_that_wait_for_it_and_so_on() {
    let mut world = keeping();
    world.submit(vec![group("q", 1)]);
    for id in 1..200 {
        world.submit(vec![waits_for(id)]);
    }
    let recovery = waits(vec![after(job(200), Condition::Ended)], OnUnmet::Cancel);
    world.submit(vec![recovery]);
    assert_eq!(world.edit(Edit::Cancel, &[1]), [Ok(())]);
    assert!((1..=200).all(|id| world.kind(id) == Some(Cancelled)));
    are(&world, &[(201, Ready)]);
}

#[test]
fn a_job_that_is_not_kept_has_told_those_that_wait_for_it() {
    let mut world = keeping();
    (world.settings().keep_done, world.settings().keep_dead) = (Keep::No, Keep::No);
    world.submit(vec![group("q", 2)]);
    world.submit(vec![waits_for(1), waits_for(2)]);
    complete(&mut world, 1);
    bury(&mut world);
    assert_eq!([1, 2, 4].map(|id| world.kind(id)), [None, None, None]);
    are(&world, &[(3, Ready)]);
    // How it ended is still known.
    world.submit(vec![waits_for(1), waits_for(2)]);
    assert_eq!((world.kind(5), world.kind(6)), (Some(Ready), None));
}

#[test]
fn who_waits_for_a_job_that_is_deleted_is_told_so() {
    let mut world = keeping();
    world.submit(vec![group("q", 1)]);
    let ended = |on_unmet| waits(vec![after(job(1), Condition::Ended)], on_unmet);
    world.submit(vec![waits_for(1), ended(OnUnmet::Cancel), ended(OnUnmet::Run), ended(OnUnmet::Hold)]);
    assert_eq!(world.edit(Edit::Delete, &[1]), [Ok(())]);
    are(&world, &[(2, Cancelled), (3, Cancelled), (4, Ready), (5, Waiting)]);
    assert_eq!(world.edit(Edit::Kick, &[5]), [Ok(())]);
    are(&world, &[(5, Ready)]);
}

#[test]
fn a_job_that_waits_on_goes_on_when_the_other_one_was_mended() {
    let mut world = keeping();
    world.submit(vec![group("q", 1)]);
    world.submit(vec![waits(vec![after(job(1), Condition::Done)], OnUnmet::Hold)]);
    bury(&mut world);
    are(&world, &[(1, Dead), (2, Waiting)]);
    for _ in 0..2 {
        assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
        bury(&mut world);
        are(&world, &[(1, Dead), (2, Waiting)]);
    }
    assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
    complete(&mut world, 1);
    are(&world, &[(2, Ready)]);
}

#[test]
fn a_delay_holds_beside_what_is_waited_for() {
    let mut world = keeping();
    world.submit(vec![group("q", 1)]);
    let late = Group { start: Start::After(secs(60)), ..waits_for(1) };
    world.submit(vec![late.clone(), late]);
    world.wait(secs(20));
    complete(&mut world, 1);
    are(&world, &[(2, Scheduled), (3, Scheduled)]);
    world.wait(secs(39));
    are(&world, &[(2, Scheduled)]);
    world.wait(secs(1));
    are(&world, &[(2, Ready), (3, Ready)]);
    world.submit(vec![Group { start: Start::After(secs(5)), ..waits_for(2) }]);
    world.wait(secs(9));
    complete(&mut world, 1);
    are(&world, &[(4, Ready)]);
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let mut world = keeping();
    world.submit(vec![members("g", 1)]);
    seal(&mut world, "g");
    let place = |place| waits(vec![after(AfterWhat::Place(place), Condition::Done)], OnUnmet::Cancel);
    let not_before = |at, place| FlowRejection::NotBefore { at, place };
    assert_eq!(refused(&mut world, vec![place(0)]), not_before(0, 0), "itself");
    assert_eq!(refused(&mut world, vec![group("q", 3), place(3)]), not_before(3, 3));
    assert_eq!(refused(&mut world, vec![place(1), group("q", 3)]), not_before(0, 1), "a later one");
    assert_eq!(refused(&mut world, vec![waits_for(2)]), FlowRejection::NoSuchJob { id: JobId(2) });
    assert_eq!(refused(&mut world, vec![waits_for(0)]), FlowRejection::NoSuchJob { id: JobId(0) });
    let many = (0..65).map(|_| after(job(1), Condition::Done)).collect();
    let too_many = FlowRejection::TooManyEdges { count: 65, limit: 64 };
    assert_eq!(refused(&mut world, vec![waits(many, OnUnmet::Run)]), too_many);
    assert_eq!(refused(&mut world, vec![members("g", 1)]), FlowRejection::Sealed { group: of_group("g") });
    let own = Ties {
        after: vec![after(AfterWhat::Group(of_group("h")), Condition::Done)],
        group: Some(of_group("h")),
        ..Ties::default()
    };
    let own = Group { ties: Some(own.into()), ..group("q", 1) };
    assert_eq!(refused(&mut world, vec![own]), FlowRejection::WaitsForItself { group: of_group("h") });
    let mut other = members("g", 1);
    std::sync::Arc::make_mut(&mut other.spec).options_mut().owner = 7;
    world.core.settings.own_user = 1;
    assert_eq!(refused(&mut world, vec![other]), FlowRejection::NotYours { group: of_group("g") });
    (world.core.settings.groups_max, world.core.settings.groups_per_user) = (2, 1);
    let two = vec![members("i", 1), members("j", 1)];
    assert_eq!(refused(&mut world, two), FlowRejection::TooManyGroups { limit: 2 });
    let mut another = members("i", 1);
    std::sync::Arc::make_mut(&mut another.spec).options_mut().owner = 7;
    world.submit(vec![another.clone()]);
    world.core.settings.groups_max = 3;
    let ties = Ties { group: Some(of_group("k")), ..Ties::default() };
    let again = Group { ties: Some(ties.into()), ..another };
    assert_eq!(refused(&mut world, vec![again]), FlowRejection::TooManyOwnGroups { limit: 1 });
}

#[test]
fn a_graph_arrives_in_one_submit() {
    let mut world = keeping();
    let on = |places: &[u32]| {
        let after = places.iter().map(|place| after(AfterWhat::Place(*place), Condition::Done));
        waits(after.collect(), OnUnmet::Cancel)
    };
    world.submit(vec![group("q", 3), on(&[0, 1]), on(&[1, 2]), on(&[3, 4])]);
    are(&world, &[(1, Ready), (2, Ready), (3, Ready), (4, Waiting), (5, Waiting), (6, Waiting)]);
    complete(&mut world, 2);
    are(&world, &[(4, Ready), (5, Waiting), (6, Waiting)]);
    complete(&mut world, 2);
    are(&world, &[(5, Ready), (6, Waiting)]);
    complete(&mut world, 1);
    are(&world, &[(6, Ready)]);
}

#[test]
fn places_are_those_of_the_jobs_that_are_there_where_keys_are_unique() {
    let mut world = keeping();
    let unique = Spec::plain(name("q")).with_unique(Some(Key::new([1; 16])));
    let unique = || Group::new(unique.clone(), 1);
    world.run(Command::Submit { groups: vec![group("q", 1), unique()].into() }).unwrap();
    let last = waits(vec![after(AfterWhat::Place(0), Condition::Done)], OnUnmet::Cancel);
    let receipts = world.run(Command::Submit { groups: vec![unique(), last].into() });
    let expected = vec![Receipt::Existing(JobId(2)), Receipt::New(JobId(3))];
    assert_eq!(receipts, Ok(Outcome::Received(expected)));
    complete(&mut world, 1);
    are(&world, &[(3, Waiting)]);
    complete(&mut world, 1);
    are(&world, &[(3, Ready)]);
}

/// What a group has: live, done, dead, cancelled, expired, gone.
fn counts(world: &World, name: &str) -> [u64; 6] {
    let GroupCounts { live, done, dead, cancelled, expired, gone } =
        world.core.state.groups().named(&of_group(name)).expect("it is there").1.counts;
    [live, done, dead, cancelled, expired, gone]
}

fn after_group(name: &str, when: Condition) -> Group {
    waits(vec![after(AfterWhat::Group(of_group(name)), when)], OnUnmet::Cancel)
}

#[test]
fn a_group_ends_with_the_last_of_its_jobs_but_not_before_it_is_sealed() {
    let mut world = keeping();
    // Who waits for it may come first.
    world.submit(vec![after_group("g", Condition::Done), after_group("g", Condition::Failed)]);
    world.submit(vec![members("g", 2)]);
    complete(&mut world, 2);
    assert_eq!(counts(&world, "g"), [0, 2, 0, 0, 0, 0]);
    are(&world, &[(1, Waiting)]);
    world.submit(vec![members("g", 1)]);
    seal(&mut world, "g");
    are(&world, &[(1, Waiting)]);
    complete(&mut world, 1);
    are(&world, &[(1, Ready), (2, Cancelled)]);
    seal(&mut world, "g");
    assert_eq!(world.fresh(), [], "sealed once more");
}

#[test]
fn a_group_with_a_job_that_failed_has_failed_and_an_empty_one_ended_well() {
    let mut world = keeping();
    (world.settings().keep_done, world.settings().keep_dead) = (Keep::No, Keep::No);
    world.submit(vec![members("g", 4)]);
    let after_both = [after_group("g", Condition::Failed), after_group("g", Condition::Done)];
    world.submit(after_both.to_vec());
    complete(&mut world, 1);
    bury(&mut world);
    world.edit(Edit::Cancel, &[3]);
    world.edit(Edit::Delete, &[4]);
    seal(&mut world, "g");
    assert_eq!(counts(&world, "g"), [0, 1, 1, 1, 0, 1]);
    assert_eq!((world.kind(5), world.kind(6)), (Some(Ready), None));
    complete(&mut world, 1);
    world.submit(vec![after_group("empty", Condition::Done), after_group("empty", Condition::Failed)]);
    seal(&mut world, "empty");
    assert_eq!((world.kind(7), world.kind(8)), (Some(Ready), None));
}

#[test]
fn a_job_that_runs_again_opens_its_group_again() {
    let mut world = keeping();
    world.submit(vec![members("g", 1)]);
    let on_hold = vec![after(AfterWhat::Group(of_group("g")), Condition::Done)];
    world.submit(vec![waits(on_hold, OnUnmet::Hold)]);
    seal(&mut world, "g");
    bury(&mut world);
    are(&world, &[(2, Waiting)]);
    assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
    assert_eq!(counts(&world, "g"), [1, 0, 0, 0, 0, 0]);
    complete(&mut world, 1);
    are(&world, &[(2, Ready)]);
}

#[test]
fn a_member_brings_more_to_its_group_with_its_end_even_if_it_is_sealed() {
    let mut world = keeping();
    world.submit(vec![members("g", 1), after_group("g", Condition::Done)]);
    seal(&mut world, "g");
    let lease = world.claim("q", 1)[0];
    let groups = vec![members("g", 2)].into();
    let follow = Command::CompleteAndSubmit { lease, groups, request: None };
    assert!(world.run(follow).is_ok());
    assert_eq!(counts(&world, "g"), [2, 1, 0, 0, 0, 0]);
    complete(&mut world, 2);
    are(&world, &[(2, Ready)]);
}

#[test]
fn a_group_is_forgotten_after_its_end_unless_somebody_waits_for_it() {
    let mut world = keeping();
    let kept = world.core.settings.groups_kept;
    world.submit(vec![members("g", 1), members("open", 1), members("held", 1)]);
    let on_hold = vec![after(AfterWhat::Group(of_group("held")), Condition::Failed)];
    world.submit(vec![waits(on_hold, OnUnmet::Hold)]);
    seal(&mut world, "g");
    seal(&mut world, "held");
    complete(&mut world, 3);
    world.wait(kept);
    let named = |world: &World, name: &str| world.core.state.groups().named(&of_group(name)).is_some();
    assert_eq!(["g", "open", "held"].map(|name| named(&world, name)), [false, true, true]);
    // One of the same name is another: what runs again is none of its jobs.
    world.submit(vec![members("g", 1)]);
    assert_eq!(world.edit(Edit::Retry, &[1]), [Ok(())]);
    assert_eq!(counts(&world, "g"), [1, 0, 0, 0, 0, 0]);
    let forget = |name| Command::Group { name: of_group(name), action: GroupAction::Forget, by: Some(0) };
    let has_jobs = FlowRejection::HasJobs { group: of_group("g"), jobs: 1 };
    assert_eq!(world.run(forget("g")), Err(has_jobs.into()));
    assert_eq!(world.run(forget("open")), Ok(Outcome::Ok));
    assert_eq!(world.run(forget("open")), Err(FlowRejection::NoSuchGroup { group: of_group("open") }.into()));
    let not_yours = FlowRejection::NotYours { group: of_group("held") };
    let forget = Command::Group { name: of_group("held"), action: GroupAction::Forget, by: Some(9) };
    assert_eq!(world.run(forget), Err(not_yours.into()));
}

/// Ten thousand that are alike are one entry, whoever they wait for; those that are not are told a part at a time.
#[test]
fn many_that_wait_for_one_are_told_in_bounded_steps() {
    let mut world = keeping();
    world.checks = false;
    world.submit(vec![group("q", 1)]);
    world.submit(vec![Group { count: 10_000, ..waits_for(1) }]);
    // Of two priorities in turn, so that no two neighbours are alike.
    let different = (0..5_000u32).map(|nth| {
        let mut one = waits_for(1);
        std::sync::Arc::make_mut(&mut one.spec).options_mut().priority = Priority(nth % 2);
        one
    });
    let groups: Vec<Group> = different.collect();
    world.submit(groups);
    complete(&mut world, 1);
    let waiting = |world: &World| world.core.state.queue(&name("q")).unwrap().counts().of(Waiting);
    assert!((3_000..5_000).contains(&waiting(&world)), "{} wait still", waiting(&world));
    assert_eq!(world.core.state.next_due(), Some(Time(0)), "the rest follows at once");
    // A daemon that starts now goes on where the other one was.
    let restored = world.restored();
    assert_eq!(view(&restored), view(&world.core.state));
    world.core.state = restored;
    let mut ticks = 0;
    while world.core.state.next_due() == Some(Time(0)) {
        world.wait(secs(0));
        ticks += 1;
    }
    assert_eq!(waiting(&world), 0);
    assert!((3..=5).contains(&ticks), "{ticks} ticks");
    check::check(&world.core.state);
}
