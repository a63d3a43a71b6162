//! `musher flow`: a whole graph of jobs from one document, in one commit; and a picture of it.

mod picture;

use super::exit::{End, Failure};
use super::output::{self, safe};
use super::submit::read_body;
use super::traced::Here;
use crate::client::Client;
use crate::protocol::Received;
use crate::protocol::admin::{AdminRequest, GroupView};
use crate::written::flow::Document;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::json;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

/// The longest document.
const DOCUMENT_MAX: usize = 256 << 20;
/// How many jobs a picture has at most.
const PICTURE_MAX: usize = 10_000;

const DOCUMENT: &str = "\
The document is one JSON object:
  {\"group\": \"release-42\",
   \"jobs\": [
     {\"name\": \"build\",  \"queue\": \"builds\", \"body\": \"release 42\"},
     {\"name\": \"test\",   \"queue\": \"tests\",  \"body\": \"all\", \"after\": \"build\"},
     {\"name\": \"deploy\", \"queue\": \"deploy\", \"body\": \"eu\",  \"after\": [\"build\", \"test\"]},
     {\"name\": \"alarm\",  \"queue\": \"mails\",  \"body\": \"broken\", \"after\": \"test:failed\"}]}
A job has a name and what a line of `musher submit --jsonl` has; its `after` names other jobs of the document, in any order, or
ids of jobs that are there. All jobs are submitted in one commit, or none. They get the tags step and needs, which the picture is
drawn from. The group, if there is one, is sealed with them.

Examples:
  musher flow submit release.json
  musher flow show release-42
  musher flow show release-42 --dot | dot -Tsvg > release.svg";

#[derive(Debug, Args)]
#[command(after_help = DOCUMENT)]
pub(super) struct Flow {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Submit all jobs of a document
    #[command(after_help = DOCUMENT)]
    Submit(Submit),
    /// Show the jobs of a group as a tree, each with its state
    #[command(
        after_help = "Examples:\n  musher flow show release-42\n  musher flow show release-42 --dot | dot -Tsvg > release.svg"
    )]
    Show(Show),
}

#[derive(Debug, Args)]
struct Submit {
    /// The document; `-` reads it from standard input
    file: PathBuf,
    /// The group of all its jobs, in the place of the document's
    #[arg(long, value_name = "GROUP", value_parser = NonEmptyStringValueParser::new())]
    group: Option<String>,
    /// If the same was submitted with this key before (within limits.idempotency), submit nothing and print those jobs
    #[arg(long, value_name = "KEY", value_parser = NonEmptyStringValueParser::new())]
    idempotency_key: Option<String>,
    /// Print an object for each job: {"id": …, "name": …, "new": true}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// The group
    group: String,
    /// Print it in the language of Graphviz
    #[arg(long, conflicts_with = "json")]
    dot: bool,
    /// Print the group, and an object for each job
    #[arg(long)]
    json: bool,
}

impl Flow {
    pub(super) async fn run(&self, client: &Client) -> End {
        match &self.verb {
            Verb::Submit(submit) => submit.run(client).await,
            Verb::Show(show) => show.run(client).await,
        }
    }
}

impl Submit {
    async fn run(&self, client: &Client) -> End {
        let name = self.file.display().to_string();
        let text = match self.file.as_os_str().as_encoded_bytes() {
            b"-" => read_body(io::stdin().lock(), DOCUMENT_MAX, "standard input")?,
            _ => {
                let file = File::open(&self.file);
                read_body(
                    file.map_err(|error| Failure::usage(format!("{name}: {error}")))?,
                    DOCUMENT_MAX,
                    &name,
                )?
            }
        };
        let wrong = |why: String| Failure::usage(format!("{name}: {why}; nothing was submitted"));
        let document = Document::read(&text, self.group.as_deref()).map_err(wrong)?;
        let most = client.limits().batch;
        if document.names.len() > most {
            let why = format!(
                "it has {} jobs, at most {most} are one request (limits.batch)",
                document.names.len()
            );
            return Err(wrong(why));
        }
        let (names, groups) = (document.names, Here::read().put_all(document.groups));
        let receipts = match &self.idempotency_key {
            Some(key) => client.submit_once(key, groups).await?,
            None => client.submit(groups).await?,
        };
        for (receipt, name) in receipts.iter().zip(&names) {
            let is_new = receipt.what == Received::New;
            match self.json {
                true => output::json(&json!({ "id": receipt.id, "name": name, "new": is_new }))?,
                false => output::line(&format!("{} {}", receipt.id, safe(name)))?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(&self, client: &Client) -> End {
        let group: GroupView = client.ask(AdminRequest::GroupShow { name: self.group.clone() }).await?;
        let (jobs, is_part) = client.jobs_of_group(&self.group, PICTURE_MAX).await?;
        if self.json {
            output::json(&group)?;
            jobs.iter().try_for_each(output::json)?;
            return Ok(ExitCode::SUCCESS);
        }
        let text = if self.dot { picture::dot(&group, &jobs) } else { picture::tree(&group, &jobs) };
        output::text(&text)?;
        if is_part {
            eprintln!("these are the first {PICTURE_MAX} jobs; `musher list --group {}` has all", self.group);
        }
        Ok(ExitCode::SUCCESS)
    }
}
