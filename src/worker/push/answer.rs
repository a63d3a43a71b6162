//! What an answer means for a job, and what people are told of it. Pure: the time is passed in.

use crate::protocol::Verdict;
use crate::views::{StatusMeaning, StatusRule};
use crate::worker::excerpt::excerpt;
use hyper::StatusCode;
use hyper::header::{HeaderMap, LOCATION, RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;

/// The wait that a server may ask for, in milliseconds: one of no length would ask it again at once.
const WAIT_MIN: u64 = 1_000;
const WAIT_MAX: u64 = 86_400_000;

/// The head of an answer, and how its body begins.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    /// `now` is in milliseconds since 1970.
    pub(super) fn verdict(&self, rules: &[StatusRule], now: u64) -> Verdict {
        let wait = self.header(&RETRY_AFTER).and_then(|text| wait_ms(text, now));
        let (error, exit) = (self.text(), None);
        match (meaning(self.status.as_u16(), rules), wait) {
            (StatusMeaning::Done, _) => Verdict::Complete,
            (StatusMeaning::Failed, Some(wait_ms)) => Verdict::FailRetryAfter { error, exit, wait_ms },
            (StatusMeaning::Failed, None) => Verdict::Fail { error, exit },
            (StatusMeaning::Later, wait_ms) => Verdict::Later { error, wait_ms },
            (StatusMeaning::Dead, _) => Verdict::FailDead { error, exit },
        }
    }

    /// Nothing for what is no text.
    fn header(&self, name: &hyper::header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    fn text(&self) -> String {
        let mut text = format!("answered {}", self.status.as_u16());
        if let Some(reason) = self.status.canonical_reason() {
            text = format!("{text} {reason}");
        }
        if self.status.is_redirection()
            && let Some(location) = self.header(&LOCATION)
        {
            return format!("{text}, which points to {}; redirects are not followed", excerpt(location));
        }
        let line = self.body.split(|byte| *byte == b'\n').next().unwrap_or_default();
        match excerpt(&String::from_utf8_lossy(line)) {
            line if line.is_empty() => text,
            line => format!("{text}: {line}"),
        }
    }
}

/// Whether an answer of this status says that the job is done.
pub(super) fn is_done(status: StatusCode, rules: &[StatusRule]) -> bool {
    meaning(status.as_u16(), rules) == StatusMeaning::Done
}

/// A status that is named decides before a range in which it lies, and each of them before what is usual.
fn meaning(status: u16, rules: &[StatusRule]) -> StatusMeaning {
    let rule = |single: bool| {
        let fits = |rule: &&StatusRule| {
            (rule.first == rule.last) == single && (rule.first..=rule.last).contains(&status)
        };
        rules.iter().find(fits).map(|rule| rule.means)
    };
    let usual = match status {
        200..=299 => return StatusMeaning::Done,
        429 | 503 => Some(StatusMeaning::Later),
        410 => Some(StatusMeaning::Dead),
        _ => None,
    };
    rule(true).or_else(|| rule(false)).or(usual).unwrap_or(StatusMeaning::Failed)
}

/// `Retry-After`: seconds, or a date.
fn wait_ms(text: &str, now: u64) -> Option<u64> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // What does not fit is long enough.
        text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1_000)
    } else {
        let date = DateTimeParser::new().parse_timestamp(text).ok()?.as_millisecond();
        u64::try_from(date).ok()?.saturating_sub(now)
    };
    Some(wait.clamp(WAIT_MIN, WAIT_MAX))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
