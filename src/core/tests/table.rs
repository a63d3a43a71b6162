//! Walks the very table in the core's documentation: every command in every state.

use super::*;

/// The table's rows: the command, and the outcome for each state.
fn rows() -> Vec<(String, Vec<String>)> {
    let text = include_str!("../mod.rs");
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim_start_matches("//! |").trim_end().trim_end_matches('|');
        inner.split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let mut lines = text.lines().filter(|line| line.starts_with("//! |"));
    let head = cells(lines.next().expect("the table has a head"));
    assert_eq!(head[1..], StateKind::ALL.map(|kind| kind.name().to_owned()), "the table's columns");
    lines.skip(1).map(|line| (cells(line)[0].clone(), cells(line)[1..].to_vec())).collect()
}

/// A job in this state, its attempt, and whether the next failure or crash shall be the last.
fn job_in(bench: &mut Bench, state: &str, last: bool, ttl: Option<Duration>) -> (JobId, u32) {
    let delay = if state == "scheduled" { Start::After(Duration::from_secs(100)) } else { Start::Now };
    let id = bench.submit(1, delay, ttl);
    let mut attempt = 0;
    if last {
        // One failure and one crash lie behind it.
        bench.claim(1, 1);
        bench.fail(id, 1).unwrap();
        bench.tick_after(1);
        bench.claim(1, 1);
        bench.run(&Command::Vanish { session: 1 }).unwrap();
        attempt = 2;
    }
    match state {
        "scheduled" | "ready" => return (id, attempt),
        "expired" => bench.tick_after(1_000_000),
        "cancelled" => bench.edit(Edit::Cancel, id).unwrap(),
        "dead" => bench.edit(Edit::Bury, id).unwrap(),
        _ => {
            assert_eq!(bench.claim(1, 1)[0].id, id);
            attempt += 1;
            if state == "done" {
                bench.settle(id, attempt, Verdict::Complete).unwrap();
            }
        }
    }
    assert_eq!(bench.state(id), state);
    (id, attempt)
}

/// Runs a row's command; whether it was refused.
fn act(bench: &mut Bench, command: &str, id: JobId, attempt: u32) -> bool {
    let release = |seconds| Verdict::Release { delay: Duration::from_secs(seconds) };
    match command {
        "claim" => bench.claim(1, 2).is_empty(),
        "complete" => bench.settle(id, attempt, Verdict::Complete).is_err(),
        "fail" | "fail (last attempt)" => bench.fail(id, attempt).is_err(),
        "release" => bench.settle(id, attempt, release(0)).is_err(),
        "release (delay)" => bench.settle(id, attempt, release(5)).is_err(),
        "extend" => {
            let items = vec![LeaseId { id, attempt: Attempt(attempt) }];
            let outcome = bench.run(&Command::Extend { items, lease: None });
            matches!(outcome, Ok(Outcome::Extended(results)) if results[0].is_err())
        }
        "vanish" | "vanish (too often)" => {
            let before = bench.events.len();
            bench.run(&Command::Vanish { session: 1 }).unwrap();
            bench.events.len() == before
        }
        "due" => tick(bench, 100),
        "lease over" => tick(bench, 60),
        "ttl over" => tick(bench, 50),
        "kept long enough" => tick(bench, 7200),
        "cancel" => bench.edit(Edit::Cancel, id).is_err(),
        "retry" => bench.edit(Edit::Retry, id).is_err(),
        "kick" => bench.edit(Edit::Kick, id).is_err(),
        "bury" => bench.edit(Edit::Bury, id).is_err(),
        "delete" => bench.edit(Edit::Delete, id).is_err(),
        "purge" => matches!(bench.run(&Command::Purge { queue: queue() }), Ok(Outcome::Purged(0))),
        other => panic!("the table has a command that this test does not know: {other}"),
    }
}

fn tick(bench: &mut Bench, seconds: u64) -> bool {
    let before = bench.events.len();
    bench.tick_after(seconds);
    bench.events.len() == before
}

#[test]
fn every_command_in_every_state_does_what_the_table_says() {
    let rows = rows();
    assert_eq!(rows.len(), 19, "the table's rows");
    for (command, outcomes) in rows {
        for (state, outcome) in StateKind::ALL.map(StateKind::name).into_iter().zip(outcomes) {
            let mut bench = Bench::new();
            let last = command.contains("last") || command.contains("often");
            // Rows about one kind of time are about jobs that have no other.
            let ttl = match (command.as_str(), state) {
                (_, "expired") => Some(Duration::from_secs(1000)),
                ("ttl over", "scheduled" | "ready") => Some(Duration::from_secs(50)),
                _ => None,
            };
            let (id, attempt) = job_in(&mut bench, state, last && state == "leased", ttl);
            let by_another_time = match command.as_str() {
                // What these rows wait for comes to other states as well, by another row.
                "due" | "lease over" | "kept long enough" | "ttl over" => {
                    let due = bench.core.state.job(id).unwrap().next_due();
                    outcome == "—" && due != Time::NEVER
                }
                _ => false,
            };
            if by_another_time {
                continue;
            }
            let before = bench.core.state.job(id);
            let refused = act(&mut bench, &command, id, attempt);
            if outcome == "—" {
                assert!(refused, "{command} in {state} should be refused");
                assert_eq!(bench.core.state.job(id), before, "{command} in {state} should change nothing");
            } else {
                assert!(!refused, "{command} in {state} should be taken");
                assert_eq!(bench.state(id), outcome, "{command} in {state}");
            }
        }
    }
}
