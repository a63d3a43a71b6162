//! The limits of a queue as they are written: counts of which 0 means none, and rates such as `100/s`.

use super::problem::Report;
use super::raw::Section;
use crate::core::Rate;
use crate::durations::parse_duration;
use std::time::Duration;

/// How a rate is written.
const FORM: &str = "a rate such as \"100/s\", \"30/m burst 5\" or \"1/10s\": how many in which time, and how many of them at once";

/// A count, or that there is none; `None` if nothing is written.
pub(super) fn limit(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
) -> Option<Option<u32>> {
    let limit = section.count(report, key, 0..=u64::from(u32::MAX))? as u32; // within u32 by its bounds
    Some((limit > 0).then_some(limit))
}

/// A rate, or that there is none; `None` if nothing is written, or no rate.
pub(super) fn rate(
    section: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
) -> Option<Option<Rate>> {
    let text = section.text(report, key)?;
    parse_rate(text).map_err(|message| section.fault(report, key, message)).ok()
}

/// Reads a rate: `COUNT/TIME [burst COUNT]`, where TIME is a unit or a duration; `none` for no limit.
///
/// # Errors
/// It is none; for people.
pub fn parse_rate(text: &str) -> Result<Option<Rate>, String> {
    if text.trim() == "none" {
        return Ok(None);
    }
    let bad = || format!("`{}` is not {FORM}; or \"none\"", text.escape_debug());
    let words: Vec<&str> = text.split_whitespace().collect();
    let (rate, burst) = match words[..] {
        [rate] => (rate, None),
        [rate, "burst", burst] => (rate, Some(number(burst).ok_or_else(bad)?)),
        _ => return Err(bad()),
    };
    let (count, time) = rate.split_once('/').ok_or_else(bad)?;
    let per = match time {
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3_600),
        "d" => Duration::from_secs(86_400),
        time => parse_duration(time).map_err(|_| bad())?,
    };
    let count = number(count).ok_or_else(bad)?;
    Rate::new(count, per, burst).map(Some).ok_or_else(|| {
        format!(
            "`{}` is not possible: counts go from 1 to {}, times from 1ms to 366d; pause the queue to stop it",
            text.escape_debug(),
            Rate::COUNT_MAX
        )
    })
}

fn number(text: &str) -> Option<u32> {
    text.replace('_', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_they_are_shown() {
        for text in [
            "100/s",
            "5/100ms",
            "10/1500ms",
            "30/m burst 5",
            "7/d",
            "1/5s",
            "2/h burst 3",
            "1000000/s burst 1",
        ] {
            assert_eq!(parse_rate(text).unwrap().unwrap().to_string(), text);
        }
        assert_eq!(parse_rate("1_000/min").unwrap().unwrap().to_string(), "1000/m");
        assert_eq!(parse_rate(" none "), Ok(None));
    }

    #[test]
    fn what_is_no_rate_is_told() {
        for text in
            ["", "100", "100/", "/s", "100/s burst", "100/s burst x", "100 / s", "-1/s", "1/month", "1/s 5"]
        {
            let error = parse_rate(text).unwrap_err();
            assert!(error.contains("is not a rate such as"), "{text}: {error}");
        }
        for text in ["0/s", "1/s burst 0", "1000001/s", "1/0s", "1/400d"] {
            let error = parse_rate(text).unwrap_err();
            assert!(error.contains("is not possible"), "{text}: {error}");
        }
    }
}
