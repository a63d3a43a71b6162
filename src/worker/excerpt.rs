//! A line of somebody else's text, for an error: harmless to terminals and logs, and not too long. It knows nothing else.

/// The most characters of it.
pub(super) const MAX: usize = 150;

/// Without control characters, and cut if it is long.
pub(super) fn excerpt(line: &str) -> String {
    let mut chars = line.trim().chars().filter(|c| !c.is_control());
    let mut text: String = chars.by_ref().take(MAX).collect();
    if chars.next().is_some() {
        text.push('…');
    }
    text
}
