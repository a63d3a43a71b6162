//! What a turn of the engine costs without disk and sockets: `cargo bench --bench turn`. One turn submits, claims or
//! completes a batch over the simulated store, beside a backlog of ten thousand jobs.

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use musher::core::{
    Attempt, Claim, ClaimOrder, Group, Holder, JobId, LeaseId, QueueName, Settings, Spec, Time, Verdict,
    Visibility,
};
use musher::engine::{Bounds, Engine, Origin};
use musher::store::simulated::{SimulatedDisk, SimulatedStore};
use std::cell::RefCell;

const BATCHES: [u64; 3] = [1, 16, 100];
const BACKLOG: u64 = 10_000;
const ORIGIN: Origin = Origin { session: 1, request: 1 };
const NOW: Time = Time(1);

fn main() {
    divan::main();
}

/// An engine whose jobs are submitted, claimed and completed in order, a batch a turn.
struct Turns {
    engine: Engine<SimulatedStore>,
    queue: QueueName,
    bodies: Vec<Bytes>,
    claimed: u64,
    settled: u64,
}

impl Turns {
    fn new(batch: u64) -> Turns {
        let (store, found) = SimulatedDisk::new(1).open().expect("an empty disk");
        let (settings, bounds) = (Settings::default(), Bounds::default());
        let engine = Engine::new(found.state, found.last, store, settings, bounds, 1, NOW);
        let queue = QueueName::new("bench").expect("a good name");
        let bodies = vec![Bytes::from(vec![b'x'; 100]); batch as usize];
        let mut turns = Turns { engine, queue, bodies, claimed: 0, settled: 0 };
        (0..BACKLOG / batch).for_each(|_| turns.submit());
        turns
    }

    fn turn(&mut self) {
        self.engine.turn(NOW).expect("a store without faults");
    }

    fn submit(&mut self) {
        let (spec, count) = (Spec::plain(self.queue.clone()), self.bodies.len() as u64);
        let group = Group::new(spec, count);
        self.engine.submit(ORIGIN, vec![group], self.bodies.clone(), Visibility::ALL, NOW);
        self.turn();
    }

    fn claim(&mut self) {
        let max = self.bodies.len() as u32;
        let claim = Claim {
            queues: vec![self.queue.clone()],
            max,
            lease: None,
            holder: Holder::Session(1),
            worker: None,
            order: ClaimOrder::AsNamed,
        };
        self.engine.claim(ORIGIN, claim, NOW, NOW);
        self.turn();
        self.claimed += u64::from(max);
    }

    fn settle(&mut self) {
        let lease = |id| (LeaseId { id: JobId(id), attempt: Attempt(1) }, Verdict::Complete);
        let first = self.settled + 1;
        self.settled += self.bodies.len() as u64;
        assert!(self.settled <= self.claimed, "only claimed jobs are settled");
        self.engine.settle(
            ORIGIN,
            (first..=self.settled).map(lease).collect::<Vec<_>>(),
            Visibility::ALL,
            NOW,
        );
        self.turn();
    }
}

/// Measures `step`; the untimed `before` makes what it needs, so that the backlog stays as it is.
fn measure(bencher: Bencher, batch: u64, before: fn(&mut Turns), step: fn(&mut Turns)) {
    let turns = RefCell::new(Turns::new(batch));
    bencher
        .counter(ItemsCount::new(batch))
        .with_inputs(|| before(&mut turns.borrow_mut()))
        .bench_local_values(|()| step(&mut turns.borrow_mut()));
}

#[divan::bench(args = BATCHES)]
fn submit(bencher: Bencher, batch: u64) {
    let take_away = |turns: &mut Turns| {
        turns.claim();
        turns.settle();
    };
    measure(bencher, batch, take_away, Turns::submit);
}

#[divan::bench(args = BATCHES)]
fn claim(bencher: Bencher, batch: u64) {
    let renew = |turns: &mut Turns| {
        while turns.settled < turns.claimed {
            turns.settle();
        }
        turns.submit();
    };
    measure(bencher, batch, renew, Turns::claim);
}

#[divan::bench(args = BATCHES)]
fn settle(bencher: Bencher, batch: u64) {
    let renew = |turns: &mut Turns| {
        turns.submit();
        turns.claim();
    };
    measure(bencher, batch, renew, Turns::settle);
}

/// All three, as a job goes through.
#[divan::bench(args = BATCHES)]
fn cycle(bencher: Bencher, batch: u64) {
    let all = |turns: &mut Turns| {
        turns.submit();
        turns.claim();
        turns.settle();
    };
    measure(bencher, batch, |_| (), all);
}
