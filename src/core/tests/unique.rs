//! Unique keys: who holds one, for how long, and what a conflict comes to.

use super::world::{World, group, name, secs};
use crate::core::*;
use std::slice::from_ref;

fn key(n: u8) -> Option<Key> {
    Some(Key::new([n; 16]))
}

/// One job with a unique key.
fn one(n: u8, held: UniqueWhile, on_conflict: OnConflict) -> Group {
    let options = SpecOptions { unique_while: held, ..SpecOptions::plain(name("q")) };
    Group { spec: Spec::from(options).with_unique(key(n)).into(), on_conflict, ..group("q", 1) }
}

fn existing(n: u8) -> Group {
    one(n, UniqueWhile::Unfinished, OnConflict::Existing)
}

fn submit(world: &mut World, groups: &[Group]) -> Vec<Receipt> {
    match world.run(Command::Submit { groups: groups.into() }) {
        Ok(Outcome::Received(receipts)) => receipts,
        other => panic!("{other:?}"),
    }
}

fn new(id: u64) -> Receipt {
    Receipt::New(JobId(id))
}

fn there(id: u64) -> Receipt {
    Receipt::Existing(JobId(id))
}

fn changed(id: u64) -> Receipt {
    Receipt::Changed(JobId(id))
}

#[test]
fn a_key_is_held_until_its_job_has_ended() {
    let mut world = World::new();
    assert_eq!(submit(&mut world, &[existing(1)]), [new(1)]);
    assert_eq!(submit(&mut world, &[existing(1), existing(2)]), [there(1), new(2)]);
    let leases = world.claim("q", 1);
    assert_eq!(submit(&mut world, &[existing(1)]), [there(1)], "it runs");
    world.fail(&leases, "no");
    assert_eq!(submit(&mut world, &[existing(1)]), [there(1)], "it waits for its next attempt");
    world.now = world.now.plus(secs(86_400));
    world.run(Command::Tick).unwrap();
    let leases = world.claim("q", 2);
    world.settle(&leases, Verdict::Complete);
    assert_eq!(submit(&mut world, &[existing(1)]), [new(3)]);
    // Another queue has keys of its own.
    let spec = Spec::plain(name("other")).with_unique(key(1)).into();
    assert_eq!(submit(&mut world, &[Group { spec, ..existing(1) }]), [new(4)]);
}

/// All at once are judged as one after the other.
#[test]
fn jobs_of_one_submit_hold_keys_before_those_behind_them() {
    let mut world = World::new();
    let groups = [Group { count: 3, ..existing(1) }, group("q", 2), existing(2), existing(1)];
    let receipts = submit(&mut world, &groups);
    assert_eq!(receipts, [new(1), there(1), there(1), new(2), new(3), new(4), there(1)]);
    assert_eq!(world.core.state.next_id(), JobId(5));
    // The limit counts what is new.
    world.settings().backlog = 5;
    assert_eq!(submit(&mut world, &[existing(1), existing(3), existing(2)]), [there(1), new(5), there(4)]);
    let refused = world.run(Command::Submit { groups: [existing(1), existing(4)].as_slice().into() });
    assert!(matches!(refused, Err(Rejection::QueueFull { len: 5, .. })));
}

#[test]
fn a_key_that_is_held_while_its_job_waits_is_free_when_it_begins() {
    let mut world = World::new();
    let waiting = one(1, UniqueWhile::Waiting, OnConflict::Existing);
    assert_eq!(submit(&mut world, &[waiting.clone(), waiting.clone()]), [new(1), there(1)]);
    let leases = world.claim("q", 1);
    assert_eq!(submit(&mut world, &[waiting.clone(), waiting.clone()]), [new(2), there(2)]);
    // The one that comes back does not hold it again; both run.
    world.settle(&leases, Verdict::Release { delay: secs(0) });
    assert_eq!(submit(&mut world, from_ref(&waiting)), [there(2)]);
    let leases = world.claim("q", 2);
    assert_eq!(leases.len(), 2);
    world.settle(&leases, Verdict::Fail { error: "no".into(), exit: None, then: Then::Bury });
    assert_eq!(submit(&mut world, &[waiting]), [new(3)]);
    assert_eq!(world.edit(Edit::Retry, &[1, 2]), [Ok(()), Ok(())]);
}

#[test]
fn a_key_can_be_held_for_a_time_after_the_end() {
    let mut world = World::new();
    let kept = one(1, UniqueWhile::Kept(secs(10)), OnConflict::Existing);
    (world.settings().keep_done, world.settings().keep_done_max) = (Keep::No, 0);
    submit(&mut world, from_ref(&kept));
    let leases = world.claim("q", 1);
    world.settle(&leases, Verdict::Complete);
    let job = world.core.state.job(JobId(1)).expect("it is kept, though its queue keeps none");
    assert_eq!(job.kind(), StateKind::Done);
    world.now = world.now.plus(secs(9));
    world.run(Command::Tick).unwrap();
    assert_eq!(submit(&mut world, from_ref(&kept)), [there(1)]);
    // It is free at that very moment, whether or not the job is still there.
    world.now = world.now.plus(secs(1));
    assert_eq!(submit(&mut world, from_ref(&kept)), [new(2)]);
    world.run(Command::Tick).unwrap();
    assert!(!world.core.state.contains(JobId(1)));
    // Whoever deletes the job frees the key.
    world.edit(Edit::Cancel, &[2]);
    assert_eq!(submit(&mut world, from_ref(&kept)), [there(2)]);
    world.edit(Edit::Delete, &[2]);
    assert_eq!(submit(&mut world, &[kept]), [new(3)]);
}

#[test]
fn one_that_has_ended_runs_again_only_if_its_key_is_free() {
    let mut world = World::new();
    submit(&mut world, &[existing(1)]);
    let leases = world.claim("q", 1);
    world.settle(&leases, Verdict::Fail { error: "no".into(), exit: None, then: Then::Bury });
    assert_eq!(submit(&mut world, &[existing(1)]), [new(2)], "a dead job has ended");
    for edit in [Edit::Retry, Edit::Kick] {
        let by = JobId(2);
        let refused = EditRejection::NotUnique { id: JobId(1), verb: edit.name(), by };
        assert_eq!(world.edit(edit, &[1]), [Err(refused)]);
    }
    world.edit(Edit::Delete, &[2]);
    assert_eq!(world.edit(Edit::Retry, &[1, 1]).len(), 2);
    assert_eq!(submit(&mut world, &[existing(1)]), [there(1)]);
}

#[test]
fn a_conflict_can_raise_the_priority_of_the_one_that_waits() {
    let mut world = World::new();
    let with = |priority| {
        let mut group = one(1, UniqueWhile::Unfinished, OnConflict::Raise);
        let mut spec = (*group.spec).clone();
        spec.options_mut().priority = Priority(priority);
        group.spec = spec.into();
        group
    };
    world.submit(vec![group("q", 1)]);
    assert_eq!(submit(&mut world, &[with(2_000), with(2_000), with(3_000)]), [new(2), there(2), there(2)]);
    assert_eq!(submit(&mut world, &[with(5)]), [changed(2)]);
    let leases = world.claim("q", 1);
    assert_eq!(leases[0].id, JobId(2), "it goes first now");
    assert_eq!(submit(&mut world, &[with(0)]), [there(2)], "one that runs has no use of it");
}

#[test]
fn a_conflict_can_put_the_one_that_waits_off() {
    let mut world = World::new();
    let delayed = |max| Group {
        start: Start::After(secs(5)),
        ..one(1, UniqueWhile::Waiting, OnConflict::Debounce { max })
    };
    let due = |world: &World| match world.core.state.job(JobId(1)).map(Job::state) {
        Some(JobState::Scheduled { due }) => due.since(Time(1_000_000)).as_secs(),
        other => panic!("{other:?}"),
    };
    assert_eq!(submit(&mut world, &[delayed(None)]), [new(1)]);
    world.now = world.now.plus(secs(3));
    assert_eq!(submit(&mut world, &[delayed(None), delayed(None)]), [changed(1), there(1)]);
    assert_eq!(due(&world), 8);
    world.now = world.now.plus(secs(4));
    assert_eq!(submit(&mut world, &[delayed(Some(secs(10)))]), [changed(1)]);
    assert_eq!(due(&world), 10, "at most ten seconds after it was submitted");
    // Its time has come, but nobody has taken it: it can be put off again, if that is not too late.
    world.now = world.now.plus(secs(3));
    world.run(Command::Tick).unwrap();
    assert_eq!(world.core.state.job(JobId(1)).unwrap().state(), JobState::Ready);
    assert_eq!(submit(&mut world, &[delayed(Some(secs(10)))]), [there(1)]);
    assert_eq!(submit(&mut world, &[delayed(Some(secs(60)))]), [changed(1)]);
    assert_eq!(due(&world), 15);
}

#[test]
fn a_conflict_can_replace_the_one_that_waits() {
    let mut world = World::new();
    let replace = |priority, start| {
        let mut group = Group { start, ..one(1, UniqueWhile::Unfinished, OnConflict::Replace) };
        let mut spec = (*group.spec).clone();
        spec.options_mut().priority = Priority(priority);
        group.spec = spec.into();
        group
    };
    let replaced = [Receipt::Replaced(JobId(1))];
    assert_eq!(submit(&mut world, &[replace(7, Start::After(secs(60)))]), [new(1)]);
    assert_eq!(submit(&mut world, &[replace(9, Start::Now)]), replaced);
    assert!(world.fresh().contains(&Event::BodyReplaced { job: JobId(1).into() }));
    world.run(Command::Tick).unwrap();
    let job = world.core.state.job(JobId(1)).unwrap();
    assert_eq!((job.state(), job.spec.priority), (JobState::Ready, Priority(9)));
    // It waits again if that is what is asked for, and what is the same already stays.
    assert_eq!(submit(&mut world, &[replace(9, Start::After(secs(5)))]), replaced);
    let due = world.now.plus(secs(5));
    assert_eq!(world.core.state.job(JobId(1)).unwrap().state(), JobState::Scheduled { due });
    assert_eq!(submit(&mut world, &[replace(9, Start::After(secs(5)))]), replaced);
    assert_eq!(world.fresh(), [Event::BodyReplaced { job: JobId(1).into() }]);
    // One that has begun is left as it is.
    world.now = due;
    world.run(Command::Tick).unwrap();
    world.claim("q", 1);
    assert_eq!(submit(&mut world, &[replace(1, Start::Now)]), [there(1)]);
    assert!(world.fresh().is_empty());
}

/// A body may be a command that runs as the job's owner.
#[test]
fn nobody_else_writes_the_body_of_a_job() {
    let mut world = World::new();
    world.core.settings.own_user = 5;
    let of = |owner| {
        let group = one(1, UniqueWhile::Unfinished, OnConflict::Replace);
        let mut spec = (*group.spec).clone();
        spec.options_mut().owner = owner;
        Group { spec: spec.into(), ..group }
    };
    assert_eq!(submit(&mut world, &[of(7)]), [new(1)]);
    assert_eq!(submit(&mut world, &[of(8)]), [there(1)], "though it may see and cancel it");
    for owner in [7, 0, 5] {
        assert_eq!(submit(&mut world, &[of(owner)]), [Receipt::Replaced(JobId(1))]);
    }
    assert_eq!(world.core.state.job(JobId(1)).unwrap().spec.owner, 7);
}

#[test]
fn a_conflict_can_refuse_the_whole_submit() {
    let mut world = World::new();
    let reject = |n| one(n, UniqueWhile::Unfinished, OnConflict::Reject);
    assert_eq!(submit(&mut world, &[reject(1)]), [new(1)]);
    let mut refused = |groups: &[Group]| match world.run(Command::Submit { groups: groups.into() }) {
        Err(rejection) => rejection,
        other => panic!("{other:?}"),
    };
    let taken = Rejection::NotUnique { queue: name("q"), id: JobId(1) };
    assert_eq!(refused(&[group("q", 3), reject(2), reject(1)]), taken);
    let twice = Rejection::NotUniqueAmongThem { queue: name("q") };
    assert_eq!(refused(&[reject(2), group("q", 3), reject(2)]), twice);
    assert_eq!(refused(&[Group { count: 2, ..reject(2) }]), twice);
    assert_eq!(world.core.state.next_id(), JobId(2), "nothing has happened");
}

/// Whoever may not change a job does not change it by a conflict.
#[test]
fn a_conflict_changes_nothing_for_one_who_may_not() {
    let mut world = World::new();
    submit(&mut world, &[existing(1)]);
    let mut spec = (*existing(1).spec).clone();
    spec.options_mut().priority = Priority(0);
    let raise = Group { spec: spec.into(), on_conflict: OnConflict::Raise, ..existing(1) };
    let nobody = |_: &Spec| false;
    let command = Command::Submit { groups: [raise].as_slice().into() };
    let moment = Moment { now: world.now, random: 0 };
    let outcome = world.core.decide(&command, Visibility::of(&nobody), moment, &mut Nothing);
    assert_eq!(outcome, Ok(Outcome::Received(vec![there(1)])));
    assert_eq!(world.core.state.job(JobId(1)).unwrap().spec.priority, Priority::default());
}

struct Nothing;

impl Observer for Nothing {
    fn changed(&mut self, _: &Change<'_>) {}

    fn queue_changed(&mut self, _: &QueueName, _: QueueChange) {}
}

impl Recorder for Nothing {
    fn record(&mut self, event: Event) {
        panic!("{event:?}");
    }
}

/// A part of a submit that asks for no job takes no room for its queue.
#[test]
fn none_of_a_new_queue_beside_one_that_is_there_needs_no_room() {
    let mut world = World::new();
    world.core.settings.queues_max = 1;
    let with = |queue, key, count| {
        let spec = (*group(queue, 1).spec).clone().with_unique(key);
        Command::Submit {
            groups: [Group { spec: spec.into(), ..group(queue, 1) }, group("new", count)]
                .into_iter()
                .collect(),
        }
    };
    world.run(with("q", key(1), 0)).unwrap();
    assert_eq!(world.run(with("q", key(1), 0)), Ok(Outcome::Received([Receipt::Existing(JobId(1))].into())));
    assert_eq!(world.run(with("q", key(1), 1)), Err(Rejection::TooManyQueues { limit: 1 }));
}

/// One that is kept for its key counts among those that are kept as soon as it is free.
#[test]
fn a_job_whose_key_is_free_again_gives_way_like_others() {
    let mut world = World::new();
    (world.settings().keep_done, world.settings().keep_done_max) = (Keep::Forever, 2);
    (world.settings().keep_dead, world.settings().keep_dead_max) = (Keep::Forever, Some(1));
    let held = UniqueWhile::Kept(secs(10));
    submit(&mut world, &[1, 2, 3, 4, 5, 6, 7].map(|n| one(n, held, OnConflict::Existing)));
    let leases = world.claim("q", 4);
    world.settle(&leases, Verdict::Complete);
    world.edit(Edit::Bury, &[5, 6]);
    let known = |world: &World| (1..=7).filter(|id| world.kind(*id).is_some()).collect::<Vec<_>>();
    assert_eq!(known(&world), [1, 2, 3, 4, 5, 6, 7], "their keys are held");
    world.now = world.now.plus(secs(10));
    let leases = world.claim("q", 1);
    world.settle(&leases, Verdict::Complete);
    assert_eq!(known(&world), [3, 4, 5, 6, 7], "two are kept, and one that holds its key");
    submit(&mut world, &[existing(8)]);
    world.edit(Edit::Bury, &[8]);
    assert_eq!((1..=8).filter(|id| world.kind(*id).is_some()).collect::<Vec<_>>(), [3, 4, 7, 8]);
    crate::core::check::check(&world.core.state);
}
