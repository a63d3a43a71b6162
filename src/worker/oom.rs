//! Which processes are killed first when memory runs out: those of jobs, before the daemon and before other processes
//! of their size. The worker raises its own `oom_score_adj`, which its jobs inherit, so no job has a cost for it. To
//! lose a worker is a small loss: its jobs run again.

use std::fs;
use std::io;

/// Tells the pool by how much to raise it.
pub const OOM_ENV: &str = "MUSHER_POOL_OOM_SCORE_ADJ";
/// The kernel's limit.
const MAX: i32 = 1_000;
const FILE: &str = "/proc/self/oom_score_adj";

/// Raises this process's `oom_score_adj` by this much, or as far as it goes. A failure is no reason to stop.
pub(super) fn go_first(by: u16) {
    if let Err(error) = raise(by) {
        tracing::warn!("{FILE} cannot be raised by {by}: {error}");
    }
}

fn raise(by: u16) -> io::Result<()> {
    let own: i32 = fs::read_to_string(FILE)?.trim().parse().map_err(io::Error::other)?;
    fs::write(FILE, (own + i32::from(by)).min(MAX).to_string())
}
