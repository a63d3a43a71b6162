//! Long random sequences of commands. A naive model (a list of jobs, searched from the front) says what each must
//! come to; now and then the state is folded anew from all events, or put together from its parts as recovery
//! does, and must be the same.

use super::*;
use proptest::prelude::*;

/// A job as the model knows it.
#[derive(Clone, Debug)]
struct Model {
    id: u64,
    priority: u32,
    state: StateKind,
    session: u64,
    attempt: u32,
    failed: u32,
    due: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Submit { count: u64, priority: u32, delay: u64 },
    Claim { max: u32, session: u64 },
    Complete { nth: usize, stale: bool },
    Fail { nth: usize },
    Vanish { session: u64 },
    Cancel { nth: usize },
    Kick { nth: usize },
    Tick { seconds: u64 },
    Purge,
    Fold,
    Restore,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1u64..6, 0u32..3, prop_oneof![Just(0u64), 1u64..20]).prop_map(|(count, priority, delay)| Step::Submit { count, priority, delay }),
        4 => (1u32..5, 1u64..4).prop_map(|(max, session)| Step::Claim { max, session }),
        4 => (0usize..20, any::<bool>()).prop_map(|(nth, stale)| Step::Complete { nth, stale }),
        2 => (0usize..20).prop_map(|nth| Step::Fail { nth }),
        1 => (1u64..4).prop_map(|session| Step::Vanish { session }),
        1 => (0usize..40).prop_map(|nth| Step::Cancel { nth }),
        1 => (0usize..40).prop_map(|nth| Step::Kick { nth }),
        2 => (0u64..15).prop_map(|seconds| Step::Tick { seconds }),
        1 => Just(Step::Purge),
        1 => Just(Step::Fold),
        1 => Just(Step::Restore),
    ];
    prop::collection::vec(step, 1..120)
}

fn nth(jobs: &mut [Model], nth: usize, fits: impl Fn(&Model) -> bool) -> Option<&mut Model> {
    let fitting = jobs.iter().filter(|job| fits(job)).count();
    jobs.iter_mut().filter(|job| fits(job)).nth(nth % fitting.max(1))
}

fn leased(job: &Model) -> bool {
    job.state == StateKind::Leased
}

/// Does the step in both worlds.
fn step(bench: &mut Bench, jobs: &mut Vec<Model>, step: &Step) {
    use StateKind::{Cancelled, Dead, Leased, Ready, Scheduled};
    match step {
        Step::Submit { count, priority, delay } => {
            let mut spec = Spec::plain(queue());
            spec.priority = Priority(*priority);
            let start = if *delay == 0 { Start::Now } else { Start::After(Duration::from_secs(*delay)) };
            let group = Group { spec, count: *count, start, ttl: None };
            let Ok(Outcome::Submitted(ids)) = bench.run(&Command::Submit { groups: vec![group] }) else {
                panic!()
            };
            assert_eq!(ids.first.0, jobs.len() as u64 + 1, "ids rise by one and are never used twice");
            let due = bench.now.0 + delay * 1000;
            let state = if *delay == 0 { Ready } else { Scheduled };
            jobs.extend(ids.iter().map(|id| Model {
                id: id.0,
                priority: *priority,
                state,
                session: 0,
                attempt: 0,
                failed: 0,
                due,
            }));
        }
        Step::Claim { max, session } => {
            let mut expected: Vec<(u32, u64)> =
                jobs.iter().filter(|job| job.state == Ready).map(|job| (job.priority, job.id)).collect();
            expected.sort_unstable();
            expected.truncate(*max as usize);
            let granted: Vec<u64> = bench.claim(*max, *session).iter().map(|grant| grant.id.0).collect();
            assert_eq!(granted, expected.iter().map(|(_, id)| *id).collect::<Vec<_>>(), "who is next");
            for id in granted {
                let job = &mut jobs[id as usize - 1];
                (job.state, job.session, job.attempt) = (Leased, *session, job.attempt + 1);
                job.due = bench.now.0 + 60_000;
            }
        }
        Step::Complete { nth: n, stale } => {
            let Some(job) = nth(jobs, *n, leased) else { return };
            let attempt = job.attempt - u32::from(*stale);
            let taken = bench.settle(JobId(job.id), attempt, Verdict::Complete).is_ok();
            assert_eq!(taken, !stale, "only the newest attempt has a say");
            if taken {
                job.state = StateKind::Done;
            }
        }
        Step::Fail { nth: n } => {
            let Some(job) = nth(jobs, *n, leased) else { return };
            bench.fail(JobId(job.id), job.attempt).unwrap();
            fail(job, bench.now.0);
        }
        Step::Vanish { session } => {
            bench.run(&Command::Vanish { session: *session }).unwrap();
            for job in jobs.iter_mut().filter(|job| leased(job) && job.session == *session) {
                job.state = Ready;
            }
        }
        Step::Cancel { nth: n } => {
            let Some(job) = nth(jobs, *n, |_| true) else { return };
            let taken = bench.edit(Edit::Cancel, JobId(job.id)).is_ok();
            assert_eq!(taken, !job.state.is_final() && job.due != u64::MAX);
            if taken {
                job.state = Cancelled;
            }
        }
        Step::Kick { nth: n } => {
            let Some(job) = nth(jobs, *n, |job| matches!(job.state, Dead | Scheduled) && job.due != u64::MAX)
            else {
                return;
            };
            bench.edit(Edit::Kick, JobId(job.id)).unwrap();
            (job.state, job.failed) = (Ready, 0);
        }
        Step::Tick { seconds } => {
            bench.tick_after(*seconds);
            for job in jobs.iter_mut().filter(|job| job.due <= bench.now.0) {
                match job.state {
                    Scheduled => job.state = Ready,
                    Leased => fail(job, bench.now.0),
                    _ => {}
                }
            }
        }
        Step::Purge => {
            let waits = |job: &Model| matches!(job.state, Ready | Scheduled) && job.due != u64::MAX;
            let expected = jobs.iter().filter(|job| waits(job)).count() as u64;
            let Ok(Outcome::Purged(count)) = bench.run(&Command::Purge { queue: queue() }) else { panic!() };
            assert_eq!(count, expected);
            for job in jobs.iter_mut().filter(|job| waits(job)) {
                // Gone: no state is like that, so the one that nothing leads out of stands for it.
                (job.state, job.due) = (StateKind::Expired, u64::MAX);
            }
        }
        Step::Fold => {
            let mut state = State::default();
            bench.events.iter().for_each(|event| state.apply(event));
            same(&state, &bench.core.state);
            bench.core.state = state;
        }
        Step::Restore => {
            let old = &bench.core.state;
            let mut state = State::default();
            for (range, job) in old.runs(IdRange::new(JobId(1), old.next_id().0)) {
                state.restore(range, job);
            }
            state.restore_books(old.books());
            same(&state, old);
            bench.core.state = state;
        }
    }
}

fn fail(job: &mut Model, now: u64) {
    job.failed += 1;
    (job.state, job.due) = if job.failed < 3 {
        (StateKind::Scheduled, now + 1000 * job.failed as u64)
    } else {
        (StateKind::Dead, job.due)
    };
}

fn same(a: &State, b: &State) {
    let all = IdRange::new(JobId(1), b.next_id().0);
    assert_eq!((a.runs(all), a.books(), a.next_due()), (b.runs(all), b.books(), b.next_due()));
    check::check(a);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_core_does_what_a_naive_queue_would(steps in steps()) {
        let mut bench = Bench::new();
        let defaults = &mut bench.core.settings.default;
        (defaults.attempts, defaults.crashes, defaults.keep_done, defaults.keep_dead) = (3, 1000, Keep::Forever, Keep::Forever);
        (defaults.backoff.growth, defaults.backoff.base) = (Growth::Linear, Duration::from_secs(1));
        let mut jobs = Vec::new();
        for n in &steps {
            step(&mut bench, &mut jobs, n);
            for job in &jobs {
                let known = bench.core.state.job(JobId(job.id));
                match known {
                    None => prop_assert_eq!(job.due, u64::MAX, "job {} is missing", job.id),
                    Some(known) => {
                        prop_assert_eq!(known.state.kind(), job.state, "job {}", job.id);
                        prop_assert_eq!((known.attempt.0, known.failed), (job.attempt, job.failed), "job {}", job.id);
                    }
                }
            }
        }
    }
}
