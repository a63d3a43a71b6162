//! The configuration as written: TOML tables whose entries are asked for by key and type. What is asked for is
//! known; what is left at the end is an unknown key, and the error names the nearest known one. Nothing here
//! knows what a key means.

use super::problem::Report;
use crate::durations::{parse_duration, parse_size, show_size};
use std::borrow::Cow;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// How alike two keys must be for one to be offered for the other (0 to 1).
const ALIKE: f64 = 0.7;

/// An entry of a list in which somebody is named, or numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameOrNumber<'a> {
    Name(&'a str),
    Number(u32),
}

/// One table of the file, or an absent one, which has no entries.
#[derive(Debug)]
pub(super) struct Section<'a> {
    path: String,
    at: usize,
    entries: Option<&'a DeTable<'a>>,
    asked: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>) -> Section<'a> {
        Section { path: String::new(), at: 0, entries: Some(table), asked: Vec::new() }
    }

    /// The full name of one of its keys.
    pub(super) fn name(&self, key: &str) -> String {
        let key = key_text(key);
        match self.path.is_empty() {
            true => key,
            false => format!("{}.{key}", self.path),
        }
    }

    /// Where a key is written; where the table begins if it is not.
    pub(super) fn at(&self, key: &str) -> usize {
        self.entry(key).map_or(self.at, |(span, _)| span.start)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Whether a key is written that may lie in a table within this one: `keep.done`.
    pub(super) fn has_nested(&self, key: &str) -> bool {
        let mut names = key.split('.');
        let first = names.next().and_then(|first| self.entry(first)).map(|(_, value)| value);
        first
            .and_then(|value| names.try_fold(value, |value, name| Some(value.get(name)?.get_ref())))
            .is_some()
    }

    /// The same, and these keys are known as well.
    pub(super) fn known(mut self, keys: &[&'static str]) -> Section<'a> {
        self.asked.extend(keys);
        self
    }

    fn entry(&self, key: &str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        let (key, value) = self.entries?.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some((key.span(), value.get_ref()))
    }

    fn ask(&mut self, key: &'static str) -> Option<&'a DeValue<'a>> {
        self.asked.push(key);
        self.entry(key).map(|(_, value)| value)
    }

    /// A duration.
    pub(super) fn duration(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Duration> {
        let text = self.string(report, key, "a duration such as \"30s\"")?;
        parse_duration(text).map_err(|error| self.fault(report, key, error.to_string())).ok()
    }

    /// A size, as text with a unit or as a number of bytes, within bounds.
    pub(super) fn size(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let read = match self.ask(key)? {
            DeValue::String(text) => parse_size(text).map_err(|error| error.to_string()),
            DeValue::Integer(_) => self.integer(key).ok_or_else(|| "must not be negative".to_owned()),
            other => Err(expected("a size such as \"64MiB\"", other)),
        };
        let read = read.and_then(|size| within(size, bounds, show_size));
        read.map_err(|message| self.fault(report, key, message)).ok()
    }

    /// A whole number within bounds.
    pub(super) fn count(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let read = match self.ask(key)? {
            DeValue::Integer(_) => self.integer(key).ok_or_else(|| "must not be negative".to_owned()),
            other => Err(expected("a whole number", other)),
        };
        let read = read.and_then(|count| within(count, bounds, |n| n.to_string()));
        read.map_err(|message| self.fault(report, key, message)).ok()
    }

    fn integer(&self, key: &str) -> Option<u64> {
        let (_, value) = self.entry(key)?;
        let integer = value.as_integer()?;
        u64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
    }

    /// A number from 0 to 1, in thousandths.
    pub(super) fn permille(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<u16> {
        let read = match self.ask(key)? {
            DeValue::Integer(number) => number.as_str().parse::<f64>().ok(),
            DeValue::Float(number) => number.as_str().parse::<f64>().ok(),
            _ => None,
        };
        let Some(number) = read.filter(|number| (0.0..=1.0).contains(number)) else {
            self.fault(report, key, "must be a number from 0 to 1".to_owned());
            return None;
        };
        Some((number * 1000.0).round() as u16) // 0 to 1000: fits
    }

    /// A text.
    pub(super) fn text(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<&'a str> {
        self.string(report, key, "a text")
    }

    /// A whole path.
    pub(super) fn path(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(report, key)?);
        if !path.is_absolute() {
            self.fault(report, key, "must be the whole path, beginning with /");
        }
        Some(path)
    }

    fn string(&mut self, report: &mut Report<'_>, key: &'static str, what: &str) -> Option<&'a str> {
        match self.ask(key)? {
            DeValue::String(text) => Some(text),
            other => {
                self.fault(report, key, expected(what, other));
                None
            }
        }
    }

    /// Whether something is so.
    pub(super) fn flag(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<bool> {
        match self.ask(key)? {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                self.fault(report, key, expected("true or false", other));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.string(report, key, "a text")?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let shown = text.escape_debug();
            self.fault(report, key, format!("`{shown}` is not known; use one of {}", known.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// One of a few words for each key of the table, whatever the keys are.
    pub(super) fn words<T: Copy>(&self, report: &mut Report<'_>, words: &[(&str, T)]) -> Vec<(&'a str, T)> {
        let entries = self.entries.into_iter().flat_map(DeTable::iter);
        let read = |(key, value): (&'a Spanned<Cow<'a, str>>, &'a Spanned<DeValue<'a>>)| {
            let key = key.get_ref().as_ref();
            let found = value.get_ref().as_str();
            let word = found.and_then(|text| words.iter().find(|(word, _)| *word == text));
            if word.is_none() {
                let known: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                self.fault(report, key, format!("must be one of {}", known.join(", ")));
            }
            word.map(|(_, value)| (key, *value))
        };
        entries.filter_map(read).collect()
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Vec<String>> {
        let value = self.ask(key)?;
        let texts = texts_of(value);
        if texts.is_none() {
            self.fault(report, key, expected("a list of texts", value));
        }
        texts
    }

    /// All lists of texts within this table, whose keys are names.
    pub(super) fn lists_of_texts(&self, report: &mut Report<'_>) -> Vec<(&'a str, Vec<String>)> {
        let mut lists = Vec::new();
        for (key, value) in self.entries.into_iter().flat_map(DeTable::iter) {
            let (key, value): (&'a str, _) = (key.get_ref(), value.get_ref());
            match texts_of(value) {
                Some(texts) => lists.push((key, texts)),
                None => self.fault(report, key, expected("a list of texts", value)),
            }
        }
        lists
    }

    /// A list of names and numbers; empty if it is not there.
    pub(super) fn names_or_numbers(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
    ) -> Vec<NameOrNumber<'a>> {
        let Some(value) = self.ask(key) else { return Vec::new() };
        let read = |item: &'a Spanned<DeValue<'a>>| match item.get_ref() {
            DeValue::String(name) => Some(NameOrNumber::Name(name)),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                u32::from_str_radix(&digits, number.radix()).ok().map(NameOrNumber::Number)
            }
            _ => None,
        };
        let list = value.as_array().and_then(|array| array.iter().map(read).collect::<Option<Vec<_>>>());
        if list.as_ref().is_none_or(Vec::is_empty) {
            let found = if value.is_array() { "of something else, or of nothing" } else { value.type_str() };
            self.fault(report, key, format!("must be a list of names and numbers, not {found}"));
        }
        list.unwrap_or_default()
    }

    /// A list of tables; `None` if it is not there.
    pub(super) fn tables(&mut self, report: &mut Report<'_>, key: &'static str) -> Option<Vec<Section<'a>>> {
        let value = self.ask(key)?;
        let table = |(nth, item): (usize, &'a Spanned<DeValue<'a>>)| {
            let path = format!("{}[{}]", self.name(key), nth + 1);
            let entries = Some(item.get_ref().as_table()?);
            Some(Section { path, at: item.span().start, entries, asked: Vec::new() })
        };
        let items = value.as_array().map(|array| array.iter().enumerate());
        let tables = items.and_then(|items| items.map(table).collect::<Option<Vec<_>>>());
        if tables.is_none() {
            self.fault(report, key, expected(&format!("a list of tables, each begun by [[{key}]]"), value));
        }
        tables
    }

    /// A table within this one; one without entries if it is not there.
    pub(super) fn section(&mut self, report: &mut Report<'_>, key: &'static str) -> Section<'a> {
        match self.ask(key) {
            None => Section { path: self.name(key), at: self.at, entries: None, asked: Vec::new() },
            Some(value) => self.table(report, key, value),
        }
    }

    /// A text, or a table.
    pub(super) fn text_or_section(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
    ) -> Option<Result<&'a str, Section<'a>>> {
        match self.ask(key)? {
            DeValue::String(text) => Some(Ok(text)),
            value if value.is_table() => Some(Err(self.table(report, key, value))),
            other => {
                self.fault(report, key, expected("a text or a table", other));
                None
            }
        }
    }

    /// All tables within this one, whose keys are names.
    pub(super) fn named(&self, report: &mut Report<'_>) -> Vec<(&'a str, Section<'a>)> {
        let entries = self.entries.into_iter().flat_map(DeTable::iter);
        entries
            .map(|(key, value)| (&**key.get_ref(), self.table(report, key.get_ref(), value.get_ref())))
            .collect()
    }

    fn table(&self, report: &mut Report<'_>, key: &str, value: &'a DeValue<'a>) -> Section<'a> {
        let entries = value.as_table();
        if entries.is_none() {
            self.fault(report, key, expected("a table", value));
        }
        Section { path: self.name(key), at: self.at(key), entries, asked: Vec::new() }
    }

    /// A key that is known but that this version does nothing for: silence would be a lie.
    pub(super) fn not_yet(&mut self, report: &mut Report<'_>, key: &'static str) {
        if self.ask(key).is_some() {
            self.fault(report, key, "not supported by this version; remove it".to_owned());
        }
    }

    /// Something is wrong with the value of a key.
    pub(super) fn fault(&self, report: &mut Report<'_>, key: &str, message: impl Into<String>) {
        report.error(self.at(key), &self.name(key), message);
    }

    /// Something is wrong with the table as a whole.
    pub(super) fn fault_of_all(&self, report: &mut Report<'_>, message: impl Into<String>) {
        report.error(self.at, &self.path, message);
    }

    /// Reports every key that nobody has asked for.
    pub(super) fn finish(self, report: &mut Report<'_>) {
        let keys = self.entries.into_iter().flat_map(DeTable::keys).map(Spanned::get_ref);
        for key in keys.filter(|key| !self.asked.contains(&key.as_ref())) {
            let message = match nearest(key, &self.asked) {
                Some(known) => format!("unknown key; did you mean `{known}`?"),
                None => format!("unknown key; known here are {}", self.asked.join(", ")),
            };
            self.fault(report, key, message);
        }
    }
}

fn texts_of(value: &DeValue<'_>) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
}

/// A key as TOML has it: quoted where it must be.
pub(super) fn key_text(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match !key.is_empty() && key.bytes().all(bare) {
        true => key.to_owned(),
        false => format!("\"{}\"", key.escape_debug()),
    }
}

/// The known key that is most like this one, if any is like it.
pub(super) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let likeness = |known: &str| strsim::jaro_winkler(&key.to_ascii_lowercase(), known);
    let best = known.iter().copied().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(best) >= ALIKE).then_some(best)
}

fn expected(what: &str, found: &DeValue<'_>) -> String {
    format!("must be {what}, not {} {}", article(found.type_str()), found.type_str())
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with(['a', 'i', 'o', 'u']) { "an" } else { "a" }
}

fn within(number: u64, bounds: RangeInclusive<u64>, show: impl Fn(u64) -> String) -> Result<u64, String> {
    match number {
        n if n < *bounds.start() => {
            Err(format!("{} is too small; the least is {}", show(n), show(*bounds.start())))
        }
        n if n > *bounds.end() => {
            Err(format!("{} is too large; the most is {}", show(n), show(*bounds.end())))
        }
        n => Ok(n),
    }
}
