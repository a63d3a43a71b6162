//! The engine over a simulated disk: what must hold between a turn and a checkpoint, and when bodies cannot be read.
//! Each test tells of a bug that there was.

mod beside;
mod followed;
mod group_waits;
mod late;
mod limited;
mod parked;
mod pauses;
mod resuming;
mod schedules;

use super::closing::CLOSED_AT_ONCE;
use super::*;
use crate::core::{
    ClaimOrder, Event, Full, Group, Holder, LeaseId, QueueSettings, Spec, Start, StateKind, Verdict,
    Visibility,
};
use crate::store::simulated::{SimulatedDisk, SimulatedStore};
use crate::store::{Blob, BlobError};

const ORIGIN: Origin = Origin { session: 1, request: 1 };

fn start(disk: &SimulatedDisk, now: Time) -> Engine<SimulatedStore> {
    let (store, found) = disk.open().unwrap();
    let (settings, bounds) = (Settings::default(), Bounds::default());
    let mut engine = Engine::new(found.state, found.last, store, settings, bounds, 1, now);
    engine.turn(now).unwrap();
    engine
}

fn queue() -> QueueName {
    QueueName::new("mails").unwrap()
}

fn group(count: u64) -> Group {
    Group::new(Spec::plain(queue()), count)
}

fn submit(engine: &mut Engine<SimulatedStore>, count: u64, now: Time) {
    let bodies: Vec<_> = (0..count).map(|n| Bytes::from(n.to_string())).collect();
    engine.submit(ORIGIN, vec![group(count)], bodies, Visibility::ALL, now);
    engine.turn(now).unwrap();
}

fn claim(max: u32) -> Claim {
    Claim {
        queues: vec![queue()],
        max,
        lease: None,
        holder: Holder::Session(1),
        worker: None,
        order: ClaimOrder::AsNamed,
    }
}

fn claimed(engine: &mut Engine<SimulatedStore>, max: u32, now: Time) -> Answer {
    engine.claim(ORIGIN, claim(max), now, now);
    let mut turned = engine.turn(now).unwrap();
    match turned.deliveries.pop() {
        Some(Delivery::Answer(_, answer)) => answer,
        other => panic!("one answer: {other:?}"),
    }
}

fn kind(engine: &Engine<SimulatedStore>, id: u64) -> StateKind {
    engine.core().state.job(JobId(id)).unwrap().state().kind()
}

/// Until everything is home and no body is in memory.
fn bring_home(engine: &mut Engine<SimulatedStore>, disk: &SimulatedDisk, from: Time) -> Time {
    let mut now = from;
    for _ in 0..200 {
        engine.housekeep(now).unwrap();
        disk.write_rows(usize::MAX);
        now = now.plus(Duration::from_millis(20));
    }
    now
}

/// The driver gives a claim back after the turn, when it finds that the connection has gone. A checkpoint that began
/// before the next turn had the release in its rows, under the number of a commit that did not have it.
#[test]
fn a_checkpoint_never_has_what_is_not_committed() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 1, Time(0));
    engine.housekeep(Time(0)).unwrap();
    let Answer::Jobs(jobs) = claimed(&mut engine, 1, Time(10)) else { panic!("a job is ready") };
    engine.undo_claim(&jobs, Time(10));
    let late = Time(60_000);
    for _ in 0..10 {
        assert_eq!(engine.housekeep(late).unwrap(), Some(late), "the loop is to make its turn at once");
        disk.write_rows(usize::MAX);
    }
    disk.kill();
    drop(engine);
    let (_, found) = disk.open().unwrap();
    assert_eq!(found.state.job(JobId(1)).unwrap().state().kind(), StateKind::Leased, "as committed");
}

/// The loop takes the leases that are left, and is asked to end before another turn: what was decided was brought home
/// under the number of the commit before.
#[test]
fn closing_commits_what_was_decided_since_the_turn() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 1, Time(0));
    let Answer::Jobs(jobs) = claimed(&mut engine, 1, Time(10)) else { panic!("a job is ready") };
    let before = disk.last();
    engine.undo_claim(&jobs, Time(10));
    engine.close().unwrap();
    assert_eq!(disk.last(), before.next());
    let (_, found) = disk.open().unwrap();
    assert_eq!(found.last, before.next());
    assert_eq!(found.state.job(JobId(1)).unwrap().state().kind(), StateKind::Ready);
}

/// A database that did not answer made jobs dead.
#[test]
fn a_body_that_cannot_be_read_just_now_harms_no_job() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 3, Time(0));
    let now = bring_home(&mut engine, &disk, Time(0));
    disk.fail_home(true, false);
    let refused = claimed(&mut engine, 3, now);
    let Answer::Refused(Refusal::Blob(BlobError::Failed { id, .. })) = refused else {
        panic!("the claim is refused: {refused:?}")
    };
    assert_eq!(id, JobId(1));
    assert!((1..=3).all(|id| kind(&engine, id) == StateKind::Ready));
    disk.fail_home(false, false);
    let Answer::Jobs(jobs) = claimed(&mut engine, 3, now) else { panic!("the disk is back") };
    assert_eq!(
        jobs.iter().map(|job| (job.grant.id.0, &job.body[..])).collect::<Vec<_>>(),
        [(1, &b"0"[..]), (2, &b"1"[..]), (3, &b"2"[..])]
    );
}

/// A claim that waits is refused once: the job that is given back does not wake it again.
#[test]
fn a_waiting_claim_is_refused_once_if_the_body_cannot_be_read() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 1, Time(0));
    let now = bring_home(&mut engine, &disk, Time(0));
    engine.change_queue(ORIGIN, &Command::Pause { queue: queue(), time: None, maker: None }, now);
    let waiter = Origin { session: 1, request: 7 };
    engine.claim(waiter, claim(1), Time::NEVER, now);
    engine.turn(now).unwrap();
    disk.fail_home(true, false);
    engine.change_queue(ORIGIN, &Command::Resume { queue: queue() }, now);
    let turned = engine.turn(now).unwrap();
    let refused = |delivery: &&Delivery| matches!(delivery, Delivery::Answer(to, Answer::Refused(Refusal::Blob(_))) if *to == waiter);
    assert_eq!(turned.deliveries.iter().filter(refused).count(), 1, "{turned:?}");
    assert_eq!((kind(&engine, 1), engine.waiting_claims(None)), (StateKind::Ready, 0));
    let before = disk.last();
    engine.turn(now).unwrap();
    assert_eq!(disk.last(), before, "nothing goes on turning");
}

/// A body that is lost is another matter: its job cannot run, and the others can.
#[test]
fn a_job_whose_body_is_lost_is_set_aside_with_the_reason() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 2, Time(0));
    let now = bring_home(&mut engine, &disk, Time(0));
    disk.lose(Blob::Body, JobId(1));
    let Answer::Jobs(jobs) = claimed(&mut engine, 2, now) else { panic!("one job is whole") };
    assert_eq!(jobs.iter().map(|job| job.grant.id.0).collect::<Vec<_>>(), [2]);
    let job = engine.core().state.job(JobId(1)).unwrap();
    assert_eq!(job.kind(), StateKind::Dead);
    assert_eq!(&*job.failures()[0].error, "the body of job 1 is not in the store");
}

/// Thousands of waiting requests that went in one step made everybody wait for milliseconds.
#[test]
fn a_connection_with_many_waiting_requests_closes_a_part_at_a_time() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 1, Time(0));
    let waits = |session, request| Origin { session, request };
    let nowhere = || Claim {
        queues: vec![QueueName::new("nowhere").unwrap()],
        max: 1,
        lease: None,
        holder: Holder::Anyone,
        worker: None,
        order: ClaimOrder::AsNamed,
    };
    let many = 3 * CLOSED_AT_ONCE as u32;
    for request in 0..many {
        engine.claim(waits(7, request), nowhere(), Time::NEVER, Time(0));
        engine.wait(waits(7, many + request), vec![JobId(1)], |_, _| false, Time::NEVER, Time(0));
    }
    engine.claim(waits(8, 1), nowhere(), Time::NEVER, Time(0));
    engine.claim(ORIGIN, Claim { holder: Holder::Session(7), ..claim(1) }, Time(0), Time(0));
    let mut steps = 1;
    while !engine.close_session(7, Time(0)) {
        steps += 1;
    }
    assert_eq!(steps, 5, "each forgets {CLOSED_AT_ONCE}");
    assert_eq!(
        (engine.waiting_claims(None), engine.waiting.size_of(7), engine.notes.watching.size()),
        (1, 0, 0)
    );
    assert_eq!(kind(&engine, 1), StateKind::Ready, "what it held is free");
}

/// What requests in a row get when they are decided as one is what each gets by itself.
#[test]
fn submits_that_are_alike_get_together_what_they_get_alone() {
    for (backlog, counts) in [
        (0, vec![1]),
        (0, vec![1; 64]),
        (0, vec![3, 1, 2]),
        (0, vec![1, 0, 2]),
        (0, vec![0]),
        (6, vec![3, 1, 2]),
        (5, vec![3, 1, 2]),
        (2, vec![3, 1, 2]),
    ] {
        let of = QueueSettings { backlog, ..QueueSettings::default() };
        let settings = Settings { queues: [(queue(), of)].into_iter().collect(), ..Settings::default() };
        let run = |alike: bool| {
            let mut engine = start(&SimulatedDisk::new(1), Time(0));
            engine.configure(settings.clone(), Bounds::default());
            let requests: Vec<(u32, u64)> = (1..).zip(counts.iter().copied()).collect();
            let bodies: Vec<_> = (0..counts.iter().sum()).map(|n: u64| Bytes::from(n.to_string())).collect();
            if alike {
                engine.submit_alike(1, &requests, (&group(1), None), bodies, Time(0));
            } else {
                let mut bodies = bodies.into_iter();
                for (request, count) in requests {
                    let own: Vec<_> = bodies.by_ref().take(count as usize).collect();
                    engine.submit(
                        Origin { session: 1, request },
                        vec![group(count)],
                        own,
                        Visibility::ALL,
                        Time(0),
                    );
                }
            }
            let answers = format!("{:?}", engine.turn(Time(0)).unwrap().deliveries);
            let Answer::Jobs(jobs) = claimed(&mut engine, 100, Time(0)) else { panic!("it is answered") };
            let jobs: Vec<_> = jobs.into_iter().map(|job| (job.grant.id, job.body)).collect();
            (answers, jobs, engine.last_commit())
        };
        assert_eq!(run(true), run(false), "{counts:?} into a queue of {backlog}");
    }
}

/// The reason to decide them as one: it is one event, and one look at the queue.
#[test]
fn submits_that_are_alike_are_one_event() {
    let mut engine = start(&SimulatedDisk::new(1), Time(0));
    let requests: Vec<(u32, u64)> = (1..=64).map(|request| (request, 1)).collect();
    engine.submit_alike(1, &requests, (&group(1), None), vec![Bytes::new(); 64], Time(0));
    let [Event::Submitted { jobs, .. }] = &*engine.notes.events else { panic!("{:?}", engine.notes.events) };
    assert_eq!((jobs.len, engine.notes.said.len()), (64, 64));
}

/// A million leases that ended in one step made everybody wait for seconds.
#[test]
fn a_connection_with_many_leases_closes_a_part_at_a_time() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit(&mut engine, 1_000, Time(0));
    let held = |engine: &Engine<SimulatedStore>, session| engine.core().state.held_by(session).count();
    let bound = |session, max| Claim { holder: Holder::Session(session), ..claim(max) };
    engine.claim(ORIGIN, bound(7, 1_000), Time(0), Time(0));
    engine.turn(Time(0)).unwrap();
    assert_eq!(held(&engine, 7), 1_000);
    let (mut left, mut facts, mut turned) = (1_000, Vec::new(), Turned::default());
    while !engine.close_session(7, Time(0)) {
        let before = std::mem::replace(&mut left, held(&engine, 7));
        assert!((1..=200).contains(&(before - left)), "from {before} to {left} in one step");
        // What is free goes to others; what is not stays with the one that has gone, and is in nobody else's hands.
        engine.claim(ORIGIN, bound(8, 1_000), Time(0), Time(0));
        turned = engine.turn(Time(0)).unwrap();
        facts.append(&mut turned.facts);
        assert_eq!(held(&engine, 8), 1_000 - left);
    }
    facts.append(&mut engine.turn(Time(0)).unwrap().facts);
    assert_eq!(facts, [Fact::Interrupted { jobs: 1_000 }], "the log hears of it once");
    let Some(Delivery::Answer(_, Answer::Jobs(last))) = turned.deliveries.pop() else { panic!("{turned:?}") };
    assert!(last.iter().all(|job| job.grant.attempt.0 == 2), "each is a lease of its own");

    // The daemon dies after the first part: the next one ends the rest.
    assert!(!engine.close_session(8, Time(0)));
    engine.turn(Time(0)).unwrap();
    let bound_still = held(&engine, 8);
    assert!(bound_still > 0);
    disk.kill();
    drop(engine);
    let engine = start(&disk, Time(0));
    assert_eq!((held(&engine, 8), engine.core().state.held()), (0, 0));
    assert!((1..=1_000).all(|id| kind(&engine, id) == StateKind::Ready), "nothing is lost");
}

#[test]
fn a_wait_for_more_than_the_limit_is_refused_whatever_waits_already() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    engine.bounds.waiting = 100;
    submit(&mut engine, 1, Time(0));
    let waits = |engine: &mut Engine<SimulatedStore>, request, count: usize| {
        let origin = Origin { session: 1, request };
        engine.wait(origin, vec![JobId(1); count], |_, _| false, Time::NEVER, Time(0));
        let turned = engine.turn(Time(0)).unwrap();
        let refused = |delivery: &Delivery| matches!(delivery, Delivery::Answer(to, Answer::Refused(_)) if *to == origin);
        !turned.deliveries.iter().any(refused)
    };
    assert!(!waits(&mut engine, 1, 101), "a single request can be too much");
    assert!(waits(&mut engine, 2, 60));
    assert!(!waits(&mut engine, 3, 41));
    assert!(waits(&mut engine, 4, 40));
    engine.bounds.waiting_all = 120;
    let other = Origin { session: 2, request: 1 };
    engine.wait(other, vec![JobId(1); WAITING_FREE], |_, _| false, Time::NEVER, Time(0));
    assert!(!waits(&mut engine, 5, 1));
    assert_eq!(
        engine.notes.watching.size_of(2),
        WAITING_FREE,
        "who asks for little is never refused for others"
    );
}

/// A short request became a long commit: its tags were there once for each of its jobs.
#[test]
fn the_envelope_of_many_jobs_is_in_the_commit_once() {
    let mut engine = start(&SimulatedDisk::new(1), Time(0));
    let envelope = Bytes::from(vec![7; 700]);
    let mut group = group(50_000);
    std::sync::Arc::make_mut(&mut group.spec).options_mut().has_envelope = true;
    let contents = Contents::of(Some(envelope.clone()), vec![Bytes::new(); 50_000]);
    engine.submit(ORIGIN, vec![group], contents, Visibility::ALL, Time(0));
    assert_eq!((engine.envelopes.len(), engine.content_bytes), (1, 700));
    for id in [1, 50_000] {
        assert_eq!(engine.find(Blob::Envelope, JobId(id)).unwrap(), envelope);
    }
    engine.turn(Time(0)).unwrap();
    assert_eq!(engine.find(Blob::Envelope, JobId(49_999)).unwrap(), envelope);
}

/// A queue that drops what it has no room for leaves ids without jobs, and a claim that waited got the body of another job in
/// the same turn, or none: then its job was set aside as dead.
#[test]
fn bodies_are_those_of_their_jobs_though_others_were_not_taken() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    let mut settings = Settings::default();
    (settings.default.backlog, settings.default.full) = (2, Full::DropNew);
    engine.configure(settings, Bounds::default());
    engine.claim(Origin { session: 2, request: 2 }, claim(5), Time::NEVER, Time(0));
    let other = QueueName::new("other").unwrap();
    let elsewhere = Claim { queues: vec![other.clone()], ..claim(5) };
    engine.claim(Origin { session: 2, request: 3 }, elsewhere, Time::NEVER, Time(0));
    engine.turn(Time(0)).unwrap();
    let bodies = |texts: &[&'static str]| texts.iter().map(|text| Bytes::from(*text)).collect::<Vec<_>>();
    engine.submit(ORIGIN, vec![group(4)], bodies(&["a", "b", "not", "taken"]), Visibility::ALL, Time(1));
    let there = Group { spec: Spec::plain(other).into(), ..group(1) };
    engine.submit(ORIGIN, vec![there], bodies(&["c"]), Visibility::ALL, Time(1));
    let turned = engine.turn(Time(1)).unwrap();
    let mut got: Vec<(u64, Bytes)> = Vec::new();
    for delivery in turned.deliveries {
        if let Delivery::Answer(_, Answer::Jobs(jobs)) = delivery {
            got.extend(jobs.into_iter().map(|job| (job.grant.id.0, job.body)));
        }
    }
    let wanted = [(1, "a"), (2, "b"), (5, "c")].map(|(id, body)| (id, Bytes::from(body)));
    assert_eq!(got, wanted);
}

#[test]
fn a_claim_whose_time_is_over_gets_what_becomes_ready_at_that_moment() {
    let mut engine = start(&SimulatedDisk::new(1), Time(0));
    let later = Group { start: Start::After(Duration::from_millis(20)), ..group(1) };
    engine.submit(ORIGIN, vec![later], vec![Bytes::new()], Visibility::ALL, Time(0));
    let origin = Origin { session: 2, request: 2 };
    engine.claim(origin, claim(1), Time(20), Time(0));
    engine.turn(Time(0)).unwrap();
    let turned = engine.turn(Time(20)).unwrap();
    let got = turned.deliveries.iter().any(
        |said| matches!(said, Delivery::Answer(to, Answer::Jobs(jobs)) if *to == origin && jobs.len() == 1),
    );
    assert!(got, "{:?}", turned.deliveries);
}
