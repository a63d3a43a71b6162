//! Cuts what a connection has sent into requests: lines, and the bodies behind those of `put`. What is wrong with the form is a request as
//! well, for an answer in its turn. It knows how long bodies may be, and nothing else of the server.

use super::line::{self, Bad, Command, LINE_MAX, Put, longest};
use super::tags::{self, More};
use super::words;
use crate::server::FREE;
use bytes::{Buf, Bytes, BytesMut};

/// What is read next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// A line, whose end is not among so many bytes.
    Line(usize),
    /// The rest of a line that is too long, up to its end; and how long the body is that follows, if it is one that is thrown away.
    RestOfLine(Option<u32>),
    /// A body that is not taken, of which so many bytes are left, with those behind it; and what is said then.
    LostBody(u64, &'static str),
}

impl Default for Reading {
    fn default() -> Reading {
        Reading::Line(0)
    }
}

/// A request as it is cut off the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A command, with the body of a job if it is a put.
    Do(Command, Bytes),
    /// Nothing but an answer in its turn.
    Say(&'static str),
    /// The same to a put, of which the job is not taken.
    NoJob(&'static str),
}

impl Request {
    fn of(command: Command) -> Request {
        Request::Do(command, Bytes::new())
    }
}

/// Takes the next request off the front of `buffer`; `None` if it has not come in full. Bodies may have so many bytes. A `quit` stays
/// where it is.
pub(super) fn take(reading: &mut Reading, buffer: &mut BytesMut, body_max: usize) -> Option<Request> {
    loop {
        match reading {
            Reading::LostBody(left, word) => {
                let here = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                buffer.advance(here);
                *left -= here as u64;
                if *left > 0 {
                    return None;
                }
                let word = *word;
                *reading = Reading::default();
                return Some(Request::NoJob(word));
            }
            Reading::RestOfLine(body) => {
                let Some(end) = end_of_line(buffer, 0) else {
                    // The last byte may be the first of the end.
                    buffer.advance(buffer.len().saturating_sub(1));
                    return None;
                };
                buffer.advance(end);
                if let Some(body) = *body {
                    *reading = Reading::LostBody(u64::from(body) + 2, words::BAD_FORMAT);
                    continue;
                }
                *reading = Reading::default();
                return Some(Request::Say(words::BAD_FORMAT));
            }
            Reading::Line(seen) => {
                let most = longest(buffer);
                let Some(end) = end_of_line(&buffer[..buffer.len().min(most)], *seen) else {
                    if buffer.len() < most {
                        *seen = buffer.len();
                        return None;
                    }
                    *reading = Reading::RestOfLine(tags::lost_body(&buffer[..most]));
                    continue;
                };
                *seen = 0;
                match line::parse(&buffer[..end - 2]) {
                    Err(bad) => {
                        buffer.advance(end);
                        return Some(Request::Say(match bad {
                            Bad::Format => words::BAD_FORMAT,
                            Bad::Unknown => words::UNKNOWN_COMMAND,
                        }));
                    }
                    Ok(Command::Put(put)) if put.body as usize > body_max => {
                        buffer.advance(end);
                        *reading = Reading::LostBody(u64::from(put.body) + 2, words::JOB_TOO_BIG);
                    }
                    Ok(Command::Put(Put { more: More::Unknown, .. })) => {
                        buffer.advance(end);
                        return Some(Request::NoJob(words::BAD_FORMAT));
                    }
                    Ok(Command::Put(Put { more: More::NotTaken, body, .. })) => {
                        buffer.advance(end);
                        *reading = Reading::LostBody(u64::from(body) + 2, words::BAD_FORMAT);
                    }
                    Ok(Command::Put(put)) => return take_put(put, buffer, end),
                    Ok(Command::Quit) => return Some(Request::of(Command::Quit)),
                    Ok(command) => {
                        buffer.advance(end);
                        return Some(Request::of(command));
                    }
                }
            }
        }
    }
}

/// A put whose line ends there.
fn take_put(put: Put, buffer: &mut BytesMut, end: usize) -> Option<Request> {
    let len = put.body as usize;
    if buffer.len() < end + len + 2 {
        return None;
    }
    buffer.advance(end);
    let body = buffer.split_to(len);
    let is_ended = buffer.starts_with(b"\r\n");
    buffer.advance(2);
    if !is_ended {
        return Some(Request::NoJob(words::EXPECTED_CRLF));
    }
    // A short one gets memory of its own: it may stay for long, and must not keep all that was read with it.
    let body = if len <= FREE { Bytes::copy_from_slice(&body) } else { body.freeze() };
    Some(Request::Do(Command::Put(put), body))
}

/// How many bytes the request at the front takes in all, if that is known.
pub(super) fn len(reading: Reading, buffer: &[u8], body_max: usize) -> Option<usize> {
    let Reading::Line(seen) = reading else { return Some(buffer.len().min(LINE_MAX)) };
    let most = longest(buffer);
    let Some(end) = end_of_line(&buffer[..buffer.len().min(most)], seen) else { return Some(most) };
    match line::parse(&buffer[..end - 2]) {
        Ok(Command::Put(put)) if put.body as usize <= body_max => Some(end + put.body as usize + 2),
        _ => Some(end),
    }
}

/// Where the first line ends, behind its end, which is not among the bytes that were seen.
fn end_of_line(buffer: &[u8], seen: usize) -> Option<usize> {
    // The last of them may be the first of the end.
    let from = seen.saturating_sub(1).min(buffer.len());
    buffer[from..].windows(2).position(|two| two == b"\r\n").map(|at| from + at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All requests of a stream that comes in pieces of so many bytes, up to a quit.
    fn requests(stream: &[u8], piece: usize) -> Vec<Request> {
        let (mut reading, mut buffer, mut all) = (Reading::default(), BytesMut::new(), Vec::new());
        for piece in stream.chunks(piece) {
            buffer.extend_from_slice(piece);
            while let Some(request) = take(&mut reading, &mut buffer, 9) {
                let quits = request == Request::of(Command::Quit);
                all.push(request);
                if quits {
                    return all;
                }
            }
        }
        all
    }

    fn said(stream: &[u8]) -> Vec<String> {
        let say = |request: &Request| match request {
            Request::Do(command, body) => format!("{} {}", command.name(), String::from_utf8_lossy(body)),
            Request::Say(text) | Request::NoJob(text) => text.trim_end().to_owned(),
        };
        let whole: Vec<String> = requests(stream, usize::MAX >> 1).iter().map(say).collect();
        for piece in [1, 2, 3, 100, 225] {
            let cut: Vec<String> = requests(stream, piece).iter().map(say).collect();
            assert_eq!(cut, whole, "in pieces of {piece}");
        }
        whole
    }

    #[test]
    fn streams_are_cut_into_requests_however_they_come() {
        let long = "x".repeat(300);
        for (stream, expected) in [
            ("put 0 0 1 3\r\nabc\r\nstats\r\n", &["put abc", "stats "][..]),
            ("put 0 0 1 0\r\n\r\n", &["put "]),
            ("put 0 0 1 4\r\n\r\n\r\n\r\n", &["put \r\n\r\n"]),
            ("put 0 0 1 2\r\nabc\r\nstats\r\n", &["EXPECTED_CRLF", "UNKNOWN_COMMAND"]),
            ("put 0 0 1 10\r\n0123456789\r\nstats\r\n", &["JOB_TOO_BIG", "stats "]),
            ("put 0 0 1 10 x\r\n0123456789\r\n", &["JOB_TOO_BIG"]),
            ("put 0 0 1 2 x\r\nstats\r\n", &["BAD_FORMAT", "stats "]),
            ("put 0 0 1 2 idp:k\r\nab\r\nstats\r\n", &["put ab", "stats "]),
            ("put 0 0 1 7 idp:k grp:g\r\nquit\r\n.\r\nstats\r\n", &["BAD_FORMAT", "stats "]),
            ("put 0 0 1 7 idp:a\0b\r\nstats\r\n\r\nquit\r\n", &["BAD_FORMAT", "quit "]),
            ("put 4294967296 0 1 7 idp:a\r\nstats\r\n\r\nquit\r\n", &["BAD_FORMAT", "quit "]),
            ("put 0 0 1 7\tidp:a\r\nstats\r\n\r\nquit\r\n", &["BAD_FORMAT", "quit "]),
            (
                &format!("put 0 0 1 7 idp:{}\r\nstats\r\n\r\nquit\r\n", "k".repeat(1_100)),
                &["BAD_FORMAT", "quit "],
            ),
            (&format!("put 0 0 1 2 con:{}\r\nab\r\n", "k".repeat(200)), &["put ab"]),
            (
                &format!("delete-batch {}\r\nstats\r\n", "18446744073709551615 ".repeat(1000).trim_end()),
                &["delete-batch ", "stats "],
            ),
            (&format!("delete-batch {}\r\nstats\r\n", "1".repeat(21_100)), &["BAD_FORMAT", "stats "]),
            ("stats\nstats\r\nstats\r\n", &["BAD_FORMAT", "stats "]),
            ("quit\r\nstats\r\n", &["quit "]),
            (&format!("{long}\r\nstats\r\n"), &["BAD_FORMAT", "stats "]),
            (&format!("use {}\r\nstats\r\n", "x".repeat(218)), &["BAD_FORMAT", "stats "]),
        ] {
            assert_eq!(said(stream.as_bytes()), expected, "{stream:?}");
        }
    }

    #[test]
    fn how_long_a_request_is_is_known_once_its_line_is_there() {
        assert_eq!(len(Reading::default(), b"put 0 0 1 3\r\nab", 9), Some(18));
        assert_eq!(
            len(Reading::default(), b"put 0 0 1 10\r\nab", 9),
            Some(14),
            "it is thrown away as it comes"
        );
        assert_eq!(len(Reading::default(), b"stats", 9), Some(LINE_MAX));
        assert_eq!(len(Reading::LostBody(1 << 40, words::JOB_TOO_BIG), b"abc", 9), Some(3));
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_alike_in_any_pieces(parts in prop::collection::vec(part(), 0..12), piece in 1usize..40) {
            let stream = parts.concat();
            prop_assert_eq!(requests(&stream, piece), requests(&stream, usize::MAX >> 1));
        }
    }

    fn part() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"\r\n".to_vec()),
            Just(b"put 0 0 1 5\r\n".to_vec()),
            Just(b"put 0 0 1 50\r\n".to_vec()),
            Just(b"put 0 0 1 5 idp:k\r\n".to_vec()),
            Just(b"put 0 0 1 5 grp:g\r\n".to_vec()),
            Just(b"delete-batch 1 2 3\r\n".to_vec()),
            Just(b"delete 7\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..300),
            prop::collection::vec(prop::sample::select(b"\r\n x".to_vec()), 0..9),
        ]
    }
}
