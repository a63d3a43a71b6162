//! Values of every kind that is stored, for the tests of the codec.

use crate::core::*;
use crate::store::Commit;
use crate::store::workload::{Draw, Workload};
use bytes::Bytes;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

pub(super) fn time() -> impl Strategy<Value = Time> {
    prop_oneof![3 => (0u64..1 << 45).prop_map(Time), 1 => Just(Time::NEVER)]
}

pub(super) fn ids() -> impl Strategy<Value = Ids> {
    prop::collection::vec((1u64..1 << 40, 1u64..90), 1..4).prop_map(|ranges| {
        let mut ids = Ids::new();
        ranges.into_iter().for_each(|(first, len)| ids.push_range(IdRange::new(JobId(first), len)));
        ids
    })
}

pub(super) fn spec() -> impl Strategy<Value = Arc<Spec>> {
    let backoff = (0u64..90, 0u64..9000, 0u16..1000).prop_map(|(base, max, jitter_permille)| Backoff {
        growth: Growth::Linear,
        base: Duration::from_millis(base),
        max: Duration::new(max, 7),
        jitter_permille,
    });
    let unique_while = prop_oneof![
        Just(UniqueWhile::Waiting),
        Just(UniqueWhile::Unfinished),
        (0u64..99).prop_map(|secs| UniqueWhile::Kept(Duration::from_secs(secs))),
    ];
    (
        "[a-z/]{1,9}",
        any::<u32>(),
        any::<Option<u32>>(),
        prop::option::of(backoff),
        prop::option::of(0u64..99),
        any::<bool>(),
        any::<Option<[u8; 16]>>(),
        (any::<Option<[u8; 16]>>(), unique_while),
    )
        .prop_map(
            |(queue, priority, attempts, backoff, timeout, has_envelope, key, (unique, unique_while))| {
                let options = SpecOptions {
                    queue: QueueName::new(&queue).unwrap(),
                    priority: Priority(priority),
                    attempts,
                    backoff,
                    timeout: timeout.map(Duration::from_secs),
                    unique_while,
                    has_envelope,
                    owner: priority / 3,
                    group: (priority % 5 == 1).then_some(GroupNo(priority.into())),
                };
                Spec::from(options).with_key(key.map(Key::new)).with_unique(unique.map(Key::new)).into()
            },
        )
}

pub(super) fn ending() -> impl Strategy<Value = Ending> {
    (time(), prop::option::of(time())).prop_map(|(at, keep_until)| Ending { at, keep_until })
}

pub(super) fn holder() -> impl Strategy<Value = Holder> {
    prop_oneof![any::<u64>().prop_map(Holder::Session), Just(Holder::Anyone)]
}

pub(super) fn exit() -> impl Strategy<Value = Option<Exit>> {
    let exit = prop_oneof![any::<u8>().prop_map(Exit::Status), any::<u8>().prop_map(Exit::Signal)];
    prop::option::of(exit)
}

pub(super) fn done_request() -> impl Strategy<Value = DoneRequest> {
    let range = (1u64..1 << 40, 1u64..9).prop_map(|(first, len)| IdRange::new(JobId(first), len));
    let receipt = prop_oneof![
        (1u64..1 << 40).prop_map(|id| Receipt::New(JobId(id))),
        (1u64..1 << 40).prop_map(|id| Receipt::Existing(JobId(id))),
        (1u64..1 << 40).prop_map(|id| Receipt::Changed(JobId(id))),
        (1u64..1 << 40).prop_map(|id| Receipt::Replaced(JobId(id))),
    ];
    let receipts = prop::collection::vec(receipt, 0..4).prop_map(Vec::into_boxed_slice);
    let answer =
        prop_oneof![range.prop_map(RequestAnswer::Submitted), receipts.prop_map(RequestAnswer::Received),];
    let user = prop::option::of(any::<u32>());
    (any::<[u8; 16]>(), any::<[u8; 16]>(), answer, time(), user).prop_map(
        |(key, content, answer, until, user)| {
            let request = RequestKey { key: Key::new(key), content: Key::new(content) };
            DoneRequest { request, answer, until, user }
        },
    )
}

pub(super) fn served_key() -> impl Strategy<Value = ServedKey> {
    (any::<[u8; 16]>(), any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(key, used, newest, leases)| {
        let turn = Turn { newest: JobId(newest), leases };
        ServedKey { key: Key::new(key), used: RateUsed(used), turn }
    })
}

fn handling() -> impl Strategy<Value = Handling> {
    prop_oneof![
        (any::<u32>(), any::<u64>()).prop_map(|(seconds, no)| Handling::Delayed { seconds, no }),
        Just(Handling::Released),
        Just(Handling::TimedOut),
        any::<u64>().prop_map(|no| Handling::Buried { no }),
        Just(Handling::Kicked),
    ]
}

pub(super) fn event() -> impl Strategy<Value = Event> {
    let range = (1u64..1 << 40, 1u64..9).prop_map(|(first, len)| IdRange::new(JobId(first), len));
    let one = (1u64..1 << 40).prop_map(|id| IdRange::from(JobId(id)));
    let next = prop_oneof![time().prop_map(AfterFailure::Retry), ending().prop_map(AfterFailure::Dead)];
    let due = || prop::option::of(time());
    let queue = || "[a-z]{1,9}".prop_map(|name| QueueName::new(&name).unwrap());
    prop_oneof![
        (ids(), any::<u32>())
            .prop_map(|(jobs, priority)| Event::Prioritized { jobs, priority: Priority(priority) }),
        (any::<u64>(), done_request())
            .prop_map(|(page, done)| Event::Row(RowEvent::RequestDone { page, done: done.into() })),
        any::<u64>().prop_map(|page| Event::Row(RowEvent::RequestsForgotten { page })),
        (queue(), any::<u64>(), prop::collection::vec(served_key(), 0..4)).prop_map(|(queue, page, keys)| {
            let rate = (page % 2 == 0).then(|| Rate::new(7, Duration::from_secs(1), Some(3)).unwrap());
            Event::Row(RowEvent::KeysServed { queue, page, rate, keys })
        }),
        (queue(), any::<u64>()).prop_map(|(queue, page)| Event::Row(RowEvent::KeysForgotten { queue, page })),
        (ids(), time()).prop_map(|(jobs, due)| Event::Postponed { jobs, due }),
        (range, spec(), time(), due(), expiry())
            .prop_map(|(jobs, spec, at, due, expiry)| { Event::Submitted { jobs, spec, at, due, expiry } }),
        (ids(), holder(), worker(), time(), time()).prop_map(|(jobs, holder, worker, at, until)| {
            Event::Claimed { jobs, holder, worker, at, until }
        }),
        (ids(), time()).prop_map(|(jobs, until)| Event::Extended { jobs, until }),
        (ids(), ending()).prop_map(|(jobs, end)| Event::Completed { jobs, end }),
        (one.clone(), time(), "\\PC{0,30}", exit(), next).prop_map(|(job, at, error, exit, next)| {
            Event::Failed { job, at, error: error.into(), exit, next }
        }),
        (one.clone(), time(), "\\PC{0,30}", exit(), time()).prop_map(|(job, at, error, exit, due)| {
            Event::Deferred { job, at, error: error.into(), exit, due }
        }),
        one.clone().prop_map(|job| Event::BodyReplaced { job }),
        (one.clone(), 0..3usize).prop_map(|(job, what)| Event::Attached { job, what: BESIDE[what] }),
        (ids(), 0..3usize).prop_map(|(jobs, what)| Event::Detached { jobs, what: BESIDE[what] }),
        (one.clone(), signal_name(), time()).prop_map(|(job, signal, due)| Event::Awaits {
            job,
            signal,
            due
        }),
        (one, signal_name()).prop_map(|(job, signal)| Event::Signalled { job, signal }),
        (ids(), due()).prop_map(|(jobs, due)| Event::Released { jobs, due }),
        ids().prop_map(|jobs| Event::Interrupted { jobs }),
        ids().prop_map(|jobs| Event::Ripened { jobs }),
        (ids(), ending()).prop_map(|(jobs, end)| Event::Expired { jobs, end }),
        (ids(), ending()).prop_map(|(jobs, end)| Event::Cancelled { jobs, end }),
        (ids(), ending()).prop_map(|(jobs, end)| Event::Buried { jobs, end }),
        ids().prop_map(|jobs| Event::Revived { jobs }),
        ids().prop_map(|jobs| Event::Deleted { jobs }),
        ids().prop_map(|jobs| Event::Dropped { jobs }),
        (ids(), waits()).prop_map(|(jobs, waits)| Event::WaitsFor { jobs, waits: waits.into() }),
        (ids(), waits(), 0..3usize, time()).prop_map(|(jobs, waits, fate, at)| {
            let fate = [EdgeFate::Gone, EdgeFate::Held, EdgeFate::Open][fate];
            Event::EdgesChanged { jobs, on: waits.edges[0].on, fate, at }
        }),
        any::<u64>().prop_map(|seed| {
            let (group, mut draw) = (GroupNo(seed >> 1), Draw(seed));
            let now = Workload::default().group(&mut draw, group).into();
            Event::Row(RowEvent::GroupChanged { group, now })
        }),
        any::<u64>().prop_map(|seed| {
            let (mut draw, pattern) = (Draw(seed), Workload::pattern(&mut Draw(seed)));
            Event::Row(RowEvent::TopicBound { pattern, queues: Workload::bound(&mut draw) })
        }),
        any::<u64>().prop_map(|seed| {
            Event::Row(RowEvent::TopicUnbound { pattern: Workload::pattern(&mut Draw(seed)) })
        }),
        any::<u64>().prop_map(|no| Event::Row(RowEvent::GroupForgotten { group: GroupNo(no) })),
        (ids(), prop::option::of(0u64..1 << 31)).prop_map(|(jobs, bytes)| {
            Event::Sized { jobs, size: bytes.map(Size::of).unwrap_or_default() }
        }),
        (queue(), 1u64..1 << 40, 1u64..9).prop_map(|(queue, first, len)| {
            Event::Row(RowEvent::NotTaken { queue, jobs: IdRange::new(JobId(first), len) })
        }),
        queue().prop_map(|queue| Event::Row(RowEvent::Paused { queue })),
        (queue(), time()).prop_map(|(queue, until)| Event::Row(RowEvent::PausedUntil { queue, until })),
        (ids(), handling()).prop_map(|(jobs, what)| Event::Counted { jobs, what }),
        queue().prop_map(|queue| Event::Row(RowEvent::Resumed { queue })),
        queue().prop_map(|queue| Event::Row(RowEvent::QueueForgotten { queue })),
        (queue(), any::<u64>()).prop_map(|(queue, seed)| Event::Row(RowEvent::OverridesSet {
            queue,
            overrides: Workload::overrides(&mut Draw(seed)),
        })),
        ("[a-z]{1,9}", schedule_change()).prop_map(|(name, change)| Event::Row(RowEvent::Schedule {
            name: ScheduleName::new(&name).unwrap(),
            change
        })),
    ]
}

const BESIDE: [Beside; 3] = [Beside::Checkpoint, Beside::Result, Beside::Signals];

fn signal_name() -> impl Strategy<Value = SignalName> {
    "[a-z]{1,32}".prop_map(|name| SignalName::new(&name).unwrap())
}

fn signals() -> impl Strategy<Value = Signals> {
    let signal = || (signal_name(), any::<u32>()).prop_map(|(name, no)| Signal { name, no });
    let kept = prop::collection::vec(signal(), 0..=Signals::KEPT_MAX);
    (prop::option::of(signal_name()), prop::option::of(signal()), kept, any::<u32>())
        .prop_map(|(awaited, taken, kept, count)| Signals { awaited, taken, kept, count })
}

fn waits() -> impl Strategy<Value = Waits> {
    any::<u64>().prop_map(|seed| Workload::waits(&mut Draw(seed)))
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    any::<u64>().prop_map(|seed| Workload::plan(&mut Draw(seed)))
}

pub(super) fn run() -> impl Strategy<Value = Run> {
    (time(), 1u64..1 << 40).prop_map(|(at, job)| Run { at, job: JobId(job) })
}

pub(super) fn schedule_change() -> impl Strategy<Value = ScheduleChange> {
    prop_oneof![
        (plan(), time(), time()).prop_map(|(plan, since, next)| ScheduleChange::Set {
            plan: plan.into(),
            since,
            next
        }),
        (run(), time(), time(), any::<bool>())
            .prop_map(|(run, since, next, waits)| { ScheduleChange::Fired { run, since, next, waits } }),
        (any::<u64>(), time(), time(), any::<bool>()).prop_map(|(skipped, since, next, waits)| {
            ScheduleChange::Passed { skipped, since, next, waits }
        }),
        Just(ScheduleChange::Paused),
        (time(), time()).prop_map(|(since, next)| ScheduleChange::Resumed { since, next }),
        (time(), time()).prop_map(|(since, next)| ScheduleChange::Moved { since, next }),
        Just(ScheduleChange::Removed),
    ]
}

pub(super) fn schedule() -> impl Strategy<Value = Schedule> {
    let runs = prop::collection::vec(run(), 0..=Schedule::RUNS);
    (plan(), any::<[bool; 2]>(), (time(), time()), any::<[u64; 2]>(), runs).prop_map(
        |(plan, [paused, waits], (since, next), [fired, skipped], runs)| Schedule {
            plan: plan.into(),
            paused,
            since,
            next,
            waits: waits && !paused,
            fired,
            skipped,
            runs,
        },
    )
}

pub(super) fn state() -> impl Strategy<Value = JobState> {
    let end = || (time(), time()).prop_map(|(at, keep_until)| Final { at, keep_until });
    prop_oneof![
        time().prop_map(|due| JobState::Scheduled { due }),
        Just(JobState::Ready),
        (holder(), time(), time(), any::<bool>()).prop_map(|(holder, since, until, cancelling)| {
            JobState::Leased(Lease { holder, since, until, cancelling })
        }),
        end().prop_map(JobState::Done),
        end().prop_map(JobState::Dead),
        end().prop_map(JobState::Cancelled),
        end().prop_map(JobState::Expired),
        time().prop_map(|due| JobState::Waiting { due }),
    ]
}

fn worker() -> impl Strategy<Value = Option<Worker>> {
    prop::option::of((any::<u32>(), any::<u32>()).prop_map(|(uid, pid)| Worker { uid, pid }))
}

fn expiry() -> impl Strategy<Value = Expiry> {
    let never = || prop_oneof![time(), Just(Time::NEVER)];
    (never(), never()).prop_map(|(begin_by, end_by)| Expiry { begin_by, end_by })
}

pub(super) fn job() -> impl Strategy<Value = Job> {
    let failure = (any::<u32>(), prop::option::of(time()), time(), "\\PC{0,20}", exit(), worker()).prop_map(
        |(attempt, since, at, error, exit, worker)| Failure {
            attempt: Attempt(attempt),
            since,
            at,
            error: error.into(),
            exit,
            worker,
        },
    );
    let failures = prop::collection::vec(failure, 0..3);
    let second = (0u64..1 << 30).prop_map(|second| Time(second * 1_000));
    let past = ((prop::option::of(time()), worker()), state(), any::<[u32; 4]>(), failures);
    (spec(), second, expiry(), prop::option::of(signals()), past).prop_map(
        |(
            spec,
            submitted_at,
            expiry,
            signals,
            ((started, worker), state, [attempt, failed, crashes, later], failures),
        )| {
            let mut job = Job::fresh(spec, submitted_at);
            job.set_expiry(expiry);
            job.set_size(Size::of(u64::from(crashes) % 3 * u64::from(later)));
            let counts = JobCounts { attempt: Attempt(attempt), failed, crashes, later };
            let newest = Newest { started: started.filter(|at| *at != Time::NEVER), worker };
            let mut job = Job::remembered(job, state, counts, newest, failures);
            job.set_beside(Beside::Checkpoint, attempt % 3 == 1);
            job.set_beside(Beside::Result, later % 3 == 1);
            job.set_beside(Beside::Signals, signals.is_some());
            job.set_signals(signals.unwrap_or_default());
            let [buries, kicks] = [later % 5, attempt % 5];
            let releases = failed.saturating_sub(1 << 30);
            let (delay, no) = (u32::from(buries > 0) * crashes, u64::from(kicks) << 40);
            job.set_handled(HandlingCounts { delay, releases, timeouts: buries * 7, buries, kicks, no });
            if let JobState::Waiting { due } = state {
                job.set_waits(Workload::waits(&mut Draw(due.0)).into());
            }
            job
        },
    )
}

pub(super) fn commit() -> impl Strategy<Value = Commit> {
    let blobs =
        || prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from), 0..4);
    let events = prop::collection::vec(event(), 0..6);
    let envelopes = (blobs(), prop::collection::vec((0u64..9, 1u64..90), 4)).prop_map(|(blobs, runs)| {
        let mut next = 1;
        let runs = runs.into_iter().map(|(gap, len)| {
            let jobs = IdRange::new(JobId(next + gap), len);
            next = jobs.end().0;
            jobs
        });
        runs.zip(blobs).collect()
    });
    (time(), events, blobs(), envelopes).prop_map(|(time, events, mut bodies, envelopes)| {
        let replaced = events.iter().filter(|event| matches!(event, Event::BodyReplaced { .. })).count();
        bodies.resize(bodies.len().max(replaced), Bytes::new());
        let replaced = bodies.split_off(bodies.len() - replaced);
        let attached = events.iter().filter(|event| matches!(event, Event::Attached { .. }));
        let attached = attached.enumerate().map(|(nth, _)| Bytes::from(vec![nth as u8; 40 * nth])).collect();
        Commit { time, events, bodies, replaced, envelopes, attached }
    })
}
