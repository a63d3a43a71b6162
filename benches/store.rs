//! How long a turn of the engine waits for the store while checkpoints write a growing backlog to the database:
//! `cargo bench --bench store [-- DIRECTORY]`. Prints the spread of appends (with their sync) and of housekeeping.

use bytes::Bytes;
use musher::clock::{Clock, monotonic};
use musher::core::{Group, QueueName, Settings, Spec, Visibility};
use musher::engine::{Bounds, Engine, Origin};
use musher::store::{DiskStore, Options, Recovered};
use std::time::Duration;

const TURNS: usize = 6_000;
const BATCH: u64 = 50;
const ORIGIN: Origin = Origin { session: 1, request: 1 };

fn main() {
    let place = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::tempdir_in(place).expect("a directory can be made there");
    let (store, Recovered { state, last, time, .. }) =
        DiskStore::open(&dir.path().join("data"), &Options::default()).expect("a new store opens");
    let clock = Clock::starting_after(time);
    let bounds = Bounds::default();
    let mut engine = Engine::new(state, last, store, Settings::default(), bounds, 1, clock.now());
    let spec = Spec::plain(QueueName::new("bench").expect("a good name"));
    let body = Bytes::from(vec![b'x'; 1000]);
    let (mut turns, mut housekeeping) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let group = Group::new(spec.clone(), BATCH);
        engine.submit(ORIGIN, vec![group], vec![body.clone(); BATCH as usize], Visibility::ALL, clock.now());
        let begun = monotonic();
        engine.turn(clock.now()).expect("the disk works");
        let appended = monotonic();
        engine.housekeep(clock.now()).expect("the disk works");
        turns.push(appended - begun);
        housekeeping.push(monotonic() - appended);
    }
    print("append", turns);
    print("housekeeping", housekeeping);
}

fn print(what: &str, mut took: Vec<Duration>) {
    took.sort();
    let at = |thousandth: usize| took[(took.len() - 1) * thousandth / 1000].as_secs_f64() * 1000.0;
    let (p50, p99, p999, max) = (at(500), at(990), at(999), at(1000));
    println!("{what:<13} ms: median {p50:.2}, 99 % {p99:.2}, 99.9 % {p999:.2}, longest {max:.2}");
}
