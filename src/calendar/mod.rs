//! When a schedule's times are: the fields of cron in a time zone, or once in so long. It reads no clock, and knows nothing
//! of schedules but their rhythm; of the system it reads what it knows of time zones.
//!
//! # Daylight saving
//! The fields name civil times, and a zone says which instants those are. A civil time that is skipped is the first
//! instant after it, and one that comes twice is its first. If the hour is `*`, what comes twice counts twice: a job of each
//! quarter of an hour must not stop for one.

mod zones;

use crate::core::{Rhythm, Time};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use std::collections::VecDeque;
use std::time::Duration;

pub(crate) use zones::system_zone;

/// The most times that have passed of which anything is known.
pub(crate) const PASSED_MAX: usize = 100;

/// How many changes of a zone's offset are looked at for one time, before it counts as never: enough for 29 February,
/// which may be eight years away.
const CHANGES_MAX: usize = 1_000;

/// Why a rhythm is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRhythm {
    /// The fields cannot be read.
    #[error(
        "`{fields}` is not a time of cron: {why}; write five fields (minute, hour, day, month, weekday) or six (seconds \
         first), such as `0 3 * * *` or `*/15 8-18 * * mon-fri`, or @hourly, @daily, @weekly, @monthly, @yearly"
    )]
    Fields {
        /// What was written, cut to what can be shown.
        fields: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no such time.
    #[error("`{fields}` names no time that ever comes")]
    Never {
        /// What was written.
        fields: String,
    },
    /// The zone is not known.
    #[error(
        "`{zone}` is not a time zone that this machine knows: write it like Europe/Berlin, America/New_York or UTC"
    )]
    Zone {
        /// What was written, cut to what can be shown.
        zone: String,
    },
    /// It is too quick.
    #[error("a schedule runs at most once a second")]
    TooQuick,
}

/// A rhythm, to count with.
#[derive(Clone, Debug)]
pub(crate) enum Calendar {
    Cron(Box<CronTimes>),
    Every(Duration),
}

/// Civil times in a zone.
#[derive(Clone, Debug)]
pub(crate) struct CronTimes {
    cron: Cron,
    zone: TimeZone,
    /// Whether the hour is `*`.
    every_hour: bool,
}

/// What has passed of a rhythm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The times, in order; at most [`PASSED_MAX`], the newest.
    pub(crate) times: Vec<Time>,
    /// The one that follows.
    pub(crate) next: Time,
}

impl Calendar {
    /// Reads a rhythm.
    ///
    /// # Errors
    /// It cannot be read, or there is no such time.
    pub(crate) fn new(rhythm: &Rhythm) -> Result<Calendar, BadRhythm> {
        match rhythm {
            Rhythm::Every(time) if *time < Rhythm::LEAST => Err(BadRhythm::TooQuick),
            Rhythm::Every(time) => Ok(Calendar::Every(*time)),
            Rhythm::Cron { fields, zone } => {
                let zone_known = zones::zone(zone).ok_or_else(|| BadRhythm::Zone { zone: shown(zone) })?;
                let cron = parse(fields)?;
                let every_hour = (0..24).all(|hour| cron.pattern.hour_match(hour).unwrap_or(false));
                let times = CronTimes { cron, zone: zone_known, every_hour };
                // The pattern of days comes again after 400 years, but what anybody means comes soon.
                let now = Timestamp::from_second(1_767_225_600).expect("it is in 2026");
                if times.after(now).is_none() {
                    return Err(BadRhythm::Never { fields: shown(fields) });
                }
                Ok(Calendar::Cron(Box::new(times)))
            }
        }
    }

    /// The first time after another; [`Time::NEVER`] if there is none.
    pub(crate) fn next(&self, after: Time) -> Time {
        match self {
            Calendar::Every(time) => after.plus(*time),
            Calendar::Cron(times) => {
                times.after(instant(after)).map_or(Time::NEVER, |next| Time(next.as_millisecond() as u64))
            }
        }
    }

    /// The times from `due` on, which is one of them, up to `now`.
    pub(crate) fn passed(&self, due: Time, now: Time) -> Passed {
        if due > now {
            return Passed { times: Vec::new(), next: due };
        }
        let mut next = due;
        // What is too long ago is passed over at once.
        match self {
            Calendar::Every(time) => {
                let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
                let last = now.0.saturating_sub(due.0) / millis;
                let first = last.saturating_sub(PASSED_MAX as u64 - 1);
                next = Time(due.0.saturating_add(millis.saturating_mul(first)));
            }
            Calendar::Cron(times) => {
                if let Some(from) = times.some_before(instant(now)) {
                    let from = Time(from.as_millisecond().max(0) as u64);
                    next = if from > due { self.next(from) } else { due };
                }
            }
        }
        let mut times = VecDeque::new();
        while next <= now && next != Time::NEVER {
            if times.len() == PASSED_MAX {
                times.pop_front();
            }
            times.push_back(next);
            next = self.next(next);
        }
        Passed { times: times.into(), next }
    }
}

fn parse(fields: &str) -> Result<Cron, BadRhythm> {
    let bad = |why: &str| BadRhythm::Fields { fields: shown(fields), why: why.to_owned() };
    if fields.len() > Rhythm::TEXT_MAX {
        return Err(bad("it is too long"));
    }
    // A nickname stands alone; the parser would look for it anywhere.
    let known = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];
    let name = fields.trim().to_ascii_lowercase();
    let text = match name.as_str() {
        "@midnight" => "@daily",
        name if name.starts_with('@') && !known.contains(&name) => return Err(bad("there is no such name")),
        name if name.contains('@') && !known.contains(&name) => {
            return Err(bad("a name with @ stands alone"));
        }
        _ => fields,
    };
    let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
    parser.parse(text).map_err(|error| match error {
        CronError::InvalidPattern(_) => bad(&format!("it has {} fields", text.split_whitespace().count())),
        CronError::EmptyPattern => bad("it is empty"),
        CronError::IllegalCharacters(why) | CronError::ComponentError(why) => bad(why.trim_end_matches('.')),
        error => bad(error.to_string().trim_end_matches('.')),
    })
}

/// Cut to what can be shown.
fn shown(text: &str) -> String {
    text.chars().take(60).collect::<String>().escape_debug().to_string()
}

/// The instant of a time; one that is too far away is the last.
fn instant(time: Time) -> Timestamp {
    i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

impl CronTimes {
    /// The first instant after another.
    ///
    /// Between two changes of its offset a zone's civil time goes on as the instants do, so each such stretch is looked at by
    /// itself.
    fn after(&self, after: Timestamp) -> Option<Timestamp> {
        let offset = self.zone.to_offset(after);
        let mut from = offset.to_datetime(after);
        let (mut offset, mut inclusive) = (offset, false);
        // Up to where civil times have come already, in this stretch.
        let mut come = self.repeated_until(after, offset);
        let mut at = after;
        for _ in 0..CHANGES_MAX {
            if let Some(until) = come.take().filter(|until| from < *until) {
                (from, inclusive) = (until, true);
            }
            let found = self.cron.find_next_occurrence(&from, inclusive).ok()?;
            let there = offset.to_timestamp(found).ok()?;
            let Some(change) = self.zone.following(at).find(|change| change.offset() != offset) else {
                return Some(there);
            };
            let end = change.timestamp();
            if there < end {
                return Some(there);
            }
            let (before, now) = (offset, change.offset());
            let (ended, begins) = (before.to_datetime(end), now.to_datetime(end));
            // It is skipped: the first instant behind the gap is its own.
            if ended <= found && found < begins {
                return Some(end);
            }
            (at, offset, from, inclusive) = (end, now, begins, true);
            come = (!self.every_hour && begins < ended).then_some(ended);
        }
        None
    }

    /// If an instant lies behind a change that has set the clocks back, up to where their times have come twice.
    fn repeated_until(&self, at: Timestamp, offset: Offset) -> Option<DateTime> {
        if self.every_hour {
            return None;
        }
        // The change may be at the very instant.
        let behind = at.checked_add(jiff::SignedDuration::from_nanos(1)).ok()?;
        let change = self.zone.preceding(behind).next()?;
        let just_before = change.timestamp().checked_sub(jiff::SignedDuration::from_secs(1)).ok()?;
        let ended = self.zone.to_offset(just_before).to_datetime(change.timestamp());
        (change.offset() == offset && offset.to_datetime(change.timestamp()) < ended).then_some(ended)
    }

    /// An instant before another, about as many times ago as are ever of interest; `None` if there are fewer.
    fn some_before(&self, now: Timestamp) -> Option<Timestamp> {
        let mut civil = self.zone.to_datetime(now);
        for _ in 0..=PASSED_MAX {
            civil = self.cron.find_previous_occurrence(&civil, false).ok()?;
        }
        self.zone.to_timestamp(civil).ok()
    }
}

#[cfg(test)]
mod tests;
