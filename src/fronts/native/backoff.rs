//! How jobs wait between attempts, as the wire has it.

use crate::core::{BACKOFF_MAX, Backoff, Growth};
use crate::protocol as wire;
use crate::server::requests::millis;

/// What it means.
pub(super) fn backoff(backoff: wire::WireBackoff) -> Backoff {
    Backoff {
        growth: match backoff.growth {
            0 => Growth::Fixed,
            1 => Growth::Linear,
            _ => Growth::Exponential,
        },
        base: millis(backoff.base_ms).min(BACKOFF_MAX),
        max: millis(backoff.max_ms).min(BACKOFF_MAX),
        jitter_permille: backoff.jitter_permille.min(1000),
    }
}
