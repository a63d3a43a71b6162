//! The bounds of the engine: plain data, which a configuration may change while the daemon runs.

use std::time::Duration;

/// The bounds of the engine.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The most queues and jobs that the waiting requests of one connection may name (`limits.waiting`).
    pub waiting: usize,
    /// The most that those of all connections may name. A connection whose requests name only a few is never
    /// refused for it.
    pub waiting_all: usize,
    /// About how many bytes of bodies one claim gets at most.
    pub claim_bytes: usize,
    /// The most bytes of bodies that submits have which wait for room.
    pub parked_bytes: usize,
    /// The longest body (`limits.body`).
    pub body: usize,
    /// About how many bytes of bodies, how many bytes of answers, and how many events and jobs, share a commit at
    /// most.
    pub commit_bytes: usize,
    /// See `commit_bytes`.
    pub commit_events: usize,
    /// How long workers may take after a start to come back to their jobs (`daemon.resume_within`).
    pub resume_within: Duration,
    /// How many queues have numbers of their own (`limits.metrics_queues`).
    pub metrics_queues: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            waiting: 10_000,
            waiting_all: 500_000,
            claim_bytes: 8 << 20,
            parked_bytes: 64 << 20,
            body: 1 << 20,
            commit_bytes: 8 << 20,
            commit_events: 100_000,
            resume_within: Duration::from_secs(30),
            metrics_queues: 200,
        }
    }
}
