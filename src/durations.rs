//! Durations, sizes and points in time as people write and read them: in the configuration, on the command line,
//! in log lines. Reads no clock. Every error shows how to write it.

use crate::core::Time;
use jiff::fmt::friendly::SpanParser;
use jiff::tz::TimeZone;
use jiff::{SpanRelativeTo, Timestamp, civil};
use std::time::Duration;

/// The longest duration that can be written: a hundred years. More than that means "forever".
pub const LONGEST: Duration = Duration::from_secs(36_525 * 24 * 3600);

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
];

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a duration: {why}; write it like 250ms, 30s, 10m, 1h30m or 2d")]
pub struct BadDuration {
    text: String,
    why: &'static str,
}

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a size: {why}; write it like 64MiB, 1GiB or 500kB, or as a number of bytes")]
pub struct BadSize {
    text: String,
    why: &'static str,
}

/// A text that is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a point in time: write it like 2026-12-24T18:00:00Z, or `2026-12-24 18:00` in local time"
)]
pub struct BadPoint(String);

/// Reads a duration in whole milliseconds. Days have 24 hours.
///
/// # Errors
/// [`BadDuration`], with examples.
///
/// ```
/// use musher::durations::parse_duration;
/// use std::time::Duration;
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
/// assert_eq!(parse_duration("1d 2h"), Ok(Duration::from_secs(26 * 3600)));
/// assert!(parse_duration("10").unwrap_err().to_string().contains("no unit"));
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    static PARSER: SpanParser = SpanParser::new();
    let bad = |why| BadDuration { text: shown(text), why };
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad("it has no unit"));
    }
    let span = PARSER.parse_span(text).map_err(|_| bad("it cannot be read"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err(bad("months and years differ in length, days do not"));
    }
    if span.is_negative() {
        return Err(bad("it is negative"));
    }
    let exact = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| bad("it is too long"))?;
    let duration = exact.unsigned_abs();
    if duration > LONGEST {
        return Err(bad("it is longer than a hundred years"));
    }
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(bad("a millisecond is the shortest step"));
    }
    Ok(duration)
}

/// Writes a duration so that [`parse_duration`] reads it. What is below a millisecond is cut.
///
/// ```
/// use musher::durations::show_duration;
/// use std::time::Duration;
/// assert_eq!(show_duration(Duration::from_millis(5_400_250)), "1h30m250ms");
/// assert_eq!(show_duration(Duration::ZERO), "0s");
/// ```
pub fn show_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, millis) in UNITS {
        if left >= millis {
            text += &format!("{}{unit}", left / millis);
            left %= millis;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads a size in bytes. `KiB`, `MiB`, … are powers of 1024, `kB`, `MB`, … of 1000; capitals do not matter.
///
/// # Errors
/// [`BadSize`], with examples.
///
/// ```
/// use musher::durations::parse_size;
/// assert_eq!(parse_size("64MiB"), Ok(64 << 20));
/// assert_eq!(parse_size("1.5 kB"), Ok(1500));
/// assert!(parse_size("64M").unwrap_err().to_string().contains("MiB or MB"));
/// ```
pub fn parse_size(text: &str) -> Result<u64, BadSize> {
    let bad = |why| BadSize { text: shown(text), why };
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(trimmed.len());
    let (number, unit) = (trimmed[..end].replace('_', ""), trimmed[end..].trim());
    let factor = match unit {
        "" => 1,
        _ => match SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((_, factor)) => *factor,
            None if ["k", "m", "g", "t"].iter().any(|u| u.eq_ignore_ascii_case(unit)) => {
                return Err(bad("the unit can mean two things, such as MiB or MB"));
            }
            None => return Err(bad("the unit is unknown")),
        },
    };
    let (whole, part) = number.split_once('.').unwrap_or((&number, ""));
    if whole.is_empty() || part.len() > 9 {
        return Err(bad("the number cannot be read"));
    }
    let scale = 10u128.pow(part.len() as u32); // at most 9 digits
    let digits: u128 = format!("{whole}{part}").parse().map_err(|_| bad("the number cannot be read"))?;
    let bytes = digits.checked_mul(u128::from(factor)).ok_or_else(|| bad("it is too large"))?;
    if bytes % scale != 0 {
        return Err(bad("it is no whole number of bytes"));
    }
    u64::try_from(bytes / scale).map_err(|_| bad("it is too large"))
}

/// Writes a size exactly, so that [`parse_size`] reads it, in the largest unit that has no fraction.
///
/// ```
/// use musher::durations::show_size;
/// assert_eq!(show_size(64 << 20), "64MiB");
/// assert_eq!(show_size(500_000), "500kB");
/// assert_eq!(show_size(1001), "1001B");
/// ```
pub fn show_size(bytes: u64) -> String {
    let exact = SIZES.iter().find(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (unit, factor) = exact.copied().unwrap_or(("B", 1));
    format!("{}{unit}", bytes / factor)
}

/// Reads a point in time: with an offset as in RFC 3339, or without one in the time zone of this machine.
///
/// # Errors
/// [`BadPoint`], with examples.
pub fn parse_point(text: &str) -> Result<Time, BadPoint> {
    parse_point_in(text, &TimeZone::system())
}

fn parse_point_in(text: &str, zone: &TimeZone) -> Result<Time, BadPoint> {
    let bad = || BadPoint(shown(text));
    let text = text.trim();
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => {
            let local: civil::DateTime = text.parse().map_err(|_| bad())?;
            zone.to_timestamp(local).map_err(|_| bad())?
        }
    };
    u64::try_from(timestamp.as_millisecond()).map(Time).map_err(|_| bad())
}

/// Writes the time of the day, to the minute, in the time zone of this machine.
pub fn show_clock(time: Time) -> String {
    let point = show_point(time);
    point.split(' ').nth(1).and_then(|clock| clock.get(..5)).unwrap_or(&point).to_owned()
}

/// Writes a point in time, to the second, in the time zone of this machine.
pub fn show_point(time: Time) -> String {
    show_point_in(time, &TimeZone::system())
}

fn show_point_in(time: Time, zone: &TimeZone) -> String {
    let timestamp = i64::try_from(time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    match timestamp {
        Some(timestamp) => zone.to_datetime(timestamp).strftime("%Y-%m-%d %H:%M:%S").to_string(),
        None => "never".to_owned(),
    }
}

/// Foreign text, fit to be shown in an error.
fn shown(text: &str) -> String {
    text.chars().take(40).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1d 2h", 93_600_000),
            ("2 hours 30 minutes", 9_000_000),
            ("1.5h", 5_400_000),
            ("1w", 604_800_000),
            (" 5s ", 5_000),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_bad_duration_is_refused_with_the_reason_and_examples() {
        for (text, why) in [
            ("10", "no unit"),
            ("", "cannot be read"),
            ("soon", "cannot be read"),
            ("5 parsecs", "cannot be read"),
            ("-5s", "negative"),
            ("5s ago", "negative"),
            ("1mo", "months and years"),
            ("1y", "months and years"),
            ("1us", "a millisecond is the shortest"),
            ("40000d", "hundred years"),
            ("1\n2s", "`1\\n2s`"),
        ] {
            let message = parse_duration(text).unwrap_err().to_string();
            assert!(message.contains(why) && message.contains("like 250ms"), "{text}: {message}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("1_000", 1000),
            ("12B", 12),
            ("500kB", 500_000),
            ("500KB", 500_000),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("1GiB", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("2TB", 2_000_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn a_bad_size_is_refused_with_the_reason_and_examples() {
        for (text, why) in [
            ("", "number cannot be read"),
            ("MiB", "number cannot be read"),
            ("1.2.3kB", "number cannot be read"),
            ("-1kB", "unit is unknown"),
            ("12 apples", "unit is unknown"),
            ("64M", "MiB or MB"),
            ("0.5B", "whole number of bytes"),
            ("99999999TiB", "too large"),
        ] {
            let message = parse_size(text).unwrap_err().to_string();
            assert!(message.contains(why) && message.contains("like 64MiB"), "{text}: {message}");
        }
    }

    #[test]
    fn points_are_read_with_an_offset_or_in_the_local_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        for (text, expected) in [
            ("2026-12-24T18:00:00Z", 1_798_135_200_000),
            ("2026-12-24T18:00:00+01:00", 1_798_131_600_000),
            ("2026-12-24 18:00:00.250Z", 1_798_135_200_250),
            ("2026-12-24 18:00", 1_798_131_600_000),
            ("2026-12-24T18:00:00", 1_798_131_600_000),
            ("2026-12-24", 1_798_066_800_000),
        ] {
            assert_eq!(parse_point_in(text, &zone), Ok(Time(expected)), "{text}");
        }
        for text in ["", "soon", "18:00", "2026-13-01", "1960-01-01T00:00:00Z"] {
            assert!(parse_point_in(text, &zone).unwrap_err().to_string().contains("like 2026-"), "{text}");
        }
        assert_eq!(show_point_in(Time(1_798_131_600_000), &zone), "2026-12-24 18:00:00");
        assert_eq!(show_point_in(Time::NEVER, &zone), "never");
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_again(millis in 0u64..3_155_760_000_000, bytes: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
    }
}
