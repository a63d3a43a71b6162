//! `musher submit`: one job, one job per line, or one job per line of JSON.

use super::ask::Target;
use super::batches::{Batch, Batches};
use super::exit::{End, Failure};
use super::interrupt::{self, message_on_signal};
use super::past::note_past;
use super::steady::Steady;
use super::traced::Here;
use super::{ends, lines, output, wait};
use crate::client::Client;
use crate::durations::show_size;
use crate::protocol::{JobOptions, SubmitGroup};
use crate::words;
use crate::written::json;
use crate::written::options::JobArgs;
use bytes::Bytes;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// How long answers are waited for after Ctrl-C.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
A body may be empty; so with --lines an empty line is a job with an empty body. Lines are taken literally, without
the line break. With --jsonl blank lines are skipped, and keys that a line leaves out are as on the command line:
  body (a text; anything else is kept as JSON) or body_base64, queue, priority, attempts, key, tags: {\"order\": \"42\"}, and
  delay, at, ttl, deadline, timeout, backoff, unique, unique_while, unique_for, on_conflict, debounce_max, on_unmet, group,
  written as the options are: \"10s\"; after and after_group are a list: [71, \"72:ended\"].
Ctrl-C ends --lines and --jsonl, and says what was submitted; it ends --wait, and the job goes on.
A trace that TRACEPARENT names (W3C Trace Context) goes with the jobs, to commands, handlers and web servers.
If the daemon restarts, --wait goes on when it is back, within a minute. Its exit codes: 0 done, 1 failed, 4 nothing is
kept of the job.

Examples:
  musher submit mails 'hello'                   prints the job's id
  id=$(musher submit mails --delay 10s 'later')
  musher submit photos --file cat.jpg --tag cat=tom
  musher submit index --unique page-7 --on-conflict debounce --delay 5s page-7    once for many changes in a row
  musher submit mails 'it is built' --after 71 --on-unmet hold
  musher submit --topic order.created '{\"order\": 7}'     a job in each queue that is bound to it
  seq 1000000 | musher submit bulk --lines
  tail -F events.log | musher submit events --lines     each line as it comes
  echo '{\"body\": \"hi\", \"delay\": \"1m\"}' | musher submit mails --jsonl";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Submit {
    /// The queue; it is created with its first job. With --topic: the topic
    queue: String,
    /// The job's body; `-` reads it from standard input
    #[arg(conflicts_with_all = ["file", "lines", "jsonl"])]
    body: Option<OsString>,
    /// Read the body from a file, at most as much as a body may have (limits.body)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["lines", "jsonl"])]
    file: Option<PathBuf>,
    /// Submit one job to each queue that is bound to the topic of this name (`musher topic`); prints all ids
    #[arg(long, conflicts_with = "wait")]
    topic: bool,
    /// One job for each line of standard input, in batches that are all or nothing
    #[arg(long, conflicts_with_all = ["jsonl", "wait"])]
    lines: bool,
    /// One job for each line of JSON on standard input: {"body": …, "delay": "10s", …}
    #[arg(long, conflicts_with_all = ["wait", "topic"])]
    jsonl: bool,
    /// With --lines and --jsonl: print every id
    #[arg(long)]
    ids: bool,
    /// Wait until the job has ended; exit 1 unless it is done
    #[arg(long)]
    wait: bool,
    /// Print {"id": …, "new": true}; with --wait also how it ended; with --lines and --jsonl a summary
    #[arg(long, conflicts_with = "ids")]
    json: bool,
    /// If the same was submitted with this key before (within limits.idempotency), submit nothing and print that job's id: for
    /// repeating a submit whose answer was lost
    #[arg(long, value_name = "KEY", conflicts_with_all = ["lines", "jsonl"], value_parser = NonEmptyStringValueParser::new())]
    idempotency_key: Option<String>,
    #[command(flatten)]
    args: JobArgs,
}

impl Submit {
    pub(super) async fn run(&self, to: &Target, client: Client) -> End {
        if self.lines || self.jsonl {
            return self.many(&client).await;
        }
        let options = self.options()?;
        note_past(&options);
        let group = SubmitGroup { options, bodies: vec![self.body(client.limits().body)?] };
        let receipts = match &self.idempotency_key {
            Some(key) => client.submit_once(key, vec![group]).await?,
            None => client.submit(vec![group]).await?,
        };
        if self.topic {
            receipts.iter().try_for_each(|job| output::submitted_one(job, self.json).map(drop))?;
            return Ok(ExitCode::SUCCESS);
        }
        let id = output::submitted(&receipts, self.json)?;
        if !self.wait {
            return Ok(ExitCode::SUCCESS);
        }
        let meanwhile =
            format!("job {id} goes on; `musher wait {id}` waits for it, `musher cancel {id}` ends it");
        let _heard = message_on_signal(meanwhile.clone())?;
        let end = wait::end_of(&mut Steady::new(to.path(), client, None, meanwhile), id).await?;
        if self.json {
            output::json(&end)?;
        }
        Ok(ExitCode::from(ends::tell(&[end.into()], None)))
    }

    /// What is asked for where a line does not say otherwise.
    fn options(&self) -> Result<JobOptions, Failure> {
        let options = self.args.for_queue(&self.queue).map_err(Failure::usage)?;
        Ok(Here::read().put(JobOptions { to_topic: self.topic, ..options }))
    }

    fn body(&self, max: usize) -> Result<Bytes, Failure> {
        match (&self.body, &self.file) {
            (_, Some(file)) if file.as_os_str() != "-" => {
                let name = file.display().to_string();
                let file = File::open(file).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
                read_body(file, max, &name)
            }
            (Some(body), None) if body != "-" => Ok(Bytes::copy_from_slice(body.as_bytes())),
            (None, None) => {
                Err(Failure::usage("what is the job? Give a BODY, --file FILE, `-`, --lines or --jsonl"))
            }
            _ => read_body(io::stdin().lock(), max, "standard input"),
        }
    }

    async fn many(&self, client: &Client) -> End {
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {human_pos} jobs, {rate}, {elapsed}")
                .expect("a fixed template")
                .with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
                    let _ = to.write_str(&words::rate(state.per_sec()));
                }),
        );
        bar.enable_steady_tick(Duration::from_millis(100));
        let mut batches = Batches::new(self.ids, bar.clone());
        let (_heard, mut told) = interrupt::first_signal()?;
        let mut result = self.read_all(client, &mut batches, &mut told).await;
        // What is under way counts all the same.
        let arrive = async {
            while !batches.is_idle() {
                let arrived = batches.finish(0).await;
                result = std::mem::replace(&mut result, Ok(())).and(arrived);
            }
        };
        let patience = if told.borrow().is_some() { LAST_ANSWERS } else { Duration::MAX };
        if timeout(patience, arrive).await.is_err() {
            batches.give_up();
        }
        bar.finish_and_clear();
        if self.json {
            output::json(&batches.account)?;
        }
        match result {
            Ok(()) => {
                eprintln!("{}", batches.account.all(&self.queue));
                Ok(ExitCode::SUCCESS)
            }
            Err(failure) => {
                let message = format!("{}\n{}", failure.message, batches.account.part());
                Err(Failure { message, ..failure })
            }
        }
    }

    /// Jobs are sent as soon as a batch is full, and what there is when nothing is under way: so a slow producer's
    /// lines go at once, and a fast one's in large batches.
    async fn read_all(
        &self,
        client: &Client,
        batches: &mut Batches,
        told: &mut watch::Receiver<Option<i32>>,
    ) -> Result<(), Failure> {
        let body_max = client.limits().body;
        let mut input =
            lines::read(io::stdin(), if self.jsonl { json::line_max(body_max) } else { body_max });
        let mut batch = Batch::new(client);
        let (plain, here, mut number) = (self.options()?, Here::read(), 0u64);
        let job = |text: Bytes, number: u64| match self.jsonl {
            true => json::read(&text, &self.args, &self.queue)
                .map(|job| job.map(|(options, body)| (here.put(options), body))),
            false => {
                note_ends(&text, number);
                Ok(Some((plain.clone(), text)))
            }
        };
        loop {
            tokio::select! {
                biased;
                signal = interrupt::signal(told) => {
                    batches.account.ends_before(batch.line_after(number));
                    return Err(Failure { code: interrupt::code(signal), message: "interrupted".into() });
                }
                lines = input.recv() => {
                    let Some(lines) = lines else { break };
                    let lines = match lines {
                        Ok(lines) => lines,
                        Err(error) => return self.stop_at(client, batches, batch, number + 1, &error).await,
                    };
                    for text in lines.each() {
                        number += 1;
                        let (options, body) = match job(text, number) {
                            Ok(Some(job)) => job,
                            Ok(None) => continue,
                            Err(error) => return self.stop_at(client, batches, batch, number, &error).await,
                        };
                        if !batch.has_room_for(&body) {
                            batches.send(client, &mut batch).await?;
                        }
                        batch.add(number, options, body);
                    }
                }
                sent = batches.oldest() => batches.count(sent)?,
            }
            if batches.is_idle() && input.is_empty() {
                batches.send(client, &mut batch).await?;
            }
        }
        batches.send(client, &mut batch).await
    }

    /// A line is wrong. Those before it go.
    async fn stop_at(
        &self,
        client: &Client,
        batches: &mut Batches,
        mut batch: Batch,
        line: u64,
        why: &dyn Display,
    ) -> Result<(), Failure> {
        batches.send(client, &mut batch).await?;
        while !batches.is_idle() {
            batches.finish(0).await?;
        }
        batches.account.ends_before(line);
        Err(Failure::usage(format!("line {line}: {why}")))
    }
}

/// A body from a file, not one byte more of it than there may be.
pub(super) fn read_body(from: impl Read, max: usize, name: &str) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let read = from.take(max as u64 + 1).read_to_end(&mut body);
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    if body.len() > max {
        let max = show_size(max as u64);
        return Err(Failure::usage(format!("{name} is longer than a body may be: {max} (limits.body)")));
    }
    Ok(body.into())
}

/// Lines are taken literally; a note is printed, once, if they look like a text file of another system.
fn note_ends(text: &[u8], number: u64) {
    if number == 1 && text.starts_with(json::BOM) {
        eprintln!("musher: note: the input begins with a byte order mark, which is part of the first job");
    }
    if number == 1 && text.ends_with(b"\r") {
        eprintln!(
            "musher: note: lines end with CR LF, and the CR is part of each job; `tr -d '\\r'` removes it"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_body_that_never_ends_no_more_is_read_than_there_may_be() {
        let endless = io::repeat(b'x');
        let failure = read_body(endless, 1 << 20, "/dev/zero").unwrap_err();
        assert_eq!(failure.message, "/dev/zero is longer than a body may be: 1MiB (limits.body)");
        assert_eq!(read_body(&[b'x'; 10][..], 10, "file").unwrap().len(), 10);
        assert!(read_body(&[b'x'; 11][..], 10, "file").is_err());
    }
}
