//! `musher logs`: prints what a job printed, standard output and standard error each to its own stream.

use super::ask::Target;
use super::exit::{End, Failure};
use super::output;
use super::steady::Steady;
use crate::client::{Client, ClientError};
use crate::protocol::{ErrorCode, Response};
use crate::written::options::parse_id;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde_json::json;
use std::collections::HashMap;
use std::io::{self, Write};
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  musher logs 42\n  musher logs -f 42")]
pub(super) struct Logs {
    /// The job
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: u64,
    /// Go on until the job has ended
    #[arg(short, long)]
    follow: bool,
    /// Print JSON objects, one a line: {"attempt": 1, "stream": "stdout", "text": "…"}, or "base64" of what is not text
    #[arg(long)]
    json: bool,
}

impl Logs {
    pub(super) async fn run(&self, to: &Target, client: Client) -> End {
        let mut printed = Printed { as_json: self.json, ..Printed::default() };
        if self.follow {
            let meanwhile = format!("`musher logs -f {}` goes on", self.id);
            let mut steady = Steady::new(to.path(), client, None, meanwhile);
            steady.ask(async |client, _| printed.go_on(client, self.id, true).await).await?;
        } else {
            printed.go_on(&client, self.id, false).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How much of a job's output has been printed: of each attempt and stream, so many bytes. Whoever reads it again, on
/// another connection, goes on behind that.
#[derive(Debug, Default)]
pub(super) struct Printed {
    bytes: HashMap<(u32, u8), u64>,
    /// Whether the job exists for sure. One that is not found then has ended, and its output is gone with it.
    is_known: bool,
    as_json: bool,
}

impl Printed {
    /// Nothing yet of a job that was submitted just now.
    pub(super) fn of_own_job() -> Printed {
        Printed { is_known: true, ..Printed::default() }
    }

    /// Prints what was not printed yet, each stream to its own; with `follow` until the job has ended.
    pub(super) async fn go_on(&mut self, client: &Client, id: u64, follow: bool) -> Result<(), Failure> {
        let (mut pieces, mut passed) = (client.logs(id, follow).await?, Printed::default());
        loop {
            // Without an end of its own it was cut off by that of the connection.
            let piece = pieces.recv().await.ok_or_else(|| ClientError::Closed(String::new()))?;
            let (attempt, stream, data) = match piece {
                Ok(Response::Output { attempt, stream, data }) => (attempt, stream, data),
                Ok(_) => break,
                Err(ClientError::Refused(fault)) if self.is_known && fault.code == ErrorCode::NotFound => {
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            let fresh = passed.fresh(self, (attempt, stream), data.len());
            let data = &data[data.len() - fresh..];
            match stream {
                _ if self.as_json => output::json(&piece_view(attempt, stream, data))?,
                1 => {
                    let mut out = io::stdout().lock();
                    out.write_all(data)?;
                    out.flush()?;
                }
                _ => io::stderr().lock().write_all(data)?,
            }
        }
        Ok(())
    }

    /// How many of the next `len` bytes, read again from the beginning, are new; from here on they are not.
    fn fresh(&mut self, printed: &mut Printed, key: (u32, u8), len: usize) -> usize {
        let (passed, printed) = (self.bytes.entry(key).or_default(), printed.bytes.entry(key).or_default());
        *passed += len as u64;
        let fresh = passed.saturating_sub(*printed).min(len as u64);
        *printed += fresh;
        fresh as usize
    }
}

/// A piece as an object. Pieces end anywhere, so one may begin or end within a character, and is no text then.
fn piece_view(attempt: u32, stream: u8, data: &[u8]) -> serde_json::Value {
    let stream = if stream == 1 { "stdout" } else { "stderr" };
    match std::str::from_utf8(data) {
        Ok(text) => json!({ "attempt": attempt, "stream": stream, "text": text }),
        Err(_) => json!({ "attempt": attempt, "stream": stream, "base64": BASE64_STANDARD.encode(data) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_printed_is_passed_over_in_whatever_pieces_it_comes() {
        let (mut printed, mut first, mut second) = <(Printed, Printed, Printed)>::default();
        assert_eq!((first.fresh(&mut printed, (1, 1), 10), first.fresh(&mut printed, (1, 2), 3)), (10, 3));
        assert_eq!(second.fresh(&mut printed, (1, 1), 4), 0);
        assert_eq!(second.fresh(&mut printed, (1, 1), 10), 4);
        assert_eq!(second.fresh(&mut printed, (1, 2), 3), 0);
        assert_eq!(second.fresh(&mut printed, (2, 1), 5), 5, "another attempt is another output");
    }
}
