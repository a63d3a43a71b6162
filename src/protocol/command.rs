//! The body of a command job: what `musher run` captures, and a worker starts. It is JSON, which is Unicode; arguments,
//! paths and variables that are not are kept byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// What a command job is to run.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandJob {
    /// The program and its arguments.
    pub argv: Vec<Word>,
    /// The working directory.
    pub cwd: Word,
    /// The whole environment.
    pub env: Vec<(Word, Word)>,
}

impl fmt::Debug for CommandJob {
    /// Leaves the environment out, so that no secret of it reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandJob").field("argv", &self.argv).field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

/// Bytes of the system's. In JSON a text if they are UTF-8, else `{"base64": "…"}`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Form", into = "Form")]
pub struct Word(pub OsString);

impl PartialSchema for Word {
    fn schema() -> RefOr<Schema> {
        Form::schema()
    }
}

impl ToSchema for Word {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Form::schemas(schemas);
    }
}

impl Word {
    /// As it is.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl From<OsString> for Word {
    fn from(text: OsString) -> Word {
        Word(text)
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Word {
        Word(text.into())
    }
}

impl AsRef<OsStr> for Word {
    fn as_ref(&self) -> &OsStr {
        &self.0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or {\"base64\": \"…\"}")]
enum Form {
    Text(String),
    Bytes(Encoded),
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Encoded {
    base64: String,
}

impl From<Word> for Form {
    fn from(Word(text): Word) -> Form {
        text.into_string()
            .map_or_else(|text| Form::Bytes(Encoded { base64: STANDARD.encode(text.as_bytes()) }), Form::Text)
    }
}

impl TryFrom<Form> for Word {
    type Error = base64::DecodeError;

    fn try_from(form: Form) -> Result<Word, base64::DecodeError> {
        Ok(Word(match form {
            Form::Text(text) => text.into(),
            Form::Bytes(Encoded { base64 }) => OsString::from_vec(STANDARD.decode(base64)?),
        }))
    }
}

/// Whether a variable tells a command of the job in which it runs. It says nothing of another job that this one submits; if that one
/// belongs to the same trace, it says so itself.
pub fn describes_a_job(variable: &OsStr) -> bool {
    const NAMES: [&str; 12] = [
        "MUSHER_JOB_ID",
        "MUSHER_QUEUE",
        "MUSHER_KEY",
        "MUSHER_ATTEMPT",
        "MUSHER_MAX_ATTEMPTS",
        "MUSHER_LEASE",
        "MUSHER_LEASE_UNTIL",
        "MUSHER_DEADLINE",
        "MUSHER_CHECKPOINT",
        "MUSHER_RESULT",
        "TRACEPARENT",
        "TRACESTATE",
    ];
    variable.as_bytes().starts_with(b"MUSHER_TAG_") || NAMES.iter().any(|name| variable == *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf_8_is_kept_and_texts_are_texts() {
        let bytes = || Word(OsString::from_vec(b"a\xff".to_vec()));
        let job = CommandJob {
            argv: vec!["ls".into(), bytes()],
            cwd: bytes(),
            env: vec![("A".into(), bytes()), (bytes(), "b".into())],
        };
        let json = serde_json::to_string(&job).unwrap();
        let b = r#"{"base64":"Yf8="}"#;
        assert_eq!(json, format!(r#"{{"argv":["ls",{b}],"cwd":{b},"env":[["A",{b}],[{b},"b"]]}}"#));
        assert_eq!(serde_json::from_str::<CommandJob>(&json).unwrap(), job);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for word in [r#"{"base64":"?"}"#, r#"{"base64":"YQ==","a":1}"#, "1", "null", "[]"] {
            assert!(serde_json::from_str::<Word>(word).is_err(), "{word}");
        }
    }
}
