//! Queues without room: submits that wait for it, in their order and not for ever, and jobs that are dropped.

use super::*;
use crate::core::{Edit, Full, Only, Visibility};

fn full(disk: &SimulatedDisk, backlog: u64, full: Full) -> Engine<SimulatedStore> {
    let mut engine = start(disk, Time(0));
    configure(&mut engine, backlog, full);
    engine
}

fn configure(engine: &mut Engine<SimulatedStore>, backlog: u64, full: Full) {
    let default = QueueSettings { backlog, full, ..QueueSettings::default() };
    engine.configure(Settings { default, ..Settings::default() }, Bounds::default());
}

fn wait_a_second() -> Full {
    Full::Wait(Duration::from_secs(1))
}

fn submit_as(
    engine: &mut Engine<SimulatedStore>,
    session: u64,
    request: u32,
    bodies: &[&'static str],
    now: Time,
) {
    let bodies: Vec<_> = bodies.iter().map(|body| Bytes::from_static(body.as_bytes())).collect();
    engine.submit(
        Origin { session, request },
        vec![group(bodies.len() as u64)],
        bodies,
        Visibility::ALL,
        now,
    );
}

/// The answers to submits in a turn: whose, and the first id, or `None` for a refusal.
fn answers(engine: &mut Engine<SimulatedStore>, now: Time) -> Vec<(u64, u32, Option<u64>)> {
    let turned = engine.turn(now).unwrap();
    let answer = |delivery| match delivery {
        Delivery::Answer(Origin { session, request }, Answer::Submitted(ids)) => {
            Some((session, request, Some(ids.first.0)))
        }
        Delivery::Answer(Origin { session, request }, Answer::Refused(refusal)) => {
            assert!(matches!(refusal, Refusal::Core(Rejection::QueueFull { .. } | Rejection::Draining)));
            Some((session, request, None))
        }
        _ => None,
    };
    turned.deliveries.into_iter().filter_map(answer).collect()
}

/// Leases so many, and returns their bodies.
fn bodies(engine: &mut Engine<SimulatedStore>, max: u32, now: Time) -> Vec<String> {
    let jobs = engine.grant(&claim(max), now).unwrap();
    jobs.iter().map(|job| String::from_utf8(job.body.to_vec()).unwrap()).collect()
}

#[test]
fn submits_wait_for_room_in_the_order_in_which_they_came() {
    let disk = SimulatedDisk::new(1);
    let mut engine = full(&disk, 2, wait_a_second());
    submit_as(&mut engine, 1, 1, &["a", "b"], Time(0));
    submit_as(&mut engine, 1, 2, &["c", "d"], Time(10));
    submit_as(&mut engine, 2, 1, &["e"], Time(20));
    assert_eq!(answers(&mut engine, Time(20)), [(1, 1, Some(1))]);
    assert_eq!(engine.next_due(), Some(Time(1_010)));
    // One place is enough for the second, but the first came before it.
    assert_eq!(bodies(&mut engine, 1, Time(30)), ["a"]);
    submit_as(&mut engine, 3, 1, &["f"], Time(30));
    assert_eq!(answers(&mut engine, Time(31)), []);
    assert_eq!(bodies(&mut engine, 1, Time(32)), ["b"]);
    assert_eq!(answers(&mut engine, Time(33)), [(1, 2, Some(3))]);
    assert_eq!(bodies(&mut engine, 9, Time(34)), ["c", "d"]);
    assert_eq!(answers(&mut engine, Time(35)), [(2, 1, Some(5)), (3, 1, Some(6))]);
    assert_eq!(bodies(&mut engine, 9, Time(36)), ["e", "f"]);
    assert!(engine.parked.is_empty());
}

#[test]
fn one_that_has_waited_in_vain_is_refused_and_others_go_on() {
    let disk = SimulatedDisk::new(1);
    let mut engine = full(&disk, 2, wait_a_second());
    submit_as(&mut engine, 1, 1, &["a"], Time(0));
    submit_as(&mut engine, 1, 2, &["b", "c"], Time(0));
    submit_as(&mut engine, 1, 3, &["d"], Time(500));
    assert_eq!(answers(&mut engine, Time(500)), [(1, 1, Some(1))]);
    assert_eq!(answers(&mut engine, Time(999)), []);
    let said = answers(&mut engine, Time(1_000));
    assert_eq!(said, [(1, 2, None), (1, 3, Some(2))], "nobody is before it any more");
    // What would not fit into an empty queue waits for nothing.
    submit_as(&mut engine, 1, 4, &["x", "y", "z"], Time(1_001));
    assert_eq!(answers(&mut engine, Time(1_001)), [(1, 4, None)]);
}

#[test]
fn who_leaves_stops_or_has_enough_waits_no_more() {
    let disk = SimulatedDisk::new(1);
    let mut engine = full(&disk, 1, wait_a_second());
    submit_as(&mut engine, 1, 1, &["a"], Time(0));
    for session in 2..5 {
        submit_as(&mut engine, session, 7, &["b"], Time(0));
    }
    assert_eq!(answers(&mut engine, Time(0)), [(1, 1, Some(1))]);
    assert!(engine.close_session(2, Time(1)));
    engine.unwait(Origin { session: 3, request: 7 });
    assert_eq!(answers(&mut engine, Time(1)), [(3, 7, None)]);
    engine.stop(Duration::from_secs(5), false, Time(2));
    assert_eq!(answers(&mut engine, Time(2)), [(4, 7, None)]);
    assert!(engine.parked.is_empty() && engine.core.state.next_id() == JobId(2));
}

#[test]
fn how_many_wait_is_bounded() {
    let disk = SimulatedDisk::new(1);
    let mut engine = full(&disk, 1, wait_a_second());
    engine.bounds = Bounds { waiting: 2, parked_bytes: 3_000, ..Bounds::default() };
    submit_as(&mut engine, 1, 1, &["a"], Time(0));
    for request in 2..5 {
        submit_as(&mut engine, 1, request, &["b"], Time(0));
    }
    static LONG: [u8; 3_000] = [b'1'; 3_000];
    let long = std::str::from_utf8(&LONG).unwrap();
    submit_as(&mut engine, 2, 1, &[long], Time(0));
    submit_as(&mut engine, 2, 2, &["123"], Time(0));
    let said = answers(&mut engine, Time(0));
    assert_eq!(
        said,
        [(1, 1, Some(1)), (1, 4, None), (2, 1, None)],
        "one for their number, one for its bytes"
    );
}

/// Whatever makes room is seen: an end by hand, other settings; and who waits for the end of its jobs gets both answers.
#[test]
fn all_that_makes_room_lets_the_next_one_in() {
    let disk = SimulatedDisk::new(1);
    let mut engine = full(&disk, 1, wait_a_second());
    submit_as(&mut engine, 1, 1, &["a"], Time(0));
    let both = Origin { session: 2, request: 2 };
    let options = SubmitOptions { ends: Some(Time(5_000)), ..SubmitOptions::default() };
    let job = (vec![group(1)].into(), vec![Bytes::from_static(b"b")].into());
    engine.submit_with(options, both, job, Visibility::ALL, Time(1));
    assert_eq!(answers(&mut engine, Time(1)), [(1, 1, Some(1))]);
    engine.edit(ORIGIN, Edit::Cancel, vec![JobId(1)], Only::default(), Visibility::ALL, Time(2));
    assert_eq!(answers(&mut engine, Time(2)), [(2, 2, Some(2))]);
    engine.edit(ORIGIN, Edit::Cancel, vec![JobId(2)], Only::default(), Visibility::ALL, Time(3));
    let ended = engine.turn(Time(3)).unwrap().deliveries.into_iter().any(
        |delivery| matches!(delivery, Delivery::Answer(to, Answer::Ended(ends)) if to == both && ends.len() == 1),
    );
    assert!(ended);
    submit_as(&mut engine, 1, 3, &["c"], Time(4));
    submit_as(&mut engine, 1, 4, &["d"], Time(4));
    assert_eq!(answers(&mut engine, Time(4)), [(1, 3, Some(3))]);
    configure(&mut engine, 2, wait_a_second());
    assert_eq!(answers(&mut engine, Time(5)), [(1, 4, Some(4))]);
}

/// The bodies of those that are taken stay with them, after a crash as well.
#[test]
fn dropped_jobs_leave_the_bodies_of_others_where_they_belong() {
    for (how, wanted) in [(Full::DropNew, ["a", "b", "c"]), (Full::DropOld, ["d", "e", "x"])] {
        let disk = SimulatedDisk::new(1);
        let mut engine = full(&disk, 3, how);
        submit_as(&mut engine, 1, 1, &["a", "b"], Time(0));
        submit_as(&mut engine, 1, 2, &["c", "d", "e"], Time(0));
        let other = Group { spec: Spec::plain(QueueName::new("other").unwrap()).into(), ..group(1) };
        let contents = vec![Bytes::from_static(b"x"), Bytes::from_static(b"other")];
        engine.submit(ORIGIN, vec![group(1), other], contents, Visibility::ALL, Time(1));
        let turned = engine.turn(Time(1)).unwrap();
        let dropped: u64 = turned
            .facts
            .iter()
            .map(|fact| match fact {
                Fact::Dropped { jobs, new, .. } if *new == (how == Full::DropNew) => *jobs,
                fact => panic!("{fact:?}"),
            })
            .sum();
        assert_eq!(dropped, 3);
        drop(engine);
        disk.kill();
        let mut engine = start(&disk, Time(2));
        assert_eq!(engine.core.state.queue(&queue()).unwrap().totals().dropped, 3);
        assert_eq!(bodies(&mut engine, 9, Time(2)), wanted);
        let claim = Claim { queues: vec![QueueName::new("other").unwrap()], ..claim(1) };
        let job = engine.grant(&claim, Time(3)).unwrap().remove(0);
        assert_eq!((job.grant.id, &job.body[..]), (JobId(7), &b"other"[..]));
        submit_as(&mut engine, 1, 9, &["later"], Time(4));
        assert_eq!(answers(&mut engine, Time(4)), [(1, 9, Some(8))], "no id is used twice");
    }
}

/// The engine says how long bodies are, where that is bounded, and only there.
#[test]
fn bytes_are_counted_where_they_are_bounded() {
    let disk = SimulatedDisk::new(1);
    let mut engine = start(&disk, Time(0));
    submit_as(&mut engine, 1, 1, &["not counted"], Time(0));
    let default = QueueSettings { backlog_bytes: 10, full: wait_a_second(), ..QueueSettings::default() };
    engine.configure(Settings { default, ..Settings::default() }, Bounds::default());
    submit_as(&mut engine, 1, 2, &["four", "five!", ""], Time(0));
    submit_as(&mut engine, 1, 3, &["xx"], Time(0));
    let requests = [(4, 1), (5, 1)];
    let alike = vec![Bytes::from_static(b"y"), Bytes::from_static(b"y")];
    engine.submit_alike(1, &requests, (&group(1), None), alike, Time(0));
    assert_eq!(answers(&mut engine, Time(0)), [(1, 1, Some(1)), (1, 2, Some(2))]);
    assert_eq!(engine.core.state.waiting_bytes(), 9);
    assert_eq!(bodies(&mut engine, 2, Time(1)), ["not counted", "four"]);
    assert_eq!(answers(&mut engine, Time(2)), [(1, 3, Some(5)), (1, 4, Some(6)), (1, 5, Some(7))]);
    drop(engine);
    disk.kill();
    let mut engine = start(&disk, Time(3));
    assert_eq!(engine.core.state.waiting_bytes(), 13, "what was leased is back");
    assert_eq!(bodies(&mut engine, 9, Time(3)).len(), 7);
}
