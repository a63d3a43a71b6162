//! Spans of lives of jobs, as the core tells of them.

use super::*;
use crate::core::{AfterFailure, Ending, Expiry, Holder, Observer, QueueChange, Spec, SpecOptions, State};

const PLACE: Traceparent = Traceparent { trace: 7, span: 8, is_sampled: true };

/// A state, and the spans of what happens to it.
struct World {
    state: State,
    spans: Spans,
    now: Time,
}

struct Telling<'a>(&'a mut Spans, Time);

impl Observer for Telling<'_> {
    fn changed(&mut self, change: &Change<'_>) {
        // All have become ready five milliseconds ago.
        self.0.changed(change, |_| Some(Time(self.1.0 - 5)), self.1);
    }

    fn queue_changed(&mut self, _: &QueueName, _: QueueChange) {}
}

impl World {
    /// With jobs that something is written on, or is not.
    fn new(jobs: u64, has_envelope: bool) -> World {
        let now = Time(1_700_000_000_000);
        let mut world = World { state: State::default(), spans: Spans::new(1), now };
        let spec = SpecOptions { has_envelope, ..SpecOptions::plain(queue()) };
        world.after(
            0,
            Event::Submitted {
                jobs: range(1, jobs),
                spec: Spec::from(spec).into(),
                at: now,
                due: None,
                expiry: Expiry::default(),
            },
        );
        world
    }

    /// It happens, so much later.
    fn after(&mut self, ms: u64, event: Event) {
        self.now.0 += ms;
        self.state.apply_telling(&event, &mut Telling(&mut self.spans, self.now));
    }

    /// An attempt begins, of which it is known whose it is.
    fn claim(&mut self, first: u64, len: u64, place: Option<Traceparent>) {
        let (at, until) = (self.now, Time::NEVER);
        let jobs = range(first, len);
        self.after(0, Event::Claimed { jobs: jobs.into(), holder: Holder::Anyone, worker: None, at, until });
        jobs.iter().for_each(|id| self.spans.belongs_to(id, &queue(), place));
    }

    fn end(&self) -> Ending {
        Ending { at: self.now, keep_until: Some(Time::NEVER) }
    }

    /// What is finished: job, how long, and what.
    fn take(&mut self) -> Vec<(u64, u64, What)> {
        let spans = self.spans.take();
        assert!(spans.iter().all(|span| (span.trace, span.parent) == (7, 8) && span.id != 0));
        spans.into_iter().map(|span| (span.job.0, span.ended - span.begun, span.what)).collect()
    }
}

fn range(first: u64, len: u64) -> IdRange {
    IdRange::new(JobId(first), len)
}

fn queue() -> QueueName {
    QueueName::new("q").unwrap()
}

#[test]
fn each_attempt_is_a_wait_and_a_run() {
    let mut world = World::new(1, true);
    world.claim(1, 1, Some(PLACE));
    let wait = |attempt| (1, 5_000, What::Wait { attempt: Attempt(attempt) });
    assert_eq!(world.take(), [wait(1)]);
    let failed = Event::Failed {
        job: JobId(1).into(),
        at: world.now,
        error: "no route".into(),
        exit: None,
        next: AfterFailure::Retry(Time::NEVER),
    };
    world.after(30, failed);
    let run = |attempt, end, error: Option<&str>| What::Run {
        attempt: Attempt(attempt),
        end,
        error: error.map(Into::into),
    };
    assert_eq!(world.take(), [(1, 30_000, run(1, "failed", Some("no route")))]);
    world.after(10, Event::Ripened { jobs: range(1, 1).into() });
    world.claim(1, 1, Some(PLACE));
    world.after(7, Event::Completed { jobs: range(1, 1).into(), end: world.end() });
    assert_eq!(world.take(), [wait(2), (1, 7_000, run(2, "completed", None))]);
    assert!(world.spans.running.is_empty());
}

#[test]
fn of_others_nothing_is_kept() {
    let mut world = World::new(3, true);
    world.claim(1, 1, None);
    world.claim(2, 1, Some(Traceparent { is_sampled: false, ..PLACE }));
    assert!(world.spans.running.is_empty());
    let at = world.now;
    world.spans.submitted(range(3, 1), &queue(), Traceparent { is_sampled: false, ..PLACE }, at);
    world.after(1, Event::Completed { jobs: range(1, 2).into(), end: world.end() });
    world.spans.committed(at, 10);
    assert_eq!(world.take(), []);

    let mut world = World::new(1, false);
    world.claim(1, 1, Some(PLACE));
    assert!(world.spans.running.is_empty());
    assert_eq!(world.take(), []);
}

#[test]
fn a_submit_lasts_until_it_is_on_disk() {
    let mut world = World::new(9, true);
    let at = world.now;
    world.spans.submitted(range(1, 9), &queue(), PLACE, at);
    assert_eq!(world.take(), []);
    world.spans.committed(at, 250);
    assert_eq!(world.take(), [(1, 250, What::Submit { jobs: 9 })]);
    world.spans.committed(at, 250);
    assert_eq!(world.take(), []);
}

#[test]
fn many_that_end_together_end_each_with_its_own_span() {
    let mut world = World::new(1_000, true);
    world.claim(11, 2, Some(PLACE));
    world.after(0, Event::Interrupted { jobs: range(11, 1).into() });
    world.take();
    // More jobs than there are leases.
    world.after(0, Event::Deleted { jobs: range(1, 1_000).into() });
    let ends: Vec<_> = world.take().into_iter().map(|(job, _, what)| (job, what)).collect();
    let deleted = What::Run { attempt: Attempt(1), end: "deleted", error: Some("it was deleted".into()) };
    assert_eq!(ends, [(12, deleted)]);
}

#[test]
fn what_nobody_fetches_is_lost_and_counted() {
    let mut world = World::new(KEPT_MAX as u64 + 3, true);
    world.claim(1, KEPT_MAX as u64 + 3, Some(PLACE));
    assert_eq!(world.spans.sent_and_lost(), (0, 3));
    assert_eq!(world.take().len(), KEPT_MAX);
    world.spans.note(5, 1);
    assert_eq!(world.spans.sent_and_lost(), (5, 4));
}

#[test]
fn numbers_of_spans_differ() {
    let mut spans = Spans::new(1);
    let ids: std::collections::HashSet<_> = (0..10_000).map(|_| spans.next_id()).collect();
    assert_eq!(ids.len(), 10_000);
    assert_ne!(Spans::new(2).next_id(), Spans::new(3).next_id());
}
