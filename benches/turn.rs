//! What a turn of the engine costs without disk and sockets: `cargo bench --bench turn`. Submits, claims and
//! completes a million jobs over the simulated store, a hundred of each in a turn.

use bytes::Bytes;
use musher::clock::monotonic;
use musher::core::{
    Attempt, Claim, Group, Holder, JobId, LeaseId, QueueName, Settings, Spec, Start, Time, Verdict,
};
use musher::engine::{Bounds, Engine, Origin};
use musher::store::simulated::SimulatedDisk;
use std::time::Duration;

const JOBS: u64 = 1_000_000;
const BATCH: u64 = 100;
const ORIGIN: Origin = Origin { session: 1, request: 1 };

fn main() {
    let queue = QueueName::new("bench").expect("a good name");
    let (store, found) = SimulatedDisk::new(1).open().expect("an empty disk");
    let now = Time(1);
    let mut engine =
        Engine::new(found.state, found.last, store, Settings::default(), Bounds::default(), 1, now);
    let body = Bytes::from(vec![b'x'; 100]);
    let mut took = [Duration::ZERO; 3];
    for batch in 0..JOBS / BATCH {
        let first = batch * BATCH + 1;
        let begun = monotonic();
        let group = Group { spec: Spec::plain(queue.clone()), count: BATCH, start: Start::Now, ttl: None };
        engine.submit(ORIGIN, vec![group], vec![body.clone(); BATCH as usize], now);
        engine.turn(now).expect("a store without faults");
        let submitted = monotonic();
        let queues = vec![queue.clone()];
        let claim = Claim { queues, max: BATCH as u32, lease: None, holder: Holder::Session(1) };
        engine.claim(ORIGIN, claim, now, now);
        engine.turn(now).expect("a store without faults");
        let claimed = monotonic();
        let lease = |id| (LeaseId { id: JobId(id), attempt: Attempt(1) }, Verdict::Complete);
        engine.settle(ORIGIN, (first..first + BATCH).map(lease).collect::<Vec<_>>(), now);
        engine.turn(now).expect("a store without faults");
        let settled = monotonic();
        for (total, span) in took.iter_mut().zip([submitted - begun, claimed - submitted, settled - claimed])
        {
            *total += span;
        }
    }
    for (what, took) in ["submit", "claim", "settle"].into_iter().zip(took) {
        println!("{what:<8}{:>12.0} jobs/s", JOBS as f64 / took.as_secs_f64());
    }
}
