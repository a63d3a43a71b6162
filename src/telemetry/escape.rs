//! Text from outside in a line of a log or of a terminal: nobody can forge a line with it, or hide one. It knows no lines of ours.

use std::borrow::Cow;
use std::fmt::Display;

/// The longest text from outside in one line, in characters. What is longer is cut.
const TEXT_MAX: usize = 1000;

/// Text from outside, fit for a line: control characters, and those that turn the direction of writing, are
/// written as escapes, and backslashes twice, so that no two texts look the same.
///
/// ```
/// use musher::telemetry::escape;
/// assert_eq!(escape("no\nnew line"), "no\\nnew line");
/// assert_eq!(escape("größer"), "größer");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| c == '\\' || is_trick(c);
    if text.len() <= TEXT_MAX && !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len().min(TEXT_MAX));
    for c in text.chars().take(TEXT_MAX) {
        match hidden(c) {
            true => escaped.extend(c.escape_default()),
            false => escaped.push(c),
        }
    }
    if text.chars().nth(TEXT_MAX).is_some() {
        escaped.push('…');
    }
    Cow::Owned(escaped)
}

/// Whether a terminal acts on a character, or shows by it something else than what is there.
pub fn is_trick(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

/// The same of what has a form for people.
pub(super) fn clean(text: impl Display) -> String {
    escape(&text.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_forge_or_hide_a_line_is_escaped() {
        for (text, expected) in [
            ("plain", "plain"),
            ("größer 日本", "größer 日本"),
            ("a\nb", "a\\nb"),
            ("a\r\tb", "a\\r\\tb"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("\0\x7f\u{85}", "\\u{0}\\u{7f}\\u{85}"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\u{2028}", "\\u{2028}"),
            ("C:\\n", "C:\\\\n"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = "ä".repeat(TEXT_MAX + 1);
        assert_eq!(escape(&long).chars().count(), TEXT_MAX + 1);
        assert!(escape(&long).ends_with("ä…"));
        let fits = "ä".repeat(TEXT_MAX);
        assert_eq!(escape(&fits), fits);
    }
}
