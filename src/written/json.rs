//! A job as a line of JSON. Keys that it leaves out are as on the command line. Errors name the field.

use super::options::{JobArgs, check_ttl, parse_backoff, parse_tag};
use super::ties::{self, OneOrMore, Unmet};
use super::unique::{Conflict, UniqueWhile};
use crate::durations::parse_duration;
use crate::protocol::{After, JobOptions};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;
use utoipa::ToSchema;

/// What some programs write before all else.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// How many bytes a byte of a body may take in JSON, such as `\u0000`, and how many bytes a line may have besides.
const JSON_BYTE: usize = 6;
const JSON_MORE: usize = 256 << 10;

/// As it is written. Times are as on the command line: `10s`, `1h30m`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Job)]
pub(crate) struct Line<'a> {
    /// A text, or what is kept as the JSON that it is, to the letter.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    body: Option<&'a RawValue>,
    /// Bytes, in the place of `body`; either is needed.
    body_base64: Option<String>,
    queue: Option<String>,
    /// 0 goes first.
    priority: Option<u32>,
    /// Run it only after this time.
    delay: Option<String>,
    /// Run it only at this point in time: `2026-12-24T18:00`.
    at: Option<String>,
    /// Let it expire if it has not begun after this time.
    ttl: Option<String>,
    /// Let it expire if it has not ended after this time.
    deadline: Option<String>,
    /// After how many failed attempts it is dead.
    #[schema(minimum = 1)]
    attempts: Option<u32>,
    /// How it waits between attempts: `exponential:1s:1d`.
    backoff: Option<String>,
    /// How long one attempt may run.
    timeout: Option<String>,
    /// Of jobs with the same one, only so many run at a time.
    key: Option<String>,
    /// Submit it only if no other job of the queue holds this one.
    unique: Option<String>,
    unique_while: Option<UniqueWhile>,
    /// Hold it for so long after the end.
    unique_for: Option<String>,
    on_conflict: Option<Conflict>,
    /// Of one that is debounced: run it at most so long after the first was submitted.
    debounce_max: Option<String>,
    /// The jobs that it waits for: 71, `71:ended`, or a list of them.
    #[serde(default, deserialize_with = "ties::after")]
    #[schema(value_type = OneOrMore)]
    after: Vec<After>,
    /// The same of groups.
    #[serde(default, deserialize_with = "ties::after_group")]
    #[schema(value_type = OneOrMore)]
    after_group: Vec<After>,
    on_unmet: Option<Unmet>,
    /// The group that it belongs to.
    group: Option<String>,
    /// An object of names and values, or a list of `NAME=VALUE`.
    #[serde(default, deserialize_with = "tags")]
    #[schema(value_type = Tags)]
    tags: Vec<(String, String)>,
}

/// Reads a line; `None` if it is blank. `args` and `queue` are for what it does not say.
pub(crate) fn read(text: &[u8], args: &JobArgs, queue: &str) -> Result<Option<(JobOptions, Bytes)>, String> {
    let text = text.strip_prefix(BOM).unwrap_or(text);
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let Object(line): Object<Line<'_>> = parse(text)?;
    let duration = |field: &str, text: &Option<String>, or: Option<Duration>| match text {
        Some(text) => parse_duration(text).map(Some).map_err(|error| format!("{field}: {error}")),
        None => Ok(or),
    };
    let mut args = args.clone();
    if line.delay.is_some() || line.at.is_some() {
        (args.delay, args.at) = (None, line.at);
    }
    if line.delay.is_some() && args.at.is_some() {
        return Err("delay: a job has either `delay` or `at`".into());
    }
    args.delay = duration("delay", &line.delay, args.delay)?;
    args.like.ttl = duration("ttl", &line.ttl, args.like.ttl)?;
    check_ttl(args.like.ttl).map_err(|error| format!("ttl: {error}"))?;
    args.like.deadline = duration("deadline", &line.deadline, args.like.deadline)?;
    check_ttl(args.like.deadline).map_err(|error| format!("deadline: {error}"))?;
    args.like.timeout = duration("timeout", &line.timeout, args.like.timeout)?;
    args.like.priority = line.priority.or(args.like.priority);
    args.like.attempts = line.attempts.or(args.like.attempts);
    if args.like.attempts == Some(0) {
        return Err("attempts: a job has at least one".into());
    }
    if let Some(backoff) = line.backoff {
        args.like.backoff = Some(parse_backoff(&backoff).map_err(|error| format!("backoff: {error}"))?);
    }
    args.key = line.key.or(args.key);
    if line.unique_while.is_some() || line.unique_for.is_some() {
        (args.unique.unique_while, args.unique.unique_for) = (line.unique_while, None);
    }
    args.unique.unique_for = duration("unique_for", &line.unique_for, args.unique.unique_for)?;
    args.unique.unique = line.unique.or(args.unique.unique);
    args.unique.on_conflict = line.on_conflict.or(args.unique.on_conflict);
    args.unique.debounce_max = duration("debounce_max", &line.debounce_max, args.unique.debounce_max)?;
    args.unique.for_wire().map_err(|error| format!("unique: {error}"))?;
    args.ties.after.extend(line.after);
    args.ties.after_group.extend(line.after_group);
    args.ties.on_unmet = line.on_unmet.or(args.ties.on_unmet);
    args.ties.group = line.group.or(args.ties.group);
    args.ties.for_wire()?;
    args.like.tags.extend(line.tags);
    let options = args.for_queue(line.queue.as_deref().unwrap_or(queue));
    let options = options.map_err(|error| format!("at: {error}"))?;
    Ok(Some((options, body(line.body, line.body_base64)?)))
}

/// An object. What is derived for a `T` takes a list of its fields as well, which nobody means.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Object<T>, D::Error> {
        struct Fields<T>(PhantomData<fn() -> T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        reader.deserialize_map(Fields(PhantomData)).map(Object)
    }
}

/// Reads one line of JSON; an error names the field.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, String> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let line = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let field = error.path().to_string();
        let said = without_place(error.inner());
        if field == "." || field == "?" || said.contains(&format!("`{field}`")) {
            said
        } else {
            format!("{field}: {said}")
        }
    })?;
    reader.end().map_err(|error| without_place(&error))?;
    Ok(line)
}

/// Reads a list, of which `most` things are of use: one more is read, and those behind it are only passed over.
pub(crate) fn parse_list<'a, T: Deserialize<'a>>(text: &'a [u8], most: usize) -> Result<Vec<T>, String> {
    struct AtMost<T>(usize, PhantomData<fn() -> T>);
    impl<'a, T: Deserialize<'a>> Visitor<'a> for AtMost<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut all = Vec::new();
            while all.len() <= self.0
                && let Some(next) = list.next_element()?
            {
                all.push(next);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(all)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = reader.deserialize_seq(AtMost(most, PhantomData)).map_err(|error| without_place(&error))?;
    reader.end().map_err(|error| without_place(&error))?;
    Ok(read)
}

/// The error with its column, but not with its line: each line is read by itself, so it is always the first.
fn without_place(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    let place = format!(" at line {} column {column}", error.line());
    match text.strip_suffix(&place) {
        Some(text) => format!("{text} (column {column})"),
        None => text,
    }
}

fn body(raw: Option<&RawValue>, base64: Option<String>) -> Result<Bytes, String> {
    match (raw, base64) {
        (Some(raw), None) if raw.get().starts_with('"') => {
            let text: String = serde_json::from_str(raw.get())
                .map_err(|error| format!("body: {}", without_place(&error)))?;
            Ok(text.into_bytes().into())
        }
        (Some(raw), None) => Ok(Bytes::copy_from_slice(raw.get().as_bytes())),
        (None, Some(text)) => {
            Ok(BASE64_STANDARD.decode(text).map_err(|error| format!("body_base64: {error}"))?.into())
        }
        (None, None) => Err("body: it is missing; a job has `body` or `body_base64`".into()),
        (Some(_), Some(_)) => Err("body: a job has either `body` or `body_base64`".into()),
    }
}

/// The longest line in which a body of at most `body_max` bytes comes, with all else.
pub(crate) fn line_max(body_max: usize) -> usize {
    JSON_BYTE * body_max + JSON_MORE
}

/// Reads tags: an object of names and values, a list of NAME=VALUE, or one of pairs, as `show --json` prints them.
pub(crate) fn tags<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<(String, String)>, D::Error> {
    struct Tags;
    impl<'de> Visitor<'de> for Tags {
        type Value = Vec<(String, String)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object such as {\"order\": \"42\"} or a list such as [\"order=42\"]")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut tags = Vec::new();
            while let Some((name, TagValue(value))) = map.next_entry()? {
                tags.push((name, value));
            }
            Ok(tags)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut tags = Vec::new();
            while let Some(tag) = list.next_element::<Tag>()? {
                tags.push(match tag {
                    Tag::Text(text) => parse_tag(&text).map_err(A::Error::custom)?,
                    Tag::Pair(name, value) => (name, value),
                });
            }
            Ok(tags)
        }
    }
    reader.deserialize_any(Tags)
}

/// Tags, as they are written.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "they are read by what they are: see `tags`")]
enum Tags {
    Named(BTreeMap<String, Value>),
    Listed(Vec<Tag>),
}

/// A tag of a list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "a tag is a text such as \"order=42\", or a pair of texts")]
enum Tag {
    Text(String),
    Pair(String, String),
}

/// A tag's value. Numbers and marks are taken as they are written.
#[derive(Debug, Serialize)]
struct TagValue(String);

impl<'de> Deserialize<'de> for TagValue {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<TagValue, D::Error> {
        match Value::deserialize(reader)? {
            Value::String(text) => Ok(TagValue(text)),
            value @ (Value::Number(_) | Value::Bool(_)) => Ok(TagValue(value.to_string())),
            _ => Err(D::Error::custom("a tag's value is a text, a number, true or false")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Result<(JobOptions, Bytes), String> {
        read(text.as_bytes(), &JobArgs::default(), "q").map(|job| job.expect("it is not blank"))
    }

    #[test]
    fn tags_are_an_object_or_a_list() {
        let expected = [("a".to_owned(), "b".to_owned()), ("n".to_owned(), "42".to_owned())];
        for tags in [r#"{"a": "b", "n": 42}"#, r#"["a=b", "n=42"]"#, r#"[["a", "b"], "n=42"]"#] {
            assert_eq!(job(&format!(r#"{{"body": "x", "tags": {tags}}}"#)).unwrap().0.tags, expected);
        }
    }

    #[test]
    fn bodies_are_text_or_bytes_or_json_to_the_letter() {
        for (text, body) in [
            (r#"{"body": "a\nb"}"#, &b"a\nb"[..]),
            (r#"{"body_base64": "/wA="}"#, &[0xff, 0]),
            (r#"{"body": {"b": 1.10, "a": [ ]}}"#, br#"{"b": 1.10, "a": [ ]}"#),
            ("{\"body\": \"crlf\"}\r", b"crlf"),
        ] {
            assert_eq!(job(text).unwrap().1, body, "{text}");
        }
        assert!(read(b" \r", &JobArgs::default(), "q").unwrap().is_none());
    }

    #[test]
    fn of_a_list_no_more_is_kept_than_is_of_use() {
        assert_eq!(parse_list::<u32>(b"[1, 2]", 2).unwrap(), [1, 2]);
        assert_eq!(
            parse_list::<u32>(b"[1, 2, 3, 4, {}]", 2).unwrap(),
            [1, 2, 3],
            "it is seen that there are more"
        );
        for wrong in [&b"[1, 2, 3, 4"[..], b"[1] 2", b"1"] {
            assert!(parse_list::<u32>(wrong, 2).is_err());
        }
    }

    #[test]
    fn errors_name_the_field_and_no_second_line() {
        for (text, error) in [
            (r#"{"body": "x", "tags": 5}"#, "tags: invalid type: integer `5`, expected an object such as"),
            (r#"{"body": "x", "tags": {"a": []}}"#, "tags.a: a tag's value is a text"),
            (r#"{"body": "x", "tags": ["a"]}"#, "tags"),
            (r#"{"body": "x", "delay": "10"}"#, "delay: `10` is not a duration"),
            (r#"{"body": "x", "at": "soon"}"#, "at: `soon` is not a point in time"),
            (r#"{"body": "x", "at": "2030-01-01T00:00:00Z", "delay": "1s"}"#, "delay: a job has either"),
            (r#"{"body": "x", "ttl": "0s"}"#, "ttl: "),
            (r#"{"body": "x", "deadline": "0s"}"#, "deadline: "),
            (r#"{"body": "x", "attempts": 0}"#, "attempts: a job has at least one"),
            (r#"{"body": "x", "backoff": "fast"}"#, "backoff: "),
            (r#"{"body": "x", "priority": -1}"#, "priority: invalid value"),
            (r#"{"body": "x", "dealy": "1s"}"#, "unknown field `dealy`"),
            (r#"{"queue": "x"}"#, "body: it is missing"),
            (r#"{"body": "x", "body_base64": ""}"#, "body: a job has either"),
            (r#"{"body_base64": "%"}"#, "body_base64: "),
            (r#"["x"]"#, "invalid type: sequence, expected an object"),
            (r#"{"body": "x"} {}"#, "trailing characters (column 15)"),
            (r#"{"body": "x""#, "EOF while parsing an object (column 12)"),
        ] {
            let said = job(text).unwrap_err();
            assert!(said.starts_with(error) && !said.contains(" line 1"), "{text}: {said}");
        }
    }
}
