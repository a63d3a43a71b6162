//! Walks the table of states in the core's documentation: every cell is tried, and what the core really does must
//! be what the cell says.

use super::world::{World, group, name, secs, view};
use crate::core::*;
use std::time::Duration;

/// The rows of the table that this test can act out.
const ROWS: [&str; 41] = [
    "claim",
    "claim by id",
    "complete",
    "complete and submit",
    "fail",
    "fail (last attempt)",
    "later",
    "later (too often)",
    "release",
    "release (delay)",
    "release (signal)",
    "extend",
    "checkpoint",
    "complete with a result",
    "vanish",
    "vanish (too often)",
    BACK,
    "due",
    MET,
    UNMET,
    "lease over",
    "lease over (too often)",
    "ttl over (not begun)",
    "deadline over",
    "kept long enough",
    "signal",
    "cancel",
    "release (after a cancel)",
    "complete (after a cancel)",
    "complete and submit (after a cancel)",
    "extend (after a cancel)",
    "vanish (after a cancel)",
    "lease over (after a cancel)",
    "retry",
    "kick",
    "bury",
    "delete",
    "move",
    "edit",
    "prioritize",
    "purge",
];

/// What a row waits for, if it is about time.
const STEP: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(24 * 3600);
const ID: JobId = JobId(1);
const SESSION: u64 = 7;

const BACK: &str = "its worker comes back without it";
const AFTER_CANCEL: &str = " (after a cancel)";
const MET: &str = "what is waited for ends";
const UNMET: &str = "what is waited for ends otherwise";

fn awaited() -> GroupName {
    GroupName::new("awaited").unwrap()
}

/// The cells of the table: row, column, content.
fn cells(doc: &str) -> Vec<(String, StateKind, String)> {
    let mut lines = doc.lines().filter_map(|line| line.strip_prefix("//! |"));
    let split = |line: &str| -> Vec<String> {
        line.trim_end_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let head = split(lines.next().expect("the documentation has a table"));
    let columns: Vec<_> = head[1..]
        .iter()
        .map(|head| *StateKind::ALL.iter().find(|kind| kind.name() == head).expect("a column is a state"))
        .collect();
    assert_eq!(columns, StateKind::ALL, "every state has its column");
    assert!(split(lines.next().unwrap()).iter().all(|cell| cell == "---"));
    let mut cells = Vec::new();
    for row in lines.map(split) {
        assert_eq!(row.len(), head.len(), "row `{}` has a cell for each state", row[0]);
        cells.extend(columns.iter().zip(&row[1..]).map(|(kind, cell)| (row[0].clone(), *kind, cell.clone())));
    }
    cells
}

#[test]
fn the_core_does_what_the_table_says() {
    let cells = cells(include_str!("../mod.rs"));
    let mut rows: Vec<_> = cells.iter().map(|(row, ..)| row.as_str()).collect();
    rows.dedup();
    assert_eq!(rows, ROWS, "the table has exactly the rows that this test acts out");
    for (row, state, cell) in cells {
        let of_fresh_jobs = row == "ttl over (not begun)";
        let of_fresh_jobs = of_fresh_jobs || state == StateKind::Waiting;
        for used in [false, true].into_iter().filter(|used| !used || !of_fresh_jobs) {
            let (really, _) = act(&row, state, used, false);
            assert_eq!(really, cell, "{row} in state {state} (claimed before: {used})");
            // Where final states are not kept, the same ends in forgetting.
            if !state.is_final() {
                let ends = ["done", "dead", "cancelled", "expired"].contains(&cell.as_str());
                let really = act(&row, state, used, true).0;
                let expected = if ends { "forgotten" } else { cell.as_str() };
                assert_eq!(really, expected, "{row} in state {state}, nothing kept");
            }
        }
    }
}

#[test]
fn refused_settles_say_whether_the_job_or_the_lease_is_gone() {
    let unknown = LeaseId { id: JobId(99), attempt: Attempt(1) };
    for row in ROWS {
        let (_, mut world) = act("claim", StateKind::Ready, true, false);
        let gone = command(row, unknown);
        match run(&mut world, gone) {
            Outcome::Settled(results) => {
                assert_eq!(results, [Err(LeaseRejection::NotFound { id: unknown.id })]);
            }
            Outcome::Extended(results) => {
                assert_eq!(results, [Err(LeaseRejection::NotFound { id: unknown.id })]);
            }
            Outcome::Edited(results) => {
                assert_eq!(results, [Err(EditRejection::NotFound { id: unknown.id })]);
            }
            _ => continue,
        }
        assert!(world.fresh().is_empty());
        // The lease is attempt 2: the one before is lost, and so is one that never was.
        for attempt in [Attempt(1), Attempt(3)] {
            let lost =
                LeaseRejection::LeaseLost { id: ID, attempt, current: Attempt(2), state: StateKind::Leased };
            match run(&mut world, command(row, LeaseId { id: ID, attempt })) {
                Outcome::Settled(results) => assert_eq!(results, [Err(lost)], "{row}"),
                Outcome::Extended(results) => assert_eq!(results, [Err(lost)], "{row}"),
                _ => break,
            }
            assert!(world.fresh().is_empty());
        }
    }
}

/// What a command comes to; one that is refused for its lease as a settle is.
fn run(world: &mut World, command: Command) -> Outcome {
    world.run(command).unwrap_or_else(|why| match why {
        Rejection::Lease(why) => Outcome::Settled(vec![Err(why)]),
        Rejection::Flow(FlowRejection::NoSuchGroup { .. }) => Outcome::Ok,
        Rejection::Signal(SignalRejection::Ended { .. } | SignalRejection::NotFound { .. }) => Outcome::Ok,
        why => panic!("{why}"),
    })
}

/// Does what a row says to a job in this state; returns what came of it, as the table would put it. `used` jobs
/// were claimed and released before.
fn act(row: &str, state: StateKind, used: bool, forget: bool) -> (String, World) {
    let pick = |row_of_time: &str, otherwise| if row == row_of_time { STEP } else { otherwise };
    let mut world = World::new();
    let keep = if forget { Keep::No } else { Keep::For(pick("kept long enough", LONG)) };
    let settings = world.settings();
    (settings.keep_done, settings.keep_dead) = (keep, keep);
    settings.lease = if row.starts_with("lease over") { STEP } else { LONG };
    settings.attempts = if row == "fail (last attempt)" { 1 } else { 5 };
    settings.later_max = if row == "later (too often)" { 0 } else { 5 };
    settings.crashes = if ["vanish (too often)", "lease over (too often)"].contains(&row) { 1 } else { 5 };
    let delay = pick("due", LONG / 2);
    let over = |of: &str| (row == of).then_some(STEP);
    let when = if row == UNMET { Condition::Failed } else { Condition::Done };
    let times = (over("ttl over (not begun)"), over("deadline over"));
    bring_to(&mut world, (state, when), used, delay, times);
    let is_cancelling = row.ends_with(AFTER_CANCEL) && state == StateKind::Leased;
    if is_cancelling {
        assert_eq!(world.edit(Edit::Cancel, &[ID.0]), [Ok(())]);
    }

    let before = view(&world.core.state);
    let lease = LeaseId { id: ID, attempt: world.job(ID.0).attempt() };
    if matches!(command(row, lease), Command::Tick) {
        // Nothing happens a moment too early.
        world.wait(STEP - Duration::from_millis(1));
        assert!(world.fresh().is_empty(), "{row} in state {state} comes too early");
        world.now = world.now.plus(Duration::from_millis(1));
    }
    let outcome = run(&mut world, command(row, lease));
    if world.fresh().is_empty() {
        assert_eq!(
            view(&world.core.state),
            before,
            "{row} in state {state} is refused, yet changes something"
        );
        assert_refused(row, &outcome, lease, if is_cancelling { StateKind::Cancelled } else { state });
        return ("—".to_owned(), world);
    }
    assert_taken(row, &outcome, lease);
    let after = world.kind(ID.0).map_or("forgotten", StateKind::name).to_owned();
    (after, world)
}

/// Brings job 1 into a state by commands alone.
fn bring_to(
    world: &mut World,
    (state, when): (StateKind, Condition),
    used: bool,
    delay: Duration,
    (ttl, deadline): (Option<Duration>, Option<Duration>),
) {
    let mut jobs = group("q", 1);
    jobs.ttl = ttl;
    jobs.deadline = if state == StateKind::Expired { Some(STEP) } else { deadline };
    if state == StateKind::Waiting {
        // For a group without jobs, which ends well.
        let after = vec![After { on: AfterWhat::Group(awaited()), when }];
        jobs.ties = Some(Ties { after, ..Ties::default() }.into());
    }
    if state == StateKind::Scheduled && !used {
        jobs.start = Start::After(delay);
    }
    world.submit(vec![jobs]);
    if used {
        let lease = world.claim("q", 1);
        let delay = if state == StateKind::Scheduled { delay } else { Duration::ZERO };
        assert_eq!(world.settle(&lease, Verdict::Release { delay }), [Ok(())]);
    }
    match state {
        StateKind::Scheduled | StateKind::Waiting | StateKind::Ready => {}
        StateKind::Leased => assert_eq!(world.claim("q", 1).len(), 1),
        StateKind::Done => {
            let lease = world.claim("q", 1);
            assert_eq!(world.settle(&lease, Verdict::Complete), [Ok(())]);
        }
        StateKind::Dead => assert_eq!(world.edit(Edit::Bury, &[1]), [Ok(())]),
        StateKind::Cancelled => assert_eq!(world.edit(Edit::Cancel, &[1]), [Ok(())]),
        StateKind::Expired => world.wait(STEP),
    }
    assert_eq!(world.kind(1), Some(state));
}

/// The command that a row is about.
fn command(row: &str, lease: LeaseId) -> Command {
    let settle = |verdict| Command::Settle { items: vec![(lease, verdict)] };
    let edit = |edit| Command::Edit { edit, ids: vec![lease.id], only: Only::default() };
    match row.strip_suffix(AFTER_CANCEL).unwrap_or(row) {
        "claim" => Command::Claim(Claim {
            queues: vec![name("q")],
            max: 3,
            lease: None,
            holder: Holder::Session(SESSION),
            worker: None,
            order: ClaimOrder::AsNamed,
        }),
        "claim by id" => Command::ClaimJob { id: lease.id, holder: Holder::Session(SESSION), worker: None },
        "complete" => settle(Verdict::Complete),
        "complete and submit" => Command::CompleteAndSubmit {
            lease,
            groups: [group("next", 1)].into_iter().collect(),
            request: None,
        },
        "fail" | "fail (last attempt)" => {
            settle(Verdict::Fail { error: "no".into(), exit: None, then: Then::Backoff })
        }
        "later" | "later (too often)" => settle(Verdict::Later { error: "not now".into(), wait: None }),
        "release" => settle(Verdict::Release { delay: Duration::ZERO }),
        "release (delay)" => settle(Verdict::Release { delay: secs(5) }),
        "release (signal)" => {
            settle(Verdict::Await { signal: SignalName::new("go").unwrap(), timeout: LONG })
        }
        "signal" => Command::Signal { id: lease.id, signal: SignalName::new("go").unwrap() },
        "extend" => Command::Extend { items: vec![lease], lease: Some(secs(90)) },
        "checkpoint" => Command::Checkpoint { lease, extend: None },
        "complete with a result" => Command::SettleWithResult { lease, verdict: Verdict::Complete },
        BACK => Command::TakeUp { session: SESSION, leases: Vec::new() },
        "vanish" | "vanish (too often)" => Command::Vanish { session: SESSION },
        "due"
        | "lease over"
        | "lease over (too often)"
        | "ttl over (not begun)"
        | "deadline over"
        | "kept long enough" => Command::Tick,
        MET | UNMET => Command::Group { name: awaited(), action: GroupAction::Seal, by: None },
        "cancel" => edit(Edit::Cancel),
        "retry" => edit(Edit::Retry),
        "kick" => edit(Edit::Kick),
        "bury" => edit(Edit::Bury),
        "delete" => edit(Edit::Delete),
        "move" => edit(Edit::Move(name("other"))),
        "edit" => edit(Edit::ReplaceBody(Size::default())),
        "prioritize" => edit(Edit::Prioritize(Priority(7))),
        "purge" => Command::Purge { queue: name("q") },
        unknown => panic!("the table has a row `{unknown}` that this test does not know"),
    }
}

fn assert_refused(row: &str, outcome: &Outcome, lease: LeaseId, state: StateKind) {
    let lost =
        LeaseRejection::LeaseLost { id: lease.id, attempt: lease.attempt, current: lease.attempt, state };
    match outcome {
        Outcome::Claimed(grants) => assert!(grants.is_empty()),
        Outcome::Settled(results) => assert_eq!(*results, [Err(lost)], "{row}"),
        Outcome::Extended(results) => assert_eq!(*results, [Err(lost)], "{row}"),
        Outcome::TakenUp(results) => assert!(results.iter().all(|result| *result == Err(lost)), "{row}"),
        Outcome::Edited(results) => match results[..] {
            [Err(EditRejection::WrongState { id, verb, state: said, .. })] => {
                assert_eq!((id, verb, said), (lease.id, row, state));
            }
            _ => panic!("{row} in state {state}: {results:?}"),
        },
        Outcome::Purged { deleted, more } => assert_eq!((*deleted, *more), (0, false)),
        Outcome::Ok => assert!(matches!(
            command(row, lease),
            Command::Tick | Command::Vanish { .. } | Command::Group { .. } | Command::Signal { .. }
        )),
        Outcome::Submitted(_) | Outcome::Received(_) | Outcome::Repeated(_) => {
            panic!("nothing was submitted")
        }
    }
}

fn assert_taken(row: &str, outcome: &Outcome, lease: LeaseId) {
    match outcome {
        Outcome::Claimed(grants) => {
            assert_eq!((grants[0].id, grants[0].attempt), (lease.id, lease.attempt.next()));
        }
        Outcome::Settled(results) if row == "complete (after a cancel)" => {
            let LeaseId { id, attempt } = lease;
            let state = StateKind::Cancelled;
            assert_eq!(*results, [Err(LeaseRejection::LeaseLost { id, attempt, current: attempt, state })]);
        }
        Outcome::Settled(results) => assert_eq!(*results, [Ok(())], "{row}"),
        Outcome::Extended(results) => assert!(results[0].is_ok(), "{row}"),
        Outcome::TakenUp(results) => assert!(results.iter().all(Result::is_ok), "{row}"),
        Outcome::Edited(results) => assert_eq!(*results, [Ok(())], "{row}"),
        Outcome::Purged { deleted, more } => assert_eq!((*deleted, *more), (1, false)),
        Outcome::Ok => assert!(matches!(
            command(row, lease),
            Command::Tick | Command::Vanish { .. } | Command::Group { .. } | Command::Signal { .. }
        )),
        Outcome::Submitted(ids) => assert_eq!((row, ids.len), ("complete and submit", 1)),
        Outcome::Received(_) | Outcome::Repeated(_) => {
            panic!("nothing was submitted")
        }
    }
}
