//! What grew past its length. What was long before is listed with its length and held there; do not add to the list,
//! find the seam.

use crate::text::{is_test, without_tests};

const FILE_LINES_MAX: usize = 450;
const FUNCTION_LINES_MAX: usize = 90;

/// Functions that are longer than that, and how long each may be.
const LONG_FUNCTIONS: [(&str, usize); 0] = [];

pub(super) fn file_length(path: &str, text: &str) -> Vec<String> {
    if is_test(path) {
        return Vec::new();
    }
    let most = FILE_LINES_MAX;
    match without_tests(text).count() {
        lines if lines > most => vec![format!("{path}: {lines} lines, at most {most}; look for the seam")],
        _ => Vec::new(),
    }
}

pub(super) fn function_lengths(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        // rustfmt puts the closing brace of a function below its first letter.
        let end = lines[at..].iter().position(|l| l.strip_prefix(indent).is_some_and(|rest| rest == "}"));
        // The signature ends with its body's brace, or with a semicolon, or all of it stands in one line.
        let signature = lines[at..].iter().find(|l| l.ends_with(['{', ';', '}'])).copied().unwrap_or("");
        let Some(length) = end.filter(|_| signature.ends_with('{')).map(|end| end + 1) else { continue };
        let most = allowance(&LONG_FUNCTIONS, &format!("{path}:{name}"), FUNCTION_LINES_MAX);
        if length > most {
            faults.push(format!("{path}:{}: `{name}` has {length} lines, at most {most}", at + 1));
        }
    }
    faults
}

/// The name of the function that begins in a line.
fn function(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| {
        matches!(*word, "pub" | "async" | "const" | "unsafe") || word.starts_with("pub(") || *word == "super)"
    });
    let named = words.next() == Some("fn");
    let name = words.next().filter(|_| named)?;
    name.split(['(', '<']).next()
}

fn allowance(list: &[(&str, usize)], name: &str, most: usize) -> usize {
    list.iter().find(|(listed, _)| *listed == name).map_or(most, |(_, lines)| *lines)
}

mod catches {
    use super::*;

    fn lengths(path: &str, text: &str) -> Vec<String> {
        [file_length(path, text), function_lengths(path, text)].concat()
    }

    #[test]
    fn a_long_file_but_not_its_tests() {
        let long = format!("//! For.\n{}", "// on\n".repeat(FILE_LINES_MAX));
        assert_eq!(lengths("src/clock.rs", &long).len(), 1);
        assert_eq!(lengths("src/clock/tests.rs", &long).len(), 0);
        let tests = format!("//! For.\n#[cfg(test)]\nmod tests {{\n{}}}\n", "// on\n".repeat(FILE_LINES_MAX));
        assert_eq!(lengths("src/clock.rs", &tests).len(), 0);
    }

    #[test]
    fn a_long_function_also_inside_an_impl() {
        let body = "        step();\n".repeat(FUNCTION_LINES_MAX);
        let long =
            format!("//! For.\nimpl A {{\n    pub(super) async fn run<T>(&self) {{\n{body}    }}\n}}\n");
        let faults = lengths("src/clock.rs", &long);
        assert_eq!(
            faults,
            [format!("src/clock.rs:3: `run` has {} lines, at most 90", FUNCTION_LINES_MAX + 2)]
        );
        let short = format!("//! For.\nfn one() {{}}\nfn two(\n    a: u8,\n);\nstruct A {{\n{body}}}\n");
        assert_eq!(lengths("src/clock.rs", &short).len(), 0);
    }
}
