//! The small examples, each with a queue of its own in a temporary directory: what they show is so.

use crate::helper::block_on;
use musher::protocol::Received;
use std::sync::atomic::Ordering;
use std::time::Duration;

#[path = "../../examples/chain.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod chain;
#[path = "../../examples/checkpoint.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod checkpoint;
#[path = "../../examples/flow.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod flow;
#[path = "../../examples/limits.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod limits;
#[path = "../../examples/schedule.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod schedule;
#[path = "../../examples/topic.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod topic;
#[path = "../../examples/unique.rs"]
#[allow(dead_code, reason = "an example is a program, with a main of its own")]
mod unique;

#[test]
fn a_chain_has_all_its_steps() {
    let dir = tempfile::tempdir().unwrap();
    let mut lines = block_on(chain::run(dir.path())).unwrap();
    lines.sort();
    assert_eq!(lines, ["cat.jpg is small now", "mail: cat.jpg is there"]);
}

#[test]
fn a_flow_ends_as_what_it_waits_for_does() {
    let dir = tempfile::tempdir().unwrap();
    let states = block_on(flow::run(dir.path())).unwrap();
    assert_eq!(states, ["done", "dead", "done", "done", "done", "cancelled"]);
}

#[test]
fn a_topic_has_a_job_in_each_queue() {
    let dir = tempfile::tempdir().unwrap();
    let (jobs, unbound) = block_on(topic::run(dir.path())).unwrap();
    assert_eq!(jobs, [3, 1]);
    assert!(unbound.contains("no queue is bound to topic `invoice.paid`"), "{unbound}");
}

#[test]
fn of_what_is_unique_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let (reports, mails) = block_on(unique::run(dir.path())).unwrap();
    assert_eq!(reports, [Received::New, Received::New, Received::Existing, Received::Changed]);
    assert_eq!(mails, [3, 3]);
}

#[test]
fn long_work_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (log, result) = block_on(checkpoint::run(dir.path())).unwrap();
    let pages = [(1, 1), (1, 2), (1, 3), (2, 4), (2, 5)];
    assert_eq!(log, pages.map(|(attempt, page)| format!("attempt {attempt}, page {page}")));
    assert_eq!(result, "53");
}

#[test]
fn a_schedule_is_triggered_and_another_runs_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (nights, lines) = block_on(schedule::run(dir.path())).unwrap();
    assert!(nights.len() == 3 && nights.is_sorted(), "{nights:?}");
    assert_eq!(lines.iter().filter(|line| *line == "backup of all").count(), 1, "{lines:?}");
}

#[test]
fn a_customer_has_one_job_at_a_time_and_all_have_a_rate() {
    let dir = tempfile::tempdir().unwrap();
    let (seen, took) = block_on(limits::run(dir.path())).unwrap();
    assert_eq!(*seen.of_customer_7.lock().unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(seen.overlapped.load(Ordering::SeqCst), 0);
    // A rate forgives 10 ms, and clocks have steps.
    assert!(took >= Duration::from_millis(4 * 50 - 10 - 5), "{took:?}");
}
