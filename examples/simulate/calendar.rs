//! The times of schedules, counted as simply as can be: all of them are so many seconds apart.

use musher::core::{Rhythm, ScheduleName, Time};
use std::collections::BTreeMap;
use std::time::Duration;

/// Rhythms of cron whose times are evenly spaced: fields, seconds between two times, seconds of the first one in 1970.
const CRON: [(&str, u64, u64); 3] =
    [("*/2 * * * *", 120, 0), ("7 * * * *", 3_600, 420), ("30 */10 * * * *", 600, 30)];

/// Of what is longer ago nothing is known.
const PASSED_MAX: usize = 100;

/// More turns than a schedule that is due may be left alone.
const TURNS_MAX: u32 = 30;

/// The times of a rhythm.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    /// So many milliseconds after the last one.
    After(u64),
    /// So many milliseconds apart, from the first one on.
    Fixed(u64, u64),
}

impl Times {
    pub(crate) fn of(rhythm: &Rhythm) -> Times {
        match rhythm {
            Rhythm::Every(time) => Times::After(time.as_millis() as u64),
            Rhythm::Cron { fields, .. } => {
                let found = CRON.iter().find(|(known, ..)| **known == **fields).expect("it is one of these");
                Times::Fixed(found.1 * 1_000, found.2 * 1_000)
            }
        }
    }

    pub(crate) fn cron(nth: usize) -> Rhythm {
        Rhythm::Cron { fields: CRON[nth].0.into(), zone: "UTC".into() }
    }

    /// The first one after this time.
    pub(crate) fn after(self, time: Time) -> Time {
        match self {
            Times::After(step) => time.plus(Duration::from_millis(step)),
            Times::Fixed(step, first) => {
                let mut next = first + time.0.saturating_sub(first) / step * step;
                while next <= time.0 {
                    next += step;
                }
                Time(next)
            }
        }
    }

    /// Those that have passed, and the one that follows. Up to `since` all are dealt with, and `next` is the next one.
    pub(crate) fn passed(self, since: Time, next: Time, now: Time) -> (Vec<Time>, Time) {
        let mut next = if matches!(self, Times::After(_)) { next } else { self.after(since) };
        let mut times = Vec::new();
        while next <= now {
            times.push(next);
            next = self.after(next);
        }
        let extra = times.len().saturating_sub(PASSED_MAX);
        times.drain(..extra);
        (times, next)
    }
}

/// Schedules that are due, and for how many turns.
#[derive(Debug, Default)]
pub(crate) struct Overdue(BTreeMap<ScheduleName, u32>);

impl Overdue {
    /// A turn is over in which a schedule could have been fired that was due, but was not; or it was not due.
    pub(crate) fn note(&mut self, name: &ScheduleName, is_late: bool) {
        let turns = self.0.entry(name.clone()).or_default();
        *turns = if is_late { *turns + 1 } else { 0 };
        assert!(*turns < TURNS_MAX, "{name} is due, and is left alone turn after turn");
    }
}
