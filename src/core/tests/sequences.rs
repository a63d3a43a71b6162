//! Long random sequences of commands: the core must answer as the naive model does and be in the same state,
//! whatever happens in between, and must come back the same from its events and from its rows. `steps` has what may happen,
//! `promises` what holds whatever the model says.

mod promises;
mod steps;

use super::limits::explain_is_held_to;
use super::locality::fold_and_check;
use super::model::{Model, Plain};
use super::world::{View, World, name, secs, view};
use crate::core::*;
use crate::tally::{Count, Counting, Tally};
use promises::Promises;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;
use steps::{QUEUES, Step, some_rate, step, wait};

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

/// The same command, of jobs that there mostly are.
fn with_known(command: Command, model: &Model) -> Command {
    let all = |ids: Vec<JobId>| ids.into_iter().map(|id| known(model, id)).collect();
    match command {
        Command::Edit { edit, ids, only } => Command::Edit { edit, ids: all(ids), only },
        Command::ClaimJob { id, holder, worker } => {
            Command::ClaimJob { id: known(model, id), holder, worker }
        }
        Command::Count { ids, what } => Command::Count { ids: all(ids), what },
        other => other,
    }
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
    counts_are_totals(&state, world);
    let folded = fold_and_check(state, world.fresh());
    assert_eq!(told(&folded), told(&world.core.state), "what was decided is the fold of its events");
    let in_turn = !matches!(command, Command::ClaimJob { .. });
    promises.hold((&before, &view(&world.core.state)), &outcome, &world.core.settings, in_turn);
    assert_eq!(compared(outcome), expected, "{command:?}");
    for id in world.fresh().iter().flat_map(Event::forgotten).flat_map(|range| range.iter()) {
        assert!(!world.core.state.contains(id), "job {id} is said to be forgotten after {command:?}");
    }
    same(&world.core.state, model, &command);
}

/// What is counted for people is what the core counts itself, as far as it does.
fn counts_are_totals(before: &State, world: &World) {
    let mut tally = Tally::new(QUEUES.len() + 1, world.now);
    let mut state = before.clone();
    for event in world.fresh() {
        state.apply_telling(event, &mut Counting { tally: &mut tally, now: world.now });
        if let Event::Row(RowEvent::QueueForgotten { .. }) = event {
            // So are its totals.
            return;
        }
    }
    for (name, queue) in state.queues() {
        let (was, is) = (before.queue(name).map(Queue::totals).unwrap_or_default(), queue.totals());
        let new = [
            (Count::Submitted, is.submitted - was.submitted),
            (Count::Started, is.claimed - was.claimed),
            (Count::Completed, is.completed - was.completed),
            (Count::Failed, is.failed - was.failed),
            (Count::Dead, is.died - was.died),
            (Count::Cancelled, is.cancelled - was.cancelled),
            (Count::Expired, is.expired - was.expired),
            (Count::Dropped, is.dropped - was.dropped),
        ];
        let counts = tally.queue(name).unwrap_or_default();
        for (count, new) in new {
            assert_eq!(counts.of(count), new, "{count:?} of {name} in {:?}", world.fresh());
        }
        assert!(counts.wait.count() <= counts.of(Count::Started), "{:?}", world.fresh());
    }
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
    let rows: Vec<Row> = queues.into_iter().map(Row::Queue).chain(model.topic_rows()).collect();
    let (keys, found): (Vec<Row>, Vec<Row>) =
        state.rows().into_iter().partition(|row| matches!(row, Row::Keys(_)));
    assert_eq!((found, state.next_id().0), (rows, model.submitted + 1), "after {command:?}");
    same_keys(&keys, model);
    let due = model.jobs.iter().map(|(_, job)| match job.state {
        JobState::Scheduled { due } => due.min(job.expires_at()),
        JobState::Ready => job.expires_at(),
        JobState::Leased(lease) => lease.until,
        ended => ended.ended().unwrap().keep_until,
    });
    let looks = state.looks.next_due();
    let pauses = model.queues.iter().filter_map(|queue| queue.paused_until);
    assert_eq!(state.next_due(), due.chain(looks).chain(pauses).min().filter(|due| *due != Time::NEVER));
}

/// Those that can be kicked come by when they died, or are due.
fn kickable_is_in_order(state: &mut State, model: &Model, queue: &QueueName) {
    for kind in [StateKind::Dead, StateKind::Scheduled] {
        let place = |id: u64, job: &Plain| match job.state {
            JobState::Dead(end) => (end.at, job.handled.no, id),
            JobState::Scheduled { due } => (due, job.handled.no, id),
            _ => unreachable!("it is in none of these states"),
        };
        let of_kind = |job: &Plain| job.spec.queue == *queue && job.state.kind() == kind;
        let wanted = model.jobs.iter().filter(|(_, job)| of_kind(job));
        let mut wanted: Vec<_> = wanted.map(|(id, job)| place(*id, job)).collect();
        wanted.sort_unstable();
        let first = state.first_to_kick(queue, kind, 3);
        let found: Vec<u64> = first.iter().map(|id| id.0).collect();
        assert_eq!(found, wanted.iter().take(3).map(|(.., id)| *id).collect::<Vec<_>>());
    }
}

/// What is remembered of keys is what the model knows, but for what says nothing any more.
fn same_keys(rows: &[Row], model: &mut Model) {
    let of_row = |row: &Row| {
        let Row::Keys(KeysRow { queue, rate, keys, .. }) = row else { unreachable!("of keys only") };
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
            Step::Do(command) => {
                let command = with_known(command, &model);
                both(&mut world, &mut model, &mut promises, command);
            }
            Step::Settle(items) => {
                let items =
                    items.into_iter().map(|(n, stale, verdict)| (lease(&model, n, stale), verdict)).collect();
                both(&mut world, &mut model, &mut promises, Command::Settle { items });
            }
            Step::OfLease((n, stale), what) => {
                let lease = lease(&model, n, stale);
                both(&mut world, &mut model, &mut promises, what.command(lease));
            }
            Step::OfLeases(items, what) => {
                let leases = items.into_iter().map(|(n, stale)| lease(&model, n, stale)).collect();
                both(&mut world, &mut model, &mut promises, what.command(leases));
            }
            Step::Kickable(n) => kickable_is_in_order(&mut world.core.state, &model, &name(QUEUES[n])),
            Step::Signal(n, signal) => {
                let id = known(&model, JobId(n));
                both(&mut world, &mut model, &mut promises, Command::Signal { id, signal });
            }
            Step::Drain(on, accept) => {
                (world.core.draining, world.core.accept_while_draining) = (on, accept);
                (model.draining, model.accept) = (on, accept);
            }
            Step::Order(n, it) => {
                change_settings(&mut world, &mut model, n, |settings| settings.retries = it)
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
            Step::PerKeyRate(n, rate) => change_settings(&mut world, &mut model, n, |settings| {
                settings.per_key_rate = some_rate(rate);
            }),
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
                let state = world.restored();
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
