//! The last lines that a job has printed, put together of the pieces in which they come, and cleaned: nothing that a job
//! prints reaches the terminal but text. It must not know where the pieces come from, nor how wide the screen is.

use crate::cli::output::safe;
use std::collections::{BTreeMap, VecDeque};
use unicode_width::UnicodeWidthChar;

/// How many lines are kept.
const LINES_MAX: usize = 1_000;
/// How long a line may be, in bytes; what is longer goes on in the next one.
const LINE_MAX: usize = 400;
/// Where tabs lead.
const TAB: usize = 8;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of standard output.
    Said,
    /// Of standard error.
    Complained,
    /// Which attempt follows.
    Attempt,
}

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Tail {
    lines: VecDeque<(Kind, String)>,
    /// What has not ended yet of each stream.
    open: BTreeMap<u8, Vec<u8>>,
    attempt: Option<u32>,
}

impl Tail {
    /// Takes a piece.
    pub(super) fn push(&mut self, attempt: u32, stream: u8, data: &[u8]) {
        if self.attempt != Some(attempt) {
            self.end();
            if self.attempt.replace(attempt).is_some() || attempt > 1 {
                self.add(Kind::Attempt, format!("attempt {attempt}"));
            }
        }
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            let open = self.open.entry(stream).or_default();
            open.extend_from_slice(part);
            if part.ends_with(b"\n") || open.len() > LINE_MAX {
                let line = std::mem::take(open);
                self.close(stream, &line);
            }
        }
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        for (stream, line) in std::mem::take(&mut self.open) {
            if !line.is_empty() {
                self.close(stream, &line);
            }
        }
    }

    /// How many lines there are.
    pub(super) fn len(&self) -> usize {
        self.lines.len() + self.open.values().filter(|line| !line.is_empty()).count()
    }

    /// The lines up to one of them, the last first.
    pub(super) fn back_from(&self, end: usize) -> impl Iterator<Item = (Kind, String)> + '_ {
        let open = self.open.iter().filter(|(_, line)| !line.is_empty());
        let open = open.map(|(stream, line)| (kind(*stream), clean(line)));
        let all = self.lines.iter().cloned().chain(open.collect::<Vec<_>>());
        let all: Vec<_> = all.take(end).collect();
        all.into_iter().rev()
    }

    fn close(&mut self, stream: u8, line: &[u8]) {
        let mut rest = line.strip_suffix(b"\n").unwrap_or(line);
        loop {
            let (piece, more) = rest.split_at(cut_at(rest));
            self.add(kind(stream), clean(piece));
            rest = more;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn add(&mut self, kind: Kind, text: String) {
        self.lines.push_back((kind, text));
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }
}

fn kind(stream: u8) -> Kind {
    if stream == 1 { Kind::Said } else { Kind::Complained }
}

/// Where a line is cut that is too long: not within a character.
fn cut_at(line: &[u8]) -> usize {
    if line.len() <= LINE_MAX {
        return line.len();
    }
    let within = |at: &usize| line[*at] & 0b1100_0000 == 0b1000_0000;
    (LINE_MAX - 3..=LINE_MAX).rev().find(|at| !within(at)).unwrap_or(LINE_MAX)
}

/// A line as it is shown: of what a job has written over itself the last, without colours and the like, and with all else
/// that a terminal would act on made visible.
pub(super) fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\r');
    let text = text.rsplit('\r').next().unwrap_or(text);
    let (mut out, mut width, mut rest) = (String::with_capacity(text.len()), 0, text.chars());
    while let Some(c) = rest.next() {
        match c {
            '\t' => {
                let wide = TAB - width % TAB;
                out.extend(std::iter::repeat_n(' ', wide));
                width += wide;
            }
            '\x1b' if rest.as_str().starts_with('[') => rest = after_control(rest.as_str()).chars(),
            '\x1b' if rest.as_str().starts_with(']') => rest = after_command(rest.as_str()).chars(),
            c => {
                let shown = safe(c.encode_utf8(&mut [0; 4]));
                width += shown.chars().filter_map(UnicodeWidthChar::width).sum::<usize>();
                out += &shown;
            }
        }
    }
    out
}

/// What follows a control sequence (ECMA-48, 5.4), such as that of a colour.
fn after_control(text: &str) -> &str {
    let end = text[1..].find(|c| !(' '..='?').contains(&c)).map(|at| 1 + at);
    match end {
        Some(end) if text[end..].starts_with(|c| ('@'..='~').contains(&c)) => &text[end + 1..],
        Some(end) => &text[end..],
        None => "",
    }
}

/// What follows an operating system command, such as that of a title.
fn after_command(text: &str) -> &str {
    match (text.find('\x07'), text.find("\x1b\\")) {
        (Some(bell), end) if end.is_none_or(|end| bell < end) => &text[bell + 1..],
        (_, Some(end)) => &text[end + 2..],
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(tail: &Tail) -> Vec<String> {
        let mut lines: Vec<_> = tail.back_from(usize::MAX).map(|(_, text)| text).collect();
        lines.reverse();
        lines
    }

    #[test]
    fn lines_are_shown_as_a_terminal_would_without_its_being_told_anything() {
        for (line, as_shown) in [
            (&b"plain"[..], "plain"),
            (b"\x1b[1;31mred\x1b[0m and not", "red and not"),
            (b"10 %\r50 %\r100 %\r", "100 %"),
            (b"a\tb", "a       b"),
            (b"\x1b]0;title\x07text\x1b]2;more\x1b\\!", "text!"),
            (b"\x1b]0;without an end", ""),
            (b"\x1b[12", ""),
            (b"\x1bc\x07\x9b", "\\u{1b}c\\u{7}\u{fffd}"),
            ("\u{202e}evil\u{9b}2J".as_bytes(), "\\u{202e}evil\\u{9b}2J"),
            ("日本\tx".as_bytes(), "日本    x"),
        ] {
            assert_eq!(clean(line), as_shown, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn lines_come_together_of_pieces_and_streams_are_kept_apart() {
        let mut tail = Tail::default();
        for (attempt, stream, data) in
            [(1, 1, "one\ntw"), (1, 2, "bad\n"), (1, 1, "o\nth"), (2, 1, "again\n"), (2, 1, "en")]
        {
            tail.push(attempt, stream, data.as_bytes());
        }
        assert_eq!(shown(&tail), ["one", "bad", "two", "th", "attempt 2", "again", "en"]);
        assert_eq!(tail.len(), 7);
        let kinds: Vec<_> = tail.back_from(2).map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Complained, Kind::Said]);
        tail.end();
        assert_eq!((tail.len(), shown(&tail).last().map(String::as_str)), (7, Some("en")));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut tail = Tail::default();
        tail.push(1, 1, "ü".repeat(100_000).as_bytes());
        tail.push(1, 1, "\n".repeat(2 * LINES_MAX).as_bytes());
        assert_eq!(tail.len(), LINES_MAX);
        let mut tail = Tail::default();
        tail.push(1, 1, "ü".repeat(1_000).as_bytes());
        assert!(shown(&tail).iter().all(|line| line.len() <= LINE_MAX && !line.contains('\u{fffd}')));
        assert_eq!(shown(&tail).concat().chars().count(), 1_000);
    }

    proptest! {
        #[test]
        fn nothing_but_text_comes_through(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(!clean(&line).chars().any(crate::telemetry::is_trick));
        }
    }
}
