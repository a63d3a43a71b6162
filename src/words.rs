//! The one place that formats counts, rates, sizes, durations and points in time for people. Reads no clock. Formats
//! that people write, or that are read back, are in `durations`.

use crate::core::Time;

/// A count with its thousands apart.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: `1 job`, `2 jobs`, `no jobs`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    match n {
        0 => format!("no {many}"),
        1 => format!("1 {one}"),
        n => format!("{} {many}", count(n)),
    }
}

/// A count of jobs.
pub(crate) fn jobs(n: u64) -> String {
    counted(n, "job", "jobs")
}

/// A number to three digits: `7`, `640`, `38.4 k`, `3.84 M`.
pub(crate) fn short(n: f64) -> String {
    let (n, unit) = match n {
        n if n < 999.5 => return format!("{n:.0}"),
        n if n < 999_500.0 => (n / 1e3, "k"),
        n if n < 999_500_000.0 => (n / 1e6, "M"),
        n => (n / 1e9, "G"),
    };
    let digits = if n < 9.995 { 2 } else { usize::from(n < 99.95) };
    format!("{n:.digits$} {unit}")
}

/// How many in a second: `3.84 M/s`.
pub(crate) fn rate(per_second: f64) -> String {
    format!("{}/s", short(per_second))
}

/// A size to three digits: `640 B`, `1.5 KiB`, `117 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut n = bytes as f64 / 1024.0;
    let mut unit = 0;
    while n >= 999.5 && unit + 1 < UNITS.len() {
        n /= 1024.0;
        unit += 1;
    }
    let text = format!("{n:.*}", usize::from(n < 99.95));
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// A span of time as people say it, to its largest two units: `350 ms`, `2 min 5 s`, `3 days`.
pub(crate) fn span(ms: u64) -> String {
    const SECOND: u64 = 1000;
    const MINUTE: u64 = 60 * SECOND;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let two = |large: (u64, &str), small: (u64, &str)| {
        let (n, rest) = (ms / large.0, ms % large.0 / small.0);
        match rest {
            0 => format!("{n} {}", large.1),
            rest => format!("{n} {} {rest} {}", large.1, small.1),
        }
    };
    match ms {
        0..SECOND => format!("{ms} ms"),
        SECOND..10_000 => match ms % SECOND / 100 {
            0 => format!("{} s", ms / SECOND),
            tenths => format!("{}.{tenths} s", ms / SECOND),
        },
        10_000..MINUTE => format!("{} s", ms / SECOND),
        MINUTE..HOUR => two((MINUTE, "min"), (SECOND, "s")),
        HOUR..DAY => two((HOUR, "h"), (MINUTE, "min")),
        DAY..172_800_000 => two((DAY, "day"), (HOUR, "h")),
        DAY.. if ms < 10 * DAY => two((DAY, "days"), (HOUR, "h")),
        _ => format!("{} days", count(ms / DAY)),
    }
}

/// An age to its largest unit, for a column: all of them end at the same place, and none is `-`.
pub(crate) fn age(ms: Option<u64>) -> String {
    const SECOND: u64 = 1_000;
    let Some(ms) = ms else { return format!("{:>6}", "-") };
    let age = match ms {
        0..SECOND => "0 s".to_owned(),
        SECOND..60_000 => format!("{} s", ms / SECOND),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..86_400_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    };
    format!("{age:>6}")
}

/// How far a point in time is from now: `in 2 min`, `just now`, `3 days ago`.
pub(crate) fn when(at: Time, now: Time) -> String {
    match at.0.abs_diff(now.0) {
        0..1000 => "just now".to_owned(),
        left if at > now => format!("in {}", span(left)),
        gone => format!("{} ago", span(gone)),
    }
}

/// For how long something has been so: `for 3 min`, `since just now`.
pub(crate) fn so_far(since: Time, now: Time) -> String {
    match now.0.saturating_sub(since.0) {
        0..1000 => "since just now".to_owned(),
        ms => format!("for {}", span(ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([jobs(0), jobs(1), jobs(2), jobs(1000)], ["no jobs", "1 job", "2 jobs", "1,000 jobs"]);
        let shorts = [0.4, 7.0, 999.4, 999.6, 9_994.0, 38_437.3, 999_700.0, 3_837_344.64, 2e9].map(short);
        assert_eq!(shorts, ["0", "7", "999", "1.00 k", "9.99 k", "38.4 k", "1.00 M", "3.84 M", "2.00 G"]);
        assert_eq!(rate(3_837_344.64), "3.84 M/s");
        let sizes = [0, 1023, 1024, 1536, 1 << 20, 117 << 20, 3 << 30].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1 KiB", "1.5 KiB", "1 MiB", "117 MiB", "3 GiB"]);
    }

    #[test]
    fn spans_are_said_as_people_say_them() {
        for (ms, said) in [
            (0, "0 ms"),
            (400, "400 ms"),
            (1_000, "1 s"),
            (1_234, "1.2 s"),
            (9_999, "9.9 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (125_000, "2 min 5 s"),
            (3_600_000, "1 h"),
            (5_400_000, "1 h 30 min"),
            (86_400_000, "1 day"),
            (90_000_000, "1 day 1 h"),
            (259_200_000, "3 days"),
            (262_800_000, "3 days 1 h"),
            (2_322_323_400, "26 days"),
            (u64::MAX, "213,503,982,334 days"),
        ] {
            assert_eq!(span(ms), said);
        }
    }

    #[test]
    fn points_are_said_from_now() {
        let now = Time(10_000_000);
        let said = [10_000_000, 10_000_400, 9_999_500, 9_995_000, 10_125_000].map(|at| when(Time(at), now));
        assert_eq!(said, ["just now", "just now", "just now", "5 s ago", "in 2 min 5 s"]);
    }
}
