//! The handler `{ http = … }` of a queue, as it is written: where jobs are sent, how they are signed, what answers mean. It
//! looks at the files that are named as far as anybody can; the workers read them.

use super::exits::{MEANINGS, word};
use super::problem::Report;
use super::raw::Section;
use super::show::string;
use crate::core::ExitMeaning;
use hyper::Uri;
use hyper::header::HeaderValue;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a body is said to be if nobody says it.
const CONTENT_TYPE: &str = "application/octet-stream";
/// The statuses that may be given a meaning: 2xx is always done, and 1xx is no answer yet.
const STATUSES: std::ops::RangeInclusive<u16> = 300..=599;
const FORM: &str = "write a status such as \"409\", or a range such as \"400-499\", from 300 to 599";
/// What is of no use without `http`.
const OF_HTTP: [&str; 4] = ["content_type", "secret_file", "ca_file", "on_status"];

/// Sends each job to a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The URL, of `http` or `https`.
    pub url: String,
    /// The header `Content-Type`.
    pub content_type: String,
    /// The file with the secret that signs requests.
    pub secret_file: Option<PathBuf>,
    /// The certificates that are trusted in the place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Statuses, from the first to the last, that do not mean what they usually do. They do not overlap, but one may lie in a range.
    pub on_status: Vec<(u16, u16, ExitMeaning)>,
}

/// What a table `handler` says of it; `None` if that is nothing, or wrong.
pub(super) fn push(table: &mut Section<'_>, report: &mut Report<'_>) -> Option<Push> {
    let url = table.text(report, "http");
    let content_type = table.text(report, "content_type");
    let [secret_file, ca_file] = ["secret_file", "ca_file"].map(|key| file(table, report, key));
    let on_status = on_status(table, report);
    if !table.has("http") {
        for key in OF_HTTP.into_iter().filter(|key| table.has(key)) {
            table.fault(report, key, "is of use only with `http`; remove it");
        }
    }
    let url = url?;
    if let Err(message) = is_url(url, "https://example.org/hook", "; `secret_file` signs requests") {
        table.fault(report, "http", message);
        return None;
    }
    if content_type.is_some_and(|text| text.is_empty() || HeaderValue::from_str(text).is_err()) {
        table.fault(report, "content_type", "must be what a header can hold, such as \"application/json\"");
    }
    let content_type = content_type.unwrap_or(CONTENT_TYPE).to_owned();
    Some(Push { url: url.to_owned(), content_type, secret_file, ca_file, on_status })
}

/// `example`: one that would be right. `instead`: what to do instead of writing a password into it.
pub(super) fn is_url(text: &str, example: &str, instead: &str) -> Result<(), String> {
    let uri: Uri = text.parse().map_err(|error| format!("is no URL: {error}"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none_or(str::is_empty) {
        return Err(format!("must be a whole URL of http or https, such as \"{example}\""));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(format!(
            "must not have a user or a password in it, since it is shown to people{instead}"
        ));
    }
    // It would be dropped without a word.
    if text.contains('#') {
        return Err("must not have a fragment (`#…`): it is not sent".to_owned());
    }
    Ok(())
}

fn file(table: &mut Section<'_>, report: &mut Report<'_>, key: &'static str) -> Option<PathBuf> {
    let path = PathBuf::from(table.text(report, key)?);
    if !path.is_absolute() {
        table.fault(report, key, "must be the whole path, beginning with /");
        return None;
    }
    match path.metadata() {
        Err(error) => {
            let message = format!("`{}`: {error}; its jobs wait until that changes", path.display());
            report.warn(table.at(key), &table.name(key), message);
        }
        Ok(meta) if key == "secret_file" && meta.mode() & 0o007 != 0 => {
            table.fault(report, key, is_open(&path));
        }
        Ok(_) => {}
    }
    Some(path)
}

fn is_open(path: &Path) -> String {
    let path = path.display();
    format!("`{path}` is open to every user of this machine, and a secret must not be: chmod o= {path}")
}

fn on_status(table: &mut Section<'_>, report: &mut Report<'_>) -> Vec<(u16, u16, ExitMeaning)> {
    let table = table.section(report, "on_status");
    let mut rules: Vec<(u16, u16, ExitMeaning)> = Vec::new();
    for (key, meaning) in table.words(report, &MEANINGS) {
        let Some((first, last)) = statuses(key) else {
            table.fault(report, key, format!("`{}` is no status: {FORM}", key.escape_debug()));
            continue;
        };
        // One that lies in a range decides before it.
        let is_unclear =
            |(a, b, _): &&(u16, u16, ExitMeaning)| (*a == *b) == (first == last) && *a <= last && first <= *b;
        match rules.iter().find(is_unclear) {
            None => rules.push((first, last, meaning)),
            Some((a, b, _)) => {
                let (one, other) = (shown(first, last), shown(*a, *b));
                table.fault(
                    report,
                    key,
                    format!("{one} and {other} overlap: which of them holds is not clear"),
                );
            }
        }
    }
    rules.sort_unstable_by_key(|(first, last, _)| (*first, *last));
    rules
}

fn statuses(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && STATUSES.contains(&first) && STATUSES.contains(&last)).then_some((first, last))
}

fn shown(first: u16, last: u16) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// The table as it is written: where the secret is, not what it is.
pub(super) fn show(push: &Push) -> String {
    let mut parts = vec![
        format!("http = {}", string(&push.url)),
        format!("content_type = {}", string(&push.content_type)),
    ];
    for (key, path) in [("secret_file", &push.secret_file), ("ca_file", &push.ca_file)] {
        // It was a text in the file, so it is UTF-8.
        parts.extend(path.as_ref().map(|path| format!("{key} = {}", string(&path.to_string_lossy()))));
    }
    if !push.on_status.is_empty() {
        let rule = |(first, last, meaning): &(u16, u16, ExitMeaning)| {
            format!("\"{}\" = \"{}\"", shown(*first, *last), word(*meaning))
        };
        let rules: Vec<String> = push.on_status.iter().map(rule).collect();
        parts.push(format!("on_status = {{ {} }}", rules.join(", ")));
    }
    format!("{{ {} }}", parts.join(", "))
}
