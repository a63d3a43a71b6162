//! Handlers: functions of any type behind one of one type. Here bodies are read; what a body that cannot be read means for its
//! job is said here too.

use super::context::Context;
use super::outcome::Outcome;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

/// A job as a handler gets it. What else there is to know of it, the [`Context`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job<B> {
    /// Its id.
    pub id: u64,
    /// What its producer submitted.
    pub body: B,
}

pub(super) type Handled = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Who handles the jobs of a queue.
pub(super) trait Handle: Send + Sync {
    fn handle(&self, body: Bytes, context: Context) -> Handled;
}

/// A handler of bodies in JSON.
pub(super) struct Typed<B, F> {
    handler: Arc<F>,
    // It takes bodies and has none.
    body: PhantomData<fn(B)>,
}

/// A handler of bodies as they are.
pub(super) struct Raw<F>(pub(super) F);

impl<B, F> Typed<B, F> {
    pub(super) fn new(handler: F) -> Typed<B, F> {
        Typed { handler: Arc::new(handler), body: PhantomData }
    }
}

impl<B, F, A> Handle for Typed<B, F>
where
    B: DeserializeOwned + 'static,
    F: Fn(Job<B>, Context) -> A + Send + Sync + 'static,
    A: Future<Output: Into<Outcome>> + Send + 'static,
{
    fn handle(&self, body: Bytes, context: Context) -> Handled {
        let handler = self.handler.clone();
        Box::pin(async move {
            let answer = match read(&body) {
                Ok(read) => handler(Job { id: context.id(), body: read }, context),
                Err(error) => return Outcome::Dead { error },
            };
            // What was read is the handler's now; the bytes need not wait for it.
            drop(body);
            answer.await.into()
        })
    }
}

impl<F, A> Handle for Raw<F>
where
    F: Fn(Job<Bytes>, Context) -> A + Send + Sync + 'static,
    A: Future<Output: Into<Outcome>> + Send + 'static,
{
    fn handle(&self, body: Bytes, context: Context) -> Handled {
        let answer = (self.0)(Job { id: context.id(), body }, context);
        Box::pin(async move { answer.await.into() })
    }
}

/// Reads a body; the error is what is remembered of the job.
fn read<B: DeserializeOwned>(body: &[u8]) -> Result<B, String> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner());
        match path.as_str() {
            "." | "?" => format!("its body is not what its worker takes: {why}"),
            _ => format!("its body is not what its worker takes, at `{path}`: {why}"),
        }
    })?;
    json.end().map_err(|why| format!("its body is not what its worker takes: {why}"))?;
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Mail {
        to: Vec<Address>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Address {
        name: String,
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_place() {
        let mail = Mail { to: vec![Address { name: "a".into() }] };
        assert_eq!(read::<Mail>(br#" {"to": [{"name": "a"}]} "#), Ok(mail));
        for (body, error) in [
            (
                &br#"{"to": [{"name": 7}]}"#[..],
                "takes, at `to[0].name`: invalid type: integer `7`, expected a string",
            ),
            (b"{}", "takes: missing field `to`"),
            (b"", "takes: EOF while parsing a value"),
            (b"\xff\xfe", "takes: expected value at line 1"),
            (br#"{"to": []} more"#, "takes: trailing characters"),
        ] {
            let said = read::<Mail>(body).unwrap_err();
            assert!(said.contains(error), "{said}");
        }
    }
}
