//! What a commit costs on its way to the log and back: `cargo bench --bench codec`. Commits of one job and of a hundred,
//! submitted and completed, with bodies of 100 bytes.

use bytes::Bytes;
use divan::Bencher;
use divan::counter::ItemsCount;
use musher::core::{Ending, Event, Expiry, IdRange, Ids, JobId, QueueName, Spec, Time};
use musher::store::{Commit, measured};
use std::sync::Arc;

const BATCHES: [u64; 2] = [1, 100];

fn main() {
    divan::main();
}

fn submitted(jobs: u64) -> Commit {
    let spec = Arc::new(Spec::plain(QueueName::new("bench").expect("a good name")));
    let jobs = IdRange::new(JobId(1_000_000), jobs);
    let event = Event::Submitted { jobs, spec, at: Time(1), due: None, expiry: Expiry::default() };
    let bodies = vec![Bytes::from(vec![b'x'; 100]); jobs.len as usize];
    Commit { time: Time(1), events: vec![event], bodies, ..Commit::default() }
}

/// Every other job, as workers that run side by side complete them.
fn completed(jobs: u64) -> Commit {
    let mut ids = Ids::new();
    (0..jobs).for_each(|job| ids.push(JobId(1_000_000 + 2 * job)));
    let end = Ending { at: Time(2), keep_until: None };
    Commit { time: Time(2), events: vec![Event::Completed { jobs: ids, end }], ..Commit::default() }
}

fn encode(bencher: Bencher, jobs: u64, commit: &Commit) {
    let mut out = Vec::with_capacity(1 << 20);
    bencher.counter(ItemsCount::new(jobs)).bench_local(|| {
        out.clear();
        measured::encode(divan::black_box(commit), &mut out);
        out.len()
    });
}

fn decode(bencher: Bencher, jobs: u64, commit: &Commit) {
    let mut bytes = Vec::new();
    measured::encode(commit, &mut bytes);
    let bytes = Bytes::from(bytes);
    bencher
        .counter(ItemsCount::new(jobs))
        .bench(|| measured::decode(divan::black_box(&bytes)).expect("what was written reads"));
}

#[divan::bench(args = BATCHES)]
fn encode_submits(bencher: Bencher, jobs: u64) {
    encode(bencher, jobs, &submitted(jobs));
}

#[divan::bench(args = BATCHES)]
fn decode_submits(bencher: Bencher, jobs: u64) {
    decode(bencher, jobs, &submitted(jobs));
}

#[divan::bench(args = BATCHES)]
fn encode_completions(bencher: Bencher, jobs: u64) {
    encode(bencher, jobs, &completed(jobs));
}

#[divan::bench(args = BATCHES)]
fn decode_completions(bencher: Bencher, jobs: u64) {
    decode(bencher, jobs, &completed(jobs));
}
