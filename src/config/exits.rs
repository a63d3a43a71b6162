//! What ends of processes mean in a queue, as it is written: exit statuses, ranges of them and signals, each with a word.

use super::problem::Report;
use super::raw::Section;
use crate::core::{ExitMeaning, Exits, OnExit};
use signal_hook::low_level::signal_name;
use std::fmt::Write;

/// The words for what an end means.
pub(super) const MEANINGS: [(&str, ExitMeaning); 4] = [
    ("done", ExitMeaning::Done),
    ("failed", ExitMeaning::Failed),
    ("later", ExitMeaning::Later),
    ("dead", ExitMeaning::Dead),
];
/// Any signal.
const ANY_SIGNAL: &str = "signal";
const SIGNAL_MAX: u8 = 64;
const FORM: &str = "write an exit status such as \"75\", a range such as \"3-9\", a signal such as \"SIGKILL\", or \"signal\" for any";

/// The table `on_exit` of a queue.
pub(super) fn on_exit(section: &mut Section<'_>, report: &mut Report<'_>) -> OnExit {
    let table = section.section(report, "on_exit");
    let mut rules: Vec<(Exits, ExitMeaning)> = Vec::new();
    for (key, meaning) in table.words(report, &MEANINGS) {
        match exits(key) {
            Ok(exits) => match rules.iter().find(|(other, _)| is_unclear(*other, exits)) {
                None => rules.push((exits, meaning)),
                Some((other, _)) => {
                    let (one, other) = (shown(exits), shown(*other));
                    table.fault(
                        report,
                        key,
                        format!("{one} and {other} overlap: which of them holds is not clear"),
                    );
                }
            },
            Err(message) => table.fault(report, key, message),
        }
    }
    OnExit::new(rules)
}

/// Whether two ends are the same, or ranges that overlap; one that lies in a range decides before it.
fn is_unclear(one: Exits, other: Exits) -> bool {
    match (one, other) {
        (Exits::Statuses(a, b), Exits::Statuses(c, d)) => (a == b) == (c == d) && a <= d && c <= b,
        (one, other) => one == other,
    }
}

fn exits(text: &str) -> Result<Exits, String> {
    if text == ANY_SIGNAL {
        return Ok(Exits::AnySignal);
    }
    let no = || format!("`{}` is no end of a process: {FORM}", text.escape_debug());
    if text.starts_with("SIG") {
        let signal = (1..=SIGNAL_MAX).find(|signal| signal_name(i32::from(*signal)) == Some(text));
        return signal.map(Exits::Signal).ok_or_else(no);
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(0), Ok(_)) => Err("exit status 0 is always done; statuses go from 1 to 255".to_owned()),
        (Ok(first), Ok(last)) if first <= last => Ok(Exits::Statuses(first, last)),
        _ => Err(no()),
    }
}

fn shown(exits: Exits) -> String {
    match exits {
        Exits::Statuses(first, last) if first == last => first.to_string(),
        Exits::Statuses(first, last) => format!("{first}-{last}"),
        Exits::Signal(signal) => {
            signal_name(i32::from(signal)).map_or_else(|| signal.to_string(), str::to_owned)
        }
        Exits::AnySignal => ANY_SIGNAL.to_owned(),
    }
}

/// The table as it is written.
pub(super) fn show(on_exit: &OnExit) -> String {
    let mut text = String::from("{");
    for (nth, (exits, meaning)) in on_exit.rules().iter().enumerate() {
        let word = word(*meaning);
        let comma = if nth > 0 { "," } else { "" };
        write!(text, "{comma} \"{}\" = \"{word}\"", shown(*exits)).expect("a String takes every write");
    }
    text + " }"
}

/// The word for a meaning.
pub(super) fn word(meaning: ExitMeaning) -> &'static str {
    MEANINGS.iter().find(|(_, it)| *it == meaning).expect("each has its word").0
}
