//! What verbs print: tables for people, JSON lines for scripts. Text that comes from jobs is escaped, so that no
//! job can control a terminal.

use super::table::{Layout, wrap};
use crate::client::Receipts;
use crate::clock;
use crate::core::Time;
use crate::durations::show_point;
use crate::protocol::{Receipt, Received};
use crate::telemetry::is_trick;
use crate::words;
pub(super) use crate::words::count;
use nix::unistd::{Uid, User};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

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

/// Prints the id of a job that was submitted, or of the one that holds its unique key; returns it.
pub(super) fn submitted(receipts: &Receipts, as_json: bool) -> io::Result<u64> {
    match receipts.iter().next() {
        Some(receipt) => submitted_one(receipt, as_json),
        None => Err(io::Error::other("the daemon has answered for no job")),
    }
}

/// The same of one of several.
pub(super) fn submitted_one(Receipt { id, what }: Receipt, as_json: bool) -> io::Result<u64> {
    let is_new = what == Received::New;
    if as_json {
        let mut said = serde_json::json!({ "id": id, "new": is_new });
        if !is_new {
            said["changed"] = (what == Received::Changed).into();
        }
        json(&said)?;
    } else {
        if !is_new && io::stderr().is_terminal() {
            let change = if what == Received::Changed { ", and was changed" } else { "" };
            eprintln!("musher: job {id} holds the unique key already{change}; no new one was submitted");
        }
        line(&id.to_string())?;
    }
    Ok(id)
}

/// Prints a text that ends its own lines.
pub(super) fn text(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}

/// Prints a table as wide as the terminal; whole if there is none. Where there is no room for all columns, the optional
/// ones are left out, the first first.
pub(super) fn table_without(head: &[&str], rows: &[Vec<String>], optional: &[&str]) -> io::Result<()> {
    let layout = Layout::new(head, rows, optional, terminal_width());
    let mut out = io::stdout().lock();
    layout.lines(head, rows).try_for_each(|line| writeln!(out, "{line}"))?;
    match layout.left_out(head) {
        missing if missing.is_empty() => Ok(()),
        missing => {
            let note = format!("(no room for {}: see --json, or a wider terminal)", missing.join(", "));
            let width = terminal_width().unwrap_or(usize::MAX);
            wrap(&note, width).iter().try_for_each(|line| writeln!(out, "{line}"))
        }
    }
}

/// Prints lines of a name and a text, which goes on below itself where the terminal ends.
pub(super) fn facts(facts: &[(&str, String)]) -> io::Result<()> {
    let indent = 2 + facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = io::stdout().lock();
    for (name, text) in facts {
        let room = terminal_width().map_or(usize::MAX, |width| width.saturating_sub(indent).max(20));
        let mut name = *name;
        for line in wrap(text, room) {
            writeln!(out, "{name:<indent$}{line}")?;
            name = "";
        }
    }
    Ok(())
}

/// How wide the terminal is to which we print; `None` if it is none.
pub(super) fn terminal_width() -> Option<usize> {
    let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
    Some(usize::from(width.0)).filter(|width| *width > 0)
}

/// A point in time, as people see it from now.
pub(super) fn when(at_ms: u64) -> String {
    words::when(Time(at_ms), clock::wall())
}

/// A point in time in local time, and how far it is from now: `2026-12-24 18:00:00, 3 days ago`.
pub(super) fn point(at_ms: u64) -> String {
    format!("{}, {}", show_point(Time(at_ms)), when(at_ms))
}

/// A user's name and number.
pub(super) fn user(uid: u32) -> String {
    let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
    name.map_or_else(|| format!("user {uid}"), |name| format!("{} ({uid})", safe(&name)))
}

/// Text from outside, with everything that a terminal would act on made visible.
pub(super) fn safe(text: &str) -> String {
    text.chars().map(|c| if is_trick(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_not_told_what_to_do_by_a_job() {
        assert_eq!(safe("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(safe("\u{9b}31m \u{202e}evil\u{2069}"), "\\u{9b}31m \\u{202e}evil\\u{2069}");
    }
}
