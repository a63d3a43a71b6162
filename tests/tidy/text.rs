//! A source as text: which of its lines are code.

/// The lines before a trailing `#[cfg(test)] mod … { … }`.
pub(super) fn without_tests(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines
        .windows(2)
        .position(|two| two[0] == "#[cfg(test)]" && two[1].starts_with("mod ") && two[1].ends_with('{'));
    let end = tests.unwrap_or(lines.len());
    lines.into_iter().take(end).enumerate().map(|(at, line)| (at + 1, line))
}

/// Whether a whole file is a test.
pub(super) fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.ends_with("_tests.rs")
}

/// The lines that are code, each `use` that takes several lines as one.
pub(super) fn statements(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut lines = code(text);
    std::iter::from_fn(move || {
        let (number, line) = lines.next()?;
        let mut statement = line.to_owned();
        let begins = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        while begins.starts_with("use ") && !statement.ends_with(';') {
            statement.push_str(lines.next()?.1.trim());
        }
        Some((number, statement))
    })
}

/// The lines that are code: no comments, no tests.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    without_tests(text).filter(|(_, line)| !line.trim_start().starts_with("//"))
}
