//! What a command job runs, as one line for people: read from its body, which `musher run` has written.

use crate::core::{Job, JobId};
use crate::server::hub::Hub;
use crate::store::Store;
use serde::Deserialize;

/// The longest line of one job, and that of each of many, in characters.
const LINE_MAX: usize = 4_000;
const LINE_MAX_OF_MANY: usize = 300;

/// The part of a body that is shown here. The environment is not.
#[derive(Deserialize)]
struct Body {
    argv: Vec<serde_json::Value>,
}

/// The command of a job, if it is one and can be read just now; and how many bytes were read for it.
pub(super) fn of<S: Store + 'static>(hub: &Hub<S>, id: JobId, job: &Job) -> (Option<String>, usize) {
    let queue = job.spec.queue.as_str();
    let is_command =
        hub.service.borrow().handlers.iter().any(|handler| handler.queue == queue && handler.runs_commands());
    match is_command.then(|| hub.engine.borrow_mut().peek_body(id)).flatten() {
        Some(body) => (line(&body), body.len()),
        None => (None, 0),
    }
}

fn line(body: &[u8]) -> Option<String> {
    let Body { argv } = serde_json::from_slice(body).ok()?;
    let mut text = String::new();
    for word in &argv {
        if text.len() > 4 * LINE_MAX {
            break;
        }
        let word = word.as_str().map_or_else(|| word.to_string(), quoted);
        text = if text.is_empty() { word } else { format!("{text} {word}") };
    }
    Some(cut_to(text, LINE_MAX))
}

/// As a shell would read it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "%+,-./:=@_~^".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Short enough to be one of many.
pub(super) fn cut(text: String) -> String {
    cut_to(text, LINE_MAX_OF_MANY)
}

fn cut_to(text: String, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_line_that_a_shell_reads_back() {
        for (body, expected) in [
            (
                r#"{"argv":["make","-C","/srv/a b","X=it's"],"cwd":"/","env":[["S","x"]]}"#,
                "make -C '/srv/a b' 'X=it'\\''s'",
            ),
            (r#"{"argv":["sh","-c","a; b",""]}"#, "sh -c 'a; b' ''"),
            (r#"{"argv":["größer"]}"#, "größer"),
            (r#"{"argv":["a",{"base64":"/w=="}]}"#, r#"a {"base64":"/w=="}"#),
        ] {
            assert_eq!(line(body.as_bytes()).as_deref(), Some(expected));
        }
        assert_eq!(line(b"hello"), None);
    }

    #[test]
    fn a_long_one_is_cut() {
        let body = format!(r#"{{"argv":["{}"]}}"#, "ä".repeat(LINE_MAX + 5));
        let line = line(body.as_bytes()).unwrap();
        assert_eq!((line.chars().count(), line.ends_with("ä…")), (LINE_MAX + 1, true));
        assert_eq!(cut(line).chars().count(), LINE_MAX_OF_MANY + 1);
    }
}
