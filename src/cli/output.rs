//! What verbs print: tables for people, JSON lines for scripts. Text that comes from jobs is escaped, so that no
//! job can play tricks with a terminal.

use crate::clock;
use crate::core::Time;
use crate::telemetry::events::is_trick;
use serde::Serialize;
use std::io::{self, Write};

/// Prints one object as a line of JSON.
pub(super) fn json<T: Serialize>(value: &T) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    out.write_all(b"\n")
}

/// Prints a line.
pub(super) fn line(text: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// Prints the id of a job that was submitted.
pub(super) fn submitted(id: u64, as_json: bool) -> io::Result<()> {
    if as_json { json(&serde_json::json!({ "id": id, "new": true })) } else { line(&id.to_string()) }
}

/// Prints a table: columns that look like numbers to the right, others to the left.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let numeric = |column: usize| {
        let digit = |c: char| c.is_ascii_digit() || c == ',' || c == '-';
        !rows.is_empty() && rows.iter().all(|row| row[column].chars().all(digit))
    };
    let columns: Vec<(usize, bool)> =
        (0..head.len()).map(|column| (width(column), numeric(column))).collect();
    let mut out = io::stdout().lock();
    let mut write = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (cell, (width, right)) in cells.zip(&columns) {
            let gap = " ".repeat(width - cell.chars().count());
            text += &if *right { format!("{gap}{cell}  ") } else { format!("{cell}{gap}  ") };
        }
        writeln!(out, "{}", text.trim_end())
    };
    write(&mut head.iter().copied())?;
    rows.iter().try_for_each(|row| write(&mut row.iter().map(String::as_str)))
}

/// A count with its thousands apart.
pub(super) fn count(n: u64) -> String {
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

/// A span of time, to its largest two units.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..10 => format!("{}.{} s", s, ms % 1000 / 100),
        10..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86400, s % 86400 / 3600),
    }
}

/// A point in time, as people see it from now.
pub(super) fn when(at_ms: u64) -> String {
    let (now, at) = (clock::wall(), Time(at_ms));
    if at > now { format!("in {}", span(at.0 - now.0)) } else { format!("{} ago", span(now.0 - at.0)) }
}

/// Text from outside, with everything that a terminal would act on made visible.
pub(super) fn safe(text: &str) -> String {
    text.chars().map(|c| if is_trick(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([count(7), count(1234), count(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!([span(1234), span(61_000), span(90_000_000)], ["1.2 s", "1 min 1 s", "1 d 1 h"]);
    }

    #[test]
    fn a_terminal_is_not_told_what_to_do_by_a_job() {
        assert_eq!(safe("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(safe("\u{9b}31m \u{202e}evil\u{2069}"), "\\u{9b}31m \\u{202e}evil\\u{2069}");
    }
}
