//! Every default of the configuration, but those of paths (`paths`) and those of queues that the core knows
//! (`core::QueueSettings`).

use super::{DrainSubmits, Limits, Storage};
use std::time::Duration;

/// `daemon.drain_timeout`
pub(super) const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// `daemon.resume_within`
pub(super) const RESUME_WITHIN: Duration = Duration::from_secs(30);

/// `daemon.job_oom_score_adj`: enough for a job of the daemon's size to go first, and for a large service beside to go
/// before a small job.
pub(super) const JOB_OOM_SCORE_ADJ: u16 = 200;

/// `daemon.drain_submits`
pub(super) const DRAIN_SUBMITS: DrainSubmits = DrainSubmits::Refuse;

/// `keep.done` of a queue whose jobs the daemon runs: nobody else has seen how they ended.
pub(super) const KEEP_DONE_HANDLED: Duration = Duration::from_secs(3600);

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            frame: 32 << 20,
            body: 1 << 20,
            checkpoint: 256 << 10,
            signal: 16 << 10,
            result: 1 << 20,
            backlog: 0,
            backlog_bytes: 0,
            total_backlog: 0,
            total_backlog_bytes: 0,
            queues: 10_000,
            queues_per_user: 1_000,
            schedules: 1_000,
            idempotency: Duration::from_secs(86_400),
            idempotency_keys: 1_000_000,
            idempotency_keys_per_user: 500_000,
            groups: 100_000,
            groups_per_user: 50_000,
            groups_kept: Duration::from_secs(86_400),
            queue_idle: Duration::from_secs(86_400),
            batch: 100_000,
            disk_reserve: 256 << 20,
            output: 1 << 20,
            waiting: 10_000,
            buffers: 256 << 20,
            metrics_queues: 200,
        }
    }
}

impl Default for Storage {
    fn default() -> Storage {
        Storage {
            log_file: 64 << 20,
            log_max: 2 << 30,
            checkpoint: Duration::from_millis(700),
            cache: 64 << 20,
            ballast: 16 << 20,
            shrink_above: 32 << 20,
        }
    }
}
