//! A note on points in time that are past.

use crate::clock;
use crate::core::Time;
use crate::durations::show_point;
use crate::protocol::{JobOptions, Start};

/// A point in time that is past is not refused, as a script may be late; but it may be a mistyped year.
pub(super) fn note_past(options: &JobOptions) {
    if let Start::At(at) = options.start
        && at < clock::wall().0
    {
        eprintln!("musher: note: {} is past, so the job runs at once", show_point(Time(at)));
    }
}
