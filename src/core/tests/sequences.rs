//! Long random sequences of commands: the core must answer as the naive model does and be in the same state,
//! whatever happens in between, and must come back the same from its events and from its rows.

use super::limits::explain_is_held_to;
use super::locality::fold_and_check;
use super::model::Model;
use super::world::{View, World, name, secs, view};
use crate::core::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const QUEUES: [&str; 4] = ["a", "b", "c", "d"];

/// One step; numbers choose among what there is when it is taken.
#[derive(Clone, Debug)]
enum Step {
    Do(Command),
    /// Leases by number, whether the attempt is stale, what to do.
    Settle(Vec<(usize, u32, Verdict)>),
    Extend(Vec<(usize, u32)>, Option<Duration>),
    Drain(bool, bool),
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

fn queue() -> impl Strategy<Value = QueueName> {
    // The first queues are used most.
    prop_oneof![4 => Just(0), 3 => Just(1), 1 => Just(2), 1 => Just(3)].prop_map(|n| name(QUEUES[n as usize]))
}

fn wait() -> impl Strategy<Value = Duration> {
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
            Group { spec, count, start, ttl, deadline, on_conflict, size: Size::of(size) }
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
        1 => Just(Verdict::Later { error: "not now".into() }),
        1 => prop::sample::select(vec![3, 24, 65, 75])
            .prop_map(|status| Verdict::Exited { error: "no".into(), exit: Exit::Status(status) }),
        1 => wait().prop_map(|delay| Verdict::Release { delay }),
    ]
}

fn some_rate(rate: Option<(u32, u64)>) -> Option<Rate> {
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

fn command() -> impl Strategy<Value = Command> {
    let holder = prop_oneof![(1..4u64).prop_map(Holder::Session), Just(Holder::Anyone)];
    let claim = (prop::collection::vec(queue(), 0..4), 0..6u32, prop::option::of(wait()), holder).prop_map(
        |(queues, max, lease, holder)| {
            let worker = (max % 2 == 1).then_some(Worker { uid: 7, pid: max });
            Command::Claim(Claim { queues, max, lease, holder, worker })
        },
    );
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
        2 => (0..4u64).prop_map(|session| Command::Vanish { session }),
        1 => Just(Command::Recover),
        1 => queue().prop_map(|queue| Command::Pause { queue }),
        2 => queue().prop_map(|queue| Command::Resume { queue }),
        1 => queue().prop_map(|queue| Command::ResetCircuit { queue }),
        1 => queue().prop_map(|queue| Command::Purge { queue }),
        2 => (queue(), prop::collection::vec(setting(), 0..3), prop::collection::vec(setting(), 0..3)).prop_map(
            |(queue, set, unset)| {
                let unset = unset.into_iter().map(Setting::key).collect();
                Command::SetQueue { queue, by: set.len() as u32, set, unset }
            }
        ),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let keep = || prop_oneof![Just(Keep::No), wait().prop_map(Keep::For), Just(Keep::Forever)];
    let stale = prop::sample::select(vec![0, 0, 0, 0, 1]);
    prop_oneof![
        30 => command().prop_map(Step::Do),
        8 => prop::collection::vec((0..12usize, stale.clone(), verdict()), 0..6).prop_map(Step::Settle),
        3 => (prop::collection::vec((0..12usize, stale), 0..4), prop::option::of(wait()))
            .prop_map(|(items, lease)| Step::Extend(items, lease)),
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

/// What workers may rely on, seen only through commands and outcomes.
#[derive(Default)]
struct Promises {
    newest_id: u64,
    attempts: BTreeMap<JobId, Attempt>,
}

fn queue_row(row: &Row) -> Option<&QueueRow> {
    if let Row::Queue(queue) = row { Some(queue) } else { None }
}

impl Promises {
    fn hold(
        &mut self,
        before: &View,
        after: &View,
        outcome: &Result<Outcome, Rejection>,
        settings: &Settings,
    ) {
        let job_in = |view: &View, id: JobId| {
            view.0.iter().find(|(range, _)| range.first <= id && id < range.end()).map(|(_, job)| job.clone())
        };
        match outcome {
            Err(_) => assert_eq!(before, after, "a refusal changes nothing"),
            Ok(Outcome::Submitted(ids)) => {
                assert!(ids.first.0 > self.newest_id, "ids are never used twice");
                self.newest_id = ids.end().0 - 1;
                // Queues that made room for those of this submit have taken their totals along.
                let submitted = |rows: &[Row], name: &QueueName| {
                    let mut queues = rows.iter().filter_map(queue_row);
                    queues.find(|queue| queue.name == *name).map_or(0, |queue| queue.totals.submitted)
                };
                let queues = after.1.iter().filter_map(queue_row);
                let arrived = queues.map(|q| q.totals.submitted - submitted(&before.1, &q.name)).sum::<u64>();
                let dropped = |view: &View| {
                    view.1.iter().filter_map(queue_row).map(|queue| queue.totals.dropped).sum::<u64>()
                };
                assert!(
                    arrived == ids.len || dropped(after) > dropped(before),
                    "all jobs of a submit arrive, or are counted"
                );
            }
            Ok(Outcome::Received(receipts)) => {
                // Of a full queue the oldest may go at once, whatever the submit was told of it.
                let dropped = |view: &View| -> u64 {
                    view.1.iter().filter_map(queue_row).map(|queue| queue.totals.dropped).sum()
                };
                for receipt in receipts {
                    match receipt {
                        Receipt::New(id) => {
                            assert!(id.0 > self.newest_id, "ids are never used twice");
                            self.newest_id = id.0;
                        }
                        Receipt::Existing(id) | Receipt::Changed(id) | Receipt::Replaced(id) => {
                            let is_there = job_in(after, *id).is_some() || dropped(after) > dropped(before);
                            assert!(is_there, "who holds a unique key is there");
                        }
                    }
                }
            }
            Ok(Outcome::Claimed(grants)) => {
                for grant in grants {
                    let was = job_in(before, grant.id).unwrap();
                    assert_eq!(was.state(), JobState::Ready, "one live lease a job");
                    let last = self.attempts.insert(grant.id, grant.attempt).unwrap_or_default();
                    assert!(grant.attempt > last, "each lease has a higher number");
                }
                // Those that have come back have turns of their own, but never before a lower priority.
                let is_fresh = |job: &Job| job.failed() + job.crashes() + job.later() == 0;
                let fresh = |id| is_fresh(&job_in(before, id).unwrap());
                for (at, one) in grants.iter().enumerate() {
                    for next in grants[at + 1..].iter().filter(|next| next.spec.queue == one.spec.queue) {
                        let (first, second) = (one.spec.priority, next.spec.priority);
                        assert!(first <= second, "priority comes first");
                        let by_arrival = first < second || !fresh(one.id) || !fresh(next.id);
                        // What its key holds back may go after others that came later.
                        let alike = one.spec.key == next.spec.key;
                        assert!(by_arrival || !alike || one.id < next.id, "then order of arrival");
                    }
                }
                for grant in grants {
                    let skipped = after.0.iter().any(|(range, job)| {
                        let rank = |priority, id| (priority, if fresh(grant.id) { id } else { JobId(0) });
                        // Where keys take turns, those without one are passed over by others.
                        let takes_turns = settings.of(&grant.spec.queue).fair && grant.spec.key.is_some();
                        job.state() == JobState::Ready
                            && job.spec.key.is_none()
                            && (!takes_turns || job.spec.priority < grant.spec.priority)
                            && job.spec.queue == grant.spec.queue
                            && (is_fresh(job) || job.spec.priority < grant.spec.priority)
                            && rank(job.spec.priority, range.first) < rank(grant.spec.priority, grant.id)
                    });
                    assert!(!skipped, "nobody is passed over");
                }
            }
            Ok(_) => {}
        }
        for (id, newest) in &self.attempts {
            assert!(job_in(after, *id).is_none_or(|job| job.attempt() >= *newest), "attempts never go down");
        }
    }
}

/// The lease that a number means: one that is there, or any job's.
fn lease(model: &Model, pick: usize, stale: u32) -> LeaseId {
    let leased: Vec<_> =
        model.jobs.iter().filter(|(_, job)| job.state.kind() == StateKind::Leased || pick > 8).collect();
    match leased.get(pick % leased.len().max(1)) {
        Some((id, job)) => LeaseId { id: JobId(*id), attempt: Attempt(job.attempt.0.saturating_sub(stale)) },
        None => LeaseId { id: JobId(pick as u64), attempt: Attempt(1) },
    }
}

/// The job that a number means: mostly one that there is.
fn known(model: &Model, pick: JobId) -> JobId {
    let at = pick.0 as usize % (model.jobs.len() + 1);
    model.jobs.get(at).map_or(pick, |(id, _)| JobId(*id))
}

/// Hides what an outcome may say in more than one way: the hint of a refused edit.
fn compared(mut outcome: Result<Outcome, Rejection>) -> Result<Outcome, Rejection> {
    if let Ok(Outcome::Edited(results)) = &mut outcome {
        results.iter_mut().for_each(|result| {
            if let Err(EditRejection::WrongState { hint, .. }) = result {
                *hint = "";
            }
        });
    }
    outcome
}

fn both(world: &mut World, model: &mut Model, promises: &mut Promises, command: Command) {
    let before = view(&world.core.state);
    let expected = compared(model.run(&command));
    let state = world.core.state.clone();
    let outcome = world.run(command.clone());
    let folded = fold_and_check(state, world.fresh());
    assert_eq!(told(&folded), told(&world.core.state), "what was decided is the fold of its events");
    promises.hold(&before, &view(&world.core.state), &outcome, &world.core.settings);
    assert_eq!(compared(outcome), expected, "{command:?}");
    for id in world.fresh().iter().flat_map(Event::forgotten).flat_map(|range| range.iter()) {
        assert!(!world.core.state.contains(id), "job {id} is said to be forgotten after {command:?}");
    }
    same(&world.core.state, model, &command);
}

fn same(state: &State, model: &mut Model, command: &Command) {
    let jobs: Vec<_> = (state.iter(IdRange::new(JobId(0), u64::MAX)))
        .flat_map(|(range, job)| range.iter().map(move |id| (id.0, job.clone())))
        .collect();
    for ((id, job), (wanted, plain)) in jobs.iter().zip(&model.jobs) {
        assert!(
            id == wanted && job == plain,
            "job {id} is {job:?}, not {wanted}: {plain:?}, after {command:?}"
        );
    }
    assert_eq!(jobs.len(), model.jobs.len(), "after {command:?}");
    let mut queues = model.queues.clone();
    queues.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Row> = queues.into_iter().map(Row::Queue).collect();
    let (found, keys): (Vec<Row>, Vec<Row>) =
        state.rows().into_iter().partition(|row| queue_row(row).is_some());
    assert_eq!((found, state.next_id().0), (rows, model.submitted + 1), "after {command:?}");
    same_keys(&keys, model);
    let due = model.jobs.iter().map(|(_, job)| match job.state {
        JobState::Scheduled { due } => due.min(job.expires_at()),
        JobState::Ready => job.expires_at(),
        JobState::Leased(lease) => lease.until,
        ended => ended.ended().unwrap().keep_until,
    });
    let looks = state.looks.next_due();
    assert_eq!(state.next_due(), due.chain(looks).min().filter(|due| *due != Time::NEVER));
}

/// What is remembered of keys is what the model knows, but for what says nothing any more.
fn same_keys(rows: &[Row], model: &mut Model) {
    let of_row = |row: &Row| {
        let Row::Keys(KeysRow { queue, rate, keys, .. }) = row else {
            unreachable!("of queues and keys only")
        };
        let (queue, rate) = (queue.clone(), *rate);
        keys.iter().map(|it| (queue.clone(), it.key, rate, it.used, it.turn)).collect::<Vec<_>>()
    };
    let known: BTreeSet<_> = rows.iter().flat_map(of_row).map(|(queue, key, ..)| (queue, key)).collect();
    model.forget_keys(|queue, key| known.contains(&(queue.clone(), key)));
    let counts = |(.., used, turn): &(QueueName, Key, Option<Rate>, RateUsed, Turn)| {
        used.0 > model.now * 1_000_000 || *turn != Turn::default()
    };
    let mut found: Vec<_> = rows.iter().flat_map(of_row).filter(counts).collect();
    let mut wanted: Vec<_> = model.keys.iter().filter(|it| counts(it)).cloned().collect();
    found.sort_by_key(|(queue, key, ..)| (queue.clone(), *key));
    wanted.sort_by_key(|(queue, key, ..)| (queue.clone(), *key));
    assert_eq!(found, wanted);
}

/// What follows from events alone: not when pages of keys are looked at.
fn told(state: &State) -> View {
    let (jobs, rows, next_id, _) = view(state);
    (jobs, rows, next_id, state.due.first_key())
}

fn change_settings(world: &mut World, model: &mut Model, n: usize, change: impl Fn(&mut QueueSettings)) {
    let default = model.configured.default.clone();
    change(model.configured.queues.entry(name(QUEUES[n])).or_insert(default));
    model.bring_together();
    world.core.configure(model.configured.clone());
}

fn play(steps: Vec<(Duration, Step)>) {
    let (mut world, mut model, mut promises) = (World::new(), Model::default(), Promises::default());
    let settings = world.settings();
    (settings.lease, settings.attempts, settings.crashes, settings.keep_done_max) = (secs(3), 3, 2, 2);
    (settings.backoff.max, settings.later_max) = (secs(3), 2);
    settings.on_exit = OnExit::new(vec![(Exits::Statuses(24, 24), ExitMeaning::Done)]);
    (model.configured, model.settings) = (world.core.settings.clone(), world.core.settings.clone());
    for (pause, step) in steps {
        world.now = world.now.plus(pause);
        model.now = world.now.0;
        explain_is_held_to(&mut world.core, world.now);
        match step {
            Step::Do(Command::Edit { edit, ids, only }) => {
                let ids = ids.into_iter().map(|id| known(&model, id)).collect();
                both(&mut world, &mut model, &mut promises, Command::Edit { edit, ids, only });
            }
            Step::Do(command) => both(&mut world, &mut model, &mut promises, command),
            Step::Settle(items) => {
                let items =
                    items.into_iter().map(|(n, stale, verdict)| (lease(&model, n, stale), verdict)).collect();
                both(&mut world, &mut model, &mut promises, Command::Settle { items });
            }
            Step::Extend(items, time) => {
                let items = items.into_iter().map(|(n, stale)| lease(&model, n, stale)).collect();
                both(&mut world, &mut model, &mut promises, Command::Extend { items, lease: time });
            }
            Step::Drain(on, accept) => {
                (world.core.draining, world.core.accept_while_draining) = (on, accept);
                (model.draining, model.accept) = (on, accept);
            }
            Step::Order(n, retries) => {
                change_settings(&mut world, &mut model, n, |settings| settings.retries = retries);
            }
            Step::Keep(n, done, dead, max) => change_settings(&mut world, &mut model, n, |settings| {
                (settings.keep_done, settings.keep_dead, settings.keep_done_max) = (done, dead, max);
            }),
            Step::Limits(n, backlog, queues) => {
                model.configured.queues_max = queues;
                (model.configured.total_backlog, model.configured.total_backlog_bytes) =
                    (2 * backlog, 8 * backlog);
                change_settings(&mut world, &mut model, n, |settings| settings.backlog = backlog);
            }
            Step::Pace(n, most, rate) => change_settings(&mut world, &mut model, n, |settings| {
                settings.concurrency = most;
                settings.rate = some_rate(rate);
            }),
            Step::Circuit(n, circuit) => change_settings(&mut world, &mut model, n, |settings| {
                settings.circuit_failures = circuit.map(|(failures, _)| failures);
                settings.circuit_probe = Duration::from_millis(circuit.map_or(1_000, |(_, probe)| probe));
            }),
            Step::PerKey(n, most) => {
                change_settings(&mut world, &mut model, n, |settings| settings.per_key = most);
            }
            Step::Fair(n, fair) => {
                change_settings(&mut world, &mut model, n, |settings| settings.fair = fair);
            }
            Step::PerKeyRate(n, rate) => {
                change_settings(&mut world, &mut model, n, |settings| {
                    settings.per_key_rate = some_rate(rate)
                });
            }
            Step::Crash => {
                // As commits hold them: joined where they say the same.
                let mut log: Vec<Event> = Vec::new();
                for event in &world.log {
                    if !log.last_mut().is_some_and(|last| last.join(event)) {
                        log.push(event.clone());
                    }
                }
                let mut state = State::default();
                log.iter().for_each(|event| state.apply(event));
                assert_eq!(told(&state), told(&world.core.state), "folding all events gives the same state");
                check::check(&state);
                world.core.state = state;
            }
            Step::Restore => {
                let mut state = State::default();
                for (range, job) in world.core.state.runs(IdRange::new(JobId(0), u64::MAX)) {
                    state.restore(range, job);
                }
                world.core.state.rows().into_iter().for_each(|row| state.restore_row(row));
                state.raise_next_id(world.core.state.next_id());
                assert_eq!(told(&state), told(&world.core.state), "rows and books give the same state");
                check::check(&state);
                world.core.state = state;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 4000, ..ProptestConfig::default() })]
    #[test]
    fn the_core_does_what_the_naive_model_does(steps in prop::collection::vec((wait(), step()), 1..150)) {
        play(steps);
    }
}
