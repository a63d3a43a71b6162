//! Tables: what statuses mean, what `Retry-After` says, and what people are told.

use super::*;
use crate::worker::excerpt;
use hyper::header::HeaderValue;

/// 1994-11-06, 08:49:37 UTC: the example of RFC 9110.
const NOW: u64 = 784_111_777_000;

fn rule(first: u16, last: u16, means: StatusMeaning) -> StatusRule {
    StatusRule { first, last, means }
}

#[test]
fn the_narrowest_rule_decides_and_each_before_what_is_usual() {
    use StatusMeaning::{Dead, Done, Failed, Later};
    let rules = [rule(400, 499, Dead), rule(404, 404, Done), rule(503, 503, Failed)];
    let table = [
        (200, Done, Done),
        (204, Done, Done),
        (302, Failed, Failed),
        (400, Failed, Dead),
        (404, Failed, Done),
        (410, Dead, Dead),
        (429, Later, Dead),
        (500, Failed, Failed),
        (503, Later, Failed),
        (599, Failed, Failed),
    ];
    for (status, usual, by_rules) in table {
        assert_eq!((meaning(status, &[]), meaning(status, &rules)), (usual, by_rules), "{status}");
    }
}

#[test]
fn a_wait_is_seconds_or_a_date_within_bounds() {
    let table = [
        ("120", Some(120_000)),
        (" 7 ", Some(7_000)),
        ("0", Some(WAIT_MIN)),
        ("99999999999999999999999999", Some(WAIT_MAX)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60_000)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(WAIT_MIN)),
        ("Sat, 05 Nov 1994 08:49:37 GMT", Some(WAIT_MIN)),
        ("Sun, 06 Nov 2044 08:49:37 GMT", Some(WAIT_MAX)),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
    ];
    for (text, expected) in table {
        assert_eq!(wait_ms(text, NOW), expected, "{text}");
    }
}

fn verdict(status: u16, header: Option<(&'static str, &'static str)>, body: &[u8]) -> Verdict {
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Answer { status: StatusCode::from_u16(status).unwrap(), headers: &headers, body }.verdict(&[], NOW)
}

fn failed(error: &str) -> Verdict {
    Verdict::Fail { error: error.into(), exit: None }
}

#[test]
fn an_answer_is_a_verdict_with_words_that_harm_nobody() {
    assert_eq!(verdict(204, Some(("retry-after", "5")), b"fine"), Verdict::Complete);
    assert_eq!(
        verdict(500, None, b"no\x1b[2J\x07 \nmore"),
        failed("answered 500 Internal Server Error: no[2J")
    );
    assert_eq!(
        verdict(500, None, b"\xff\xfe"),
        failed("answered 500 Internal Server Error: \u{fffd}\u{fffd}")
    );
    assert_eq!(verdict(599, None, b""), failed("answered 599"));
    let long = format!("answered 404 Not Found: {}…", "é".repeat(excerpt::MAX));
    assert_eq!(verdict(404, None, "é".repeat(1_000).as_bytes()), failed(&long));
    let pointed = "answered 301 Moved Permanently, which points to /there; redirects are not followed";
    assert_eq!(verdict(301, Some(("location", "/there")), b"<html>"), failed(pointed));
    let error = "answered 500 Internal Server Error".to_owned();
    let after = Verdict::FailRetryAfter { error, exit: None, wait_ms: 5_000 };
    assert_eq!(verdict(500, Some(("retry-after", "5")), b""), after);
    let later = |wait_ms| Verdict::Later { error: "answered 429 Too Many Requests".into(), wait_ms };
    assert_eq!(verdict(429, None, b""), later(None));
    assert_eq!(verdict(429, Some(("retry-after", "60")), b""), later(Some(60_000)));
    let dead = Verdict::FailDead { error: "answered 410 Gone".into(), exit: None };
    assert_eq!(verdict(410, None, b""), dead);
}
