//! What every kind of event says of itself: which jobs it names, which it forgets, and itself for a part of them.

use super::world::{group, name};
use crate::core::*;

const AT: Time = Time(5_000);
const KEPT: Ending = Ending { at: AT, keep_until: Some(AT) };
const GONE: Ending = Ending { at: AT, keep_until: None };

/// One event of every kind about these jobs, and whether it forgets them. An event of a new kind fails to compile
/// in `has_sample`.
fn samples(jobs: Ids) -> Vec<(Event, bool)> {
    let range = jobs.ranges()[0];
    let (holder, until, due) = (Holder::Anyone, AT, Some(AT));
    let failed =
        |next| Event::Failed { job: range.first.into(), at: AT, error: "no".into(), exit: None, next };
    let with = |event: fn(Ids, Ending) -> Event| {
        [(event(jobs.clone(), KEPT), false), (event(jobs.clone(), GONE), true)]
    };
    let mut all = vec![
        (
            Event::Submitted {
                jobs: range,
                spec: group("q", 1).spec,
                at: AT,
                due,
                expiry: Expiry::default(),
            },
            false,
        ),
        (Event::Claimed { jobs: jobs.clone(), holder, worker: None, at: AT, until }, false),
        (Event::Extended { jobs: jobs.clone(), until }, false),
        (failed(AfterFailure::Retry(AT)), false),
        (failed(AfterFailure::Dead(KEPT)), false),
        (failed(AfterFailure::Dead(GONE)), true),
        (
            Event::Deferred {
                job: range.first.into(),
                at: AT,
                error: "not now".into(),
                exit: Some(Exit::Status(75)),
                due: AT,
            },
            false,
        ),
        (Event::Released { jobs: jobs.clone(), due }, false),
        (Event::Interrupted { jobs: jobs.clone() }, false),
        (Event::Ripened { jobs: jobs.clone() }, false),
        (Event::Revived { jobs: jobs.clone() }, false),
        (Event::Prioritized { jobs: jobs.clone(), priority: Priority(3) }, false),
        (Event::Postponed { jobs: jobs.clone(), due: AT }, false),
        (Event::BodyReplaced { job: range.first.into() }, false),
        (Event::Attached { job: range.first.into(), what: Beside::Checkpoint }, false),
        (Event::Attached { job: range.first.into(), what: Beside::Result }, false),
        (Event::Detached { jobs: jobs.clone(), what: Beside::Checkpoint }, false),
        (Event::Detached { jobs: jobs.clone(), what: Beside::Result }, false),
        (Event::Awaits { job: range.first.into(), signal: signal(), due: AT }, false),
        (Event::Signalled { job: range.first.into(), signal: signal() }, false),
        (Event::Moved { jobs: jobs.clone(), to: name("r"), at: AT }, false),
        (Event::Deleted { jobs: jobs.clone() }, true),
        (Event::Cancelling { jobs: jobs.clone() }, false),
        (Event::Row(RowEvent::Paused { queue: name("q") }), false),
        (Event::Row(RowEvent::PausedUntil { queue: name("q"), until: AT }), false),
        (Event::Row(RowEvent::Resumed { queue: name("q") }), false),
        (Event::Row(RowEvent::RequestDone { page: 7, done: done_request().into() }), false),
        (Event::Row(RowEvent::RequestsForgotten { page: 7 }), false),
        (Event::Row(RowEvent::KeysServed { queue: name("q"), page: 7, rate: None, keys: vec![] }), false),
        (Event::Row(RowEvent::KeysForgotten { queue: name("q"), page: 7 }), false),
        (Event::Row(RowEvent::RateUsed { queue: name("q"), used: RateUsed(7) }), false),
        (Event::Dropped { jobs: jobs.clone() }, true),
        (Event::WaitsFor { jobs: jobs.clone(), waits: waits() }, false),
        (Event::EdgesChanged { jobs: jobs.clone(), on: ON, fate: EdgeFate::Held, at: AT }, false),
        (Event::Row(RowEvent::GroupChanged { group: GroupNo(3), now: job_group() }), false),
        (Event::Row(RowEvent::GroupForgotten { group: GroupNo(3) }), false),
        (Event::Row(RowEvent::TopicBound { pattern: pattern(), queues: [name("q")].into() }), false),
        (Event::Row(RowEvent::TopicUnbound { pattern: pattern() }), false),
        (Event::Sized { jobs: jobs.clone(), size: Size::of(7) }, false),
        (Event::Counted { jobs: jobs.clone(), what: Handling::Kicked }, false),
        (Event::Counted { jobs: jobs.clone(), what: Handling::Delayed { seconds: 3, no: 4 } }, false),
        (Event::Row(RowEvent::NotTaken { queue: name("q"), jobs: IdRange::new(JobId(30), 2) }), false),
        (Event::Row(RowEvent::OverridesSet { queue: name("q"), overrides: Overrides::default() }), false),
        (
            Event::Row(RowEvent::CircuitChanged {
                queue: name("q"),
                circuit: Circuit { failed: 3, open: None },
            }),
            false,
        ),
        (Event::Row(RowEvent::QueueForgotten { queue: name("q") }), false),
    ];
    all.extend(with(|jobs, end| Event::Completed { jobs, end }));
    all.extend(with(|jobs, end| Event::Expired { jobs, end }));
    all.extend(with(|jobs, end| Event::Cancelled { jobs, end }));
    all.extend(with(|jobs, end| Event::Buried { jobs, end }));
    assert!(all.iter().all(|(event, _)| has_sample(event)));
    all
}

fn has_sample(event: &Event) -> bool {
    match event {
        Event::Submitted { .. }
        | Event::Claimed { .. }
        | Event::Extended { .. }
        | Event::Completed { .. } => true,
        Event::Failed { .. } | Event::Deferred { .. } | Event::Released { .. } => true,
        Event::Interrupted { .. } | Event::Cancelling { .. } => true,
        Event::Ripened { .. } | Event::Expired { .. } | Event::Cancelled { .. } | Event::Buried { .. } => {
            true
        }
        Event::Revived { .. } | Event::Deleted { .. } | Event::Dropped { .. } | Event::Sized { .. } => true,
        Event::BodyReplaced { .. } | Event::Attached { .. } | Event::Detached { .. } => true,
        Event::Awaits { .. } | Event::Signalled { .. } => true,
        Event::WaitsFor { .. } | Event::EdgesChanged { .. } | Event::Counted { .. } => true,
        Event::Row(RowEvent::GroupChanged { .. } | RowEvent::GroupForgotten { .. }) => true,
        Event::Row(RowEvent::TopicBound { .. } | RowEvent::TopicUnbound { .. }) => true,
        Event::Prioritized { .. } | Event::Postponed { .. } | Event::Moved { .. } => true,
        Event::Row(RowEvent::Paused { .. } | RowEvent::Resumed { .. } | RowEvent::RateUsed { .. }) => true,
        Event::Row(RowEvent::OverridesSet { .. } | RowEvent::CircuitChanged { .. }) => true,
        Event::Row(RowEvent::PausedUntil { .. }) => true,
        Event::Row(RowEvent::RequestDone { .. } | RowEvent::RequestsForgotten { .. }) => true,
        Event::Row(RowEvent::KeysServed { .. } | RowEvent::KeysForgotten { .. }) => true,
        Event::Row(
            RowEvent::NotTaken { .. } | RowEvent::QueueForgotten { .. } | RowEvent::Schedule { .. },
        ) => true,
    }
}

fn pattern() -> Pattern {
    Pattern::new("order.*").unwrap()
}

fn signal() -> SignalName {
    SignalName::new("go").unwrap()
}

const ON: Target = Target::Job(JobId(3));

fn waits() -> std::sync::Arc<Waits> {
    let edges = [Edge { on: ON, when: Condition::Done, is_held: false }].into();
    Waits { edges, on_unmet: OnUnmet::Cancel }.into()
}

fn job_group() -> std::sync::Arc<JobGroup> {
    let (name, counts) = (GroupName::new("g").unwrap(), GroupCounts::default());
    JobGroup { name, owner: 7, made: AT, is_sealed: false, counts, ended: None }.into()
}

fn done_request() -> DoneRequest {
    let request = RequestKey { key: Key::new([1; 16]), content: Key::new([2; 16]) };
    DoneRequest { request, answer: RequestAnswer::Submitted(JobId(3).into()), until: AT, user: Some(7) }
}

fn ids(ranges: &[IdRange]) -> Vec<u64> {
    ranges.iter().flat_map(|range| range.iter()).map(|id| id.0).collect()
}

fn ten_to_nineteen() -> Ids {
    IdRange::new(JobId(10), 10).into()
}

#[test]
fn an_event_forgets_its_jobs_or_none() {
    for (event, forgets) in samples(ten_to_nineteen()) {
        assert_eq!(event.forgotten(), if forgets { event.jobs() } else { &[] }, "{event:?}");
    }
}

#[test]
fn narrowed_events_are_the_same_for_the_jobs_that_are_left() {
    for (event, _) in samples(ten_to_nineteen()) {
        let all = event.narrowed(|_| true);
        assert_eq!(all, std::slice::from_ref(&event), "nothing is lost where all are left");
        let odd = event.narrowed(|id| id.0 % 2 == 1 || id.0 == 10);
        let of_queue = event.jobs().is_empty();
        let named: Vec<u64> = odd.iter().flat_map(|event| ids(event.jobs())).collect();
        let expected: Vec<u64> = match event {
            Event::Failed { .. }
            | Event::Deferred { .. }
            | Event::BodyReplaced { .. }
            | Event::Awaits { .. }
            | Event::Signalled { .. }
            | Event::Attached { .. } => vec![10],
            _ if of_queue => vec![],
            _ => vec![10, 11, 13, 15, 17, 19],
        };
        assert_eq!(named, expected, "{event:?}");
        // Apart from the jobs they are the same: narrowed further to one job, both ways agree.
        let one = |event: &Event| event.narrowed(|id| id.0 == 10);
        assert_eq!(odd.iter().flat_map(one).collect::<Vec<_>>().first(), one(&event).first());
        let none = event.narrowed(|_| false);
        assert_eq!(
            none,
            if of_queue { vec![event.clone()] } else { vec![] },
            "a queue's event is for no job"
        );
    }
}

#[test]
fn lists_keep_the_order_in_which_jobs_were_named() {
    let jobs: Ids = [14, 15, 11, 12, 19].into_iter().map(JobId).collect();
    assert_eq!(ids(Event::Ripened { jobs: jobs.clone() }.jobs()), [14, 15, 11, 12, 19]);
    let [narrowed] = &Event::Ripened { jobs }.narrowed(|id| id.0 != 15)[..] else { panic!() };
    assert_eq!(ids(narrowed.jobs()), [14, 11, 12, 19]);
}

#[test]
fn events_join_only_where_they_say_the_same() {
    let (first, second) = (Ids::from(IdRange::new(JobId(10), 2)), Ids::from(IdRange::new(JobId(12), 3)));
    for ((event, _), (next, _)) in samples(first.clone()).into_iter().zip(samples(second)) {
        let mut joined = event.clone();
        let of_one = event.jobs().is_empty()
            || matches!(event, Event::Failed { .. } | Event::Deferred { .. })
            || matches!(event, Event::BodyReplaced { .. } | Event::Attached { .. })
            || matches!(event, Event::Awaits { .. } | Event::Signalled { .. });
        assert_eq!(joined.join(&next), !of_one, "{event:?}");
        assert_eq!(ids(joined.jobs()), if of_one { ids(event.jobs()) } else { vec![10, 11, 12, 13, 14] });
        assert_eq!(
            joined.narrowed(|id| id.0 < 12),
            event.narrowed(|_| true),
            "nothing but the jobs has changed"
        );
    }
    // Any event with any other: what differs in more than its jobs stays apart.
    let all = samples(first);
    for (at, (event, _)) in all.iter().enumerate() {
        for (other_at, (other, _)) in all.iter().enumerate() {
            assert!(at == other_at || !event.clone().join(other), "{event:?} takes {other:?} in");
        }
    }
    let submitted = |first, len, queue, at| Event::Submitted {
        jobs: IdRange::new(JobId(first), len),
        spec: group(queue, 1).spec,
        at,
        due: None,
        expiry: Expiry::default(),
    };
    let event = submitted(1, 2, "q", AT);
    assert!(event.clone().join(&submitted(3, 1, "q", AT)));
    for other in [submitted(4, 1, "q", AT), submitted(3, 1, "p", AT), submitted(3, 1, "q", Time(6_000))] {
        let mut joined = event.clone();
        assert!(!joined.join(&other) && joined == event, "{other:?}");
    }
}
