//! What is easy to get wrong, one promise a test.

use super::*;

#[test]
fn ten_million_plain_jobs_are_one_entry() {
    let mut bench = Bench::new();
    let group = Group { spec: Spec::plain(queue()), count: 10_000_000, start: Start::Now, ttl: None };
    let mut events = Vec::new();
    let moment = Moment { now: bench.now, luck: 0 };
    bench.core.decide(&Command::Submit { groups: vec![group] }, moment, &mut events).unwrap();
    bench.core.state.apply(&events[0]);
    assert_eq!(bench.core.state.entries(), 1);
}

#[test]
fn a_job_that_comes_back_has_its_old_place() {
    let mut bench = Bench::new();
    bench.submit(3, Start::Now, None);
    bench.claim(1, 1);
    bench.run(&Command::Vanish { session: 1 }).unwrap();
    assert_eq!(bench.claim(3, 1).iter().map(|grant| grant.id.0).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_drain_is_nobodys_fault_and_a_crash_too_often_is() {
    let mut bench = Bench::new();
    let id = bench.submit(1, Start::Now, None);
    bench.claim(1, 1);
    bench.run(&Command::Evict).unwrap();
    let job = bench.core.state.job(id).unwrap();
    assert_eq!((job.failed, job.crashes, job.attempt), (0, 0, Attempt(1)));
    for _ in 0..2 {
        bench.claim(1, 1);
        bench.run(&Command::Recover).unwrap();
    }
    assert_eq!(bench.state(id), "dead");
}

#[test]
fn a_settle_named_twice_in_one_request_counts_once() {
    let mut bench = Bench::new();
    let id = bench.submit(2, Start::Now, None);
    bench.claim(2, 1);
    let lease = |id| (LeaseId { id, attempt: Attempt(1) }, Verdict::Complete);
    let items = vec![lease(id.plus(1)), lease(id), lease(id.plus(1)), lease(id)];
    let Ok(Outcome::Settled(results)) = bench.run(&Command::Settle { items }) else { panic!() };
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, false]);
}

#[test]
fn a_full_queue_refuses_the_whole_submit() {
    let mut bench = Bench::new();
    bench.core.settings.default.backlog = 3;
    bench.submit(1, Start::Now, None);
    bench.submit(1, Start::After(Duration::from_secs(9)), None);
    let group = Group { spec: Spec::plain(queue()), count: 2, start: Start::Now, ttl: None };
    let refused = bench.run(&Command::Submit { groups: vec![group] });
    assert!(matches!(refused, Err(Rejection::QueueFull { len: 2, limit: 3, .. })), "{refused:?}");
    assert_eq!(bench.core.state.next_id(), JobId(3));
}

#[test]
fn the_oldest_kept_job_gives_way() {
    let mut bench = Bench::new();
    bench.core.settings.default.keep_done_max = 2;
    let first = bench.submit(3, Start::Now, None);
    for grant in bench.claim(3, 1) {
        bench.now = bench.now.plus(Duration::from_millis(1));
        bench.settle(grant.id, 1, Verdict::Complete).unwrap();
    }
    assert_eq!([0, 1, 2].map(|n| bench.state(first.plus(n))), ["forgotten", "done", "done"]);
}

#[test]
fn one_tick_does_a_bounded_part_and_the_next_goes_on() {
    let mut bench = Bench::new();
    let id = bench.submit(5_000, Start::After(Duration::from_secs(1)), None);
    bench.tick_after(1);
    assert_eq!((bench.state(id), bench.state(id.plus(4_999))), ("ready".into(), "scheduled".into()));
    bench.tick_after(0);
    assert_eq!(bench.state(id.plus(4_999)), "ready");
}

#[test]
fn explain_says_what_to_mend_first() {
    let mut bench = Bench::new();
    bench.submit(2, Start::Now, None);
    bench.run(&Command::Pause { queue: queue() }).unwrap();
    let reasons = bench.core.explain(JobId(2)).unwrap();
    assert_eq!(reasons, [Reason::QueuePaused(queue()), Reason::Behind { jobs: 1 }]);
    assert_eq!(bench.core.explain(JobId(9)), None);
}
