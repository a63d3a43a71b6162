//! Counts of a life of jobs, as the core tells it.

use super::*;
use crate::core::{
    AfterFailure, Change, Ending, Event, Expiry, Holder, IdRange, JobId, Observer, QueueChange, RowEvent,
    Spec, State, StateKind,
};

/// Counts at a time.
pub(crate) struct Counting<'a> {
    pub(crate) tally: &'a mut Tally,
    pub(crate) now: Time,
}

impl Observer for Counting<'_> {
    fn changed(&mut self, change: &Change<'_>) {
        self.tally.changed(change, self.now);
    }

    fn queue_changed(&mut self, queue: &QueueName, change: QueueChange) {
        self.tally.queue_changed(queue, change);
    }
}

/// A state, and what is counted of it.
struct World {
    state: State,
    tally: Tally,
    now: Time,
}

impl World {
    fn new(queues: usize) -> World {
        let now = Time(1_700_000_000_000);
        World { state: State::default(), tally: Tally::new(queues, now), now }
    }

    /// It happens, so much later.
    fn after(&mut self, ms: u64, event: Event) {
        self.now.0 += ms;
        let state = &self.state;
        let ready =
            |queue: &QueueName| state.queue(queue).map_or(0, |queue| queue.counts().of(StateKind::Ready));
        self.tally.end_steps(self.now, ready);
        self.state.apply_telling(&event, &mut Counting { tally: &mut self.tally, now: self.now });
    }

    fn submitted(&self, first: u64, len: u64, queue: &str) -> Event {
        Event::Submitted {
            jobs: range(first, len),
            spec: Spec::plain(name(queue)).into(),
            at: self.now.whole_second(),
            due: None,
            expiry: Expiry::default(),
        }
    }

    fn claimed(&self, first: u64, len: u64) -> Event {
        let (at, until) = (self.now, Time::NEVER);
        Event::Claimed { jobs: range(first, len).into(), holder: Holder::Anyone, worker: None, at, until }
    }

    fn end(&self) -> Ending {
        Ending { at: self.now, keep_until: None }
    }

    fn of(&self, queue: &str, count: Count) -> u64 {
        self.tally.queue(&name(queue)).map_or(0, |counts| counts.of(count))
    }
}

fn range(first: u64, len: u64) -> IdRange {
    IdRange::new(JobId(first), len)
}

fn name(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

#[test]
fn a_run_of_jobs_is_counted_with_its_waits() {
    let mut world = World::new(10);
    world.after(0, world.submitted(1, 50, "q"));
    world.after(30, world.submitted(51, 50, "q"));
    world.now.0 += 100;
    world.after(0, world.claimed(1, 60));
    world.after(7, Event::Completed { jobs: range(1, 60).into(), end: world.end() });
    let counts = world.tally.queue(&name("q")).unwrap();
    let of =
        [Count::Submitted, Count::Started, Count::Completed, Count::Failed].map(|count| counts.of(count));
    assert_eq!(of, [100, 60, 60, 0]);
    assert_eq!((counts.wait.count(), counts.wait.sum()), (60, 50 * 130 + 10 * 100));
    assert_eq!((counts.run.count(), counts.run.sum()), (60, 60 * 7));
}

#[test]
fn waits_begin_when_jobs_come_back_and_not_with_their_arrival() {
    let mut world = World::new(10);
    world.after(0, world.submitted(1, 1, "q"));
    world.after(10, world.claimed(1, 1));
    let due = world.now;
    let failed = Event::Failed {
        job: range(1, 1),
        at: world.now,
        error: "no".into(),
        exit: None,
        next: AfterFailure::Retry(due),
    };
    world.after(5, failed);
    world.after(60_000, Event::Ripened { jobs: range(1, 1).into() });
    world.after(3, world.claimed(1, 1));
    world.after(0, Event::Interrupted { jobs: range(1, 1).into() });
    let last = world.now;
    assert_eq!(world.tally.ready_since(range(1, 1), world.state.job(JobId(1)).unwrap()), Some(last));
    world.after(4, world.claimed(1, 1));
    let counts = world.tally.queue(&name("q")).unwrap();
    assert_eq!((counts.wait.count(), counts.wait.sum()), (3, 10 + 3 + 4));
    let of = [Count::Started, Count::Failed, Count::Interrupted].map(|count| counts.of(count));
    assert_eq!(of, [3, 1, 1]);
}

#[test]
fn queues_beyond_the_limit_are_summed_up_and_one_that_goes_makes_room() {
    let mut world = World::new(2);
    for (nth, queue) in ["a", "b", "c", "d"].into_iter().enumerate() {
        world.after(0, world.submitted(1 + nth as u64, 1, queue));
    }
    let own: std::collections::BTreeSet<_> = world.tally.names().map(QueueName::as_str).collect();
    assert_eq!(own, ["a", "b"].into());
    let (counts, others) = world.tally.others().unwrap();
    assert_eq!((counts.of(Count::Submitted), others.len()), (2, 2));
    world.after(0, Event::Deleted { jobs: range(1, 1).into() });
    world.after(0, Event::Row(RowEvent::QueueForgotten { queue: name("a") }));
    world.after(0, world.submitted(5, 3, "e"));
    assert_eq!((world.of("a", Count::Submitted), world.of("e", Count::Submitted)), (0, 3));
    world.tally.set_most(9);
    world.after(0, world.submitted(8, 4, "d"));
    assert_eq!(world.of("d", Count::Submitted), 4);
}

fn submitted(past: &Past, queue: &str) -> Vec<Option<(u32, u32)>> {
    let (_, rings) = past.queues.iter().find(|(name, _)| &**name == queue).unwrap();
    past.of(rings).map(|point| point.map(|point| (point.submitted, point.ready))).collect()
}

#[test]
fn the_past_is_there_step_by_step_and_after_a_start() {
    let mut world = World::new(10);
    world.after(0, world.submitted(1, 2, "q"));
    world.after(10_000, world.submitted(3, 1, "q"));
    world.after(20_000, world.claimed(1, 3));
    world.after(10_000, world.submitted(4, 1, "q"));
    let past = world.tally.past(40_000, |_| true, true);
    assert_eq!(submitted(&past, "q"), [Some((2, 2)), Some((1, 3)), Some((0, 3)), Some((0, 0))]);
    // Nothing is shown of what is hidden.
    assert!(world.tally.past(40_000, |_| false, true).queues.is_empty());

    let ready = world.state.queue(&name("q")).unwrap().counts().of(StateKind::Ready);
    world.tally.end(|_| ready);
    let saved = Saved::decode(&world.tally.save().encode()).unwrap();
    // Three steps later it is there again.
    let mut next = Tally::new(10, Time(world.now.0 + 30_000));
    next.know(&name("q"));
    next.restore(saved.clone());
    next.end_steps(Time(world.now.0 + 40_000), |_| 7);
    let past = next.past(60_000, |_| true, true);
    let expected = [Some((0, 3)), Some((0, 0)), Some((1, 1)), None, None, Some((0, 7))];
    assert_eq!(submitted(&past, "q"), expected);
    let minutes = next.past(7_200_000, |_| true, true);
    assert_eq!(minutes.step_ms, COARSE_MS);
    // One that is not there any more has none; and what lies ahead of a clock that was set back is left away.
    let mut other = Tally::new(10, world.now);
    other.restore(saved.clone());
    assert!(other.past(60_000, |_| true, true).queues.is_empty());
    let mut early = Tally::new(10, Time(world.now.0 - 3_600_000));
    early.know(&name("q"));
    early.restore(saved);
    early.end_steps(Time(world.now.0 - 3_590_000), |_| 0);
    assert_eq!(submitted(&early.past(20_000, |_| true, true), "q"), [None, Some((0, 0))]);
}

#[test]
fn after_a_start_what_was_ready_long_ago_and_since_then_is_known() {
    let mut world = World::new(10);
    world.after(0, world.submitted(1, 100, "q"));
    let now = world.now.0;
    world.tally.end_steps(Time(now + 3_000_000), |_| 100);
    world.tally.end(|_| 100);
    let mut next = Tally::new(10, Time(now + 3_900_000));
    next.know(&name("q"));
    next.restore(world.tally.save());
    next.end_steps(Time(now + 3_910_000), |_| 100);
    let past = submitted(&next.past(3_600_000, |_| true, true), "q");
    assert!(past.iter().flatten().all(|point| *point == (0, 100)), "{past:?}");
    assert!(past.iter().flatten().count() > 200 && past.contains(&None));
    // A life that seems to last longer than to the present has been there up to then.
    let mut early = Tally::new(10, Time(now + 1_000_000));
    early.know(&name("q"));
    early.restore(world.tally.save());
    early.end_steps(Time(now + 1_010_000), |_| 100);
    let past = submitted(&early.past(600_000, |_| true, true), "q");
    assert!(past.iter().all(Option::is_some), "{past:?}");
}

#[test]
fn a_saved_past_that_is_damaged_is_none() {
    let mut world = World::new(10);
    world.after(0, world.submitted(1, 2, "q"));
    world.after(70_000, world.submitted(3, 2, "q"));
    let bytes = world.tally.save().encode();
    assert!(Saved::decode(&bytes).is_ok());
    for at in 0..bytes.len() {
        let mut other = bytes.clone();
        other[at] ^= 1;
        assert_eq!(Saved::decode(&other).err(), Some(BadPast), "at {at}");
        assert_eq!(Saved::decode(&bytes[..at]).err(), Some(BadPast), "up to {at}");
    }
    // Numbers that no sum protects take no memory.
    let mut huge = b"mushtat1".to_vec();
    huge.extend(u32::MAX.to_le_bytes());
    huge.extend(crc32c::crc32c(&huge).to_le_bytes());
    assert_eq!(Saved::decode(&huge).err(), Some(BadPast));
}

#[test]
fn what_memory_the_past_takes_is_bounded() {
    let mut world = World::new(1);
    for step in 0..20_000u64 {
        world.after(FINE_MS, world.submitted(1 + step, 1, "q"));
    }
    let saved = world.tally.save().encode().len();
    assert!(saved < 2 * 100_000, "{saved} bytes");
}
