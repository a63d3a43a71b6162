//! `musher complete … --then`: what follows from a job, as it is written on the command line or in lines of JSON.

use super::batches::Batch;
use super::exit::{End, Failure};
use super::submit::read_body;
use super::traced::Here;
use super::{lines, output};
use crate::client::Client;
use crate::protocol::{JobOptions, LeaseRef, Received, SubmitGroup};
use crate::words;
use crate::written::json;
use crate::written::options::JobArgs;
use bytes::Bytes;
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::json;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;

#[derive(Debug, Args)]
#[command(next_help_heading = "What follows")]
pub(super) struct Follow {
    /// Submit this job with it: the lease ends and the job is there, or neither; may be repeated. A body `-` is read from standard
    /// input
    #[arg(long, num_args = 2, value_names = ["QUEUE", "BODY"], group = "what-follows")]
    then: Vec<OsString>,
    /// The same, with one job for each line of JSON on standard input, as `musher submit --jsonl` takes them: {"queue": …, "body": …}
    #[arg(long, group = "what-follows")]
    then_jsonl: bool,
    /// If the same was done with this key before (within limits.idempotency), do nothing and print the ids of that time: for
    /// repeating one whose answer was lost
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new(), requires = "what-follows")]
    idempotency_key: Option<String>,
}

impl Follow {
    /// Whether anything follows.
    pub(super) fn is_any(&self) -> bool {
        self.then_jsonl || !self.then.is_empty()
    }

    /// Completes the job of a lease and submits what follows; prints the ids.
    pub(super) async fn run(&self, client: &Client, leases: &[LeaseRef], as_json: bool) -> End {
        let [lease] = leases else {
            return Err(Failure::usage("jobs follow from one lease: name one"));
        };
        let groups = if self.then_jsonl { read(client).await? } else { self.named(client.limits().body)? };
        let groups = Here::read().put_all(groups);
        let receipts = client.complete_and_submit(*lease, groups, self.idempotency_key.clone()).await?;
        if as_json {
            let jobs = receipts.iter().map(|job| json!({ "id": job.id, "new": job.what == Received::New }));
            let lease = format!("{}@{}", lease.id, lease.attempt);
            output::json(&json!({ "lease": lease, "ok": true, "jobs": jobs.collect::<Vec<_>>() }))?;
        } else {
            receipts.iter().try_for_each(|job| output::line(&job.id.to_string()))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn named(&self, body_max: usize) -> Result<Vec<SubmitGroup>, Failure> {
        // clap gives them by twos.
        let pairs = self.then.chunks_exact(2);
        if pairs.clone().filter(|pair| pair[1] == "-").count() > 1 {
            return Err(Failure::usage("standard input can be the body of one job only"));
        }
        let job = |pair: &[OsString]| {
            let queue = pair[0].to_str().ok_or_else(|| Failure::usage("the name of a queue is text"))?;
            let options = JobOptions { queue: queue.to_owned(), ..JobOptions::default() };
            let body = match pair[1].as_bytes() {
                b"-" => read_body(io::stdin().lock(), body_max, "standard input")?,
                body => Bytes::copy_from_slice(body),
            };
            Ok(SubmitGroup { options, bodies: vec![body] })
        };
        pairs.map(job).collect()
    }
}

/// All lines of standard input: they are one request, so they must fit into one.
async fn read(client: &Client) -> Result<Vec<SubmitGroup>, Failure> {
    let limits = client.limits();
    let mut input = lines::read(io::stdin(), json::line_max(limits.body));
    let (mut batch, mut number, mut jobs) = (Batch::new(client), 0, 0);
    while let Some(lines) = input.recv().await {
        let lines = lines.map_err(|error| Failure::usage(format!("line {}: {error}", number + 1)))?;
        for text in lines.each() {
            number += 1;
            let wrong = |why: String| Failure::usage(format!("line {number}: {why}; nothing was done"));
            let job = json::read(&text, &JobArgs::default(), "").map_err(wrong)?;
            let Some((options, body)) = job else { continue };
            if options.queue.is_empty() {
                return Err(wrong("queue: it is missing".into()));
            }
            if jobs == limits.batch {
                let most = words::jobs(limits.batch as u64);
                return Err(wrong(format!("at most {most} follow from one job (limits.batch)")));
            }
            jobs += 1;
            batch.add(number, options, body);
        }
    }
    Ok(batch.into_groups())
}
