//! What may happen in a sequence, drawn at random. It knows of no outcome.

use super::super::world::{name, secs};
use crate::core::*;
use proptest::prelude::*;
use std::time::Duration;

pub(super) const QUEUES: [&str; 4] = ["a", "b", "c", "d"];

/// One step; numbers choose among what there is when it is taken.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Do(Command),
    /// Leases by number, whether the attempt is stale, what to do.
    Settle(Vec<(usize, u32, Verdict)>),
    /// A lease, as above, and what is done with it.
    OfLease((usize, u32), OfLease),
    /// A job by number.
    Signal(u64, SignalName),
    /// Several of them.
    OfLeases(Vec<(usize, u32)>, OfLeases),
    Drain(bool, bool),
    /// Somebody asks for what can be kicked in a queue.
    Kickable(usize),
    Keep(usize, Keep, Keep, u64),
    Limits(usize, u64, usize),
    Order(usize, Retries),
    /// How many at a time, and how fast: a count, and seconds for so many.
    Pace(usize, Option<u32>, Option<(u32, u64)>),
    PerKey(usize, Option<u32>),
    PerKeyRate(usize, Option<(u32, u64)>),
    Fair(usize, bool),
    Circuit(usize, Option<(u32, u64)>),
    /// The daemon dies: the state is folded anew from all events.
    Crash,
    /// The daemon starts from a checkpoint: the state is put together from rows and books.
    Restore,
}

/// What is done with a lease.
#[derive(Clone, Debug)]
pub(super) enum OfLease {
    Follow(Vec<Group>),
    Checkpoint(Option<Duration>),
    SettleWithResult(Verdict),
}

/// What is done with several leases.
#[derive(Clone, Debug)]
pub(super) enum OfLeases {
    Extend(Option<Duration>),
    /// A session's worker says that it has these.
    TakeUp(u64),
}

impl OfLeases {
    pub(super) fn command(self, leases: Vec<LeaseId>) -> Command {
        match self {
            OfLeases::Extend(lease) => Command::Extend { items: leases, lease },
            OfLeases::TakeUp(session) => Command::TakeUp { session, leases },
        }
    }
}

impl OfLease {
    pub(super) fn command(self, lease: LeaseId) -> Command {
        match self {
            OfLease::Follow(groups) => {
                Command::CompleteAndSubmit { lease, groups: groups.into(), request: None }
            }
            OfLease::Checkpoint(extend) => Command::Checkpoint { lease, extend },
            OfLease::SettleWithResult(verdict) => Command::SettleWithResult { lease, verdict },
        }
    }
}

fn queue() -> impl Strategy<Value = QueueName> {
    // The first queues are used most.
    prop_oneof![4 => Just(0), 3 => Just(1), 1 => Just(2), 1 => Just(3)].prop_map(|n| name(QUEUES[n as usize]))
}

pub(super) fn wait() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 1..3_000u64, Just(2_000)].prop_map(Duration::from_millis)
}

fn new_group() -> impl Strategy<Value = Group> {
    let start = prop_oneof![
        3 => Just(Start::Now),
        1 => wait().prop_map(Start::After),
        1 => (999_000..1_020_000u64).prop_map(|at| Start::At(Time(at))),
    ];
    let backoff = prop_oneof![Just(Growth::Fixed), Just(Growth::Linear)].prop_map(|growth| Backoff {
        growth,
        base: secs(2),
        max: secs(3),
        jitter_permille: 0,
    });
    let spec = (
        queue(),
        prop::sample::select(vec![0, 0, 0, 5]),
        prop::option::of(1..4u32),
        prop::option::of(backoff),
    )
        .prop_map(|(queue, priority, attempts, backoff)| SpecOptions {
            priority: Priority(priority),
            attempts,
            backoff,
            ..SpecOptions::plain(queue)
        });
    let plain = queue().prop_map(SpecOptions::plain);
    let key = prop::option::weighted(0.4, (0..3u8).prop_map(|n| Key::new([n; 16])));
    let unique = prop::option::weighted(0.3, (0..4u8).prop_map(|n| Key::new([n; 16])));
    let held = prop_oneof![
        Just(UniqueWhile::Waiting),
        Just(UniqueWhile::Unfinished),
        wait().prop_map(UniqueWhile::Kept),
    ];
    let on_conflict = prop_oneof![
        Just(OnConflict::Existing),
        Just(OnConflict::Raise),
        Just(OnConflict::Replace),
        prop::option::of(wait()).prop_map(|max| OnConflict::Debounce { max }),
        Just(OnConflict::Reject),
    ];
    let unique = (unique, held, on_conflict);
    let size = prop::sample::select(vec![0, 0, 7, 10]);
    let expiry = (prop::option::weighted(0.3, wait()), prop::option::weighted(0.2, wait()));
    (prop_oneof![spec, plain], (key, unique), (0..5u64, size), start, expiry).prop_map(
        |(options, (key, (unique, unique_while, on_conflict)), (count, size), start, (ttl, deadline))| {
            let unique_while = if unique.is_some() { unique_while } else { UniqueWhile::default() };
            let options = SpecOptions { unique_while, ..options };
            let spec = Spec::from(options).with_key(key).with_unique(unique).into();
            Group { spec, count, start, ttl, deadline, on_conflict, size: Size::of(size), ties: None }
        },
    )
}

fn exit() -> impl Strategy<Value = Option<Exit>> {
    prop::option::of(prop_oneof![Just(Exit::Status(3)), Just(Exit::Signal(9))])
}

fn verdict() -> impl Strategy<Value = Verdict> {
    let then = prop_oneof![Just(Then::Backoff), wait().prop_map(Then::RetryAfter), Just(Then::Bury)];
    prop_oneof![
        3 => Just(Verdict::Complete),
        2 => (then, exit()).prop_map(|(then, exit)| Verdict::Fail { error: "no".into(), exit, then }),
        1 => prop::option::of(wait()).prop_map(|wait| Verdict::Later { error: "not now".into(), wait }),
        1 => prop::sample::select(vec![3, 24, 65, 75])
            .prop_map(|status| Verdict::Exited { error: "no".into(), exit: Exit::Status(status) }),
        1 => wait().prop_map(|delay| Verdict::Release { delay }),
        1 => (signal(), wait()).prop_map(|(signal, timeout)| Verdict::Await { signal, timeout }),
    ]
}

/// Few names, and now and then more than are kept.
fn signal() -> impl Strategy<Value = SignalName> {
    prop_oneof![4 => Just(0), 2 => Just(1), 1 => 0..12]
        .prop_map(|n| SignalName::new(&format!("s{n}")).unwrap())
}

pub(super) fn some_rate(rate: Option<(u32, u64)>) -> Option<Rate> {
    rate.and_then(|(count, per)| Rate::new(count, secs(per), Some(count)))
}

/// Something to set at run time, or by its key to unset.
fn setting() -> impl Strategy<Value = Setting> {
    let most = || prop::option::of(0..3u32);
    let rate = prop::option::of((1..4u32, 1..4u64));
    prop_oneof![
        1 => most().prop_map(Setting::Concurrency),
        1 => most().prop_map(Setting::PerKey),
        1 => rate.clone().prop_map(|rate| Setting::Rate(some_rate(rate))),
        1 => rate.prop_map(|rate| Setting::PerKeyRate(some_rate(rate))),
        1 => any::<bool>().prop_map(Setting::Fair),
        2 => prop::sample::select(vec![0, 3]).prop_map(Setting::Backlog),
        1 => prop::sample::select(vec![0, 25]).prop_map(Setting::BacklogBytes),
        2 => prop::sample::select(vec![Full::DropNew, Full::DropOld, Full::Wait(secs(1))]).prop_map(Setting::Full),
        1 => prop::sample::select(vec![Retries::Behind, Retries::Place]).prop_map(Setting::Retries),
        1 => (1..3u32).prop_map(Setting::Attempts),
        1 => prop::option::of(1..4u32).prop_map(Setting::Weight),
        1 => (0..2u64).prop_map(Setting::KeepDoneMax),
        1 => most().prop_map(Setting::KeepDeadMax),
        1 => prop::sample::select(vec![Keep::No, Keep::Forever]).prop_map(Setting::KeepDone),
    ]
}

/// Those of connections, and of workers that may come back.
fn sessions() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1, 2, 3, Holder::BLAMELESS | 4, Holder::RESUMABLE, u64::MAX])
}

fn handling() -> impl Strategy<Value = Handling> {
    prop_oneof![
        (1..4u32).prop_map(|seconds| Handling::Delayed { seconds, no: 0 }),
        prop::sample::select(vec![Handling::Released, Handling::Buried { no: 0 }, Handling::Kicked]),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let holder = prop_oneof![sessions().prop_map(Holder::Session), Just(Holder::Anyone)];
    let order = prop::sample::select(vec![ClaimOrder::AsNamed, ClaimOrder::AsNamed, ClaimOrder::ByPriority]);
    let claim_of =
        (prop::collection::vec(queue(), 0..4), 0..6u32, prop::option::of(wait()), holder.clone(), order);
    let claim = claim_of.prop_map(|(queues, max, lease, holder, order)| {
        let worker = (max % 2 == 1).then_some(Worker { uid: 7, pid: max });
        Command::Claim(Claim { queues, max, lease, holder, worker, order })
    });
    let plain = vec![Edit::Cancel, Edit::Retry, Edit::Kick, Edit::Bury, Edit::Delete];
    let edit = prop_oneof![
        5 => prop::sample::select(plain),
        2 => queue().prop_map(Edit::Move),
        1 => prop::sample::select(vec![0, 3, 30]).prop_map(|size| Edit::ReplaceBody(Size::of(size))),
        1 => (0..3u32).prop_map(|priority| Edit::Prioritize(Priority(priority))),
    ];
    let edit = (edit, prop::collection::vec((0..60u64).prop_map(JobId), 0..8));
    prop_oneof![
        6 => prop::collection::vec(new_group(), 0..4).prop_map(|groups| Command::Submit { groups: groups.into() }),
        8 => claim,
        5 => Just(Command::Tick),
        4 => edit.prop_map(|(edit, ids)| Command::Edit { edit, ids, only: Only::default() }),
        2 => sessions().prop_map(|session| Command::Vanish { session }),
        1 => wait().prop_map(|wait| Command::Recover { resume_by: Time(1_000_000).plus(wait * 4) }),
        1 => (queue(), prop::option::of(wait())).prop_map(|(queue, time)| Command::Pause { queue, time, maker: None }),
        2 => ((0..60u64).prop_map(JobId), holder).prop_map(|(id, holder)| Command::ClaimJob { id, holder, worker: None }),
        1 => ((0..60u64).prop_map(JobId), handling()).prop_map(|(id, what)| Command::Count { ids: vec![id], what }),
        2 => queue().prop_map(|queue| Command::Resume { queue }),
        1 => queue().prop_map(|queue| Command::ResetCircuit { queue }),
        1 => queue().prop_map(|queue| Command::Purge { queue }),
        1 => (0..3usize, any::<bool>(), prop::collection::vec(queue(), 0..3)).prop_map(|(nth, binds, queues)| {
            let pattern = Pattern::new(["t", "t.*", "*"][nth]).unwrap();
            let action = if binds { TopicAction::Bind { queues } } else { TopicAction::Unbind { queues } };
            Command::Topic { pattern, action }
        }),
        2 => (queue(), prop::collection::vec(setting(), 0..3), prop::collection::vec(setting(), 0..3)).prop_map(
            |(queue, set, unset)| {
                let unset = unset.into_iter().map(Setting::key).collect();
                Command::SetQueue { queue, by: set.len() as u32, set, unset }
            }
        ),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let keep = || prop_oneof![Just(Keep::No), wait().prop_map(Keep::For), Just(Keep::Forever)];
    let stale = prop::sample::select(vec![0, 0, 0, 0, 1]);
    prop_oneof![
        30 => command().prop_map(Step::Do),
        8 => prop::collection::vec((0..12usize, stale.clone(), verdict()), 0..6).prop_map(Step::Settle),
        3 => ((0..12usize, stale.clone()), prop::collection::vec(new_group(), 0..3))
            .prop_map(|(lease, groups)| Step::OfLease(lease, OfLease::Follow(groups))),
        2 => (sessions(), prop::collection::vec((0..12usize, stale.clone()), 0..6))
            .prop_map(|(session, leases)| Step::OfLeases(leases, OfLeases::TakeUp(session))),
        3 => (prop::collection::vec((0..12usize, stale), 0..4), prop::option::of(wait()))
            .prop_map(|(items, lease)| Step::OfLeases(items, OfLeases::Extend(lease))),
        3 => ((0..12usize, 0..2u32), prop::option::of(wait()))
            .prop_map(|(lease, extend)| Step::OfLease(lease, OfLease::Checkpoint(extend))),
        3 => ((0..12usize, 0..2u32), verdict()).prop_map(|(lease, verdict)| Step::OfLease(lease, OfLease::SettleWithResult(verdict))),
        1 => (0..4usize).prop_map(Step::Kickable),
        4 => (0..9u64, signal()).prop_map(|(n, signal)| Step::Signal(n, signal)),
        1 => (prop::bool::weighted(0.3), any::<bool>()).prop_map(|(on, accept)| Step::Drain(on, accept)),
        3 => (0..4usize, keep(), keep(), 0..4u64).prop_map(|(q, done, dead, max)| Step::Keep(q, done, dead, max)),
        1 => (0..4usize, prop::sample::select(vec![0, 0, 8]), 1..6usize).prop_map(|(q, b, n)| Step::Limits(q, b, n)),
        1 => (0..4usize, prop::sample::select(vec![Retries::Alternate, Retries::Behind, Retries::Place]))
            .prop_map(|(n, retries)| Step::Order(n, retries)),
        1 => (0..4usize, prop::option::of(0..4u32), prop::option::of((1..4u32, 1..4u64)))
            .prop_map(|(n, most, rate)| Step::Pace(n, most, rate)),
        1 => (0..4usize, prop::sample::select(vec![None, Some(1), Some(1), Some(2)]))
            .prop_map(|(n, most)| Step::PerKey(n, most)),
        1 => (0..4usize, prop::option::weighted(0.8, (1..3u32, 1..6u64)))
            .prop_map(|(n, rate)| Step::PerKeyRate(n, rate)),
        2 => (0..4usize, prop::bool::weighted(0.8)).prop_map(|(n, fair)| Step::Fair(n, fair)),
        1 => (0..4usize, prop::option::weighted(0.8, (1..4u32, 500..2_000u64)))
            .prop_map(|(n, circuit)| Step::Circuit(n, circuit)),
        1 => Just(Step::Crash),
        1 => Just(Step::Restore),
    ]
}
