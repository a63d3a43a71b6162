//! Keeps events that happen thousands of times from flooding the log: only so many lines are logged in a time span, the
//! others are counted, and the count is logged when the span is over. It reads no clock.

use crate::core::Time;
use std::time::Duration;

/// How long a span is.
pub const SPAN: Duration = Duration::from_secs(10);
/// How many lines are logged in one.
pub const LINES: u32 = 100;

/// What to do with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Say it.
    Say,
    /// Do not; it is the first one, so say that there are more.
    HoldBackFirst,
    /// Do not.
    HoldBack,
}

/// Lines of one kind.
#[derive(Debug, Default)]
pub struct Flood {
    since: Time,
    said: u32,
    held_back: u64,
}

impl Flood {
    /// A line comes up.
    pub fn line(&mut self, now: Time) -> Line {
        if now.since(self.since) >= SPAN && self.held_back == 0 {
            *self = Flood { since: now, ..Flood::default() };
        }
        if self.said < LINES {
            self.said += 1;
            return Line::Say;
        }
        self.held_back += 1;
        if self.held_back == 1 { Line::HoldBackFirst } else { Line::HoldBack }
    }

    /// Whether a count is still to be said.
    pub fn is_holding_back(&self) -> bool {
        self.held_back > 0
    }

    /// How many lines were held back in a span that is over now; a new one begins.
    pub fn over(&mut self, now: Time) -> Option<u64> {
        let over = self.held_back > 0 && now.since(self.since) >= SPAN;
        over.then(|| std::mem::take(self).held_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_lines_are_said_and_the_others_counted_until_the_span_is_over() {
        let (mut flood, start) = (Flood::default(), Time(1_000_000));
        for round in [0, 20_000] {
            let now = Time(start.0 + round);
            let lines: Vec<Line> = (0..103).map(|_| flood.line(now)).collect();
            assert!(lines[..100].iter().all(|line| *line == Line::Say));
            assert_eq!(lines[100..], [Line::HoldBackFirst, Line::HoldBack, Line::HoldBack]);
            assert_eq!(flood.over(now.plus(SPAN - Duration::from_millis(1))), None);
            assert_eq!(flood.line(now.plus(SPAN)), Line::HoldBack, "before the count was said");
            assert_eq!(flood.over(now.plus(SPAN)), Some(4));
            assert_eq!(flood.over(now.plus(SPAN)), None, "it is said once");
        }
    }

    #[test]
    fn few_lines_are_all_said_however_long_it_goes_on() {
        let mut flood = Flood::default();
        for second in 0..1_000 {
            let now = Time(second * 1_000);
            assert_eq!((flood.line(now), flood.over(now)), (Line::Say, None));
        }
    }
}
